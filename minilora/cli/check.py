"""Check answers to the exercises of the lessons: one, or all that a file has.

    minilora check 4.2 answers.py
    minilora check answers.py --all --json marks.json
    minilora check --list

Exit code 0 when what was checked holds, 1 when something does not, 2 for a mistake in the command.
"""

import json
import re
from pathlib import Path

from minilora.cli.arguments import UsageError
from minilora.cli.output import print_line
from minilora.course.answers import UnreadableError, names_in, parse
from minilora.course.exercise import Exercise, OpenExercise, all_exercises
from minilora.course.processes import check_all, check_file

_USAGE = "minilora check 4.2 answers.py, or minilora check answers.py --all"


def add_arguments(parser):
    """What to check, and how."""
    parser.add_argument(
        "words", nargs="*", metavar="NUMBER FILE", help="an exercise such as 4.2, and a file"
    )
    parser.add_argument("--all", action="store_true", help="check every answer that FILE has")
    parser.add_argument(
        "--list", action="store_true", help="list the exercises; with FILE, how far it is"
    )
    parser.add_argument("--json", type=Path, metavar="JSON", help="write the results to a file")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="other random cases than the usual ones"
    )


def run(options):
    """Run the command; returns its exit code."""
    number, path = _number_and_path(options)
    try:
        if options.json is not None:
            options.json.touch()  # now, before the work is done
        if options.list:
            return _show_list(path, options)
        if number is None:
            verdicts = check_all(path, seed=options.seed)
            if not verdicts:
                raise UsageError(f"{path} answers no exercise: minilora check --list")
        else:
            verdicts = {number: check_file(number, path, seed=options.seed)}
    except (UnreadableError, ValueError, ImportError) as error:
        raise UsageError(str(error)) from None
    for verdict in verdicts.values():
        print_line(str(verdict))
    if number is None:
        print_line(_sum(verdicts))
    _write(options.json, path, verdicts)
    return 0 if all(verdict.holds for verdict in verdicts.values()) else 1


def _number_and_path(options):
    """(number or None, path or None) of the command's words; UsageError when they do not fit."""
    words = list(options.words)
    number = None
    if words and not options.all and not options.list:
        number = words.pop(0)
        if not re.fullmatch(r"(\d+|A)\.\d", number):
            raise UsageError(f"an exercise has a number such as 4.2, got {number!r}: {_USAGE}")
    wanted = (0, 1) if options.list else (1,)
    if len(words) not in wanted:
        raise UsageError(f"one FILE is needed, got {len(words)}: {_USAGE}")
    return number, Path(words[0]) if words else None


def _show_list(path, options):
    """Print all exercises; with a file, whether it answers them."""
    names = names_in(parse(path)) if path else set()
    verdicts = check_all(path, seed=options.seed) if path else {}
    for one in all_exercises():
        if isinstance(one, Exercise):
            state = ""
            if path:
                verdict = verdicts.get(one.number)
                state = "holds " if verdict else "wrong " if one.name in names else "-     "
            print_line(f"{one.number:<5}{state}{one.points} p.  {one.signature}")
        elif isinstance(one, OpenExercise) and not path:
            print_line(f"{one.number:<5}{one.points} p.  (marked by a person)")
    if path:
        print_line(_sum(verdicts))
        _write(options.json, path, verdicts)
    return 0


def _sum(verdicts):
    """The last line: how many hold, and the points."""
    holding = sum(verdict.holds for verdict in verdicts.values())
    points, of = (sum(getattr(v, what) for v in verdicts.values()) for what in ("points", "of"))
    return f"{holding} of {len(verdicts)} hold, {points} of {of} points"


def _write(file, path, verdicts):
    """The results as JSON, if a file is named."""
    if file is None:
        return
    found = {
        "file": str(path),
        "points": sum(verdict.points for verdict in verdicts.values()),
        "of": sum(verdict.of for verdict in verdicts.values()),
        "exercises": {number: verdict._asdict() for number, verdict in verdicts.items()},
    }
    file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
