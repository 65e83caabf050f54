"""How long a training step takes here and in Hugging Face PEFT: forward, backward and Adam.

    pip install -e '.[bench]' && python tests/bench/steps.py                 about five minutes
    python tests/bench/steps.py --cells MLP --methods LoRA HRA               only some

First both sides give the loss and the gradient for the same numbers, which must agree. Then they
are timed: one thread, processor time, each trainer in a process of its own, blocks of steps in the
order A B C … C B A, so that whatever else the machine does falls on all alike. A ratio compares
blocks of the same round; below 1 this package is faster. LoRA, HRA and strict HRA are compared with
PEFT's own, the others, which PEFT does not have, with PEFT's LoRA; their loss and gradient are
checked against the LoRA that they are a case of. "limit" is the LoRA step on the MLP without a
tape.

The table is printed and written to tutorials/results/steps.json, with the processor and the BLAS
kernel: a ratio says little without them.
"""

# ruff: noqa: E402
import argparse
import json
import os
import time
from pathlib import Path

for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = (
        "1"  # read when NumPy and torch are imported, also by the processes started here
    )

import numpy as np
from cells import CELLS, METHODS, data_of, weights_of
from here import Trainer
from machine import machine
from processes import Server
from results import RESULTS

RIVAL = {method: f"PEFT {method if 'HRA' in method else 'LoRA'}" for method in METHODS}
TOLERANCE = 1e-9  # relative, of float64 sums in different orders


def main():
    """Read the command line, compare cell by cell, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cells",
        nargs="+",
        default=[""],
        metavar="WORDS",
        help="cells whose name has one of these",
    )
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument(
        "--rounds", type=int, default=12, help="blocks of each trainer in a cell (%(default)s)"
    )
    parser.add_argument(
        "--block",
        type=float,
        default=0.08,
        help="about how many seconds a block takes (%(default)s)",
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "steps.json", help="(%(default)s)")
    chosen = parser.parse_args()
    start, rows = time.perf_counter(), []
    servers = {side: Server(side) for side in ("here", "in_peft", "by_hand")}
    print(f"{'':36}   ms here   ms there    ratio  (quartiles)      loss and gradient differ by")
    for cell in CELLS:
        if any(words in str(cell) for words in chosen.cells):
            for row in compare(cell, chosen.methods, servers, chosen.rounds, chosen.block):
                rows.append(row)
                print(line(row), flush=True)
    for server in servers.values():
        server.close()
    chosen.out.parent.mkdir(exist_ok=True)
    chosen.out.write_text(
        json.dumps({"rows": rows, "versions": versions(), "machine": machine()}, indent=1) + "\n",
        encoding="utf-8",
    )
    print(f"{time.perf_counter() - start:.0f} seconds; wrote {chosen.out}")


def compare(cell, methods, servers, rounds, block):
    """The rows of the table for one cell."""
    rng = np.random.default_rng(0)
    weights, data = weights_of(cell, rng), data_of(cell, rng)
    gaps = {method: checked(cell, method, weights, data, servers) for method in methods}
    trainers = {}  # name -> server
    for method in methods:
        ours, rival = Trainer(cell, method, weights, data), RIVAL[method]
        params = {name: as_peft(method, ours, name) for name in cell.adapted}
        wanted = {method: ("here", cell, method, weights, data)}
        if rival not in trainers:
            wanted[rival] = ("in_peft", cell, rival.removeprefix("PEFT "), weights, data, params)
        if cell.model == "MLP" and method == "LoRA":
            wanted["limit"] = ("by_hand", cell, weights, data, params)
            gaps["limit"] = gaps["LoRA"]
        for name, (side, *arguments) in wanted.items():
            trainers[name] = servers[side]
            servers[side].ask(name, "hold", *arguments)
    seconds = timed(trainers, rounds, block)
    for name, server in trainers.items():
        server.ask(name, "end")
    pairs = [(method, RIVAL[method]) for method in methods]
    if "limit" in trainers:
        pairs += [("LoRA", "limit")]
    return [
        row_of(cell, ours, theirs, gaps[ours], seconds[ours], seconds[theirs])
        for ours, theirs in pairs
    ]


def checked(cell, method, weights, data, servers):
    """How far loss and gradient are from those of the rivals; ends the program if they are far.

    In float64: in float32 rounding alone switches a ReLU here and there.
    """
    weights = {name: array.astype(np.float64) for name, array in weights.items()}
    data = [array.astype(np.float64) if array.dtype.kind == "f" else array for array in data]
    ours = Trainer(cell, method, weights, data)
    loss, grads = ours.gradient()
    params = {name: as_peft(method, ours, name) for name in cell.adapted}
    rivals = {"in_peft": (cell, RIVAL[method].removeprefix("PEFT "), weights, data, params)}
    if cell.model == "MLP" and method == "LoRA":
        rivals["by_hand"] = (cell, weights, data, params)
    found = (0.0, 0.0)
    for side, arguments in rivals.items():
        servers[side].ask("check", "hold", *arguments)
        apart = gap(loss, grads, *seen_by(method, ours, *servers[side].ask("check", "gradient")))
        servers[side].ask("check", "end")
        found = tuple(map(max, found, apart))
    if not max(found) < TOLERANCE:
        raise SystemExit(
            f"{cell}: {method} has another loss or gradient than its rival, relative errors {found}"
        )
    return found


def timed(trainers, rounds, block):
    """{name: seconds per step (rounds,)}: after a warm-up, a block of each, to and fro."""
    steps = {}
    for name, server in trainers.items():
        server.ask(name, "train", 3)
        once = min(server.ask(name, "train", 1) for _ in range(3))
        steps[name] = max(2, round(block / once))
        server.ask(name, "train", steps[name])
    seconds = {name: [] for name in trainers}
    for turn in range(rounds):
        for name in list(trainers)[:: 1 if turn % 2 == 0 else -1]:
            seconds[name].append(trainers[name].ask(name, "train", steps[name]) / steps[name])
    return {name: np.array(measured) for name, measured in seconds.items()}


def as_peft(method, ours, name):
    """The params of one layer as PEFT's rival has them: U of HRA, or A and B of LoRA."""
    own, frozen = ours.params[ours.attached.keys[name]], ours.attached.frozen[name]
    W = frozen["W"]
    d_out, d_in = W.shape
    if method == "SBoRA-FA":
        return {"A": np.eye(d_in, dtype=W.dtype)[frozen["cols"]], "B": own["B"]}
    if method == "SBoRA-FB":
        return {"A": own["A"], "B": np.eye(d_out, dtype=W.dtype)[:, frozen["rows"]]}
    if method == "CondLoRA":
        return {"A": own["Theta_A"] @ W, "B": W @ own["Theta_B"].T}
    return own


