"""What the configuration of a checkpoint, adapter_config.json, says about its adapters, and back.

    peft_type      "LORA", or "HRA"
    r, lora_alpha  the rank, and α in s = α / r; with use_rslora s = α / √r
    apply_GS       HRA with orthogonal vectors, `HRAStrict` here
    rank_pattern,  {regular expression for the end of a layer's name: the value of this layer}
    alpha_pattern

Everything else is how the adapter was trained, where it belongs, or an extension of LoRA. The
first two are ignored, and the last is refused, as is every setting that is not known here.

Mangrulkar et al., 2022, github.com/huggingface/peft, version 0.21.
"""

import re

from minilora.adapters import HRA, HRAStrict, LoRA
from minilora.adapters.scaling import alpha_over_rank, alpha_over_sqrt_rank
from minilora.checks import check_rank
from minilora.peft.patterns import first_match

CONFIG = "adapter_config.json"
_VERSION = "0.21"  # of PEFT, whose words these are
# What a person wants to know of an adapter; `write_peft` keeps it unchanged.
_ABOUT = ("auto_mapping", "base_model_name_or_path", "revision", "task_type")
# The first seven say what is computed, the next three what was trained whole; the others do
# not change the map that a trained adapter is.
_KNOWN = {
    "peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "apply_GS",
    "bias", "modules_to_save", "ensure_weight_tying",
    *_ABOUT, "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_weights",
    "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_dropout", "megatron_core",
    "peft_version", "qalora_group_size", "target_modules",
}  # fmt: skip
_STARTS = (True, False, None, "", "gaussian", "eva", "orthogonal", "mica")
_BIASES = ("none", "all", "lora_only", "hra_only")


def check_settings(config):
    """Raise ValueError when a configuration has a setting that changes the map and is not read."""
    if config.get("peft_type") not in ("LORA", "HRA"):
        problem = f"{CONFIG} has peft_type = {config.get('peft_type')!r:.60}"
        raise ValueError(f"{problem}: LORA and HRA are read here")
    for patterns in ("rank_pattern", "alpha_pattern"):
        if not isinstance(config.get(patterns) or {}, dict):
            given = f"{config[patterns]!r:.60}"
            raise ValueError(f"{CONFIG} has {patterns} = {given}, not {{pattern: number}}")
    for word, value in config.items():
        if value and word not in _KNOWN:
            problem = f"{CONFIG} has {word:.60} = {value!r:.200}, which no adapter here represents"
            written = f"{config.get('peft_version') or 'an older one'!s:.20}"
            raise ValueError(f"{problem} (PEFT {_VERSION} is known, the file is of {written})")
    start = config.get("init_lora_weights")
    if (start.lower() if isinstance(start, str) else start) not in _STARTS:
        problem = f"{CONFIG} has init_lora_weights = {start!r:.60}, which changes W too"
        advice = "path_initial_model_for_weight_conversion saves PiSSA, OLoRA and CorDA as LoRA"
        raise ValueError(f"{problem}: PEFT's {advice}")
    if config.get("bias") and config["bias"] not in _BIASES:
        raise ValueError(f"{CONFIG} has bias = {config['bias']!r:.60}, not one of {_BIASES}")
    modules = config.get("modules_to_save") or []
    if not isinstance(modules, list) or not all(isinstance(module, str) for module in modules):
        raise ValueError(f"{CONFIG} has modules_to_save = {modules!r:.60}, not a list of names")


def description(about):
    """What a configuration says of the base model, {setting: value}, to be kept unchanged.

    Raises ValueError when about is not a dict, or has a setting that no configuration has.
    """
    if not isinstance(about, dict):
        raise ValueError(f"about must be a dict, such as a configuration, got {about!r:.80}")
    if unknown := [word for word, value in about.items() if value and word not in _KNOWN]:
        raise ValueError(
            f"about must have settings such as {', '.join(_ABOUT)}, got {unknown!r:.200}"
        )
    return {word: about[word] for word in _ABOUT if about.get(word)}


def adapter_for(config, layers):
    """{layer: its adapter} by a configuration. Raises ValueError for anything but LoRA and HRA."""
    rank_of = _per_layer(config, layers, "r", "rank_pattern")
    alpha_of = _per_layer(config, layers, "lora_alpha", "alpha_pattern")
    return {layer: _adapter(config, rank_of[layer], alpha_of[layer]) for layer in layers}


def _per_layer(config, layers, common, patterns):
    """{layer: value}: that of the first pattern that matches the layer, else the common one."""
    own = first_match(config.get(patterns) or {}, layers)
    return {layer: own.get(layer, config.get(common)) for layer in layers}


def _adapter(config, rank, alpha):
    check_rank(rank)
    if config.get("peft_type") == "LORA" and alpha is not None:
        if isinstance(alpha, (int, float)) and alpha < 0:
            advice = "the sign can go into B: negate lora_B and lora_alpha"
            raise ValueError(f"lora_alpha must be a positive number, got {alpha}: {advice}")
        scaling = alpha_over_sqrt_rank if config.get("use_rslora") else alpha_over_rank
        return LoRA(rank, alpha, scaling)
    if config.get("peft_type") == "HRA":
        return HRAStrict(rank) if config.get("apply_GS") else HRA(rank, odd=rank % 2 == 1)
    raise ValueError(f"{CONFIG} must have lora_alpha for LORA, got {config!r:.200}")


def joined(settings):
    """One configuration for all layers, from {layer: its settings}.

    The settings of the first layer are the common ones; layers with others are named in patterns.

    Raises ValueError when PEFT has no configuration for this mixture.
    """
    common, *_ = settings.values()
    unlike = {f"^{re.escape(layer)}": own for layer, own in settings.items() if own != common}
    if unlike and any(own["peft_type"] == "HRA" for own in settings.values()):
        wanted = "LoRA alone, or HRA of one rank and one kind"
        raise ValueError(f"attached must hold {wanted}, got {settings!r:.500}")
    config = {**common, "target_modules": "|".join(map(re.escape, settings))}
    if unlike:
        config["rank_pattern"] = {pattern: own["r"] for pattern, own in unlike.items()}
        config["alpha_pattern"] = {pattern: own["lora_alpha"] for pattern, own in unlike.items()}
    return config
