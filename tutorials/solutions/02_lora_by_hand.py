# Solutions to the exercises of lesson 2, "LoRA by hand". Each answer comes first. What it shows on the lesson's own
# networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: (B M)(M⁻¹ A) = B A, so A and B alone say nothing: compare the products.
import autograd.numpy as np


def other_factors(A, B, M):
    return np.linalg.solve(M, A), B @ M


# %% tags=["hide-cell"]
A, B = (params["layers.0.W"][letter].astype(np.float64) for letter in ("A", "B"))
M = rng.standard_normal((4, 4)) + 4 * np.eye(4)
other_A, other_B = other_factors(A, B, M)
assert np.allclose(other_B @ other_A, B @ A)
apart = np.linalg.norm(other_A - A) / np.linalg.norm(A)
print(f"the two A differ by {apart:.0%} of their size, the two updates by rounding")
assert apart > 0.4


# %% tags=["hide-cell"]
# Solution 2: A's rate stays, B's is divided by c² (for Adam by c). s enters twice: it multiplies what B does, and B's
# gradient. So where B has a rate of its own, α is nothing else.
def rate_factors(c):
    return 1.0, 1 / c**2, 1.0, 1 / c, c


# %% tags=["hide-cell"]
def descend_two_rates(A, B, s, lr_a, lr_b, steps):
    for _ in range(steps):
        for_a, for_b = gradients(A, B, s)
        A, B = A - lr_a * for_a, B - lr_b * for_b
    return A, B


def adam_two_rates(A, B, s, lr_a, lr_b, eps_b, steps):
    state_a, state_b = adam_start({"A": A}), adam_start({"B": B})
    for _ in range(steps):
        for_a, for_b = gradients(A, B, s)
        a, state_a = adam({"A": A}, {"A": for_a}, state_a, lr=lr_a, eps=1e-8)
        b, state_b = adam({"B": B}, {"B": for_b}, state_b, lr=lr_b, eps=eps_b)
        A, B = a["A"], b["B"]
    return A, B


# Multiplying by a power of two changes no digit of a number, only its exponent: the same bits for c = 4.
A, B = starts["B zero"]
for_a, for_b, adam_a, adam_b, adam_eps = rate_factors(4.0)
A_s, B_s = descend_two_rates(A, B, s=1.0, lr_a=0.1, lr_b=0.1, steps=50)
A_c, B_c = descend_two_rates(A, B, s=4.0, lr_a=0.1 * for_a, lr_b=0.1 * for_b, steps=50)
assert np.array_equal(A_c, A_s) and np.array_equal(4 * B_c, B_s)
A_s, B_s = adam_two_rates(A, B, s=1.0, lr_a=0.01, lr_b=0.01, eps_b=1e-8, steps=50)
A_c, B_c = adam_two_rates(
    A, B, s=4.0, lr_a=0.01 * adam_a, lr_b=0.01 * adam_b, eps_b=1e-8 * adam_eps, steps=50
)
assert np.array_equal(A_c, A_s) and np.array_equal(4 * B_c, B_s)
# That B should learn faster than A is the idea of LoRA+ (see the references).


# %% tags=["hide-cell"]
# Solution 3: B A = Q_B (R_B R_Aᵀ) Q_Aᵀ, and only the small middle matrix needs a singular value decomposition.
def compress(adapters, r):
    A = np.concatenate([A for A, _ in adapters])
    B = np.concatenate([B for _, B in adapters], axis=1)
    Q_B, R_B = np.linalg.qr(B)
    Q_A, R_A = np.linalg.qr(A.T)
    U, sigma, Vt = np.linalg.svd(R_B @ R_A.T)  # square, of the sum of all ranks at most
    return Vt[:r] @ Q_A.T, (Q_B @ U[:, :r]) * sigma[:r]


# %% tags=["hide-cell"]
for name, own in stacked.items():
    A, B = (own[letter].astype(np.float64) for letter in ("A", "B"))
    A_4, B_4 = compress([(A[:4], B[:, :4]), (A[4:], B[:, 4:])], 4)
    U, sigma, Vt = np.linalg.svd(B @ A)
    assert np.allclose(B_4 @ A_4, (U[:, :4] * sigma[:4]) @ Vt[:4])
    lost = np.linalg.norm(B @ A - B_4 @ A_4) / np.linalg.norm(B @ A)
    print(f"{name}: rank 4 of 8 misses {lost:.0%} of the sum")
    assert 0.1 < lost < 0.67
