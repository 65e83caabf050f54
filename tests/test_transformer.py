"""The Transformer against loops over single numbers, and what its masks, heads, norms and samples promise."""

import math

import autograd.numpy as anp
import numpy as np
import pytest
from autograd.test_util import check_grads

from minilora.adapters import Full, LoRA
from minilora.attach import attach
from minilora.models.transformer import (
    attention,
    block,
    causal,
    everything,
    init_transformer,
    layer_norm,
    sample,
    softmax,
    standardised,
    transformer,
)
from minilora.train import cross_entropy, value_and_grad

V, CONTEXT, WIDTH, HEADS, DEPTH = 7, 5, 6, 3, 2

tied_and_untied = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
every_mask = pytest.mark.parametrize("mask", [causal, everything])
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=lambda dtype: dtype.__name__)


def as_trained(rng, weights, size=0.3):
    """Weights some way off their start, so that no gain is 1 and no bias 0."""
    return {name: (a + size * rng.standard_normal(a.shape)).astype(a.dtype) for name, a in weights.items()}


def tiny(rng, tied=True, dtype=np.float64, depth=DEPTH):
    """A small model, as training leaves it."""
    return as_trained(rng, init_transformer(rng, V, CONTEXT, WIDTH, depth, tied, dtype))


def loss(weights, tokens, targets, mask=causal):
    """The mean of −log p(target) over all places."""
    logits = transformer(weights, tokens, HEADS, mask)
    return cross_entropy(logits.reshape(-1, V), targets.ravel())


def times(W, x):
    """W x, number by number."""
    return [sum(W[i][j] * x[j] for j in range(len(x))) for i in range(len(W))]


def normed(x, gain, bias):
    """One vector minus its mean, over its standard deviation, times the gain, plus the bias."""
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    return [g * (value - mean) / math.sqrt(variance + 1e-5) + b for value, g, b in zip(x, gain, bias)]


def by_loops(weights, tokens, heads, sees, depth):
    """The logits of one sequence, with nothing but loops and math; sees(query, key) says what the mask says."""
    w = {name: array.tolist() for name, array in weights.items()}
    places, width = range(len(tokens)), len(w["norm.gain"])
    size = width // heads
    h = [[w["embedding"][tokens[t]][i] + w["positions"][t][i] for i in range(width)] for t in places]
    for layer in range(depth):
        own = {name.removeprefix(f"blocks.{layer}."): value for name, value in w.items()}
        x = [normed(row, own["norm1.gain"], own["norm1.bias"]) for row in h]
        q, k, v = ([times(own[f"attention.{part}.W"], row) for row in x] for part in "qkv")
        for t in places:
            y = []
            for rows in [range(head * size, (head + 1) * size) for head in range(heads)]:
                keys = [s for s in places if sees(t, s)]
                powers = [math.exp(sum(q[t][i] * k[s][i] for i in rows) / math.sqrt(size)) for s in keys]
                y += [sum(p * v[s][i] for p, s in zip(powers, keys)) / sum(powers) for i in rows]
            h[t] = [a + b for a, b in zip(h[t], times(own["attention.o.W"], y))]
            x = normed(h[t], own["norm2.gain"], own["norm2.bias"])
            up = [max(a + b, 0.0) for a, b in zip(times(own["ffn.up.W"], x), own["ffn.up.b"])]
            down = times(own["ffn.down.W"], up)
            h[t] = [a + b + c for a, b, c in zip(h[t], down, own["ffn.down.b"])]
    head = w["head.W"] if "head.W" in w else w["embedding"]
    return [times(head, normed(row, w["norm.gain"], w["norm.bias"])) for row in h]


@tied_and_untied
@pytest.mark.parametrize("heads", [1, 2, 3, 6])
@pytest.mark.parametrize("mask, sees", [(causal, lambda t, s: s <= t), (everything, lambda t, s: True)])
def test_logits_are_what_loops_over_single_numbers_give(tied, heads, mask, sees, rng):
    weights = tiny(rng, tied)
    for length in (1, 3, CONTEXT):
        tokens = rng.integers(V, size=length)
        expected = by_loops(weights, tokens, heads, sees, DEPTH)
        np.testing.assert_allclose(transformer(weights, tokens, heads, mask), expected, rtol=0, atol=1e-10)


def test_the_causal_mask_is_the_one_that_is_used_by_default(rng):
    weights, tokens = tiny(rng), rng.integers(V, size=CONTEXT)
    np.testing.assert_array_equal(transformer(weights, tokens, HEADS), transformer(weights, tokens, HEADS, causal))


