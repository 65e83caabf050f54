"""The map of adapters: every class has its row, and the columns say what is known of some."""

import re

import pytest

import minilora.family as family
from minilora.cli import family as command
from minilora.cli.main import main
from minilora.course.lessons import lesson_data


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the command prints, as blocks of lines."""
    import contextlib
    import io

    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(["family"]) == 0
    return [block.splitlines() for block in output.getvalue().split("\n\n")]


def row(block, name):
    """The cells of a row, which stand two or more blanks apart."""
    (line,) = (line for line in block if re.match(rf"{re.escape(name)}  ", line))
    return re.split(r"  +", line.strip())[1:]


def test_every_class_of_the_family_has_a_row_and_there_are_twenty_and_more(printed):
    assert len(printed) == 4
    shown = set(command.CLASSES.values())
    assert {getattr(family, name) for name in family.__all__ if name != "BitFit"} <= shown
    for block in printed[:3]:
        assert len(block) == 1 + len(command.CLASSES)
    assert len(command.CLASSES) + len(printed[3]) - 1 >= 28


@pytest.mark.parametrize(
    ("name", "equation"),
    [
        ("LoRA", "W + s B A"),
        ("SBoRA-FB", "W + s I[:, rows] A"),
        ("VeRA", "W + diag(b) B diag(d) A"),
        ("HRA", "W H₁ … H_r"),
        ("full", "trained itself"),
    ],
)
def test_the_equation_is_that_of_the_docstring(printed, name, equation):
    assert row(printed[0], name) == [equation]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("LoRA", ["A, B", "–", "–", "4", "W", "–"]),
        ("PiSSA", ["A, B", "R", "–", "8", "W, rounded", "–"]),
        ("LoHa", ["A1, A2, B1, B2", "–", "–", "16", "W", "–"]),
        ("IA3", ["l", "–", "–", "20", "W", "–"]),
        ("OFT", ["Q", "skew", "skew", "20", "W", "singular values"]),
        ("HRA strict", ["U", "–", "–", "4", "not W", "singular values"]),
        ("LoRA-XS", ["R", "A, B", "–", "4", "W", "–"]),  # its A and B are those of W
        ("VeRA", ["b, d", "A, B", "A, B", "4", "W", "–"]),
        ("CondLoRA", ["Theta_A, Theta_B", "–", "Theta_A, Theta_B", "4", "W", "–"]),
    ],
)
def test_what_is_trained_reached_and_kept(printed, name, cells):
    assert row(printed[1], name) == cells


# 32 layers of llama3-8b, with a query (4096, 4096) and a value (1024, 4096) each; LoRA's number at
# rank 8 is 8 (4096 + 4096 + 1024 + 4096) for each layer.
LORAS = 32 * 8 * 13_312


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("LoRA", [f"{LORAS:,}", "8", "13 of 13"]),
        ("LoRA-FA", [f"{32 * 8 * 5120:,}", f"{LORAS // (32 * 5120) // 2 * 2}", "13 of 13"]),
        ("LoRA-XS", [f"{64 * 64:,}", "230", "13 of 13"]),  # 64 · 230² = 3,385,600 and no 232²
        ("VeRA", [f"{32 * (16 + 5120):,}", "1024, the width", "13 of 13"]),
        ("PiSSA", [f"{LORAS:,}", "8", "12 of 13"]),
        ("CondLoRA", [f"{8 * 13_312:,}", "256", "13 of 13"]),  # once for each kind
        ("RandLoRA", [f"{32 * (512 * 4104 + 128 * 1032):,}", "180", "12 of 13"]),
        ("SVF", [f"{32 * 5120:,}", "–", "13 of 13"]),
        ("full", [f"{32 * 4096 * 5120:,}", "–", "11 of 13"]),
    ],
)
def test_what_is_counted(printed, name, cells):
    assert row(printed[2], name)[:-1] == cells


def test_the_rank_of_randlora_is_the_first_with_no_more_parameters_than_lora():
    """Its number falls with the rank: n = ⌈min / r⌉ terms have n (r + min)."""

    def number(r):
        return 32 * sum(-(-least // r) * (r + least) for least in (4096, 1024))

    assert number(180) <= LORAS < number(178)


def test_times_are_ratios_to_lora(printed):
    assert row(printed[2], "LoRA")[-1] == "1.00"
    assert all(float(line.split()[-1]) > 0 for line in printed[2][1:])


def test_the_page_of_the_family_shows_what_the_command_prints(printed):
    """But for the times, which are one machine's."""
    page = lesson_data("family.md").read_text(encoding="utf-8")
    shown = page.partition("```text\n")[2].partition("\n```")[0].split("\n\n")
    for number, (stored, block) in enumerate(zip(shown, printed, strict=True)):
        fresh, stored = [line for line in block if line], stored.splitlines()
        if number == 2:
            fresh, stored = ([line.split()[:-1] for line in lines] for lines in (fresh, stored))
        assert stored == fresh
