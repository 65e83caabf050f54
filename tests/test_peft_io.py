"""The bridge to PEFT without PEFT: checkpoints that it made, what is written here, and thousands of broken files."""

import json
import os
import shutil
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from claims import claim, exactly, within
from contract import moved
from golden import BRIDGE, DATA, INPUTS, WEIGHTS
from hypothesis import given
from hypothesis import strategies as st

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attach import attach, describe, kind
from minilora.models.mlp import mlp
from minilora.models.transformer import init_transformer
from minilora.peft_io import CONFIG, NUMBERS, pack, read_peft, unpack, write_peft
from minilora.quantize import quantize
from minilora.scaling import alpha_over_sqrt_rank

OUTPUTS = {name: np.array(rows) for name, rows in json.loads((DATA / "outputs.json").read_text()).items()}
FORMATS = {"F64": "d", "F32": "f", "F16": "e", "BF16": "f"}


def decoded(content):
    """The arrays of a safetensors file, read by the letter of the format and with none of the library's code."""
    (length,) = struct.unpack("<Q", content[:8])
    header, used = json.loads(content[8 : 8 + length]), 8 + length
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        start, stop = (8 + length + offset for offset in entry["data_offsets"])
        raw, used = content[start:stop], used + stop - start
        if entry["dtype"] == "BF16":
            raw = b"".join(b"\0\0" + raw[i : i + 2] for i in range(0, len(raw), 2))
        letter = FORMATS[entry["dtype"]]
        values = struct.unpack(f"<{len(raw) // struct.calcsize(letter)}{letter}", raw)
        arrays[name] = np.array(values).reshape(entry["shape"])
    assert used == len(content)
    return arrays


def relative(y, reference):
    return np.max(np.abs(y - reference)) / np.max(np.abs(reference))


# Checkpoints that PEFT made.


@claim("H3", BRIDGE, "… the checkpoints in tests/data, with the outputs that PEFT had")
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_checkpoint_of_peft_computes_here_what_it_computes_there(name):
    """LoRA, rsLoRA, patterns, GPT-2's orientation, HRA even, odd and strict; 64, 32 and 16 bits; output in float64."""
    attached = read_peft(DATA / name, WEIGHTS)
    within(relative(mlp(attached.bind(attached.params), INPUTS), OUTPUTS[name]), 1e-12)
    within(relative(mlp(attached.merge(attached.params), INPUTS), OUTPUTS[name]), 1e-12)
    assert relative(mlp(WEIGHTS, INPUTS), OUTPUTS[name]) > 1e-3


@pytest.mark.parametrize(
    "name, adapters",
    [
        ("lora", {"layers.0.W": LoRA(2, 5), "layers.2.W": LoRA(2, 5)}),
        ("rslora", {f"layers.{i}.W": LoRA(2, 5, alpha_over_sqrt_rank) for i in (0, 2)}),
        ("fan_in_fan_out", {"layers.1.W": LoRA(2, 3)}),
        ("hra", {"layers.0.W": HRA(4), "layers.2.W": HRA(4)}),
        ("hra_odd", {"layers.0.W": HRA(3, odd=True), "layers.2.W": HRA(3, odd=True)}),
        ("hra_apply_gs", {"layers.0.W": HRAStrict(2), "layers.2.W": HRAStrict(2)}),
        (
            "patterns",
            {
                "layers.0.W": LoRA(3, 0.5, alpha_over_sqrt_rank),
                "layers.1.W": LoRA(1, 5, alpha_over_sqrt_rank),
                "layers.2.W": LoRA(1, 9, alpha_over_sqrt_rank),
            },
        ),
    ],
)
def test_the_configuration_becomes_adapters(name, adapters):
    assert read_peft(DATA / name, WEIGHTS).adapters == adapters


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_numbers_are_those_of_the_file(name):
    """Exactly, for every width is a subset of float64."""
    expected = decoded((DATA / name / NUMBERS).read_bytes())
    params = read_peft(DATA / name, WEIGHTS).params
    endings = {"A": "lora_A.weight", "B": "lora_B.weight", "U": "hra_u"}
    found = {
        f"base_model.model.{key.removesuffix('.W')}.{endings[letter]}": array
        for key, own in params.items()
        for letter, array in own.items()
    }
    assert found.keys() == expected.keys()
    for key, array in found.items():
        np.testing.assert_array_equal(array, expected[key])
        assert array.dtype == np.float64


