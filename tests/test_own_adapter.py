"""The referee accepts right adapters, and rejects each wrong one for the right reason."""

import ast
import json
import re
import sys
from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from minilora import testing
from minilora.adapters import HRA, Full, HRAStrict, LoRA, SBoRAFA
from minilora.testing import ContractError, check_adapter
from minilora.testing.claims import at_least, exactly, record, within
from minilora.testing.mistakes import mistakes
from minilora.testing.referee import row_of
from minilora.testing.table import Line, claims_table, slow_lines

pytest_plugins = ["pytester"]
EXAMPLES = Path(__file__).parent / "examples"
ALL = [f"P{n}" for n in range(1, 16) if n not in (6, 7)]


@pytest.fixture(autouse=True)
def examples(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.fixture
def kinds():
    import kinds

    return kinds


def verdicts(adapter, **options):
    """{promise: verdict}, and {promise: reason} of those that fail."""
    try:
        report = check_adapter(adapter, **options)
    except ContractError as error:
        report = error.report
        assert not report.holds
    found = {line.number: line.verdict for line in report.lines}
    return found, {line.number: line.reason for line in report.lines if line.verdict == "FAILS"}


def failing(adapter, **options):
    return verdicts(adapter, **options)[1]


@pytest.mark.parametrize("name", ["Gains", "even", "with_alpha", "made", "Renamed"])
def test_a_right_adapter_of_any_kind_keeps_every_promise(name, kinds):
    report = check_adapter(getattr(kinds, name))
    assert report.holds
    assert [line.number for line in report.lines] == ALL
    assert {line.verdict for line in report.lines} == {"holds"}
    assert all(line.cases for line in report.lines)


@pytest.mark.parametrize(
    "adapter", [LoRA, SBoRAFA, HRA, HRAStrict, Full, HRAStrict(2), Full(), partial(HRAStrict)]
)
def test_the_adapters_of_the_package_pass_through_the_same_door(adapter):
    report = check_adapter(adapter)
    stated = {line.number for line in report.lines if line.verdict.startswith("expected (")}
    (name,) = {line.source.split()[2] for line in report.lines}
    assert stated == {"Full": {"P11", "P12"}, "HRAStrict": {"P1"}}.get(name, set())
    again = check_adapter(adapter)
    assert [line.cases for line in again.lines] == [line.cases for line in report.lines]


def test_a_fixed_rank_is_checked_on_matrices_that_have_room_for_it(kinds):
    assert not failing(kinds.made)
    assert not failing(LoRA, args={"rank": 9, "alpha": 2.0})
    assert "rank 9" in failing(kinds.Talks, args={"rank": 9})["P2"]


def test_more_arguments_are_passed_on(kinds):
    assert not failing(kinds.Tempered, args={"temperature": 0.5})
    reasons = failing(kinds.Tempered)
    assert reasons.keys() >= {"P1", "P2"}
    assert "called as (rank=1): " in reasons["P1"]
    assert "'temperature'; its rank must be called rank; what else it needs" in reasons["P1"]


def test_a_formula_is_compared_with_merge(kinds):
    import dora

    found, reasons = verdicts(dora.DoRA, formula=kinds.formula)
    assert found["P16"] == "holds"
    found, reasons = verdicts(dora.DoRA, formula=kinds.wrong_formula)
    assert list(reasons) == ["P16"]
    assert "P16" not in verdicts(dora.DoRA)[0]


@pytest.mark.parametrize(
    "name, promises, number, reason",
    [
        ("OtherName", ALL, "P1", "called as (): "),
        ("InitRaises", ALL, "P1", "NotImplementedError: to be written"),
        (
            "InitReturnsNothing",
            ALL,
            "P1",
            "init must return two dicts, params and frozen, got None",
        ),
        ("Nested", ALL, "P1", "'dict' object has no attribute"),
        ("NoMerge", ["P1", "P2", "P5", "P8", "P10", "P12", "P15"], "P1", "no attribute 'merge'"),
        ("ForwardChangesX", ["P1", "P2", "P3", "P12", "P14", "P15"], "P14", "x was changed"),
        ("ForwardChangesFrozen", ["P5", "P14"], "P14", "frozen was changed"),
        ("Counts", ["P9"], "P9", "A differs"),
        ("Detached", ["P3", "P4", "P5"], "P4", "the gradient of g is zero"),
        ("Dense", ["P12"], "P12", "forward never calls W"),
        ("ExtraAxis", ["P2"], "P2", "forward maps (6,) to (1, 6)"),
        ("MergesIntoThreeAxes", ["P2"], "P2", "merge returns shape (1, 6, 6)"),
        ("TwoAxesOnly", ["P2"], "P2", "forward and merge differ for x (6,): error"),
        ("Rough", ["P1", "P2"], "P2", "W (6, 6), float32:"),
        ("HidesX", ["P3"], "P3", "the gradient of the input"),
        ("Leaky", ["P8"], "P8", "forward is float64"),
        ("Draws", ["P9"], "P9", "frozen differs between two starts"),
        ("MergeChangesFrozen", ["P5", "P10"], "P10", "frozen was changed"),
        ("MergesInPlace", ["P10", "P11", "P12"], "P10", "it shares memory with W"),
        ("TrainsW", ["P10", "P11", "P12"], "P10", "W shares memory with W"),
        ("Unchecked", ["P13"], "P13", "no ValueError was raised"),
        ("Vague", ["P13"], "P13", 'must start with "W ", but is "something is wrong"'),
        ("Nameless", ["P15"], "P15", "its name is not in print(attached)"),
    ],
)
def test_a_wrong_adapter_breaks_the_promises_that_it_breaks(name, promises, number, reason, kinds):
    reasons = failing(getattr(kinds, name))
    assert list(reasons) == promises
    assert reason in reasons[number]


def test_an_init_that_changes_w_breaks_a_promise_of_its_own(kinds):
    reasons = failing(kinds.InitChangesW)
    assert "W was changed" in reasons["P14"]
    assert set(reasons) <= {"P12", "P14"}  # over four bits, it changes a copy


def test_a_warning_breaks_a_promise_whatever_the_filters_are(kinds):
    with np.errstate(all="warn"):
        reasons = failing(kinds.ForwardWarns)
    assert "RuntimeWarning: divide by zero" in reasons["P2"]


def test_an_adapter_that_exits_does_not_end_the_run(kinds):
    assert "SystemExit: 0" in failing(kinds.Exits)["P2"]


def test_a_reason_names_the_case_the_error_and_the_line(kinds):
    reason = failing(kinds.InitRaises)["P1"].splitlines()
    assert reason[0] == "W (6, 6), rank 1, float64:"
    assert reason[1].strip() == "NotImplementedError: to be written"
    assert re.fullmatch(r" +kinds.py:\d+ in init: raise NotImplementedError.*", reason[2])
    assert reason[3].strip() == "All other cases fail too."


def test_a_reason_says_which_cases_fail():
    class Half(LoRA):
        def merge(self, params, frozen):
            return super().merge(params, frozen) * (1 + (frozen["W"].dtype == np.float32))

    reason = failing(Half)["P2"].splitlines()
    assert reason[0] == "W (6, 6), rank 1, float32:"
    assert reason[-2].strip().startswith("Also: W (6, 6), rank 4, float32; ")
    assert reason[-1].strip() == "6 of 12 cases fail."


def test_an_expected_failure_prints_its_reason_and_fails_when_it_holds(kinds):
    assert verdicts(kinds.Stated)[0]["P1"] == "expected (it starts at 2 W)"
    assert "P1" in failing(kinds.Stated, expected_failures={})
    reason = failing(kinds.StatedInVain)
    assert reason == {"P2": "It holds, but is stated as failing: it was wrong once"}
    assert not failing(kinds.StatedInVain, expected_failures={})
    for wrong in ({"P99": "why"}, ["P1"], {"1": "why"}):
        with pytest.raises(ValueError, match=r"^expected_failures must be a dict from P1, P2, "):
            check_adapter(kinds.Gains, expected_failures=wrong)


def test_the_error_is_the_table_with_the_reasons(kinds):
    with pytest.raises(AssertionError) as error:
        check_adapter(kinds.Talks)
    text = str(error.value)
    assert text.index("Contract of Talks") < text.index("\nP1  W (6, 6), rank 1")
    assert "python -m minilora.testing" in text
    assert len(text.splitlines()) < 60


RANKS = [
    "rank 0",
    "rank -1",
    "rank 1.5",
    "rank 2.0",
    "rank '2'",
    "rank None",
    "rank True",
    "rank nan",
]
INPUTS = ["x too wide", "x a scalar", "NaN in W", "inf in W", "integers in W"]
SHAPES = ["W a vector", "W a list", "W without rows", "W of three dimensions"]


def test_every_mistake_that_can_be_made_is_made(kinds):
    def made(row):
        return [str(mistake) for mistake in mistakes(row)]

    assert made(row_of(LoRA)) == [*INPUTS, *SHAPES, *RANKS]
    assert made(row_of(kinds.Gains)) == [*INPUTS, *SHAPES]
    assert made(row_of(Full)) == INPUTS
    large = ["rank 4 on W (4, 3)", "rank 5 on W (3, 4)"]
    assert made(replace(row_of(SBoRAFA), most=lambda m, n: n))[-2:] == large


@pytest.mark.parametrize(
    "check, arguments, share",
    [
        (within, ([1, 3], 4), 0.75),
        (within, (2, 2), 1.0),
        (within, (0, 0), 0.0),
        (within, (-3, 0), 0.0),
        (within, (0.5, np.inf), 0.0),
        (at_least, ([5, 4], 1), 0.25),
        (at_least, (2, 2), 1.0),
        (at_least, (np.inf, 1), 0.0),
        (exactly, (True,), 0.0),
        (exactly, (np.True_,), 0.0),
    ],
)
def test_a_check_that_holds_counts_as_one_case_with_its_share(check, arguments, share, monkeypatch):
    monkeypatch.setitem(record, "cases", 7)
    monkeypatch.setitem(record, "worst", 0.0)
    check(*arguments)
    assert record == {"cases": 8, "worst": share}
    record["worst"] = 0.8
    check(*arguments)
    assert record == {"cases": 9, "worst": max(0.8, share)}


@pytest.mark.parametrize(
    "check, arguments, share, reason",
    [
        (within, ([1, 8], 4), 2.0, "error 8.000e+00 is above the tolerance 4.000e+00"),
        (within, (2, 1, "left:"), 2.0, "left: error 2.000e+00 is above the tolerance 1.000e+00"),
        (within, (1e-300, 0), 0.0, "error 1.000e-300 is above the tolerance 0.000e+00"),
        (within, ([0, np.nan], 1), 0.0, "error nan is above"),
        (within, (np.inf, 1), 0.0, "error inf is above"),
        (within, (1, np.nan), 0.0, "error 1.000e+00 is above the tolerance nan"),
        (at_least, ([8, 1], 4), 4.0, "1.000e+00 is below the margin 4.000e+00"),
        (at_least, (1, 4, "gap:"), 4.0, "gap: 1.000e+00 is below the margin 4.000e+00"),
        (at_least, (0, 1), 0.0, "0.000e+00 is below the margin"),
        (at_least, (-2, 1), 0.0, "-2.000e+00 is below the margin"),
        (at_least, ([1, np.nan], 1), 0.0, "nan is below the margin"),
        (exactly, (False,), 0.0, "an exact statement does not hold"),
        (exactly, (False, "not equal"), 0.0, "not equal"),
    ],
)
def test_a_check_that_fails_counts_too_and_its_share_is_above_one(
    check, arguments, share, reason, monkeypatch
):
    """Or it is 0, where nothing can be divided: the report is JSON, which has no infinity."""
    monkeypatch.setitem(record, "cases", 7)
    monkeypatch.setitem(record, "worst", 0.0)
    with pytest.raises(AssertionError, match=rf"^{re.escape(reason)}"):
        check(*arguments)
    assert record == {"cases": 8, "worst": share}


@pytest.mark.parametrize("margin", [0, -1, np.nan])
def test_a_margin_that_shows_nothing_is_an_error(margin):
    with pytest.raises(AssertionError, match=r"^a margin of .* shows nothing"):
        at_least(1, margin)


def test_the_table_adds_up_the_tests_of_a_claim_and_says_what_took_long():
    lines = [
        Line("C", "A2", "sooner", 2, 0.5, "holds"),
        Line("B", "B1", "another letter", 1, 0.0, "holds"),
        Line("B", "A10.2", "later", 1234, 0.5, "holds"),
        Line("B", "A2", "sooner", 3, 0.2, "holds", seconds=9),
        Line("B", "A2", "another statement", 1, 0.0, "holds", seconds=10),
        Line("B", "A2", "sooner", 4, 0.3, "FAILS", seconds=11.2),
        Line("B", "A2", "sooner", 1, 0.1, "holds"),
        Line("B", "A10.10", "last", 1, 0.0, "expected (why)"),
    ]
    rows = [line.split() for line in claims_table(lines)[:-2]]
    assert rows == [
        ["B", "cases", "worst"],
        ["A2", "another", "statement", "1", "0.0e+00", "holds"],
        ["A2", "sooner", "8", "3.0e-01", "FAILS"],
        ["A10.2", "later", "1,234", "5.0e-01", "holds"],
        ["A10.10", "last", "1", "0.0e+00", "expected", "(why)"],
        ["B1", "another", "letter", "1", "0.0e+00", "holds"],
        ["C", "cases", "worst"],
        ["A2", "sooner", "2", "5.0e-01", "holds"],
    ]
    assert slow_lines(lines) == ["A2 took 11 s"]


def test_the_columns_of_the_table_stand_below_their_titles():
    lines = [Line("B", "A2", "short", 3, 0.1, "holds"), Line("B", "A10", "long " * 9, 4, 2.0, "x")]
    title, *rows = claims_table(lines)[:3]
    for row, line in zip(rows, lines):
        assert row[: title.index("  cases")].split() == [line.number, *line.statement.split()]
        assert row[: len(title.partition("cases")[0]) + 5].endswith(f" {line.cases}")
        assert row[: len(title)].endswith(f"{line.worst:.1e}")
    assert title.endswith("worst")


def test_names_of_the_package_are_found_late():
    assert testing.check_adapter is check_adapter
    with pytest.raises(AttributeError, match="no attribute 'check_adaptor'"):
        _ = testing.check_adaptor


# What follows runs pytest: in this process where that will do.

INSTALLED = bool(entry_points(group="pytest11", name="minilora"))
PLUGIN = [] if INSTALLED else ["-p", "minilora.testing.plugin"]


@pytest.fixture
def folder(pytester):
    """A folder with adapters, and with settings and a conftest that fail every ordinary test."""
    for name in ("dora.py", "broken_dora.py", "kinds.py"):
        pytester.path.joinpath(name).write_bytes((EXAMPLES / name).read_bytes())
    pytester.makeini("[pytest]\naddopts = --strict-markers\npython_files = x_*.py")
    pytester.makeconftest(
        "import pytest\n\n@pytest.fixture(autouse=True)\ndef broken():\n    raise OSError"
    )
    return pytester


def run(folder, *options):
    """(exit code, output, {promise: holds or FAILS} from the table)."""
    done = folder.runpytest_inprocess(*PLUGIN, "-q", "-p", "no:cacheprovider", *options)
    return done.ret, done.stdout.str(), table_of(done.stdout.str())


def table_of(output):
    return dict(re.findall(r"^  (P\d+) .* (holds|FAILS)$", output, re.MULTILINE))


def test_pytest_accepts_a_right_adapter_in_any_folder(folder):
    code, output, found = run(folder, "--adapter", "dora:DoRA", "--formula", "kinds:formula")
    assert code == 0
    assert "Contract of DoRA" in output
    assert found == dict.fromkeys([*ALL, "P16"], "holds")
    assert "python -m minilora.testing" in output


def test_pytest_rejects_a_broken_adapter_with_the_table_first(folder):
    code, output, found = run(folder, "--adapter", "broken_dora:BrokenDoRA", "--report", "r.json")
    assert code == 1
    assert list(found) == ALL
    assert [number for number, verdict in found.items() if verdict == "FAILS"] == ["P2"]
    assert output.index("Contract of BrokenDoRA") < output.index("= FAILURES =")
    report = json.loads((folder.path / "r.json").read_text(encoding="utf-8"))
    assert report["adapter"] == "broken_dora:BrokenDoRA"
    assert report["holds"] is False
    assert {line["number"]: line["verdict"] for line in report["promises"]} == found


def test_the_referee_does_not_rely_on_assert():
    """Under `python -O` an assert checks nothing; autograd's check_grads is made of them."""
    for path in Path(testing.__file__).parent.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
        assert "test_util" not in source


def test_pytest_shares_the_promises_between_processes(folder):
    pytest.importorskip("xdist")
    options = ("--adapter", "kinds:Gains", "-n", "2", "--report", "r.json")
    done = folder.run(sys.executable, "-m", "pytest", *PLUGIN, *options)
    assert done.ret == 0
    assert table_of(done.stdout.str()) == dict.fromkeys(ALL, "holds")
    report = json.loads((folder.path / "r.json").read_text(encoding="utf-8"))
    assert report["holds"] is True
    assert len(report["promises"]) == len(ALL)


def test_pytest_prints_at_most_forty_lines_a_promise(folder):
    code, output, found = run(folder, "--adapter", "kinds:Talks")
    assert code == 1
    reasons = output.partition("= FAILURES =")[2].partition("= short test summary")[0]
    broken = list(found.values()).count("FAILS")
    assert broken >= 2
    assert "lines …\nline 96\nline 97\nline 98\nline 99\n" in reasons
    assert len(reasons.splitlines()) <= 40 * broken


def test_pytest_runs_one_promise_with_more_arguments(folder):
    options = ("--adapter", "kinds:Tempered", "--adapter-args", "temperature=0.5, rank=2")
    code, _, found = run(folder, *options, "-k", "P2_")
    assert code == 0
    assert found == {"P2": "holds"}


def test_pytest_does_not_fail_for_what_is_expected(folder):
    code, output, found = run(folder, "--adapter", "kinds:Stated")
    assert code == 0
    assert "expected (it starts at 2 W)" in output
    assert "P1" not in found


def test_an_adapter_without_a_colon_is_left_to_other_plugins(folder):
    """Other people's conftest may have an option of this name, for something else."""
    folder.makeconftest(
        "def pytest_addoption(parser):\n"
        "    parser.addoption('--adapter')\n"
        "    parser.addoption('--report')\n"
    )
    source = "def test_it(pytestconfig):\n    assert pytestconfig.option.adapter == 'sql'"
    file = folder.makepyfile(theirs=source)
    done = folder.runpytest_inprocess(*PLUGIN, "--adapter", "sql", file)
    assert done.ret == pytest.ExitCode.OK
    assert folder.runpytest_inprocess(*PLUGIN, "--help").ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    "adapter, message",
    [
        ("nothing_here:DoRA", "No module named 'nothing_here'; write mymodule:MyAdapter for a"),
        ("dora:Dora", "module 'dora' has no attribute 'Dora'; write mymodule:MyAdapter for a"),
        (":DoRA", "write mymodule:MyAdapter for a"),
        ("", "write mymodule:MyAdapter for a"),
        ("syntax:Mine", "syntax.py, line 2: SyntaxError: '(' was never closed"),
        ("raises:Mine", "raises.py, line 3: RuntimeError: no data"),
        ("leaves:Mine", "leaves.py, line 1: SystemExit: 0"),
        ("kinds:StatedWrongly", "expected_failures must be a dict from P1, "),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(adapter, message, folder):
    folder.makepyfile(
        syntax="class Mine:\n    def init(self:\n        pass",
        raises="x = 1\n\nraise RuntimeError('no data')",
        leaves="raise SystemExit(0)",
    )
    done = folder.runpytest_inprocess(*PLUGIN, "--adapter", adapter)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    (error,) = [line for line in done.stderr.lines if line]
    assert error.startswith(f"ERROR: --adapter {adapter}: ")
    assert message in error


@pytest.mark.parametrize(
    "options, message",
    [
        (["--adapter-args", "2"], '--adapter-args 2: write "rank=2, dropout=0.1"'),
        (["--adapter-args", "rank=x"], '--adapter-args rank=x: write "rank=2, dropout=0.1"'),
        (["--adapter-args", "rank="], '--adapter-args rank=: write "rank=2, dropout=0.1"'),
        (["--formula", "kinds:nothing"], "--formula kinds:nothing: "),
        (["--report", "nowhere/r.json"], "No such file or directory: 'nowhere/r.json'"),
    ],
)
def test_wrong_options_are_usage_errors(options, message, folder):
    done = folder.runpytest_inprocess(*PLUGIN, "--adapter", "dora:DoRA", *options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert message in done.stderr.str()


def test_the_plugin_stays_out_of_other_runs(pytester):
    """It adds no option that another plugin could have, and imports nothing heavy."""
    pytester.makeconftest(
        """
        import sys

        def pytest_addoption(parser):
            for option in ("--adapter", "--adapter-args", "--formula", "--report"):
                parser.addoption(option, default="mine")

        def pytest_unconfigure():
            print([name for name in sys.modules if name in ("numpy", "autograd", "hypothesis")])
        """
    )
    pytester.makepyfile("def test_nothing():\n    pass")
    done = pytester.run(sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:hypothesispytest")
    assert done.ret == 0
    done.stdout.fnmatch_lines(["*1 passed*", "[[]]"])


def test_a_claim_that_checks_nothing_or_counts_twice_fails(pytester):
    """And one that is skipped has no line."""
    pytester.makeconftest(
        """
        from minilora.testing.hooks import install_table

        def pytest_configure(config):
            assert install_table(config) is install_table(config)
            install_table(config).header = lambda lines: [f"above {len(lines)} lines"]
            install_table(config).footer = lambda lines: [f"below {len(lines)} lines"]
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from minilora.testing.claims import at_least, claim, exactly, within

        @claim("A1", "Somebody, 2020", "nothing is checked")
        def test_nothing():
            pass

        @claim("A2", "Somebody, 2020", "three things are checked")
        def test_three(record_property):
            record_property("colour", "blue")
            within(1, 2)
            at_least(4, 3)
            exactly(True)

        @claim("A3", "Somebody, 2020", "one is wrong")
        def test_wrong():
            within(1, 2)
            within(3, 2)

        @claim("A4", "Somebody, 2020", "not here")
        def test_skipped():
            pytest.skip()

        @claim("A5", "Somebody, 2020", "the lower mark")
        @claim("A6", "Somebody, 2020", "the upper mark")
        def test_twice():
            exactly(True)

        @claim("A7", "Somebody, 2020", "an error before the first check")
        def test_error():
            raise OSError("no file")

        def test_without_a_mark():
            exactly(True)
        """
    )
    done = pytester.runpytest_inprocess(*PLUGIN)
    done.assert_outcomes(passed=2, failed=4, skipped=1)
    done.stdout.fnmatch_lines(
        [
            "=* claims =*",
            "above 5 lines",
            "Somebody, 2020 * cases    worst",
            "  A1    nothing is checked *  0  0.0e+00  FAILS",
            "  A2    three things are checked *  3  7.5e-01  holds",
            "  A3    one is wrong *  2  1.5e+00  FAILS",
            "  A6    the upper mark *  1  0.0e+00  FAILS",
            "  A7    an error before the first check *  0  0.0e+00  FAILS",
            "cases: checks made. *",
            "0 is exact, *",
            "below 5 lines",
            "=* FAILURES =*",
            "*test_nothing is marked as a claim, but checks nothing",
            "*error 3.000e+00 is above the tolerance 2.000e+00",
            "*test_twice is marked as a claim, but as more than one: its checks * counted twice",
            "E *OSError: no file",
        ]
    )


def test_a_run_without_claims_prints_no_table(pytester):
    pytester.makeconftest(
        """
        from minilora.testing.hooks import install_table

        def pytest_configure(config):
            install_table(config)
        """
    )
    pytester.makepyfile("def test_nothing():\n    pass")
    done = pytester.runpytest_inprocess(*PLUGIN)
    done.assert_outcomes(passed=1)
    done.stdout.no_fnmatch_line("=* claims =*")
