"""The families of models that can be counted: which linear maps they have, and what else.

A decoder counts as its …ForCausalLM, with the output layer, which is the embedding itself where
tie_word_embeddings says so. A BERT counts without a head, but with the pooler where it has one.
The usual values of entries are the defaults of Hugging Face's transformers 5.
"""

from typing import NamedTuple

from minilora.architectures.names import (
    BERT,
    DEBERTA,
    DEBERTA_V2,
    DISTILBERT,
    GATED,
    GPT2,
    PHI,
    PHI3,
)


class _Family(NamedTuple):
    """How the models of one model_type are counted.

    counted, stack, names   as in `Architecture`
    around      function of (entries, table): what is not in the layers' maps, biases and norms
    norms       vectors of the width in the norms of a layer: a LayerNorm has 2, an RMSNorm 1
    head_norms  vectors of head_dim in them
    biased      which parts have a bias: "q k v" -> True, or the name of the entry that says so
    usual, aliases   as in `Entries`
    """

    counted: str
    stack: str
    names: dict
    around: object
    norms: int
    head_norms: int
    biased: dict
    usual: dict
    aliases: dict


# ---- Parameters outside the linear maps of the layers


def _llama(entries, table):
    """Embedding, output layer and the last norm."""
    matrices = 1 if entries.flag("tie_word_embeddings") else 2
    return (matrices * entries.size("vocab_size") + 1) * table.width


def _gpt2(entries, table):
    """The same with learned positions; the last norm has a bias."""
    positions = entries.size("max_position_embeddings")
    return _llama(entries, table) + (positions + 1) * table.width


