"""Faults for minilora/cli/layers.py, each of which its tests must catch."""

FILE = "cli/layers.py"
TESTS = "test_inspect.py"
FAULTS = [  # (original, mutant)
    ('for name in adapters if weights is None else weights:', 'for name in adapters:'),
    ('            broken[name] = error', '            raise'),
    ('    U = U.astype(np.float64)\n', ''),
    ('    values[values < _ROUNDING * size] = 0\n', ''),
    ('float(orthogonality_penalty(U)) ** 0.5)', 'float(orthogonality_penalty(U)))'),
    ('groups[kind(layer.name), layer.shape]', 'groups[kind(layer.name), layers[0].shape]'),
    ('        return len(self.B), self.A.shape[1]', '        return self.A.shape[1], len(self.B)'),
    ('_range(scales) if scales else "–"', '_range(scales or [1])'),
    ('np.degrees(2 * np.arcsin(', 'np.degrees(np.arcsin('),
    ('largest = max(layer.values[0] for layer in group)\n    return', 'largest = min(layer.values[0] for layer in group)\n    return'),
    ('np.mean([1 / each for each in stable])', '1 / np.mean(stable)'),
    ('for layer in group if layer.norm > 0]\n    if', 'for layer in group]\n    if'),
    ('low, *_, high = sorted(values) * 2', 'low, *_, high = list(values) * 2'),
]  # fmt: skip
