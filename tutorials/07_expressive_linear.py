# %% [markdown]
# # Expressive power I: adapters on several layers reach exactly what their ranks add up to
#
# **You will learn**
#
# - how near low-rank adapters on several matrices in a row can bring the product to a target: a number that is known
#   before anything is trained;
# - how to compute the best adapters in closed form, first by hand for two layers, then for any number;
# - the bug that nearly everyone writes on the way, and the difference between what exists and what training finds.
#
# **Before this:** [tutorial 1](01_one_matrix.py) for singular values and Eckart–Young,
# [tutorial 2](02_lora_by_hand.py) for LoRA. **Time:** 45 minutes to read, 5 seconds to run.
#
# For one matrix everything is known: an adapter of rank $r$ changes $W$ by a matrix of rank $r$, and the best one is a
# truncated SVD. A network has many layers, each with an adapter of its own. Do two adapters of rank 2 do the work of
# one of rank 4, or less, or more? Networks without activation functions give a complete answer, and the next two
# tutorials carry it to ReLU networks and to attention.

# %%
import os

# Matrices this small run faster on one thread. NumPy reads this when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from fractions import Fraction

import autograd.numpy as np
import matplotlib.pyplot as plt

from minilora import adam, adam_start, learning_rate, value_and_grad
from minilora.cli.output import survive_any_output
from minilora.theorems.chain import Unsolvable, add_adapters, chain_product
from minilora.theorems.linear import adapt_product, predicted_error

survive_any_output()  # a terminal that lacks λ or → gets "lambda" or "->"
plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#6b7280"
rng = np.random.default_rng(0)

# %% [markdown]
# ## The question
#
# Take a network of three linear layers and nothing between them: $y = W_2 W_1 W_0 x$. To the outside it is one matrix,
# the product $P = W_2 W_1 W_0$. Somebody wants another matrix, the target $\bar W$. We may give each layer an adapter,
# $W'_l = W_l + B_l A_l$ with $B_l A_l$ of rank $R_l$, and want the new product $P' = W'_2 W'_1 W'_0$ near $\bar W$.
#
# The random matrices here have singular values between ½ and 2, so that they stretch no direction much and shrink none
# much. The section on lost digits shows what happens otherwise.


# %%
def with_values(values, d_out, d_in):
    left, _, right = np.linalg.svd(rng.standard_normal((d_out, d_in)), full_matrices=False)
    return (left * values) @ right  # random directions, these singular values


def layer(d_out, d_in):
    return with_values(rng.uniform(0.5, 2, min(d_out, d_in)), d_out, d_in)


D = 8
Ws = [layer(D, D) for _ in range(3)]  # bottom first: Ws[0] sees x
target = layer(D, D)
P = Ws[2] @ Ws[1] @ Ws[0]
E = target - P
values = np.linalg.svd(E, compute_uv=False)
print("singular values σ_1 … σ_8 of E = W̄ − P:", values.round(2))
assert np.linalg.matrix_rank(E) == D

# %% [markdown]
# If there were one layer only, $W_0 = P$, then the answer would be Eckart–Young's: the best adapter of rank $r$ is
# $E_r$, the $r$ largest singular triples of $E$, and it leaves $\lVert P + E_r - \bar W\rVert_2 = \sigma_{r+1}(E)$.
#
# Now three layers with adapters of rank 2 each. **Guess before you read on:** is the best possible error $\sigma_3$,
# because each change has rank 2? Is it $\sigma_7$, because $2 + 2 + 2 = 6$? Or is it less, because ranks in a product
# might multiply?
#
# ## No adapters do better: a telescoping sum
#
# Change the layers one at a time, bottom first. Each step changes one layer, which has only *adapted* layers below it
# and only *frozen* layers above it:
#
# $$W_2 W_1 W_0 \;\to\; W_2 W_1 W'_0 \;\to\; W_2 W'_1 W'_0 \;\to\; W'_2 W'_1 W'_0$$
#
# The total change is the sum of the steps, and each step is a product with $B_l A_l$ in its middle:
#
# $$P' - P = \sum_l S_l \, B_l A_l \, X_l, \qquad S_l = W_{2} \cdots W_{l+1} \text{ (above, frozen)}, \quad
#   X_l = W'_{l-1} \cdots W'_0 \text{ (below, adapted)} \tag{1}$$
#
# Try it with random adapters of rank 2.

