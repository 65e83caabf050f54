"""What the papers of LoRA and rsLoRA claim, and what follows for weight decay and the zero factor.

Then one claim each of QLoRA and SBoRA: how often the 16 levels are used, and which activations the
frozen A spares.
"""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import make_vjp
from autograd.core import VJPNode
from autograd.tracer import new_box, toposort, trace_stack
from hypothesis import given
from hypothesis import strategies as st

from minilora.adapters import LoRA, SBoRAFA, SBoRAFB
from minilora.adapters.scaling import alpha_over_rank, alpha_over_sqrt_rank
from minilora.analysis import random_similarity, subspace_similarity
from minilora.architectures import count_trainable
from minilora.attachment import attach
from minilora.cli.letters import mlp_loss
from minilora.data.glyphs import ROTATED, SOURCE, draw_letters
from minilora.models.mlp import init_mlp, mlp
from minilora.quantization import quantize
from minilora.testing.claims import (
    DETTMERS,
    HU,
    KALAJDZIEVSKI,
    OURS,
    PO,
    at_least,
    claim,
    exactly,
    within,
)
from minilora.testing.rows import moved
from minilora.train import adam, adam_start, fit, value_and_grad
from minilora.weight import linear

SEED = st.integers(0, 2**32 - 1)
SIDE = st.integers(1, 9)
DTYPES = st.sampled_from([np.float64, np.float32])
EXPONENT = st.integers(-8, 8)


def rank_of(share, d_out, d_in):
    """A rank from 1 (share 0) to min(d_out, d_in) (share 1)."""
    return max(1, round(share * min(d_out, d_in)))


# LoRA


@claim("G1", HU, "before training W' = W, and every output is bitwise identical to W's")
@given(SEED, SIDE, SIDE, st.floats(0, 1), DTYPES, EXPONENT, st.integers(-6, 6))
def test_lora_starts_at_the_pretrained_weight(seed, d_out, d_in, share, dtype, size, alpha):
    """For ranks from 1 to min(d_out, d_in), α from 1e-6 to 1e6, entries of W around 1e-8 to 1e8.

    W' = W as numbers: an entry −0.0 of W becomes 0.0. A is not zero, so training can begin.
    """
    rng = np.random.default_rng(seed)
    W = (rng.standard_normal((d_out, d_in)) * 10.0**size).astype(dtype)
    x = rng.standard_normal((3, d_in)).astype(dtype)
    adapter = LoRA(rank_of(share, d_out, d_in), alpha=10.0**alpha)
    params, frozen = adapter.init(rng, W)
    merged = adapter.merge(params, frozen)
    output = adapter.forward(params, frozen, x)
    exactly(np.array_equal(merged, W) and merged.dtype == dtype)
    exactly(output.tobytes() == linear(W, x).tobytes() and output.dtype == dtype)
    exactly(np.all(params["A"] != 0))


def operations(weights, x):
    """How many operations of a forward pass the input takes part in."""
    with trace_stack.new_trace() as trace:
        end = mlp(weights, new_box(x, trace, VJPNode.new_root()))
    return len(list(toposort(end._node))) - 1  # the input itself is none


