"""Faults for minilora/data/glyphs.py, each of which its tests must catch."""

FILE = "data/glyphs.py"
TESTS = "test_data.py"
FAULTS = [  # (original, mutant)
    ('angles = angle + rng.uniform', 'angles = rng.uniform'),
    ('return 1 - images', 'return images'),
    ('down * ramp[:, None]', 'down * ramp'),
    ('rng.normal(0, 0.5, (3,', 'rng.normal(0, 0.25, (3,'),
    ('rng.normal(0, 0.1, images', 'rng.normal(0, 0.2, images'),
    ('        renderer.clear()\n', ''),
    ('image[:] = np.asarray(renderer', 'image[::-1] = np.asarray(renderer'),
    ('translate(-centre_x, -centre_y)', 'translate(0, -centre_y)'),
    ('.astype(np.float32), labels', ', labels'),
    ('Path(get_data_path(), "fonts", "ttf", font)', 'Path(get_data_path() + "/fonts/ttf/" + font)'),
]  # fmt: skip
