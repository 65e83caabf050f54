"""The file format of Hugging Face's safetensors: named arrays, and nothing that can run.

    8 bytes     the length n of the header, little-endian
    n bytes     the header, JSON: {name: {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}}
    the rest    the arrays, row by row; the offsets count from here

A large model is split into several such files, its shards. A file *.safetensors.index.json beside
them says which array is in which: {"weight_map": {name: "model-00001-of-00002.safetensors"}}.

Such a file is untrusted input too. So `unpack` compares the header with the one that `pack`
would write for the arrays that were found. They must fill the rest of the file, one after the
other, and no memory is taken for more than that. A shard must lie beside its index and hold what
the index says. From an archive no more is unpacked than ten times its own size.

github.com/huggingface/safetensors. Departure: floats of 8 bits and complex numbers are refused.
"""

import json
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_OTHERS = {
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_DTYPES = {**_FLOATS, "BF16": "<u2", **_OTHERS}  # for BF16 see _widen
_CODES = {np.dtype(dtype): code for code, dtype in {**_FLOATS, **_OTHERS}.items()}
_NAMES = ("model.safetensors", "adapter_model.safetensors")
_POINTER = b"version https://git-lfs.github.com/"
_LARGEST = 10  # times the size of an archive, for what is unpacked from it
_PIECE = 1 << 20  # bytes


def read_safetensors(path):
    """The arrays of a model or an adapter, {name: array}: floats, integers and booleans.

    path: a .safetensors file; or a folder with model.safetensors, adapter_model.safetensors or the
    index of shards; or an archive (.zip, or a wheel, .whl) that has one .safetensors file. bfloat16
    is widened to float32. All other arrays are views of the bytes of the file, and read-only.

    Raises ValueError when there is no such file, or it is broken.
    """
    try:
        path = Path(path)
        if path.is_dir():
            return _read_folder(path)
        return _unpack(_unzipped(path) if path.suffix in (".whl", ".zip") else path.read_bytes())
    except Exception as error:  # untrusted input can go wrong anywhere
        raise ValueError(f"path {path} cannot be read: {error}") from error


def pack(arrays):
    """The bytes of a safetensors file with these arrays, {name: array}.

    Raises ValueError unless they are of floats, integers or booleans in the format's dtypes, and
    for a masked array.
    """
    for name, array in arrays.items():
        dtype = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        if not isinstance(dtype, np.dtype) or dtype not in _CODES:
            advice = "try .astype(np.float32)"
            wanted = "an array of floats, integers or booleans of at most 64 bits"
            raise ValueError(f"{name} must be {wanted}, got {dtype}: {advice}")
        if np.ma.isMaskedArray(array):
            raise ValueError(f"{name} must not be a masked array: try .filled(0.0)")
    codes = {name: _CODES[array.dtype] for name, array in arrays.items()}
    header = {"__metadata__": {"format": "pt"}, **_header_of(arrays, codes)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    length = len(text).to_bytes(8, "little")
    return length + text + b"".join(array.tobytes() for array in arrays.values())


def unpack(content, name="content"):
    """The arrays in the bytes of a safetensors file, {name: array}; bfloat16 as float32.

    Raises ValueError, with this name of the bytes, when they are anything else.
    """
    try:
        return _unpack(content)
    except Exception as error:  # untrusted input can go wrong anywhere
        raise ValueError(f"{name} is not a safetensors file: {error}") from error


def check_no_pointer(name, content):
    """Raise ValueError when git-lfs has put the address of a file in its place."""
    if content.startswith(_POINTER):
        raise ValueError(f"{name} is a git-lfs pointer, not the file itself: git lfs pull")


def parse_json(text):
    """The value of a JSON text. Raises ValueError if it is none or repeats a name."""
    return json.loads(text, object_pairs_hook=_dict_without_duplicates)


def _read_folder(folder):
    """The arrays of the one file of a folder, or of the shards that its index names."""
    for name in _NAMES:
        if (folder / name).is_file():
            return read_safetensors(folder / name)
    indices = sorted(path.name for path in folder.glob("*.safetensors.index.json"))
    if len(indices) != 1:
        wanted = f"{' or '.join(_NAMES)} or one *.safetensors.index.json"
        raise ValueError(f"the folder must have {wanted}, got {indices!r:.200}")
    shard_of = parse_json((folder / indices[0]).read_text("utf-8"))["weight_map"]
    if not shard_of:
        raise ValueError(f"{indices[0]} names no array")
    shards = sorted(set(shard_of.values()))
    for shard in shards:
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise ValueError(f"{indices[0]} names {shard!r:.200}, not a .safetensors beside it")
    arrays = {}
    for shard in shards:
        own = read_safetensors(folder / shard)
        listed = {name for name, owner in shard_of.items() if owner == shard}
        if own.keys() != listed:
            unlike = sorted(own.keys() ^ listed)[:3]
            raise ValueError(f"{indices[0]} and {shard} differ in {unlike!r:.300}")
        arrays |= own
    return arrays


def _unzipped(path):
    """The bytes of the one .safetensors file in an archive."""
    with ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".safetensors")]
        if len(members) != 1:
            names = [info.filename for info in members]
            raise ValueError(f"an archive must have one .safetensors file, got {names!r:.200}")
        size = members[0].file_size
        most = _LARGEST * path.stat().st_size
        if size > most or members[0].compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            wanted = f"stored or deflated, of at most {most} bytes"
            raise ValueError(f"{members[0].filename:.200} must be {wanted}, got {size}")
        content = bytearray(size)  # a limit, which the content may exceed whatever size says
        rest = memoryview(content)
        with archive.open(members[0]) as member:  # piece by piece: never twice in memory
            while count := member.readinto(rest[:_PIECE]):
                rest = rest[count:]
        if rest:
            raise ValueError(f"{members[0].filename:.200} ends {len(rest)} bytes too early")
        return content