@claim("G2", HU, "merged: arrays and operations of the pretrained network, same output")
@given(SEED, st.lists(SIDE, min_size=2, max_size=4), st.floats(0, 1), DTYPES)
def test_a_merged_model_has_no_latency(seed, widths, share, dtype):
    """For MLPs of 1 to 3 layers with LoRA on every matrix, after random training, α = 3.

    The same shapes, dtypes and number of operations: no clock is read. Beside W each adapter adds
    four operations. The output is that of the unmerged network up to the product of the norms times
    the sum over the layers of (d_in + r + 2) ε: both ways round so many times, by ε/2 each at most,
    ε = np.finfo(dtype).eps.
    """
    rng = np.random.default_rng(seed)
    weights = init_mlp(rng, widths, dtype)
    x = rng.standard_normal((3, widths[0])).astype(dtype)
    attached = attach(weights, {"*.W": LoRA(rank_of(share, min(widths), min(widths)), 3)}, rng=rng)
    params = {
        name: {key: array.astype(dtype) for key, array in moved(rng, own).items()}
        for name, own in attached.params.items()
    }
    merged = attached.merge(params)
    for name, W in weights.items():
        exactly(type(merged[name]) is np.ndarray)
        exactly((merged[name].shape, merged[name].dtype) == (W.shape, W.dtype))
    layers = len(widths) - 1
    exactly(operations(merged, x) == operations(weights, x))
    exactly(operations(attached.bind(params), x) == operations(weights, x) + 4 * layers)
    scale, roundings = np.linalg.norm(x), 0
    for name, own in params.items():
        roundings += weights[name].shape[1] + len(own["A"]) + 2
        update = attached.adapters[name].scale * np.linalg.norm(own["B"]) * np.linalg.norm(own["A"])
        scale = scale * (np.linalg.norm(weights[name]) + update)
    gap = np.abs(mlp(merged, x) - mlp(attached.bind(params), x))
    within(gap, roundings * np.finfo(dtype).eps * scale)


def trained_update(network, data, rank, rng):
    """ΔW of the first matrix after 60 steps of training LoRA of this rank on it."""
    attached = attach(network, {"layers.0.W": LoRA(rank, alpha=16)}, rng=rng)

    def loss(params, x, labels):
        return mlp_loss(attached.bind(params), x, labels)

    params = fit(loss, attached.params, data, rng=rng, steps=60, batch=64, lr=1e-2)
    delta = attached.merge(params)["layers.0.W"] - network["layers.0.W"]
    return delta.astype(np.float64)


@claim("G3", HU, "the top direction of r = 8 lies in the first 8 of r = 64: φ ≥ 0.7")
def test_trained_updates_of_two_ranks_share_their_first_directions():
    """One network, 100 → 100 → 26, letters of 10 × 10 pixels, adapted to rotated ones; three seeds.

    φ(1, 8) of ΔW, on the side of the outputs and of the inputs: 0.80 to 0.92 measured; of random
    subspaces 0.08 ± 0.04. The starts and the batches of the two ranks differ, network and data do
    not. The paper takes φ of A, which here holds its random start too. It finds the top direction
    shared and the others not. That does not show here: φ(8, 8) is 0.6 to 0.7, far above chance as
    well, and φ(1, 1) is 0.1 to 0.7, so that it is not the same direction that comes first.
    """
    rng = np.random.default_rng(0)
    source = draw_letters(rng, SOURCE, 40, size=10)
    start = init_mlp(rng, (100, 100, 26))
    network = fit(mlp_loss, start, source, rng=rng, steps=200, batch=64, lr=3e-3)
    data = draw_letters(rng, ROTATED, 40, size=10)
    mean, deviation = random_similarity(100, 1, 8)
    for seed in range(3):
        low, high = (
            trained_update(network, data, rank, np.random.default_rng([seed, rank]))
            for rank in (8, 64)
        )
        for one, other in ((low, high), (low.T, high.T)):
            found = subspace_similarity(one, other, 1, 8)
            at_least(found, 0.7)
            at_least((found - mean) / deviation, 15)


@claim("G4", HU, "rank min(d_out, d_in) reaches every W': the same as full fine-tuning")
@given(SEED, SIDE, SIDE, DTYPES, EXPONENT, st.integers(-3, 3), st.booleans())
def test_full_rank_reaches_any_update(seed, d_out, d_in, dtype, size, alpha, singular):
    """For any ΔW, of any rank: B = ΔW / s, A = I, or B = I, A = ΔW / s, whichever is smaller.

    Forward and merged, up to 4 ε of the sum of the magnitudes; α from 1e-3 to 1e3.
    """
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((d_out, d_in)).astype(dtype)
    delta = rng.integers(-1, 2, W.shape) if singular else rng.standard_normal(W.shape)
    delta = (delta * 10.0**size).astype(dtype)
    x = rng.standard_normal((3, d_in)).astype(dtype)
    adapter = LoRA(min(d_out, d_in), alpha=10.0**alpha)
    _, frozen = adapter.init(rng, W)
    scaled = (delta / adapter.scale).astype(dtype)
    identity = np.eye(adapter.rank, dtype=dtype)
    params = {"A": identity, "B": scaled} if d_in <= d_out else {"A": scaled, "B": identity}
    unit = 4 * np.finfo(dtype).eps
    room = np.abs(W) + np.abs(delta)
    within(np.max(np.abs(adapter.merge(params, frozen) - (W + delta)) / room), unit)
    gap = np.abs(adapter.forward(params, frozen, x) - linear(W + delta, x))
    within(np.max(gap / linear(room, np.abs(x))), unit)


