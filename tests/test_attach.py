"""Adapters on the named weights of a model."""

import glob
from dataclasses import FrozenInstanceError
from fnmatch import fnmatchcase

import numpy as np
import pytest

from minilora import matching
from minilora.adapters import CondLoRA, Full, LoRA
from minilora.attachment import attach, kind
from minilora.models.mlp import init_mlp, mlp
from minilora.quantization import quantize
from minilora.testing.rows import moved
from minilora.train import value_and_grad
from minilora.weight import Adapted, linear


@pytest.fixture
def weights(rng):
    return init_mlp(rng, (5, 6, 6, 3), np.float64)


def as_trained(rng, tree):
    """Params perturbed as if trained."""
    return {key: moved(rng, own, size=0.3) for key, own in tree.items()}


def test_the_untrained_model_computes_what_it_computed_before(weights, rng):
    attached = attach(weights, {"*.W": LoRA(2)}, rng=rng)
    x = rng.standard_normal((4, 5))
    np.testing.assert_array_equal(mlp(attached.bind(attached.params), x), mlp(weights, x))


def test_merged_weights_compute_what_bound_ones_compute(weights, rng):
    attached = attach(weights, {"*.W": LoRA(2), "*.b": Full()}, rng=rng)
    params = as_trained(rng, attached.params)
    x = rng.standard_normal((4, 5))
    merged = attached.merge(params)
    assert [W.shape for W in merged.values()] == [W.shape for W in weights.values()]
    assert list(merged) == list(weights)
    backwards = attach(dict(reversed(weights.items())), {"*.W": LoRA(2)}, rng=rng)
    assert list(backwards.bind()) == list(backwards.merge()) == list(reversed(weights))
    assert np.max(np.abs(mlp(merged, x) - mlp(weights, x))) > 0.1
    np.testing.assert_allclose(mlp(attached.bind(params), x), mlp(merged, x), rtol=0, atol=1e-12)


def test_only_the_chosen_weights_are_adapted(weights, rng):
    attached = attach(weights, {"layers.[12].W": LoRA(2)}, rng=rng)
    assert list(attached.params) == ["layers.1.W", "layers.2.W"]
    bound = attached.bind(attached.params)
    assert [name for name, W in bound.items() if callable(W)] == ["layers.1.W", "layers.2.W"]
    assert all(bound[name] is weights[name] for name in weights if name not in attached.params)


def test_nothing_given_is_changed(weights, rng):
    before = {name: W.copy() for name, W in weights.items()}
    attached = attach(weights, {"*": Full()}, rng=rng)
    attached.bind(as_trained(rng, attached.params))
    merged = attached.merge(as_trained(rng, attached.params))
    assert all(attached.weights[name] is weights[name] for name in weights)
    for name, W in weights.items():
        np.testing.assert_array_equal(W, before[name])
        assert not np.shares_memory(merged[name], W)


def test_equal_keys_train_the_same_arrays(weights, rng):
    """Two layers share A and B: their gradient is the sum of those that each layer would have."""
    square = dict(weights)
    square["layers.2.W"] = rng.standard_normal((6, 6))
    square["layers.2.b"] = np.zeros(6)
    patterns = {"layers.[12].W": LoRA(2)}
    x = rng.standard_normal((4, 5))
    shared = attach(square, patterns, rng=rng, key=kind)
    own = attach(square, patterns, rng=rng)
    assert list(shared.params) == ["layers.*.W"]
    together = as_trained(rng, shared.params)["layers.*.W"]
    twice = {name: together for name in own.params}
    _, one = value_and_grad(lambda p: (mlp(shared.bind(p), x) ** 2).sum(), {"layers.*.W": together})
    _, two = value_and_grad(lambda p: (mlp(own.bind(p), x) ** 2).sum(), twice)
    for letter in "AB":
        summed = two["layers.1.W"][letter] + two["layers.2.W"][letter]
        np.testing.assert_allclose(one["layers.*.W"][letter], summed, rtol=1e-10, atol=1e-12)


