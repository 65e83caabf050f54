"""Faults for minilora/cli/main.py, each of which its tests must catch."""

FILE = "cli/main.py"
TESTS = "test_cli.py"
FAULTS = [  # (original, mutant)
    ('        flush_output()  # of --help', '        pass'),
    ('    except KeyboardInterrupt:\n        return _complain("interrupted", code=130)\n', ''),
    ('os.environ["MPLBACKEND"] = "agg"', 'os.environ.setdefault("MPLBACKEND", "agg")'),
    ('    if unknown:', '    if False:'),
    ('        if name == chosen:', '        if True:'),
    ('_DEFAULT = "letters"', '_DEFAULT = "text"'),
]  # fmt: skip