@claim("G4", HU, "trained at rank r it misses σ_{r+1}, … of ΔW, and nothing at full rank")
@pytest.mark.parametrize("seed", range(3))
def test_the_error_falls_to_zero_as_the_rank_grows(seed):
    """Gradient descent on ‖W' − T‖²_F. T − W is (5, 6), with singular values 3, 2.5, 2, 1.5, 1.

    For these three seeds the error comes down to that of Eckart and Young, within 1e-14.
    """
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    right = np.linalg.qr(rng.standard_normal((6, 5)))[0]
    sigma = np.array([3.0, 2.5, 2.0, 1.5, 1.0])
    W = rng.standard_normal((5, 6))
    T = W + left * sigma @ right.T
    for rank in range(1, 6):
        adapter = LoRA(rank)
        params, frozen = adapter.init(rng, W)
        for _ in range(600):
            G = adapter.merge(params, frozen) - T
            A, B = params["A"], params["B"]
            params = {"A": A - 0.1 * B.T @ G, "B": B - 0.1 * G @ A.T}
        error = np.linalg.norm(adapter.merge(params, frozen) - T)
        within(abs(error - np.linalg.norm(sigma[rank:])), 1e-14, f"rank {rank}")


@claim("G5", HU, "r (d_out + d_in) parameters a matrix; GPT-3: 4.7 M at r = 1, 37.7 M at 8")
@pytest.mark.parametrize("rank, published", [(1, "4.7"), (8, "37.7")])
def test_the_published_counts_of_gpt3(rank, published):
    """GPT-3 175B, q and v of 96 layers of width 12,288, as exact integers and as printed."""
    shapes = {f"{layer}.{part}": (12_288, 12_288) for layer in range(96) for part in "qv"}
    count = count_trainable(LoRA(rank), shapes)
    exactly(count == 96 * 2 * rank * (12_288 + 12_288))
    exactly(f"{count / 1e6:.1f}" == published)


# rsLoRA


RANKS = (4, 8, 16, 32, 64, 128, 256)


def slope(sizes, values):
    """The slope of values against sizes on logarithmic axes."""
    return np.polyfit(np.log(sizes), np.log(values), 1)[0]


def first_steps(adapter, optimiser, rng):
    """(first gradient of B, params after one step, params after three, frozen, x).

    A layer of 256 × 256 with W = 0, so that the output is the adapter's alone. One input x and
    ½ ‖y − target‖²; the steps are so small that the loss is nearly linear.
    """
    x = rng.standard_normal((1, 256))
    target = rng.standard_normal((1, 256))
    params, frozen = adapter.init(rng, np.zeros((256, 256)))

    def loss(params):
        return 0.5 * anp.sum((adapter.forward(params, frozen, x) - target) ** 2)

    state = adam_start(params)
    steps = []
    for _ in range(3):
        _, grads = value_and_grad(loss, params)
        if optimiser == "Adam":
            params, state = adam(params, grads, state, lr=1e-7)
        else:
            params = {name: params[name] - 1e-7 * grads[name] for name in params}
        steps.append((grads, params))
    return steps[0][0]["B"], steps[0][1], steps[2][1], frozen, x


def moments(numbers):
    """The mean magnitude and the root mean square."""
    return np.mean(np.abs(numbers)), np.sqrt(np.mean(np.square(numbers)))