def test_kind_forgets_the_number_of_the_layer():
    assert kind("blocks.3.attention.q.W") == "blocks.*.attention.q.W"
    assert kind("blocks.11.attention.q.W") == "blocks.*.attention.q.W"
    assert kind("blocks.11.attention.k.W") == "blocks.*.attention.k.W"
    assert kind("blocks.3.norm1.gain") == "blocks.*.norm1.gain"
    assert kind("0.block.2a.x3.W.10") == "*.block.2a.x3.W.*"


def test_adapters_start_in_the_order_of_the_patterns_and_then_of_the_weights(weights):
    """One after the other from the same generator: that order decides what each one draws."""
    patterns = {"layers.[12].W": LoRA(2), "layers.0.W": LoRA(3)}
    attached = attach(weights, patterns, rng=np.random.default_rng(3))
    order = ["layers.1.W", "layers.2.W", "layers.0.W"]
    assert list(attached.params) == list(attached.adapters) == list(attached.keys) == order
    rng = np.random.default_rng(3)
    for name in order:
        expected, _ = attached.adapters[name].init(rng, weights[name])
        np.testing.assert_array_equal(attached.params[name]["A"], expected["A"])


def test_a_key_may_be_the_name_of_another_weight(rng):
    """Only the key decides which params a weight gets."""
    square = {"a": rng.standard_normal((4, 4)), "b": rng.standard_normal((4, 4))}
    attached = attach(square, {"?": Full()}, rng=rng, key=lambda name: {"a": "b", "b": "a"}[name])
    for name, other in (("a", "b"), ("b", "a")):
        np.testing.assert_array_equal(attached.params[other]["W"], square[name])
        np.testing.assert_array_equal(attached.bind()[name], square[name])
        np.testing.assert_array_equal(attached.merge()[name], square[name])


def test_large_params_are_finite_though_their_sum_is_not(weights, rng):
    attached = attach(weights, {"*0.b": Full()}, rng=rng)
    largest = np.full(6, np.finfo(np.float64).max)
    bound = attached.bind({"layers.0.b": {"W": largest}})
    assert bound["layers.0.b"] is largest


def test_an_array_with_three_axes_is_bound_as_what_is_merged(rng):
    W = rng.standard_normal((2, 3, 4))
    attached = attach({"kernel": W}, {"kernel": Shift()}, rng=rng)
    bound = attached.bind({"kernel": {"d": np.ones(1)}})["kernel"]
    assert type(bound) is np.ndarray
    np.testing.assert_array_equal(bound, W + 1)


def test_weights_that_share_a_key_start_as_the_first_of_them(rng):
    square = {f"layers.{layer}.W": rng.standard_normal((4, 4)) for layer in range(3)}
    shared = attach(square, {"*": LoRA(2)}, rng=np.random.default_rng(3), key=kind)
    first, _ = LoRA(2).init(np.random.default_rng(3), square["layers.0.W"])
    np.testing.assert_array_equal(shared.params["layers.*.W"]["A"], first["A"])
    for name, frozen in shared.frozen.items():
        assert frozen["W"] is square[name]


def test_adapters_that_are_equal_may_share_a_key_and_unequal_ones_may_not(rng):
    """However they were made; the shapes of the weights may differ where nothing depends on it."""
    square = {"layers.0.W": np.eye(4), "layers.1.W": np.eye(4), "layers.2.b": np.ones(2)}
    adapters = {"layers.0.W": LoRA(2, alpha=2), "layers.1.W": LoRA(2, alpha=2.0)}
    attached = attach(square, adapters, rng=rng, key=kind)
    assert attached.trainable == 2 * (4 + 4)
    one = Shift()
    assert attach(square, {"*": one}, rng=rng, key=lambda name: "d").trainable == 1
    for other in (LoRA(2, alpha=3), LoRA(2), Shift()):
        with pytest.raises(ValueError, match=r"^key: 'layers.0.W' and 'layers.1.W' share"):
            attach(square, {**adapters, "layers.1.W": other}, rng=rng, key=kind)


def test_what_is_attached_stays_as_it_is(weights, rng):
    attached = attach(weights, {"*.W": LoRA(2)}, rng=rng)
    with pytest.raises(FrozenInstanceError):
        attached.params = {}
    assert len({attached, attach(weights, {"*.W": LoRA(2)}, rng=rng)}) == 2