@pytest.mark.parametrize("axes", [(), (1,), (4,), (2, 3), (0,)], ids=str)
def test_a_batch_gives_what_its_sequences_give_one_by_one(axes, rng):
    weights, tokens = tiny(rng), rng.integers(V, size=(*axes, 4))
    logits = transformer(weights, tokens, HEADS)
    assert logits.shape == (*axes, 4, V)
    for index in np.ndindex(axes):
        np.testing.assert_allclose(logits[index], transformer(weights, tokens[index], HEADS), rtol=0, atol=1e-12)


@every_dtype
@pytest.mark.parametrize("place", range(CONTEXT))
def test_a_token_has_no_influence_on_the_logits_before_it(dtype, place, rng):
    """With the causal mask, changing token t leaves all earlier logits bitwise as they were, and changes all others."""
    weights, tokens = tiny(rng, dtype=dtype), rng.integers(V, size=(2, CONTEXT))
    other = tokens.copy()
    other[:, place] = (tokens[:, place] + 1) % V
    before, after = transformer(weights, tokens, HEADS), transformer(weights, other, HEADS)
    np.testing.assert_array_equal(after[:, :place], before[:, :place])
    assert np.min(np.max(np.abs(after - before)[:, place:], axis=-1)) > 1e-4


@pytest.mark.parametrize("place", range(1, CONTEXT))
def test_without_a_mask_a_token_has_influence_on_all_logits(place, rng):
    weights, tokens = tiny(rng), rng.integers(V, size=CONTEXT)
    other = tokens.copy()
    other[place] = (tokens[place] + 1) % V
    change = transformer(weights, other, HEADS, everything) - transformer(weights, tokens, HEADS, everything)
    assert np.min(np.max(np.abs(change), axis=-1)) > 1e-4


def test_a_key_has_influence_on_the_queries_that_may_see_it_alone(rng):
    """In one block, under any mask, changing token s leaves the logits of all t that may not see s bitwise equal."""
    weights, tokens = tiny(rng, depth=1), rng.integers(V, size=CONTEXT)
    allowed = rng.random((CONTEXT, CONTEXT)) < 0.5
    allowed |= np.eye(CONTEXT, dtype=bool)
    for place in range(CONTEXT):
        other = tokens.copy()
        other[place] = (tokens[place] + 1) % V
        before, after = (transformer(weights, row, HEADS, lambda length: allowed) for row in (tokens, other))
        changed = np.max(np.abs(after - before), axis=-1)
        np.testing.assert_array_equal(changed > 1e-4, allowed[:, place])
        np.testing.assert_array_equal(changed > 0, allowed[:, place])


def test_the_order_of_the_heads_is_free(rng):
    """Permuting the heads' rows of q, k, v and with them the columns of o leaves the logits; of q alone, does not."""
    weights, tokens = tiny(rng), rng.integers(V, size=(2, CONTEXT))
    rows = np.arange(WIDTH).reshape(HEADS, -1)[[2, 0, 1]].ravel()
    permuted, broken = dict(weights), dict(weights)
    for layer in range(DEPTH):
        name = f"blocks.{layer}.attention"
        for part in "qkv":
            permuted[f"{name}.{part}.W"] = weights[f"{name}.{part}.W"][rows]
        permuted[f"{name}.o.W"] = weights[f"{name}.o.W"][:, rows]
        broken[f"{name}.q.W"] = permuted[f"{name}.q.W"]
    logits = transformer(weights, tokens, HEADS)
    np.testing.assert_allclose(transformer(permuted, tokens, HEADS), logits, rtol=0, atol=1e-12)
    assert np.max(np.abs(transformer(broken, tokens, HEADS) - logits)) > 0.01


def test_equal_keys_are_answered_by_the_mean_of_the_values(rng):
    """Where W_k = 0 no key is preferred, so attention is W_o W_v of the mean of what may be seen."""
    weights, x = tiny(rng), rng.standard_normal((4, WIDTH))
    name = "blocks.0.attention"
    weights[f"{name}.k.W"] = np.zeros((WIDTH, WIDTH))
    product = weights[f"{name}.o.W"] @ weights[f"{name}.v.W"]
    means = np.stack([product @ x[: t + 1].mean(axis=0) for t in range(4)])
    np.testing.assert_allclose(attention(weights, name, x, HEADS, causal(4)), means, rtol=0, atol=1e-12)


