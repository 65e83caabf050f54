"""The command line, as newcomers run it: in a terminal, a pipe, a notebook, on a full disk."""

import importlib
import inspect
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.command_line import cells_of, table_of

import minilora
from minilora.cli import count, letters, output, text
from minilora.cli.arguments import comma_separated
from minilora.cli.comparison import Length
from minilora.cli.main import COMMANDS, main

SMALL = Length(pretrain_steps=1, adapt_steps=1, images=1, adapt_images=1, test_images=1)
FIGURES = ("letters.png", "accuracy.png")
posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and limits of Unix")
needs_dev_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


@pytest.fixture
def stdout_in(monkeypatch):
    """Give stdout an encoding; returns a function that returns what was printed."""

    def replace(encoding):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        return lambda: raw.getvalue().decode(encoding)

    return replace


# ---- The arguments


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--seed", "-1"], "argument --seed: must be an integer from 0 up, got '-1'"),
        (["text", "--seed", "1.5"], "argument --seed: must be an integer from 0 up, got '1.5'"),
        (["--out", ""], "argument --out: must name a folder, got ''"),
        (["songs"], "invalid choice: 'songs' (choose from"),
        (["letters", "--rank", "4", "--adapter", "lora"], "arguments: --rank 4 --adapter lora"),
        (["letters", "llama-7b"], "unrecognized arguments: llama-7b"),
        (["--fast", "text"], "unrecognized arguments: text"),
        (["text", "--out", "folder"], "unrecognized arguments: --out folder"),
        (["count", "llama-7b", "--seed", "0"], "unrecognized arguments: --seed 0"),
        (["count", "llama-7b", "--fast"], "unrecognized arguments: --fast"),
        (["count"], "which model? One of roberta-base, "),
        (["count"], "or of a folder that holds one. Try: minilora count llama3-8b --rank 8"),
        (["count", "LLaMA-7B"], "of a folder that holds one, got 'LLaMA-7B'"),
        (["count", "nowhere/config.json"], "holds one, got 'nowhere/config.json'"),
        (["count", "--rank", "4"], "which model?"),
        (["count", "llama-7b", "--adapter", "dora"], "invalid choice: 'dora' (choose from"),
        (["count", "llama-7b", "--rank", "3.5"], "argument --rank: invalid int value: '3.5'"),
        (["count", "llama-7b", "--rank", "0"], "rank must be an integer from 1 up, got 0"),
        (["count", "llama3-8b", "--rank", "1025"], "SBoRAFB(rank=1025) on 'model.layers.0.self"),
        (["count", "llama3-8b", "--rank", "1025"], "from 1 to 1024, got 1025"),
        (
            ["count", "llama-7b", "--adapter", "hra", "--rank", "100000000"],
            "from 1 to 4096 for hra on model.layers.0.self_attn.q_proj.weight (4096 × 4096), got",
        ),
        (["count", "roberta-base", "--targets", "q,gate"], "targets must be any of q, k, v, o, up"),
        (
            ["count", "gpt2", "--targets", "q,v"],
            "targets must be any of qkv, o, up, down, got q, v",
        ),
        (["count", "roberta-base", "--targets", "q,"], "names with a comma between them, got 'q,'"),
        (["count", "roberta-base", "--targets", ""], "names with a comma between them, got ''"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_a_mistake_is_refused_before_anything_is_trained(arguments, message, no_training, capsys):
    assert message in refused(arguments, capsys)


def test_an_unknown_model_or_adapter_is_told_which_there_are(capsys):
    for model in count.MODELS:
        assert model in refused(["count", "gpt-5"], capsys)
    for adapter in count.ADAPTERS:
        assert adapter in refused(["count", "llama-7b", "--adapter", "dora"], capsys)
    for model in (None, 3, ["gpt2"], ""):
        with pytest.raises(ValueError, match=r"^model must be one of roberta-base, .*, got "):
            count.count_model(model)
    with pytest.raises(ValueError, match=r"^adapter must be one of lora, .*, got 'dora'"):
        count.count_model("llama-7b", "dora")


def test_targets_may_have_spaces():
    assert comma_separated("q, v") == comma_separated("q,v") == ["q", "v"]


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "utf-8"])
def test_help_lists_the_commands_in_every_encoding(encoding, stdout_in):
    printed = stdout_in(encoding)
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    lines = printed().splitlines()
    for command in COMMANDS:
        assert [line for line in lines if line.startswith(f"    {command} ")], command
        with pytest.raises(SystemExit):
            main([command, "--help"])
    assert "?" not in printed()


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"minilora {minilora.__version__}\n"


