"""Faults for minilora/theorems/relu.py, each of which its tests must catch."""

FILE = "theorems/relu.py"
TESTS = "test_theorems_relu.py"
FAULTS = [  # (original, mutant)
    # the offsets
    ('lift = (1 + 1e-9) * _max_over_ball(-G, radius, nonnegative)', 'lift = -(1 + 1e-9) * _max_over_ball(-G, radius, nonnegative)'),
    ('        G = W @ G\n', ''),
    ('_lifting_biases(adapted, ', '_lifting_biases(Ws, '),
    ('np.linalg.norm(rows, axis=1)', 'np.linalg.norm(rows, axis=0)'),
    ('np.maximum(G, 0) if', 'np.minimum(G, 0) if'),
    ('            layer += 1\n', ''),
    # from one run to the next
    # narrow targets
    ('part[-1] = part[-1][: len(W_bar)]', 'part[-1] = part[-1][-len(W_bar) :]'),
    ('w < max(W_bar.shape) for w in inner', 'w < min(W_bar.shape) for w in inner'),
    # ranks and partitions
    ('max(rank, _rank_of_run(Ws[start:stop], W_bar))', 'rank + _rank_of_run(Ws[start:stop], W_bar)'),
    ('min(option, extended.get(stop, option))', 'max(option, extended.get(stop, option))'),
    ('length, remainder = divmod(depth, target_depth)', 'length, remainder = depth // target_depth, 0'),
    ('(*[length] * (target_depth - 1), length + remainder)', '(length + remainder, *[length] * (target_depth - 1))'),
    ('return max(_rank_of_run(', 'return min(_rank_of_run('),
    ('int(np.ceil(', 'int(np.floor('),
    ('[min(rank, *W.shape) for W in Ws]', '[rank for W in Ws]'),
    ('        start += length\n', ''),
    # the bounds
    ('max(sizes[:-1]) *', 'sizes[-1] *'),
    ('m ** (depth - i) * E', 'm ** (depth - i - 1) * E'),
    # the networks
    ('return relu(mlp(weights, x))', 'return relu(mlp(weights, x) + 1e-6)'),  # a bias left on
    # the same function, its units in other places
    ('D_Pi[place, unit] = norms[0][place] / norms[1][unit]', 'D_Pi[place, unit] = 1.0'),
    ('run.W_bar @ np.linalg.inv(inputs)', 'run.W_bar @ inputs.T'),
    ('< 1e-10 * sizes', '< 1e-7 * sizes'),
    ('(inputs @ W_bar).astype(dtype)', 'inputs @ W_bar'),
    ('check_positive("radius", radius)', 'check_positive("radius", radius, most=1e6)'),
    ('b.astype(weights[b_name].dtype)', 'b.astype(dtype)'),
    ('most=[min(W.shape) for W in Ws]', 'most=[max(W.shape) for W in Ws]'),
    ('np.linalg.norm(apart, axis=2) <', 'np.minimum(np.linalg.norm(apart, axis=2), np.linalg.norm(apart - 2 * norms[1][:, None] * P[:, None], axis=2)) <'),
    ('dtype = target[f"layers.{i}.W"].dtype', 'dtype = weights["layers.0.W"].dtype'),
]  # fmt: skip
