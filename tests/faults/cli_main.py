"""Faults for minilora/cli/main.py, each of which its tests must catch."""

FILE = "cli/main.py"
TESTS = "test_cli.py"
FAULTS = [  # (original, mutant)
    ('        flush_output()  # of --help', '        pass'),
    ('    except KeyboardInterrupt:\n        return _complain("interrupted", code=130)\n', ''),
    ('os.environ["MPLBACKEND"] = "agg"', 'os.environ.setdefault("MPLBACKEND", "agg")'),
    ('    except OSError as error:', '    except ZeroDivisionError as error:'),
    ('        if cause is None:\n            return 141', '        if cause is None:\n            return 0'),
    ('    if unknown:', '    if False:'),
    ('    except UsageError as error:', '    except ZeroDivisionError as error:'),
    ('        if name == chosen:', '        if True:'),
    ('_DEFAULT = "letters"', '_DEFAULT = "text"'),
    ('("-h", "--help", "--version")', '("-h", "--help")'),
    ('    survive_any_output()\n', ''),
]  # fmt: skip