def _header_of(arrays, codes):
    """The header of a safetensors file in which these arrays follow each other."""
    header = {}
    start = 0
    for name, array in arrays.items():
        end = start + array.nbytes
        header[name] = {"dtype": codes[name], "shape": array.shape, "data_offsets": (start, end)}
        start = end
    return header


def _unpack(content):
    check_no_pointer("it", content)
    if not content[8:1000].lstrip().startswith(b"{"):
        raise ValueError("it does not begin as a safetensors file" if content else "it is empty")
    data_start = 8 + int.from_bytes(content[:8], "little")
    if data_start > len(content):
        raise ValueError(f"it is cut short, {len(content)} bytes of more than {data_start}")
    header = parse_json(content[8:data_start].decode())
    header.pop("__metadata__", None)
    data = memoryview(content)[data_start:].toreadonly()
    arrays = {}
    codes = {name: entry["dtype"] for name, entry in header.items()}
    needed = data_start + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if needed > len(content):
        raise ValueError(f"it is cut short, {len(content)} bytes of {needed}")
    for name in sorted(header, key=lambda name: header[name]["data_offsets"]):
        if codes[name] not in _DTYPES:
            known = ", ".join(_DTYPES)
            raise ValueError(f"{name:.200} has dtype {codes[name]!r:.50}, not one of {known}")
        start, end = header[name]["data_offsets"]
        values = np.frombuffer(data[start:end], _DTYPES[codes[name]])
        arrays[name] = values.reshape(header[name]["shape"])
    claimed = json.dumps(header, sort_keys=True)
    actual = json.dumps(_header_of(arrays, codes), sort_keys=True)
    length = data_start + sum(array.nbytes for array in arrays.values())
    if claimed != actual or length != len(content):
        raise ValueError("the header does not say exactly once what each byte is for")
    return {name: _as_number(name, array, codes[name]) for name, array in arrays.items()}


def _as_number(name, array, code):
    """The array of a code, which NumPy may lack or read without a look at it."""
    if code == "BF16":
        return _widen(array)
    if code == "BOOL" and array.size and array.view("u1").max() > 1:
        raise ValueError(f"{name:.200} has dtype BOOL, and a byte that is neither 0 nor 1")
    return array


def _widen(array):
    """A bfloat16 is the upper half of a float32, found here as an integer."""
    return (array.astype("<u4") << 16).view("<f4")


def _dict_without_duplicates(pairs):
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"duplicate name in {[name for name, _ in pairs]!r:.200}")
    return dict(pairs)
