"""Faults for minilora/theorems/linear.py, each of which its tests must catch."""

FILE = "theorems/linear.py"
TESTS = "test_theorems_linear.py test_theorems_transformer.py"
FAULTS = [  # (original, mutant)
    # the bound and the best change
    ('compute_uv=False)[sum(ranks) :]', 'compute_uv=False)[max(ranks) :]'),
    ('np.max(beyond, initial=0.0)', 'np.min(beyond, initial=0.0)'),
    ('k = min(sum(ranks),', 'k = min(max(ranks),'),
    ('return left[:, :k], values[:k, None] * right[:k]', 'return left[:, -k:], values[-k:, None] * right[-k:]'),
    # attempts
    ('    check_count("retries", retries, least=0)\n', ''),
    ('        check_rng(rng)\n', '        pass\n'),
    ('else 1e-6\n', 'else 1e-2\n'),
    ('        if rng is None or error <= enough:', '        if True:'),
    ('if any(W.dtype == np.float32', 'if all(W.dtype == np.float32'),
    ('retry % 2 == 0 else None', 'retry % 3 == 0 else None'),
    ('np.eye(Ws[0].shape[1], dtype=Ws[0].dtype)', 'np.eye(Ws[0].shape[1])'),
    # one layer after the other
    ('S = chain_product([*Ws[layer + 1 :],', 'S = chain_product([*Ws[layer:],'),
    ('sum(ranks[layer + 1 :])', 'sum(ranks)'),
    ('kept = values > max(smallest, cancelled)', 'kept = values > smallest'),
    ('smallest = 1e-13 * values[0]', 'smallest = 1e-13'),
    # which directions a layer takes
    ('max(len(C) - R, beyond))', 'max(len(C) - R, 0))'),
    ('first = C @ lost @ (', 'first = 0 * C @ lost @ ('),
    ('[:, len(S) - left :]', '[:, :left]'),
    # what no adapters reach
    ('> sum(ranks[layer:])', '> sum(ranks[layer + 1 :])'),
    ('> sum(ranks[: layer + 1])', '> sum(ranks[:layer])'),
    ('np.linalg.matrix_rank(W) + ranks[layer]:', 'np.linalg.matrix_rank(W) + 2 * ranks[layer]:'),
    # best effort
    ('values[:R] / S_values[:, None]', 'values[:R]'),
    # an obstacle
    ('values > max(W.shape) * np.finfo', 'values > 1e12 * max(W.shape) * np.finfo'),
    ('earlier.T for earlier in reversed(Ws[: layer + 1])', 'earlier.T for earlier in Ws[: layer + 1]'),
    ('change - basis @ (basis.T @ change)', 'change'),
    ('np.sum(values > 1e-10 * np.linalg.norm(C))', 'np.sum(values > 0)'),
    ('1e-10 * np.linalg.norm(Q))', '0.0)'),
    ('np.finfo(np.float64).eps * np.linalg.norm(W, 2)]', 'np.finfo(np.float64).eps]'),
    ('min(attempts, key=', 'max(attempts, key='),
    ('    Ws = [dense(W) for W in Ws]\n', ''),
]  # fmt: skip
