"""Tiny models of every family, as their config.json says it, and what transformers counts in them.

    {name: (config, all parameters)}

The totals are `num_parameters()` of the class that `Architecture.counted` names, in transformers
5.24; where it is installed, test_architectures.py compares them again.
"""


def sizes(model_type, width=12, heads=3, layers=2, vocabulary=17, hidden=20, **others):
    """A config.json with these sizes under the names that most families use."""
    return {
        "model_type": model_type,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "vocab_size": vocabulary,
        "intermediate_size": hidden,
        "pad_token_id": 0,
        **others,
    }


def gpt2(**others):
    """GPT-2's config.json has its own names."""
    own = {"n_embd": 12, "n_head": 3, "n_layer": 2, "n_positions": 9, "vocab_size": 17}
    return {"model_type": "gpt2", **own, **others}


def bert(model_type, **others):
    """An encoder with eleven positions."""
    return sizes(model_type, max_position_embeddings=11, **others)


DISTILBERT = {
    "model_type": "distilbert",
    "dim": 12,
    "n_heads": 3,
    "n_layers": 2,
    "hidden_dim": 20,
    "vocab_size": 17,
    "max_position_embeddings": 11,
}
XLARGE = {  # as DeBERTaV2-xlarge
    "attention_head_size": 4,
    "relative_attention": True,
    "position_buckets": 5,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "conv_kernel_size": 3,
    "conv_act": "gelu",
}
BASE = {  # as DeBERTa-base
    "relative_attention": True,
    "max_relative_positions": -1,
    "pos_att_type": "c2p|p2c",
    "position_biased_input": False,
}
TINY = {
    "llama": (sizes("llama"), 3_060),
    "llama grouped, tied": (
        sizes("llama", heads=6, num_key_value_heads=2, tie_word_embeddings=True),
        2_472,
    ),
    "llama biases, one key": (
        sizes("llama", num_key_value_heads=1, attention_bias=True, mlp_bias=True),
        2_844,
    ),
    "llama attention bias": (sizes("llama", attention_bias=True, head_dim=8), 4_380),
    "llama null": (sizes("llama", num_key_value_heads=None, head_dim=None), 3_060),
    "mistral wide heads": (
        sizes("mistral", num_key_value_heads=1, head_dim=10, sliding_window=None),
        3_828,
    ),
    "mistral heads left out": (sizes("mistral", width=32, heads=16, head_dim=None), 11_232),
    "ministral": (sizes("ministral", num_key_value_heads=3, head_dim=4), 3_060),
    "qwen2": (sizes("qwen2", num_key_value_heads=1, tie_word_embeddings=True), 2_512),
    "qwen2 window": (
        sizes("qwen2", heads=4, num_key_value_heads=2, use_sliding_window=True, sliding_window=3),
        2_820,
    ),
    "qwen2 heads left out": (sizes("qwen2", width=64, heads=64), 35_008),
    "qwen3": (
        sizes("qwen3", heads=6, num_key_value_heads=3, head_dim=8, tie_word_embeddings=True),
        5_192,
    ),
    "qwen3 bias, head_dim left out": (
        sizes("qwen3", num_key_value_heads=1, attention_bias=True),
        28_300,
    ),
    "gemma": (sizes("gemma", num_key_value_heads=1, head_dim=8), 3_240),
    "gemma untied, bias": (
        sizes(
            "gemma",
            num_key_value_heads=3,
            head_dim=6,
            attention_bias=True,
            tie_word_embeddings=False,
        ),
        3_768,
    ),
    "gemma2": (sizes("gemma2", heads=4, head_dim=8, tie_word_embeddings=True), 4_824),
    "gemma3_text": (sizes("gemma3_text", num_key_value_heads=1, head_dim=8), 3_320),
    "gemma3_text untied": (
        sizes("gemma3_text", heads=4, num_key_value_heads=4, tie_word_embeddings=False),
        101_284,
    ),
    "phi": (sizes("phi", partial_rotary_factor=0.5), 2_769),
    "phi norms, grouped, tied": (
        sizes("phi", heads=2, num_key_value_heads=1, qk_layernorm=True, tie_word_embeddings=True),
        2_301,
    ),
    "phi3": (sizes("phi3", heads=3), 3_060),
    "phi3 grouped, tied": (sizes("phi3", num_key_value_heads=1, tie_word_embeddings=True), 2_472),
    "gpt2": (gpt2(), 4_104),
    "gpt2 n_inner, untied": (gpt2(n_inner=20, tie_word_embeddings=False), 2_908),
    "gpt2 n_inner null": (gpt2(n_inner=None, n_ctx=9), 4_104),
    "bert": (bert("bert"), 2_908),
    "bert one type": (bert("bert", type_vocab_size=1, num_key_value_heads=1, head_dim=5), 2_896),
    "roberta": (bert("roberta", type_vocab_size=1), 2_896),
    "xlm-roberta": (bert("xlm-roberta", type_vocab_size=1), 2_896),
    "camembert": (bert("camembert", type_vocab_size=1), 2_896),
    "distilbert": (DISTILBERT, 2_728),
    "deberta": (bert("deberta", **BASE), 3_436),
    "deberta one kind": (
        bert("deberta", **{**BASE, "pos_att_type": ["p2c"], "max_relative_positions": 7}),
        3_052,
    ),
    "deberta absolute": (bert("deberta", type_vocab_size=2, embedding_size=5), 2_578),
    "deberta-v2": (bert("deberta-v2", **XLARGE), 3_208),
    "deberta-v2 own keys": (
        bert(
            "deberta-v2",
            **{**XLARGE, "share_att_key": False, "conv_kernel_size": 0, "pos_att_type": ["c2p"]},
        ),
        3_052,
    ),
    "deberta-v2 distances": (
        bert("deberta-v2", relative_attention=True, max_relative_positions=6, pos_att_type="c2p"),
        3_184,
    ),
    "deberta-v2 absolute": (bert("deberta-v2", type_vocab_size=2, embedding_size=5), 2_602),
}
