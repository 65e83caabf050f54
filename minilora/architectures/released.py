"""The sizes of some released models by name, in the words of their config.json.

Devlin et al., 2018, arXiv 1810.04805 (BERT); Radford et al., 2019, "Language Models are
Unsupervised Multitask Learners" (GPT-2); Liu et al., 2019, arXiv 1907.11692 (RoBERTa); He et al.,
2021, arXiv 2111.09543 (DeBERTaV3); Touvron et al., 2023, arXiv 2302.13971 (LLaMA); Jiang et al.,
2023, arXiv 2310.06825 (Mistral); Grattafiori et al., 2024, arXiv 2407.21783 (LLaMA 3); Abdin et
al., 2024, arXiv 2404.14219 (Phi-3); Gemma Team, 2024, arXiv 2408.00118 (Gemma 2); Qwen Team, 2024,
arXiv 2412.15115 (Qwen2.5), and 2025, arXiv 2505.09388 (Qwen3).
"""

from minilora.architectures.from_config import architecture_of


def _config(model_type, vocabulary, width, layers, heads, hidden, **others):
    """The entries of a config.json that every family except GPT-2 has, and others."""
    return {
        "model_type": model_type,
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
        **others,
    }


_DEBERTA_V3 = {
    "max_position_embeddings": 512,
    "position_biased_input": False,
    "relative_attention": True,
    "position_buckets": 256,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
}
_ROBERTA = {"max_position_embeddings": 514, "type_vocab_size": 1}
_GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 50_257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
}
CONFIGS = {  # model_type, vocabulary, width, layers, heads, hidden
    "roberta-base": _config("roberta", 50_265, 768, 12, 12, 3072, **_ROBERTA),
    "deberta-v3-base": _config("deberta-v2", 128_100, 768, 12, 12, 3072, **_DEBERTA_V3),
    "llama-7b": _config("llama", 32_000, 4096, 32, 32, 11_008),
    "llama-13b": _config("llama", 32_000, 5120, 40, 40, 13_824),
    "llama3-8b": _config("llama", 128_256, 4096, 32, 32, 14_336, num_key_value_heads=8),
    "llama-3.2-1b": _config(
        "llama", 128_256, 2048, 16, 32, 8192, num_key_value_heads=8, tie_word_embeddings=True
    ),
    "mistral-7b": _config("mistral", 32_000, 4096, 32, 32, 14_336, num_key_value_heads=8),
    "qwen2.5-0.5b": _config(
        "qwen2", 151_936, 896, 24, 14, 4864, num_key_value_heads=2, tie_word_embeddings=True
    ),
    "qwen3-0.6b": _config(
        "qwen3",
        151_936,
        1024,
        28,
        16,
        3072,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    ),
    "gemma-2-2b": _config(
        "gemma2", 256_000, 2304, 26, 8, 9216, num_key_value_heads=4, head_dim=256
    ),
    "phi-3-mini": _config("phi3", 32_064, 3072, 32, 32, 8192),
    "gpt2": _GPT2,
    "bert-base": _config("bert", 30_522, 768, 12, 12, 3072, max_position_embeddings=512),
}
MODELS = {name: architecture_of(config) for name, config in CONFIGS.items()}
