"""Broken checkpoints: each loads to what it says, or is a ValueError, and takes little memory."""

import json
import shutil
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.broken_checkpoints import HEADER, REST, TEXT, broken_arrays, broken_configs
from support.checkpoints import WHOLE, assembled, decoded, taken
from support.golden import DATA, WEIGHTS

from minilora.adapters import HRA, Full, HRAStrict, LoRA
from minilora.attachment import attach
from minilora.peft import read_peft, write_peft
from minilora.peft.checkpoint import ARRAYS
from minilora.peft.settings import CONFIG

MOST = 2_000_000  # bytes of memory to read a checkpoint of 2,000


def loads(folder, name, files):
    """Whether these two files load. If so to the arrays that they say, else with a ValueError."""
    for file, content in files.items():
        Path(folder, file).write_bytes(content)
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    try:
        attached = read_peft(folder, WEIGHTS, fan_in_fan_out=False)
    except ValueError as error:
        assert len(str(error)) < 3000
        return False
    finally:
        assert tracemalloc.get_traced_memory()[1] - before < MOST
    config, arrays = json.loads(files[CONFIG]), decoded(files[ARRAYS])
    for key, own in attached.params.items():
        layer, adapter = key.removesuffix(".W"), attached.adapters[key]
        prefix = f"base_model.model.{layer}"
        if isinstance(adapter, Full):
            pairs = [(own["W"], array) for array in taken(arrays, key)]
            assert pairs
        elif config["peft_type"] == "HRA":
            assert isinstance(adapter, HRAStrict if config.get("apply_GS") else HRA)
            pairs = [(own["U"], arrays.pop(f"{prefix}.hra_u"))]
        else:
            pairs = [(own[letter], arrays.pop(f"{prefix}.lora_{letter}.weight")) for letter in "AB"]
            alpha = config["lora_alpha"]
            if name == "patterns":
                by_layer = dict(config["alpha_pattern"])
                chosen = {
                    "layers.0": by_layer.get("layers.0"),
                    "layers.2": by_layer.get("^layers.2"),
                }
                alpha = chosen.get(layer) or alpha
            root = adapter.rank**0.5 if config.get("use_rslora") else adapter.rank
            assert adapter.scale == pytest.approx(alpha / root, rel=1e-12)
        for found, expected in pairs:
            np.testing.assert_array_equal(found, expected)
            assert np.all(np.isfinite(found))
    assert not arrays
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder to break files in, with memory watched."""
    tracemalloc.start()
    yield tmp_path_factory.mktemp("broken")
    tracemalloc.stop()


@pytest.mark.parametrize("name", WHOLE)
def test_the_unbroken_checkpoints_load(name, folder):
    assert loads(folder, name, WHOLE[name])


def damaged(rng, content):
    """The bytes with one to three accidents in them."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        i, j = sorted(rng.integers(len(content) + 1, size=2))
        accident = rng.integers(8)
        if accident == 0 and i < len(content):
            content[i] ^= 1 << rng.integers(8)
        elif accident == 1 and i < len(content):
            content[i] = rng.integers(256)
        elif accident == 2:
            del content[i:]
        elif accident == 3:
            content += rng.bytes(rng.integers(1, 40))
        elif accident == 4:
            del content[i : min(j, i + 20)]
        elif accident == 5:
            content[i:i] = content[i : min(j, i + 20)]
        elif accident == 6 and i < len(content):
            content[i] = rng.choice(list(b'0123456789-.eE"[]{},: ntf'))
        elif rng.integers(2):
            content[:8] = struct.pack("<Q", int(2 ** rng.uniform(0, 64)) % 2**64)
    return bytes(content)


@given(st.integers(0, 2**32 - 1))
def test_random_damage_is_a_value_error_or_changes_what_the_file_says(folder, seed):
    """1,020 files, and in the thorough profile 34,000; in one part or the other of each kind."""
    rng = np.random.default_rng(seed)
    for _ in range(17):
        name = str(rng.choice(list(WHOLE)))
        files = dict(WHOLE[name])
        broken = ARRAYS if rng.random() < 0.7 else CONFIG
        files[broken] = damaged(rng, files[broken])
        loads(folder, name, files)


def test_what_is_wrong_in_a_known_way_is_a_value_error(folder):
    """More than 300 files, each wrong in one way: lengths, offsets, shapes, dtypes, names …"""
    whole = WHOLE["lora_float32"]
    assert loads(folder, "lora_float32", {**whole, ARRAYS: assembled(HEADER, REST)})
    trials = [(what, {**whole, ARRAYS: content}) for what, content in broken_arrays().items()]
    trials += [(what, {**whole, CONFIG: content}) for what, content in broken_configs().items()]
    assert len(trials) > 300
    assert [what for what, files in trials if loads(folder, "lora_float32", files)] == []


