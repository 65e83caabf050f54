"""minilora: parameter-efficient fine-tuning from the ground up, in NumPy and autograd.

    from minilora import LoRA, attach, cross_entropy, fit, init_mlp, mlp

    minilora.weight           what a weight is: linear(W, x), between models and adapters
    minilora.ops              every function whose derivative is written by hand
    minilora.adapters         LoRA, SBoRA, HRA, CondLoRA and full fine-tuning, one short file each
    minilora.quantization     weights in four bits
    minilora.attachment       adapters on the named weights of a model: bind, merge, count
    minilora.architectures    what an adapter trains in a real model, counted without weights
    minilora.peft             adapters to Hugging Face PEFT and back
    minilora.models           an MLP, a Transformer and BERT as pure functions of (weights, x)
    minilora.data             letters, text, teachers, and film reviews for a pretrained BERT
    minilora.train            gradient, Adam and the loop, all visible
    minilora.theorems         what adapters can represent, as constructions
    minilora.analysis         measures of weights and of their updates
    minilora.testing          the contract that every adapter keeps, for your own too

`python -m minilora` is the tour. Importing this package alone imports nothing else, not even NumPy;
a name below is imported from its file when it is first used.

(To pytest, which loads the plugin of minilora.testing: PYTEST_DONT_REWRITE.)
"""

from importlib import import_module

__version__ = "0.2.0"

_HOME = {
    "weight": "Adapted describe dense linear",
    "adapters": "CondLoRA Full HRA HRAStrict LoRA SBoRAFA SBoRAFB",
    "adapters.hra": "orthogonality_penalty",
    "adapters.scaling": "alpha_over_rank alpha_over_sqrt_rank",
    "quantization": "quantize",
    "attachment": "attach kind merge_all own_name",
    "architectures": "count_trainable",
    "peft": "read_peft read_safetensors write_peft",
    "models.mlp": "init_mlp mlp",
    "models.transformer": "causal init_transformer no_mask sample transformer",
    "models.encoder": "encoder init_encoder sentence_logits sentence_vectors with_head",
    "train": "accuracy adam adam_start fit learning_rate value_and_grad",
    "ops": "cross_entropy relu",
    "testing": "check_adapter",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    """A public name from its file (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(
            f"module 'minilora' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    value = getattr(import_module(f"minilora.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(__all__))