def test_sixteen_bits_are_the_same_numbers_rounded():
    exact = read_peft(DATA / "lora", WEIGHTS).params["layers.0.W"]["A"]
    for name, digits in (("lora_float32", 24), ("lora_float16", 11), ("lora_bfloat16", 8)):
        rounded = read_peft(DATA / name, WEIGHTS).params["layers.0.W"]["A"]
        gap = np.max(np.abs(rounded - exact) / np.abs(exact))
        assert 2.0 ** -(digits + 3) < gap <= 2.0**-digits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_numbers_take_the_dtype_of_their_weight(dtype):
    """… so that float32 in gives float32 out, whatever the file is in."""
    weights = {name: W.astype(dtype) for name, W in WEIGHTS.items()}
    for name in ("lora", "lora_bfloat16", "hra"):
        attached = read_peft(DATA / name, weights)
        y = mlp(attached.bind(attached.params), INPUTS.astype(dtype))
        assert y.dtype == attached.merge(attached.params)["layers.0.W"].dtype == dtype
        assert relative(y, OUTPUTS[name]) < 1e-4


def test_an_attached_checkpoint_can_be_trained_on(rng):
    attached = read_peft(DATA / "lora_float32", {**WEIGHTS, "layers.0.W": quantize(WEIGHTS["layers.0.W"])})
    attached.params["layers.0.W"]["A"] += 1
    assert attached.trained == 2 * (5 + 4) + 2 * (4 + 3)
    assert mlp(attached.bind(attached.params), INPUTS).shape == (3, 3)


@pytest.mark.parametrize(
    "name, says",
    [
        ("dora", "use_dora = True"),
        ("modules_to_save", "modules_to_save = ['layers.2']"),
        ("lora_bias", "lora_bias = True"),
        ("bias", "bias = 'lora_only'"),
        ("convolution", "not {'A': (1, 2, 2, 2), 'B': (3, 1, 1, 1)}"),
    ],
)
def test_what_no_adapter_here_can_be_is_refused_by_name(name, says):
    with pytest.raises(ValueError) as refused:
        read_peft(DATA / "refused" / name, WEIGHTS)
    assert says in str(refused.value)


# What is written here, read again.

ADAPTERS = (
    LoRA(2),
    LoRA(3, alpha=0.7),
    LoRA(3, alpha=5, scaling=alpha_over_sqrt_rank),
    LoRA(np.int64(1), alpha=np.float64(2)),
    SBoRAFA(2, alpha=3.0),
    SBoRAFA(3, cols=(3, 0, 1)),
    SBoRAFB(3, alpha=0.5, rows=(2, 0, 1)),
    CondLoRA(2, alpha=3.0),
    HRA(4),
    HRA(3, odd=True),
    HRAStrict(3),
)


def trained(weights, adapters, rng, key=lambda name: name):
    attached = attach(weights, adapters, rng, key=key)
    return attached, {shared: moved(rng, own) for shared, own in attached.params.items()}


@claim("H4", BRIDGE, "what is written and read again computes the same, to 1e-12")
@pytest.mark.parametrize("adapter", ADAPTERS, ids=describe)
def test_what_is_written_and_read_again_computes_the_same(adapter, rng, tmp_path):
    """For every adapter but Full, on all layers, in float64; LoRA and HRA keep every bit of their numbers."""
    attached, params = trained(WEIGHTS, {"layers.*.W": adapter}, rng)
    write_peft(tmp_path, attached, params)
    again = read_peft(tmp_path, WEIGHTS)
    y = mlp(attached.bind(params), INPUTS)
    within(relative(mlp(again.bind(again.params), INPUTS), y), 1e-12)
    within(relative(mlp(again.merge(again.params), INPUTS), y), 1e-12)
    if isinstance(adapter, (LoRA, HRA, HRAStrict)):
        for name, own in params.items():
            exactly(all(np.array_equal(own[letter], again.params[name][letter]) for letter in own))
    assert sorted(os.listdir(tmp_path)) == [CONFIG, NUMBERS]


