"""The table of claims in a pytest run: counted in tests, carried by reports, printed at the end."""

import pytest

from minilora.testing.claims import record
from minilora.testing.table import Line, claims_table


def install_table(config):
    """Print a table of all claims in this run, before the failures; returns the plugin."""
    table = config.pluginmanager.get_plugin("minilora-claims")
    if table is None:
        mark = "claim(number, source, statement): the claim that a test checks"
        config.addinivalue_line("markers", mark)
        table = _ClaimsTable()
        config.pluginmanager.register(table, "minilora-claims")
    return table


class _ClaimsTable:
    """A pytest plugin. Reports carry the lines, for pytest-xdist runs tests in other processes."""

    def __init__(self):
        self.lines = []
        self.header = None  # lines -> what is printed above the table
        self.footer = None  # lines -> what is printed below it

    def pytest_runtest_setup(self, item):
        """Count anew."""
        record.update(cases=0, worst=0.0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        """Put a line for its claim on the report of a test that was not skipped."""
        report = yield
        marks = list(item.iter_markers("claim"))
        if marks and report.when == "call" and not report.skipped:
            problem = _problem(marks)
            if report.passed and problem:
                report.outcome = "failed"
                report.longrepr = f"{item.nodeid} is marked as a claim, but {problem}"
            number, source, statement = marks[0].args
            verdict = "holds" if report.passed else "FAILS"
            line = Line(source, number, statement, record["cases"], record["worst"], verdict)
            report.user_properties.append(("claim", tuple(line)))
        return report

    def pytest_runtest_logreport(self, report):
        """Keep the lines of a report."""
        if report.when == "call":
            claims = [value for name, value in report.user_properties if name == "claim"]
            self.lines += [Line(*value) for value in claims]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter):
        """Print the table, then what pytest prints."""
        if self.lines:
            terminalreporter.section("claims")
            above = self.header(self.lines) if self.header else []
            below = self.footer(self.lines) if self.footer else []
            for text in above + claims_table(self.lines) + below:
                terminalreporter.line(text)
        return (yield)


def _problem(marks):
    """Why a test that passed is not a check of its claim, or nothing."""
    if len(marks) > 1:
        return "as more than one: its checks would be counted twice"
    return "" if record["cases"] else "checks nothing"
