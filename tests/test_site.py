r"""What the lessons must keep to, so that their pages are whole: see `tutorials/_site/lessons.py`.

A browser shows what no build warns of: a formula that MathJax refuses, a title of four lines in the
side bar, a figure whose alternative text is the name of a file. These tests need no Sphinx.
"""

import importlib.util
import re
from pathlib import Path

import pytest

from minilora.course.lessons import lesson_files, number_of, with_links

FOLDER = Path(__file__).parent.parent / "tutorials"
SITE = FOLDER / "_site"


def load(name):
    """A file of tutorials/_site, which is no package for anyone but Sphinx."""
    specification = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


lessons = load("lessons")
picture = load("map")
SCRIPTS = lesson_files()
PAGES = [*SCRIPTS, *sorted(FOLDER.glob("*.md"))]
# How a paragraph begins that answers a question.
OPENING = r"^# (?:Answer )?\([a-d]\)[.,:;].*$"
every_lesson = pytest.mark.parametrize("script", SCRIPTS, ids=[path.stem for path in SCRIPTS])
every_page = pytest.mark.parametrize("page", PAGES, ids=[path.stem for path in PAGES])


def read(path):
    return path.read_text(encoding="utf-8")


@every_page
def test_no_formula_has_a_tag_and_a_line_break(page):
    r"""MathJax shows "\tag not allowed in split environment" in place of the formula."""
    broken = lessons.broken_formulas(read(page))
    assert broken == [], rf"{page.name}: write \cr for \\ in {broken}"


@pytest.mark.parametrize(
    ("formula", "is_broken"),
    [
        (r"$$A = \begin{bmatrix} 1 \\ 2 \end{bmatrix}. \tag{7}$$", True),
        ("$$A \\\\\n# B \\tag{1}$$", True),
        (r"$$A = \begin{bmatrix} 1 \cr 2 \end{bmatrix}. \tag{7}$$", False),
        (r"$$A = \begin{bmatrix} 1 \\ 2 \end{bmatrix}$$ and $$B \tag{1}$$", False),
        (r"$$A \tag{1}$$ and \\ and $$B \tag{2}$$", False),
    ],
)
def test_a_formula_that_mathjax_refuses_is_found(formula, is_broken):
    assert bool(lessons.broken_formulas(f"# {formula}\n")) == is_broken


@every_lesson
def test_a_title_is_short_up_to_its_colon(script):
    short = lessons.short_title(script)
    assert 0 < len(short) <= lessons.TITLE_LIMIT, (
        f"{script.name}: the side bar shows the title up to its colon, and {short!r} has "
        f"{len(short)} characters; {lessons.TITLE_LIMIT} fit"
    )


def test_short_titles_tell_lessons_apart():
    assert len({lessons.short_title(script) for script in SCRIPTS}) == len(SCRIPTS) > 0


def test_other_pages_have_short_titles_too():
    for page in FOLDER.glob("*.md"):
        title = re.search(r"^# (.*)$", read(page), re.MULTILINE)[1]
        assert len(title) <= lessons.TITLE_LIMIT, f"{page.name}: {title}"


def test_the_start_page_lists_every_lesson_and_what_it_builds_on():
    page = read(FOLDER / "index.md")
    texts = {script.stem: lessons.text_of(script) for script in SCRIPTS}
    table = lessons.table(picture.direct(picture.needs_of(texts)))
    assert table in page
    assert page.count("<!-- lessons -->") == 1
    for script in SCRIPTS:
        entry = f"{number_of(script)}. {lessons.short_title(script)} <{script.stem}>"
        assert table.count(f"]({script.name})") == 1
        assert f"\n{entry}\n" in lessons.contents()


@every_lesson
def test_every_figure_has_an_alternative_text(script):
    for number, alt in enumerate(lessons.drawn(read(script)), 1):
        assert 20 <= len(alt) <= 300, (
            f"{script.name}: say above plt.show() number {number} in a comment '# alt: …' what the "
            f"figure shows, in 20 to 300 characters; it says {alt!r}"
        )


def test_an_alternative_text_is_found_above_its_figure():
    text = "# alt: lost\nx = 1\n# alt: Two\n#  lines\nplt.show()\nplt.show()\n"
    text += "    # alt: in\n    plt.show()"
    assert lessons.drawn(text) == ["Two lines", "", "in"]


@every_lesson
def test_tags_are_those_that_the_site_knows(script):
    for tags in re.findall(r"^# %%.*tags=(.*)$", read(script), re.MULTILINE):
        assert tags in [f'["{tag}"]' for tag in lessons.FOLDS], f"{script.name}: tags={tags}"


@every_lesson
def test_a_cell_begins_with_two_percent_signs(script):
    assert re.findall(r"^#+ ?%(?!%).*$", read(script), re.MULTILINE) == []


