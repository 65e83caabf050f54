"""Faults for minilora/cli/output.py, each of which its tests must catch."""

FILE = "cli/output.py"
TESTS = "test_cli.py test_inspect.py"
FAULTS = [  # (original, mutant)
    ('stream.reconfigure(errors=_HANDLER)', 'pass'),
    ('            setattr(sys, name, _Nowhere())', '            pass'),
    ('            except OutputError as error:\n                self._error = error', '            except ZeroDivisionError as error:\n                self._error = error'),
    ('        if self._error is not None:\n            raise self._error', '        pass'),
    ('        os.dup2(nowhere, sys.stdout.fileno())', '        pass'),
    ('isinstance(cause, BrokenPipeError) or', 'False and'),
    ('cell.encode(encoding, _HANDLER).decode(encoding)', 'cell'),
    ('cells = [printable(cell) for cell in row]', 'cells = row'),
    ("'' if count == 1 else 's'", "'s'"),
    ('.replace("lamda", "lambda")', ''),
    ('letter.capitalize() if "CAPITAL" in words else letter', 'letter'),
]  # fmt: skip
