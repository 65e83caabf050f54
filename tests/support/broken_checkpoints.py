"""Files of a checkpoint that are wrong in one way each: {what is wrong: bytes}."""

import json
import struct

import numpy as np

from minilora.peft.checkpoint import ARRAYS
from support.checkpoints import WHOLE, assembled

CONTENT = WHOLE["lora_float32"][ARRAYS]
LENGTH = int.from_bytes(CONTENT[:8], "little")
HEADER = json.loads(CONTENT[8 : 8 + LENGTH])
HEADER.pop("__metadata__")
TEXT = json.dumps(HEADER).encode()
REST = CONTENT[8 + LENGTH :]
A = "base_model.model.layers.0.lora_A.weight"
B = "base_model.model.layers.0.lora_B.weight"
START, STOP = HEADER[A]["data_offsets"]
DEEP = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
NO_INTEGER = (0.5, 8.0, True, None, "0", "", [], [0], {}, {"0": 0})
NO_LENGTH = (-1, -4, 1, 4, 10**9, 2**63, 10**30, *NO_INTEGER)


def with_entry(name=A, **changes):
    """The file with one entry of the header changed; ... leaves a part of it out."""
    changed = {**HEADER[name], **changes}
    entry = {word: value for word, value in changed.items() if value is not ...}
    return assembled({**HEADER, name: entry}, REST)


def broken_arrays():
    """Files of arrays, made from a LoRA of float32."""
    return {
        **wrong_lengths(),
        **wrong_values(),
        **wrong_entries(),
        **wrong_names(),
        **wrong_texts(),
        **wrong_parameters(),
    }


