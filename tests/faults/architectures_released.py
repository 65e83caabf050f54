"""Faults for minilora/architectures/released.py, each of which its tests must catch."""

FILE = "architectures/released.py"
TESTS = "test_architectures.py"
FAULTS = [  # (original, mutant)
    ('4096, 32, 32, 11_008', '4096, 32, 32, 11_080'),
    ('"llama", 128_256, 4096, 32, 32, 14_336, num_key_value_heads=8', '"llama", 128_256, 4096, 32, 32, 14_336'),
    ('"num_attention_heads": heads', '"num_attention_heads": 16'),
    ('_ROBERTA = {"max_position_embeddings": 514', '_ROBERTA = {"max_position_embeddings": 512'),
    ('"position_buckets": 256', '"position_buckets": 512'),
]  # fmt: skip
