"""The page of all claims, tutorials/claims.md, made of the marks and docstrings of the tests.

    python tests/claims_page.py        writes it anew; tests/test_claims.py compares

The tests are parsed and not imported, so that the page is the same whatever is installed.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

from minilora.testing import claims

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "tutorials" / "claims.md"
ARXIV = "https://arxiv.org/abs/"
# Every source, in the order in which the page has them: who says it, and where it can be read.
SOURCES = {
    claims.HU: (
        "Edward J. Hu, Yelong Shen, Phillip Wallis, Zeyuan Allen-Zhu, Yuanzhi Li, Shean Wang, "
        "Lu Wang & Weizhu Chen, 2021, *LoRA: Low-Rank Adaptation of Large Language Models*",
        f"{ARXIV}2106.09685",
    ),
    claims.KALAJDZIEVSKI: (
        "Damjan Kalajdzievski, 2023, *A Rank Stabilization Scaling Factor for Fine-Tuning with "
        "LoRA*",
        f"{ARXIV}2312.03732",
    ),
    claims.ZENG_LEE: (
        "Yuchen Zeng & Kangwook Lee, 2023, *The Expressive Power of Low-Rank Adaptation*",
        f"{ARXIV}2310.17513",
    ),
    claims.YUAN: (
        "Shen Yuan, Haotian Liu & Hongteng Xu, 2024, *Bridging The Gap between Low-rank and "
        "Orthogonal Adaptation via Householder Reflection Adaptation*",
        f"{ARXIV}2405.17484",
    ),
    claims.PO: (
        "Lai-Man Po, Yuyang Liu, Haoxuan Wu, Tianqi Zhang, Wing-Yin Yu, Zhuohan Wang, Zeyu Jiang & "
        "Kun Li, 2024, *SBoRA: Low-Rank Adaptation with Regional Weight Updates*",
        f"{ARXIV}2407.05413",
    ),
    claims.DETTMERS: (
        "Tim Dettmers, Artidoro Pagnoni, Ari Holtzman & Luke Zettlemoyer, 2023, *QLoRA: Efficient "
        "Finetuning of Quantized LLMs*",
        f"{ARXIV}2305.14314",
    ),
    claims.KIM: (
        "Hwichan Kim, Shota Sasaki, Sho Hoshino & Ukyo Honda, 2024, *A Single Linear Layer Yields "
        "Task-Adapted Low-Rank Matrices*",
        f"{ARXIV}2403.14946",
    ),
    claims.SHUTTLEWORTH: (
        "Reece Shuttleworth, Jacob Andreas, Antonio Torralba & Pratyusha Sharma, 2024, *LoRA vs "
        "Full Fine-tuning: An Illusion of Equivalence*",
        f"{ARXIV}2410.21228",
    ),
    claims.OURS: (
        "What no paper says that we know of: weaker conditions than a paper's, counter-examples, "
        "limits of our own constructions, and what this library adds",
        "",
    ),
    claims.MANGRULKAR: (
        "Sourab Mangrulkar, Sylvain Gugger, Lysandre Debut, Younes Belkada, Sayak Paul & Benjamin "
        "Bossan, 2022, *PEFT: State-of-the-art Parameter-Efficient Fine-Tuning methods*, a library "
        "whose results are compared with ours",
        "https://github.com/huggingface/peft",
    ),
}
# What the letters of the ids stand for; the longest beginning of an id counts.
TOPICS = {
    "A1": "linear networks with LoRA",
    "A2": "ReLU networks with LoRA",
    "A3": "Transformers with LoRA",
    "A4": "how many trainable parameters exactness takes",
    "B": "products of reflections, as in HRA",
    "C": "updates of columns or rows, as in SBoRA, and four-bit weights",
    "D": "conversion matrices, as in CondLoRA, similar subspaces, and intruder dimensions",
    "E": "numbers of trainable parameters",
    "F": "what each adapter reaches on one matrix",
    "G": "LoRA and rsLoRA: equations, starts, first steps and weight decay",
    "H": "checkpoints on disk",
    "I": "what five other methods reach on one matrix",
}
INTRODUCTION = """\
# Claims

`pytest` ends with a table of claims. Here is every row of it in full: what is said, under which
conditions it is checked, and by which test. A row says no more than its test checks. A test tries
many cases and proves nothing; where a proof is known, the lessons give it or say where it is. To
run a single test, with its row of the table:

