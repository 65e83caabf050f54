"""Every merge against its paper's equation, written as loops: agreement with itself cannot catch a wrong formula."""

import math

import numpy as np
import pytest
from contract import moved, weight

from minilora.adapters import Full, LoRA
from minilora.scaling import alpha_over_sqrt_rank


def plus_product(W, s, B, A):
    """W + s B A, entry by entry."""
    merged = np.array(W)
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            for k in range(A.shape[0]):
                merged[i, j] += s * B[i, k] * A[k, j]
    return merged


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize(
    "adapter, s",
    [
        (LoRA(rank=2), 1.0),
        (LoRA(rank=2, alpha=8), 4.0),
        (LoRA(rank=3, alpha=1.5), 0.5),
        (LoRA(rank=3, alpha=6, scaling=alpha_over_sqrt_rank), 6 / math.sqrt(3)),
    ],
)
def test_lora_is_w_plus_alpha_over_r_b_a(shape, adapter, s, rng):
    W = weight(rng, shape)
    params, frozen = adapter.init(rng, W)
    params = moved(rng, params)
    np.testing.assert_allclose(adapter.merge(params, frozen), plus_product(W, s, params["B"], params["A"]), rtol=1e-13)


def test_lora_starts_with_b_zero_and_a_of_variance_one_over_d_in(rng):
    params, _ = LoRA(rank=50).init(rng, weight(rng, (60, 400)))
    assert not np.any(params["B"])
    assert abs(np.mean(params["A"])) < 4 / math.sqrt(400 * 20_000)
    assert abs(np.var(params["A"]) * 400 - 1) < 0.05


def test_at_the_start_only_b_has_a_gradient(rng):
    """∂loss/∂A is a multiple of Bᵀ = 0, ∂loss/∂B one of A x ≠ 0: the first step moves B alone."""
    from minilora.train import value_and_grad

    adapter, W = LoRA(rank=2), weight(rng, (4, 5))
    params, frozen = adapter.init(rng, W)
    x = rng.standard_normal((3, 5))
    _, grads = value_and_grad(lambda p, x: (adapter.forward(p, frozen, x) ** 2).sum(), params, x)
    assert not np.any(grads["A"])
    y = x @ W.T
    np.testing.assert_allclose(grads["B"], 2 * y.T @ (x @ params["A"].T), rtol=1e-12)


def test_full_is_the_trained_matrix(rng):
    W = weight(rng, (4, 5))
    params, frozen = Full().init(rng, W)
    assert frozen == {}
    params = moved(rng, params)
    np.testing.assert_array_equal(Full().merge(params, frozen), params["W"])


@pytest.mark.parametrize("alpha", [0, -1, math.nan, math.inf, "8"])
def test_an_impossible_alpha_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        LoRA(rank=2, alpha=alpha)
