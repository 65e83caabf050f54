"""Wrong answers to the exercises of lesson 17, each with words of the verdict that it must get."""

import numpy as np


def never_root(W, A, B, settings):
    return W + settings["lora_alpha"] / settings["r"] * B @ A


def always_there(W, A, B, settings):
    power = 0.5 if settings["use_rslora"] else 1
    return W + settings["lora_alpha"] / settings["r"] ** power * B @ A


def there_is_true(W, A, B, settings):
    power = 0.5 if "use_rslora" in settings else 1
    return W + settings["lora_alpha"] / settings["r"] ** power * B @ A


def scale_forgotten(W, A, B, settings):
    return W + B @ A


def scales_dropped(A1, B1, s1, A2, B2, s2):
    return np.vstack([A1, A2]), np.hstack([B1, B2])


def scales_in_both(A1, B1, s1, A2, B2, s2):
    return np.vstack([s1 * A1, s2 * A2]), np.hstack([s1 * B1, s2 * B2])


def added(A1, B1, s1, A2, B2, s2):
    r = min(len(A1), len(A2))
    return A1[:r] + A2[:r], s1 * B1[:, :r] + s2 * B2[:, :r]


def crossed(A1, B1, s1, A2, B2, s2):
    return np.vstack([A2, A1]), np.hstack([s1 * B1, s2 * B2])


def cut_off(array):
    return (array.view(np.uint32) >> 16).astype(np.uint16)


def as_float16(array):
    with np.errstate(over="ignore"):
        return array.astype(np.float16).view(np.uint16)


def not_narrowed(array):
    return (array.view(np.uint32) + np.uint32(0x8000)) >> 16


def no_carry(array):
    bits = array.view(np.uint32)
    upper, place = bits >> 16, (bits >> 15) & 1
    return ((upper & 0xFF80) | ((upper + place) & 0x7F)).astype(np.uint16)


def one_row(array):
    return ((array.ravel().view(np.uint32) + np.uint32(0x8000)) >> 16).astype(np.uint16)


def always_up(array):
    return ((array.view(np.uint32) + np.uint32(0xFFFF)) >> 16).astype(np.uint16)


WRONG = {
    "17.1": (
        (never_root, "the merged weight is wrong"),
        (always_there, "raises KeyError"),
        (there_is_true, "the merged weight is wrong"),
        (scale_forgotten, "the merged weight is wrong"),
    ),
    "17.2": (
        (scales_dropped, "B A is wrong"),
        (scales_in_both, "B A is wrong"),
        (added, "A must be an array of shape"),
        (crossed, "17.2 does not hold"),
    ),
    "17.3": (
        (cut_off, "an entry is not the nearest"),
        (as_float16, "an entry is not the nearest"),
        (not_narrowed, "the dtype must be uint16"),
        (always_up, "an entry is not the nearest"),
        (no_carry, "an entry is not the nearest"),
        (one_row, "the result must be an array of shape (2, 2)"),
    ),
}
