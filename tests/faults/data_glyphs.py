"""Faults for minilora/data/glyphs.py, each of which its tests must catch."""

FILE = "data/glyphs.py"
TESTS = "test_data.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('domain.angle + rng', 'rng'),
    ('return 1 - images', 'return images'),
    ('down * ramp[:, None]', 'down * ramp'),
    ('rng.normal(0, 0.5, (3,', 'rng.normal(0, 0.25, (3,'),
    ('rng.normal(0, 0.1, images', 'rng.normal(0, 0.2, images'),
    ('        renderer.clear()\n', ''),
    ('images[i] = np.asarray(renderer', 'images[i, ::-1] = np.asarray(renderer'),
    ('-(box.x0 + box.x1) / 2', '0'),
    ('[:, :, 3] / 255', '[:, :, 3]'),
    ('angles = domain.angle + rng.uniform', 'angles = domain.angle + np.random.uniform'),
    ('.astype(np.float32), labels', ', labels'),
    ('if per_letter < 1:', 'if per_letter < 0:'),
]  # fmt: skip
