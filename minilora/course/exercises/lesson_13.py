"""Lesson 13: a verdict from seeds, the sign-flip test, what is forgotten at equal accuracy."""

import math

from minilora.course.exercise import OpenExercise, exercise


@exercise(
    "13.1",
    "paired_verdict(one, other)",
    hint="subtract seed by seed first; the standard error is the deviation over √n.",
)
def paired_verdict(case):
    """Returns (mean, standard error, word) of the paired differences of two arrays, with the word
    "ahead" or "behind" if the mean is more than two standard errors from 0, else "noise"."""
    n = case.integer("seeds", 2, 6)
    apart = case.choice("how far they are apart", [0.0, 3.0, -3.0])
    other = case.normal("other", n)
    one = case.show("one", case.rng("one").standard_normal(n).round(2) + apart)
    mean, error, word = case.parts(case.call(one, other), 3)
    differences = [a - b for a, b in zip(one.tolist(), other.tolist())]
    expected = sum(differences) / n
    variance = sum((d - expected) ** 2 for d in differences) / (n - 1)
    spread = math.sqrt(variance / n)
    case.same("the mean difference", mean, expected)
    case.same("its standard error", error, spread)
    if abs(abs(expected) - 2 * spread) > 1e-9:
        right = "noise" if abs(expected) < 2 * spread else "ahead" if expected > 0 else "behind"
        case.true(word == right, f'the word must be "{right}"', got=word)


def _all_sums(differences):
    """The sums with each sign, for every way to choose the signs."""
    if not differences:
        return [0.0]
    first, *rest = differences
    return [sign * first + total for total in _all_sums(rest) for sign in (-1, 1)]


@exercise(
    "13.2",
    "sign_flip(differences)",
    hint="the way in which no sign is flipped counts too, and so does the one in which all are.",
)
def sign_flip(case):
    """Returns the share of the 2ⁿ ways to flip signs for which the mean is at least as far from 0
    as the mean of the differences themselves, up to rounding."""
    n = case.integer("n", 1, 6)
    differences = case.matrix("differences", n) / 10
    differences = case.show("differences", differences)
    far = abs(sum(differences)) - 1e-9
    sums = _all_sums(differences.tolist())
    expected = sum(abs(total) >= far for total in sums) / len(sums)
    case.same("the share", case.call(differences), expected)


_FORGETTING = OpenExercise(
    "13.3",
    "the paired differences of accuracy and of source accuracy with standard errors, the lines "
    "that computed them, and one sentence with your verdict",
    (
        (1, "five seeds that decided nothing before, and accuracies less than three points apart"),
        (1, "paired differences, not differences of means, with standard errors"),
        (1, "a verdict by the rule, no wider than this task and these rates"),
    ),
)
