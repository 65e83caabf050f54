"""Lesson 8: what exactness costs, a turn from two adapters, the construction for any depth."""

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
    degrees counter-clockwise, and both factors invertible."""
    degrees = case.integer("degrees", -180, 180)
    found = case.parts(case.call(degrees), 4)
    for name, part, shape in zip(("B0", "A0", "B1", "A1"), found, ((2, 1), (1, 2)) * 2):
        case.array(name, part, *shape)
    first, second = np.eye(2) + found[0] @ found[1], np.eye(2) + found[2] @ found[3]
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    case.same("the product", second @ first, turn)
    for name, factor in (("I + B0 A0", first), ("I + B1 A1", second)):
        size = abs(np.linalg.det(factor))
        case.true(size > 1e-6, f"{name} must be invertible", got=factor)


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
    cuts = sorted(case.integer(f"cut {i}", 0, D) for i in range(depth - 1))
    ranks = np.diff([0, *cuts, D]).tolist()
    layers = range(depth)
    # Well-behaved: every W is the identity plus something smaller.
    small = [case.rng(f"W_{i}").standard_normal((D, D)).round(2) / (2 * D) for i in layers]
    Ws = [case.show(f"W_{i}", np.eye(D) + part) for i, part in enumerate(small)]
    target = case.normal("target", D, D)
    found = case.call(Ws, target, case.show("ranks", ranks))
    case.true(isinstance(found, list) and len(found) == depth, "it must return a dict a layer")
    product = np.eye(D)
    for i, (W, own, rank) in enumerate(zip(Ws, found, ranks)):
        case.true(isinstance(own, dict) and set(own) == {"A", "B"}, "a layer has A and B", got=own)
        case.array(f"A of layer {i}", own["A"], rank, D)
        case.array(f"B of layer {i}", own["B"], D, rank)
        product = (W + own["B"] @ own["A"]) @ product
    case.same("the product", product, target, within=1e-5)
