"""What `pytest --adapter` does: import the adapter, make each promise a test, write the report."""

import ast
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

import pytest

from minilora.testing.hooks import install_table
from minilora.testing.referee import footer, is_right, judge, promises_of, row_of

_HINT = "write mymodule:MyAdapter for a class or a function in mymodule.py"
_ROW = pytest.StashKey()
_CAPTURED = 4  # lines shown of what an adapter prints


def configure(config, options):
    """Prepare a run for the adapter that the options name; raises UsageError if there is none."""
    sys.path.insert(0, os.getcwd())
    name = options["adapter"]
    adapter = _imported("--adapter", name)
    formula = None
    if options["formula"] is not None:
        formula = _imported("--formula", options["formula"])
    args = _parsed(options["adapter-args"] or "")
    try:
        config.stash[_ROW] = row_of(adapter, args=args, formula=formula)
        if options["report"] is not None:
            open(options["report"], "a").close()  # now, before the work is done
    except (ValueError, OSError) as error:
        raise pytest.UsageError(f"--adapter {name}: {error}") from None
    table = install_table(config)
    table.footer = footer
    # A worker of pytest-xdist has only a part of the lines.
    if options["report"] is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_JsonReport(name, options["report"], table))


def collect(session):
    """Make a test of each promise; returns True, which tells pytest not to look for test files."""
    config = session.config
    row = config.stash[_ROW]
    place = config.invocation_params.dir / row.name
    if place.is_relative_to(config.rootpath):
        place = place.relative_to(config.rootpath)
    for promise in promises_of(row):
        title = f"{promise.number}{promise.check.__name__}"
        where = {"name": title, "nodeid": f"{place.as_posix()}::{title}"}
        session.items.append(_PromiseItem.from_parent(session, promise=promise, row=row, **where))
    found = pytest.CollectReport(row.name, "passed", None, session.items[:])
    config.hook.pytest_collectreport(report=found)
    config.hook.pytest_collection_modifyitems(session=session, config=config, items=session.items)
    config.hook.pytest_collection_finish(session=session)
    session.testscollected = len(session.items)
    return True


class _PromiseItem(pytest.Item):
    """One promise of one adapter, as a test."""

    def __init__(self, *, promise, row, **where):
        super().__init__(**where)
        self.promise = promise
        self.row = row
        self.line = None

    def runtest(self):
        """Judge the promise. The adapter's own error is raised, so that --pdb stops there."""
        self.line, error = judge(self.promise, self.row)
        self.user_properties.append(("claim", tuple(self.line)))
        if not is_right(self.line):
            raise error or AssertionError(self.line.reason)

    def repr_failure(self, excinfo, style=None):
        """The reason, in a few lines, in place of a traceback."""
        return self.line.reason if self.line else super().repr_failure(excinfo, style)

    def add_report_section(self, when, key, content):
        """Keep the last lines of what the adapter prints."""
        lines = content.splitlines()
        if len(lines) > _CAPTURED:
            lines = [f"… {len(lines) - _CAPTURED} lines …", *lines[-_CAPTURED:]]
        super().add_report_section(when, key, "\n".join(lines))

    def reportinfo(self):
        """The headline of a failure."""
        return self.row.name, None, f"{self.promise.number}  {self.promise.statement}"


class _JsonReport:
    """A pytest plugin that writes the lines of the table at the end of a run."""

    def __init__(self, adapter, file, table):
        self.adapter = adapter
        self.file = Path(file).absolute()
        self.table = table

    def pytest_sessionfinish(self, session):
        lines = self.table.lines
        found = {
            "adapter": self.adapter,
            "holds": bool(lines) and all(is_right(line) for line in lines),
            "promises": [line._asdict() for line in lines],
        }
        self.file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _imported(option, name):
    """What MODULE:NAME names; a UsageError, in one sentence, if it cannot be imported."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise pytest.UsageError(f"{option} {name}: {_HINT}")
    try:
        return getattr(importlib.import_module(module), attribute)
    except SyntaxError as error:
        problem = f"{error.filename}, line {error.lineno}: SyntaxError: {error.msg}"
    except (Exception, SystemExit) as error:
        place = _place(error)
        problem = f"{type(error).__name__}: {error}"
        problem = f"{place}: {problem}" if place else f"{problem}; {_HINT}"
    raise pytest.UsageError(f"{option} {name}: {problem}")


def _place(error):
    """The file and line of the user's own code at which an import failed, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    here = [f for f in frames if f.filename.startswith(os.getcwd())]
    own = [f for f in here if "site-packages" not in f.filename]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else ""


def _parsed(text):
    """{"rank": 2, "dropout": 0.1} from "rank=2, dropout=0.1"; a UsageError if it cannot be read."""
    try:
        call = ast.parse(f"dict({text})", mode="eval").body
        if call.args:
            raise ValueError("every argument needs its name")
        return {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, AttributeError):
        advice = 'write "rank=2, dropout=0.1"; for other values, write a function of rank'
        raise pytest.UsageError(f"--adapter-args {text}: {advice}") from None