# %%
Bs, As = rng.standard_normal((3, D, 2)), rng.standard_normal((3, 2, D))
new = [W + B @ A for W, B, A in zip(Ws, Bs, As)]
change = new[2] @ new[1] @ new[0] - P

steps = [
    Ws[2] @ Ws[1] @ (Bs[0] @ As[0]),  # bottom: S = W_2 W_1, X = I
    Ws[2] @ (Bs[1] @ As[1]) @ new[0],  # middle
    (Bs[2] @ As[2]) @ new[1] @ new[0],  # top: S = I, X = W'_1 W'_0
]
assert np.allclose(change, sum(steps), atol=1e-10)
print("rank of each step:     ", [int(np.linalg.matrix_rank(step)) for step in steps])
print("rank of all the change:", int(np.linalg.matrix_rank(change)))
assert np.linalg.matrix_rank(change) == 6

# %% [markdown]
# A product has no more rank than any of its factors, so each step has rank 2 at most, and a sum of three has rank 6 at
# most. Ranks do not multiply. And no matrix of rank 6 is nearer to $E$ than $E_6$ is (Eckart–Young). Therefore, for
# *any* adapters, trained or not, on layers of *any* shape:
#
# $$\lVert P' - \bar W \rVert_2 \;\ge\; \sigma_{k+1}(E), \qquad k = R_0 + R_1 + R_2 \tag{2}$$
#
# with $\sigma_{k+1} = 0$ when $k$ is at least the number of singular values. In the Frobenius norm the bound is
# $(\sigma_{k+1}^2 + \sigma_{k+2}^2 + \dots)^{1/2}$, by the same argument. `predicted_error` returns both.

# %%
spectral, frobenius = predicted_error(Ws, target, ranks=[2, 2, 2])
assert np.isclose(spectral, values[6])
assert np.isclose(frobenius, np.sqrt(np.sum(values[6:] ** 2)))

found = []
for _ in range(1000):
    size = 10 ** rng.uniform(-2, 0)
    params = [
        {"A": size * rng.standard_normal((2, D)), "B": size * rng.standard_normal((D, 2))}
        for _ in Ws
    ]
    found.append(np.linalg.norm(chain_product(add_adapters(Ws, params)) - target, 2))
print(f"no adapters of rank 2, 2, 2 come nearer than {spectral:.3f}")
print(
    "the best of 1,000 random ones:               "
    f"{min(found):.3f}; without adapters: {values[0]:.3f}"
)
assert min(found) >= spectral

# %% [markdown]
# Random adapters are far above the bound, so they say little about whether it can be met. It can. Here is how.
#
# ## Two layers by hand
#
# Two layers $W_1 W_0$, adapters of rank 4 on each: $4 + 4 = 8 = D$, so (2) allows error zero. Start from the end: write
# the change that is needed as a product of a tall and a wide matrix, $E = Q\,C$, and cut both in two,
#
# $$E = Q_0 C_0 + Q_1 C_1, \qquad Q_0, Q_1 \text{ of shape } (8, 4), \quad C_0, C_1 \text{ of shape } (4, 8).$$
#
# The lower layer is to contribute $Q_0 C_0$, the upper one $Q_1 C_1$. The SVD gives such a cut.

# %%
W0, W1 = layer(D, D), layer(D, D)
goal = layer(D, D)
left, values, right = np.linalg.svd(goal - W1 @ W0)
Q, C = left, values[:, None] * right
Q0, Q1 = Q[:, :4], Q[:, 4:]
C0, C1 = C[:4], C[4:]
assert np.allclose(Q0 @ C0 + Q1 @ C1, goal - W1 @ W0)

# %% [markdown]
# **Lower layer.** By (1) its step is $W_1\, B_0 A_0$. That should be $Q_0 C_0$. Choose $A_0 = C_0$, then $B_0$ has to
# solve $W_1 B_0 = Q_0$.

# %%
A0 = C0
B0 = np.linalg.solve(W1, Q0)
lower = W0 + B0 @ A0
assert np.allclose(W1 @ lower, W1 @ W0 + Q0 @ C0)  # half of the change is done

# %% [markdown]
# **Upper layer.** Nothing is above it, so its step is $B_1 A_1\, W'_0$: the layer below is already the *adapted* one.
# That should be $Q_1 C_1$. Choose $B_1 = Q_1$, then $A_1$ has to solve $A_1 W'_0 = C_1$. (`solve` has the unknown on
# the right, so we solve the transposed equation.)

