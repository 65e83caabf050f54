# Solutions to the exercises of lesson 10, "Expressive power III". Each answer comes first. What it shows on the
# lesson's own networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: equal tokens. Whatever the shares are, a mixture of equal values is that value.
import autograd.numpy as np


def blind_tokens(rng, n, D):
    return np.repeat(rng.standard_normal((1, D)), n, axis=0)


# %% tags=["hide-cell"]
shuffled = {name: matrix(D) if name.endswith(("q.W", "k.W")) else W for name, W in weights.items()}
for name, tokens in (("equal tokens", blind_tokens(rng, 5, D)), ("different tokens", X)):
    change = np.max(abs(plain_transformer(shuffled, tokens) - plain_transformer(weights, tokens)))
    print(f"{name}: outputs move by {change:.0e}")
    assert change < 1e-12 if name == "equal tokens" else change > 0.5

# %% tags=["hide-cell"]
# Solution 2: rank D. Only the sum of the ranks counts, so rank 2R on W_Q alone does what rank R on both does.
import autograd.numpy as np


def least_error(W_Q, W_K, goal, r_Q, r_K):
    sigma = np.linalg.svd(goal - W_K.T @ W_Q, compute_uv=False)
    return float(sigma[r_Q + r_K]) if r_Q + r_K < len(sigma) else 0.0


# %% tags=["hide-cell"]
for R in range(5):
    alone, both = adapt_product(pair, goal, [2 * R, 0]), adapt_product(pair, goal, [R, R])
    lower, upper = add_adapters(pair, alone)
    missed = np.linalg.norm(upper @ lower - goal, 2)
    print(
        f"rank {2 * R} on W_Q alone: {missed:.2e}; "
        f"rank {R} on W_Q and W_K: {predicted_error(pair, goal, R)[0]:.2e}"
    )
    assert abs(missed - predicted_error(pair, goal, R)[0]) < 1e-12
    assert abs(missed - least_error(pair[0], pair[1].T, goal, 2 * R, 0)) < 1e-12
    assert sum(own["A"].size for own in alone) == sum(own["A"].size for own in both)
assert predicted_error(pair, goal, [7, 0])[0] > 0.02

# %% tags=["hide-cell"]
# Solution 3: more, once there are many heads: all products have to share what the adapter on W_K adds.
# (H + 1) R (2D − R) ≥ H D² means R ≥ D − D/√(H + 1), which tends to D; and each head alone asks for R ≥ D/2.
import math


def not_excluded(heads, D):
    bound = max(D / 2, D - D / math.sqrt(heads + 1))
    return math.ceil(bound - 1e-9)


# %% tags=["hide-cell"]
def shared_keys(D, heads, rank):
    frozen = np.array([matrix(D) for _ in range(heads + 1)])

    def products(theta):
        W = frozen + theta[:, 0] @ T(theta[:, 1])
        return np.ravel(W[0].T @ W[1:])

    derivative = jacobian(products)(rng.standard_normal((heads + 1, 2, D, rank)))
    return int(np.linalg.matrix_rank(derivative.reshape(len(derivative), -1), tol=1e-8))


for count, d in ((1, 4), (2, 4), (4, 4), (8, 4), (2, 7)):
    reached = [shared_keys(d, count, rank) for rank in range(1, d + 1)]
    enough = 1 + reached.index(count * d**2)
    bound = max(d / 2, d - d / np.sqrt(count + 1))
    print(
        f"H = {count}, D = {d}: dimensions {reached} of {count * d**2}; "
        f"ranks below {enough} are not enough, bound {bound:.2f}"
    )
    assert enough == np.ceil(bound - 1e-9) == not_excluded(count, d)