def test_layers_keep_a_rank_and_an_alpha_of_their_own(rng, tmp_path):
    """layers.1 is at the end of more.layers.1, and the start of layers.10: each has its own all the same."""
    adapters = {"layers.1.W": LoRA(2), "layers.10.W": LoRA(1, 3.0), "more.layers.1.W": LoRA(3), "layersX1.W": LoRA(4)}
    weights = {name: rng.standard_normal((5, 4)) for name in adapters}
    attached, params = trained(weights, adapters, rng)
    write_peft(tmp_path, attached, params)
    again = read_peft(tmp_path, weights)
    assert {name: (adapter.rank, adapter.scale) for name, adapter in again.adapters.items()} == {
        name: (adapter.rank, adapter.scale) for name, adapter in adapters.items()
    }
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["rank_pattern"] == {r"^layers\.10": 1, r"^more\.layers\.1": 3, "^layersX1": 4}
    assert config["target_modules"] == r"layers\.1|layers\.10|more\.layers\.1|layersX1"


def test_sboras_fixed_matrix_is_made_of_zeros_and_ones(rng, tmp_path):
    attached, params = trained(WEIGHTS, {"layers.0.W": SBoRAFA(2, cols=(4, 1)), "layers.1.W": SBoRAFB(1)}, rng)
    write_peft(tmp_path, attached, params)
    arrays = decoded((tmp_path / NUMBERS).read_bytes())
    np.testing.assert_array_equal(arrays["base_model.model.layers.0.lora_A.weight"], np.eye(5)[[4, 1]])
    B = arrays["base_model.model.layers.1.lora_B.weight"]
    assert B.shape == (4, 1)
    assert B[attached.frozen["layers.1.W"]["rows"][0], 0] == B.sum() == 1


@pytest.mark.parametrize("adapter", ADAPTERS, ids=describe)
def test_float32_is_written_as_float32(adapter, rng, tmp_path):
    attached = attach({name: W.astype(np.float32) for name, W in WEIGHTS.items()}, {"layers.1.W": adapter}, rng)
    write_peft(tmp_path, attached, attached.params)
    assert {array.dtype for array in unpack((tmp_path / NUMBERS).read_bytes()).values()} == {np.dtype(np.float32)}


def test_condlora_that_is_shared_is_written_layer_by_layer(rng, tmp_path):
    weights = {f"layers.{i}.q.W": rng.standard_normal((4, 4)) for i in range(3)}
    attached, params = trained(weights, {"*": CondLoRA(2)}, rng, key=kind)
    write_peft(tmp_path, attached, params)
    again = read_peft(tmp_path, weights)
    merged = attached.merge(params)
    for name, W in again.merge(again.params).items():
        np.testing.assert_allclose(W, merged[name], rtol=0, atol=1e-12)


def test_the_layers_of_peft_may_have_other_names(rng, tmp_path):
    """One dict, or one function, serves both ways; names that it leaves out are no layers of PEFT."""
    weights = init_transformer(rng, 11, 4, 8, 2)
    parts = {"q": "self_attn.q_proj", "v": "self_attn.v_proj"}
    layer_of = {
        f"blocks.{i}.attention.{part}.W": f"model.layers.{i}.{name}" for i in range(2) for part, name in parts.items()
    }
    attached, params = trained(weights, {"*.attention.[qv].W": LoRA(2)}, rng)
    write_peft(tmp_path, attached, params, layer_of=layer_of.get)
    assert "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight" in unpack((tmp_path / NUMBERS).read_bytes())
    again = read_peft(tmp_path, weights, layer_of=layer_of.get)
    for name, own in params.items():
        np.testing.assert_array_equal(again.params[name]["A"], own["A"])
    with pytest.raises(ValueError, match=r"but the layers are \["):
        read_peft(tmp_path, weights)


def test_names_that_end_as_in_torch_are_layers_too(rng, tmp_path):
    weights = {"encoder.layer.0.query.weight": rng.standard_normal((4, 3))}
    attached, params = trained(weights, {"*": LoRA(1)}, rng)
    write_peft(tmp_path, attached, params)
    assert "base_model.model.encoder.layer.0.query.lora_A.weight" in decoded((tmp_path / NUMBERS).read_bytes())
    assert read_peft(tmp_path, weights).trained == 7


