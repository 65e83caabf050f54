"""Faults for minilora/scaling.py, each of which its tests must catch."""

FILE = "scaling.py"
TESTS = "test_formulas.py test_contract.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('return alpha / rank', 'return alpha'),
    ('alpha / rank**0.5', 'alpha / rank'),
    ('0 < self.alpha < 1e300', '0 <= self.alpha < 1e300'),
    ('0 < self.alpha < 1e300', '0 < self.alpha'),
    ('0 < self.alpha < 1e300', 'self.alpha < 1e300'),
    ('isinstance(self.alpha, (int, float)) and 0', '0'),
    ('        check_rank(self.rank)\n', ''),
    ('float(self.scaling(alpha, self.rank))', 'np.float64(self.scaling(alpha, self.rank))'),
    ('alpha = self.rank if self.alpha is None else self.alpha', 'alpha = self.alpha or 1'),
]  # fmt: skip
