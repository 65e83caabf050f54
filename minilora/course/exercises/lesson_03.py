"""Lesson 3: the largest rank of a budget, multiplications of two ways, tokens that fit."""

from minilora.course.exercise import exercise


@exercise(
    "3.1",
    "largest_rank(shapes, budget)",
    hint="each rank costs d_out + d_in on every matrix.",
)
def largest_rank(case):
    """Returns the largest rank of LoRA with which all matrices of {name: (d_out, d_in)} train at
    most budget parameters together; 0 if not even rank 1 fits."""
    shapes = {}
    for i in range(case.integer("matrices", 1, 3)):
        shapes[f"W{i}"] = (
            case.integer(f"d_out of W{i}", 1, 9),
            case.integer(f"d_in of W{i}", 1, 9),
        )
    budget = case.integer("budget", 0, 200)
    rank = 0
    while sum((rank + 1) * (d_out + d_in) for d_out, d_in in shapes.values()) <= budget:
        rank += 1
    case.same("the rank", case.call(shapes, budget), rank)


def _product(counts, left, right):
    """The shape of a product; adds its multiplications to a list."""
    counts.append(left[0] * left[1] * right[1])
    return left[0], right[1]


@exercise(
    "3.2",
    "multiplications(n, d_out, d_in, r)",
    hint="write down the shapes of all products: the thin way has eight, the other six.",
)
def multiplications(case):
    """Returns (thin, merging): the multiplications of one step of LoRA for n inputs by the thin
    path, and by way of W' = W + B A; each with y and the gradients for A, B and x."""
    n, r = case.integer("n", 1, 9), case.integer("r", 1, 9)
    d_out, d_in = case.integer("d_out", 1, 9), case.integer("d_in", 1, 9)
    thin, merging = case.parts(case.call(n, d_out, d_in, r), 2)
    x, g, W, A, B = (n, d_in), (n, d_out), (d_out, d_in), (r, d_in), (d_out, r)
    counts = []
    _product(counts, x, W[::-1])
    low = _product(counts, x, A[::-1])
    _product(counts, low, B[::-1])
    back = _product(counts, g, B)
    _product(counts, g[::-1], low)  # for B
    _product(counts, back[::-1], x)  # for A
    _product(counts, g, W)
    _product(counts, back, A)
    case.same("the number of the thin path", thin, sum(counts))
    counts = []
    _product(counts, B, A)
    _product(counts, x, W[::-1])
    G = _product(counts, g[::-1], x)
    _product(counts, B[::-1], G)  # for A
    _product(counts, G, A[::-1])  # for B
    _product(counts, g, W)
    case.same("the number by way of W'", merging, sum(counts))


def _most(budget, cost):
    """How many of a cost fit into a budget, found by adding."""
    tokens = 0
    while (tokens + 1) * cost <= budget:
        tokens += 1
    return tokens


@exercise(
    "3.3",
    "tokens_that_fit(free, layers, numbers, d, logits)",
    hint="with checkpointing one layer at a time holds its numbers, and every layer its input.",
)
def tokens_that_fit(case):
    """Returns (plain, checkpointed): how many tokens fit into free bytes, two bytes a number; plain
    keeps `numbers` of each layer, checkpointed d of each layer and `numbers` of one."""
    free = case.integer("free", 0, 400)
    layers, numbers = case.integer("layers", 1, 5), case.integer("numbers", 1, 9)
    d, logits = case.integer("d", 1, 4), case.integer("logits", 0, 9)
    plain, checkpointed = case.parts(case.call(free, layers, numbers, d, logits), 2)
    expected = _most(free, 2 * (layers * numbers + logits))
    case.same("the number of tokens without checkpointing", plain, expected)
    expected = _most(free, 2 * (layers * d + numbers + logits))
    case.same("the number of tokens with checkpointing", checkpointed, expected)
