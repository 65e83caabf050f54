"""Faults for minilora/cli/real.py, each of which its tests must catch."""

FILE = "cli/real.py"
TESTS = "test_real.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('[RATINGS] if options.model else', '[MINILM] if options.model else'),
    ('    _check_packages(options.files', '    print(options.files'),
    ('        raise UsageError(str(error)) from error\n    seeds', '        raise error\n    seeds'),
    ('options.seed + options.seeds)', 'options.seed + 1)'),
    ('array[: length.test_images]', 'array[:1]'),
    ('if runs > 1 else head]', 'if runs < 0 else head]'),
]  # fmt: skip
