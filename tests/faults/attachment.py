"""Faults for minilora/attachment.py, each of which its tests must catch."""

FILE = "attachment.py"
TESTS = "test_attach.py test_weight.py test_sbora.py test_front_door.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('"*" if part.isdigit() else part', 'part'),
    ('    if misplaced:', '    if False:'),
    ('    check_named_weights(weights)\n', ''),
    ('if not callable(key) or not isinstance(found, str):', 'if not callable(key):'),
    ('    except ValueError as error:', '    except KeyError as error:'),
    ('raise ValueError(f"{where}: {error}") from error', 'raise'),
    ('bound = dict(self.weights)', 'bound = self.weights'),
    ('if hasattr(adapter, "array"):', 'if False:'),
    ('        params = self._checked(params)\n        merged', '        params = params or self.params\n        merged'),
    ('merged = {\n            name: dense(W) if isinstance(W, Adapted) else W for name, W in self.weights.items()\n        }', 'merged = self.weights'),
    ('        check_form("params", params, self.params)\n', ''),
    ('if given.dtype != array.dtype or not (isbox', 'if not (isbox'),
    ('bool(np.all(np.isfinite(array)))', 'not np.any(np.isnan(array))'),
    ('for own in self.params.values() for array', 'for name in self.adapters for own in [self.params[self.keys[name]]] for array'),
    ('for W in self.weights.values())', 'for W in list(self.weights.values())[1:])'),
    ('return self.trainable / self.total', 'return self.trainable / (self.trainable + self.total)'),
    ('        raise TypeError(\n            "an Attached holds', '        return self.bind(*arguments)\n        raise TypeError(\n            "an Attached holds'),
    ("{kinds or 'no adapter'}", '{kinds}'),
    ('owner = first.setdefault(self.keys[name], name)', 'owner = name'),
    ('for n in self.weights[name].shape)', 'for n in self.weights[name].shape[::-1])'),
    ('    if not parts:', '    if False:'),
    ('    if without:', '    if False:'),
]  # fmt: skip
