# Solutions to the exercises of lesson 8, "Expressive power I". Each answer comes first; what it shows in the lesson's own
# networks follows, in cells that continue the lesson.

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
# Solution 2: reflect along (1, 0), then along the vector at 45° to it; each adapter is B = −2u, A = uᵀ.
import autograd.numpy as np


def two_adapters(degrees):
    half = np.deg2rad(degrees) / 2
    found = ()
    for u in (np.array([1.0, 0.0]), np.array([np.cos(half), np.sin(half)])):
        found += (-2 * u[:, None], u[None, :])
    return found


# %% tags=["hide-cell"]
u0, u1 = np.array([1.0, 0.0]), np.array([1.0, 1.0]) / np.sqrt(2)
params = [{"B": -2 * u[:, None], "A": u[None, :]} for u in (u0, u1)]
first, second = add_adapters(identities, params)
assert all(
    np.allclose(*pair) for pair in zip(two_adapters(90), (*params[0].values(), *params[1].values()))
)
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
ranks = [1, 3, 2]
ours, library = build_by_hand(Ws, target, ranks), adapt_product(Ws, target, ranks)
assert np.allclose(
    chain_product(add_adapters(Ws, ours)), chain_product(add_adapters(Ws, library)), atol=1e-8
)
difference = np.linalg.norm(ours[0]["B"] @ ours[0]["A"] - library[0]["B"] @ library[0]["A"])
print(f"the products agree; the changes of the first layer differ by {difference:.2f}")
assert difference > 1