# %%
B1 = Q1
A1 = np.linalg.solve(lower.T, C1.T).T
upper = W1 + B1 @ A1
error = np.linalg.norm(upper @ lower - goal, 2)
print(f"‖W'_1 W'_0 − W̄‖ = {error:.0e} with rank 4 on each of two 8 × 8 layers")
assert error < 1e-11

# %% [markdown]
# That is the whole proof of the theorem for two layers, in six lines: expand the brackets and see
#
# $$W'_1 W'_0 = W_1 W_0 + \underbrace{W_1 B_0 A_0}_{Q_0 C_0} + \underbrace{B_1 A_1 W'_0}_{Q_1 C_1} = P + E = \bar W .$$
#
# Two random matrices, frozen except for adapters of half the rank, have become *any* matrix you like.
#
# ## The bug that nearly everyone writes
#
# It is tempting to treat both layers alike, and to solve the second equation with the *frozen* lower layer,
# $A_1 W_0 = C_1$. After all, adapters are small changes, and each layer's share was computed from the frozen network.

# %%
A1_wrong = np.linalg.solve(W0.T, C1.T).T
wrong = (W1 + Q1 @ A1_wrong) @ lower
print(f"with the frozen lower layer:  ‖P' − W̄‖ = {np.linalg.norm(wrong - goal, 2):.2f}")
print(f"without any adapters:         ‖P − W̄‖  = {np.linalg.norm(W1 @ W0 - goal, 2):.2f}")
assert np.linalg.norm(wrong - goal, 2) > 0.1

# %% [markdown]
# It misses, and we can say by what: the upper adapter also sees the *change* of the lower layer. The product contains
# the extra term $B_1 A_1 \cdot B_0 A_0$, adapter times adapter.
#
# The bug hides well. It is not there if only one layer has an adapter. And if the target is near the frozen product,
# the extra term is the product of two small things: shrink the change that is asked for by 10, and the error shrinks
# by about 100. A test with a small change and a generous tolerance passes.

# %%
extra = Q1 @ A1_wrong @ (B0 @ A0)
assert np.allclose(wrong - goal, extra, atol=1e-10)

misses = []
for ask in (1.0, 0.1, 0.01):  # ask for P + ask · E: both shares shrink alike
    with_bug = (W1 + ask * Q1 @ A1_wrong) @ (W0 + ask * B0 @ A0)
    asked_for = W1 @ W0 + ask * (goal - W1 @ W0)
    misses.append(np.linalg.norm(with_bug - asked_for, 2))
    print(f"change × {ask:<5}  missed by {misses[-1]:.1e}")
assert np.isclose(misses[0] / misses[1], 100)
assert np.isclose(misses[1] / misses[2], 100)

# %% [markdown]
# ## Any number of layers, any ranks
#
# For $L$ layers the recipe is the same, bottom first. Layer $l$ solves $S_l B_l = Q_l$ with the frozen layers above it
# and $A_l X_l = C_l$ with the adapted ones below. If the ranks add up to less than the rank of $E$, keep its $k$
# largest singular triples only: then $P' = P + E_k$, and by (2) nothing can be nearer. `adapt_product` does this. Step
# into it, in `minilora/theorems/linear.py`: it is the two equations and a loop.

# %%
params = adapt_product(Ws, target, ranks=[2, 2, 2])
for number, own in enumerate(params):
    print(f"layer {number}: A {own['A'].shape}, B {own['B'].shape}")
achieved = np.linalg.norm(chain_product(add_adapters(Ws, params)) - target, 2)
print(f"achieved {achieved:.12f}\npossible {spectral:.12f}")
assert np.isclose(achieved, spectral, rtol=1e-9)

# %% [markdown]
# So the answer to the question is $\sigma_7$: **the ranks of the layers add up**, no less and no more. The best error
# is met, not approached.
#
# Now for every rank and for one, two and four layers. All targets are $P + E$ with the *same* $E$, whose 12 singular
# values go from 3 down to 0.001, so that the figures can be compared. Lines are predicted from the singular values of
# $E$; points are what the adapters of `adapt_product` achieve when they are multiplied out.