@every_lesson
def test_an_answer_follows_each_question_and_no_answer_comes_without_one(script):
    """Between two boxes "What do you expect?" something below the box names an option, once."""
    before, *parts = re.split(r"\*\*What do you expect\?\*\*", read(script))
    assert re.findall(OPENING, before, re.MULTILINE) == [], "an answer before the first question"
    for part in parts:
        told = re.sub(r"\A.*\n(# >.*\n)*", "", part)
        assert re.search(r"\([a-d]\)|None of the", told), f"no answer to {part:.80}"
        openings = re.findall(OPENING, told, re.MULTILINE)
        assert len(openings) <= 1, f"{openings}: the question of one of them is missing"


@every_lesson
def test_a_folded_cell_only_draws(script):
    """What a reader must see is not folded: no checks, and no printed numbers."""
    cells = re.split(r"^(?=# %%)", read(script), flags=re.MULTILINE)
    for cell in cells:
        if cell.startswith('# %% tags=["hide-input"]'):
            found = re.findall(r"^\s*(?:assert|print)\b.*$", cell, re.MULTILINE)
            assert ("plt" in cell or "Slider" in cell) and found == [], (
                f"{script.name}: show {found} in another cell"
            )


def test_links_of_a_downloaded_notebook_lead_to_notebooks():
    text = "[a](02_lora.py), [b](02_lora.py#one-layer), [c](teaching.md), [d](x.py)"
    expected = "[a](02_lora.ipynb), [b](02_lora.ipynb#one-layer), [c](teaching.md), [d](x.py)"
    assert with_links(text, ".ipynb") == expected


def test_what_a_lesson_names_and_imports_is_found():
    text = "# See `minilora/adapters/lora.py`.\nfrom minilora import LoRA, linear\nimport os\n"
    assert lessons.named(text) == {"minilora.adapters.lora"}
    assert list(lessons.imported(text)) == [("minilora", "LoRA"), ("minilora", "linear")]


@every_page
def test_a_box_begins_with_words_that_the_site_knows(page):
    """A quotation that begins in bold is meant as a box: its first word says of which kind."""
    kinds = re.findall(r'^    "(\w+)": "', read(SITE / "boxes.py"), re.MULTILINE)
    rows = [line.removeprefix("# ") for line in read(page).splitlines()]
    first = [row for before, row in zip(["", *rows], rows) if not before.startswith(">")]
    words = {row[4:].replace(".", " ").split()[0] for row in first if row.startswith("> **")}
    assert words <= set(kinds), f"{page.name}: {sorted(words - set(kinds))} are none of {kinds}"


def test_the_picture_has_every_lesson_below_all_that_it_needs():
    texts = {script.stem: read(script) for script in SCRIPTS}
    needs = picture.needs_of(texts)
    rows = picture.rows_of(picture.direct(needs))
    row_of = {lesson: i for i, row in enumerate(rows) for lesson in row}
    assert set(row_of) == set(texts)
    assert rows[0] == ["01_one_matrix"]
    for lesson, own in needs.items():
        assert all(row_of[one] < row_of[lesson] for one in own)
    drawn = picture.draw_map(
        texts, {script.stem: lessons.numbered_title(script) for script in SCRIPTS}
    )
    assert all(drawn.count(f'href="{lesson}.html"') == 1 for lesson in texts)


def test_an_arrow_is_left_out_where_a_longer_way_leads():
    needs = {"01_a": [], "02_b": ["01_a"], "03_c": ["01_a", "02_b"], "04_d": ["01_a"]}
    direct = picture.direct(needs)
    assert direct == {"01_a": [], "02_b": ["01_a"], "03_c": ["02_b"], "04_d": ["01_a"]}
    assert picture.rows_of(direct) == [["01_a"], ["02_b", "04_d"], ["03_c"]]


def test_the_glossary_and_the_lessons_lead_to_each_other():
    """A term has a heading in the glossary, whose lesson links to it where it introduces it."""
    entries = re.split(r"^## ", read(FOLDER / "glossary.md"), flags=re.MULTILINE)[1:]
    known = {}
    for entry in entries:
        term, _, text = entry.partition("\n")
        anchor = re.sub(r"[^\w -]", "", term.lower()).replace(" ", "-")
        known[anchor] = re.search(r"\[Lesson \d+\]\((\d\d_\w+\.py)\)", text)[1]
    found = {
        (anchor, script.name)
        for script in SCRIPTS
        for anchor in re.findall(r"\]\(glossary\.md#([^)]*)\)", read(script))
    }
    assert {anchor for anchor, _ in found} - set(known) == set(), "add it to the glossary"
    assert set(known.items()) - found == set(), "link to it, in the lesson that it names"
    in_order = [entry.lower().replace("α", "alpha") for entry in entries]
    assert in_order == sorted(in_order)