def test_writing_changes_nothing_in_memory(rng, tmp_path):
    attached, params = trained(WEIGHTS, {"layers.*.W": LoRA(2)}, rng)
    before = {key: {letter: array.copy() for letter, array in own.items()} for key, own in params.items()}
    write_peft(tmp_path / "new" / "folder", attached, params)
    for key, own in before.items():
        for letter, array in own.items():
            np.testing.assert_array_equal(params[key][letter], array)


@pytest.mark.parametrize(
    "adapters, says",
    [
        ({"layers.0.W": Full()}, r"^attached has Full\(\), of which PEFT has no form"),
        ({"layers.0.W": HRA(2), "layers.1.W": HRA(4)}, "^attached must hold LoRA alone, or HRA of one rank"),
        ({"layers.0.W": HRA(2), "layers.1.W": HRAStrict(2)}, "^attached must hold LoRA alone, or HRA of one rank"),
        ({"layers.0.W": HRA(2), "layers.1.W": LoRA(2)}, "^attached must hold LoRA alone, or HRA of one rank"),
        ({"layers.0.W": LoRA(2), "layers.1.W": HRA(2)}, "^attached must hold LoRA alone, or HRA of one rank"),
    ],
)
def test_what_peft_has_no_room_for_is_a_value_error_and_nothing_is_written(adapters, says, rng, tmp_path):
    attached = attach(WEIGHTS, adapters, rng)
    with pytest.raises(ValueError, match=says):
        write_peft(tmp_path / "folder", attached, attached.params)
    assert not (tmp_path / "folder").exists()


def test_the_params_of_something_else_are_a_value_error(rng, tmp_path):
    attached = attach(WEIGHTS, {"layers.0.W": LoRA(2)}, rng)
    with pytest.raises(ValueError, match=r"^params has the keys"):
        write_peft(tmp_path, attached, {"layers.1.W": attached.params["layers.0.W"]})


@pytest.mark.parametrize("step", range(6))
def test_when_writing_fails_the_old_checkpoint_stays_whole(step, rng, tmp_path, monkeypatch):
    """The disk is full, or a file cannot be put in its place, at any step: both old files stay as they were."""
    write_peft(tmp_path, *trained(WEIGHTS, {"layers.*.W": LoRA(2)}, rng))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    attached, params = trained(WEIGHTS, {"layers.*.W": LoRA(3, alpha=1)}, rng)
    steps = []

    def failing(function):
        def tried(*arguments):
            steps.append(function)
            if len(steps) == step + 1:
                raise OSError("no space left on device")
            return function(*arguments)

        return tried

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing(os.replace))
        patch.setattr(Path, "write_bytes", failing(Path.write_bytes))
        with pytest.raises(OSError, match="no space left"):
            write_peft(tmp_path, attached, params)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_peft(tmp_path, attached, params)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()}.keys() == before.keys()
    assert read_peft(tmp_path, WEIGHTS).adapters["layers.0.W"].rank == 3


# The safetensors format.


def assembled(header, numbers):
    """The bytes of a file with this header, right or wrong: a dict, or bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def test_a_file_is_what_the_format_says_byte_for_byte():
    text = b'{"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}}'
    text += b" " * (-len(text) % 8)
    numbers = struct.pack("<2f", 1.5, -2.0)
    assert pack({"a": np.array([[1.5], [-2.0]], np.float32)}) == struct.pack("<Q", len(text)) + text + numbers


@given(st.integers(0, 2**32 - 1))
def test_arrays_come_back_from_the_format_as_they_were(seed):
    """Any names, shapes, dtypes and memory orders; and by the letter of the format too."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for i in range(rng.integers(1, 6)):
        shape = rng.integers(1, 5, size=rng.integers(0, 4))
        dtype = (np.float16, np.float32, np.float64)[rng.integers(3)]
        arrays[f"{rng.integers(9)} ü\n{i}"] = rng.standard_normal(shape).astype(dtype).T
    content = pack(arrays)
    assert struct.unpack("<Q", content[:8])[0] % 8 == 0
    for read in (unpack(content), decoded(content)):
        assert list(read) == list(arrays)
        assert all(np.array_equal(read[name], array) for name, array in arrays.items())
    assert all(unpack(content)[name].dtype == array.dtype for name, array in arrays.items())


