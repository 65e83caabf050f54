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
    ('enough = 1e-6 *', 'enough = 1e6 *'),
    ('if rng is None or not attempts[-1].error > enough:', 'if True:'),
    # one layer after the other
    ('S = chain_product([*Ws[layer + 1 :],', 'S = chain_product([*Ws[layer:],'),
    ('sum(ranks[layer + 1 :])', 'sum(ranks)'),
    ('kept = values > max(smallest, cancelled)', 'kept = values > smallest'),
    # which directions a layer takes
    ('left = min(len(C), later_ranks, max(len(C) - R, len(S) - carried))', 'left = min(len(C), later_ranks, max(len(C) - R, 0))'),
    ('[:, len(S) - left :]', '[:, :left]'),
]  # fmt: skip
