"""Faults for minilora/attach.py, each of which its tests must catch."""

FILE = "attach.py"
TESTS = "test_attach.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('if not names:', 'if False:'),
    ('if twice := chosen.keys() & names:', 'if twice := "":'),
    ('params.setdefault(keys[name], start)', 'start'),
    ('params.setdefault(keys[name], start)', 'params.setdefault(name, start)'),
    ('chosen[shared] != adapter or ', ''),
    (' or shapes(own) != shapes(start)', ''),
    ('return self.adapter.forward(self.params, self.frozen, x)', "return linear(self.frozen['W'], x)"),
    ('bound = dict(self.weights)', 'bound = self.weights'),
    ('merged[name] = adapter.merge', 'adapter.merge'),
    ('if params.keys() != self.params.keys():', 'if False:'),
    ('"*" if part.isdigit() else part', 'part'),
    ('for own in self.params.values() for array', 'for name in self.adapters for own in [self.params[self.keys[name]]] for array'),
    ('for W in self.weights.values())', 'for W in list(self.weights.values())[1:])'),
]  # fmt: skip
