"""Faults for minilora/data/packages.py, each of which its tests must catch."""

FILE = "data/packages.py"
TESTS = "test_reviews.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('    if not isinstance(folder, (str, os.PathLike)):', '    if False:'),
    ('this fetches it: {package.command(folder)}', 'fetch it'),
    ('    if found != package.sha256:', '    if False:'),
    ('        while piece := file.read(1 << 20):\n            digest.update(piece)', '        digest.update(file.read(1 << 20))'),
]  # fmt: skip
