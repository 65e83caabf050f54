"""The Transformer against loops over single entries; its masks, heads, norms and samples."""

import math
from functools import partial

import autograd.numpy as anp
import numpy as np
import pytest
from autograd.test_util import check_grads
from support.draws import assert_normal

from minilora.adapters import Full, LoRA
from minilora.attachment import attach
from minilora.models.transformer import (
    _attention,
    _block,
    causal,
    init_transformer,
    layer_norm,
    no_mask,
    sample,
    transformer,
)
from minilora.ops import cross_entropy
from minilora.train import value_and_grad

V = 7
CONTEXT = 5
WIDTH = 6
HEADS = 3
DEPTH = 2

tied_and_untied = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
every_mask = pytest.mark.parametrize("mask", [causal, no_mask])
every_dtype = pytest.mark.parametrize(
    "dtype", [np.float64, np.float32], ids=lambda dtype: dtype.__name__
)


def as_trained(rng, weights, size=0.3):
    """Weights some way off their start, so that no gain is 1 and no bias 0."""
    return {
        name: (a + size * rng.standard_normal(a.shape)).astype(a.dtype)
        for name, a in weights.items()
    }


def tiny(rng, tied=True, dtype=np.float64, depth=DEPTH):
    """A small model, as training leaves it."""
    return as_trained(rng, init_transformer(rng, V, CONTEXT, WIDTH, depth, tied, dtype))


def loss(weights, tokens, targets, mask=causal):
    """The mean of −log p(target) over all positions."""
    logits = transformer(weights, tokens, HEADS, mask)
    return cross_entropy(logits.reshape(-1, V), targets.ravel())


def times(W, x):
    """W x, entry by entry."""
    return [sum(W[i][j] * x[j] for j in range(len(x))) for i in range(len(W))]


def normed(x, gain, bias):
    """One vector minus its mean, over its standard deviation, times the gain, plus the bias."""
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    return [
        g * (value - mean) / math.sqrt(variance + 1e-5) + b for value, g, b in zip(x, gain, bias)
    ]


def by_loops(weights, tokens, heads, sees, depth):
    """The logits of one sequence, with nothing but loops and math; sees(query, key) is the mask."""
    w = {name: array.tolist() for name, array in weights.items()}
    positions = range(len(tokens))
    width = len(w["norm.gain"])
    size = width // heads
    h = [
        [w["embedding"][tokens[t]][i] + w["positions"][t][i] for i in range(width)]
        for t in positions
    ]
    for layer in range(depth):
        own = {name.removeprefix(f"blocks.{layer}."): value for name, value in w.items()}
        x = [normed(row, own["norm1.gain"], own["norm1.bias"]) for row in h]
        q, k, v = ([times(own[f"attention.{part}.W"], row) for row in x] for part in "qkv")
        for t in positions:
            y = []
            for rows in [range(head * size, (head + 1) * size) for head in range(heads)]:
                keys = [s for s in positions if sees(t, s)]
                powers = [
                    math.exp(sum(q[t][i] * k[s][i] for i in rows) / math.sqrt(size)) for s in keys
                ]
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
@pytest.mark.parametrize(
    "mask, sees", [(causal, lambda t, s: s <= t), (no_mask, lambda t, s: True)]
)
def test_logits_are_what_loops_over_single_entries_give(tied, heads, mask, sees, rng):
    weights = tiny(rng, tied)
    for length in (1, 3, CONTEXT):
        tokens = rng.integers(V, size=length)
        expected = by_loops(weights, tokens, heads, sees, DEPTH)
        logits = transformer(weights, tokens, heads, mask)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-10)


def test_the_causal_mask_is_the_one_that_is_used_by_default(rng):
    weights = tiny(rng)
    tokens = rng.integers(V, size=CONTEXT)
    logits = transformer(weights, tokens, HEADS)
    np.testing.assert_array_equal(logits, transformer(weights, tokens, HEADS, causal))


@pytest.mark.parametrize("axes", [(), (1,), (4,), (2, 3), (0,)], ids=str)
def test_a_batch_gives_what_its_sequences_give_one_by_one(axes, rng):
    weights = tiny(rng)
    tokens = rng.integers(V, size=(*axes, 4))
    logits = transformer(weights, tokens, HEADS)
    assert logits.shape == (*axes, 4, V)
    for index in np.ndindex(axes):
        expected = transformer(weights, tokens[index], HEADS)
        np.testing.assert_allclose(logits[index], expected, rtol=0, atol=1e-12)


