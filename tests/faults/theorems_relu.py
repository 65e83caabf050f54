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
    ('    goal = chain_product(Ws)\n', '    goal = 0 * chain_product(Ws)\n'),
    ('goal[: len(W_bar), : W_bar.shape[1]] = W_bar', 'goal[-len(W_bar) :, : W_bar.shape[1]] = W_bar'),
    # ranks and partitions
    ('max(rank, _rank_of_run(Ws[start:stop], W_bar))', 'rank + _rank_of_run(Ws[start:stop], W_bar)'),
    ('min(option, extended.get(stop, option))', 'max(option, extended.get(stop, option))'),
    ('length, remainder = divmod(depth, target_depth)', 'length, remainder = depth // target_depth, 0'),
    ('(*[length] * (target_depth - 1), length + remainder)', '(length + remainder, *[length] * (target_depth - 1))'),
    ('return max(_rank_of_run(', 'return min(_rank_of_run('),
    ('int(np.ceil(', 'int(np.floor('),
    ('_goal_of_run(Ws, W_bar) - P, tolerance)', 'W_bar, tolerance)'),
    ('[min(rank, *W.shape) for W in run_Ws]', '[rank for W in run_Ws]'),
    ('        start += length\n', ''),
    # the bounds
    ('_goal_of_run(Ws, W_bar), ranks)\n        M', '_goal_of_run(Ws, W_bar), [R - (i < 1) for i, R in enumerate(ranks)])\n        M'),
    ('m ** (depth - i) * E', 'm ** (depth - i - 1) * E'),
    # the witness
    ('+ 2 * z[:, :, None]', '- 2 * z[:, :, None]'),
    ('(z < 0) &', '(z > 0) &'),
    # the networks
    ('return relu(mlp(weights, x))', 'return relu(mlp(weights, x) + 1e-6)'),  # a bias left on
    ('        if W.shape[1] != width:', '        if False:'),
    ('    check_network(name, network, _mlp_names)\n', ''),
]  # fmt: skip
