"""Faults for minilora/scaling.py, each of which its tests must catch."""

FILE = "scaling.py"
TESTS = "test_formulas.py test_contract.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('return alpha / rank', 'return alpha'),
    ('alpha / math.sqrt(rank)', 'alpha / rank'),
    ('and alpha > 0', 'and alpha >= 0'),
    ('math.isfinite(alpha) and ', ''),
    ('    check_rank(adapter.rank)\n', ''),
    ('alpha = adapter.rank if adapter.alpha is None else adapter.alpha', 'alpha = adapter.alpha or 1'),
]  # fmt: skip
