"""What the theorems share: products of matrices, what adapters add to them, and checks.

    P = W_{L−1} … W_0        frozen; Ws = [W_0, …, W_{L−1}], the earliest layer first
    W'_l = W_l + B_l A_l     adapted; params = [{"A": A_0, "B": B_0}, …], A (R, d_in), B (d_out, R)

The product acts as the layers do, one after the other: P x = W_{L−1} (… (W_0 x)).
"""

from itertools import pairwise
from numbers import Integral

import numpy as np
from autograd.tracer import getval

from minilora.checks import as_float64_matrix, check_count, check_floats, check_matrix
from minilora.weight import dense


class Unsolvable(ValueError):  # noqa: N818
    """No adapters were found that attain the minimum.

    The message names the reason and, where there is one, the layer, Ws[l] with l from 0, or the
    equation.
    """


def chain_product(Ws):
    """P = Ws[-1] … Ws[0], multiplied from the earliest layer on, as a network does.

    Raises ValueError when Ws are not finite matrices of floats that chain.
    """
    _check_matrices(Ws)
    P = np.array(dense(Ws[0]))
    for W in Ws[1:]:
        P = dense(W) @ P
    return P


def gap_rank(Ws, target):
    """rank(W̄ − P): how much rank adapters must add to P to reach the target.

    Singular values up to 1e-10 (‖P‖ + ‖W̄‖) count as rounding of float64; that of float32 matrices
    is larger, and counts as a difference.

    Raises ValueError when Ws are not finite matrices of floats that chain, or target has not the
    shape of P.
    """
    P = chain_product(Ws)
    check_array("target", target, P.shape)
    rounding = 1e-10 * (np.linalg.norm(P, 2) + np.linalg.norm(target, 2))
    return int(np.linalg.matrix_rank(target - P, rounding))


def add_adapters(Ws, params):
    """[W_l + B_l A_l, …].

    Raises ValueError when Ws are not finite matrices of floats that chain, or when params does not
    have one {"A", "B"} of fitting shapes for every layer.
    """
    shapes = _check_matrices(Ws)
    if not isinstance(params, (list, tuple)) or len(params) != len(Ws):
        raise ValueError(f"params must be a list of {len(Ws)} dicts, got {params!r:.80}")
    for layer, (own, (d_out, d_in)) in enumerate(zip(params, shapes)):
        name = f"params[{layer}]"
        if not isinstance(own, dict) or set(own) != {"A", "B"}:
            raise ValueError(f'{name} must be a dict of "A" and "B", got {own!r:.80}')
        rank = np.shape(own["A"])[:1]
        check_array(f"{name}['A']", own["A"], (*rank, d_in))
        check_array(f"{name}['B']", own["B"], (d_out, *rank))
    return [dense(W) + own["B"] @ own["A"] for W, own in zip(Ws, params)]


def check_chain(Ws, target, ranks):
    """Ws and target in float64, and a list with a rank for every layer.

    Raises ValueError when Ws or target are not finite matrices of floats or do not chain, or when
    ranks is not one integer from 0 to min(d_out, d_in), for all layers or for each.
    """
    shapes = _check_matrices(Ws)
    Ws = [as_float64_matrix(f"Ws[{layer}]", W) for layer, W in enumerate(Ws)]
    target = as_float64_matrix("target", target)
    check_array("target", target, (len(Ws[-1]), Ws[0].shape[1]))
    each = [ranks] * len(Ws) if isinstance(ranks, Integral) else ranks
    check_counts("ranks", each, least=0, most=[min(shape) for shape in shapes])
    return Ws, target, list(each)


def check_counts(name, given, least, most):
    """Raise ValueError unless given lists integers, one from least to m for each m in most."""
    numbers = given.tolist() if isinstance(given, np.ndarray) else given
    if not isinstance(numbers, (list, tuple)) or len(numbers) != len(most):
        raise ValueError(f"{name} must be a list of {len(most)} integers, got {given!r:.80}")
    for i, (n, m) in enumerate(zip(numbers, most)):
        check_count(f"{name}[{i}]", n, most=m, least=least)


def check_list(name, matrices):
    """Raise ValueError unless matrices is a list, tuple or array of at least one."""
    stacked = isinstance(matrices, np.ndarray) and matrices.ndim > 0
    if not (stacked or isinstance(matrices, (list, tuple))) or len(matrices) == 0:
        raise ValueError(f"{name} must be a list of matrices, got {matrices!r:.80}")


def check_network(name, network, names_of):
    """Raise ValueError unless network is a dict with the names of a model, and no others.

    names_of: network -> the set of names of a model of its size.
    """
    if not isinstance(getval(network), dict):
        raise ValueError(f"{name} must be a dict from names to arrays, got {network!r:.80}")
    expected = names_of(network)
    missing = sorted(expected - set(network))
    unknown = sorted(set(network) - expected, key=str)
    if missing or unknown:
        raise ValueError(f"{name} must have a model's names: missing {missing}, unknown {unknown}")


def mlp_layers(name, network):
    """[(W, b), …] of an MLP in float64, the earliest first.

    Raises ValueError unless network has the names of an MLP, in shapes that chain, all finite.
    """
    check_network(name, network, _mlp_names)
    layers = []
    for layer in range(len(network) // 2):
        path = f"{name}['layers.{layer}.W']"
        W = as_float64_matrix(path, network[f"layers.{layer}.W"])
        width = len(layers[-1][0]) if layers else W.shape[1]
        if W.shape[1] != width:
            raise ValueError(f"{path} must have {width} columns, got shape {W.shape}")
        b = network[f"layers.{layer}.b"]
        check_array(f"{name}['layers.{layer}.b']", b, (len(W),))
        layers.append((W, b.astype(np.float64)))
    return layers


def check_array(name, array, shape):
    """Raise ValueError unless array has this shape and holds finite float32 or float64."""
    check_floats(name, array)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def _check_matrices(Ws):
    """The shapes of the Ws. Raises ValueError unless they are finite matrices that chain."""
    check_list("Ws", Ws)
    shapes = [check_matrix(f"Ws[{layer}]", W) for layer, W in enumerate(Ws)]
    if any(d_out != d_in for (d_out, _), (_, d_in) in pairwise(shapes)):
        raise ValueError(f"Ws has shapes {shapes}: each d_in must be the d_out before it")
    return shapes


def _mlp_names(network):
    """The names of the weights of an MLP with half as many layers as network has names."""
    depth = max(1, len(network) // 2)
    return {f"layers.{layer}.{part}" for layer in range(depth) for part in "Wb"}
