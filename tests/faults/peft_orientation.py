"""Faults for minilora/peft/orientation.py, each of which its tests must catch."""

FILE = "peft/orientation.py"
TESTS = "test_peft_orientation.py test_wrong_arguments.py"
FAULTS = [  # (original, mutant)
    ('if np.ndim(W) == 2 and fan_in_fan_out(name)', 'if np.ndim(W) == 2'),
    ('    if fan_in_fan_out not in (None, False, True):\n', '    if False:\n'),
    ('is True or callable(fan_in_fan_out):\n', 'is True:\n'),
    ('or fan_in_fan_out is True or', 'or'),
    ('    if whole or (fan_in_fan_out is None and', '    if (fan_in_fan_out is None and'),
    ('fan_in_fan_out is None and all(', 'fan_in_fan_out is None and any('),
]  # fmt: skip