def test_a_pattern_is_a_glob_even_if_it_is_also_a_name(rng):
    """So "a[0]" is "a0", and the name "a[0]" is written "a[[]0]"."""
    weights = {"a[0]": np.eye(3), "a0": np.eye(3), "A0": np.eye(3)}
    for pattern, name in {"a[0]": "a0", "a[[]0]": "a[0]", "?0": None, "A*": "A0"}.items():
        found = list(attach(weights, {pattern: LoRA(1)}, rng=rng).adapters)
        assert found == (["a0", "A0"] if name is None else [name])


def test_a_pattern_that_is_a_name_is_looked_up(rng, monkeypatch):
    """Counted: 300 names with a pattern each, plain or from glob.escape, need no comparison."""
    compared = []

    def counted(name, pattern):
        compared.append(name)
        return fnmatchcase(name, pattern)

    monkeypatch.setattr(matching, "fnmatchcase", counted)
    names = [f"layers.{i}.W" for i in range(100)]
    names += [f"odd[{i}].*?" for i in range(100)] + [f"[]{i}]" for i in range(100)]
    weights = {name: rng.standard_normal((2, 2)) for name in names}
    attached = attach(weights, {glob.escape(name): LoRA(1) for name in names}, rng=rng)
    assert list(attached.adapters) == names
    plain = dict.fromkeys(names[:100], LoRA(1))
    assert list(attach(weights, plain, rng=rng).adapters) == names[:100]
    assert compared == []
    assert list(attach(weights, {"layers.[7].W": LoRA(1)}, rng=rng).adapters) == ["layers.7.W"]
    assert len(compared) == 300


def test_later_changes_of_the_given_dicts_change_nothing(weights, rng):
    patterns = {"*.W": LoRA(2)}
    given = dict(weights)
    attached = attach(given, patterns, rng=rng)
    given["layers.0.b"] = None
    del given["layers.1.W"], patterns["*.W"]
    bound = attached.bind()
    bound["layers.2.b"] = None
    merged = attached.merge()
    merged["layers.2.b"] = None
    assert attached.total == sum(W.size for W in weights.values())
    for name, W in weights.items():
        assert attached.weights[name] is W
    for name in ("layers.0.b", "layers.1.b", "layers.2.b"):
        assert attached.bind()[name] is attached.merge()[name] is weights[name]


def test_four_bits_stay_four_bits_where_nothing_is_merged(weights, rng):
    """Below an adapter and beside one; and an adapted weight counts with its own entries."""
    small = {name: quantize(W) if W.ndim == 2 else W for name, W in weights.items()}
    attached = attach(small, {"layers.1.W": LoRA(2)}, rng=rng)
    bound = attached.bind()
    assert bound["layers.1.W"].W is attached.frozen["layers.1.W"]["W"] is small["layers.1.W"]
    merged = attached.merge()
    assert all(merged[name] is small[name] for name in small if name != "layers.1.W")
    upper = attach(bound, {"layers.0.W": LoRA(1)}, rng=rng)
    assert upper.total == attached.total == sum(W.size for W in weights.values())
    assert upper.merge()["layers.2.W"] is small["layers.2.W"]
    assert type(upper.merge()["layers.1.W"]) is np.ndarray


def test_params_that_are_not_finite_are_an_error_except_in_a_gradient(weights, rng):
    """There the loss shows it, and `fit` says at which step."""
    attached = attach(weights, {"*0.W": LoRA(2)}, rng=rng)
    own = attached.params["layers.0.W"]
    params = {"layers.0.W": {**own, "B": own["B"] + np.nan}}
    value, _ = value_and_grad(lambda p: mlp(attached.bind(p), np.ones(5)).sum(), params)
    assert np.isnan(value)
    with pytest.raises(ValueError, match=r"^params\['layers.0.W'\]\['B'\] must be finite"):
        attached.bind(params)


def test_counts(weights, rng):
    attached = attach(weights, {"layers.1.W": LoRA(2), "layers.*.b": Full()}, rng=rng)
    assert attached.trainable == 2 * (6 + 6) + 6 + 6 + 3
    assert attached.total == 5 * 6 + 6 + 6 * 6 + 6 + 6 * 3 + 3
    assert attached.fraction == attached.trainable / attached.total
    square = {"layers.0.W": np.eye(4), "layers.1.W": np.eye(4)}
    assert attach(square, {"*": LoRA(2)}, rng=rng, key=kind).trainable == 2 * 8