# %%
D, depths = 12, (1, 2, 4)
wanted = with_values(np.geomspace(3, 1e-3, D), D, D)  # the change E, the same for all
predicted, achieved = {}, {}
for L in depths:
    frozen = [layer(D, D) for _ in range(L)]
    goal = chain_product(frozen) + wanted
    for R in range(D // L + 1):
        params = adapt_product(frozen, goal, ranks=R)
        predicted[L, R] = predicted_error(frozen, goal, ranks=R)[0]
        achieved[L, R] = np.linalg.norm(chain_product(add_adapters(frozen, params)) - goal, 2)
below = [key for key in predicted if predicted[key] > 0]
exact = [key for key in predicted if predicted[key] == 0]
worst = max(abs(achieved[key] / predicted[key] - 1) for key in below)
print(f"below the threshold: {len(below)} cases, achieved / predicted − 1 is {worst:.0e} at most")
print("from it on:", ", ".join(f"L = {L}, R = {R}: error {achieved[L, R]:.0e}" for L, R in exact))
assert worst < 1e-8
assert exact == [(1, 12), (2, 6), (4, 3)]
assert max(achieved[key] for key in exact) < 1e-9

# %%
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharey=True)
for L, colour, marker in zip(depths, (BLUE, ORANGE, GREEN), "os^"):
    R = np.arange(D // L + 1)
    line, points = [np.array([errors[L, r] for r in R]) for errors in (predicted, achieved)]
    for axis, x in zip(axes, (R, L * R)):
        axis.plot(x, np.where(line > 0, line, np.nan), color=colour, lw=1)
        axis.plot(
            x, points, marker, color=colour, ms=9 - 2 * L / 1.4, label=f"{L} layer{'s' * (L > 1)}"
        )
axes[0].set(xlabel="rank R of each adapter", ylabel="‖P' − W̄‖₂", yscale="log", ylim=(1e-17, 30))
axes[1].set(xlabel="sum of the ranks, L · R")
axes[0].legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.4))
axes[1].annotate("predicted: lines\nachieved: points", (3, 1e-5), color=GREY, ha="center")
axes[1].annotate("rounding", (11.6, 2e-15), color=GREY, ha="right", va="center")
plt.show()

# %% [markdown]
# Left: each depth falls off its own cliff, at $R = 12$, $6$ and $3$. Right: plotted against the *sum* of the ranks, all
# depths lie on one curve. Half the rank on twice the layers is the same power.
#
# This is a statement about rank, not about saving parameters: with $\sum R_l = D$, the adapters hold $\sum 2 D R_l = 2
# D^2$ parameters, twice as many as the target itself has. What is saved in practice is saved *below* the cliff, where a
# target is so near to the frozen network that a few singular values are most of $E$.
#
# The ranks need not be equal, and need not be where you expect them. Six in all, on three layers, in any split, give
# the same error; a layer without an adapter is no loss, as long as the others carry its share.

# %%
for ranks in ([2, 2, 2], [6, 0, 0], [0, 0, 6], [1, 2, 3], [5, 1, 0]):
    achieved = np.linalg.norm(
        chain_product(add_adapters(Ws, adapt_product(Ws, target, ranks))) - target, 2
    )
    print(f"ranks {ranks}: {achieved:.9f}")
    assert np.isclose(achieved, spectral, rtol=1e-8)

# %% [markdown]
# ## What exists and what training finds
#
# The theorem says which adapters *exist*. Does training find them? Three layers, rank 2 each, from LoRA's start: `A`
# random, `B` zero. The loss is the squared Frobenius distance to the target, with no data and no noise, and Adam takes
# 1,000 steps at each of three learning rates. The closed form says what the best possible loss is.


# %%
def descend(Ws, target, rank, lr, steps=1000):
    params = {
        f"{number}": {"A": start(rank, W), "B": np.zeros((len(W), rank))}
        for number, W in enumerate(Ws)
    }

    def loss(params):
        P = np.eye(len(target))
        for W, own in zip(Ws, params.values()):
            P = W @ P + own["B"] @ (own["A"] @ P)
        return np.sum((P - target) ** 2)

    state, errors = adam_start(params), []
    for step in range(steps):
        value, grads = value_and_grad(loss, params)
        params, state = adam(params, grads, state, learning_rate(step, steps, lr))
        errors.append(np.sqrt(value))
    return np.array(errors)


def start(rank, W):
    return rng.standard_normal((rank, W.shape[1])) / W.shape[1] ** 0.5


# %% [markdown]
# Twice: once with the well-behaved frozen matrices from above, once with frozen matrices whose singular values go from
# 10 down to 0.1. The *condition number*, the largest singular value over the smallest, is 4 at most in the first case
# and 100 in the second. The theorem makes no difference between them.