def test_what_looks_odd_and_is_right_loads(folder):
    """Any order, spaces, any metadata, settings without effect, the least configuration."""
    whole = WHOLE["lora_float32"]
    reversed_header = json.dumps(dict(reversed(HEADER.items())), indent=4).encode()
    for header in (TEXT + b" " * 99, b" \n" + TEXT, reversed_header):
        assert loads(folder, "lora_float32", {**whole, ARRAYS: assembled(header, REST)})
    for metadata in (b"5", b"null", b'{"format": "np"}', b'{"a": [1, 2]}'):
        header = b'{"__metadata__": ' + metadata + b", " + TEXT[1:]
        assert loads(folder, "lora_float32", {**whole, ARRAYS: assembled(header, REST)})
    least = {"peft_type": "LORA", "r": 2, "lora_alpha": 5}
    odd = {"lora_dropout": 0.1, "use_dora": False, "something_new": None, "bias": "none"}
    elsewhere = {
        "rank_pattern": {"ayers.0": 1, "layers": 3, "layers.0.": 4, "^0": 5},
        "alpha_pattern": {"s.0": 1, "2x": 3},
    }
    for extra in (
        {},
        {**odd, "rank_pattern": None},
        elsewhere,
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": False},
        {"lora_alpha": 0.5},
    ):
        config = json.dumps({**least, **extra}).encode()
        assert loads(folder, "lora_float32", {**whole, CONFIG: config})


def test_a_huge_rank_of_hra_takes_no_memory(folder):
    config = {"peft_type": "HRA", "r": 10**9}
    assert not loads(folder, "hra", {**WHOLE["hra"], CONFIG: json.dumps(config).encode()})


@pytest.mark.parametrize("word", ["r", "lora_alpha"])
def test_what_peft_would_fill_in_with_8_is_a_value_error(word, rng, tmp_path):
    weights = {"layers.0.W": rng.standard_normal((9, 9))}
    attached = attach(weights, {"*": LoRA(8)}, rng=rng)
    write_peft(tmp_path, attached, attached.params)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config.pop(word) == 8
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"^folder .*(lora_alpha|rank must be)"):
        read_peft(tmp_path, weights)


def test_hra_without_its_rank_is_a_value_error_too(tmp_path):
    shutil.copytree(DATA / "hra", tmp_path, dirs_exist_ok=True)
    (tmp_path / CONFIG).write_text('{"peft_type": "HRA"}')
    with pytest.raises(ValueError, match=r"^folder .* rank must be"):
        read_peft(tmp_path, WEIGHTS)


def test_parameters_too_large_for_the_weights_are_a_value_error(rng, tmp_path):
    attached = attach(WEIGHTS, {"layers.0.W": LoRA(2)}, rng=rng)
    attached.params["layers.0.W"]["A"][0, 0] = 1e39
    write_peft(tmp_path, attached)
    assert read_peft(tmp_path, WEIGHTS).params["layers.0.W"]["A"][0, 0] == 1e39
    with pytest.raises(ValueError, match="finite numbers"):
        read_peft(tmp_path, {name: W.astype(np.float32) for name, W in WEIGHTS.items()})


@pytest.mark.parametrize("file", [CONFIG, ARRAYS])
def test_a_file_that_is_not_there_is_named(file, folder, tmp_path):
    loads(tmp_path, "lora", WHOLE["lora"])
    (tmp_path / file).unlink()
    with pytest.raises(ValueError, match=rf"^folder .*{file}"):
        read_peft(tmp_path, WEIGHTS)
    (tmp_path / file).mkdir()
    with pytest.raises(ValueError, match=rf"^folder .*{file}"):
        read_peft(tmp_path, WEIGHTS)


@pytest.mark.parametrize("folder", [None, 5, b"\0", ["a"]])
def test_what_is_no_path_is_no_checkpoint(folder):
    with pytest.raises(ValueError, match=r"^folder .* is not a checkpoint of LoRA or HRA"):
        read_peft(folder, WEIGHTS)


def test_a_checkpoint_of_another_model_is_a_value_error_that_names_the_layers(rng):
    names = r"^folder .*has 'layers\.2', but the layers are 'layers\.0'"
    with pytest.raises(ValueError, match=names):
        read_peft(DATA / "lora", {"layers.0.W": WEIGHTS["layers.0.W"]})
    needed = r"layers\.0 has an adapter for shape \(4, 5\), the weight has \(4, 6\)$"
    with pytest.raises(ValueError, match=needed):
        read_peft(DATA / "lora", {**WEIGHTS, "layers.0.W": rng.standard_normal((4, 6))})
    nan = r"^folder .*: LoRA\(rank=2, alpha=5\) on 'layers\.0\.W': W .* holds NaN"
    with pytest.raises(ValueError, match=nan):
        read_peft(DATA / "lora", {**WEIGHTS, "layers.0.W": np.full((4, 5), np.nan)})


@pytest.mark.parametrize("weights", [None, [], "weights", 5])
def test_weights_must_be_a_dict(weights):
    with pytest.raises(ValueError, match=r"^weights must be a dict"):
        read_peft(DATA / "lora", weights)


def test_an_attached_in_the_place_of_weights_is_refused_with_what_to_type(rng):
    attached = attach(WEIGHTS, {"layers.0.W": LoRA(2)}, rng=rng)
    with pytest.raises(ValueError, match=r"^weights must be a dict"):
        read_peft(DATA / "lora", attached)
