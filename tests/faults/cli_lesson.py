"""Faults for minilora/cli/lesson.py, each of which its tests must catch."""

FILE = "cli/lesson.py"
TESTS = "test_lesson.py"
FAULTS = [  # (original, mutant)
    ('os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")', 'pass'),
    ('    plt.style.use(Path(__file__).with_name("lesson.mplstyle"))\n', ''),
]  # fmt: skip
