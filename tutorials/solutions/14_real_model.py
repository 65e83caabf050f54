# Solutions to the exercises of lesson 14, "A real model". Each answer comes first; what it shows in the lesson's own
# networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: over eleven thousand. Methods that are tested on the same sentences share most of their luck.
def sentences(p, q):
    variance = p * (1 - p) + q * (1 - q)  # of the difference, times n
    return (2 / (q - p)) ** 2 * variance


# %% tags=["hide-cell"]
p, q = 0.83, 0.84
variance = p * (1 - p) + q * (1 - q)
n = sentences(p, q)
print(f"{n:,.0f} sentences")
assert abs(0.01 - 2 * np.sqrt(variance / n)) < 1e-12
# The variance of a difference is that of the two, minus twice what they have in common: two methods mostly agree
# on which sentences are hard. And the spread over seeds is measured, not computed from n.
first, second = points(lora, LONG), points("HRA r=16", LONG)
apart = np.sqrt(np.var(first, ddof=1) + np.var(second, ddof=1))
print(f"deviation over seeds: {np.std(first, ddof=1):.2f} and {np.std(second, ddof=1):.2f} points,")
print(f"of the paired difference {np.std(first - second, ddof=1):.2f}, if independent {apart:.2f}")


# %% tags=["hide-cell"]
# Solution 2: twice the rank for SBoRA and HRA, six times the rank for CondLoRA, whatever r is.
def equal_ranks(layers, r):
    return 2 * r, 2 * r, layers * r


# %% tags=["hide-cell"]
width, layers, kinds, head = 384, 6, 2, 2 * 384 + 2
assert equal_ranks(layers, 8) == (16, 16, 48)
expected = {
    "head alone": head,
    "LoRA r=8": kinds * layers * 8 * (width + width) + head,
    "SBoRA-FA r=16": kinds * layers * 16 * width + head,
    "SBoRA-FB r=16": kinds * layers * 16 * width + head,
    "QSBoRA-FA r=16": kinds * layers * 16 * width + head,
    "HRA r=16": kinds * layers * 16 * width + head,
    "HRA strict r=16": kinds * layers * 16 * width + head,
    "CondLoRA r=8": kinds * 8 * (width + width) + head,
    "CondLoRA r=48": kinds * 48 * (width + width) + head,
    "full fine-tuning": layers * (4 * width * width + 2 * width * 4 * width) + head,
}
assert expected == {name: rows[name, SHORT]["trainable"] for name in names}
assert expected["LoRA r=8"] == expected["HRA r=16"] == expected["CondLoRA r=48"]

# %% tags=["hide-cell"]
# Solution 3: W⁻¹ turns any B towards the weakest right singular vector of W.
import numpy as np


def with_weakest(rng, v, spread=100):
    """A random W (d, d) whose weakest right singular vector is v."""
    d = len(v)
    V, _ = np.linalg.qr(np.column_stack([v, rng.standard_normal((d, d - 1))]))
    U, _ = np.linalg.qr(rng.standard_normal((d, d)))
    values = np.append(1 / spread, np.linspace(1, 2, d - 1))
    return U * values @ V.T


def alike_pair(rng, d):
    v = rng.standard_normal(d)
    return with_weakest(rng, v), with_weakest(rng, v)


# %% tags=["hide-cell"]
from minilora.analysis import random_similarity, subspace_similarity

d = 64


def similarity(W1, W2):
    """φ(1, 1) of W⁻¹ B for two random B."""
    B1, B2 = rng.standard_normal((2, d, 4))
    return subspace_similarity(np.linalg.solve(W1, B1), np.linalg.solve(W2, B2), 1, 1)


shared = [similarity(*alike_pair(rng, d)) for _ in range(200)]
vectors = rng.standard_normal((200, 2, d))
apart = [similarity(with_weakest(rng, v), with_weakest(rng, other)) for v, other in vectors]
chance_1, _ = random_similarity(d, 1, 1)
print(
    f"shared weakest vector {np.mean(shared):.3f}, not shared {np.mean(apart):.3f}, chance {chance_1:.3f}"
)
W1, W2 = alike_pair(rng, d)
B1, B2 = rng.standard_normal((2, d, 4))
swapped = subspace_similarity(np.linalg.solve(W2, B1), np.linalg.solve(W1, B2), 1, 1)
assert np.mean(shared) > 0.95 and swapped > 0.9 and np.mean(apart) < 2 * chance_1
