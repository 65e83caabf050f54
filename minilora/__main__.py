"""`python -m minilora`: the tours. See `python -m minilora --help`."""

import argparse
import os
import sys
import time
from pathlib import Path


def main(argv=None):
    """Read the command line and run a tour."""
    # For matrices this small a second BLAS thread costs more than it gains; NumPy reads this when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    chosen = read_command(argv)
    start = time.perf_counter()
    if chosen.tour == "text":
        from minilora.tours import text

        text.run(chosen.seed, text.FAST if chosen.fast else text.USUAL)
    else:
        from minilora.tours import letters

        letters.run(chosen.out, chosen.seed, letters.FAST if chosen.fast else letters.USUAL)
    print(f"\n{time.perf_counter() - start:.0f} seconds. To read on: README.md, or minilora/adapters/lora.py itself.")
    return 0


def read_command(argv):
    """The arguments; ends the program with a message when one is wrong, before anything is trained."""
    parser = argparse.ArgumentParser(
        prog="minilora",
        description="Pretrain a small network, see it fail on data it has not met, adapt it in every way that this "
        "package has, and compare them. The tour 'letters' is on pictures of letters and draws two figures; 'text' is "
        "on a language model that goes from prose to Python code.",
    )
    parser.add_argument("tour", nargs="?", choices=("letters", "text"), default="letters", help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("minilora-tour"), help="folder for the figures (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn (%(default)s)")
    parser.add_argument("--fast", action="store_true", help="train less: seconds instead of minutes, lower accuracy")
    chosen = parser.parse_args(argv)
    if chosen.seed < 0:
        parser.error(f"--seed must be 0 or more, got {chosen.seed}")
    if chosen.tour == "letters":
        try:
            chosen.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"--out {chosen.out}: {error.strerror}; name a folder that can be written")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
