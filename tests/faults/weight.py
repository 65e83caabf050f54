"""Faults for minilora/weight.py, each of which its tests must catch."""

FILE = "weight.py"
TESTS = "test_weight.py test_ops.py test_formulas.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('    check_width(x, W)\n', ''),
    ('    if callable(W):\n        return W(x)\n', ''),
    ('return W.__array__() if callable(W) else W', 'return np.array(W)'),
    ('return self.adapter.forward(self.params, self.frozen, x)', 'return linear(self.frozen["W"], x)'),
    ('return self.W.shape', 'return self.W.shape[::-1]'),
    ('return self.W.dtype', 'return np.dtype(float)'),
    ('merged if dtype is None else merged.astype(dtype)', 'merged'),
    ('merged = self.adapter.merge(self.params, self.frozen)', 'merged = dense(self.frozen["W"])'),
    ('        raise ValueError(self._no_array("indexes"))', '        return self.__array__()[index]'),
    ('        raise ValueError(self._no_array("computes with"))', '        return NotImplemented'),
    ('return f"{self.name}: {why}', 'return f"W: {why}'),
    ('but {describe(self.adapter)} makes', 'but its adapter makes'),
    ('f"Adapted({self.name}: {d_out} × {d_in}', 'f"Adapted({self.name}: {d_in} × {d_out}'),
    ('    if not dataclasses.is_dataclass(adapter):', '    if False:'),
    ('kind.__repr__ in (object.__repr__, describe)', 'kind.__repr__ is object.__repr__'),
    ('not hasattr(value, "shape") and value == default', 'value == default'),
    ('(2 / np.sum(u * u))', '(1 / np.sum(u * u))'),
    ('* scale).astype(dtype)', '* scale)'),
    ('rng.standard_normal(shape) * scale', '(rng.random(shape) - 0.5) * 12**0.5 * scale'),
]  # fmt: skip