def test_the_backend_of_a_notebooks_plots_is_replaced(monkeypatch, capsys):
    """It need not be installed here, and matplotlib refuses to be imported with an unknown one."""
    monkeypatch.setenv("MPLBACKEND", "module://not_installed")
    assert main(["count", "roberta-base", "--adapter", "lora"]) == 0
    assert os.environ["MPLBACKEND"] == "agg"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_same_form(name):
    command = importlib.import_module(f"minilora.cli.{name}")
    assert list(inspect.signature(command.add_arguments).parameters) == ["parser"]
    assert list(inspect.signature(command.run).parameters) == ["options"]


def test_what_an_encoding_lacks_is_spelled_out(stdout_in):
    printed = stdout_in("ascii")
    output.survive_any_output()
    print("W̄ = W + ΔW → ‖x‖ ≤ σ₁ ∝ Θ, λ − α … é 漢 \udcff")
    sys.stdout.flush()
    assert printed() == "W_bar = W + DeltaW -> ||x|| <= sigma1 ~ Theta, lambda - alpha ... e ? ?\n"


def test_streams_that_are_missing_or_of_a_notebook_are_left_in_peace(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    output.survive_any_output()
    output.print_line("λ")
    assert sys.stdout.getvalue() == "λ\n"
    with sys.stderr:
        print("λ", file=sys.stderr)


# ---- The folder for the figures


@pytest.fixture
def no_training(monkeypatch):
    """Nothing may be trained: mistakes are noticed before."""

    def refuse(*_):
        raise AssertionError("this comes too late")

    monkeypatch.setattr(letters, "pretrain", refuse)
    monkeypatch.setattr(text, "pretrain_writer", refuse)


def refused(arguments, capsys):
    """The message with which main refuses these arguments."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    captured = capsys.readouterr()
    assert stopped.value.code == 2
    assert captured.out == ""
    usage, message = captured.err.rsplit(": error: ", 1)
    assert usage.startswith("usage: minilora")
    return message.strip()


def test_a_folder_that_cannot_be_is_refused(tmp_path, no_training, capsys):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "letters.png").write_text("kept")
    (tmp_path / "accuracy.png").mkdir()
    for out in (tmp_path / "file", tmp_path / "file" / "folder", tmp_path):
        assert str(out) in refused(["--out", str(out)], capsys)
    assert (tmp_path / "file").read_text() == "kept"
    assert (tmp_path / "letters.png").read_text() == "kept"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_read_only_folder_is_refused(tmp_path, no_training, capsys):
    out = Path("/proc/self")  # where root may not write either
    if not out.exists():
        out = tmp_path / "read-only"
        out.mkdir(mode=0o500)
    if os.access(out, os.W_OK) and not str(out).startswith("/proc"):
        pytest.skip("this user may write everywhere")
    message = refused(["--out", str(out)], capsys)
    assert message.startswith(f"argument --out: cannot write into {out}: ")


@contextmanager
def small_files():
    """No file may hold more than 1,000 bytes: every write beyond that fails, as on a full disk.

    A fixture would hold too long: pytest itself writes between a test and the end of its fixtures.
    """
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_noticed_before_training(tmp_path, no_training, capsys):
    out = tmp_path / "new" / "folder"
    with small_files():
        message = refused(["--out", str(out)], capsys)
    assert message.startswith(f"argument --out: cannot write into {out}: File too large")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_later_costs_the_figures_alone(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(letters, "check_folder", lambda *_: None)
    with small_files():
        code = small()
    assert code == 1
    captured = capsys.readouterr()
    assert len(table_of(captured.out)) == len(letters.METHODS)
    assert "wrote" not in captured.out
    assert captured.err == f"minilora: error: {tmp_path / 'letters.png'}: File too large\n"


def test_the_folder_is_left_as_it_was_until_there_is_a_figure(tmp_path, monkeypatch):
    """And without a command, the letters are compared with their defaults."""
    calls = []
    monkeypatch.setattr(letters, "compare_on_letters", lambda *given: calls.append(given[:3]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert main([]) == 0
    assert main(["letters", "--out", "~/a b", "--seed", "7"]) == 0
    assert calls == [
        (Path("minilora-tour"), 0, letters.USUAL),
        (tmp_path / "a b", 7, letters.USUAL),
    ]
    assert list(tmp_path.iterdir()) == []


# ---- The counts


def counted(arguments, capsys):
    """The lines that count prints."""
    assert main(["count", *arguments.split()]) == 0
    return capsys.readouterr().out.splitlines()


def test_count_prints_parameters_and_bytes(capsys):
    """25,165,824 parameters take 4 bytes each, Adam's moments 8; the model 16 bits or fewer."""
    lines = counted("llama3-8b --adapter sbora-fa --rank 32 --targets q,k,v,up,down", capsys)
    full = ["full fine-tuning", "8,030,261,248", "100.000%", "32,121.0 MB", "64,242.1 MB"]
    assert cells_of(lines[0]) == ["llama3-8b, rank 32", "trainable", "share", "adapter", "Adam"]
    assert cells_of(lines[1]) == full
    assert cells_of(lines[2]) == ["sbora-fa", "25,165,824", "0.313%", "100.7 MB", "201.3 MB"]
    assert "160 matrices" in lines[3]
    assert lines[4] == "Full fine-tuning trains all parameters of LlamaForCausalLM."
    assert lines[5].endswith("float16: 16,060.5 MB")
    linear_size = 32 * (2 * 4096**2 + 2 * 1024 * 4096 + 3 * 14_336 * 4096)
    rest = 2 * (8_030_261_248 - linear_size)
    for line, bits in ((lines[6], 4.5), (lines[7], 4 + 8 / 64 + 32 / (64 * 256))):
        megabytes = float(line.split()[-2].replace(",", ""))
        assert abs(megabytes - (rest + linear_size * bits / 8) / 1e6) < 0.3
    assert len(lines) == 8


def test_count_compares_all_adapters_when_none_is_named(capsys):
    """DeBERTaV3-base, all six linear maps, r = 7: HRA may have an odd rank here."""
    lines = counted("deberta-v3-base --rank 7", capsys)
    one_side = f"{12 * 7 * (5 * 768 + 3072):,}"
    assert {line.split()[0]: line.split()[1] for line in lines[2:8]} == {
        "lora": f"{12 * 7 * (4 * 2 * 768 + 2 * (768 + 3072)):,}",
        "sbora-fa": one_side,
        "sbora-fb": one_side,
        "hra": one_side,
        "hra-strict": one_side,
        "condlora": f"{7 * (4 * 2 * 768 + 2 * (768 + 3072)):,}",
    }


def test_the_rank_is_8_by_default_and_the_counts_are_returned(capsys):
    assert "rank 8 " in counted("roberta-base --targets q", capsys)[0]
    counts = count.count_model("roberta-base", "lora", targets=["q"])
    assert counts == {"full fine-tuning": 124_645_632, "lora": 12 * 8 * 2 * 768}


BERT = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "vocab_size": 17,
    "hidden_size": 12,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 11,
}


