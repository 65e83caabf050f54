"""Faults for minilora/course/case.py, each of which its tests must catch."""

FILE = "course/case.py"
TESTS = "test_course_answers.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('if not error <= within * size:', 'if error > within * size:'),
    ('given = copy.deepcopy(arguments)', 'given = arguments'),
    ('if output.getvalue():', 'if False:'),
    ('if kind is np.ndarray:', 'if isinstance(value, np.ndarray):'),
    ('if got.dtype != expected.dtype:', 'if False:'),
    ('if got.shape != expected.shape:', 'if False:'),
    ('if isinstance(error, SystemExit):', 'if False:'),
]  # fmt: skip
