"""minilora: parameter-efficient fine-tuning from the ground up, in NumPy and autograd.

    minilora.linalg      linear(W, x), the one seam between weights and inputs
    minilora.adapters    LoRA, SBoRA, HRA, CondLoRA and full fine-tuning, one short file each
    minilora.quantize    weights in four bits
    minilora.attach      adapters on the named weights of a model: bind, merge, count
    minilora.shapes      what an adapter trains in RoBERTa or LLaMA, counted without a weight
    minilora.peft_io     adapters to Hugging Face PEFT and back
    minilora.models      an MLP and a Transformer as pure functions of (weights, x)
    minilora.data        letters, text and teachers that need no download
    minilora.train       gradient, Adam and the loop, all visible
    minilora.theorems    what adapters can represent, as constructions
    minilora.analysis    measures of weights and of their updates

`python -m minilora` is the tour. Importing this package alone imports nothing else, not even NumPy.
"""

__version__ = "0.1.0"