def slopes(scaling, optimiser, measure, ranks=RANKS):
    """Slopes over the ranks of two moments of each number that measure(adapter, …) returns."""
    found = []
    for rank in ranks:
        adapter = LoRA(rank, 1.0, scaling)
        draws = []
        for draw in range(16):
            rng = np.random.default_rng([rank, draw])
            draws.append(measure(adapter, rng, *first_steps(adapter, optimiser, rng)))
        found.append([moments(numbers) for numbers in zip(*draws)])
    curves = np.reshape(found, (len(ranks), -1)).T
    return [slope(ranks, curve) for curve in curves]


def output_for_the_input(adapter, rng, gradient, one_step, three_steps, frozen, x):
    return adapter.forward(one_step, frozen, x), adapter.forward(three_steps, frozen, x)


def output_for_others(adapter, rng, gradient, one_step, three_steps, frozen, x):
    return (adapter.forward(one_step, frozen, rng.standard_normal((20, 256))),)


def norm_of_the_gradient(adapter, rng, gradient, one_step, three_steps, frozen, x):
    return (np.linalg.norm(gradient),)


@claim("G6", KALAJDZIEVSKI, "gradient descent: steps move the output by r⁰ with α/√r, r⁻¹ with α/r")
@pytest.mark.parametrize("scaling, expected", [(alpha_over_sqrt_rank, 0), (alpha_over_rank, -1)])
def test_the_output_under_gradient_descent(scaling, expected):
    """Slopes on logarithmic axes over r = 4 … 256, ± 0.1: mean magnitude and root mean square.

    After one step and after three. A Gaussian with variance 1/d_in, B = 0; 256 × 256; the output
    for the input of the steps, one input; small steps; 16 draws.
    """
    for found in slopes(scaling, "gradient descent", output_for_the_input):
        within(abs(found - expected), 0.1)


@claim("G6", KALAJDZIEVSKI, "the first gradient of B: r⁰ with α/√r, r^(−½) with α/r")
@pytest.mark.parametrize("scaling, expected", [(alpha_over_sqrt_rank, 0), (alpha_over_rank, -0.5)])
def test_the_first_gradient(scaling, expected):
    """Slopes of the Frobenius norm over r = 4 … 256, ± 0.05; setting and moments as above."""
    for found in slopes(scaling, "gradient descent", norm_of_the_gradient):
        within(abs(found - expected), 0.05)


@claim("G6", OURS, "α/√r moves outputs for other inputs by r^(−½), while r is far below d")
def test_the_output_for_other_inputs():
    """One step, r = 4 … 64 of 256, inputs independent of the step's; ± 0.1; setting as above.

    r⁰ is the mean over A, and it lies along the step's own input. Around it ΔW has a random part,
    which grows less with r. For other inputs it is the larger one while r is far below d.
    """
    ranks = RANKS[:5]
    for found in slopes(alpha_over_sqrt_rank, "gradient descent", output_for_others, ranks):
        within(abs(found + 0.5), 0.1)


@claim("G7", OURS, "Adam: the first steps move the output by r^½ with α/√r and by r⁰ with α/r")
@pytest.mark.parametrize("scaling, expected", [(alpha_over_sqrt_rank, 0.5), (alpha_over_rank, 0)])
def test_the_output_under_adam(scaling, expected):
    """As for gradient descent: same layer, ranks, steps and moments, ± 0.1.

    Adam's first step is η sign(G Aᵀ): the scale s is in the output once, not twice.
    """
    for found in slopes(scaling, "Adam", output_for_the_input):
        within(abs(found - expected), 0.1)


# What weight decay does, and which factor starts at zero


