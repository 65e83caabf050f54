"""Faults for minilora/peft/safetensors.py, each of which its tests must catch."""

FILE = "peft/safetensors.py"
TESTS = "test_peft_safetensors.py test_peft.py test_peft_broken.py"
FAULTS = [  # (original, mutant)
    ('"F64": "<f8", "F32": "<f4"', '"F64": ">f8", "F32": "<f4"'),
    ('array.dtype if isinstance(array, np.ndarray) else type(array).__name__', 'array.dtype'),
    ('if dtype not in (np.float16, np.float32, np.float64):', 'if dtype not in (np.float16, np.float32, np.float64, np.uint16):'),
    ('    except Exception as error:', '    except ValueError as error:'),
    (', object_pairs_hook=_dict_without_duplicates)', ')'),
    ('end = start + array.nbytes', 'end = start + array.size'),
    ('        start = end\n', ''),
    ('int.from_bytes(content[:8], "little")', 'int.from_bytes(content[:4], "little")'),
    ('parse_json(content[8:data_start].decode())', 'parse_json(content[8:data_start])'),
    ('    if array.dtype != np.uint16:\n', '    if array.dtype == np.float32:\n'),
    ('(array.astype("<u4") << 16)', '(array.astype("<u4") << 15)'),
    ('if len(dict(pairs)) < len(pairs):', 'if len(dict(pairs)) < len(pairs) - 1:'),
]  # fmt: skip
