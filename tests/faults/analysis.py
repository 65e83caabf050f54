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
    ('    M = _as_array(name, M)\n', ''),
    ('    check_count(letter, i)\n', ''),
    ('    check_matrix(name, M)\n    M =', '    M ='),
    ('    M = np.asarray(M)\n', ''),
    ('np.ldexp(x, -exponent)', 'np.ldexp(x, exponent)'),
]  # fmt: skip
