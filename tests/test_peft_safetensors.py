"""The safetensors format, written and read, against a reader with none of the package's code."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.checkpoints import assembled, decoded

from minilora.peft.safetensors import pack, parse_json, unpack


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
    entry = {"dtype": "BF16", "shape": [2**16], "data_offsets": [0, 2**17]}
    content = assembled({"a": entry}, bits.tobytes())
    expected = bits.astype(np.uint32) << 16
    np.testing.assert_array_equal(unpack(content)["a"].view(np.uint32), expected)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(3),
        np.arange(3, dtype=np.uint16),  # as which a bfloat16 is read
        np.ones(3, bool),
        np.ones(3, complex),
        np.ones(3, np.longdouble),
        np.ones(3, ">f4"),
        np.array(["a"]),
        np.array([None]),
        [1.0, 2.0],
        1.0,
        None,
    ],
    ids=lambda array: str(getattr(array, "dtype", type(array).__name__)),
)
def test_what_is_no_array_of_floats_is_refused_under_its_name(array):
    with pytest.raises(ValueError, match=r"^b must be float16, float32 or float64, got "):
        pack({"a": np.ones(2), "b": array})


def test_a_masked_array_is_refused_for_the_format_has_no_mask():
    with pytest.raises(ValueError, match=r"^a must not be a masked array"):
        pack({"a": np.ma.masked_array([1.0, 2.0], [False, True])})


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"nothing", None, "text", 5, [1]])
def test_what_is_no_file_of_the_format_is_a_value_error(content):
    with pytest.raises(ValueError, match=r"^content is not a safetensors file"):
        unpack(content)


def test_a_dtype_that_is_not_read_is_named():
    entry = {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}
    with pytest.raises(ValueError, match=r"a has dtype 'F8_E4M3', not one of F64, F32, F16, BF16"):
        unpack(assembled({"a": entry}, b"\0"))


def test_a_name_that_occurs_twice_in_json_is_named():
    assert parse_json('{"a": 1, "b": {"a": 2}}') == {"a": 1, "b": {"a": 2}}
    with pytest.raises(ValueError, match=r"^duplicate name in \['a', 'b', 'a'\]"):
        parse_json('{"c": {"a": 1, "b": 2, "a": 3}}')
