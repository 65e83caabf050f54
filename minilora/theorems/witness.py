"""Two inputs that a frozen first layer confuses: why tuning the last layers alone is not enough.

The first layer is relu(W_1 x + b_1), with W_1 and b_1 both frozen and W_1 of independent rows.
Where one of its ReLUs clips, it maps different inputs to the same output, and no later layer can
tell them apart. If the target does, every such network misses it at one of the two inputs by at
least half the distance between its outputs there, however the later layers are trained.

Zeng & Lee, 2023, arXiv 2310.17513, lemma on tuning the final layers. Departure: they show that no
such network equals the target; here is the pair of inputs, and a bound on the error.
"""

import numpy as np

from minilora.checks import check_count, check_positive, check_rng
from minilora.theorems.chain import check_array, mlp_layers
from minilora.theorems.relu import relu_mlp


def witness(weights, target, radius, *, rng, draws=1000):
    """(x, x', bound): inputs in the ball that the frozen first layer confuses, but not the target.

    x' = x + 2 z_j W_1⁻¹ e_j triples one pre-activation z_j < 0 of the first layer and keeps the
    others, so its ReLU hides the difference. A network with this W_1 and b_1, whatever follows,
    errs at x or x' by at least the bound ‖f̄(x) − f̄(x')‖ / 2. It is the largest found in `draws`
    random x.

    Raises ValueError when none is found: W_1 has dependent rows, no unit is off in the ball, or the
    target does not vary where one is; and when an argument is impossible.
    """
    W, b = mlp_layers("weights", weights)[0]
    d_in = W.shape[1]
    target_W, _ = mlp_layers("target", target)[0]
    check_array("target['layers.0.W']", target_W, (len(target_W), d_in))
    check_positive("radius", radius)
    check_count("draws", draws)
    check_rng(rng)
    x = rng.uniform(-1, 1, (draws, d_in)) * (radius / d_in**0.5)
    z = x @ W.T + b
    twins = x[:, None] + 2 * z[:, :, None] * np.linalg.pinv(W).T  # (draws, units, d_in)
    hidden = (z < 0) & (np.linalg.norm(twins, axis=-1) <= radius)
    gaps = hidden * np.linalg.norm(relu_mlp(target, x)[:, None] - relu_mlp(target, twins), axis=-1)
    draw, unit = np.unravel_index(np.argmax(gaps), gaps.shape)
    if not gaps[draw, unit] > 0 or np.linalg.matrix_rank(W) < len(W):
        raise ValueError(f"weights: layer 0 hides nothing that was found within radius {radius}")
    return x[draw], twins[draw, unit], gaps[draw, unit] / 2
