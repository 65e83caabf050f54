"""The file format of Hugging Face's safetensors, for arrays of floating-point numbers.

    8 bytes     the length n of the header, little-endian
    n bytes     the header, JSON: {name: {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}}
    the rest    the arrays, row by row; the offsets count from here

The format holds nothing that can run, but a file is untrusted input all the same. So `unpack`
compares the header with the one that `pack` would write for the arrays that were found. They must
fill the rest of the file, one after the other, and no memory is taken for more than that.

github.com/huggingface/safetensors. Departure: integers and floats of 8 bits are refused.
"""

import json

import numpy as np

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # for BF16 see _widen


def pack(arrays):
    """The bytes of a safetensors file with these arrays, {name: array}.

    Raises ValueError unless they are of float16, float32 or float64, and for a masked array.
    """
    for name, array in arrays.items():
        dtype = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        if dtype not in (np.float16, np.float32, np.float64):
            advice = "try .astype(np.float32)"
            raise ValueError(f"{name} must be float16, float32 or float64, got {dtype}: {advice}")
        if np.ma.isMaskedArray(array):
            raise ValueError(f"{name} must not be a masked array: try .filled(0.0)")
    header = {"__metadata__": {"format": "pt"}, **_header_of(arrays)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    length = len(text).to_bytes(8, "little")
    return length + text + b"".join(array.tobytes() for array in arrays.values())


def unpack(content):
    """The arrays in the bytes of a safetensors file, {name: array}; bfloat16 as float32.

    Raises ValueError when the bytes are anything else.
    """
    try:
        return _unpack(content)
    except Exception as error:  # untrusted input can go wrong anywhere
        raise ValueError(f"content is not a safetensors file of floats: {error}") from error


def parse_json(text):
    """The value of a JSON text. Raises ValueError when it is none, or an object repeats a name."""
    return json.loads(text, object_pairs_hook=_dict_without_duplicates)


def _header_of(arrays):
    """The header of a safetensors file in which these arrays follow each other."""
    code_of = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}
    header = {}
    start = 0
    for name, array in arrays.items():
        end = start + array.nbytes
        code = code_of[array.dtype]
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": (start, end)}
        start = end
    return header


def _unpack(content):
    data_start = 8 + int.from_bytes(content[:8], "little")
    header = parse_json(content[8:data_start].decode())
    header.pop("__metadata__", None)
    data = memoryview(content)[data_start:]
    arrays = {}
    for name in sorted(header, key=lambda name: header[name]["data_offsets"]):
        code = header[name]["dtype"]
        if code not in _DTYPES:
            raise ValueError(f"{name} has dtype {code!r:.50}, not one of {', '.join(_DTYPES)}")
        start, end = header[name]["data_offsets"]
        values = np.frombuffer(data[start:end], _DTYPES[code])
        arrays[name] = values.reshape(header[name]["shape"])
    claimed = json.dumps(header, sort_keys=True)
    actual = json.dumps(_header_of(arrays), sort_keys=True)
    length = data_start + sum(array.nbytes for array in arrays.values())
    if claimed != actual or length != len(content):
        raise ValueError("the header does not say what each byte is for, once")
    return {name: _widen(array) for name, array in arrays.items()}


def _widen(array):
    """A bfloat16 is the upper half of a float32, found here as an integer; other arrays stay."""
    if array.dtype != np.uint16:
        return array
    return (array.astype("<u4") << 16).view("<f4")


def _dict_without_duplicates(pairs):
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"duplicate name in {[name for name, _ in pairs]!r:.200}")
    return dict(pairs)