@pytest.fixture
def config_file(tmp_path):
    """A function that writes a config.json and returns its path as text."""

    def write(**changes):
        file = tmp_path / "config.json"
        file.write_text(json.dumps({**BERT, **changes}))
        return str(file)

    return write


def test_a_model_may_be_a_config_file_or_its_folder(config_file, tmp_path, capsys):
    """A tiny BERT of 2,908 parameters, whose file names a class with a head."""
    file = config_file()
    lines = counted(f"{file} --adapter lora --rank 2 --targets q,down", capsys)
    assert cells_of(lines[0])[0] == f"{file}, rank 2"
    assert lines[1].split()[2] == "2,908"
    assert lines[2].split()[:2] == ["lora", str(2 * 2 * (24 + 32))]
    expected = "Full fine-tuning trains all parameters of BertModel, not BertForMaskedLM."
    assert lines[4] == expected
    again = counted(f"{tmp_path} --adapter lora --rank 2 --targets q,down", capsys)
    assert [line.split() for line in again[1:]] == [line.split() for line in lines[1:]]
    counts = count.count_model(Path(file), "lora", 2, ["q", "down"], show=[].append)
    assert counts == {"full fine-tuning": 2908, "lora": 224}


def test_a_name_of_a_model_comes_before_a_folder_of_that_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt2").mkdir()
    assert "124,439,808" in counted("gpt2 --adapter lora", capsys)[1]
    assert "gpt2/config.json: there is no such file" in refused(["count", "./gpt2"], capsys)


