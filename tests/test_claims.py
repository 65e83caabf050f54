"""The claims: each has a source and conditions, none counts twice, and all are on the page."""

import re
from collections import defaultdict

import claims_page
import pytest
from claims_page import PAGE, SOURCES, TOPICS, all_claims, claims_of, escaped, page, topic
from conftest import explanation

from minilora.testing import claims
from minilora.testing.table import Line

CLAIMS = all_claims()
ADVICE = "run `python tests/claims_page.py`"


def those(wrong):
    """The tests of the claims for which something is wrong."""
    return [f"{one.test} ({one.number})" for one in CLAIMS if wrong(one)]


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(CLAIMS), ADVICE


def test_every_row_that_a_run_can_print_is_on_the_page(request):
    """The page is made from the source; pytest collects what is marked in any other way too."""
    marks = [mark.args for item in request.session.items for mark in item.iter_markers("claim")]
    known = {(one.number, one.source, one.statement) for one in CLAIMS}
    missing = {args for args in marks if not args[1].startswith("Contract of ")} - known
    assert missing == set(), "write the mark as @claim(…) above its test"


def test_a_run_says_where_the_ids_are_explained():
    """But not a run of promises alone, which explain themselves."""
    promise = Line("Contract of LoRA", "P1", "a promise", 1, 0.0, "holds")
    claim = Line(claims.HU, "A1", "a claim", 1, 0.0, "holds")
    assert explanation([promise]) == []
    (text,) = explanation([promise, claim])
    assert "/".join(PAGE.parts[-2:]) in text
    assert "python -m minilora.testing" in text


def test_no_check_is_counted_twice():
    """A test checks one claim, and what it does is done by no other."""
    tests = [one.test for one in CLAIMS]
    assert sorted(tests) == sorted(set(tests)), "one @claim a test: split it, or join the rows"
    bodies = defaultdict(set)
    for one in CLAIMS:
        bodies[one.body].add(one.test)
    assert [tests for tests in bodies.values() if len(tests) > 1] == []


def test_every_claim_says_under_which_conditions_it_is_checked():
    assert those(lambda one: not one.conditions) == [], "give the test a docstring"


def test_no_two_tests_of_a_claim_have_the_same_conditions():
    found = [(one.number, one.conditions) for one in CLAIMS]
    assert those(lambda one: found.count((one.number, one.conditions)) > 1) == []


def test_a_statement_has_one_id_and_one_source():
    homes = defaultdict(set)
    for one in CLAIMS:
        homes[one.statement].add((one.number, one.source))
    assert {statement: home for statement, home in homes.items() if len(home) > 1} == {}


def test_an_id_belongs_to_one_paper_at_most():
    """Minilora's own may go on where the paper stops."""
    papers = defaultdict(set)
    for one in CLAIMS:
        papers[one.number] |= {one.source} - {claims.OURS}
    assert {number: found for number, found in papers.items() if len(found) > 1} == {}


def test_an_id_is_a_letter_with_a_number():
    assert those(lambda one: not re.fullmatch(r"[A-Z]\d+(\.\d+)?", one.number)) == []


def test_statements_fit_the_table():
    assert those(lambda one: len(one.statement) > 78) == []
    assert those(lambda one: one.statement.startswith("…")) == [], "it stands on its own"


def test_every_source_is_described_with_an_address():
    constants = {value for name, value in vars(claims).items() if name.isupper()}
    assert constants == set(SOURCES), "give its citation in SOURCES of claims_page.py"
    assert those(lambda one: one.source not in SOURCES) == [], "use a source of claims.py"
    addresses = [address for _, address in SOURCES.values() if address]
    assert len(addresses) == len(set(addresses)) == len(SOURCES) - 1
    text = page(CLAIMS)
    for source, (citation, address) in SOURCES.items():
        year = source[-4:]
        assert f"\n## {source}\n\n{citation}" in text
        assert f"]({address})" in text or source == claims.OURS
        assert year in citation or source == claims.OURS


def test_every_source_is_used_and_every_topic_has_claims():
    assert {one.source for one in CLAIMS} == set(SOURCES)
    assert {topic(one.number) for one in CLAIMS} == set(TOPICS)


MARKED = '''
OTHER = "Contract of mine"

@claim("A1.10", HU, "second")
@given(x)
def test_b():
    """For W_l.

        a_b

    So it is.
    """
    assert x

@testing.claim("A1.2", HU, "first" " | one")
def test_a():
    assert y

@claim("P1", OTHER, "no claim")
def test_c():
    pass
'''


def test_a_claim_is_read_from_its_mark_and_docstring(tmp_path, monkeypatch):
    """Marks of a contract are left out, and constants are those of the file or of the package."""
    path = tmp_path / "test_mine.py"
    path.write_text(MARKED, encoding="utf-8")
    second, first = claims_of(path)
    conditions = "For W_l.\n\n    a_b\n\nSo it is."
    assert second == ("A1.10", claims.HU, "second", f"{path.name}::test_b", conditions, "assert x")
    assert first[:5] == ("A1.2", claims.HU, "first | one", f"{path.name}::test_a", "")
    monkeypatch.setattr(claims_page, "TESTS", tmp_path)
    assert all_claims() == [first, second]
    text = page(all_claims())
    head = "### A1.2\n\n- **first \\| one**\n\n"
    assert head in text
    tail = "  For W_l.\n\n      a_b\n\n  So it is.\n\n  `tests/test_mine.py::test_b`\n"
    assert f"### A1.10\n\n- **second**\n\n{tail}" in text
    assert text.index(head) < text.index("### A1.10")


@pytest.mark.parametrize(
    "plain, marked_up",
    [
        ("σ_{k+1}(E), W_l and ‖_F", r"σ\_{k+1}(E), W_l and ‖\_F"),
        ("2 * x < `a_b * c`|$", r"2 \* x \< `a_b * c`\|\$"),
        (r"a\b [0, 1]", r"a\\b \[0, 1]"),
    ],
)
def test_prose_has_no_mark_up_but_backquotes(plain, marked_up):
    assert escaped(plain) == marked_up
