"""Faults for minilora/models/encoder.py, each of which its tests must catch."""

FILE = "models/encoder.py"
TESTS = "test_encoder.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('rows = {"word": vocabulary, "position": context, "token_type": 2}', 'rows = {"word": context, "position": vocabulary, "token_type": 2}'),
    ('"intermediate.dense": "hd"', '"intermediate.dense": "dh"'),
    ('shapes[f"encoder.layer.{layer}.{part}.bias"] = (d_out,)', 'shapes[f"encoder.layer.{layer}.{part}.bias"] = (d_in,)'),
    ('normal(rng, shape, 0.02, dtype)', 'normal(rng, shape, 0.03, dtype)'),
    ('float(name.endswith("LayerNorm.weight"))', 'float(name.endswith("weight") + name.endswith("bias"))'),
    ('C = normal(rng, (classes, embedding.shape[1]), 0.02, embedding.dtype)', 'C = normal(rng, (classes, embedding.shape[1]), 1.0, embedding.dtype)'),
    ('np.zeros(classes, embedding.dtype)}', 'np.zeros(classes)}'),
    ('positions[position] + segments[0]', 'positions[position] + segments[1]'),
    ('    _, position = np.nonzero(mask)\n', '    position = np.arange(np.sum(mask)) % len(positions)\n'),
    ('    h = _norm(weights, "embeddings.LayerNorm", h)\n', ''),
    ('ends = np.cumsum(np.sum(mask, axis=1))', 'ends = np.array([np.sum(mask)])'),
    ('lengths = np.sum(mask, axis=1, keepdims=True)', 'lengths = np.sum(mask) / len(mask) + 0 * np.sum(mask, axis=1, keepdims=True)'),
    ('.astype(h.dtype)\n', '\n'),
    ('    if _HEAD[0] not in weights:', '    if False:'),
    ('sum(name.endswith(_DEPTH_SHOWS) for name in weights)', '2'),
    (' and mask.shape == tokens.shape', ''),
    (' and mask.dtype == bool', ''),
    (' or len(tokens) == 0', ''),
    ('    if not np.all(np.any(mask, axis=1)):', '    if False:'),
    ('for part in ("query", "key", "value")', 'for part in ("key", "query", "value")'),
    ('hidden = gelu(_affine(', 'hidden = (_affine('),
    ('weights[f"{name}.bias"]\n\n\ndef _norm', '0 * weights[f"{name}.bias"]\n\n\ndef _norm'),
    ('standardise(x, 1e-12)', 'standardise(x, 1e-5)'),
    ('_, position = np.nonzero(mask)', 'position = np.concatenate([np.arange(n) for n in np.sum(mask, axis=1)])'),
    ('{**weights, _HEAD[0]: C, _HEAD[1]: np.zeros(classes, embedding.dtype)}', '{_HEAD[0]: C, _HEAD[1]: np.zeros(classes, embedding.dtype), **weights}'),
]  # fmt: skip
