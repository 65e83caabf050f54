"""Faults for minilora/data/teacher.py, each of which its tests must catch."""

FILE = "data/teacher.py"
TESTS = "test_teacher.py"
FAULTS = [  # (original, mutant)
    ('_add_half(W, _random_low_rank(rng, W.shape, rank))', '_add_half(W, _random_low_rank(rng, W.shape[1:], rank))'),
    ('_random_low_rank(rng, (d_in, d_out), rank)', '_random_low_rank(rng, (d_out, d_in), rank)'),
    ('W @ M @ W)', 'W @ M @ W.swapaxes(-1, -2))'),
    ('noise * _mask_of_columns(rng, W, rank)', 'noise * _mask_of_columns(rng, W[:1], rank)'),
    ('few_columns(rng, W.swapaxes(-1, -2), rank).swapaxes(-1, -2)', 'few_columns(rng, W, rank)'),
    ('scaled_columns(rng, W.swapaxes(-1, -2), rank).swapaxes(-1, -2)', 'scaled_columns(rng, W, rank)'),
    ('rng.uniform(-1, 1, W[..., :1, :].shape)', 'rng.uniform(-1, 1, W.shape)'),
    ('factors = np.exp(exponents *', 'factors = 1 + (exponents *'),
    ('    check_rank(rank, most=W.shape[-1])\n    for u', '    for u'),
    ('for u in rng.standard_normal((rank, *', 'for u in rng.standard_normal((rank - 1, *'),
    ('    check_rank(rank, most=d_in)\n', ''),
    ('    if rank % 2:', '    if False:'),
    ('(W - 2 * along', '(W - along'),
    ('    if not callable(change):', '    if False:'),
    ('    check_count("count", count)\n', ''),
    ('    check_rng(rng)\n    check_floats', '    check_floats'),
    ('    check_floats("W", W)\n', ''),
    ('check_rank(rank, most=min(d_out, d_in))', 'check_rank(rank, most=max(d_out, d_in))'),
    ('check_rank(rank, most=W.shape[-1])\n    draws', 'check_rank(rank)\n    draws'),
    ('rng.random(W[..., :1, :].shape)', 'np.zeros(W[..., :1, :].shape)'),
    ('    if length == 0:', '    if False:'),
    ('s = 0.5 *', 's = 1.0 *'),
]  # fmt: skip