# %%
def conditioned(number, d):
    return with_values(np.geomspace(number**0.5, number**-0.5, d), d, d)


cases = {
    "condition number below 4": Ws,
    "condition number 100": [conditioned(100, 8) for _ in range(3)],
}
rates = {0.01: BLUE, 0.03: ORANGE, 0.1: GREEN}
curves = {}
for name, frozen in cases.items():
    possible = predicted_error(frozen, target, ranks=2)[1]
    for lr in rates:
        curves[name, lr] = descend(frozen, target, rank=2, lr=lr) / possible
    best = min(curves[name, lr][-1] for lr in rates)
    solved = np.linalg.norm(
        chain_product(add_adapters(frozen, adapt_product(frozen, target, ranks=2))) - target
    )
    print(
        f"{name}: closed form {solved / possible:.8f}, "
        f"best of three descents {best:.4f} × the best possible error"
    )
assert min(curve.min() for curve in curves.values()) > 1 - 1e-9  # nothing passes below the bound
assert min(curves["condition number below 4", lr][-1] for lr in rates) < 1.2
assert min(curves["condition number 100", lr][-1] for lr in rates) > 1.5

# %%
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharey=True)
for axis, name in zip(axes, cases):
    for lr, colour in rates.items():
        axis.plot(curves[name, lr], color=colour, label=f"lr {lr}")
    axis.axhline(1, color="black", ls="--", lw=1)
    axis.set(title=name, xlabel="step", yscale="log")
axes[0].set(ylabel="error / best possible error")
axes[0].legend(frameon=False)
axes[1].annotate("closed form", (1000, 0.9), ha="right", va="top")
axes[0].set_ylim(bottom=0.5)
axes[0].set_yticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
plt.show()

# %% [markdown]
# On the left the best of the descents arrives at the theorem's number. On the right none is near it, although adapters
# with that error exist and one call computes them. So when a LoRA run stops improving, there are two possible reasons,
# and they ask for different cures: the rank is too small (*representation*: raise it), or descent is slow or stuck
# (*optimisation*: other learning rate, other scaling, more steps). Where a closed form exists, it tells you which.
#
# ## Where digits go, and why weak directions go up
#
# The construction solves $S_l B_l = Q_l$. Where $S_l$ shrinks a direction by 100, $B_l$ must be 100 times as large, and
# the rounding errors of a matrix with large entries are large. Over several layers such factors multiply.
#
# But there is a freedom that costs nothing. *Which* four directions the lower layer takes is ours to choose: any cut
# $E = \sum_l Q_l C_l$ will do. The top layer has $S = I$ and can place any direction for free. So let each layer take
# the directions that the frozen layers above carry best, and leave the weak ones to layers higher up. That is what
# `adapt_product` does. Compare it with the order of the published proof: largest singular triples first, by inverses.


# %%
def largest_first(Ws, target, R):
    D = len(target)
    left, values, right = np.linalg.svd(target - chain_product(Ws))
    done = []
    for number, W in enumerate(Ws):
        own = slice(number * R, (number + 1) * R)
        S = chain_product([*Ws[number + 1 :], np.eye(D)])
        X = chain_product([np.eye(D), *done])
        delta = np.linalg.inv(S) @ (left[:, own] * values[own]) @ right[own] @ np.linalg.inv(X)
        done.append(W + delta)
    return done


exactly = np.vectorize(Fraction, otypes=[object])


def relative_error(Ws, target):
    bottom, *others = [exactly(W) for W in Ws]
    product = bottom
    for W in others:
        product = W @ product  # without any rounding
    return np.linalg.norm(product.astype(float) - target) / np.linalg.norm(target)


# %%
numbers, lost = [1, 10, 100, 1e3, 1e4], []
for number in numbers:
    errors = []
    for _ in range(9):
        frozen, goal = [conditioned(number, 6) for _ in range(3)], layer(6, 6)
        params = adapt_product(frozen, goal, ranks=2, best_effort=True)
        weak_up = relative_error(add_adapters(frozen, params), goal)
        errors.append((weak_up, relative_error(largest_first(frozen, goal, 2), goal)))
    lost.append(np.median(errors, axis=0))
    print(
        f"condition {number:7,.0f}: weak directions up {lost[-1][0]:.0e}, "
        f"largest first {lost[-1][1]:.0e}"
    )
