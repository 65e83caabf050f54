"""How cost grows: of each adapter's step, of merging, and of the constructions of the theorems.

    python tests/bench/scaling.py             about two minutes; needs neither torch nor peft

One quantity grows at a time: the width d, the rank r, the number n of vectors, the number L of
layers. The exponent p of cost ∝ quantity^p is fitted by least squares on logarithms, and stands
beside the one that is expected: for steps and merging from a count of multiplications at the same
sizes, for constructions from what they do, which is a fixed number of decompositions of d × d
matrices for each layer. Fixed costs make the fitted exponents of small sizes too low.

Prints a table, and writes tutorials/results/scaling.json and scaling.png.
"""

import argparse
import json
import os
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import autograd.numpy as np
from matplotlib.figure import Figure
from results import RESULTS

from minilora.adapters import HRA, CondLoRA, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attachment import attach
from minilora.models.mlp import init_mlp, mlp
from minilora.ops import cross_entropy
from minilora.theorems.linear import adapt_product
from minilora.theorems.reachable import best_condlora, best_hra_strict, best_lora, best_sbora_fa
from minilora.theorems.relu import relu_adapters, uniform_partition
from minilora.theorems.transformer import transformer_adapters
from minilora.train import value_and_grad

ADAPTERS = {
    "LoRA": LoRA,
    "SBoRA-FA": SBoRAFA,
    "SBoRA-FB": SBoRAFB,
    "HRA": HRA,
    "strict HRA": HRAStrict,
    "CondLoRA": CondLoRA,
}
BEST = {
    "best_lora": best_lora, "best_sbora_fa": best_sbora_fa, "best_condlora": best_condlora,
    "best_hra_strict": best_hra_strict,
}  # fmt: skip
D, R, N = 512, 8, 128  # what stays when another quantity grows
SIZES = {"d": (512, 1024, 2048), "r": (16, 32, 64, 128, 256), "n": (128, 256, 512, 1024)}


def step_count(name, d, r, n):
    """Multiplications of one step of one layer, forward and backward, W frozen and x traced."""
    thin = {
        "SBoRA-FA": 3 * n * r * d,
        "SBoRA-FB": 3 * n * r * d,
        "CondLoRA": 6 * n * r * d + 2 * r * d * d,
    }
    gram = 3 * r * r * d + 3 * n * r * r + 4 * r**3 if "HRA" in name else 0
    return 2 * n * d * d + thin.get(name, 6 * n * r * d) + gram


def merge_count(name, d, r, n):
    """Multiplications of a merge, and one for each entry of W that is copied or added.

    The entries of a column lie a row apart, so that for each one 16 are fetched, and 16 written
    back.
    """
    many = {"SBoRA-FA": 32 * r * d, "SBoRA-FB": r * d, "LoRA": r * d * d, "CondLoRA": 3 * r * d * d}
    return d * d + many.get(name, 3 * r * d * d)


def adapter_step(name, d, r, n):
    """A function that does one step of an adapter on one layer."""
    rng = np.random.default_rng(0)
    adapter, W = ADAPTERS[name](r), (rng.standard_normal((d, d)) / d**0.5).astype(np.float32)
    params, frozen = started(name, adapter, rng, W)
    x, weight = rng.standard_normal((2, n, d)).astype(np.float32)

    def loss(tree):
        return np.sum(weight * adapter.forward(tree["params"], frozen, tree["x"]))

    return lambda: value_and_grad(loss, {"params": params, "x": x})


def adapter_merge(name, d, r, n):
    """A function that merges an adapter."""
    rng = np.random.default_rng(0)
    adapter, W = ADAPTERS[name](r), (rng.standard_normal((d, d)) / d**0.5).astype(np.float32)
    params, frozen = started(name, adapter, rng, W)
    return lambda: adapter.merge(params, frozen)


def started(name, adapter, rng, W):
    """Params and frozen; strict HRA at random, for its own start decomposes W."""
    if name == "strict HRA":
        return {"U": rng.standard_normal((len(W), adapter.rank)).astype(W.dtype)}, {"W": W}
    return adapter.init(rng, W)


def mlp_step(depth):
    """A function that does one LoRA step on an MLP of so many layers."""
    rng = np.random.default_rng(0)
    attached = attach(init_mlp(rng, (256,) * (depth + 1)), {"layers.*.W": LoRA(R)}, rng=rng)
    x, labels = rng.standard_normal((N, 256)).astype(np.float32), rng.integers(256, size=N)
    return lambda: value_and_grad(
        lambda params: cross_entropy(mlp(attached.bind(params), x), labels), attached.params
    )


def square(rng, d, how_many):
    """Random d × d matrices that are not close to singular."""
    draws = rng.standard_normal((how_many, 2, d, d))
    return [np.linalg.qr(first)[0] + 0.1 * second / d**0.5 for first, second in draws]


def network(rng, d, depth):
    """The weights of an MLP with d inputs, d outputs and d units in every layer."""
    weights = {f"layers.{i}.W": W for i, W in enumerate(square(rng, d, depth))}
    return {**weights, **{f"layers.{i}.b": 0.1 * rng.standard_normal(d) for i in range(depth)}}


def plain(rng, d, depth):
    """The weights of a plain Transformer with one head."""
    weights = {"head.W": square(rng, d, 1)[0]}
    for block in (f"blocks.{i}" for i in range(depth)):
        weights |= {f"{block}.heads.0.{part}.W": W for part, W in zip("qkvo", square(rng, d, 4))}
        weights |= {f"{block}.ffn.{i}.W": W for i, W in zip((1, 2), square(rng, d, 2))}
        weights |= {f"{block}.ffn.{i}.b": 0.1 * rng.standard_normal(d) for i in (1, 2)}
    return weights


