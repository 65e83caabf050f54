"""Wrong answers to the exercises of lesson 18, each with words of the verdict that it must get."""

from autograd.extend import defvjp, primitive


def seven_each(layers):
    return 7 * layers


def without_the_end(layers):
    return 5 + 7 * (layers - 1)


def first_like_others(layers):
    return 7 * layers + 1


def always_a_rank(n, d):
    return n * d / (2 * n - d) if 2 * n != d else 1.0


def half(n, d):
    return d / 2


def forward_once(n, d):
    return n * d / (n - d) if n > d else None


def plain(A, B, x, W):
    return x @ W.T + (x @ A.T) @ B.T


@primitive
def half_of_x(A, B, x, W):
    return x @ W.T + (x @ A.T) @ B.T


defvjp(
    half_of_x,
    lambda y, A, B, x, W: lambda g: (g @ B).T @ x,
    lambda y, A, B, x, W: lambda g: g.T @ (x @ A.T),
    lambda y, A, B, x, W: lambda g: (g @ B) @ A,
)


@primitive
def swapped(A, B, x, W):
    return x @ W.T + (x @ A.T) @ B.T


defvjp(
    swapped,
    lambda y, A, B, x, W: lambda g: 2 * (g @ B).T @ x,
    lambda y, A, B, x, W: lambda g: g.T @ (x @ A.T),
    lambda y, A, B, x, W: lambda g: g @ W + (g @ B) @ A,
)


@primitive
def no_derivative(A, B, x, W):
    return x @ W.T + (x @ A.T) @ B.T


WRONG = {
    "18.1": (
        (seven_each, "the number of nodes is wrong"),
        (without_the_end, "the number of nodes is wrong"),
        (first_like_others, "the number of nodes is wrong"),
    ),
    "18.2": (
        (always_a_rank, "it must return None here"),
        (half, "18.2 does not hold"),
        (forward_once, "18.2 does not hold"),
    ),
    "18.3": (
        (plain, "it must be one node on the tape"),
        (half_of_x, "the gradient for x is wrong"),
        (swapped, "the gradient for A is wrong"),
        (no_derivative, "raises NotImplementedError"),
    ),
}
