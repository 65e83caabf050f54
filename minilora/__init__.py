"""minilora: parameter-efficient fine-tuning from the ground up, in NumPy and autograd.

    minilora.linalg      linear(W, x), the one seam between weights and inputs
    minilora.adapters    LoRA and Full, one short file each
    minilora.attach      adapters on the named weights of a model: bind, merge, count
    minilora.models      small networks as pure functions of (weights, x)
    minilora.data        letters that need no download
    minilora.train       gradient, Adam and the loop, all visible

`python -m minilora` is the tour. Importing this package alone imports nothing else, not even NumPy.
"""

__version__ = "0.1.0"
