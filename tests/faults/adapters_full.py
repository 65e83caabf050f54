"""Faults for minilora/adapters/full.py, each of which its tests must catch."""

FILE = "adapters/full.py"
TESTS = "test_contract.py test_formulas.py test_attach.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('W = np.array(W)', 'W = np.asarray(W)'),
    ('return np.array(params', 'return (params'),
    (' or not np.all(np.isfinite(W))', ''),
]  # fmt: skip
