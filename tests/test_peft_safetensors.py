"""The safetensors format, written and read, against a reader with none of the package's code."""

import json
import shutil
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.checkpoints import assembled, decoded

from minilora.peft.safetensors import pack, parse_json, read_safetensors, unpack

FLOATS = ("float16", "float32", "float64")
OTHERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")


def test_a_file_is_what_the_format_says_byte_for_byte():
    text = b'{"__metadata__": {"format": "pt"}, '
    text += b'"a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}}'
    text += b" " * (-len(text) % 8)
    values = struct.pack("<2f", 1.5, -2.0)
    content = pack({"a": np.array([[1.5], [-2.0]], np.float32)})
    assert content == struct.pack("<Q", len(text)) + text + values


@given(st.integers(0, 2**32 - 1))
def test_arrays_come_back_from_the_format_as_they_were(seed):
    """Any names, shapes, dtypes and memory orders; and by the letter of the format too."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for i in range(rng.integers(1, 6)):
        shape = rng.integers(1, 5, size=rng.integers(0, 4))
        dtype = rng.choice(FLOATS + OTHERS)
        drawn = np.asarray(99 * rng.standard_normal(shape))
        array = drawn.astype(dtype) if dtype in FLOATS else np.asarray(drawn > 0, dtype)
        arrays[f"{rng.integers(9)} ü\n{i}"] = array.T
    content = pack(arrays)
    assert struct.unpack("<Q", content[:8])[0] % 8 == 0
    for read in (unpack(content), decoded(content)):
        assert list(read) == list(arrays)
        assert all(np.array_equal(read[name], array) for name, array in arrays.items())
    assert all(unpack(content)[name].dtype == array.dtype for name, array in arrays.items())


def test_every_bfloat16_is_read_as_the_upper_half_of_a_float32():
    bits = np.arange(2**16, dtype=np.uint16)
    entry = {"dtype": "BF16", "shape": [2**16], "data_offsets": [0, 2**17]}
    content = assembled({"a": entry}, bits.tobytes())
    expected = bits.astype(np.uint32) << 16
    np.testing.assert_array_equal(unpack(content)["a"].view(np.uint32), expected)


@pytest.mark.parametrize(
    "array",
    [
        np.ones(3, complex),
        np.ones(3, "datetime64[s]"),
        np.ones(3, np.longdouble),
        np.ones(3, ">f4"),
        np.ones(3, ">i8"),
        np.array(["a"]),
        np.array([None]),
        [1.0, 2.0],
        1.0,
        None,
    ],
    ids=lambda array: str(getattr(array, "dtype", type(array).__name__)),
)
def test_what_is_no_array_of_numbers_is_refused_under_its_name(array):
    with pytest.raises(ValueError, match=r"^b must be an array of floats, integers or booleans"):
        pack({"a": np.ones(2), "b": array})


def test_a_masked_array_is_refused_for_the_format_has_no_mask():
    with pytest.raises(ValueError, match=r"^a must not be a masked array"):
        pack({"a": np.ma.masked_array([1.0, 2.0], [False, True])})


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"nothing", None, "text", 5, [1]])
def test_what_is_no_file_of_the_format_is_a_value_error(content):
    with pytest.raises(ValueError, match=r"^content is not a safetensors file"):
        unpack(content)


def test_a_dtype_that_is_not_read_is_named():
    for code in ("F8_E4M3", "C64", "F4"):
        entry = {"dtype": code, "shape": [1], "data_offsets": [0, 1]}
        with pytest.raises(ValueError, match=rf"a has dtype '{code}', not one of F64, F32, F16"):
            unpack(assembled({"a": entry}, b"\0"))


def test_a_name_that_occurs_twice_in_json_is_named():
    assert parse_json('{"a": 1, "b": {"a": 2}}') == {"a": 1, "b": {"a": 2}}
    with pytest.raises(ValueError, match=r"^duplicate name in \['a', 'b', 'a'\]"):
        parse_json('{"c": {"a": 1, "b": 2, "a": 3}}')


@pytest.mark.parametrize("dtype", OTHERS)
def test_integers_and_booleans_are_what_their_bytes_say(dtype):
    """The extremes of each dtype; uint16 is no bfloat16."""
    limits = [0, 1] if dtype == "bool" else [np.iinfo(dtype).min, np.iinfo(dtype).max]
    array = np.array(limits, dtype)
    code = {"bool": "BOOL"}.get(dtype, dtype.replace("uint", "U").replace("int", "I"))
    entry = {"dtype": code, "shape": [2], "data_offsets": [0, array.nbytes]}
    bits = array.astype(array.dtype.newbyteorder("<")).tobytes()
    found = unpack(assembled({"a": entry}, bits))["a"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_a_boolean_that_is_neither_0_nor_1_is_refused():
    entry = {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}
    with pytest.raises(ValueError, match="a has dtype BOOL, and a byte that is neither 0 nor 1"):
        unpack(assembled({"a": entry}, b"\1\2"))
    empty = {"dtype": "BOOL", "shape": [0], "data_offsets": [0, 0]}
    assert unpack(assembled({"a": empty}, b""))["a"].shape == (0,)


def test_arrays_are_views_of_the_bytes_but_for_bfloat16():
    arrays = {"a": np.ones(1000), "b": np.arange(1000)}
    content = pack(arrays)
    buffer = np.frombuffer(content, np.uint8)
    assert all(np.shares_memory(buffer, array) for array in unpack(content).values())


# Where the files are: a file, a folder, shards, an archive.

SHARDS = {
    "one.safetensors": {"a": np.ones((2, 3), np.float32), "b": np.arange(3)},
    "two.safetensors": {"c": np.full(4, 0.5)},
}
WHOLE = {name: array for arrays in SHARDS.values() for name, array in arrays.items()}
MAP = {name: shard for shard, arrays in SHARDS.items() for name in arrays}
INDEX = "model.safetensors.index.json"


@pytest.fixture
def sharded(tmp_path):
    for shard, arrays in SHARDS.items():
        (tmp_path / shard).write_bytes(pack(arrays))
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": MAP}))
    return tmp_path


def archive(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, content in members.items():
            new.writestr(name, content)
    return path


def same(found, expected):
    return found.keys() == expected.keys() and all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array)
        for name, array in expected.items()
    )


@pytest.mark.parametrize("name", ["model.safetensors", "adapter_model.safetensors"])
def test_a_file_a_folder_and_an_archive_give_the_same_arrays(name, tmp_path):
    """Whatever else lies in the folder or in the archive."""
    content = pack(WHOLE)
    (tmp_path / name).write_bytes(content)
    (tmp_path / "other.safetensors").write_bytes(b"nothing")
    members = {"package/model.safetensors": content, "package/config.json": b"{}"}
    for path in (
        tmp_path,
        str(tmp_path / name),
        archive(tmp_path / "a.whl", members),
        archive(tmp_path / "a.zip", members, zipfile.ZIP_STORED),
    ):
        arrays = read_safetensors(path)
        assert same(arrays, WHOLE)
        views = [array for array in arrays.values() if array.base is not None]
        assert len(views) > 1 and not any(array.flags.writeable for array in views)


def test_shards_are_one_model(sharded):
    assert same(read_safetensors(sharded), WHOLE)


def refused(path, says):
    with pytest.raises(ValueError, match=rf"(?s)^path .* cannot be read: .*{says}"):
        read_safetensors(path)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"a": "two.safetensors"}, r"one\.safetensors differ in \['a'\]"),
        ({"d": "two.safetensors"}, r"two\.safetensors differ in \['d'\]"),
        ({"c": "one.safetensors"}, r"one\.safetensors differ in \['c'\]"),
        ({"d": "three.safetensors"}, "three"),
        ({"a": "../one.safetensors"}, "not a .safetensors beside it"),
        ({"a": "sub/one.safetensors"}, "not a .safetensors beside it"),
        ({"a": "/etc/passwd"}, "not a .safetensors beside it"),
        ({"a": "passwd"}, "not a .safetensors beside it"),
        ({"a": ".."}, "not a .safetensors beside it"),
        ({"a": ""}, "not a .safetensors beside it"),
        ({"a": None}, ""),
        ({"a": 5}, ""),
        ({"a": []}, ""),
        ({"a": "one.safetensors\0"}, ""),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(change, says, sharded):
    outside = sharded.parent / "one.safetensors"
    outside.write_bytes((sharded / "one.safetensors").read_bytes())
    (sharded / INDEX).write_text(json.dumps({"weight_map": {**MAP, **change}}))
    refused(sharded, says)
    outside.unlink()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "5",
        '{"weight_map": 5}',
        '{"weight_map": []}',
        '{"weight_map": {}}',
        "\ud800",
    ],
)
def test_an_index_that_is_none_is_refused(text, sharded):
    (sharded / INDEX).write_bytes(text.encode("utf-8", "surrogatepass"))
    refused(sharded, "")


def test_a_name_twice_in_an_index_is_refused(sharded):
    (sharded / INDEX).write_text('{"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}}')
    refused(sharded, "duplicate name")


def test_a_broken_shard_is_refused(sharded):
    content = (sharded / "two.safetensors").read_bytes()
    (sharded / "two.safetensors").write_bytes(content[:-1])
    refused(sharded, "two.safetensors cannot be read: ")


def test_a_folder_with_no_file_or_two_indices_says_what_is_missing(sharded, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    refused(empty, r"must have model\.safetensors or adapter_model\.safetensors or .*, got \[\]")
    shutil.copy(sharded / INDEX, sharded / "other.safetensors.index.json")
    refused(sharded, "got .*other.safetensors.index.json")


@pytest.mark.parametrize("path", [None, 5, b"a", ["a"], "nothing here", "a\0b"])
def test_what_is_no_path_has_no_arrays(path):
    refused(path, "")


def test_a_pointer_of_git_lfs_says_what_to_type(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    (tmp_path / "model.safetensors").write_text(pointer)
    refused(
        tmp_path,
        "model.safetensors cannot be read: it is a git-lfs pointer.*: git lfs pull",
    )


def test_an_archive_must_have_one_file_of_arrays(tmp_path):
    content = pack(WHOLE)
    refused(archive(tmp_path / "none.zip", {"a.bin": content}), r"one .safetensors file, got \[\]")
    two = {"a/model.safetensors": content, "b/model.safetensors": content}
    refused(archive(tmp_path / "two.zip", two), "one .safetensors file, got .*b/model")


def test_an_archive_that_is_cut_short_or_damaged_is_refused(tmp_path):
    """Cut after any 20th byte; one bit flipped in any 20th byte of what the archive stores."""
    path = archive(tmp_path / "a.zip", {"model.safetensors": pack(WHOLE)}, zipfile.ZIP_STORED)
    content = path.read_bytes()
    for n in range(0, len(content), 20):
        path.write_bytes(content[:n])
        refused(path, "")
    for n in range(60, 60 + len(pack(WHOLE)) - 20, 20):
        path.write_bytes(content[:n] + bytes([content[n] ^ 1]) + content[n + 1 :])
        refused(path, "")
    path.write_bytes(content)
    assert same(read_safetensors(path), WHOLE)


@pytest.mark.parametrize(("pieces", "fits"), [(4, True), (40, False)])
def test_an_archive_may_unpack_to_ten_times_its_size(pieces, fits, rng, tmp_path):
    """One piece of random numbers, which nothing compresses, again and again."""
    arrays = {"x": np.tile(rng.standard_normal(1000), pieces)}
    path = archive(tmp_path / "model.zip", {"model.safetensors": pack(arrays)})
    times = len(pack(arrays)) / path.stat().st_size
    if fits:
        assert 3 < times < 10 and same(read_safetensors(path), arrays)
    else:
        assert 11 < times < 50
        refused(path, "at most")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("declared", [None, 1000])
def test_a_bomb_takes_no_memory(declared, compression, tmp_path):
    """50 MB of zeros in 50 kB, whether the archive says so or claims to hold 1,000 bytes."""
    members = {"model.safetensors": bytes(50_000_000), "filler.bin": bytes(1000)}
    path = archive(tmp_path / "bomb.zip", members, compression)
    if declared:
        true = struct.pack("<I", 50_000_000)
        path.write_bytes(path.read_bytes().replace(true, struct.pack("<I", declared)))
    tracemalloc.start()
    refused(path, "")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 500_000


def test_an_archive_that_claims_more_than_it_holds_is_refused(tmp_path):
    """Else the rest would be zeros that no byte of the file stands for.

    zipfile looks at the checksum of what is there, which is right, and not at the size.
    """
    whole = pack({"w": np.arange(1200.0).reshape(30, 40)})
    content = whole[:-800]
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = archive(tmp_path / "a.zip", {"model.safetensors": content}, method)
        with zipfile.ZipFile(path) as opened:
            place = opened.start_dir + 24  # of the size in the directory, after the compressed one
        with open(path, "r+b") as file:
            file.seek(place)
            assert file.read(4) == struct.pack("<I", len(content))
            file.seek(place)
            file.write(struct.pack("<I", len(whole)))
        refused(path, "model.safetensors ends 800 bytes too early")
