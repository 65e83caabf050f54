"""Folders that are no checkpoint, or another one than was meant: what is said of them.

And folders whose writing was killed half-way.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints import WHOLE, relative
from support.golden import DATA, INPUTS, WEIGHTS

from minilora.adapters import HRA, HRAStrict, LoRA
from minilora.adapters.scaling import alpha_over_sqrt_rank
from minilora.attachment import attach
from minilora.models.mlp import mlp
from minilora.peft import adapters_of, open_checkpoint, read_peft, write_peft
from minilora.peft.checkpoint import ARRAYS
from minilora.peft.names import few, layer_of, nearest
from minilora.peft.safetensors import pack
from minilora.peft.settings import CONFIG

# Without a base model.


def test_a_checkpoint_is_opened_without_a_base_model():
    config, arrays = open_checkpoint(DATA / "rslora")
    assert (config["peft_type"], config["use_rslora"]) == ("LORA", True)
    found, rest = adapters_of(config, arrays)
    assert rest == {}
    assert list(found) == ["layers.0", "layers.2"]
    adapter, params = found["layers.2"]
    assert adapter == LoRA(2, 5, alpha_over_sqrt_rank)
    assert adapter.scale == pytest.approx(5 / 2**0.5)
    assert {letter: array.shape for letter, array in params.items()} == {"A": (2, 4), "B": (3, 2)}
    assert params["A"].dtype == params["B"].dtype == np.float32


@pytest.mark.parametrize(
    "name, adapter, dtype",
    [
        ("hra", HRA(4), np.float32),
        ("hra_odd", HRA(3, odd=True), np.float32),
        ("hra_apply_gs", HRAStrict(2), np.float32),
        ("lora_float16", LoRA(2, 5), np.float16),
        ("lora_bfloat16", LoRA(2, 5), np.float32),
        ("lora", LoRA(2, 5), np.float64),
    ],
)
def test_an_adapter_has_the_rank_of_the_configuration_and_the_dtype_of_the_file(
    name, adapter, dtype
):
    found, _ = adapters_of(*open_checkpoint(DATA / name))
    for given, params in found.values():
        assert given == adapter
        assert {array.dtype for array in params.values()} == {np.dtype(dtype)}


def test_layers_have_the_rank_of_their_pattern_without_a_base_model_too():
    found, _ = adapters_of(*open_checkpoint(DATA / "patterns"))
    ranks = {layer: (adapter.rank, adapter.alpha) for layer, (adapter, _) in found.items()}
    assert ranks == {"layers.0": (3, 0.5), "layers.1": (1, 5), "layers.2": (1, 9)}


def with_arrays(**changes):
    """The configuration and arrays of "lora", with some arrays replaced; None leaves one out."""
    config, arrays = open_checkpoint(DATA / "lora")
    arrays |= {f"base_model.model.{name}": array for name, array in changes.items()}
    return config, {name: array for name, array in arrays.items() if array is not None}


A, B = "layers.0.lora_A.weight", "layers.0.lora_B.weight"


@pytest.mark.parametrize(
    "changes",
    [
        {A: None},
        {B: None},
        {A: np.ones((3, 5))},
        {B: np.ones((4, 3))},
        {A: np.ones((2, 0))},
        {B: np.ones(0)},
        {A: np.ones((2, 5, 1, 1))},
        {A: np.ones((2, 5), int)},
        {B: np.ones((4, 2), bool)},
        {"layers.0.hra_u": np.ones((5, 2))},
    ],
    ids=str,
)
def test_matrices_that_are_no_lora_are_refused_with_their_layer(changes):
    with pytest.raises(ValueError, match=r"^layers\.0: LoRA\(rank=2, alpha=5\) needs floats A \("):
        adapters_of(*with_arrays(**changes))


def test_a_key_that_is_not_pefts_is_refused():
    config, arrays = open_checkpoint(DATA / "lora")
    plain = {name.removeprefix("base_model.model."): array for name, array in arrays.items()}
    with pytest.raises(ValueError, match=r"does not begin with 'base_model.model.'"):
        adapters_of(config, plain)
    old = {name.replace("lora_A", "lora_A.default"): array for name, array in arrays.items()}
    with pytest.raises(ValueError, match=r"lora_A.default.weight', as in .*: drop '.default'"):
        adapters_of(config, old)
    with pytest.raises(ValueError, match="has no LoRA and no HRA, but nothing"):
        adapters_of(config, {})


def test_a_layer_whose_name_ends_as_a_parameter_does_comes_back(rng, tmp_path):
    weights = {"block.q_weight": rng.standard_normal((4, 4))}
    write_peft(tmp_path, attach(weights, {"*": LoRA(1)}, rng=rng))
    assert list(read_peft(tmp_path, weights).adapters) == ["block.q_weight"]


# What is in the folder instead.


def read(folder):
    return read_peft(folder, WEIGHTS)


def says(folder, words, calls=(open_checkpoint, read)):
    """Opening and reading the folder fails with these words, in a short message."""
    for call in calls:
        with pytest.raises(ValueError, match=rf"^folder .*{words}") as refused:
            call(folder)
        assert len(str(refused.value)) < 700


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    (tmp_path / CONFIG).write_bytes(WHOLE["lora"][CONFIG])
    (tmp_path / ARRAYS).write_bytes(POINTER)
    says(tmp_path, "is a git-lfs pointer, not the file itself: git lfs pull")


def test_a_pickle_is_not_read_but_how_to_convert_it_is_said(tmp_path):
    (tmp_path / CONFIG).write_bytes(WHOLE["lora"][CONFIG])
    (tmp_path / "adapter_model.bin").write_bytes(b"anything")
    says(tmp_path, r"no adapter_model.safetensors, but adapter_model.bin, a pickle.*save_file\(")


@pytest.mark.parametrize(
    "key",
    [
        "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
        "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha",
        "unet.down_blocks.0.attn1.processor.to_q_lora.up.weight",
        "unet.up_blocks.1.to_k.lora.down.weight",
        "text_encoder.layers.0.k_proj.lora_linear_layer.up.weight",
        "transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight",
    ],
)
def test_the_formats_of_kohya_and_diffusers_are_named(key, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(pack({key: np.ones((2, 2), np.float32)}))
    for path in (tmp_path, tmp_path / "model.safetensors"):
        says(path, f"there is no {CONFIG}: this is a LoRA of kohya's scripts or of diffusers")


def test_other_places_for_a_checkpoint_are_named(tmp_path):
    says(tmp_path / "nowhere", f"there is no {CONFIG}: there is no such folder")
    says(tmp_path, f"there is no {CONFIG}, but nothing")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 9)
    says(tmp_path, f"there is no {CONFIG}, but 'config.json', 'model.safetensors'")
    shutil.copytree(DATA / "lora", tmp_path / "checkpoint-500")
    says(tmp_path, f"there is no {CONFIG}, but there is one in 'checkpoint-500': give that folder")
    says(tmp_path / "checkpoint-500" / CONFIG, "give the folder that it is in, not a file")
    (tmp_path / CONFIG).write_text("{}")
    says(tmp_path, f"there is no {ARRAYS}, but .*'checkpoint-500'")


@pytest.mark.parametrize(
    "file, content, words",
    [
        (CONFIG, b"", f"{CONFIG} is not JSON that can be read"),
        (CONFIG, b"{", f"{CONFIG} is not JSON that can be read"),
        (CONFIG, b"[" * 100_000, f"{CONFIG} is not JSON that can be read"),
        (CONFIG, b"\xff", f"{CONFIG} is not JSON that can be read"),
        (CONFIG, POINTER, f"{CONFIG} is a git-lfs pointer"),
        (ARRAYS, b"", f"{ARRAYS} is not a safetensors file: it is empty"),
        (ARRAYS, WHOLE["lora"][ARRAYS][:-1], f"{ARRAYS} is not a .* it is cut short, .* bytes of "),
        (ARRAYS, WHOLE["lora"][ARRAYS][:50], f"{ARRAYS} is not a .* it is cut short, 50 bytes of"),
        (ARRAYS, b"GGUF\3\0\0\0" + b"\0" * 90, f"{ARRAYS} .* it does not begin as a safetensors"),
        (ARRAYS, b"PK\3\4" + b"\0" * 90, f"{ARRAYS} .* it does not begin as a safetensors file"),
    ],
    ids=range(10),
)
def test_a_broken_file_is_named_with_what_is_wrong(file, content, words, tmp_path):
    for name in (CONFIG, ARRAYS):
        (tmp_path / name).write_bytes(content if name == file else WHOLE["lora"][name])
    says(tmp_path, words)


def test_a_configuration_that_is_no_object_is_refused(tmp_path):
    (tmp_path / ARRAYS).write_bytes(WHOLE["lora"][ARRAYS])
    (tmp_path / CONFIG).write_text("[1]")
    says(tmp_path, rf"{CONFIG} must hold an object, got \[1\]")


# Settings.


def settings(tmp_path, **changes):
    config = json.loads(WHOLE["lora_float32"][CONFIG])
    (tmp_path / CONFIG).write_text(json.dumps({**config, **changes}))
    (tmp_path / ARRAYS).write_bytes(WHOLE["lora_float32"][ARRAYS])
    return tmp_path


@pytest.mark.parametrize("start", ["mica", "MICA", "Gaussian", "GAUSSIAN", "eva", "orthogonal", ""])
def test_a_start_that_leaves_the_weight_alone_has_no_part_in_the_map(start, tmp_path):
    attached = read_peft(settings(tmp_path, init_lora_weights=start), WEIGHTS)
    assert list(attached.adapters) == ["layers.0.W", "layers.2.W"]


@pytest.mark.parametrize("start", ["pissa", "PiSSA_niter_4", "olora", "corda", "lora_ga", "loftq"])
def test_a_start_that_changes_the_weight_is_refused_with_what_to_do(start, tmp_path):
    folder = settings(tmp_path, init_lora_weights=start)
    advice = "path_initial_model_for_weight_conversion saves PiSSA, OLoRA and CorDA as LoRA"
    says(folder, f"changes W too: PEFT's {advice}", [read])


def test_a_setting_that_is_not_known_is_named_with_both_versions(tmp_path):
    folder = settings(tmp_path, something_new=64, peft_version="0.99.1")
    says(
        folder,
        r"something_new = 64, which no .* \(PEFT 0.21 is known, the file is of 0.99.1\)",
        [read],
    )


def test_another_method_is_named_before_its_settings(tmp_path):
    folder = settings(tmp_path, peft_type="IA3", feedforward_modules=["fc1"])
    says(folder, "has peft_type = 'IA3': LORA and HRA are read here", [read])
    folder = settings(tmp_path, peft_type=None)
    says(folder, "has peft_type = None: LORA and HRA are read here", [read])


@pytest.mark.parametrize("patterns", ["rank_pattern", "alpha_pattern"])
def test_patterns_that_are_a_list_are_refused_by_name(patterns, tmp_path):
    folder = settings(tmp_path, **{patterns: ["layers.0"]})
    says(folder, rf"{patterns} = \['layers.0'\], not \{{pattern: number\}}", [read])


def test_what_attach_refuses_is_said_with_the_folder(tmp_path):
    """Vectors that cannot be orthogonal, and weights that are no finite floats."""
    strict = {"peft_type": "HRA", "r": 6, "apply_GS": True}
    (tmp_path / CONFIG).write_text(json.dumps(strict))
    U = {"base_model.model.layers.0.hra_u": np.ones((5, 6))}
    (tmp_path / ARRAYS).write_bytes(pack(U))
    says(tmp_path, r"HRAStrict\(rank=6\) on 'layers.0.W': rank must be", [read])
    W = WEIGHTS["layers.0.W"]
    for wrong, words in ((W * np.nan, "W must be finite"), (W.astype(int), "W must be float32")):
        with pytest.raises(ValueError, match=rf"^folder .* on 'layers.0.W': {words}"):
            read_peft(DATA / "lora", {**WEIGHTS, "layers.0.W": wrong})


def test_a_negative_alpha_says_where_its_sign_can_go(tmp_path):
    says(settings(tmp_path, lora_alpha=-5), "got -5: the sign can go into B: negate lora_B", [read])
    says(settings(tmp_path, lora_alpha=True), "alpha must be a positive number.*, got True", [read])


@pytest.mark.parametrize("rank", [9, 40])
def test_a_rank_above_both_sides_of_the_weight_is_written_and_read(rank, rng, tmp_path):
    attached = attach(WEIGHTS, {"layers.*.W": LoRA(rank, alpha=3)}, rng=rng)
    for own in attached.params.values():
        own["B"] += rng.standard_normal(own["B"].shape)
    write_peft(tmp_path, attached)
    again = read_peft(tmp_path, WEIGHTS)
    assert again.adapters == attached.adapters
    assert relative(mlp(again.bind(), INPUTS), mlp(attached.bind(), INPUTS)) == 0.0
    assert relative(mlp(again.merge(), INPUTS), mlp(attached.bind(), INPUTS)) < 1e-12


# What the configuration says of the base model.

ABOUT = {"base_model_name_or_path": "a/b", "task_type": "SEQ_CLS", "revision": "main"}


def test_what_is_said_about_the_base_model_is_kept(rng, tmp_path):
    attached = attach(WEIGHTS, {"layers.0.W": LoRA(2)}, rng=rng)
    write_peft(tmp_path, attached, about=ABOUT)
    config, _ = open_checkpoint(tmp_path)
    assert {word: config[word] for word in ABOUT} == ABOUT
    write_peft(tmp_path / "again", read_peft(tmp_path, WEIGHTS), about=config)
    assert open_checkpoint(tmp_path / "again")[0] == config


def test_of_a_whole_configuration_only_what_is_about_the_base_model_is_kept(rng, tmp_path):
    whole = {**json.loads(WHOLE["patterns"][CONFIG]), **ABOUT}
    write_peft(tmp_path, attach(WEIGHTS, {"layers.0.W": LoRA(2)}, rng=rng), about=whole)
    config, _ = open_checkpoint(tmp_path)
    assert "rank_pattern" not in config
    assert config["r"] == 2
    assert config["auto_mapping"] == whole["auto_mapping"]
    assert config["task_type"] == "SEQ_CLS"


def test_what_is_said_about_nothing_is_refused(rng, tmp_path):
    attached = attach(WEIGHTS, {"layers.0.W": LoRA(2)}, rng=rng)
    with pytest.raises(
        ValueError, match=r"^about must have settings such as .*, got \['task_typ'\]"
    ):
        write_peft(tmp_path, attached, about={"task_typ": "SEQ_CLS"})
    with pytest.raises(ValueError, match=r"^about must be a dict, such as a configuration, got "):
        write_peft(tmp_path, attached, about="SEQ_CLS")
    assert list(tmp_path.iterdir()) == []


# Names.


def test_names_that_do_not_match_are_short_and_say_what_they_share(rng, tmp_path):
    layers = [f"model.layers.{i}.self_attn.q_proj" for i in range(128)]
    weights = {f"{layer}.weight": rng.standard_normal((3, 3)) for layer in layers}
    write_peft(tmp_path, attach(weights, {"*": LoRA(1)}, rng=rng))
    short = {name.removeprefix("model."): W for name, W in weights.items()}
    message = (
        r"has 'model.layers.0.self_attn.q_proj', .* … \(128 in all\), but the layers are "
        r"'layers.0.self_attn.q_proj', .* … \(128 in all\): layer_of must give "
        r"'model.layers.0.self_attn.q_proj' for 'layers.0.self_attn.q_proj'$"
    )
    with pytest.raises(ValueError, match=message) as refused:
        read_peft(tmp_path, short)
    assert len(str(refused.value)) < 700
    attached = read_peft(tmp_path, short, layer_of=lambda name: f"model.{layer_of(name)}")
    assert len(attached.adapters) == 128


def test_the_end_that_names_have_in_common_is_found():
    assert few("abcde") == "'a', 'b', 'c', … (5 in all)"
    assert few(["a", "b"]) == "'a', 'b'"
    assert nearest("a.b.c", ["x.c", "y.b.c", "b.z"]) == (
        ": 'a.b.c' and 'y.b.c' have the end 'b.c' in common"
    )
    assert nearest("a.b.c", ["c", "b.c"]) == ": layer_of must give 'a.b.c' for 'b.c'"
    assert nearest("b.c", ["c", "a.b.c"]) == ": layer_of must give 'b.c' for 'a.b.c'"
    assert nearest("a.b", ["a.x", "bb"]) == ""


def test_a_tensor_of_another_library_is_named_with_what_to_type():
    class Tensor:
        shape, ndim, dtype = (4, 5), 2, "torch.float32"

    says = r"^weights\['layers.0.W'\] must be of NumPy, got .*Tensor: try np.asarray\(W\)"
    with pytest.raises(ValueError, match=says):
        read_peft(DATA / "lora", {**WEIGHTS, "layers.0.W": Tensor()})


# Killed while writing.

KILLED = """
    import os, sys
    from pathlib import Path
    import numpy as np
    from support.golden import WEIGHTS
    from minilora.adapters import LoRA
    from minilora.attachment import attach
    from minilora.peft import write_peft

    folder, step, failing = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    steps = []

    def watched(function):
        def tried(*arguments, **options):
            steps.append(function)
            if len(steps) == step:
                os._exit(7)
            if len(steps) == failing:
                raise OSError("no space left on device")
            return function(*arguments, **options)
        return tried

    os.replace = watched(os.replace)
    Path.unlink = watched(Path.unlink)
    attached = attach(WEIGHTS, {"layers.*.W": LoRA(2, alpha=9)}, rng=np.random.default_rng(2))
    for own in attached.params.values():
        own["B"] += 2.0
    write_peft(folder, attached)
