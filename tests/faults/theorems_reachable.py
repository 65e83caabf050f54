"""Faults for minilora/theorems/reachable.py, each of which its tests must catch."""

FILE = "theorems/reachable.py"
TESTS = "test_theorems_reachable.py"
FAULTS = [  # (original, mutant)
    # LoRA and CondLoRA
    ('left[:, :rank] * values[:rank], right[:rank]', 'left[:, -rank:] * values[-rank:], right[-rank:]'),
    ('check_rank(rank, most=min(E.shape))', 'check_rank(rank, most=max(E.shape))'),
    ('_truncate(T - matrix, rank)', '_truncate(T, rank)'),
    ('matrix @ inverse @ E @ inverse @ matrix', 'matrix @ inverse @ E'),
    ('"Theta_A": A @ inverse', '"Theta_A": A @ matrix.T'),
    # SBoRA
    ('np.argsort(-np.linalg.norm(E, axis=0)', 'np.argsort(np.linalg.norm(E, axis=0)'),
    ('tuple(cols), E[:, cols]', 'tuple(cols), E[:, sorted(cols)]'),
    ('_longest_columns((T - matrix).T, rank)', '_longest_columns(T - matrix, rank)'),
    ('{"A": A_transposed.T}', '{"A": A_transposed.T[::-1]}'),
    # strict HRA
    ('{"U": eigenvectors[:, :rank]}', '{"U": eigenvectors[:, -rank:]}'),
    ('np.linalg.eigh(G + G.T)', 'np.linalg.eigh(G)'),
    # HRA
    ('    check_rank(rank)\n', ''),
    ('    check_rng(rng)\n', ''),
    ('    check_array("G", G, (d, d))\n', ''),
    ('    check_count("sweeps", sweeps, least=0)\n', ''),
    # Procrustes
    ('np.linalg.svd(matrix.T @ T)', 'np.linalg.svd(T.T @ matrix)'),
    ('if is_odd != bool(odd):', 'if is_odd == bool(odd):'),
    # the factors of Q
    ('k = np.sum(values > _rounding(Q))', 'k = np.sum(values > 1e-3)'),
    ('        k += 1', '        k += 0'),
    ('    check_count("rank", rank, least=k)\n', ''),
    ('    if (rank - k) % 2:', '    if False:'),
    # one conversion for several layers
    ('float(residual)', 'residual'),
    ('np.kron(W, W.T)', 'np.kron(W.T, W)'),
    # what is checked, and what is rounding
    ('    _check_like("T", T, "W", W)\n', ''),
    ('return dense(W), dense(T)', 'return W, T'),
    ('check_matrix(other, W) != check_matrix(name, T)', 'W.shape != check_matrix(name, T)'),
    ('0.1 * np.finfo(M.dtype).eps ** 0.5', '1e-9'),
    ('len(Ws) != len(deltas)', 'len(Ws) > len(deltas)'),
    ('np.linalg.norm(exact.T @ exact - np.eye(d), 2) >', 'abs(abs(np.linalg.det(exact)) - 1) >'),
]  # fmt: skip