def test_softmax_is_a_distribution_over_the_allowed_keys(rng):
    scores, allowed = rng.standard_normal((2, 3, 4, 4)), causal(4)
    shares = softmax(scores, allowed)
    np.testing.assert_allclose(shares.sum(axis=-1), 1, rtol=1e-14)
    assert not np.any(shares[..., ~allowed])
    np.testing.assert_allclose(shares[..., 3, 1] / shares[..., 3, 2], np.exp(scores[..., 3, 1] - scores[..., 3, 2]))


@pytest.mark.parametrize("masked", [-1e30, 0.0, 1e30])
@pytest.mark.parametrize("size", [-1e30, 1e30])
def test_softmax_survives_huge_scores(masked, size):
    """The sum neither overflows nor vanishes, whatever the size of the scores, those of masked keys included."""
    scores = np.array([[size, masked, masked], [size, size, masked], [size, size, size]])
    np.testing.assert_allclose(softmax(scores, causal(3)), [[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]])


def test_a_layer_norm_has_mean_zero_and_variance_one(rng):
    """With gain 1 and bias 0 each row has mean 0 and variance v / (v + 1e-5), v being its variance before."""
    x = 3 + 10.0 ** rng.uniform(-1, 3, (50, 1)) * rng.standard_normal((50, 8))
    weights = {"norm.gain": np.ones(8), "norm.bias": np.zeros(8)}
    y = layer_norm(weights, "norm", x)
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=1), x.var(axis=1) / (x.var(axis=1) + 1e-5), rtol=1e-12)
    gain, bias = rng.standard_normal((2, 8))
    np.testing.assert_allclose(layer_norm({"n.gain": gain, "n.bias": bias}, "n", x), gain * y + bias, atol=1e-12)


@every_mask
def test_the_derivatives_of_softmax_and_of_the_norm_agree_with_finite_differences(mask, rng):
    """The first and the second, with rows of any number of leading axes."""
    check_grads(softmax, argnum=[0], modes=["rev"], order=2)(rng.standard_normal((2, 3, 4, 4)), mask(4))
    check_grads(standardised, argnum=[0], modes=["rev"], order=2)(0.1 * rng.standard_normal((2, 3, 5)), 0.01)


NAMES = list(init_transformer(np.random.default_rng(0), V, CONTEXT, WIDTH, DEPTH, tied=False))


@every_mask
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_every_weight_agrees_with_finite_differences(name, mask, rng):
    weights, tokens = tiny(rng, tied=False), rng.integers(V, size=(2, 3))
    targets = rng.integers(V, size=(2, 3))
    check_grads(lambda W: loss({**weights, name: W}, tokens, targets, mask), modes=["rev"], order=1)(weights[name])


def test_a_tied_embedding_gets_the_gradients_of_both_its_uses(rng):
    weights, tokens, targets = tiny(rng), *rng.integers(V, size=(2, 2, 3))
    check_grads(lambda E: loss({**weights, "embedding": E}, tokens, targets), modes=["rev"], order=1)(
        weights["embedding"]
    )
    _, both = value_and_grad(loss, weights, tokens, targets)
    _, apart = value_and_grad(loss, {**weights, "head.W": weights["embedding"]}, tokens, targets)
    np.testing.assert_allclose(both["embedding"], apart["embedding"] + apart["head.W"], rtol=1e-10, atol=1e-14)


@tied_and_untied
@every_dtype
def test_dtype_in_is_dtype_out_in_logits_and_in_every_raw_gradient(tied, dtype, rng):
    weights = tiny(rng, tied, dtype)
    tokens, targets = rng.integers(V, size=(2, 3, CONTEXT))
    seen = {"logits": transformer(weights, tokens, np.int64(HEADS))}

    def watched(weights):
        seen["loss"] = loss(weights, tokens, targets)
        return seen["loss"]

    _, seen["gradients"] = value_and_grad(watched, weights)
    attached = attach(weights, {"*.attention.[qv].W": LoRA(2), "*.b": Full()}, rng)
    _, adapters = value_and_grad(lambda params: loss(attached.bind(params), tokens, targets), attached.params)
    arrays = [seen["logits"], seen["loss"], *seen["gradients"].values()]
    arrays += [grad for own in adapters.values() for grad in own.values()]
    assert {np.dtype(array.dtype) for array in arrays} == {np.dtype(dtype)}