"""


def run_killed(folder, step, failing):
    """Write a checkpoint in a process that ends at this step, and may fail at one before."""
    code = textwrap.dedent(KILLED)
    arguments = [sys.executable, "-c", code, str(folder), str(step), str(failing)]
    return subprocess.run(arguments, cwd=Path(__file__).parent, capture_output=True, text=True)


@pytest.mark.parametrize("step, failing", [(1, 0), (2, 0), (3, 0), (4, 3), (5, 3), (4, 0)])
def test_a_process_that_is_killed_leaves_no_old_file_beside_a_new_one(step, failing, rng, tmp_path):
    """At every move of a file, and at every move back after a failure."""
    old = attach(WEIGHTS, {"layers.*.W": LoRA(2, alpha=5)}, rng=rng)
    for own in old.params.values():
        own["B"] -= 1.0
    write_peft(tmp_path, old)
    before = {name: (tmp_path / name).read_bytes() for name in (ARRAYS, CONFIG)}
    run_killed(tmp_path / "other", 0, 0)
    after = {name: (tmp_path / "other" / name).read_bytes() for name in (ARRAYS, CONFIG)}
    assert before[ARRAYS] != after[ARRAYS]
    assert before[CONFIG] != after[CONFIG]
    code = run_killed(tmp_path, step, failing).returncode
    assert code == (0 if (step, failing) == (4, 0) else 7)
    left = {name: (tmp_path / name).read_bytes() for name in before if (tmp_path / name).exists()}
    if len(left) == 2:
        assert left in (before, after)
    else:
        assert list(left) == [ARRAYS]
        problem = "writing is not finished or was interrupted"
        says(tmp_path, f"there is no {CONFIG}: {problem}; the files .* in unfinished-…")
        (aside,) = tmp_path.glob("unfinished-*")
        kept = {path.name: path.read_bytes() for path in aside.iterdir()}
        kept |= left
        assert before[CONFIG] in kept.values()
        assert before[ARRAYS] in kept.values() or left[ARRAYS] == before[ARRAYS]
    write_peft(tmp_path, old)
    assert read_peft(tmp_path, WEIGHTS).adapters["layers.0.W"].alpha == 5


def test_a_checkpoint_that_is_written_while_it_is_read_is_no_mixture(tmp_path, rng, monkeypatch):
    """The old configuration and the new arrays would be another model, without an error."""
    old, new = (attach(WEIGHTS, {"layers.*.W": LoRA(2, alpha=alpha)}, rng=rng) for alpha in (5, 9))
    write_peft(tmp_path, old)
    read_bytes = Path.read_bytes

    def written_before(path):
        if path.name == ARRAYS:
            monkeypatch.setattr(Path, "read_bytes", read_bytes)
            write_peft(tmp_path, new)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", written_before)
    with pytest.raises(ValueError, match=f"{CONFIG} changed while {ARRAYS} was read: try again"):
        open_checkpoint(tmp_path)
    assert open_checkpoint(tmp_path)[0]["lora_alpha"] == 9


def test_a_file_that_goes_while_it_is_read_is_said_to_be_unfinished(tmp_path, monkeypatch):
    shutil.copytree(DATA / "lora", tmp_path, dirs_exist_ok=True)
    (tmp_path / "unfinished-1").mkdir()
    is_file = Path.is_file

    def gone_after(path):
        found = is_file(path)
        if path.name == CONFIG:
            path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "is_file", gone_after)
    with pytest.raises(ValueError, match="writing is not finished or was interrupted"):
        open_checkpoint(tmp_path)


def test_what_killed_processes_left_is_removed_by_a_later_write(rng, tmp_path):
    """Only folders with our two files in them, and only when no process can still be writing."""
    attached = attach(WEIGHTS, {"layers.0.W": LoRA(2)}, rng=rng)
    ours = (ARRAYS, CONFIG, f"{ARRAYS}.old", f"{CONFIG}.old")
    contents = {"old": ours, "empty": (), "young": ours, "other": (*ours, "notes.txt")}
    for label, names in contents.items():
        aside = tmp_path / f"unfinished-{label}"
        aside.mkdir()
        for name in names:
            (aside / name).write_bytes(b"")
        hours = 0.9 if label == "young" else 1.1
        os.utime(aside, (time.time() - hours * 3600,) * 2)
    (tmp_path / "unfinished-file").write_bytes(b"")
    write_peft(tmp_path, attached)
    left = sorted(path.name for path in tmp_path.glob("unfinished-*"))
    assert left == ["unfinished-file", "unfinished-other", "unfinished-young"]
    assert len(list((tmp_path / "unfinished-other").iterdir())) == 5


def test_a_header_that_claims_too_much_is_no_format_at_all(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    says(tmp_path, f"there is no {CONFIG}, but 'model.safetensors'")


def test_what_is_read_can_be_written_to(rng, tmp_path):
    """In float32, as the file has it, a view of the file's bytes could not."""
    weights = {"a.W": np.ones((3, 4), np.float32)}
    write_peft(tmp_path, attach(weights, {"*": LoRA(2)}, rng=rng))
    assert all(
        array.flags.writeable for array in read_peft(tmp_path, weights).params["a.W"].values()
    )
