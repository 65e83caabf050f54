"""Faults for minilora/architectures/families.py, each of which its tests must catch."""

FILE = "architectures/families.py"
TESTS = "test_architectures.py"
FAULTS = [  # (original, mutant)
    ('matrices = 1 if entries.flag("tie_word_embeddings") else 2', 'matrices = 2'),
    ('(matrices * entries.size("vocab_size") + 1)', '(matrices * entries.size("vocab_size") + 2)'),
    ('(positions + 1) * table.width', 'positions * table.width'),
    ('table.layers * head_norms if', 'head_norms if'),
    ('+ entries.size("vocab_size") + table.width + in_layers', '+ table.width + in_layers'),
    ('return (rows + 2) * table.width', 'return (rows + 1) * table.width'),
    ('entries.size("type_vocab_size") * d + d * d + d', 'entries.size("type_vocab_size") * d'),
    ('if entries.flag("position_biased_input"):', 'if True:'),
    ('widening = 0 if narrow == table.width else', 'widening = 0 if True else'),
    ('given if given > 0 else', 'given if given > 99 else'),
    ('("c2p" in kinds) * d * d +', '("c2p" in kinds) * (d * d + d) +'),
    ('    in_a_layer, embedded = 2 * d, 0\n', '    in_a_layer, embedded = 3 * d, 0\n'),
    ('2 * (buckets if buckets > 0', '2 * (buckets if False'),
    ('0 if entries.flag("share_att_key") else', '0 if False else'),
    ('norm = 2 * d if "layer_norm"', 'norm = 2 * d if "none"'),
    ('biased={"q k v": True}', 'biased={"q k v o": True}'),
    ('"head_dim": 256', '"head_dim": 128'),
    ('_TIED = {"tie_word_embeddings": True}', '_TIED = {"tie_word_embeddings": False}'),
    ('"gate up down": "mlp_bias"', '"gate up down": "attention_bias"'),
    ('"Gemma3",\n        norms=4', '"Gemma3",\n        norms=2'),
    ('{"type_vocab_size": 2} if', '{"type_vocab_size": 1} if'),
]  # fmt: skip