assert lost[-1][0] < lost[-1][1] / 30
assert lost[0][0] < 1e-12

# %%
figure, axis = plt.subplots(figsize=(7.2, 3.2))
for errors, colour, marker, name in zip(
    zip(*lost), (BLUE, ORANGE), "os", ("weak directions up", "largest first")
):
    axis.loglog(numbers, errors, color=colour, marker=marker)
    axis.annotate(name, (numbers[-1] * 1.25, errors[-1]), color=colour, va="center")
axis.set(
    xlabel="condition number of each of three frozen matrices",
    ylabel="relative error (median of 9)",
)
axis.set_xlim(0.8, 2e5)
plt.show()

# %% [markdown]
# In exact arithmetic both are perfect. In float64 the error grows as a power of the condition number, and the free
# choice of directions buys several digits. A theorem that says "there are adapters" need not say that you can write
# them down in 16 digits.
#
# ## When it cannot work
#
# The bound (2) needs nothing. To *meet* it the equations $S_l B_l = Q_l$ and $A_l X_l = C_l$ must have solutions. That
# is certain to work out when all layers are square and invertible (up to a retry, see below), and in practice when no
# inner width is smaller than the wider end, $\max(d_0, d_L)$. Here are three cases outside.
#
# **A narrow waist.** Widths 4 → 4 → 8: a 4 × 4 layer, then an 8 × 4 layer. Rank 2 each is 4 in all, and $E$ has rank
# 4, so (2) allows error zero.

# %%
narrow, goal = [layer(4, 4), layer(8, 4)], layer(8, 4)
print(f"bound (2): {predicted_error(narrow, goal, ranks=2)[0]:.1f}")
try:
    adapt_product(narrow, goal, ranks=2)
except ValueError as error:
    print("ValueError:", error)
else:
    raise AssertionError("a narrow waist was not noticed")

# %% [markdown]
# Why can it not be done? The outputs of $W_1$ fill 4 of 8 dimensions, whatever happens below, and the adapter on $W_1$
# adds 2. But the target wants all 4 of *its* dimensions, and as a rule none of them lies where $W_1$ already leads. Let
# $N$ project on what $W_1$ does not reach: $N W'_1 W'_0 = N B_1 A_1 W'_0$ has rank 2 at most, so the error is at least
# $\sigma_3(N \bar W)$. `best_effort=True` returns the best that the construction finds.

# %%
N = np.eye(8) - narrow[1] @ np.linalg.pinv(narrow[1])
floor = np.linalg.svd(N @ goal, compute_uv=False)[2]
params = adapt_product(narrow, goal, ranks=2, best_effort=True)
reached = np.linalg.norm(chain_product(add_adapters(narrow, params)) - goal, 2)
print(f"no adapters of rank 2 come below {floor:.2f}; best effort reaches {reached:.2f}")
assert floor > 0.01
assert reached >= floor * (1 - 1e-9)

# %% [markdown]
# **A layer that loses too much.** If the upper layer is zero, rank 2 on it makes a product of rank 2. The error message
# names the layer that cannot do its share, and why.

# %%
dead = [layer(4, 4), np.zeros((4, 4))]
try:
    adapt_product(dead, layer(4, 4), ranks=2)
except Unsolvable as error:
    print("Unsolvable:", error)
else:
    raise AssertionError("rank 2 made a product of rank 4")

# %% [markdown]
# **An unlucky cut.** Frozen layers $I$ and $I$, rank 1 each, and the target is a turn by 90°. All is invertible and the
# ranks add up to 2, yet the first cut of $E$ that the construction tries makes $W'_0$ singular, and then
# $A_1 W'_0 = C_1$ has no solution. Almost every *other* cut works: $E = QC = (QG)(G^{-1}C)$ for any invertible $G$.
# Give `adapt_product` a random generator, and it draws one.

# %%
identities, turn = [np.eye(2), np.eye(2)], np.array([[0.0, -1.0], [1.0, 0.0]])
try:
    adapt_product(identities, turn, ranks=1)
except Unsolvable as error:
    print("Unsolvable:", error)
else:
    raise AssertionError("the first cut worked")
params = adapt_product(identities, turn, ranks=1, rng=rng)
error = np.linalg.norm(chain_product(add_adapters(identities, params)) - turn, 2)
print(f"with a random cut: error {error:.0e}")
assert error < 1e-10

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 (easy): what does exactness cost?
#
# A stack of $L$ frozen layers of width $D = 12$ is to become an arbitrary matrix. Choose the smallest equal rank that
# does it, for $L = 1, 2, 3, 5$. How many parameters do the adapters hold, compared with the $D^2$ of the target? For
# which $L$ is it more than $2 D^2$, and why?