def _phi(entries, table):
    """The output layer and the last norm have a bias; there may be norms of q and k in a layer."""
    head_norms = 4 * (table.width // entries.size("num_attention_heads"))
    in_layers = table.layers * head_norms if entries.flag("qk_layernorm") else 0
    return _llama(entries, table) + entries.size("vocab_size") + table.width + in_layers


def _distilbert(entries, table):
    """Embeddings of tokens and positions, and their norm."""
    rows = entries.size("vocab_size") + entries.size("max_position_embeddings")
    return (rows + 2) * table.width


def _bert(entries, table):
    """The same with token types, and the pooler."""
    d = table.width
    return _distilbert(entries, table) + entries.size("type_vocab_size") * d + d * d + d


def _deberta_embeddings(entries, table):
    """Embeddings, perhaps narrower than the layers and then widened, and their norm."""
    narrow = entries.size_or(table.width, "embedding_size")
    rows = entries.size("vocab_size") + entries.size("type_vocab_size", least=0)
    if entries.flag("position_biased_input"):
        rows += entries.size("max_position_embeddings")
    widening = 0 if narrow == table.width else narrow * table.width
    return rows * narrow + widening + 2 * table.width


def _distances(entries):
    """How many distances between tokens, to one side, DeBERTa embeds."""
    given = entries.size("max_relative_positions", least=-1)
    return given if given > 0 else entries.size("max_position_embeddings")


def _deberta(entries, table):
    """The fused qkv has no bias, but q and v do; relative positions have their own matrices."""
    d = table.width
    in_a_layer, embedded = 2 * d, 0
    if entries.flag("relative_attention"):
        embedded = 2 * _distances(entries) * d
        kinds = entries.words("pos_att_type")
        in_a_layer += ("c2p" in kinds) * d * d + ("p2c" in kinds) * (d * d + d)
    return _deberta_embeddings(entries, table) + embedded + table.layers * in_a_layer


def _deberta_v2(entries, table):
    """Distances may be in buckets and have a norm; a convolution may follow the first layer."""
    d = table.width
    head_dim = d // entries.size("num_attention_heads")
    if entries.size_or(head_dim, "attention_head_size") != head_dim:
        raise ValueError(f"attention_head_size must be {head_dim}, as the heads share the width")
    in_a_layer, embedded = 0, 0
    if entries.flag("relative_attention"):
        buckets = entries.size("position_buckets", least=-1)
        embedded = 2 * (buckets if buckets > 0 else _distances(entries)) * d
        kinds = entries.words("pos_att_type") & {"c2p", "p2c"}
        in_a_layer = 0 if entries.flag("share_att_key") else len(kinds) * (d * d + d)
    norm = 2 * d if "layer_norm" in entries.words("norm_rel_ebd") else 0
    kernel = entries.size("conv_kernel_size", least=0)
    convolution = (kernel * d // entries.size("conv_groups", most=1) + 3) * d if kernel else 0
    around = _deberta_embeddings(entries, table) + embedded + norm + convolution
    return around + table.layers * in_a_layer


# ---- The families

_UNTIED = {"tie_word_embeddings": False, "num_key_value_heads": None, "head_dim": None}
_TIED = {"tie_word_embeddings": True}
_GEMMA = {**_TIED, "head_dim": 256, "attention_bias": False}
_MAY_HAVE_BIAS = {"q k v o": "attention_bias"}
_DEBERTAS = {
    "type_vocab_size": 0,
    "embedding_size": None,
    "position_biased_input": True,
    "relative_attention": False,
    "max_relative_positions": -1,
    "pos_att_type": None,
}


def _decoder(name, norms=2, head_norms=0, names=GATED, around=_llama, biased=None, usual=_UNTIED):
    """A family of causal language models, with the stack that all but GPT-2 have."""
    counted = f"{name}ForCausalLM"
    return _Family(
        counted, "model.layers", names, around, norms, head_norms, biased or {}, usual, aliases={}
    )


def _encoder(name, names=BERT, around=_bert, biased="q k v o up down", usual=None):
    """A family of BERTs."""
    usual = {"type_vocab_size": 2} if usual is None else usual
    biases = {biased: True}
    return _Family(f"{name}Model", "encoder.layer", names, around, 4, 0, biases, usual, aliases={})


FAMILIES = {
    "llama": _decoder(
        "Llama",
        usual={**_UNTIED, "attention_bias": False, "mlp_bias": False},
        biased={**_MAY_HAVE_BIAS, "gate up down": "mlp_bias"},
    ),
    "mistral": _decoder("Mistral", usual={**_UNTIED, "num_key_value_heads": 8}),
    "ministral": _decoder("Ministral", usual={**_UNTIED, "num_key_value_heads": 8}),
    "qwen2": _decoder(
        "Qwen2", usual={**_UNTIED, "num_key_value_heads": 32}, biased={"q k v": True}
    ),
    "qwen3": _decoder(
        "Qwen3",
        head_norms=2,
        usual={**_UNTIED, "num_key_value_heads": 32, "head_dim": 128, "attention_bias": False},
        biased=_MAY_HAVE_BIAS,
    ),
    "gemma": _decoder("Gemma", usual={**_GEMMA, "num_key_value_heads": 16}, biased=_MAY_HAVE_BIAS),
    "gemma2": _decoder(
        "Gemma2", norms=4, usual={**_GEMMA, "num_key_value_heads": 4}, biased=_MAY_HAVE_BIAS
    ),
    "gemma3_text": _decoder(
        "Gemma3",
        norms=4,
        head_norms=2,
        usual={**_GEMMA, "num_key_value_heads": 4},
        biased=_MAY_HAVE_BIAS,
    ),
    "phi": _decoder(
        "Phi",
        names=PHI,
        around=_phi,
        usual={**_UNTIED, "qk_layernorm": False},
        biased={"q k v o up down": True},
    ),
    "phi3": _decoder("Phi3", names=PHI3),
    "gpt2": _Family(
        "GPT2LMHeadModel",
        "transformer.h",
        GPT2,
        _gpt2,
        norms=4,
        head_norms=0,
        biased={"qkv o up down": True},
        usual={**_TIED, "n_inner": None},
        aliases={
            "hidden_size": "n_embd",
            "num_hidden_layers": "n_layer",
            "num_attention_heads": "n_head",
            "max_position_embeddings": "n_positions",
            "intermediate_size": "n_inner",
        },
    ),
    "bert": _encoder("Bert"),
    "roberta": _encoder("Roberta"),
    "xlm-roberta": _encoder("XLMRoberta"),
    "camembert": _encoder("Camembert"),
    "distilbert": _Family(
        "DistilBertModel",
        "transformer.layer",
        DISTILBERT,
        _distilbert,
        norms=4,
        head_norms=0,
        biased={"q k v o up down": True},
        usual={},
        aliases={
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
        },
    ),
    "deberta": _encoder("Deberta", DEBERTA, _deberta, biased="o up down", usual=_DEBERTAS),
    "deberta-v2": _encoder(
        "DebertaV2",
        DEBERTA_V2,
        _deberta_v2,
        usual={
            **_DEBERTAS,
            "attention_head_size": None,
            "position_buckets": -1,
            "share_att_key": False,
            "norm_rel_ebd": "none",
            "conv_kernel_size": 0,
            "conv_groups": 1,
        },
    ),
}
