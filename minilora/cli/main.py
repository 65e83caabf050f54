"""The command line: picks a command, and ends every failure with a message instead of a traceback.

A command is a module of this folder with `add_arguments(parser)` and `run(options)`, which may
return an exit code. It is imported when it is called for, so `--help` and `count` are quick.

Exit codes: 0, 1 for a failure that is not the user's, 2 for a mistake of the user, noticed before
anything is trained, 130 after Ctrl-C and 141 when the reader of a pipe has left.
"""

import argparse
import importlib
import os
import sys
from contextlib import suppress

from minilora import __version__
from minilora.cli.arguments import UsageError
from minilora.cli.output import OutputError, close_output, flush_output, survive_any_output

COMMANDS = {
    "letters": "compare all adapters on images of letters: a table and two figures",
    "text": "compare all adapters on a language model that goes from prose to Python code",
    "real": "compare all adapters on a pretrained Transformer and sentences of film reviews",
    "count": "count the trainable parameters and the memory of adapters in LLaMA or another model",
    "check": "check answers to the exercises of the lessons, on random cases",
    "course": "write the course into a folder, for students or for a teacher",
    "family": "show the map of twenty adapters: what each trains, reaches, keeps and costs",
    "inspect": "look into a LoRA or HRA checkpoint of Hugging Face PEFT, beside its base model",
}
_DEFAULT = "letters"
_LARGE_MATRICES = ("real", "inspect")
_DESCRIPTION = """Pretrain a small network, see it fail on unseen data, adapt it with every method
of this package, and compare them. Nothing is downloaded."""
_EPILOG = f"""Without a command: {_DEFAULT}. `minilora COMMAND --help` lists the options of one."""


def main(argv=None):
    """Run the command that argv (sys.argv[1:] by default) asks for; returns the exit code.

    Raises SystemExit for --help, --version and mistakes, as argparse does.
    """
    survive_any_output()
    os.environ["MPLBACKEND"] = "agg"  # a Jupyter kernel names one that may not be installed
    try:
        return _run_command(sys.argv[1:] if argv is None else list(argv))
    except KeyboardInterrupt:
        return _complain("interrupted", code=130)
    except OutputError as error:
        cause = close_output(error)
        if cause is None:
            return 141  # 128 + SIGPIPE, as for other programs
        return _complain(f"error: cannot write the output: {cause.strerror}", code=1)
    except OSError as error:
        return _complain(f"error: {error.filename or 'file'}: {error.strerror or error}", code=1)
    except MemoryError as error:
        return _complain(f"error: not enough memory: {error}", code=1)


def _run_command(arguments):
    """Parse the arguments and run the command; returns its exit code."""
    top_level = ("-h", "--help", "--version")
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in top_level):
        arguments = [_DEFAULT, *arguments]
    # NumPy reads this when it is imported. Small matrices are faster with one thread.
    threads = min(os.cpu_count() or 1, 4) if arguments[0] in _LARGE_MATRICES else 1
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))
    parser = _build_parser(arguments[0])
    try:
        options, unknown = parser.parse_known_args(arguments)
    finally:
        flush_output()  # of --help
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        return options.run(options) or 0
    except UsageError as error:
        options.parser.error(str(error))


def _build_parser(chosen):
    """A parser of all commands, with the arguments of the chosen one."""
    parser = argparse.ArgumentParser(
        prog="minilora", description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"minilora {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        command_parser = subparsers.add_parser(
            name, help=summary, description=description, allow_abbrev=False
        )
        if name == chosen:
            command = importlib.import_module(f"minilora.cli.{name}")
            command.add_arguments(command_parser)
            command_parser.set_defaults(run=command.run, parser=command_parser)
    return parser


def _complain(text, code):
    """Print one line to stderr; returns the exit code."""
    with suppress(OSError):
        start = "\n" if sys.stderr.isatty() else ""  # the line of the progress is not empty
        print(f"{start}minilora: {text}", file=sys.stderr)
    return code