@every_dtype
@pytest.mark.parametrize("position", range(CONTEXT))
def test_a_token_has_no_influence_on_the_logits_before_it(dtype, position, rng):
    """Under the causal mask, changing token t leaves all earlier logits bitwise, and no others."""
    weights = tiny(rng, dtype=dtype)
    tokens = rng.integers(V, size=(2, CONTEXT))
    other = tokens.copy()
    other[:, position] = (tokens[:, position] + 1) % V
    before = transformer(weights, tokens, HEADS)
    after = transformer(weights, other, HEADS)
    np.testing.assert_array_equal(after[:, :position], before[:, :position])
    assert np.min(np.max(np.abs(after - before)[:, position:], axis=-1)) > 1e-4


@pytest.mark.parametrize("position", range(1, CONTEXT))
def test_without_a_mask_a_token_has_influence_on_all_logits(position, rng):
    weights = tiny(rng)
    tokens = rng.integers(V, size=CONTEXT)
    other = tokens.copy()
    other[position] = (tokens[position] + 1) % V
    before = transformer(weights, tokens, HEADS, no_mask)
    after = transformer(weights, other, HEADS, no_mask)
    assert np.min(np.max(np.abs(after - before), axis=-1)) > 1e-4


def test_a_key_has_influence_on_the_queries_that_may_see_it_alone(rng):
    """In one block, changing token s leaves the logits of all t that may not see s bitwise."""
    weights = tiny(rng, depth=1)
    tokens = rng.integers(V, size=CONTEXT)
    allowed = rng.random((CONTEXT, CONTEXT)) < 0.5
    allowed |= np.eye(CONTEXT, dtype=bool)
    for position in range(CONTEXT):
        other = tokens.copy()
        other[position] = (tokens[position] + 1) % V
        before = transformer(weights, tokens, HEADS, lambda length: allowed)
        after = transformer(weights, other, HEADS, lambda length: allowed)
        changed = np.max(np.abs(after - before), axis=-1)
        np.testing.assert_array_equal(changed > 1e-4, allowed[:, position])
        np.testing.assert_array_equal(changed > 0, allowed[:, position])


def test_the_order_of_the_heads_is_free(rng):
    """Permuting the heads of q, k, v and the columns of o changes nothing; of q alone, it does."""
    weights = tiny(rng)
    tokens = rng.integers(V, size=(2, CONTEXT))
    rows = np.arange(WIDTH).reshape(HEADS, -1)[[2, 0, 1]].ravel()
    permuted = dict(weights)
    broken = dict(weights)
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
    """Where W_k = 0 no key is preferred: attention is W_o W_v of the mean of what may be seen."""
    weights = tiny(rng)
    x = rng.standard_normal((4, WIDTH))
    name = "blocks.0.attention"
    weights[f"{name}.k.W"] = np.zeros((WIDTH, WIDTH))
    product = weights[f"{name}.o.W"] @ weights[f"{name}.v.W"]
    means = np.stack([product @ x[: t + 1].mean(axis=0) for t in range(4)])
    found = _attention(weights, name, x, HEADS, causal(4))
    np.testing.assert_allclose(found, means, rtol=0, atol=1e-12)


def test_a_layer_norm_has_mean_zero_and_variance_one(rng):
    """With gain 1 and bias 0: mean 0 and variance v / (v + 1e-5), v being the variance of x."""
    x = 3 + 10.0 ** rng.uniform(-1, 3, (50, 1)) * rng.standard_normal((50, 8))
    weights = {"norm.gain": np.ones(8), "norm.bias": np.zeros(8)}
    y = layer_norm(weights, "norm", x)
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=1), x.var(axis=1) / (x.var(axis=1) + 1e-5), rtol=1e-12)
    gain, bias = rng.standard_normal((2, 8))
    found = layer_norm({"n.gain": gain, "n.bias": bias}, "n", x)
    np.testing.assert_allclose(found, gain * y + bias, atol=1e-12)


NAMES = list(init_transformer(np.random.default_rng(0), V, CONTEXT, WIDTH, DEPTH, tied=False))