@claim("G8", OURS, "½ (‖A‖² + ‖B‖²) ≥ ‖B A‖_*, equal for balanced factors")
@given(SEED, SIDE, SIDE, st.floats(0, 1), st.integers(-3, 3), st.booleans())
def test_the_decay_of_two_factors_is_the_nuclear_norm(seed, d_out, d_in, share, size, deficient):
    """For any A and B of any rank up to min(d_out, d_in), of unequal sizes 1e-3 to 1e3 too.

    Known: Srebro, Rennie and Jaakkola, 2004. Balanced: B = U √Σ, A = √Σ Vᵀ of B A = U Σ Vᵀ. The
    update is LoRA's, with s = 1.
    """
    rng = np.random.default_rng(seed)
    rank = rank_of(share, d_out, d_in)
    adapter = LoRA(rank)
    W = np.zeros((d_out, d_in))
    A = rng.standard_normal((rank, d_in)) * 10.0**size
    B = rng.standard_normal((d_out, rank)) / 10.0**size
    if deficient:
        B[:, 0] = 0
    M = adapter.merge({"A": A, "B": B}, {"W": W})
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    nuclear = np.sum(sigma)
    within(nuclear - 0.5 * (np.sum(A**2) + np.sum(B**2)), 1e-13 * (1 + nuclear))
    root = np.sqrt(sigma[:rank])
    balanced = {"A": root[:, None] * Vt[:rank], "B": U[:, :rank] * root}
    within(np.abs(adapter.merge(balanced, {"W": W}) - M), 1e-14 * (1 + nuclear))
    decay = 0.5 * (np.sum(balanced["A"] ** 2) + np.sum(balanced["B"] ** 2))
    within(abs(decay - nuclear), 1e-14 * (1 + nuclear))


@claim("G8", OURS, "weight decay λ on A and B lowers each singular value of ΔW by λ, at most to 0")
@pytest.mark.parametrize("seed", range(3))
def test_weight_decay_soft_thresholds_the_update(seed):
    """Gradient descent on ½ ‖W' − T‖²_F + ½ λ (‖A‖² + ‖B‖²), T = W + ΔW, λ = 0.5, three seeds.

    Rank 4 of (5, 6), ΔW with singular values 3, 2, 1, 0.2. Follows from the nuclear norm.
    """
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((5, 4)))[0]
    right = np.linalg.qr(rng.standard_normal((6, 4)))[0]
    W = rng.standard_normal((5, 6))
    T = W + left * [3.0, 2.0, 1.0, 0.2] @ right.T
    adapter = LoRA(4)
    params, frozen = adapter.init(rng, W)

    def loss(params):
        decay = anp.sum(params["A"] ** 2) + anp.sum(params["B"] ** 2)
        return 0.5 * anp.sum((adapter.merge(params, frozen) - T) ** 2) + 0.25 * decay

    for _ in range(400):
        _, grads = value_and_grad(loss, params)
        params = {name: params[name] - 0.1 * grads[name] for name in params}
    expected = left * [2.5, 1.5, 0.5, 0.0] @ right.T
    within(np.abs(adapter.merge(params, frozen) - W - expected), 1e-11)


def output_after_two_steps_of_adam(d, zero, seed):
    """Root mean square of the adapter's output for the input of two steps, η = 1/√d, rank 4.

    The loss has a constant slope, so that the second step goes on where the first went. What is not
    zero is Gaussian with variance 1/d_in (A) or 1/r (B).
    """
    rng = np.random.default_rng(seed)
    adapter = LoRA(4)
    W = np.zeros((d, d))
    x = rng.standard_normal((1, d))
    slopes = rng.standard_normal((1, d))
    params, frozen = adapter.init(rng, W)
    if zero == "A":
        params = {"A": 0 * params["A"], "B": rng.standard_normal((d, 4)) / 2}

    def loss(params):
        return anp.sum(slopes * adapter.forward(params, frozen, x))

    state = adam_start(params)
    for _ in range(2):
        _, grads = value_and_grad(loss, params)
        params, state = adam(params, grads, state, lr=d**-0.5)
    return np.sqrt(np.mean(adapter.forward(params, frozen, x) ** 2))