def test_every_bfloat16_is_read_as_the_upper_half_of_a_float32():
    bits = np.arange(2**16, dtype=np.uint16)
    content = assembled({"a": {"dtype": "BF16", "shape": [2**16], "data_offsets": [0, 2**17]}}, bits.tobytes())
    np.testing.assert_array_equal(unpack(content)["a"].view(np.uint32), bits.astype(np.uint32) << 16)


# Broken files: each loads to what it says, or is a ValueError.

WHOLE = {name: {file: (DATA / name / file).read_bytes() for file in (CONFIG, NUMBERS)} for name in OUTPUTS}
MOST = 2_000_000  # bytes of memory to read a checkpoint of 2,000


def loads(folder, name, files):
    """Whether these two files load. If so to the numbers that they say, else with a ValueError; without much memory."""
    for file, content in files.items():
        Path(folder, file).write_bytes(content)
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    try:
        attached = read_peft(folder, WEIGHTS)
    except ValueError as error:
        assert len(str(error)) < 3000
        return False
    finally:
        assert tracemalloc.get_traced_memory()[1] - before < MOST
    config, arrays = json.loads(files[CONFIG]), decoded(files[NUMBERS])
    for key, own in attached.params.items():
        layer, adapter = key.removesuffix(".W"), attached.adapters[key]
        if config["peft_type"] == "HRA":
            assert isinstance(adapter, HRAStrict if config.get("apply_GS") else HRA)
            pairs = [(own["U"], arrays.pop(f"base_model.model.{layer}.hra_u"))]
        else:
            pairs = [(own[letter], arrays.pop(f"base_model.model.{layer}.lora_{letter}.weight")) for letter in "AB"]
            alpha = config["lora_alpha"]
            if name == "patterns":
                by_layer = dict(config["alpha_pattern"])
                alpha = {"layers.0": by_layer.get("layers.0"), "layers.2": by_layer.get("^layers.2")}.get(
                    layer
                ) or alpha
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
        else:
            content[:8] = struct.pack("<Q", int(2 ** rng.uniform(0, 64)) % 2**64) if rng.integers(2) else content[:8]
    return bytes(content)


@given(st.integers(0, 2**32 - 1))
def test_random_damage_is_a_value_error_or_changes_what_the_file_says(folder, seed):
    """1,020 files, and in the thorough profile 34,000; in one part or the other of each kind of checkpoint."""
    rng = np.random.default_rng(seed)
    for _ in range(17):
        name = str(rng.choice(list(WHOLE)))
        files = dict(WHOLE[name])
        broken = NUMBERS if rng.random() < 0.7 else CONFIG
        files[broken] = damaged(rng, files[broken])
        loads(folder, name, files)


A = "base_model.model.layers.0.lora_A.weight"
HEADER = json.loads(WHOLE["lora_float32"][NUMBERS][8:].split(b"}}")[0] + b"}}")
HEADER.pop("__metadata__")
REST = WHOLE["lora_float32"][NUMBERS][8 + int.from_bytes(WHOLE["lora_float32"][NUMBERS][:8], "little") :]
DEEP = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
NOT_WHOLE = (-1, -4, 1, 4, 10**9, 2**63, 10**30, 0.5, 8.0, True, None, "0", "", [], [0], {}, {"0": 0})


def with_entry(name=A, **changes):
    """The header with one entry changed; ... leaves a part of it out."""
    entry = {word: value for word, value in {**HEADER[name], **changes}.items() if value is not ...}
    return assembled({**HEADER, name: entry}, REST)


