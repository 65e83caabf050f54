"""Faults for minilora/testing/mistakes.py: mistakes that nobody tries."""

FILE = "testing/mistakes.py"
TESTS = "test_own_adapter.py test_contract.py"
FAULTS = [  # (original, mutant)
    ('Mistake("x too wide", "x", partial(_forward, row, case, np.ones((2, d_in + 1)))),', ''),
    ('yield "NaN in W", np.where(good > 0, np.nan, 0)', ''),
    ('yield "integers in W", np.ones(shape, int)', ''),
    ('if row.takes_rank:', 'if False:'),
]  # fmt: skip
