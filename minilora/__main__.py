"""`python -m minilora`: the tour. See `python -m minilora --help`."""

import argparse
import os
import sys
import time
from pathlib import Path


def main(argv=None):
    """Read the command line and run the tour."""
    # For matrices this small a second BLAS thread costs more than it gains; NumPy reads this when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(
        prog="minilora",
        description="Pretrain a small network on pictures of letters, see it fail on letters it has not met, adapt it "
        "with full fine-tuning and with LoRA, and compare them in a table and two figures.",
    )
    parser.add_argument("--out", type=Path, default=Path("minilora-tour"), help="folder for the figures (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn (%(default)s)")
    parser.add_argument("--fast", action="store_true", help="train less: a few seconds, lower accuracy")
    chosen = parser.parse_args(argv)
    if chosen.seed < 0:
        parser.error(f"--seed must be 0 or more, got {chosen.seed}")
    try:
        chosen.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {chosen.out}: {error.strerror}; name a folder that can be written")
    from minilora.tours import letters

    start = time.perf_counter()
    letters.run(chosen.out, chosen.seed, letters.FAST if chosen.fast else letters.USUAL)
    print(
        f"{time.perf_counter() - start:.0f} seconds. The next step is README.md, or minilora/adapters/lora.py itself."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
