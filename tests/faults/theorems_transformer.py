"""Faults for minilora/theorems/transformer.py, each of which its tests must catch."""

FILE = "theorems/transformer.py"
TESTS = "test_theorems_transformer.py"
FAULTS = [  # (original, mutant)
    # the heads
    ('scores = C.T @ target[k].T @ target[q] @ C', 'scores = target[k].T @ target[q] @ C'),
    ('F @ target[o] @ target[v] @ C)', 'F @ target[o] @ target[v])'),
    ('pair.goal, own, rng=rng)', 'pair.goal, own)'),
    ('(gap_rank(pair.Ws, pair.goal) + 1) // 2', 'gap_rank(pair.Ws, pair.goal) // 2'),
    ('if ranks[name]}', 'if True}'),
    # biases, the output, and the change of basis
    ('_solve(C, target[b2], f"{block}: C b_2 = b̄_2")', 'target[b2]'),
    ('b = _solve(adapted_head, wanted, f"{block}: W\'_o b_2 = W̄_o b̄_2")', 'b = target[b2]'),
    ('_solve(weights[w2].T, target[w2].T, f"{block}: C W_2 = W̄_2").T', '_solve(weights[w2], target[w2], f"{block}: C W_2 = W̄_2")'),
    ('{"W": target[b1].astype(weights[b1].dtype)}', '{"W": weights[b1].astype(weights[b1].dtype)}'),
    ('{"W": b.astype(weights[b2].dtype)}', '{"W": b}'),
    ('pair, target["head.W"] @ target[w2])', 'pair, target[w2] @ target["head.W"])'),
    ('> 1e-6 * np.linalg.norm(Y)', '> 1e6 * np.linalg.norm(Y)'),
    ('M = M.astype(np.float64)\n    Y = Y.astype(np.float64)', 'M = M.astype(np.float32)\n    Y = Y.astype(np.float32)'),
    # the residual variant
    ('block, identity, identity, half', 'block, target[f"{block}.ffn.2.W"] @ np.linalg.inv(weights[f"{block}.ffn.2.W"]), identity, half'),
    ('{"W": target[name].astype(W.dtype)}', '{"W": W.astype(W.dtype)}'),
    # what is checked
    ('shape = (D,) if name.endswith(".b") else (D, D)', 'shape = np.shape(weights[name])'),
    ('        check_array(f"target[{name!r}]", target[name], shape)\n', ''),
    ('check_count(f"rank[{name!r}]", rank[name], most=D, least=0)', 'check_count(f"rank[{name!r}]", rank[name], most=D, least=-1)'),
    ('range(max(1, len(parts)))', 'range(len(parts))'),
    ('for name in map(str, names) if', 'for name in names if'),
    # the network
    ('        X = X + a if residual else a\n', '        X = a\n'),
    ('X = X + h if residual else h', 'X = h'),
    ('scores = scale * (', 'scores = (1.0 if callable(weights[f"{head}.q.W"]) else scale) * ('),
    ('softmax(scores, allowed)', 'softmax(scores, allowed.T)'),
    ('own = [ranks[pair.first], ranks[pair.second]]', 'own = [ranks[pair.second], ranks[pair.first]]'),
    ('if set(rank) != set(names)', 'if not set(rank) >= set(names)'),
    ('np.shape(X)[-1:] != width', 'np.shape(X)[-1:] > width'),
    ('target = {name: dense(W)', 'target = {name: W'),
]  # fmt: skip