def construction(name, d, depth=2, r=R):
    """A function that does one construction in float64, exact ones with the rank that they need."""
    rng = np.random.default_rng(0)
    if name == "adapt_product":
        Ws, target = square(rng, d, depth), square(rng, d, 1)[0]
        return lambda: adapt_product(Ws, target, [min(r, d // depth)] * depth, rng=rng)
    if name == "relu_adapters":
        weights, target, share = network(rng, d, depth), network(rng, d, 1), -(-d // depth)
        return lambda: relu_adapters(
            weights, target, share, uniform_partition(depth, 1), 1.0, rng=rng
        )
    if name == "transformer_adapters":
        weights, target = plain(rng, d, depth), plain(rng, d, depth)
        return lambda: transformer_adapters(weights, target, rng=rng)
    W, target = square(rng, d, 2)
    return lambda: BEST[name](W, target, r)


def measurements():
    """Yield (what, name, quantity, its values, what to time at each, the expected exponent)."""
    usual = {"d": D, "r": R, "n": N}
    for what, make, count in (
        ("step", adapter_step, step_count),
        ("merge", adapter_merge, merge_count),
    ):
        for quantity in ("d", "r", "n") if what == "step" else ("d", "r"):
            for name in ADAPTERS:
                sizes = [{**usual, quantity: value} for value in SIZES[quantity]]
                counts = [count(name, **size) for size in sizes]
                made = [partial(make, name, **size) for size in sizes]
                yield what, name, quantity, SIZES[quantity], made, exponent(SIZES[quantity], counts)
    yield (
        "step",
        "LoRA MLP",
        "L",
        (4, 8, 16, 32),
        [partial(mlp_step, L) for L in (4, 8, 16, 32)],
        1.0,
    )
    widths, depths = (64, 128, 256), (2, 4, 8)
    for name in ("adapt_product", "relu_adapters", "transformer_adapters"):
        yield (
            "construct",
            name,
            "d",
            widths,
            [partial(construction, name, d, r=d) for d in widths],
            3.0,
        )
        yield (
            "construct",
            name,
            "L",
            depths,
            [partial(construction, name, 64, L, 64) for L in depths],
            1.0,
        )
    widths = (128, 256, 512)
    for name in BEST:
        grows = 2.0 if name == "best_sbora_fa" else 3.0
        yield (
            "construct",
            name,
            "d",
            widths,
            [partial(construction, name, d) for d in widths],
            grows,
        )


def exponent(values, costs):
    """p of the best fit cost ∝ value^p."""
    return float(np.polyfit(np.log(values), np.log(costs), 1)[0])


def seconds(function, least=0.06, repeats=5):
    """Processor time of one call, the median over repeats that each take at least so long."""
    function()
    start = time.process_time()
    function()
    count = max(1, round(least / max(time.process_time() - start, 1e-6)))
    found = []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(count):
            function()
        found.append((time.process_time() - start) / count)
    return float(np.median(found))


def main():
    """Measure, print the table, write it and the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", choices=("step", "merge", "construct"), help="one part alone; writes nothing"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "scaling.json", help="(%(default)s)")
    chosen = parser.parse_args()
    np.empty(31 << 20, np.uint8)  # as `fit` does, so that memory is kept from one call to the next
    rows = []
    print(f"{'':31}    {'sizes':24}   {'milliseconds':36}fitted  expected")
    for what, name, quantity, values, makers, expected in measurements():
        if chosen.only in (None, what):
            costs = [seconds(make()) for make in makers]
            fitted = exponent(values, costs)
            rows.append(
                {
                    "what": what,
                    "name": name,
                    "quantity": quantity,
                    "values": list(values),
                    "seconds": costs,
                    "fitted": fitted,
                    "expected": expected,
                }
            )
            sizes = " ".join(map(str, values))
            times = " ".join(f"{1e3 * cost:.3g}" for cost in costs)
            exponents = f"{fitted:5.2f}  {expected:8.2f}"
            print(
                f"{what:10} {name:20} {quantity}: {sizes:24} {times:36} {exponents}",
                flush=True,
            )
    if chosen.only is None:
        chosen.out.parent.mkdir(exist_ok=True)
        chosen.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        draw(rows, chosen.out.with_suffix(".png"))
        print(f"wrote {chosen.out} and {chosen.out.with_suffix('.png')}")


def draw(rows, file):
    """Cost against the quantity that grows, a panel for each part and quantity."""
    panels = [
        ("step", "d"),
        ("step", "r"),
        ("step", "n"),
        ("merge", "d"),
        ("merge", "r"),
        ("construct", "d"),
    ]
    figure = Figure(figsize=(13, 6), layout="constrained")
    markers = "osDv^P*X"
    for axis, (what, quantity) in zip(figure.subplots(2, 3).flat, panels):
        chosen = [row for row in rows if (row["what"], row["quantity"]) == (what, quantity)]
        for row, marker in zip(chosen, markers):
            label = f"{row['fitted']:.2f}  {row['name']}"
            axis.loglog(
                row["values"],
                [1e3 * s for s in row["seconds"]],
                marker=marker,
                markersize=4,
                label=label,
            )
        axis.set(title=f"{what}, growing {quantity}", xlabel=quantity, ylabel="milliseconds")
        ticks = sorted({value for row in chosen for value in row["values"]})
        axis.set_xticks(ticks, labels=ticks)
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(
            fontsize=8,
            frameon=False,
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            title="fitted exponent",
        )
    figure.savefig(file, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