@every_mask
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_every_weight_agrees_with_finite_differences(name, mask, rng):
    weights = tiny(rng, tied=False)
    tokens = rng.integers(V, size=(2, 3))
    targets = rng.integers(V, size=(2, 3))

    def loss_of(W):
        return loss({**weights, name: W}, tokens, targets, mask)

    check_grads(loss_of, modes=["rev"], order=1)(weights[name])


def test_a_tied_embedding_gets_the_gradients_of_both_its_uses(rng):
    weights = tiny(rng)
    tokens, targets = rng.integers(V, size=(2, 2, 3))

    def loss_of(E):
        return loss({**weights, "embedding": E}, tokens, targets)

    check_grads(loss_of, modes=["rev"], order=1)(weights["embedding"])
    _, both = value_and_grad(loss, weights, tokens, targets)
    _, apart = value_and_grad(loss, {**weights, "head.W": weights["embedding"]}, tokens, targets)
    summed = apart["embedding"] + apart["head.W"]
    np.testing.assert_allclose(both["embedding"], summed, rtol=1e-10, atol=1e-14)


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
    attached = attach(weights, {"*.attention.[qv].W": LoRA(2), "*.b": Full()}, rng=rng)
    _, adapters = value_and_grad(
        lambda params: loss(attached.bind(params), tokens, targets), attached.params
    )
    arrays = [seen["logits"], seen["loss"], *seen["gradients"].values()]
    arrays += [grad for own in adapters.values() for grad in own.values()]
    assert {np.dtype(array.dtype) for array in arrays} == {np.dtype(dtype)}


@tied_and_untied
@pytest.mark.parametrize("pattern", ["*.attention.[qv].W", "*.W"])
def test_adapted_weights_compute_what_merged_ones_compute(pattern, tied, rng):
    weights = tiny(rng, tied)
    tokens = rng.integers(V, size=(2, CONTEXT))
    attached = attach(weights, {pattern: LoRA(2)}, rng=rng)
    logits = transformer(weights, tokens, HEADS)
    np.testing.assert_array_equal(transformer(attached.bind(), tokens, HEADS), logits)
    params = {name: as_trained(rng, own) for name, own in attached.params.items()}
    adapted = transformer(attached.bind(params), tokens, HEADS)
    assert np.max(np.abs(adapted - logits)) > 0.1
    merged = transformer(attached.merge(params), tokens, HEADS)
    np.testing.assert_allclose(adapted, merged, rtol=0, atol=1e-12)


def test_every_name_that_ends_in_w_is_a_map_and_nothing_else(rng):
    """Each such weight may be a mere function: it needs no shape, no transpose and no product."""

    class Map:
        def __init__(self, W):
            self.row_by_row = lambda x: anp.stack([anp.dot(W, row) for row in x])

        def __call__(self, x):
            return self.row_by_row(x)

    weights = tiny(rng, tied=False)
    tokens = rng.integers(V, size=(2, CONTEXT))
    maps = {name: Map(W) if name.endswith(".W") else W for name, W in weights.items()}
    expected = transformer(weights, tokens, HEADS)
    np.testing.assert_allclose(transformer(maps, tokens, HEADS), expected, rtol=0, atol=1e-12)


def test_nothing_given_is_changed(rng):
    weights = tiny(rng)
    tokens = rng.integers(V, size=(2, CONTEXT))
    before = {name: W.copy() for name, W in weights.items()}
    tokens_before = tokens.copy()
    value_and_grad(loss, weights, tokens, tokens)
    sample(weights, tokens, 3, HEADS, rng=rng)
    np.testing.assert_array_equal(tokens, tokens_before)
    for name, W in weights.items():
        np.testing.assert_array_equal(W, before[name])


