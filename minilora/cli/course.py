"""Write the course into a folder: for students without solutions, for a teacher with marking.

minilora course lessons --student
minilora course marking --teacher
"""

import secrets

from minilora.cli.arguments import UsageError, check_folder, folder
from minilora.cli.output import print_line

_INSTALL = "pip install 'minilora[course]', in a clone pip install -e '.[course]'"


def add_arguments(parser):
    """Where to, and for whom."""
    parser.add_argument("out", type=folder, metavar="OUT", help="a folder, new or empty")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--student", action="store_true", help="lessons with stubs, no solutions")
    who.add_argument(
        "--teacher", action="store_true", help="solutions, points, rubric, Otter's tests"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of the teacher's hidden cases; drawn by default"
    )


def run(options):
    """Run the command."""
    out = options.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"argument OUT: {out} must be a new or an empty folder")
    if options.student and options.seed is not None:
        raise UsageError("argument --seed: it is for --teacher; students have the usual cases")
    check_folder(out, [], argument="OUT")
    try:
        import jupytext  # noqa: F401
    except ImportError:
        raise UsageError(f"notebooks are written by jupytext: {_INSTALL}") from None
    from minilora.course.editions import write_student, write_teacher

    if options.student:
        write_student(out)
    else:
        seed = secrets.randbelow(10**6) if options.seed is None else options.seed
        write_teacher(out, seed)
    print_line(f"{out}: start with {out / 'README.md'}")