def broken_numbers():
    """Files of numbers that are wrong, {what is wrong: bytes}, made from a LoRA of float32."""
    whole = WHOLE["lora_float32"][NUMBERS]
    length, text = int.from_bytes(whole[:8], "little"), json.dumps(HEADER).encode()
    files = {}
    for n in (0, 1, 2, length - 8, length - 1, length + 1, length + 8, len(whole) - 8, len(whole), 2**31, 2**32, 2**63):
        files[f"length {n}"] = struct.pack("<Q", n) + whole[8:]
    files["length 2**64 - 1"] = b"\xff" * 8 + whole[8:]
    for n in (
        0,
        1,
        7,
        8,
        9,
        8 + length // 2,
        8 + length - 1,
        8 + length,
        8 + length + 1,
        len(whole) - 4,
        len(whole) - 1,
    ):
        files[f"cut after {n}"] = whole[:n]
    for more in (b"\0", b"\0" * 4, b"\0" * 8, b" ", whole, b"\0" * 100_000):
        files[f"{len(more)} more bytes, {more[:1]}"] = whole + more
        files[f"{len(more)} bytes between, {more[:1]}"] = whole[: 8 + length] + more + whole[8 + length :]
    start, stop = HEADER[A]["data_offsets"]
    for bad in NOT_WHOLE:
        files[f"start {bad!r}"] = with_entry(data_offsets=[bad, stop])
        files[f"stop {bad!r}"] = with_entry(data_offsets=[start, bad])
        files[f"both {bad!r}"] = with_entry(data_offsets=[bad, bad])
        files[f"offsets {bad!r}"] = with_entry(data_offsets=bad)
        files[f"shape {bad!r}"] = with_entry(shape=bad)
        files[f"side {bad!r}"] = with_entry(shape=[bad, 5])
        files[f"dtype {bad!r}"] = with_entry(dtype=bad)
        files[f"entry {bad!r}"] = assembled({**HEADER, A: bad}, REST)
        files[f"header {bad!r}"] = assembled(json.dumps(bad).encode(), REST)
        files[f"new entry {bad!r}"] = assembled({**HEADER, "a": bad}, REST)
    for offsets in ([stop, start], [start, stop, 1], [start, stop, stop], [start + 4, stop + 4], [float(start), stop]):
        files[f"offsets {offsets}"] = with_entry(data_offsets=offsets)
    for shape in (
        [],
        [10],
        [5, 2],
        [2, -1],
        [-1, 5],
        [2.0, 5],
        ["2", 5],
        [2, 5, 1],
        [1, 2, 5],
        [2, 4],
        [2, 6],
        [[2, 5]],
    ):
        files[f"shape {shape}"] = with_entry(shape=shape)
    for shape in (
        [0, 5],
        [2, 0],
        [2**32, 2**32],
        [2**31, 2**31, 4],
        [1] * 70,
        [2, 5, *[1] * 9],
        ["a", 10**9],
        [9] * 10**5,
    ):
        files[f"shape {str(shape)[:30]}"] = with_entry(shape=shape)
    for dtype in ("F64", "F16", "BF16", "F8_E4M3", "I32", "U8", "BOOL", "f32", "<f4", "F32 ", "float32", "O", "\0"):
        files[f"dtype {dtype!r}"] = with_entry(dtype=dtype)
    for word in ("dtype", "shape", "data_offsets"):
        files[f"no {word}"] = with_entry(**{word: ...})
    files["one word more"] = with_entry(more=1)
    B = A.replace("_A", "_B")
    files["overlap"] = with_entry(B, data_offsets=[stop - 4, stop + 28])
    files["the same numbers twice"] = with_entry(A.replace("0", "2", 1), data_offsets=[start, stop])
    files["an array without numbers"] = assembled(
        {**HEADER, "a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}, REST
    )
    for name in (
        A.removeprefix("base_model.model."),
        A.replace("0", "7"),
        A + ".bias",
        A.replace("lora_A", "lora_E"),
        "",
        "\ud800",
    ):
        renamed = {name if key == A else key: entry for key, entry in HEADER.items()}
        files[f"name {name!r}"] = assembled(renamed, REST)
    files["a layer of hra"] = assembled(
        {A.replace("lora_A.weight", "hra_u") if key == A else key: HEADER[key] for key in HEADER}, REST
    )
    files["no a"] = assembled({key: entry for key, entry in HEADER.items() if key != A}, REST)
    again = json.dumps({A: HEADER[A]}).encode()[1:-1]
    files["a name twice, alike"] = assembled(text[:-1] + b", " + again + b"}", REST)
    files["a name twice, unlike"] = assembled(text[:-1] + b", " + again.replace(b"[2, 5]", b"[5, 2]") + b"}", REST)
    files["a word twice"] = assembled(text.replace(b'"dtype"', b'"dtype": "F16", "dtype"', 1), REST)
    files["metadata twice"] = assembled(b'{"__metadata__": {}, "__metadata__": {}, ' + text[1:], REST)
    for bad in (
        b"",
        b"{",
        b"}",
        b"{}",
        b"{}{}",
        b"nothing",
        text + b"x",
        text[:-1],
        text[:-1] + b",}",
        text + text,
        DEEP,
    ):
        files[f"header of {len(bad)} bytes, {bad[:9]}"] = assembled(bad, REST)
    for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-8-sig"):
        files[encoding] = assembled(text.decode().encode(encoding), REST)
    files["no utf-8"] = assembled(text.replace(b"lora_A", b"lora_\xff"), REST)
    files["an endless number"] = assembled(text.replace(b"[2, 5]", b"[2, " + b"5" * 5000 + b"]"), REST)
    files["no file at all"], files["no arrays"] = b"", assembled({}, b"")
    for value in (np.nan, np.inf, -np.inf):
        for i in (0, len(REST) // 4 - 1):
            numbers = np.frombuffer(REST, "<f4").copy()
            numbers[i] = value
            files[f"{value} at {i}"] = assembled(HEADER, numbers.tobytes())
    return files


def broken_configs():
    """Configurations that are wrong, {what is wrong: bytes}, made from a LoRA with nothing but the necessary."""
    good = {"peft_type": "LORA", "r": 2, "lora_alpha": 5, "target_modules": ["layers.0", "layers.2"]}
    wrong = {
        "r": (0, -1, 1, 3, 2.5, 2.0, 10**9, 10**30, True, "2", "", None, [], [2], {}),
        "lora_alpha": (0, -1, 10**400, True - 1, "5", "", None, [], [5], {}, float("nan"), float("inf"), float("-inf")),
        "peft_type": ("lora", "IA3", "HRA", "", None, 1, [], {}, ["LORA"]),
        "rank_pattern": (
            ["layers.0"],
            "layers.0",
            1,
            {"0": 3},
            {"layers.0": "2"},
            {"0": None},
            {"(": 2},
            {"[": 2},
            {"*": 2},
        ),
        "alpha_pattern": (
            [1],
            "x",
            {"0": 0},
            {"0": "5"},
            {"0": None},
            {"2": []},
            {"(?P<a>x)(?P<a>y)": 1},
            {"x{99999999999}": 1},
        ),
        "bias": ("all", "lora_only", True, ["none"], {"a": 1}),
        "init_lora_weights": ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "mica", ["gaussian"], 2),
    }
    for word in ("use_dora", "lora_bias", "use_qalora", "modules_to_save", "layer_replication", "target_parameters"):
        wrong[word] = (True, ["a"])
    for word in ("trainable_token_indices", "alora_invocation_tokens", "use_bdlora", "loftq_config", "something_new"):
        wrong[word] = ([1], {"a": 1})
    files = {
        f"{word} = {value!r:.20}": json.dumps({**good, word: value}).encode() for word in wrong for value in wrong[word]
    }
    for word in ("peft_type", "r", "lora_alpha"):
        files[f"no {word}"] = json.dumps({key: value for key, value in good.items() if key != word}).encode()
    text = json.dumps(good).encode()
    for bad in (
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"5",
        b'"LORA"',
        text[:-1],
        text + b"}",
        text.replace(b":", b"="),
        DEEP,
    ):
        files[f"{len(bad)} bytes, {bad[:9]}"] = bad
    files["r twice"] = text.replace(b'"r": 2', b'"r": 2, "r": 2')
    files["utf-16"] = text.decode().encode("utf-16")
    files["nested"] = json.dumps({**good, "rank_pattern": {"(" * 5000: 2}}).encode()
    return files


def test_what_is_wrong_in_a_known_way_is_a_value_error(folder):
    """More than 300 files, each wrong in one way: lengths, offsets, shapes, dtypes, names, JSON, numbers, settings."""
    whole, loaded = WHOLE["lora_float32"], []
    assert loads(folder, "lora_float32", {**whole, NUMBERS: assembled(HEADER, REST)})
    numbers, configs = broken_numbers(), broken_configs()
    assert len(numbers) + len(configs) > 300
    loaded += [what for what, content in numbers.items() if loads(folder, "lora_float32", {**whole, NUMBERS: content})]
    loaded += [what for what, content in configs.items() if loads(folder, "lora_float32", {**whole, CONFIG: content})]
    assert loaded == []


def test_what_looks_odd_and_is_right_loads(folder):
    """Names in any order, spaces, metadata of any kind, settings without effect, the least configuration there is."""
    whole, text = WHOLE["lora_float32"], json.dumps(HEADER).encode()
    for header in (text + b" " * 99, b" \n" + text, json.dumps(dict(reversed(HEADER.items())), indent=4).encode()):
        assert loads(folder, "lora_float32", {**whole, NUMBERS: assembled(header, REST)})
    for metadata in (b"5", b"null", b'{"format": "np"}', b'{"a": [1, 2]}'):
        header = b'{"__metadata__": ' + metadata + b", " + text[1:]
        assert loads(folder, "lora_float32", {**whole, NUMBERS: assembled(header, REST)})
    least = {"peft_type": "LORA", "r": 2, "lora_alpha": 5}
    odd = {"lora_dropout": 0.1, "use_dora": False, "something_new": None, "bias": "none", "rank_pattern": None}
    elsewhere = {
        "rank_pattern": {"ayers.0": 1, "layers": 3, "layers.0.": 4, "^0": 5},
        "alpha_pattern": {"s.0": 1, "2x": 3},
    }
    for extra in (
        {},
        odd,
        elsewhere,
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": False},
        {"lora_alpha": 0.5},
    ):
        assert loads(folder, "lora_float32", {**whole, CONFIG: json.dumps({**least, **extra}).encode()})


def test_a_huge_rank_of_hra_takes_no_memory(folder):
    config = {"peft_type": "HRA", "r": 10**9}
    assert not loads(folder, "hra", {**WHOLE["hra"], CONFIG: json.dumps(config).encode()})


@pytest.mark.parametrize("word", ["r", "lora_alpha"])
def test_what_peft_would_fill_in_with_8_is_a_value_error(word, rng, tmp_path):
    weights = {"layers.0.W": rng.standard_normal((9, 9))}
    attached = attach(weights, {"*": LoRA(8)}, rng)
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


def test_numbers_too_large_for_the_weights_are_a_value_error(rng, tmp_path):
    attached, params = trained(WEIGHTS, {"layers.0.W": LoRA(2)}, rng)
    params["layers.0.W"]["A"][0, 0] = 1e39
    write_peft(tmp_path, attached, params)
    assert read_peft(tmp_path, WEIGHTS).params["layers.0.W"]["A"][0, 0] == 1e39
    with pytest.raises(ValueError, match="finite numbers"):
        read_peft(tmp_path, {name: W.astype(np.float32) for name, W in WEIGHTS.items()})


@pytest.mark.parametrize("file", [CONFIG, NUMBERS])
def test_a_file_that_is_not_there_is_named(file, folder, tmp_path):
    loads(tmp_path, "lora", WHOLE["lora"])
    (tmp_path / file).unlink()
    with pytest.raises(ValueError, match=rf"^folder .*{file}"):
        read_peft(tmp_path, WEIGHTS)
    (tmp_path / file).mkdir()
    with pytest.raises(ValueError, match=rf"^folder .*{file}"):
        read_peft(tmp_path, WEIGHTS)


def test_a_checkpoint_of_another_model_is_a_value_error_that_names_the_layers(rng):
    with pytest.raises(ValueError, match=r"^folder .*layers\.2\.lora_A.*but the layers are \['layers\.0'\]"):
        read_peft(DATA / "lora", {"layers.0.W": WEIGHTS["layers.0.W"]})
    with pytest.raises(
        ValueError, match=r"layers\.0: LoRA\(rank=2, alpha=5\) needs {'A': \(2, 6\), 'B': \(4, 2\)} .*'A': \(2, 5\)"
    ):
        read_peft(DATA / "lora", {**WEIGHTS, "layers.0.W": rng.standard_normal((4, 6))})
    with pytest.raises(ValueError, match=r"^LoRA\(rank=2, alpha=5\) on 'layers\.0\.W': W .* holds NaN"):
        read_peft(DATA / "lora", {**WEIGHTS, "layers.0.W": np.full((4, 5), np.nan)})