def wrong_lengths():
    files = {}
    size = len(CONTENT)
    near = (LENGTH - 8, LENGTH - 1, LENGTH + 1, LENGTH + 8)
    for n in (0, 1, 2, *near, size - 8, size, 2**31, 2**32, 2**63):
        files[f"length {n}"] = struct.pack("<Q", n) + CONTENT[8:]
    files["length 2**64 - 1"] = b"\xff" * 8 + CONTENT[8:]
    middle = (8 + LENGTH // 2, 8 + LENGTH - 1, 8 + LENGTH, 8 + LENGTH + 1)
    for n in (0, 1, 7, 8, 9, *middle, size - 4, size - 1):
        files[f"cut after {n}"] = CONTENT[:n]
    for more in (b"\0", b"\0" * 4, b"\0" * 8, b" ", CONTENT, b"\0" * 100_000):
        what = f"{len(more)}, {more[:1]}"
        files[f"more bytes: {what}"] = CONTENT + more
        files[f"bytes between: {what}"] = CONTENT[: 8 + LENGTH] + more + CONTENT[8 + LENGTH :]
    return files


def wrong_values():
    """Anything at all in the place of every part of the header."""
    files = {}
    for bad in NO_LENGTH:
        files[f"start {bad!r}"] = with_entry(data_offsets=[bad, STOP])
        files[f"stop {bad!r}"] = with_entry(data_offsets=[START, bad])
        files[f"both {bad!r}"] = with_entry(data_offsets=[bad, bad])
        files[f"offsets {bad!r}"] = with_entry(data_offsets=bad)
        files[f"shape {bad!r}"] = with_entry(shape=bad)
        files[f"side {bad!r}"] = with_entry(shape=[bad, 5])
        files[f"dtype {bad!r}"] = with_entry(dtype=bad)
        files[f"entry {bad!r}"] = assembled({**HEADER, A: bad}, REST)
        files[f"header {bad!r}"] = assembled(json.dumps(bad).encode(), REST)
        files[f"new entry {bad!r}"] = assembled({**HEADER, "a": bad}, REST)
    return files


def wrong_entries():
    """Offsets, shapes and dtypes of the right kind that do not fit each other."""
    files = {}
    later = [START + 4, STOP + 4]
    for offsets in (
        [STOP, START],
        [START, STOP, 1],
        [START, STOP, STOP],
        later,
        [float(START), STOP],
    ):
        files[f"offsets {offsets}"] = with_entry(data_offsets=offsets)
    same_size = ([10], [5, 2], [2.0, 5], ["2", 5], [2, 5, 1], [1, 2, 5], [[2, 5]])
    other_size = ([], [2, -1], [-1, 5], [2, 4], [2, 6], [0, 5], [2, 0])
    huge = ([2**32, 2**32], [2**31, 2**31, 4], ["a", 10**9], [9] * 10**5)
    many_axes = ([1] * 70, [2, 5, *[1] * 9])
    for shape in (*same_size, *other_size, *huge, *many_axes):
        files[f"shape {str(shape)[:30]}"] = with_entry(shape=shape)
    others = ("F64", "F16", "BF16", "F8_E4M3", "I32", "U8", "BOOL")
    misspelt = ("f32", "<f4", "F32 ", "float32", "O", "\0")
    for dtype in (*others, *misspelt):
        files[f"dtype {dtype!r}"] = with_entry(dtype=dtype)
    for word in ("dtype", "shape", "data_offsets"):
        files[f"no {word}"] = with_entry(**{word: ...})
    files["one word more"] = with_entry(more=1)
    files["overlap"] = with_entry(B, data_offsets=[STOP - 4, STOP + 28])
    other = A.replace("0", "2", 1)
    files["the same bytes twice"] = with_entry(other, data_offsets=[START, STOP])
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    files["an empty array"] = assembled({**HEADER, "a": empty}, REST)
    return files


def wrong_names():
    files = {}
    for name in (
        A.removeprefix("base_model.model."),
        A.replace("0", "7"),
        A + ".bias",
        A.replace("lora_A", "lora_E"),
        A.replace("lora_A.weight", "hra_u"),
        "",
        "\ud800",
    ):
        renamed = {name if key == A else key: entry for key, entry in HEADER.items()}
        files[f"name {name!r}"] = assembled(renamed, REST)
    without = {key: entry for key, entry in HEADER.items() if key != A}
    files["no A"] = assembled(without, REST)
    again = json.dumps({A: HEADER[A]}).encode()[1:-1]
    unlike = again.replace(b"[2, 5]", b"[5, 2]")
    files["a name twice, alike"] = assembled(TEXT[:-1] + b", " + again + b"}", REST)
    files["a name twice, unlike"] = assembled(TEXT[:-1] + b", " + unlike + b"}", REST)
    word_twice = TEXT.replace(b'"dtype"', b'"dtype": "F16", "dtype"', 1)
    files["a word twice"] = assembled(word_twice, REST)
    metadata_twice = b'{"__metadata__": {}, "__metadata__": {}, ' + TEXT[1:]
    files["metadata twice"] = assembled(metadata_twice, REST)
    return files


def wrong_texts():
    """Headers that are not JSON, or in another encoding."""
    files = {}
    short = (b"", b"{", b"}", b"{}", b"{}{}", b"nothing")
    long = (TEXT + b"x", TEXT[:-1], TEXT[:-1] + b",}", TEXT + TEXT, DEEP)
    for bad in (*short, *long):
        files[f"header of {len(bad)} bytes, {bad[:9]}"] = assembled(bad, REST)
    for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-8-sig"):
        files[encoding] = assembled(TEXT.decode().encode(encoding), REST)
    files["no utf-8"] = assembled(TEXT.replace(b"lora_A", b"lora_\xff"), REST)
    endless = TEXT.replace(b"[2, 5]", b"[2, " + b"5" * 5000 + b"]")
    files["an endless number"] = assembled(endless, REST)
    files["no file at all"] = b""
    files["no arrays"] = assembled({}, b"")
    return files


def wrong_parameters():
    files = {}
    for value in (np.nan, np.inf, -np.inf):
        for i in (0, len(REST) // 4 - 1):
            parameters = np.frombuffer(REST, "<f4").copy()
            parameters[i] = value
            files[f"{value} at {i}"] = assembled(HEADER, parameters.tobytes())
    return files


def broken_configs():
    """Configurations, made from a LoRA with nothing but the necessary."""
    good = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 5,
        "target_modules": ["layers.0", "layers.2"],
    }
    files = {}
    for word, values in wrong_settings().items():
        for value in values:
            files[f"{word} = {value!r:.20}"] = json.dumps({**good, word: value}).encode()
    for word in ("peft_type", "r", "lora_alpha"):
        without = {key: value for key, value in good.items() if key != word}
        files[f"no {word}"] = json.dumps(without).encode()
    text = json.dumps(good).encode()
    short = (b"", b"{", b"[]", b"{}", b"null", b"5", b'"LORA"')
    for bad in (*short, text[:-1], text + b"}", text.replace(b":", b"="), DEEP):
        files[f"{len(bad)} bytes, {bad[:9]}"] = bad
    files["r twice"] = text.replace(b'"r": 2', b'"r": 2, "r": 2')
    files["utf-16"] = text.decode().encode("utf-16")
    files["nested"] = json.dumps({**good, "rank_pattern": {"(" * 5000: 2}}).encode()
    return files


def wrong_settings():
    """{word: values that it must not have}."""
    no_dict = (["layers.0"], "layers.0", 1)
    no_rank = ({"0": 3}, {"layers.0": "2"}, {"0": None})
    no_alpha = ({"0": 0}, {"0": "5"}, {"0": None}, {"2": []})
    no_pattern = ({"(": 2}, {"[": 2}, {"*": 2}, {"(?P<a>x)(?P<a>y)": 1}, {"x{99999999999}": 1})
    starts = ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "Mica ")
    no_number = (True, "2", "", None, [], [2], {})
    not_finite = (float("nan"), float("inf"), float("-inf"))
    wrong = {
        "r": (0, -1, 1, 3, 2.5, 2.0, 10**9, 10**30, *no_number),
        "lora_alpha": (0, -1, 10**400, *no_number, *not_finite),
        "peft_type": ("lora", "IA3", "HRA", "", None, 1, [], {}, ["LORA"]),
        "rank_pattern": (*no_dict, *no_rank, *no_pattern),
        "alpha_pattern": ([1], "x", *no_alpha, *no_pattern),
        "bias": ("all", "lora_only", True, ["none"], {"a": 1}),
        "init_lora_weights": (*starts, ["gaussian"], 2),
    }
    switches = ("use_dora", "lora_bias", "use_qalora")
    for word in (*switches, "layer_replication", "target_parameters"):
        wrong[word] = (True, ["a"])
    wrong["modules_to_save"] = (True, "layers.1", [1], ["layers.1"], ["1"], ["a", "rs.1"])
    unknown = ("trainable_token_indices", "alora_invocation_tokens", "use_bdlora", "something_new")
    for word in (*unknown, "loftq_config"):
        wrong[word] = ([1], {"a": 1})
    return wrong
