"""Training, with nothing hidden, in three ideas, one file each:

tape.py         the gradient: reverse-mode differentiation on autograd's tape
optimizer.py    Adam: from a gradient to a step
loop.py         minibatches, a learning rate that rises and falls, and accuracy

Params are nested dicts of float arrays. Everything keeps their dtype: float32 in, float32 out.
"""

from minilora.train.loop import accuracy, fit, learning_rate
from minilora.train.optimizer import AdamState, adam, adam_start
from minilora.train.tape import value_and_grad

__all__ = ["AdamState", "accuracy", "adam", "adam_start", "fit", "learning_rate", "value_and_grad"]
