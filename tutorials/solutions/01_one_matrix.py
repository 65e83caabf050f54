# Solutions to the exercises of lesson 1, "One matrix". Each answer comes first; what it shows in the lesson's own
# networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: to mirror or to reorder rows is to multiply with a permutation. To rotate by 90° is to mirror and to
# transpose, which only exchanges the u and the v. So only shuffling all pixels changes anything.
def rotated_svd(U, sigma, Vt):
    return Vt.T[::-1], sigma, U.T


# %% tags=["hide-cell"]
letter_sigma = np.linalg.svd(W, compute_uv=False)
for name, changed in {
    "rotated by 90°": np.rot90(W),
    "mirrored": W[:, ::-1],
    "rows reordered": W[rng.permutation(48)],
    "all pixels shuffled": rng.permutation(W.ravel()).reshape(48, 48),
}.items():
    values = np.linalg.svd(changed, compute_uv=False)
    print(f"{name:20} first three singular values {values[:3].round(2)}")
    assert np.allclose(values, letter_sigma) == (name != "all pixels shuffled")
    assert np.isclose(np.sum(values**2), np.sum(W**2))  # the Frobenius norm never changes
U, sigma, Vt = rotated_svd(*np.linalg.svd(W, full_matrices=False))
assert np.allclose(U * sigma @ Vt, np.rot90(W))

# %% tags=["hide-cell"]
# Solution 2: the first terms hold most of the letter, the later ones mostly noise, so the best k lies in between.
import autograd.numpy as np


def best_rank(noisy, clean):
    U, sigma, Vt = np.linalg.svd(noisy, full_matrices=False)
    gaps = [
        float(np.linalg.norm(U[:, :k] * sigma[:k] @ Vt[:k] - clean))
        for k in range(1, len(sigma) + 1)
    ]
    return 1 + gaps.index(min(gaps)), min(gaps)


# %% tags=["hide-cell"]
clean = (W > 0.5).astype(np.float64)
noisy = clean + rng.normal(0, 0.3, clean.shape)
gaps = {k: np.linalg.norm(cut_to_rank(noisy, k) - clean) for k in range(1, 49)}
best = min(gaps, key=gaps.get)
print(
    f"distance to the clean letter: rank 1 {gaps[1]:.1f}, "
    f"rank {best} {gaps[best]:.1f}, all 48 ranks {gaps[48]:.1f}"
)
assert np.isclose(gaps[48], np.linalg.norm(noisy - clean))
assert best_rank(noisy, clean)[0] == best
assert 3 <= best <= 8 and gaps[best] < 0.75 * min(gaps[1], gaps[48])

# %% tags=["hide-cell"]
# Solution 3: M = VᵀV ΔW, with V from Y = X ΔWᵀ. It helps at ranks 4 and 8, but it does not use the loss.
import autograd.numpy as np


def best_for_outputs(X, delta, k):
    _, _, Vt = np.linalg.svd(X @ delta.T, full_matrices=False)
    return Vt[:k].T @ (Vt[:k] @ delta)


# %% tags=["hide-cell"]
inputs, x = {}, rotated[0]
for layer, name in enumerate(hidden):
    inputs[name] = x
    x = relu(linear(tuned[name], x) + weights[f"layers.{layer}.b"])
for k in (1, 4, 8):
    aware = {}
    for name in hidden:
        M = best_for_outputs(inputs[name], delta[name], k)
        plain = cut_to_rank(delta[name], k)
        missed = [np.linalg.norm(linear(delta[name] - part, inputs[name])) for part in (M, plain)]
        assert missed[0] < 0.9 * missed[1]
        aware[name] = weights[name] + M
    print(f"rank {k}: cut by ‖ΔW‖ {score(truncated(k)):.1%}, cut by the outputs {score(aware):.1%}")
    assert k == 1 or score(aware) > score(truncated(k)) + 0.04
    assert k not in trained or score(aware) < trained[k] - 0.25
