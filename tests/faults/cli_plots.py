"""Faults for minilora/cli/plots.py, each of which its tests must catch."""

FILE = "cli/plots.py"
TESTS = "test_cli.py test_cli_comparison.py test_inspect.py"
FAULTS = [  # (original, mutant)
    ('        figure.savefig(file, dpi=110, metadata={"Software": None})', '        open(file, "w").close()'),
    ('raise OSError(error.errno, error.strerror, str(file)) from error', 'raise'),
    ('np.flatnonzero(values > 1e-7 * largest)', 'np.arange(len(values))'),
    ('list(panels.items())[:_MOST_PANELS]', 'list(panels.items())'),
]  # fmt: skip
