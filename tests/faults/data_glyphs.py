"""Faults for minilora/data/glyphs.py, each of which its tests must catch."""

FILE = "data/glyphs.py"
TESTS = "test_data.py"
FAULTS = [  # (original, mutant)
    ('angles = angle + rng.uniform', 'angles = rng.uniform'),
    ('angles = angle + rng.uniform', 'angles = angle + np.random.uniform'),
    ('return 1 - images', 'return images'),
    ('down * ramp[:, None]', 'down * ramp'),
    ('rng.normal(0, 0.5, (3,', 'rng.normal(0, 0.25, (3,'),
    ('rng.normal(0, 0.1, images', 'rng.normal(0, 0.2, images'),
    ('        renderer.clear()\n', ''),
    ('image[:] = np.asarray(renderer', 'image[::-1] = np.asarray(renderer'),
    ('translate(-centre_x, -centre_y)', 'translate(0, -centre_y)'),
    ('[:, :, 3] / 255', '[:, :, 3]'),
    ('.astype(np.float32), labels', ', labels'),
    ('    check_rng(rng)\n', ''),
    ('    if not isinstance(domain, Domain):', '    if False:'),
    ('    check_count("per_letter", per_letter)\n', ''),
    ('    check_count("size", size, most=_LARGEST)\n', ''),
    ('Path(get_data_path(), "fonts", "ttf", font)', 'Path(get_data_path() + "/fonts/ttf/" + font)'),
    ('    if not file.is_file():', '    if False:'),
]  # fmt: skip