def test_a_config_that_cannot_be_counted_is_a_mistake_of_the_user(config_file, tmp_path, capsys):
    file = config_file(model_type="mixtral")
    message = refused(["count", file], capsys)
    assert message.startswith(f"{file}: config must have one of the model_types llama, mistral, ")
    assert message.endswith("got 'mixtral'")
    message = refused(["count", config_file(hidden_size=13)], capsys)
    assert message == f"{file}: hidden_size must be a multiple of num_attention_heads, got 13 and 3"
    Path(file).write_text("{")
    assert refused(["count", str(tmp_path)], capsys).startswith(f"{file}: is not JSON: ")


def test_reflections_up_to_the_width_of_the_input_are_counted(capsys):
    lines = counted("roberta-base --adapter hra --rank 768 --targets q,down", capsys)
    assert lines[2].split()[:2] == ["hra", f"{12 * 768 * (768 + 3072):,}"]


# ---- No work is lost: every output


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Run main with the letters as small as they can be; returns its exit code."""

    def run():
        monkeypatch.setattr(letters, "FAST", SMALL)
        return main(["--fast", "--out", str(tmp_path)])

    return run


@pytest.fixture
def quick_figures(monkeypatch):
    """Files in place of the figures, for tests that ask only whether they are written."""

    def write(*given):
        given[-1].write_bytes(b"a figure")
        return given[-1]

    monkeypatch.setattr(letters, "plot_predictions", write)
    monkeypatch.setattr(letters, "plot_accuracy", write)


def test_without_stderr_and_with_an_ascii_stdout_all_is_printed_and_written(
    small, quick_figures, tmp_path, stdout_in, monkeypatch
):
    monkeypatch.setattr(sys, "stderr", None)
    printed = stdout_in("ascii")
    assert small() == 0
    assert len(table_of(printed())) == len(letters.METHODS)
    assert "layers.3.W  144 x 144  LoRA(rank=4)" in printed()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FIGURES)


@posix
def test_a_reader_who_leaves_ends_it_quietly_after_the_figures(
    small, quick_figures, tmp_path, monkeypatch, capsys
):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="cp437") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert small() == 141
    assert capsys.readouterr().err == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FIGURES)


@needs_dev_full
def test_a_full_disk_behind_stdout_is_a_message_after_the_figures(
    small, quick_figures, tmp_path, monkeypatch, capsys
):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert small() == 1
    message = "minilora: error: cannot write the output: No space left on device\n"
    assert capsys.readouterr().err == message
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FIGURES)


@posix
@pytest.mark.parametrize("arguments", [["count", "roberta-base"], ["--help"]], ids=" ".join)
def test_a_pipe_that_nobody_reads_ends_it_quietly(arguments):
    with subprocess.Popen(
        [sys.executable, "-m", "minilora", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@posix
def test_ctrl_c_is_one_line_and_leaves_no_folder(tmp_path):
    code = """
        import signal, sys, time
        from minilora.cli import letters
        from minilora.cli.main import main
        # A job in the background ignores this signal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        letters.pretrain = lambda *_: (print("ready", flush=True), time.sleep(60))
        sys.exit(main(["--out", "folder/in/it"]))
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"", b"minilora: interrupted\n")
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_help_imports_no_numpy_and_count_no_matplotlib():
    code = """
        import contextlib, sys
        from minilora.cli.main import main
        with contextlib.suppress(SystemExit):
            main(["--help"])
        assert "numpy" not in sys.modules
        main(["count", "roberta-base", "--adapter", "lora"])
        assert "matplotlib" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True)
