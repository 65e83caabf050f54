# Solutions to the exercises of lesson 19, "The family tree". Each answer comes first. What it shows on numbers follows,
# in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: each column of T is projected on the same column of W, as best_ia3 does with the rows.
import autograd.numpy as np


def nearest_input_gains(W, T):
    squares = np.sum(W**2, axis=0)
    rest = squares == 0
    return np.where(rest, 1.0, np.sum(W * T, axis=0) / np.where(rest, 1.0, squares))


# %% tags=["hide-cell"]
from minilora.family.reach import best_ia3

W = rng.standard_normal((16, 16))
T = W * np.linspace(0.5, 2, 16)  # W diag(l)
adapter, params, frozen = best_ia3(W, T)
by_inputs = np.linalg.norm(W * nearest_input_gains(W, T) - T) / np.linalg.norm(T - W)
by_outputs = np.linalg.norm(adapter.merge(params, frozen) - T) / np.linalg.norm(T - W)
print(f"gains on the inputs leave {by_inputs:.0e}, gains on the outputs {by_outputs:.2f}")
assert by_inputs < 1e-14 and 0.7 < by_outputs < 1

# It is the case of the outputs, transposed.
_, params, _ = best_ia3(W.T, T.T)
assert np.allclose(params["l"], nearest_input_gains(W, T), rtol=1e-14)

# %% tags=["hide-cell"]
# Solution 2: (Σ_k b1_k a1_kᵀ) ⊙ (Σ_l b2_l a2_lᵀ) = Σ_kl (b1_k ⊙ b2_l)(a1_k ⊙ a2_l)ᵀ, one row and one column for each
# pair. A and B must have the pairs in the same order.
import autograd.numpy as np


def loha_as_lora(A1, B1, A2, B2):
    rows = [one * other for one in A1 for other in A2]
    columns = [one * other for one in B1.T for other in B2.T]
    return np.array(rows), np.array(columns).T


# %% tags=["hide-cell"]
from minilora.adapters import LoRA
from minilora.family import LoHa

W = rng.standard_normal((32, 24))
start, frozen = LoHa(4).init(rng, W)
params = {name: rng.standard_normal(array.shape) for name, array in start.items()}
A, B = loha_as_lora(params["A1"], params["B1"], params["A2"], params["B2"])
merged = LoHa(4).merge(params, frozen)
same = LoRA(16).merge({"A": A, "B": B}, {"W": W})
count, rank = sum(array.size for array in params.values()), np.linalg.matrix_rank(merged - W)
print(f"LoHa(4) trains {count} numbers, LoRA(16) {A.size + B.size}; the rank of ΔW is {rank}")
print(f"largest difference of the two W': {np.max(np.abs(merged - same)):.0e}")
assert np.allclose(merged, same, rtol=0, atol=1e-11)
assert (count, A.size + B.size, rank) == (448, 896, 16)
# 2 r (d_out + d_in) is less than r² (d_out + d_in) from r = 3.

# %% tags=["hide-cell"]
# Solution 3: write block (a, b) of E as row (a, b) of a matrix R. Then C ⊗ D becomes c dᵀ, with the entries of C in c
# and those of D in d, and the Frobenius norm stays. The nearest matrix of rank one comes from the SVD of R.
import autograd.numpy as np


def nearest_kronecker(E, o, i):
    p, q = E.shape[0] // o, E.shape[1] // i
    blocks = E.reshape(o, p, i, q).transpose(0, 2, 1, 3)  # blocks[a, b] is near C_ab D
    U, sigma, Vt = np.linalg.svd(blocks.reshape(o * i, p * q), full_matrices=False)
    return (sigma[0] * U[:, 0]).reshape(o, i), Vt[0].reshape(p, q)


# %% tags=["hide-cell"]
from minilora.family import LoKr


def kronecker_leaves(E):
    """‖E − C ⊗ D‖ / ‖E‖ of the nearest C ⊗ D, with two factors (4, 4)."""
    return np.linalg.norm(E - np.kron(*nearest_kronecker(E, 4, 4))) / np.linalg.norm(E)


def lora_leaves(E):
    """‖E − B A‖ / ‖E‖ of the best LoRA of rank 1."""
    return np.sqrt(np.sum(np.linalg.svd(E, compute_uv=False)[1:] ** 2)) / np.linalg.norm(E)


draws = [rng.standard_normal((16, 16)) for _ in range(100)]
products = [np.kron(draw[:4, :4], draw[4:8, :4]) for draw in draws]
outer = [np.outer(draw[0], draw[1]) for draw in draws]
left = {}
for kind, targets in (("random", draws), ("product", products), ("rank one", outer)):
    left[kind] = [
        np.mean([leaves(E) for E in targets]) for leaves in (kronecker_leaves, lora_leaves)
    ]
    print(f"{kind:<8} C ⊗ D leaves {left[kind][0]:.3f}, LoRA of rank 1 {left[kind][1]:.3f}")

# R has the entries of E in other places. If all are independent, R is as random as E.
assert abs(left["random"][0] - left["random"][1]) < 0.01 and 0.85 < left["random"][0] < 0.92

# Each reaches its own kind. Of the other's kind both leave the same on average, since R exchanges the two:
# R of a Kronecker product has rank one, and R of a matrix of rank one is a Kronecker product.
assert left["product"][0] < 1e-7 and left["rank one"][1] < 1e-7
assert abs(left["product"][1] - left["rank one"][0]) < 0.06 and left["product"][1] > 0.7

# The library's LoKr has these factors for a matrix (16, 16). At rank 4 its B A is any D.
E = draws[0]
C, D = nearest_kronecker(E, 4, 4)
merged = LoKr(4).merge({"C": C, "A": D, "B": np.eye(4)}, {"W": np.zeros((16, 16))})
assert np.isclose(np.linalg.norm(E - merged) / np.linalg.norm(E), kronecker_leaves(E))
