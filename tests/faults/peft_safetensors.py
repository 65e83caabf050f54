"""Faults for minilora/peft/safetensors.py, each of which its tests must catch."""

FILE = "peft/safetensors.py"
TESTS = "test_peft_safetensors.py test_peft.py test_peft_broken.py"
FAULTS = [  # (original, mutant)
    ('"F64": "<f8", "F32": "<f4"', '"F64": ">f8", "F32": "<f4"'),
    ('"BF16": "<u2"', '"BF16": "<f2"'),
    ('array.dtype if isinstance(array, np.ndarray) else type(array).__name__', 'array.dtype'),
    ('if dtype not in (np.float16, np.float32, np.float64):', 'if dtype not in (np.float16, np.float32, np.float64, np.uint16):'),
    ('if dtype not in (np.float16, np.float32, np.float64):', 'if False:'),
    ('        if np.ma.isMaskedArray(array):\n', '        if False:\n'),
    ('text += b" " * (-len(text) % 8)', 'text += b" " * (len(text) % 8)'),
    ('.to_bytes(8, "little")', '.to_bytes(8, "big")'),
    ('array.tobytes() for', 'array.tobytes("A") for'),
    ('    except Exception as error:', '    except ValueError as error:'),
    (', object_pairs_hook=_dict_without_duplicates)', ')'),
    ('end = start + array.nbytes', 'end = start + array.size'),
    ('        start = end\n', ''),
    ('int.from_bytes(content[:8], "little")', 'int.from_bytes(content[:4], "little")'),
    ('parse_json(content[8:data_start].decode())', 'parse_json(content[8:data_start])'),
    ('    header.pop("__metadata__", None)\n', ''),
    ('header.pop("__metadata__", None)', 'header.pop("__metadata__")'),
    ('sorted(header, key=lambda name: header[name]["data_offsets"])', 'header'),
    ('        if code not in _DTYPES:\n', '        if False:\n'),
    ('json.dumps(header, sort_keys=True)', 'json.dumps(header)'),
    ('if claimed != actual or length != len(content):', 'if length != len(content):'),
    ('if claimed != actual or length != len(content):', 'if claimed != actual:'),
    ('    if array.dtype != np.uint16:\n', '    if array.dtype == np.float32:\n'),
    ('(array.astype("<u4") << 16)', '(array.astype("<u4") << 15)'),
    ('if len(dict(pairs)) < len(pairs):', 'if len(dict(pairs)) < len(pairs) - 1:'),
]  # fmt: skip