def by_size(name):
    """A key that layers 1 and 2 share, and no others."""
    return "inner" if name in ("layers.1.W", "layers.2.W") else name


def test_printing_says_what_is_trained(rng):
    weights = init_mlp(rng, (5, 6, 6, 6, 3))
    adapters = {"layers.[012].W": LoRA(2, alpha=4), "layers.3.b": Full()}
    text = str(attach(weights, adapters, rng=rng, key=by_size))
    assert text.splitlines() == [
        "weight      shape                adapter               trainable",
        "layers.0.W  6 × 5  LoRA(rank=2, alpha=4)                      22",
        "layers.1.W  6 × 6  LoRA(rank=2, alpha=4)                      24",
        "layers.2.W  6 × 6  LoRA(rank=2, alpha=4)  shared with layers.1.W",
        "layers.3.b      3                 Full()                       3",
        "Frozen: 4 other arrays.",
        "Trainable: 49 of 141 parameters, 34.75%.",
    ]


def test_without_an_adapter_nothing_is_trained(weights, rng):
    attached = attach(weights, {}, rng=rng)
    assert attached.trainable == 0
    assert str(attached).splitlines()[-1] == "Trainable: 0 of 99 parameters, 0.00%."
    assert repr(attached) == "Attached(no adapter on 0 weights, 0 trainable parameters of 99)"
    assert attached.bind() == weights


def test_the_short_form_names_each_adapter_once(weights, rng):
    short = repr(attach(weights, {"*.W": LoRA(2), "*.b": Full()}, rng=rng))
    counts = "6 weights, 79 trainable parameters of 99"
    assert short == f"Attached(LoRA(rank=2), Full() on {counts})"


class Shift:
    """An adapter for an array of any shape: W' = W + d."""

    def init(self, rng, W):
        return {"d": np.zeros(1, W.dtype)}, {"W": W}

    def forward(self, params, frozen, x):
        return linear(self.merge(params, frozen), x)

    def merge(self, params, frozen):
        return frozen["W"] + params["d"]


class Wide(Shift):
    """An adapter that makes an array of another shape."""

    def merge(self, params, frozen):
        return np.zeros((2, 2))


class Column(Shift):
    """An adapter that makes an array of as many entries in another shape."""

    def merge(self, params, frozen):
        return frozen["W"].reshape(-1, 1)


def test_an_adapter_of_vectors_is_bound_as_an_array_whose_gradient_flows(weights, rng):
    """On a bias merge is bound, on a matrix the adapter itself."""
    attached = attach(weights, {"layers.1.*": Shift()}, rng=rng)
    params = as_trained(rng, attached.params)
    bound = attached.bind(params)
    x = rng.standard_normal((4, 5))
    expected = weights["layers.1.b"] + params["layers.1.b"]["d"]
    np.testing.assert_array_equal(bound["layers.1.b"], expected)
    assert type(bound["layers.1.b"]) is np.ndarray
    assert type(bound["layers.1.W"]) is Adapted

    def loss(params):
        return (mlp(attached.bind(params), x) ** 2).sum()

    _, grads = value_and_grad(loss, params)
    _, expected = value_and_grad(lambda w: (mlp(w, x) ** 2).sum(), attached.merge(params))
    assert grads["layers.1.b"]["d"] == pytest.approx(expected["layers.1.b"].sum())
    assert grads["layers.1.W"]["d"] == pytest.approx(expected["layers.1.W"].sum())


def test_nothing_is_merged_on_a_matrix_before_merge_is_called(weights, rng):
    """It would take as long as the model is large, and a dense copy of every four-bit W."""

    class Lazy(Shift):
        def forward(self, params, frozen, x):
            return linear(frozen["W"], x)

        def merge(self, params, frozen):
            raise RuntimeError("merged")

    attached = attach(weights, {"*.W": Lazy()}, rng=rng)
    mlp(attached.bind(), rng.standard_normal((4, 5)))
    assert "Lazy()" in str(attached)
    with pytest.raises(RuntimeError, match=r"^merged$"):
        attached.merge()


