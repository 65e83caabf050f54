"""Faults for minilora/adapters/full.py, each of which its tests must catch."""

FILE = "adapters/full.py"
TESTS = "test_formulas.py test_attach.py test_weight.py test_contract.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('        check_floats("W", W)\n', ''),
    ('np.array(dense(W))', 'dense(W)'),
    ('return np.array(params["W"])', 'return params["W"]'),
    ('        return params["W"]\n', '        return np.array(params["W"])\n'),
]  # fmt: skip
