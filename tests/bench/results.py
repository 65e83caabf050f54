"""Where the benchmarks leave what the lessons show, and how those that take hours are called."""

import argparse
import json
from pathlib import Path

RESULTS = Path(__file__).parent.parent.parent / "tutorials" / "results"


def resumable_parser(description):
    """A parser of the command line of a script that may be stopped and resumed."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=Path, default=Path("real"), help="(%(default)s)")
    parser.add_argument("--runs", type=Path, required=True, help="folder of finished runs")
    parser.add_argument("--hours", type=float, default=24, help="start no run after (%(default)s)")
    return parser


def write_results(name, table):
    """Write a table as JSON into the folder of results, and say so."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / name
    file.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {file}")