@tied_and_untied
@pytest.mark.parametrize("pattern", ["*.attention.[qv].W", "*.W"])
def test_adapted_weights_compute_what_merged_ones_compute(pattern, tied, rng):
    weights, tokens = tiny(rng, tied), rng.integers(V, size=(2, CONTEXT))
    attached = attach(weights, {pattern: LoRA(2)}, rng)
    logits = transformer(weights, tokens, HEADS)
    np.testing.assert_array_equal(transformer(attached.bind(attached.params), tokens, HEADS), logits)
    params = {name: as_trained(rng, own) for name, own in attached.params.items()}
    adapted = transformer(attached.bind(params), tokens, HEADS)
    assert np.max(np.abs(adapted - logits)) > 0.1
    np.testing.assert_allclose(adapted, transformer(attached.merge(params), tokens, HEADS), rtol=0, atol=1e-12)


def test_every_name_that_ends_in_w_is_a_map_and_nothing_else(rng):
    """Each such weight may be a bare function: no shape is asked of it, no transpose, no product."""

    class Map:
        def __init__(self, W):
            self.row_by_row = lambda x: anp.stack([anp.dot(W, row) for row in x])

        def __call__(self, x):
            return self.row_by_row(x)

    weights, tokens = tiny(rng, tied=False), rng.integers(V, size=(2, CONTEXT))
    maps = {name: Map(W) if name.endswith(".W") else W for name, W in weights.items()}
    expected = transformer(weights, tokens, HEADS)
    np.testing.assert_allclose(transformer(maps, tokens, HEADS), expected, rtol=0, atol=1e-12)


def test_nothing_given_is_changed(rng):
    weights, tokens = tiny(rng), rng.integers(V, size=(2, CONTEXT))
    before, tokens_before = {name: W.copy() for name, W in weights.items()}, tokens.copy()
    value_and_grad(loss, weights, tokens, tokens)
    sample(weights, tokens, 3, HEADS, rng)
    np.testing.assert_array_equal(tokens, tokens_before)
    for name, W in weights.items():
        np.testing.assert_array_equal(W, before[name])


@tied_and_untied
def test_the_start_has_the_shapes_and_sizes_that_are_promised(tied, rng):
    vocabulary, context, d, depth = 300, 200, 64, 3
    weights = init_transformer(rng, vocabulary, context, d, depth, tied)
    shapes = {"embedding": (vocabulary, d), "positions": (context, d), "norm.gain": (d,), "norm.bias": (d,)}
    for name in (f"blocks.{layer}" for layer in range(depth)):
        shapes |= {f"{name}.attention.{part}.W": (d, d) for part in "qkvo"}
        shapes |= {f"{name}.norm{i}.{part}": (d,) for i in (1, 2) for part in ("gain", "bias")}
        shapes |= {f"{name}.ffn.up.W": (4 * d, d), f"{name}.ffn.up.b": (4 * d,)}
        shapes |= {f"{name}.ffn.down.W": (d, 4 * d), f"{name}.ffn.down.b": (d,)}
    shapes |= {} if tied else {"head.W": (vocabulary, d)}
    assert {name: array.shape for name, array in weights.items()} == shapes
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    for name, array in weights.items():
        if array.ndim == 1:
            np.testing.assert_array_equal(array, np.ones(d) if name.endswith("gain") else 0)
        else:
            writes = 2 * depth if name.endswith(("o.W", "down.W")) else 1
            assert np.std(array) == pytest.approx((array.shape[1] * writes) ** -0.5, rel=0.05), name


def test_the_start_depends_on_the_generator_alone():
    one, two, other = (init_transformer(np.random.default_rng(seed), V, CONTEXT, WIDTH, 1) for seed in (3, 3, 4))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert np.any(one["embedding"] != other["embedding"])


def test_at_the_start_depth_does_not_make_the_signal_grow(rng):
    """What 2 · depth writes add to h, in the mean square, is below 1 for any depth, and much the same for all."""
    added = []
    for depth in (1, 4, 16):
        weights = init_transformer(rng, V, 32, 64, depth)
        start = h = 0.01 * rng.standard_normal((320, 64))
        for layer in range(depth):
            h = block(weights, f"blocks.{layer}", h, 4, causal(32))
        added.append(np.mean((h - start) ** 2))
    assert max(added) < 1
    assert max(added) < 2 * min(added)


def greedy(weights, tokens, count):
    """The likeliest continuation, token by token."""
    tokens = list(tokens)
    for _ in range(count):
        tokens.append(int(np.argmax(transformer(weights, np.array(tokens[-CONTEXT:]), HEADS)[-1])))
    return tokens


