"""Faults for minilora/theorems/chain.py, each of which its tests must catch."""

FILE = "theorems/chain.py"
TESTS = "test_theorems_linear.py test_theorems_relu.py test_theorems_transformer.py"
FAULTS = [  # (original, mutant)
    # the product, and what adapters add to it
    ('P = np.array(dense(Ws[0]))', 'P = dense(Ws[0])'),
    ('P = dense(W) @ P', 'P = P @ dense(W)'),
    ('return [dense(W) + own["B"]', 'return [dense(W) - own["B"]'),
    # checks
    ('not isinstance(params, (list, tuple)) or len(params) != len(Ws)', 'len(params) != len(Ws)'),
    ('    check_array("target", target, (len(Ws[-1]), Ws[0].shape[1]))\n', ''),
    ('Ws = [as_float64_matrix(f"Ws[{layer}]", W) for', 'Ws = [W for'),
    ('given.tolist() if isinstance(given, np.ndarray) else given', 'given'),
    ('not isinstance(numbers, (list, tuple)) or len(numbers)', 'len(numbers)'),
    (' and matrices.ndim > 0', ''),
    (' or len(matrices) == 0:', ':'),
    ('    if not isinstance(getval(network), dict):', '    if False:'),
    ('    if missing or unknown:', '    if missing:'),
    ('    check_floats(name, array)\n', ''),
    ('    if array.shape != shape:', '    if array.size != np.prod(shape):'),
    ('    check_list("Ws", Ws)\n', ''),
    ('[check_matrix(f"Ws[{layer}]", W) for', '[np.shape(W) for'),
    ('        if W.shape[1] != width:', '        if False:'),
    ('    check_network(name, network, _mlp_names)\n', ''),
    ('target - P, rounding)', 'target, rounding)'),
    ('rounding = 1e-10 *', 'rounding = 1e-3 *'),
    ('check_array(f"{name}[\'B\']", own["B"]', 'check_array(f"{name}[\'A\']", own["B"]'),
    ('b.astype(np.float64)', 'b'),
    ('isinstance(ranks, Integral) else', 'isinstance(ranks, int) else'),
    ('P = dense(W) @ P', 'P = W @ P'),
    ('[dense(W) + own', '[W + own'),
]  # fmt: skip
