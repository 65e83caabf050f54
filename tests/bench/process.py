"""What a whole process takes here and in PEFT: import, build, 200 LoRA steps at width 64, exit.

    pip install -e '.[bench]' && python tests/bench/process.py               about half a minute

Both in turn, several times, each in a new process on one thread: seconds of processor time, seconds
on the clock, and peak memory. Then how long the imports alone take. Medians are printed and written
to tutorials/results/process.json.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from results import RESULTS

HERE = Path(__file__).parent
BUILD = """
import sys
sys.path.insert(0, {folder!r})
from cells import CELLS
from {side} import Trainer
import numpy as np
rng = np.random.default_rng(0)
cell = CELLS[0]
names = [f"layers.{{i}}" for i in range(4)]
scale = (2 / 64) ** 0.5
weights = {{
    f"{{name}}.W": (rng.standard_normal((64, 64)) * scale).astype(np.float32) for name in names
}}
weights |= {{f"{{name}}.b": np.zeros(64, np.float32) for name in names}}
data = rng.standard_normal((32, 64)).astype(np.float32), rng.integers(64, size=32)
Trainer(cell, "LoRA", weights, data).train(200)
"""
PROGRAMS = {
    "here": BUILD.format(folder=str(HERE), side="here"),
    "PEFT": BUILD.format(folder=str(HERE), side="in_peft"),
    "import of minilora": "import minilora.attachment, minilora.adapters, minilora.train\n"
    "import minilora.models.transformer",
    "import of autograd.numpy": "import autograd.numpy",
    "import of torch and peft": "import torch, peft",
    "nothing": "",
}


def main():
    """Run every program several times in turn, print and write the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often each process is run (%(default)s)"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "process.json", help="(%(default)s)")
    chosen = parser.parse_args()
    measured = {name: [] for name in PROGRAMS}
    for _ in range(chosen.rounds):
        for name, program in PROGRAMS.items():
            measured[name].append(resources(program))
    rows = {
        name: dict(zip(("cpu", "clock", "megabytes"), map(median, zip(*runs))))
        for name, runs in measured.items()
    }
    print(f"{'':26}  processor s    clock s    peak MB")
    for name, row in rows.items():
        print(f"{name:26}  {row['cpu']:11.2f}  {row['clock']:9.2f}  {row['megabytes']:9.0f}")
    for what in ("cpu", "clock", "megabytes"):
        print(f"PEFT / here, {what}: {rows['PEFT'][what] / rows['here'][what]:.1f}")
    ratio = rows["import of minilora"]["cpu"] / rows["import of autograd.numpy"]["cpu"]
    print(f"import of minilora / import of autograd.numpy: {ratio:.2f}")
    chosen.out.parent.mkdir(exist_ok=True)
    chosen.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {chosen.out}")


def resources(program):
    """Processor seconds, wall-clock seconds and peak megabytes of a new process."""
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = os.pathsep.join([str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, **threads, "PYTHONPATH": paths}
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"a process has failed:\n{program}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux kilobytes
    return usage.ru_utime + usage.ru_stime, seconds, usage.ru_maxrss / unit


def median(values):
    """The middle one."""
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
