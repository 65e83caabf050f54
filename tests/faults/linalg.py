"""Faults for minilora/linalg.py, each of which its tests must catch."""

FILE = "linalg.py"
TESTS = "test_models.py test_contract.py test_sbora.py test_hra.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('return x @ W.T', 'return x @ W'),
    ('    check_width(x, W.shape)\n', ''),
    ('if np.ndim(x) == 0 or np.shape(x)[-1] != d_in:', 'if np.shape(x)[-1] != d_in:'),
    ('if isinstance(rank, bool) or whole < 1:', 'if whole < 1:'),
    ('if isinstance(rank, bool) or whole < 1:', 'if isinstance(rank, bool) or whole < 0:'),
    ('if whole > most:', 'if whole > most + 1:'),
    ('np.all(np.isfinite(W))', 'not np.any(np.isnan(W))'),
    ('np.all(np.isfinite(W))', 'not np.any(np.isinf(W))'),
    ('or W.dtype.kind != "f"', ''),
    ('not hasattr(W, "dtype") or ', ''),
    (' or 0 in np.shape(W)', ''),
    ('* scale).astype(dtype)', '* scale)'),
    ('replace=False', 'replace=True'),
    ('rng.choice(width,', 'rng.choice(width - 1,'),
    ('or len(set(given)) < rank', ''),
    ('index.min() < 0 or ', ''),
    ('index.max() >= width', 'index.max() > width'),
    ('index = np.array(given)', 'index = np.sort(given)'),
    ('or index.dtype.kind not in "iu" ', ''),
    ('placed[..., index] = z', 'placed[..., np.sort(index)] = z'),
    ('np.zeros((*z.shape[:-1], width), z.dtype)', 'np.zeros((*z.shape[:-1], width))'),
    ('lambda g: place(g, index, x.shape[-1])', 'lambda g: place(g[..., ::-1], index, x.shape[-1])'),
    ('lambda g: pick(g, index)', 'lambda g: pick(g, index) * 2'),
    ('(2 / np.sum(u * u))', '(1 / np.sum(u * u))'),
    ('(2 / np.sum(u * u))', '2'),
    ('if not np.all((lengths > 0) & np.isfinite(lengths)):', 'if not np.all(lengths > 0):'),
    ('if not np.all((lengths > 0) & np.isfinite(lengths)):', 'if not np.all(np.isfinite(lengths)):'),
]  # fmt: skip