def test_full_binds_the_trained_array_itself(weights, rng):
    """So that a model may add or index it; merge returns a copy."""
    attached = attach(weights, {"*": Full()}, rng=rng)
    bound = attached.bind()
    merged = attached.merge()
    for name, own in attached.params.items():
        assert bound[name] is own["W"]
        assert not np.shares_memory(merged[name], own["W"])


def wrong_calls():
    """(what is wrong, the error, what the message says, a call)."""
    rng = np.random.default_rng(0)
    weights = init_mlp(rng, (5, 6, 6, 3), np.float64)
    square = {"layers.0.W": np.eye(6), "layers.1.W": np.eye(6)}
    unlike = {"layers.0.W": LoRA(2), "layers.1.W": LoRA(2, alpha=3)}
    attached = attach(weights, {"layers.0.W": LoRA(2)}, rng=rng)

    def on(adapters, weights=weights, **options):
        return lambda: attach(weights, adapters, **{"rng": rng} | options)

    class Unfinished:
        def init(self, rng, W):
            return {}, {}

    def without(part):
        """An adapter with two of the three methods."""
        return type("Partial", (Shift,), {part: None})()

    class Listing(Shift):
        def init(self, rng, W):
            return [np.zeros(1)], {"W": W}

    class Pair(Shift):
        def init(self, rng, W):
            return [{"d": np.zeros(1)}, {"W": W}]

    class Single(Shift):
        def init(self, rng, W):
            return {"d": np.zeros(1)}

    class Starting(Shift):
        def __init__(self, start):
            self.start = start

        def init(self, rng, W):
            return {"c": np.zeros(1), "d": self.start, "e": np.zeros(1)}, {"W": W}

    dict_of_names = "^weights must be a dict from names to weights"
    yield "weights a list", ValueError, dict_of_names, on({}, [np.eye(2)])
    yield "no weights", ValueError, dict_of_names, on({}, {})
    yield "a nested dict", ValueError, r"^weights\['a'\] .*got dict", on({}, {"a": weights})
    yield "a list as a weight", ValueError, r"^weights\['a'\] .*got list", on({}, {"a": [1.0]})
    yield "a number as a name", ValueError, r"^weights\[3\]", on({}, {3: np.eye(2)})
    yield "no generator", ValueError, "^rng must be", on({}, rng=0)
    yield "a bare adapter", TypeError, r'^adapters .*{"\*.W": LoRA\(rank=4\)}', on(LoRA(2))
    yield "no adapters", TypeError, "^adapters must be a dict", on(None)
    yield "a class", ValueError, r"^adapters\['\*.W'\] .*the class LoRA", on({"*.W": LoRA})
    yield "None as an adapter", ValueError, r"^adapters\['\*.W'\]", on({"*.W": None})
    unfinished = r"^adapters\['\*.W'\] .* has no forward, merge"
    yield "an unfinished adapter", ValueError, unfinished, on({"*.W": Unfinished()})
    for part in ("init", "forward", "merge"):
        lacks = rf"^adapters\['\*.W'\] .* has no {part}$"
        yield f"an adapter without {part}", ValueError, lacks, on({"*.W": without(part)})
    yield "a number as a pattern", ValueError, "^adapters: a pattern .*got 3", on({3: LoRA(2)})
    no_match = r"^adapters.*'hidden\.\*'.*the names are layers\.0\.W, layers\.0\.b, .*layers\.2\.b$"
    yield "no match", ValueError, no_match, on({"hidden.*": LoRA(2)})
    yield "no match, first", ValueError, no_match, on({"hidden.*": LoRA(2), "*.W": LoRA(2)})
    yield "no match, last", ValueError, no_match, on({"*.W": LoRA(2), "hidden.*": LoRA(2)})
    prefix = r"^adapters.*'layers\.0' matches no weight"
    yield "the start of a name", ValueError, prefix, on({"layers.0": LoRA(2)})
    two = r"^adapters.*'layers\.0\.W'.*more than one.*'\*0\*'"
    yield "two matches", ValueError, two, on({"*.W": LoRA(2), "*0*": Full()})
    second = r"^adapters.*'{}' is matched by more than one.*'{}'$"
    for overlap, (name, last) in {
        ("*.W", "layers.1.W"): ("layers.1.W", "layers.1.W"),
        ("layers.1.W", "*.W"): ("layers.1.W", r"\*.W"),
        ("layers.2.W", "layers.[12].W"): ("layers.2.W", r"layers.\[12\].W"),
        ("layers.[12].W", "layers.[21].W"): ("layers.1.W", r"layers.\[21\].W"),
        ("*.b", "layers.0.W", "*0.b"): ("layers.0.b", r"\*0.b"),
    }.items():
        alike = dict.fromkeys(overlap, Full())
        yield f"overlap {overlap}", ValueError, second.format(name, last), on(alike)
    yield "another case", ValueError, r"^adapters.*'\*\.w'", on({"*.w": LoRA(2)})
    large = r"^CondLoRA\(rank=4\) on 'layers\.2\.W': rank"
    yield "rank too large", ValueError, large, on({"*.W": CondLoRA(4)})
    bias = r"^LoRA\(rank=1\) on 'layers\.1\.b': W must be a matrix"
    yield "LoRA on a bias", ValueError, bias, on({"*1.b": LoRA(1)})
    shape = r"^Wide\(\) on 'layers\.1\.b': its shape is \(6,\), .*\(2, 2\)"
    yield "another shape", ValueError, shape, on({"*1.b": Wide()})
    column = r"^Column\(\) on 'layers\.1\.b': its shape is \(6,\), .*\(6, 1\)"
    yield "another shape of that size", ValueError, column, on({"*1.b": Column()})
    kernel = {"k": np.ones((2, 3, 4))}
    yield "three axes", ValueError, r"^Column\(\) on 'k': .*\(24, 1\)", on({"k": Column()}, kernel)
    listing = r"^Listing\(\) on 'layers\.1\.b': init must return two dicts"
    yield "params a list", ValueError, listing, on({"*1.b": Listing()})
    yield "a list of two", ValueError, r"^Pair\(\) on .*two dicts", on({"*1.b": Pair()})
    yield "no frozen", ValueError, r"^Single\(\) on .*two dicts", on({"*1.b": Single()})
    for start in (np.zeros(1, int), np.array([np.nan]), np.zeros(1, np.float16), [0.0], 0.0):
        impossible = r"^Starting\(\) on 'layers\.0\.W': init gives impossible params: params\['d'\]"
        yield f"a start {start!r}", ValueError, impossible, on({"*0.W": Starting(start)})
    shared = r"^key: 'layers\.0\.W' and 'layers\.1\.W' share 'layers\.\*\.W'"
    yield "shared shapes", ValueError, shared, on({"*.W": LoRA(2)}, key=kind)
    for shapes in (((6, 5), (6, 6)), ((5, 6), (6, 6)), ((6, 6), (6, 6), (6, 5))):
        unlike_shapes = {f"layers.{i}.W": np.ones(shape) for i, shape in enumerate(shapes)}
        last = shared.replace("1", str(len(shapes) - 1))
        yield f"shared {shapes}", ValueError, last, on({"*": LoRA(2)}, unlike_shapes, key=kind)
    yield "shared adapters", ValueError, shared, on(unlike, square, key=kind)
    lora = {"*0.W": LoRA(2)}
    for key in (None, "kind", 3, lambda name: [name], lambda name: 3):
        yield f"key {key!r:.9}", ValueError, "^key must be a function", on(lora, key=key)
    integers = {"a": np.ones((3, 3), int)}
    half = {"a": np.ones((3, 3), np.float16)}
    for adapter in (LoRA(2), Full()):
        name = type(adapter).__name__
        advice = rf"^{name}.* on 'a': W must be float32 or float64"
        yield f"{name} on integers", ValueError, advice, on({"a": adapter}, integers)
        yield f"{name} on float16", ValueError, advice, on({"a": adapter}, half)
    no_name = r"^params .*layers\.0\.W"
    foreign = {"layers.1.W": {}}
    yield "foreign params", ValueError, no_name, lambda: attached.bind(foreign)
    yield "missing params", ValueError, no_name, lambda: attached.merge({})


@pytest.mark.parametrize(
    "error, message, call", [pytest.param(*rest, id=wrong) for wrong, *rest in wrong_calls()]
)
def test_a_mistake_is_an_error_that_names_the_argument(error, message, call):
    with pytest.raises(error, match=message):
        call()
