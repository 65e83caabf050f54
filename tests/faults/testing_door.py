"""Faults for minilora/testing/door.py."""

FILE = "testing/door.py"
TESTS = "test_own_adapter.py"
FAULTS = [  # (original, mutant)
    ('if not is_right(self.line):', 'if False:'),
    ('return self.line.reason if self.line else super().repr_failure(excinfo, style)', 'return super().repr_failure(excinfo, style)'),
    ('if len(lines) > _CAPTURED:', 'if False:'),
    ('except (Exception, SystemExit) as error:', 'except Exception as error:'),
    ('formula = _imported("--formula", options["formula"])', 'pass'),
    ('args = _parsed(options["adapter-args"] or "")', 'args = {}'),
    ('if call.args:', 'if False:'),
    ('"holds": bool(lines) and all(is_right(line) for line in lines),', '"holds": True,'),
    ('session.testscollected = len(session.items)\n', 'pass\n'),
]  # fmt: skip
