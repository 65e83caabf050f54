"""From a config.json of Hugging Face's transformers to a table of sizes.

    q_width = num_attention_heads · head_dim        kv_width = num_key_value_heads · head_dim
    total = layers · (linear maps + their biases + norms) + what is around the layers

Sliding windows and rope settings have no parameters. With a quantization_config, the weights count
as they are before quantization.

github.com/huggingface/transformers. Departure: where num_key_value_heads is null, there are as many
as heads, in every family.
"""

from os import PathLike
from pathlib import Path

from minilora.architectures.entries import LARGEST, Entries, read_config
from minilora.architectures.families import FAMILIES
from minilora.architectures.table import Architecture
from minilora.checks import check_count

_MOST_LAYERS = 10_000
# Entries that, unless they are null, false, 0 or empty, change shapes in a way not counted here.
_UNCOUNTED = """
    add_cross_attention is_encoder_decoder pruned_heads talking_head per_layer_config
    text_config vision_config audio_config num_nextn_predict_layers
""".split()  # noqa: SIM905


def read_architecture(path):
    """The table of sizes of a model, from its config.json or a folder that holds one.

    Raises ValueError, with the file, when there is none, or as `architecture_of` does. Raises
    TypeError when path is neither a str nor a path.
    """
    if not isinstance(path, (str, PathLike)):
        raise TypeError(f"path must be a path, got {path!r:.80}")
    path = Path(path)
    file = path / "config.json" if path.is_dir() else path
    try:
        return architecture_of(read_config(file))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def architecture_of(config):
    """The table of sizes of a model, from its config.json as a dict.

    Raises ValueError when its model_type is not one of those that can be counted, which the message
    lists, when an entry is missing or impossible, and for one that changes shapes in a way not
    counted here, such as a number of experts.
    """
    family = _family_of(config)
    entries = Entries(config, family.usual, family.aliases)
    width = entries.size("hidden_size")
    q_width, kv_width, head_dim = _attention_sizes(entries, family, width)
    table = Architecture(
        family.stack,
        family.names,
        layers=entries.size("num_hidden_layers", most=_MOST_LAYERS),
        width=width,
        q_width=q_width,
        kv_width=kv_width,
        hidden=entries.size_or(4 * width, "intermediate_size"),
        total=0,
        counted=_counted(config, family),
    )
    shape_of = table.shapes_in_a_layer()
    in_a_layer = sum(d_out * d_in for d_out, d_in in shape_of.values())
    for parts, entry in family.biased.items():
        if entry is True or entries.flag(entry):
            in_a_layer += sum(shape_of[part][0] for part in parts.split())
    in_a_layer += family.norms * width + family.head_norms * head_dim
    total = table.layers * in_a_layer + family.around(entries, table)
    return table._replace(total=total)


def _family_of(config):
    """The family of a config. Raises ValueError when it is none, or its shapes are not known."""
    if not isinstance(config, dict):
        raise ValueError(f"config must be an object {{name: value}}, got {type(config).__name__}")
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        given = f"got {model_type!r:.80}" if "model_type" in config else "got none"
        inner = config.get("text_config")
        if "base_model_name_or_path" in config:
            given += f"; this is an adapter of {config['base_model_name_or_path']!r:.80}"
        elif isinstance(inner, dict) and inner.get("model_type") in list(FAMILIES):
            given += "; to count its text model alone, save its text_config as a config.json"
        raise ValueError(f"config must have one of the model_types {', '.join(FAMILIES)}, {given}")
    for name, value in config.items():
        learned = name == "position_embedding_type" and value != "absolute"
        if value and (learned or name in _UNCOUNTED or "expert" in str(name)):
            raise ValueError(f"{name} is {value!r:.80}: shapes with this are not counted here")
    return FAMILIES[model_type]


def _counted(config, family):
    """The class that is counted; beside it the one that the config names, if that is another."""
    named = config.get("architectures")
    first = str(named[0]) if isinstance(named, list) and named else ""
    known = first == family.counted or not first.isidentifier()
    return family.counted if known else f"{family.counted}, not {first}"


def _attention_sizes(entries, family, width):
    """q_width, kv_width and head_dim. Raises ValueError when the heads do not fit together."""
    heads = key_heads = entries.size("num_attention_heads")
    head_dim = None
    if "num_key_value_heads" in family.usual:
        if entries.value("num_key_value_heads") is not None:
            key_heads = entries.size("num_key_value_heads")
        head_dim = entries.size_or(None, "head_dim")
    if heads % key_heads:
        asked = "num_attention_heads must be a multiple of num_key_value_heads"
        raise ValueError(f"{asked}, got {heads} and {key_heads}")
    if head_dim is None and width % heads:
        asked = "hidden_size must be a multiple of num_attention_heads"
        raise ValueError(f"{asked}, got {width} and {heads}")
    head_dim = width // heads if head_dim is None else head_dim
    check_count("num_attention_heads · head_dim", heads * head_dim, LARGEST)
    return heads * head_dim, key_heads * head_dim, head_dim
