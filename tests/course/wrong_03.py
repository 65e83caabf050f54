"""Wrong answers to the exercises of lesson 3, each with words of the verdict that it must get."""


def of_the_largest(shapes, budget):
    return budget // max(d_out + d_in for d_out, d_in in shapes.values())


def products(shapes, budget):
    return budget // sum(d_out * d_in for d_out, d_in in shapes.values())


def at_least_one(shapes, budget):
    return max(1, budget // sum(d_out + d_in for d_out, d_in in shapes.values()))


def fraction(shapes, budget):
    return budget / sum(d_out + d_in for d_out, d_in in shapes.values())


def forward_only(n, d_out, d_in, r):
    return n * d_out * d_in + n * r * (d_out + d_in), n * d_out * d_in + r * d_out * d_in


def as_if_square(n, d_out, d_in, r):
    return (
        2 * n * d_out**2 + 6 * n * r * d_out,
        3 * n * d_out**2 + 3 * r * d_out**2,
    )


def w_is_trained(n, d_out, d_in, r):
    thin = 3 * n * d_out * d_in + 3 * n * r * (d_out + d_in)
    return thin, 3 * n * d_out * d_in + 3 * r * d_out * d_in


def once_merged(n, d_out, d_in, r):
    thin = 2 * n * d_out * d_in + 3 * n * r * (d_out + d_in)
    return thin, 3 * n * d_out * d_in + r * d_out * d_in


def one_byte(free, layers, numbers, d, logits):
    return free // (layers * numbers + logits), free // (layers * d + numbers + logits)


def no_logits(free, layers, numbers, d, logits):
    return free // (2 * layers * numbers), free // (2 * (layers * d + numbers))


def inputs_only(free, layers, numbers, d, logits):
    return free // (2 * (layers * numbers + logits)), free // (2 * (layers * d + logits))


WRONG = {
    "3.1": (
        (of_the_largest, "the rank is wrong"),
        (products, "the rank is wrong"),
        (at_least_one, "the rank is wrong"),
        (fraction, "the rank is wrong"),
    ),
    "3.2": (
        (forward_only, "the number of the thin path is wrong"),
        (as_if_square, "the number of the thin path is wrong"),
        (w_is_trained, "the number of the thin path is wrong"),
        (once_merged, "the number by way of W' is wrong"),
    ),
    "3.3": (
        (one_byte, "the number of tokens without checkpointing is wrong"),
        (no_logits, "the number of tokens without checkpointing is wrong"),
        (inputs_only, "the number of tokens with checkpointing is wrong"),
    ),
}
