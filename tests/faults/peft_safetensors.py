"""Faults for minilora/peft/safetensors.py, each of which its tests must catch."""

FILE = "peft/safetensors.py"
TESTS = "test_peft_safetensors.py test_peft.py test_peft_broken.py test_peft_folders.py"
FAULTS = [  # (original, mutant)
    ('"F64": "<f8", "F32": "<f4"', '"F64": ">f8", "F32": "<f4"'),
    ('array.dtype if isinstance(array, np.ndarray) else type(array).__name__', 'array.dtype'),
    ('if not isinstance(dtype, np.dtype) or dtype not in _CODES:', 'if not isinstance(dtype, np.dtype):'),
    ('    if len(indices) != 1:\n', '    if not indices:\n'),
    ('if Path(shard).name != shard or', 'if'),
    ('        if own.keys() != listed:\n', '        if not own.keys() >= listed:\n'),
    ('        if len(members) != 1:\n', '        if not members:\n'),
    ('if size > most or members', 'if members'),
    (' or members[0].compress_type not in (ZIP_STORED, ZIP_DEFLATED)', ''),
    ('        if rest:', '        if False:'),
    ('.toreadonly()', ''),
    (', object_pairs_hook=_dict_without_duplicates)', ')'),
    ('end = start + array.nbytes', 'end = start + array.size'),
    ('        start = end\n', ''),
    ('    if content.startswith(_POINTER):\n', '    if False:\n'),
    ('    if data_start > len(content):\n', '    if False:\n'),
    ('    if needed > len(content):\n', '    if False:\n'),
    ('    if not shard_of:\n', '    if False:\n'),
    ('int.from_bytes(content[:8], "little")', 'int.from_bytes(content[:4], "little")'),
    ('parse_json(content[8:data_start].decode())', 'parse_json(content[8:data_start])'),
    ('    if code == "BF16":\n', '    if array.dtype == np.uint16:\n'),
    ('code == "BOOL" and array.size and', 'code == "BOOL" and not array.size and'),
    ('(array.astype("<u4") << 16)', '(array.astype("<u4") << 15)'),
    ('if len(dict(pairs)) < len(pairs):', 'if len(dict(pairs)) < len(pairs) - 1:'),
    ('_LARGEST = 10 ', '_LARGEST = 1000 '),
]  # fmt: skip