@tied_and_untied
def test_the_start_has_the_shapes_and_sizes_that_are_promised(tied, rng):
    vocabulary = 300
    context = 200
    d = 64
    depth = 3
    weights = init_transformer(rng, vocabulary, context, d, depth, tied)
    shapes = {
        "embedding": (vocabulary, d),
        "positions": (context, d),
        "norm.gain": (d,),
        "norm.bias": (d,),
    }
    for name in (f"blocks.{layer}" for layer in range(depth)):
        shapes |= {f"{name}.attention.{part}.W": (d, d) for part in "qkvo"}
        shapes |= {f"{name}.norm{i}.{part}": (d,) for i in (1, 2) for part in ("gain", "bias")}
        shapes |= {f"{name}.ffn.up.W": (4 * d, d), f"{name}.ffn.up.b": (4 * d,)}
        shapes |= {f"{name}.ffn.down.W": (d, 4 * d), f"{name}.ffn.down.b": (d,)}
    shapes |= {} if tied else {"head.W": (vocabulary, d)}
    assert {name: array.shape for name, array in weights.items()} == shapes
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    draws = []
    for name, array in weights.items():
        if array.ndim == 1:
            np.testing.assert_array_equal(array, np.ones(d) if name.endswith("gain") else 0)
        else:
            writes = 2 * depth if name.endswith(("o.W", "down.W")) else 1
            deviation = (array.shape[1] * writes) ** -0.5
            assert np.std(array) == pytest.approx(deviation, rel=0.05), name
            draws.append((array / deviation).reshape(-1, d))
    assert_normal(weights["embedding"], d**-0.5)
    assert_normal(weights["positions"], d**-0.5)
    rows = np.concatenate([each[:64] for each in draws])  # of every array some, to compare
    assert_normal(rows, 1)


def test_the_start_depends_on_the_generator_alone():
    draws = [init_transformer(np.random.default_rng(s), V, CONTEXT, WIDTH, 1) for s in (3, 3, 4)]
    one, two, other = draws
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert np.any(one["embedding"] != other["embedding"])


def test_at_the_start_depth_does_not_make_the_signal_grow(rng):
    """The mean square of what 2 · depth writes add to h is below 1 and similar for all depths."""
    added = []
    for depth in (1, 4, 16):
        weights = init_transformer(rng, V, 32, 64, depth)
        start = h = 0.01 * rng.standard_normal((320, 64))
        for layer in range(depth):
            h = _block(weights, f"blocks.{layer}", h, 4, causal(32))
        added.append(np.mean((h - start) ** 2))
    assert max(added) < 1
    assert max(added) < 2 * min(added)


def greedy(weights, tokens, count):
    """The likeliest continuation, token by token."""
    tokens = list(tokens)
    for _ in range(count):
        tokens.append(int(np.argmax(transformer(weights, np.array(tokens[-CONTEXT:]), HEADS)[-1])))
    return tokens


def lively(seed=27):
    """A model whose likeliest continuation does not settle on one token."""
    rng = np.random.default_rng(seed)
    return as_trained(rng, init_transformer(rng, V, CONTEXT, WIDTH, DEPTH, tied=False), size=1.0)


@pytest.mark.parametrize("length", [1, CONTEXT, CONTEXT + 2])
def test_a_cold_sample_is_the_likeliest_continuation(length, rng):
    """As temperature goes to 0 sampling becomes greedy, also for more tokens than the context."""
    weights = lively()
    tokens = rng.integers(V, size=length)
    expected = greedy(weights, tokens, 12)
    cold = sample(weights, tokens, 12, HEADS, rng=rng, temperature=1e-6)
    np.testing.assert_array_equal(cold, expected)
    assert len(set(expected[-9:])) >= 3
    warm = sample(weights, tokens, 12, HEADS, rng=rng, temperature=5.0)
    np.testing.assert_array_equal(warm[:length], tokens)
    assert np.any(warm != expected)


@pytest.mark.parametrize("temperature, length", [(0.5, 3), (1.0, CONTEXT), (3.0, CONTEXT + 2)])
def test_tokens_are_sampled_as_often_as_the_softmax_says(temperature, length, rng):
    """n draws are n p_i times token i, up to 5 standard deviations; p = softmax(logits / temp.)."""
    n = 20_000
    weights = tiny(rng, tied=False)
    start = rng.integers(V, size=length)
    logits = transformer(weights, start[-CONTEXT:], HEADS)[-1]
    powers = np.exp(logits / temperature)
    p = powers / powers.sum()
    drawn = sample(weights, np.tile(start, (n, 1)), 1, HEADS, rng=rng, temperature=temperature)
    assert drawn.shape == (n, length + 1)
    found = np.bincount(drawn[:, -1], minlength=V) / n
    assert np.all(np.abs(found - p) < 5 * np.sqrt(p * (1 - p) / n))
    assert np.ptp(p) > 0.05


def test_a_sample_depends_on_the_generator_alone(rng):
    weights = tiny(rng)
    tokens = rng.integers(V, size=(3, 2))
    rngs = [np.random.default_rng(seed) for seed in (5, 5, 6)]
    one, two, other = (sample(weights, tokens, 20, HEADS, rng=rng) for rng in rngs)
    assert one.shape == (3, 22)
    np.testing.assert_array_equal(one, two)
    assert np.any(one != other)
    assert np.any(one[0, 2:] != one[1, 2:])
    np.testing.assert_array_equal(sample(weights, tokens, 0, HEADS, rng=rng), tokens)