# %% tags=["hide-cell"]
# Solution 1: R = ⌈D / L⌉ costs 2 D · L · ⌈D / L⌉ parameters: twice the target's if L divides D, otherwise more.
D = 12
for L in (1, 2, 3, 5):
    frozen, goal, R = [layer(D, D) for _ in range(L)], layer(D, D), -(-D // L)
    params = adapt_product(frozen, goal, ranks=R)
    held = sum(own["A"].size + own["B"].size for own in params)
    print(f"L = {L}: rank {R:2}, {held} parameters = {held / D**2:.2f} D²")
    assert np.linalg.norm(chain_product(add_adapters(frozen, params)) - goal, 2) < 1e-8
    assert predicted_error(frozen, goal, ranks=R - 1)[0] > 0
    assert (held > 2 * D**2) == (D % L > 0)

# %% [markdown]
# ### Exercise 2 (medium): a quarter turn from two reflections
#
# The construction needed a random cut to turn $I \cdot I$ into a turn by 90° with two adapters of rank 1. Find such
# adapters with paper and pencil. Then check them, and check that neither $W'_0$ nor $W'_1$ is singular.
#
# <details><summary>Hint</summary>
#
# A reflection $I - 2 u u^\top$ with a unit vector $u$ is the identity plus a matrix of rank 1 ([tutorial
# 5](05_hra.py)), and two reflections along vectors at 45° to each other make a turn by 90°.
#
# </details>

# %% tags=["hide-cell"]
# Solution 2: reflect along (1, 0), then along the vector at 45° to it; each adapter is B = −2u, A = uᵀ.
u0, u1 = np.array([1.0, 0.0]), np.array([1.0, 1.0]) / np.sqrt(2)
params = [{"B": -2 * u[:, None], "A": u[None, :]} for u in (u0, u1)]
lower, upper = add_adapters(identities, params)
print("W'_1 W'_0 =\n", (upper @ lower).round(12))
assert np.allclose(upper @ lower, turn)
assert np.allclose([np.linalg.det(lower), np.linalg.det(upper)], -1)

# %% [markdown]
# ### Exercise 3 (hard): the construction for any number of layers
#
# Write `by_hand(Ws, target, ranks)` for square, well-behaved layers: the two-layer construction from above in a loop,
# for any depth and any ranks. Compare with `adapt_product`. Are the products equal? Are the adapters?
#
# <details><summary>Hint</summary>
#
# Keep the product of the adapted layers so far in `X`, starting with the identity. Layer `l` takes the next `R_l`
# columns of `Q` and rows of `C`. `chain_product([*Ws[l + 1 :], np.eye(D)])` is $S_l$, for the top layer too.
#
# </details>

# %% tags=["hide-cell"]
# Solution 3: one loop over the two equations; the products agree, the adapters do not, as there are many that do it.


def by_hand(Ws, target, ranks):
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


ranks = [1, 3, 2]
ours, library = by_hand(Ws, target, ranks), adapt_product(Ws, target, ranks)
assert np.allclose(
    chain_product(add_adapters(Ws, ours)), chain_product(add_adapters(Ws, library)), atol=1e-8
)
difference = np.linalg.norm(ours[0]["B"] @ ours[0]["A"] - library[0]["B"] @ library[0]["A"])
print(f"the products agree; the changes of the lowest layer differ by {difference:.2f}")
assert difference > 1e-3

# %% [markdown]
# ## Where to go next
#
# [Tutorial 8](08_expressive_relu.py) puts ReLUs between the layers, and biases that make them harmless.
#
# ## References
#
# - Y. Zeng and K. Lee, 2023, *The Expressive Power of Low-Rank Adaptation*,
#   [arXiv 2310.17513](https://arxiv.org/abs/2310.17513): the theorem on products, by largest triples and inverses. The
#   statements here are in our own words, with conditions that we tested.
# - C. Eckart and G. Young, 1936, *The approximation of one matrix by another of lower rank*, Psychometrika 1; and L.
#   Mirsky, 1960, for other norms.
# - E. Hu et al., 2021, *LoRA*, [arXiv 2106.09685](https://arxiv.org/abs/2106.09685).
