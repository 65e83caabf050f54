"""BitFit: only biases are trained.

attach(weights, {"*.b": BitFit()}, rng=rng)
"""

from dataclasses import dataclass

from minilora.adapters import Full
from minilora.checks import check_floats


@dataclass(frozen=True)
class BitFit(Full):
    """BitFit: a bias vector is trained itself, as `Full` does, and a matrix is refused.

    Ben Zaken, Ravfogel & Goldberg, 2021, arXiv 2106.10199. No class is needed for it: `Full()` on
    the biases is the same. This one tells that biases were meant.
    """

    def init(self, rng, W):
        """params: W, a copy of the bias. frozen: nothing.

        Raises ValueError when W is not a vector of finite floating-point numbers.
        """
        check_floats("W", W)
        if W.ndim != 1:
            raise ValueError(f"W must be a bias (d_out,), got shape {W.shape}: attach to '*.b'")
        return super().init(rng, W)
