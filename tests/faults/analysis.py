"""Faults for minilora/analysis.py, each of which its tests must catch."""

FILE = "analysis.py"
TESTS = "test_analysis.py"
FAULTS = [  # (original, mutant)
    ('_ROUNDINGS = 100', '_ROUNDINGS = 0'),
    ('np.linalg.svd(delta, compute_uv=False)', 'np.linalg.svd(delta, compute_uv=False)[::-1]'),
    ('    delta = _as_array("delta", delta)\n', ''),
    ('    if not np.any(values):', '    if False:'),
    ('_near_one(values) ** 2', 'values ** 2'),
    ('np.sum((U1.T @ U2) ** 2)', 'np.sum(abs(U1.T @ U2))'),
    ('("M2", M2, "j", j)', '("M2", M2, "j", i)'),
    ('    check_count("d", d)\n', ''),
    ('    check_count("i", i, most=d)\n', ''),
    ('    W = _as_array("W", W)\n    A', '    A'),
    ('    A = _as_array("A", A)\n', ''),
    ('_near_one(_as_array("W", W), axis=1)', '_near_one(W, axis=1)'),
    ('np.linalg.norm(W, axis=1, keepdims=True)', 'np.linalg.norm(W, axis=0, keepdims=True)'),
    ('_quotient("A", W.T, learned.T).T', '_quotient("A", W.T, A.T).T'),
    ('_quotient("A", W, learned.T)', '_quotient("A", W.T, learned.T)'),
    ('for_B @ A', 'for_B @ learned'),
    ('[:-1]  # one for each', '  # one for each'),
    ('[np.linalg.norm(V.T @ first, axis=0) for V in spaces]', '[np.max(abs(V.T @ first), axis=0) for V in spaces]'),
    ('smallest = np.finfo(W.dtype).eps * max(W.shape)', 'smallest = 1e-2'),
    ('    if not np.all(np.isfinite(Theta)):', '    if False:'),
    ('    check_count(letter, i)\n', ''),
    ('drops = -np.diff(values, append=0)', 'drops = -np.diff(values, append=-1)'),
    ('    check_matrix(name, M)\n    M =', '    M ='),
    ('    M = np.asarray(M)\n', ''),
    ('np.ldexp(x, -exponent)', 'np.ldexp(x, exponent)'),
]  # fmt: skip