```sh
pytest tests/{}
```

An id begins with a letter, which stands for its topic. One id can stand under a paper and under
minilora's own: the latter goes on where the former stops.

{}

P1 to P16 are not claims but the promises of every adapter: `python -m minilora.testing` explains
them. This page is made from the tests by `python tests/claims_page.py`.
"""


class Claim(NamedTuple):
    """A test that is marked as the check of a claim."""

    number: str
    source: str
    statement: str
    test: str  # "test_hra.py::test_degenerate_reflections"
    conditions: str  # its docstring
    body: str  # its code, without the docstring


def claims_of(path):
    """The claims that the tests in one file check, in its order; those of a contract are none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = vars(claims) | _strings(tree)
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for mark in function.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func).split(".")[-1] == "claim":
                number, source, statement = (_value(node, constants) for node in mark.args)
                if not source.startswith("Contract of "):
                    test = f"{path.name}::{function.name}"
                    conditions = ast.get_docstring(function) or ""
                    yield Claim(number, source, statement, test, conditions, _body(function))


def all_claims():
    """The claims of all tests, in the order of the page: source, id, then as the tests stand."""
    places = {source: place for place, source in enumerate(SOURCES)}
    found = [claim for path in sorted(TESTS.glob("test_*.py")) for claim in claims_of(path)]
    return sorted(found, key=lambda claim: (places.get(claim.source, 99), _parts(claim.number)))


def topic(number):
    """The beginning of an id that stands for its topic."""
    return max((start for start in TOPICS if number.startswith(start)), key=len, default="")


def page(found):
    """The text of the page."""
    topics = "\n".join(f"- **{start}**: {says}" for start, says in TOPICS.items())
    lines = [INTRODUCTION.format(found[0].test, topics)]
    for source, (citation, address) in SOURCES.items():
        mine = [claim for claim in found if claim.source == source]
        lines += [
            f"## {source}",
            "",
            _paragraph(citation, address, mine),
            "",
        ]
        for number in dict.fromkeys(claim.number for claim in mine):
            lines += [f"### {number}", ""]
            rows = [claim for claim in mine if claim.number == number]
            for statement in dict.fromkeys(claim.statement for claim in rows):
                lines += [f"- **{escaped(statement)}**", ""]
                for claim in rows:
                    if claim.statement == statement:
                        lines += _conditions(claim)
    return "\n".join(lines).rstrip() + "\n"


def escaped(text):
    """Prose without mark-up, but with what stands in backquotes as code."""
    parts = text.split("`")
    special = r"[\\*|$<\[]|(?<!\w)_|_(?!\w)"
    parts[::2] = [re.sub(special, r"\\\g<0>", part) for part in parts[::2]]
    return "`".join(parts)


def _conditions(claim):
    """The docstring of a test and its name, indented below the statement."""
    lines = []
    for paragraph in re.split(r"\n\s*\n", claim.conditions):
        is_formula = all(row.startswith("    ") for row in paragraph.splitlines())
        text = paragraph if is_formula else escaped(" ".join(paragraph.split()))
        lines += [f"  {row}" for row in text.splitlines()] + [""]
    return [*lines, f"  `tests/{claim.test}`", ""]


def _paragraph(citation, address, mine):
    """Whose claims these are, where to read it, and what their letters stand for."""
    link = address.replace(ARXIV, "arXiv ").replace("https://", "")
    where = f", [{link}]({address})" if address else ""
    topics = dict.fromkeys(topic(claim.number) for claim in mine)
    letters = ", ".join(f"**{start}** ({TOPICS[start]})" for start in topics if start)
    return f"{citation}{where}. Ids: {letters}."


def _strings(tree):
    """The strings that have a name at the top level of a file."""
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    return {
        node.targets[0].id: node.value.value
        for node in assigned
        if isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Constant)
    }


def _value(node, constants):
    return constants[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)


def _body(function):
    is_documented = ast.get_docstring(function) is not None
    return "\n".join(ast.unparse(node) for node in function.body[is_documented:])


def _parts(number):
    """A1.2 before A1.10."""
    return number[0], [int(part) for part in re.findall(r"\d+", number)]


if __name__ == "__main__":
    PAGE.write_text(page(all_claims()), encoding="utf-8")