@claim("G9", OURS, "two steps of Adam, η = 1/√d: the output grows by d⁰ if B = 0, d^½ if A = 0")
@pytest.mark.parametrize("zero, expected", [("B", 0.0), ("A", 0.5)])
def test_the_two_zero_starts_differ_in_width(zero, expected):
    """Slopes on logarithmic axes over d = 64 … 1024, ± 0.15; rank 4, one input, 10 draws.

    As measured, in the setting of `output_after_two_steps_of_adam`. It is what Hayou, Ghosh and Yu,
    2024, arXiv 2406.08447, find: B = 0 bears learning rates of size 1/√d, A = 0 only of 1/d.
    """
    widths = 64, 128, 256, 512, 1024
    found = [
        np.mean([output_after_two_steps_of_adam(d, zero, [d, draw]) for draw in range(10)])
        for d in widths
    ]
    within(abs(slope(widths, found) - expected), 0.15)


# Levels and activations


@claim("C13", DETTMERS, "shares of the 16 levels differ by a factor of 5.4, N(0, 1), blocks of 64")
def test_the_levels_are_not_used_equally():
    """QLoRA calls levels that are used equally often optimal; with absmax blocks these are not.

    20,000 blocks. Largest share (−0.09) 0.092, smallest (1) 0.017; without the two ends, which the
    absmax of each block takes, the factor is 2.5. An equal share would be 0.0625.
    """
    W = np.random.default_rng(0).standard_normal((2000, 640))
    codes = quantize(W).codes
    shares = np.bincount(np.concatenate([codes >> 4, codes & 15]).ravel(), minlength=16) / W.size
    exactly(np.argmax(shares) == 6 and np.argmin(shares) == 15)
    within(abs(np.max(shares) / np.min(shares) - 5.36), 0.15)
    within(abs(np.max(shares[1:-1]) / np.min(shares[1:-1]) - 2.55), 0.05)


def gradient_after_x_is_lost(adapter, params, frozen, x, g, letter):
    """The gradient of one array, and of x, if x is overwritten once the forward pass is done."""

    def forward(array, x):
        return adapter.forward({**params, letter: array}, frozen, x)

    kept = x.copy()
    found = []
    for argument in (0, 1):
        backward, _ = make_vjp(forward, argument)(params[letter], kept)
        before = backward(g)
        kept[:] = np.nan
        found.append((before, backward(g)))
        kept[:] = x
    return found


@claim("C14", PO, "FA: the gradients of B and x need x only at cols; FB's and LoRA's A need all")
@given(SEED, SIDE, SIDE, st.floats(0, 1), DTYPES)
def test_frozen_a_spares_the_input(seed, d_out, d_in, share, dtype):
    """x may be overwritten after the forward pass: r numbers for each input are kept, not d_in.

    Bitwise for FA, any rank; the same with LoRA or SBoRA-FB turns the gradient of A to NaN. Neither
    gradient for x needs x. Whether memory is freed is the model's affair: a ReLU keeps its output.
    """
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((d_out, d_in)).astype(dtype)
    x = rng.standard_normal((3, d_in)).astype(dtype)
    g = rng.standard_normal((3, d_out)).astype(dtype)
    r = rank_of(share, d_out, d_in)
    for adapter, letter in ((SBoRAFA(r), "B"), (SBoRAFB(r), "A"), (LoRA(r), "A")):
        params, frozen = adapter.init(rng, W)
        params = {name: array.astype(dtype) for name, array in moved(rng, params).items()}
        own, for_x = gradient_after_x_is_lost(adapter, params, frozen, x, g, letter)
        exactly(for_x[0].tobytes() == for_x[1].tobytes())
        if letter == "B":
            exactly(own[0].tobytes() == own[1].tobytes() and not np.any(np.isnan(own[0])))
        else:
            exactly(np.all(np.isnan(own[1])) and not np.any(np.isnan(own[0])))


def test_a_rank_above_the_shape_is_allowed(rng):
    params, _ = LoRA(9).init(rng, np.ones((3, 4)))
    assert (params["A"].shape, params["B"].shape) == ((9, 4), (3, 9))


def test_a_scale_that_no_float_holds_is_refused():
    with pytest.raises(ValueError, match=r"^scaling must give a positive number"):
        LoRA(2, scaling=lambda alpha, rank: 10**400)
