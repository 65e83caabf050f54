"""Faults for minilora/adapters/scaling.py, each of which its tests must catch."""

FILE = "adapters/scaling.py"
TESTS = "test_formulas.py test_contract.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('return alpha / rank\n', 'return alpha\n'),
    ('alpha / rank**0.5', 'alpha / rank'),
    ('adapter.rank if adapter.alpha is None', '1 if adapter.alpha is None'),
    ('float(_scaled(adapter))', '_scaled(adapter)'),
    ('adapter.scaling(alpha, adapter.rank)', 'adapter.scaling(adapter.rank, alpha)'),
    ('    check_rank(adapter.rank)\n', ''),
    ('check_positive("alpha", adapter.alpha, most=1e300)', 'pass'),
    ('adapter.alpha, most=1e300)', 'adapter.alpha)'),
    ('    if not callable(adapter.scaling):', '    if False:'),
    ('if not is_positive(scale)', 'if False'),
]  # fmt: skip
