"""The table of claims in a pytest run: counted in tests, carried by reports, printed at the end."""

import pytest

from minilora.testing.claims import record
from minilora.testing.table import Line, claims_table


def install_table(config):
    """Print a table of all claims in this run, before the failures; returns the plugin."""
    table = config.pluginmanager.get_plugin("minilora-claims")
    if table is None:
        mark = "claim(number, source, statement): the claim of a paper that a test checks"
        config.addinivalue_line("markers", mark)
        table = _ClaimsTable()
        config.pluginmanager.register(table, "minilora-claims")
    return table


class _ClaimsTable:
    """A pytest plugin. Reports carry the lines, for pytest-xdist has tests in other processes."""

    def __init__(self):
        self.lines = []
        self.footer = None  # lines -> what is printed below the table

    def pytest_runtest_setup(self, item):
        """Count anew."""
        record.update(cases=0, worst=0.0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        """Put a line for each claim on its test's report; a claim that checks nothing fails."""
        report = yield
        marks = list(item.iter_markers("claim")) if report.when == "call" else []
        if marks and report.passed and not record["cases"]:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} is marked as a claim, but checks nothing"
        for mark in marks:
            number, source, statement = mark.args
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
            below = self.footer(self.lines) if self.footer else []
            for text in claims_table(self.lines) + below:
                terminalreporter.line(text)
        return (yield)
