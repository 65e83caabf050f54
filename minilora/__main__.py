"""`python -m minilora`: the tours, and `count`. See `python -m minilora --help`."""

import argparse
import os
import sys
import time
from pathlib import Path

DESCRIPTION = """Pretrain a small network, see it fail on data it has not met, adapt it in every way that this package
has, and compare them. The tour 'letters' is on pictures of letters and draws two figures; 'text' is on a language model
that goes from prose to Python code. 'count MODEL' prints what adapters train in LLaMA and other models, and the memory
that takes; it needs no weight."""


def main(argv=None):
    """Read the command line and run a tour, or count; a mistake ends it with a message before anything is trained."""
    # For matrices this small a second BLAS thread costs more than it gains; NumPy reads this when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    start = time.perf_counter()
    parser = the_parser()
    chosen = parser.parse_args(argv)
    try:
        if chosen.what == "count":
            from minilora.tours import count

            count.run(chosen.model, chosen.adapter, chosen.rank, chosen.targets and chosen.targets.split(","))
            return 0
        if chosen.seed < 0 or chosen.model:
            given = f"--seed {chosen.seed} and model {chosen.model}"
            raise ValueError(f"{chosen.what} takes a --seed of 0 or more and no model, got {given}")
        if chosen.what == "letters":
            chosen.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if chosen.what == "text":
        from minilora.tours import text

        text.run(chosen.seed, text.FAST if chosen.fast else text.USUAL)
    else:
        from minilora.tours import letters

        letters.run(chosen.out, chosen.seed, letters.FAST if chosen.fast else letters.USUAL)
    print(f"\n{time.perf_counter() - start:.0f} seconds. To read on: README.md, or minilora/adapters/lora.py itself.")
    return 0


def the_parser():
    """What may stand on the command line."""
    parser = argparse.ArgumentParser(prog="minilora", description=DESCRIPTION)
    parser.add_argument("what", nargs="?", choices=("letters", "text", "count"), default="letters", help="(letters)")
    parser.add_argument("model", nargs="?", help="for count: roberta-base, llama3-8b, …")
    tours, count = parser.add_argument_group("letters and text"), parser.add_argument_group("count")
    tours.add_argument("--out", type=Path, default=Path("minilora-tour"), help="folder for the figures (%(default)s)")
    tours.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn (%(default)s)")
    tours.add_argument("--fast", action="store_true", help="train less: seconds instead of minutes, lower accuracy")
    count.add_argument("--adapter", help="lora, hra, … (all of them)")
    count.add_argument("--rank", type=int, default=8, help="(%(default)s)")
    count.add_argument("--targets", help="which linear maps, say q,v of q,k,v,o,gate,up,down (all of them)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
