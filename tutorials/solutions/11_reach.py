# Solutions to the exercises of lesson 11, "What each adapter can reach". Each answer comes first. What it shows on the
# lesson's own networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: with r = d strict HRA is −W, its only choice; free HRA gets there too; LoRA with as many misses.
import autograd.numpy as np


def lora_to_minus(W, r):
    squares = np.linalg.svd(W, compute_uv=False) ** 2  # the change is −2W, and the 2 cancels
    return float(np.sqrt(np.sum(squares[r:]) / np.sum(squares)))


# %% tags=["hide-cell"]
W = rng.standard_normal((d, d)) / d**0.5
for adapter, params, frozen in (
    reachable.best_hra_strict(W, -W, d),
    reachable.best_hra(W, -W, d, rng=rng),
    reachable.best_lora(W, -W, d // 2),
):
    found = distance(adapter.merge(params, frozen), W, -W)
    count = sum(array.size for array in params.values())
    print(f"{type(adapter).__name__:<10} {count} parameters, distance {found:.1e}")
    assert count == d * d
    assert 0.1 < found < 0.5 if isinstance(adapter, LoRA) else found < 1e-7
assert np.isclose(found, lora_to_minus(W, d // 2))

# %% tags=["hide-cell"]
# Solution 2: Wᵀ S W is symmetric without negative eigenvalues exactly if S is. So the targets are S W with such an S,
# of d (d + 1) / 2 dimensions; a diagonal D has d of them.
import autograd.numpy as np


def blind_target(rng, W):
    signs = rng.choice([-1.0, 1.0], len(W))
    S = np.diag(rng.uniform(1, 2, len(W))) + np.outer(signs, signs)  # no negative eigenvalue
    return S @ W


# %% tags=["hide-cell"]
T = blind_target(rng, W)
S = T @ np.linalg.inv(W)
blind = distance(W @ reachable.procrustes(W, T, odd=False), W, T)
adapter, params, frozen = reachable.best_hra(W, T, 8, rng=rng)
tried = distance(adapter.merge(params, frozen), W, T)
off_diagonal = np.linalg.norm(S - np.diag(np.diag(S))) / np.linalg.norm(S)
print(
    f"all rotations: {blind:.6f}, HRA r=8: {tried:.6f}; {off_diagonal:.0%} of S is off its diagonal"
)
assert abs(blind - 1) < 1e-7 and tried > 1 - 1e-9 and off_diagonal > 0.5

# Where S has three negative eigenvalues, there is something to gain.
vectors = random_orthogonal(rng, d, det=1)
signs = (vectors * np.where(np.arange(d) < 3, -1.0, 1.0)) @ vectors.T  # three negative eigenvalues
T = signs @ W
seen = distance(W @ reachable.procrustes(W, T, odd=True), W, T)
print(f"with three negative eigenvalues HRA comes to {seen:.2f}")
print(f"{d * (d + 1) // 2} of {d * d} dimensions")
assert seen < 0.9


# %% tags=["hide-cell"]
# Solution 3: LoRA has r (2d − r) free parameters and wastes r²; HRA has r (d − r) + r (r − 1)/2, the choices of
# Q, and wastes r (r + 1)/2: less than LoRA of the same rank, more than LoRA with as many parameters.
def free_parameters(d, r):
    return r * (2 * d - r), r * (d - r) + r * (r - 1) // 2


# %% tags=["hide-cell"]
from autograd import jacobian

from minilora import HRA
from minilora.train.optimizer import flatten

side = 6
W = rng.standard_normal((side, side))
for adapter in (LoRA(2), LoRA(4), LoRA(6), HRA(2), HRA(4), HRA(6)):
    start, frozen = adapter.init(rng, W)
    somewhere = rng.standard_normal(flatten(start).size)
    shapes = {name: array.shape for name, array in start.items()}

    def matrix_at(vector, adapter=adapter, frozen=frozen, shapes=shapes):
        """W' transposed and flat, as a function of one flat vector of params."""
        params, begin = {}, 0
        for name, shape in shapes.items():
            params[name] = np.reshape(vector[begin : begin + shape[0] * shape[1]], shape)
            begin += shape[0] * shape[1]
        return np.ravel(adapter.forward(params, frozen, np.eye(side)))

    free = np.linalg.matrix_rank(jacobian(matrix_at)(somewhere))
    r = adapter.rank
    formula = r * (2 * side - r) if isinstance(adapter, LoRA) else r * (side - r) + r * (r - 1) // 2
    print(f"{type(adapter).__name__} r={r}: {somewhere.size:>2} trainable, {free:>2} free")
    assert free == formula == free_parameters(side, r)[isinstance(adapter, HRA)]
