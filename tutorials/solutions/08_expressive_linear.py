# Solutions to the exercises of lesson 8, "Expressive power I". Each answer comes first. What it shows on the
# lesson's own networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: R = ⌈D / L⌉ costs 2 D · L · ⌈D / L⌉ parameters: twice the target's if L divides D, otherwise more.
def stack_price(L, D):
    rank = -(-D // L)
    return rank, L * rank * 2 * D


# %% tags=["hide-cell"]
D = 12
for L in (1, 2, 3, 5):
    frozen, goal, R = [layer(D, D) for _ in range(L)], layer(D, D), -(-D // L)
    params = adapt_product(frozen, goal, ranks=R)
    held = sum(own["A"].size + own["B"].size for own in params)
    print(f"L = {L}: rank {R:2}, {held} parameters = {held / D**2:.2f} D²")
    assert np.linalg.norm(chain_product(add_adapters(frozen, params)) - goal, 2) < 1e-8
    assert predicted_error(frozen, goal, ranks=R - 1)[0] > 0
    assert (R, held) == stack_price(L, D)
    assert (held > 2 * D**2) == (D % L > 0)

# %% tags=["hide-cell"]
# Solution 2: reflect along (1, 0), then along the vector at half the angle to it; each adapter is B = −2u, A = uᵀ. The
# product of the two determinants is 1, so that no factor of any such pair can be singular.
import autograd.numpy as np


def two_adapters(degrees):
    half = np.deg2rad(degrees) / 2
    found = ()
    for u in (np.array([1.0, 0.0]), np.array([np.cos(half), np.sin(half)])):
        found += (-2 * u[:, None], u[None, :])
    return found


# %% tags=["hide-cell"]
B0, A0, B1, A1 = two_adapters(90)
first, second = add_adapters(identities, [{"A": A0, "B": B0}, {"A": A1, "B": B1}])
print("W'_1 W'_0 =\n", (second @ first).round(12))
assert np.allclose(second @ first, turn)
assert np.allclose([np.linalg.det(first), np.linalg.det(second)], -1)

# %% tags=["hide-cell"]
# Solution 3: one loop over the two equations; the products agree, the adapters do not, as there are many that do it.
import autograd.numpy as np

from minilora.theorems.chain import chain_product


def build_by_hand(Ws, target, ranks):
    left, values, right = np.linalg.svd(target - chain_product(Ws))
    params, X, used = [], np.eye(len(target)), 0
    for number, (W, R) in enumerate(zip(Ws, ranks)):
        own = slice(used, used + R)
        S = chain_product([*Ws[number + 1 :], np.eye(len(target))])
        B = np.linalg.solve(S, left[:, own])
        A = np.linalg.solve(X.T, (values[own, None] * right[own]).T).T
        params.append({"A": A, "B": B})
        X, used = (W + B @ A) @ X, used + R
    return params


# %% tags=["hide-cell"]
ranks = [1, 4, 3]
ours, library = build_by_hand(Ws, target, ranks), adapt_product(Ws, target, ranks)
for params in (ours, library):
    assert np.allclose(chain_product(add_adapters(Ws, params)), target, atol=1e-8)
difference = np.linalg.norm(ours[0]["B"] @ ours[0]["A"] - library[0]["B"] @ library[0]["A"])
print(f"the products agree; the changes of the first layer differ by {difference:.2f}")
assert difference > 1
