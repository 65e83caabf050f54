"""Lesson 17: a checkpoint's scale, two adapters in one, numbers in bfloat16."""

import numpy as np

from minilora.course.exercise import exercise


@exercise(
    "17.1",
    "merged_layer(W, A, B, settings)",
    hint="the scale is α/r, and α/√r for rsLoRA.",
)
def merged_layer(case):
    """Returns W + s B A with s = lora_alpha / r, or lora_alpha / √r if use_rslora is true."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    r = case.integer("r", 1, 5)
    settings = {"peft_type": "LORA", "r": r, "lora_alpha": case.integer("lora_alpha", 1, 9)}
    use_rslora = case.choice("use_rslora", [None, False, True])
    if use_rslora is not None:
        settings["use_rslora"] = use_rslora
    W, A, B = case.matrix("W", d_out, d_in), case.matrix("A", r, d_in), case.matrix("B", d_out, r)
    found = case.call(W, A, B, case.show("settings", settings))
    scale = settings["lora_alpha"] / (r**0.5 if use_rslora else r)
    expected = W.copy()
    for i, j in np.ndindex(d_out, d_in):
        expected[i, j] = W[i, j] + scale * sum(B[i, k] * A[k, j] for k in range(r))
    case.same("the merged weight", found, expected)


@exercise(
    "17.2",
    "stacked(A1, B1, s1, A2, B2, s2)",
    hint="put the A on top of each other, the B side by side, and the scales into B.",
)
def stacked(case):
    """Returns (A, B) of rank r1 + r2 with B A = s1 B1 A1 + s2 B2 A2."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    given, expected, total = [], np.zeros((d_out, d_in)), 0
    for i in (1, 2):
        r = case.integer(f"r{i}", 1, 3)
        A, B = case.matrix(f"A{i}", r, d_in), case.matrix(f"B{i}", d_out, r)
        s = case.show(f"s{i}", case.integer(f"2 s{i}", 1, 9) / 2)
        given += [A, B, s]
        total += r
        for row, column in np.ndindex(d_out, d_in):
            update = sum(B[row, k] * A[k, column] for k in range(r))
            expected[row, column] += s * update
    A, B = case.parts(case.call(*given), 2)
    case.array("A", A, total, d_in)
    case.array("B", B, d_out, total)
    case.same("B A", B @ A, expected)


_NEAR_TIES = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]  # lower halves at which rounding may go wrong


def _widened(upper):
    """The float32 numbers with these upper halves, in float64."""
    return (upper.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _in_hex(bits, digits):
    return [f"{number:0{digits}x}" for number in bits.ravel().tolist()]


@exercise(
    "17.3",
    "as_bfloat16(array)",
    hint="view the numbers as uint32, and add half of the last place that stays before the shift.",
)
def as_bfloat16(case):
    """Returns an array of uint16 of the same shape: the upper half of the nearest float32 whose
    lower half is zero."""
    shape = case.choice("shape", [(1,), (3,), (0,), (2, 2), (2, 1, 2)])
    size = case.choice("size", [1.0, 0.0, 1e-9, 1e30])
    rng = case.rng("array")
    bits = (rng.standard_normal(shape) * size).astype(np.float32).view(np.uint32)
    if case.choice("lower halves", ["near a tie", "any"]) == "near a tie":
        upper = (bits >> 16) | rng.choice([0, 0x7F], shape).astype(np.uint32)  # 0x7F may carry
        bits = (upper << 16) | rng.choice(_NEAR_TIES, shape).astype(np.uint32)
    array = case.show("array", bits.view(np.float32))
    case.show("its bits", _in_hex(bits, 8))
    found = case.array("the result", case.call(array), *shape)
    case.true(found.dtype == np.uint16, "the dtype must be uint16", got=found)
    down = bits >> 16  # towards zero; the next one is away from it
    gaps = [np.abs(_widened(half) - array) for half in (down, down + 1)]
    nearest = np.where(gaps[0] <= gaps[1], down, down + 1)
    is_nearest = np.abs(_widened(found) - array) <= np.minimum(*gaps)
    sentence = "an entry is not the nearest (of two that are equally near, either would do)"
    case.true(np.all(is_nearest), sentence, _in_hex(nearest, 4), _in_hex(found, 4))