def mistakes():
    """(what is wrong, the name that the message starts with, a call)."""
    rng = np.random.default_rng(0)
    weights = tiny(rng)
    E = weights["embedding"]
    one = np.array([1])

    def run(tokens=(1, 2), heads=HEADS, mask=causal, **changes):
        changed = {name: W for name, W in (weights | changes).items() if W is not None}
        return lambda: transformer(changed, np.array(tokens), heads, mask)

    def draw(tokens=one, count=1, rng=rng, temperature=1.0):
        return lambda: sample(weights, tokens, count, HEADS, rng=rng, temperature=temperature)

    yield "a negative token", "tokens", run([0, -1])
    yield "a token too large", "tokens", run([[0, 1], [0, V]])
    yield "tokens that are floats", "tokens", run([0.0, 1.0])
    yield "tokens that are booleans", "tokens", run([True, False])
    yield "no tokens", "tokens", run(np.zeros((2, 0), int))
    yield "one token without an axis", "tokens", run(3)
    yield "longer than the context", "tokens", run([0] * (CONTEXT + 1))
    for heads in (4, 0, -3, 12, 1.5, None, "3"):
        yield f"heads {heads!r}", "heads", run(heads=heads)
    yield "no mask function", "mask", run(mask=None)
    yield "a mask that is an array", "mask", run(mask=causal(2))
    yield "a mask of floats", "mask", run(mask=lambda length: np.tri(length))
    yield "a mask of another size", "mask", run(mask=lambda length: causal(length + 1))
    blind = np.array([[False, False], [True, True]])
    yield "a query that sees nothing", "mask", run(mask=lambda length: blind)
    yield "a missing bias", "weights", run(**{"norm.bias": None})
    yield "a missing W", "weights", run(**{"blocks.1.ffn.up.W": None})
    yield (
        "a missing block",
        "weights",
        run(**{n: None for n in weights if n.startswith("blocks.0")}),
    )
    yield "an unknown name", "weights", run(**{"blocks.1.ffn.gate.W": np.eye(WIDTH)})
    yield "a misspelt head", "weights", run(**{"heads.W": np.ones((V, WIDTH))})
    yield "weights that are no dict", "weights", lambda: transformer([E], one, HEADS)
    yield "no weights", "weights", lambda: transformer({}, one, HEADS)
    for temperature in (0, -1, math.nan, math.inf, "1", None):
        yield f"temperature {temperature!r}", "temperature", draw(temperature=temperature)
    for count in (-1, 1.5, True, None):
        yield f"count {count!r}", "count", draw(count=count)
    yield "a sample without a generator", "rng", draw(rng=0)
    yield "a sample from floats", "tokens", draw(np.array([1.0]))
    yield "a sample from no weights", "weights", lambda: sample({}, one, 1, HEADS, rng=rng)
    sizes = {"vocabulary": 2, "context": 2, "width": 2, "depth": 2}
    for argument in sizes:
        for size in (0, 1.5):
            wrong = {**sizes, argument: size}
            yield f"{argument} {size}", argument, lambda wrong=wrong: init_transformer(rng, **wrong)
    for dtype in (int, np.float16, "float16"):
        start = partial(init_transformer, rng, **sizes, dtype=dtype)
        yield f"dtype {dtype}", "dtype", start
    yield "no generator", "rng", lambda: init_transformer(0, **sizes)


@pytest.mark.parametrize(
    "name, call", [pytest.param(name, call, id=wrong) for wrong, name, call in mistakes()]
)
def test_a_mistake_is_a_value_error_that_names_the_argument(name, call):
    with pytest.raises(ValueError, match=rf"^{name} "):
        call()


def test_the_limits_are_allowed(rng):
    weights = tiny(rng)
    assert transformer(weights, [0, V - 1, 0, 0, 0], heads=WIDTH).shape == (CONTEXT, V)
    first = np.array([[True, False], [True, False]])
    assert transformer(weights, [0, 1], HEADS, mask=lambda length: first).shape == (2, V)
    assert init_transformer(rng, 1, 1, 1, 1)["embedding"].shape == (1, 1)
