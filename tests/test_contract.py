"""The contract: every adapter keeps every promise. `pytest --adapter mymodule:MyAdapter` asks it of your own class."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd.core import VJPNode
from autograd.test_util import check_grads
from autograd.tracer import new_box, toposort, trace_stack
from claims import claim, exactly, within
from contract import ROWS, moved, start, weight

from minilora.linalg import linear
from minilora.train import fit, value_and_grad

SHAPES_AND_RANKS = [((6, 6), 1), ((6, 6), 4), ((7, 3), 2), ((3, 7), 2), ((3, 7), 3), ((1, 5), 1), ((5, 1), 1)]
LEADING_AXES = [(), (1,), (4,), (2, 3), (2, 1, 3), (0,)]
OVER_A_BASE = [row for row in ROWS if row.name != "Full"]
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}


def over(rows):
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


def cases(rows):
    """Rows with every shape and rank at which all their numbers can make a difference."""
    chosen = [(row, shape, rank) for row in rows for shape, rank in SHAPES_AND_RANKS if row.fits(shape, rank)]
    names = [f"{row.name}-{shape}-{rank}" for row, shape, rank in chosen]
    return pytest.mark.parametrize("row, shape, rank", chosen, ids=names)


def promise(number, statement):
    """The mark by which a promise gets its line in the table at the end."""
    whose = "every adapter" if len(ROWS) > 1 else ROWS[0].name
    return claim(f"P{number}", f"Contract of {whose}", statement)


every_adapter, every_case = over(ROWS), cases(ROWS)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)


def loss_of(adapter, frozen):
    """A loss in which every output counts, with its own weight."""

    def loss(params, x):
        y = adapter.forward(params, frozen, x)
        return anp.sum(anp.tanh(y) * anp.cos(anp.arange(y.size, dtype=x.dtype)).reshape(y.shape).astype(x.dtype))

    return loss


@promise(1, "an untrained adapter changes nothing")
@cases([row for row in ROWS if row.start is not None])
@every_dtype
def test_an_untrained_adapter_changes_nothing(row, shape, rank, dtype, rng):
    """Bitwise where the update starts at zero; up to rounding where reflections cancel in pairs."""
    adapter, W = row.make(rank), weight(rng, shape, dtype)
    params, frozen = adapter.init(rng, W)
    x = rng.standard_normal((5, shape[1])).astype(dtype)
    y, merged = adapter.forward(params, frozen, x), adapter.merge(params, frozen)
    tolerance = row.start * np.finfo(dtype).eps
    within(np.abs(y - linear(W, x)), tolerance * np.max(np.abs(x)), "forward")
    within(np.abs(merged - W), tolerance, "merge")


@promise(2, "forward computes what the merged matrix computes")
@every_case
@every_dtype
@pytest.mark.parametrize("axes", LEADING_AXES, ids=str)
def test_forward_equals_merge(row, shape, rank, dtype, axes, rng):
    adapter, _, params, frozen = start(row, rng, shape, rank, dtype)
    x = rng.standard_normal((*axes, shape[1])).astype(dtype)
    y, merged = adapter.forward(params, frozen, x), adapter.merge(params, frozen)
    exactly(y.shape == (*axes, shape[0]))
    exactly(merged.shape == shape)
    reference = x.astype(np.float64) @ merged.T.astype(np.float64)
    scale = np.linalg.norm(merged) * np.max(np.abs(x), initial=0)
    within(np.max(np.abs(y - reference), initial=0), TOLERANCE[dtype] * scale)


@promise(3, "gradients for params and for x agree with finite differences")
@every_case
def test_gradients_agree_with_finite_differences(row, shape, rank, rng):
    adapter, _, params, frozen = start(row, rng, shape, rank)
    x = rng.standard_normal((4, shape[1]))
    for argument in (0, 1):  # the params, and x: the gradient has to reach the layers below
        check_grads(loss_of(adapter, frozen), argument, modes=["rev"], order=1)(params, x)
        exactly(True)  # check_grads has raised otherwise


@promise(4, "every trained array gets a gradient")
@every_case
def test_every_trained_array_gets_a_gradient(row, shape, rank, rng):
    adapter, _, params, frozen = start(row, rng, shape, rank)
    _, grads = value_and_grad(loss_of(adapter, frozen), params, rng.standard_normal((4, shape[1])))
    exactly(grads.keys() == params.keys() and len(grads) > 0)
    for name, grad in grads.items():
        exactly(grad.shape == params[name].shape, name)
        exactly(np.max(np.abs(grad)) > 1e-6, name)


@promise(5, "training changes params, and neither W, frozen nor the given params")
@every_adapter
def test_training_leaves_frozen_arrays_and_the_given_params_bit_identical(row, rng):
    adapter, W = row.make(2), weight(rng, (6, 5))
    params, frozen = adapter.init(rng, W)
    arrays = {"W": W, **params, **{f"frozen {name}": array for name, array in frozen.items()}}
    before = {name: array.copy() for name, array in arrays.items()}

    def loss(params, x, target):
        return anp.sum((adapter.forward(params, frozen, x) - target) ** 2)

    data = rng.standard_normal((20, 5)), rng.standard_normal((20, 6))
    trained = fit(loss, params, data, rng, steps=5, batch=10, lr=0.1)
    adapter.merge(trained, frozen)
    for name, array in arrays.items():
        exactly(np.array_equal(array.view(np.int64), before[name].view(np.int64)), name)
    exactly(all(np.any(trained[name] != params[name]) for name in params))


@promise(6, "the trained numbers are as many as the closed form says")
@cases([row for row in ROWS if row.count])
def test_the_trained_count_is_the_closed_form(row, shape, rank, rng):
    params, _ = row.make(rank).init(rng, weight(rng, shape))
    exactly(sum(array.size for array in params.values()) == row.count(*shape, rank))


@promise(7, "the update has the rank that was asked for")
@cases([row for row in ROWS if row.delta_rank])
def test_the_update_has_the_rank_that_was_asked_for(row, shape, rank, rng):
    adapter, W, params, frozen = start(row, rng, shape, rank)
    values = np.linalg.svd(adapter.merge(params, frozen) - W, compute_uv=False)
    exactly(np.sum(values > 1e-10 * values[0]) == row.delta_rank(*shape, rank))


@promise(8, "float32 in, float32 out: start, forward, merge, loss and gradient")
@every_adapter
@every_dtype
def test_dtype_in_is_dtype_out(row, dtype, rng):
    adapter, W, params, frozen = start(row, rng, (6, 5), 2, dtype)
    x = rng.standard_normal((4, 5)).astype(dtype)
    value, grads = value_and_grad(loss_of(adapter, frozen), params, x)
    first, _ = adapter.init(rng, W)
    for array in (*first.values(), adapter.forward(params, frozen, x), adapter.merge(params, frozen), value):
        exactly(array.dtype == dtype)
    exactly({name: grad.dtype for name, grad in grads.items()} == dict.fromkeys(params, np.dtype(dtype)))


@promise(9, "the start depends on W and the generator alone")
@every_adapter
def test_the_start_depends_on_the_generator_alone(row):
    W = weight(np.random.default_rng(0), (6, 5))
    one, two = (row.make(2).init(np.random.default_rng(7), W) for _ in range(2))
    for part_one, part_two in zip(one, two):
        exactly(part_one.keys() == part_two.keys())
        for name in part_one:
            exactly(np.array_equal(part_one[name], part_two[name]), name)


@promise(10, "merge returns a new array and changes nothing that it was given")
@every_adapter
def test_merge_returns_an_array_of_its_own(row, rng):
    adapter, W, params, frozen = start(row, rng, (6, 5), 2)
    before = {name: array.copy() for name, array in (params | frozen).items()}
    merged = adapter.merge(params, frozen)
    for name, array in (params | frozen).items():
        exactly(np.array_equal(array, before[name]), name)
    for array in (W, *params.values(), *frozen.values()):
        exactly(not np.shares_memory(merged, array))
    first, _ = adapter.init(rng, W)
    exactly(not any(np.shares_memory(W, array) for array in first.values()))


@promise(11, "forward builds no matrix of the size of W")
@over(OVER_A_BASE)
def test_forward_builds_no_matrix_of_the_size_of_the_weight(row, rng):
    adapter, _, params, frozen = start(row, rng, (9, 11), 2)
    seen = []
    with trace_stack.new_trace() as trace:
        boxes = {name: new_box(array, trace, ShapeNode.root(array)) for name, array in params.items()}
        end = adapter.forward(boxes, frozen, rng.standard_normal((4, 11)))
    for node in toposort(end._node):
        seen.append(node.shape)
    exactly((4, 9) in seen)
    exactly(not {(9, 11), (11, 9)} & set(seen))


class ShapeNode(VJPNode):
    """A node of the tape that remembers the shape of its value."""

    __slots__ = ("shape",)

    def __init__(self, value, fun, args, kwargs, parent_argnums, parents):
        super().__init__(value, fun, args, kwargs, parent_argnums, parents)
        self.shape = np.shape(value)

    @classmethod
    def root(cls, array):
        node = cls.new_root()
        node.shape = array.shape
        return node


@promise(12, "W may be any map: a four-bit matrix, an adapted one")
@over(OVER_A_BASE)
def test_the_base_may_be_any_map(row, rng):
    adapter, W = row.make(2), weight(rng, (6, 5))
    asked = []

    class Base:
        """W as something that can be called, and made dense on request."""

        shape, ndim, dtype = W.shape, 2, W.dtype

        def __call__(self, x):
            asked.append(x.shape)
            return x @ W.T

        def __array__(self, dtype=None, copy=None):
            return W.copy()

    params, over_base = adapter.init(np.random.default_rng(5), Base())
    _, over_matrix = adapter.init(np.random.default_rng(5), W)
    params = moved(rng, params)
    x = rng.standard_normal((4, 5))
    within(np.abs(adapter.forward(params, over_base, x) - adapter.forward(params, over_matrix, x)), 1e-13)
    within(np.abs(adapter.merge(params, over_base) - adapter.merge(params, over_matrix)), 1e-13)
    exactly(len(asked) > 0)


def mistakes(row):
    """(what is wrong, the name that the message must have, a call) for one adapter."""
    rng, good = np.random.default_rng(0), np.ones((4, 3))

    def on(W):
        return lambda: row.make(1).init(rng, W)

    def wide(x):
        adapter, _, params, frozen = start(row, rng, (4, 3), 1)
        return lambda: adapter.forward(params, frozen, x)

    yield "x too wide", "x", wide(np.ones((2, 4)))
    yield "x a scalar", "x", wide(np.float64(1))
    yield "NaN in W", "W", on(np.where(good > 0, np.nan, 0))
    yield "inf in W", "W", on(np.where(np.eye(4, 3) > 0, np.inf, good))
    yield "integers in W", "W", on(np.ones((4, 3), int))
    if row.name == "Full":
        return
    yield "W a vector", "W", on(np.ones(3))
    yield "W a list", "W", on([[1.0, 2.0], [3.0, 4.0]])
    yield "W without rows", "W", on(np.ones((0, 3)))
    yield "W of three dimensions", "W", on(np.ones((2, 4, 3)))
    for rank in (0, -1, 1.5, 2.0, "2", None, True, np.nan):
        yield f"rank {rank!r}", "rank", lambda rank=rank: type(row.make(1))(rank=rank)
    if row.most:
        for shape in ((4, 3), (3, 4)):
            rank = row.most(*shape) + 1
            yield (
                f"rank {rank} on {shape}",
                "rank",
                lambda rank=rank, shape=shape: row.make(rank).init(rng, np.ones(shape)),
            )


@promise(13, "a mistake is a ValueError that names the argument")
@pytest.mark.parametrize(
    "name, call",
    [pytest.param(name, call, id=f"{row.name}-{wrong}") for row in ROWS for wrong, name, call in mistakes(row)],
)
def test_a_mistake_is_a_value_error_that_names_the_argument(name, call):
    with pytest.raises(ValueError, match=rf"^{name} "):
        call()
    exactly(True)  # pytest.raises has failed otherwise