@pytest.mark.parametrize("length", [1, CONTEXT, CONTEXT + 2])
def test_a_cold_sample_is_the_likeliest_continuation(length, rng):
    """As temperature goes to 0, sampling becomes greedy, also where the text is longer than the context."""
    weights, tokens = tiny(rng), rng.integers(V, size=length)
    np.testing.assert_array_equal(sample(weights, tokens, 12, HEADS, rng, 1e-6), greedy(weights, tokens, 12))
    warm = sample(weights, tokens, 12, HEADS, rng)
    np.testing.assert_array_equal(warm[:length], tokens)
    assert np.any(warm != greedy(weights, tokens, 12))


@pytest.mark.parametrize("temperature, length", [(0.5, 3), (1.0, CONTEXT), (3.0, CONTEXT + 2)])
def test_tokens_are_sampled_as_often_as_the_softmax_says(temperature, length, rng):
    """Of n draws, token i comes up n p_i times up to 5 standard deviations, p = softmax(logits / temperature)."""
    n, weights, start = 20_000, tiny(rng), rng.integers(V, size=length)
    logits = transformer(weights, start[-CONTEXT:], HEADS)[-1]
    powers = np.exp(logits / temperature)
    p = powers / powers.sum()
    drawn = sample(weights, np.tile(start, (n, 1)), 1, HEADS, rng, temperature)
    assert drawn.shape == (n, length + 1)
    shares = np.bincount(drawn[:, -1], minlength=V) / n
    assert np.all(np.abs(shares - p) < 5 * np.sqrt(p * (1 - p) / n))
    assert np.ptp(p) > 0.05


def test_a_sample_depends_on_the_generator_alone(rng):
    weights, tokens = tiny(rng), rng.integers(V, size=(3, 2))
    one, two, other = (sample(weights, tokens, 20, HEADS, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one.shape == (3, 22)
    np.testing.assert_array_equal(one, two)
    assert np.any(one != other)
    assert np.any(one[0, 2:] != one[1, 2:])
    np.testing.assert_array_equal(sample(weights, tokens, 0, HEADS, rng), tokens)


def mistakes():
    """(what is wrong, the name that the message must have, a call)."""
    rng = np.random.default_rng(0)
    weights = tiny(rng)

    def run(tokens=(1, 2), heads=HEADS, mask=causal):
        return lambda: transformer(weights, np.array(tokens), heads, mask)

    yield "a negative token", "tokens", run([0, -1])
    yield "a token too large", "tokens", run([[0, 1], [0, V]])
    yield "tokens that are floats", "tokens", run([0.0, 1.0])
    yield "tokens that are booleans", "tokens", run([True, False])
    yield "no tokens", "tokens", run(np.zeros((2, 0), int))
    yield "a single number", "tokens", run(3)
    yield "longer than the context", "tokens", run([0] * (CONTEXT + 1))
    for heads in (4, 0, -3, 12, 1.5, None, "3"):
        yield f"heads {heads!r}", "heads", run(heads=heads)
    yield "a mask of floats", "mask", run(mask=lambda length: np.tri(length))
    yield "a mask of another size", "mask", run(mask=lambda length: causal(length + 1))
    yield "a query that sees nothing", "mask", run(mask=lambda length: np.array([[False, False], [True, True]]))
    for temperature in (0, -1, math.nan, math.inf):
        yield (
            f"temperature {temperature}",
            "temperature",
            lambda temperature=temperature: sample(weights, np.array([1]), 1, HEADS, rng, temperature),
        )
    yield "a sample from floats", "tokens", lambda: sample(weights, np.array([1.0]), 1, HEADS, rng)
    for argument in ("vocabulary", "context", "width", "depth"):
        sizes = {"vocabulary": 2, "context": 2, "width": 2, "depth": 2, argument: 0}
        yield f"no {argument}", argument, lambda sizes=sizes: init_transformer(rng, **sizes)


@pytest.mark.parametrize("name, call", [pytest.param(name, call, id=wrong) for wrong, name, call in mistakes()])
def test_a_mistake_is_a_value_error_that_names_the_argument(name, call):
    with pytest.raises(ValueError, match=rf"^{name} "):
        call()


def test_the_limits_are_allowed(rng):
    weights = tiny(rng)
    assert transformer(weights, [0, V - 1, 0, 0, 0], heads=WIDTH).shape == (CONTEXT, V)
    assert transformer(weights, [0, 1], HEADS, mask=lambda length: np.array([[True, False]] * 2)).shape == (2, V)
    assert init_transformer(rng, 1, 1, 1, 1)["embedding"].shape == (1, 1)
