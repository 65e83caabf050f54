"""Lesson 8: what exactness costs, a turn from two adapters, the construction for any depth."""

import itertools

import numpy as np

from minilora.course.exercise import exercise


@exercise(
    "8.1",
    "stack_price(L, D)",
    hint="the ranks of the layers add up, and have to reach D.",
)
def stack_price(case):
    """Returns (rank, parameters): the smallest equal rank with which L generic layers of width D
    become any generic target, and the number of entries of all A and B."""
    L, D = case.integer("L", 1, 9), case.integer("D", 1, 20)
    rank, parameters = case.parts(case.call(L, D), 2)
    least = 1
    while sum(least for _ in range(L)) < D:
        least += 1
    entries = sum(np.zeros((least, D)).size + np.zeros((D, least)).size for _ in range(L))
    case.same("the rank", rank, least)
    case.same("the number of parameters", parameters, entries)


@exercise(
    "8.2",
    "two_adapters(degrees)",
    hint="a reflection I − 2 u uᵀ is I + B A; which two turn by this angle?",
)
def two_adapters(case):
    """Returns (B0, A0, B1, A1) of rank 1 with (I + B1 A1)(I + B0 A0) the rotation by so many
    degrees counter-clockwise."""
    degrees = case.integer("degrees", -180, 180)
    found = case.parts(case.call(degrees), 4)
    for name, part, shape in zip(("B0", "A0", "B1", "A1"), found, ((2, 1), (1, 2)) * 2):
        case.array(name, part, *shape)
    first, second = np.eye(2) + found[0] @ found[1], np.eye(2) + found[2] @ found[3]
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    case.same("the product", second @ first, turn)


def _layer(rng, D):
    """A random D × D matrix with singular values between ½ and 2, up to two decimals."""
    left, _, right = np.linalg.svd(rng.standard_normal((D, D)))
    return ((left * rng.uniform(0.5, 2, D)) @ right).round(2)


@exercise(
    "8.3",
    "build_by_hand(Ws, target, ranks)",
    hint="layer l solves with the product S of the layers after it, and with X of those before.",
    cases=100,
)
def build_by_hand(case):
    """Returns [{"A": A_l (ranks[l], D), "B": B_l (D, ranks[l])}, …], the first layer first, for
    which the product of all W_l + B_l A_l is the target."""
    D, depth = case.integer("D", 1, 4), case.integer("layers", 1, 3)
    every = itertools.product(range(D + 1), repeat=depth)
    ranks = case.choice("ranks", [list(ranks) for ranks in every if sum(ranks) == D])
    Ws = [case.show(f"W_{i}", _layer(case.rng(f"W_{i}"), D)) for i in range(depth)]
    target = case.show("target", _layer(case.rng("target"), D))
    found = case.call(Ws, target, ranks)
    a_list = isinstance(found, list) and len(found) == depth
    case.true(a_list, "it must return a list with a dict for each layer", got=found)
    product = np.eye(D)
    for i, (W, own, rank) in enumerate(zip(Ws, found, ranks)):
        a_dict = isinstance(own, dict) and set(own) == {"A", "B"}
        case.true(a_dict, f"layer {i} must be a dict with the keys A and B", got=own)
        case.array(f"A of layer {i}", own["A"], rank, D)
        case.array(f"B of layer {i}", own["B"], D, rank)
        product = (W + own["B"] @ own["A"]) @ product
    case.same("the product", product, target, within=1e-5)