def seen_by(method, ours, loss, grads):
    """What PEFT found, as (loss, {key: {letter: gradient}}) of the method, by the chain rule."""
    seen = {}
    for name, grad in grads.items():
        W, key = ours.attached.frozen[name]["W"], ours.attached.keys[name]
        if method == "SBoRA-FA":
            grad = {"B": grad["B"]}
        elif method == "SBoRA-FB":
            grad = {"A": grad["A"]}
        elif method == "CondLoRA":
            grad = {"Theta_A": grad["A"] @ W.T, "Theta_B": grad["B"].T @ W}
        before = seen.get(key, dict.fromkeys(grad, 0))
        seen[key] = {letter: before[letter] + array for letter, array in grad.items()}
    return loss, seen


def gap(loss, grads, other_loss, other_grads):
    """How far two losses and two gradients are apart, relative, in the norm of each array."""
    norm = np.linalg.norm
    if grads.keys() != other_grads.keys():
        raise ValueError(f"grads for {sorted(grads)} and for {sorted(other_grads)}")
    apart = [
        norm(array - other_grads[key][letter]) / norm(other_grads[key][letter])
        for key, own in grads.items()
        for letter, array in own.items()
    ]
    return abs(float(loss) - other_loss) / abs(other_loss), float(max(apart))


def row_of(cell, ours, theirs, found, here, there):
    """One row of the table as a dict; ratio: lower quartile, median, upper quartile."""
    return {
        "cell": str(cell),
        "model": cell.model,
        "parts": cell.parts,
        "width": cell.width,
        "batch": cell.batch,
        "method": ours,
        "rival": theirs,
        "here": float(np.median(here)),
        "there": float(np.median(there)),
        "ratio": [float(share) for share in np.quantile(here / there, [0.25, 0.5, 0.75])],
        "loss_gap": found[0],
        "gradient_gap": found[1],
    }


def line(row):
    """A row as it is printed."""
    low, middle, high = row["ratio"]
    what = f"{row['cell']:25} {row['method']:10} : {row['rival']:15}"
    times = f"{1e3 * row['here']:8.3f}  {1e3 * row['there']:9.3f}"
    times = f"{times}   {middle:6.3f}  ({low:.3f} … {high:.3f})"
    return f"{what} {times}   {row['loss_gap']:.0e} {row['gradient_gap']:.0e}"


def versions():
    """What was measured: the releases of everything that matters."""
    from importlib.metadata import version

    return {name: version(name) for name in ("numpy", "autograd", "torch", "peft")}


if __name__ == "__main__":
    main()
