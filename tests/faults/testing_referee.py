"""Faults for minilora/testing/referee.py."""

FILE = "testing/referee.py"
TESTS = "test_own_adapter.py test_contract.py"
FAULTS = [  # (original, mutant)
    ('if not report.holds:', 'if False:'),
    ('"rank" not in args and _takes_rank(adapter)', '_takes_rank(adapter)'),
    ('even = takes_rank and _refuses_odd_ranks(make)', 'even = False'),
    ('record.update(cases=0, worst=0.0)', 'pass'),
    ('elif stated:', 'elif False:'),
    ('except (Exception, SystemExit) as error:\n            return error', 'except Exception as error:\n            return error'),
    ('warnings.simplefilter("ignore")', 'warnings.simplefilter("error")'),
    ('return line.verdict != "FAILS"', 'return True'),
]  # fmt: skip
