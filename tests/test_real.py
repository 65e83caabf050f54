"""`minilora real`, on a tiny BERT and a made-up corpus in the form of the real ones."""

import hashlib
from fnmatch import fnmatchcase

import numpy as np
import pytest
from support.command_line import table_of
from support.reviews import bert_files, film_lines, write_files, write_ratings, write_wheel

from minilora.cli import real, reviews
from minilora.cli.comparison import Length
from minilora.cli.main import main
from minilora.data.packages import Package
from minilora.data.reviews import FILMS
from minilora.weight import dense

TINY = Length(pretrain_steps=0, adapt_steps=2, test_images=20)
FIGURES = ["real-accuracy.png", "real-spectra.png"]


@pytest.fixture
def files(rng, tmp_path, monkeypatch):
    """A folder with both packages: a BERT of width 64 and 120 sentences."""
    folder = tmp_path / "real"
    ratings = write_ratings(folder, film_lines(), FILMS)
    wheel = write_wheel(folder / "tiny.whl", bert_files(rng, width=64))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for module in (real, reviews):
        monkeypatch.setattr(module, "RATINGS", ratings)
        monkeypatch.setattr(module, "MINILM", Package("tiny.whl", digest, "tiny==1.0"))
    monkeypatch.setattr(real, "FAST", TINY)
    return folder


def stopped(arguments, capsys):
    """What main prints to stderr when it refuses these arguments."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    captured = capsys.readouterr()
    assert (end.value.code, captured.out) == (2, "")
    return captured.err


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_table_and_two_figures(seeds, files, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--files", str(files), "--out", str(out), "--seeds", str(seeds)]
    assert main(["real", "--fast", *options]) == 0
    printed = capsys.readouterr().out
    assert sorted(file.name for file in out.iterdir()) == FIGURES
    rows = table_of(printed, real.METHODS)
    assert list(rows) == [method.name for method in real.METHODS]
    columns = ["trainable", "share", "test", "seconds", "MB", "over seeds"]
    assert all(list(row) == columns[: 5 + (seeds > 1)] for row in rows.values())
    assert rows["head alone"]["trainable"] == "130"  # 2 classes of 64 + 1
    full = 2 * (4 * 64 * 64 + 2 * 64 * 128)
    assert rows["full fine-tuning"]["trainable"] == f"{full + 130:,}"
    assert rows["LoRA r=8"]["trainable"] == f"{4 * 8 * (64 + 64) + 130:,}"
    assert printed.count("% with LoRA r=8") == seeds


def test_methods_and_seeds_can_be_chosen(files, tmp_path):
    methods = reviews.METHODS[:3:2]
    printed = []
    task = reviews.load_reviews(files)
    outcomes = real.compare_on_reviews(tmp_path, task, [5, 7], TINY, printed.append, methods)
    assert {name: len(runs) for name, runs in outcomes.items()} == {"head alone": 2, "LoRA r=8": 2}
    for i, seed in enumerate([5, 7]):
        test = [array[:20] for array in task.test]
        again = reviews.measure(methods[1], task, test, seed, steps=2)
        assert again.accuracy == outcomes["LoRA r=8"][i].accuracy
    assert "wrote" in printed[-1]


def test_missing_files_end_with_the_two_commands(files, tmp_path, capsys):
    (files / "tiny.whl").unlink()
    out = tmp_path / "out"
    message = stopped(["real", "--files", str(files), "--out", str(out)], capsys)
    assert f"argument --files: {files / 'tiny.whl'}: No such file" in message
    lines = [
        f"    pip download --no-deps -d {files} {name}\n" for name in ("tiny==1.0", "ratings==2.0")
    ]
    assert message.endswith("".join(lines))
    assert message.count("pip download") == 2
    assert not out.exists()


def test_another_file_under_the_name_is_refused(files, capsys):
    with open(files / "ratings.tar.gz", "ab") as file:
        file.write(b"\0")
    message = stopped(["real", "--files", str(files)], capsys)
    assert "ratings.tar.gz: its SHA-256 is " in message
    assert f"    pip download --no-deps -d {files} ratings==2.0\n" in message


def test_another_bert_is_taken_from_a_folder(files, rng, tmp_path, capsys):
    (files / "tiny.whl").unlink()
    model = write_files(tmp_path / "other", bert_files(rng, width=64))
    options = ["--files", str(files), "--model", str(model), "--out", str(tmp_path / "out")]
    assert main(["real", "--fast", *options]) == 0
    assert "CondLoRA r=48" in capsys.readouterr().out
    (model / "vocab.txt").unlink()
    message = stopped(["real", *options], capsys)
    assert f"{model} is not a BERT that can be read here: " in message


def test_a_bert_too_narrow_for_the_ranks_is_refused(files, rng, tmp_path, capsys):
    model = write_files(tmp_path / "narrow", bert_files(rng, width=46))
    message = stopped(["real", "--files", str(files), "--model", str(model)], capsys)
    assert f"{model} has the width 46, the methods need 48 at least" in message


@pytest.mark.parametrize("value", ["0", "-1", "1.5", ""])
def test_the_number_of_seeds_is_a_positive_integer(value, capsys):
    message = stopped(["real", "--seeds", value], capsys)
    assert f"argument --seeds: must be an integer from 1 up, got '{value}'" in message


def test_what_is_measured_is_measured(files):
    """Logits of the merged weights, the memory of a step, and the spectrum of each update."""
    task = reviews.load_reviews(files)
    assert isinstance(task, reviews.Reviews)
    lora = next(method for method in reviews.METHODS if method.name == "LoRA r=8")
    test = task.test
    outcome = reviews.measure(lora, task, test, seed=3, steps=4)
    again = reviews.measure(lora, task, test, seed=3, steps=4)
    other = reviews.measure(lora, task, test, seed=4, steps=4)
    assert outcome.accuracy == again.accuracy
    assert not np.array_equal(outcome.spectra, other.spectra)
    np.testing.assert_array_equal(outcome.spectra, again.spectra)
    assert np.shape(outcome.spectra) == (4, 64)  # query and value of two layers
    for values in outcome.spectra:
        assert values[7] > 1e-6 * values[0] > values[8]  # rank 8, up to rounding
    tokens = sum(mask[: reviews.BATCH].sum() for mask in [task.train[1]])
    smallest = 4 * tokens * (2 * 128 + 10 * 64) * 2 / 1e6  # activations of two layers in float32
    assert smallest < outcome.megabytes < 20 * smallest


def test_four_bits_are_for_the_adapted_matrices_alone(files, rng):
    task = reviews.load_reviews(files)
    method = next(method for method in reviews.METHODS if method.four_bits)
    weights = reviews.with_head(rng, task.bert.weights, classes=2)
    attached, params, _ = reviews.adapt(
        method,
        weights,
        reviews.review_loss(task.bert.heads),
        task.train,
        rng=rng,
        steps=1,
        batch=4,
        task="",
    )
    changed = {
        name
        for name in weights
        if not np.array_equal(dense(attached.weights[name]), dense(weights[name]))
    }
    wanted = {name for name in weights if any(fnmatchcase(name, p) for p in reviews.ATTENTION)}
    assert len(wanted) == 4
    assert changed == wanted
    assert [name for name, _, _ in reviews.updates(attached, attached.merge(params))] == list(
        attached.adapters
    )[:4]
