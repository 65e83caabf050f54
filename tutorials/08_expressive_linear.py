# %% [markdown]
# # Expressive power I: what adapters on several linear layers reach together
#
# **You will learn**
#
# - the smallest error that low-rank adapters on several linear layers can reach; it is known before anything is
#   trained;
# - how to compute the best adapters in closed form, first by hand for two layers, then for any number;
# - the bug that nearly everyone writes on the way, and the difference between what exists and what training finds.
#
# **Before this:** [lesson 1](01_one_matrix.py) for singular values and Eckart–Young,
# [lesson 2](02_lora_by_hand.py) for LoRA. **Time:** 50 minutes to read, 15 seconds to run.
#
# For one matrix everything is known: an adapter of rank $r$ changes $W$ by a matrix of rank $r$ at most, and the best
# one is a truncated SVD. A network has many layers, each with an adapter of its own. Do two adapters of rank 2 do the
# work of one of rank 4, or less, or more? Such a question is one of [*expressive power*](glossary.md#expressive-power):
# which functions are there, for some values of the trainable parameters? For networks of square, invertible matrices
# without activation functions the answer is complete, and the next two lessons carry it to ReLU networks and to
# attention.

# %%
from minilora.cli.lesson import BLUE, GREEN, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import autograd.numpy as np  # NumPy, but autograd can differentiate through it
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)

# %% [markdown]
# ## The question
#
# Take a network of three linear layers and nothing between them: $y = W_2 W_1 W_0 x$. To the outside it is one matrix,
# the product $P = W_2 W_1 W_0$. Somebody wants another matrix, the [*target*](glossary.md#target) $\bar W$. We may give each layer an
# adapter, $W'_l = W_l + B_l A_l$ with $B_l A_l$ of rank at most $R_l$, and want the new product
# $P' = W'_2 W'_1 W'_0$ near $\bar W$.
#
# The random matrices here have singular values between ½ and 2, so that they stretch no direction much and shrink none
# much. The section on rounding shows what happens otherwise.


# %%
def with_values(values, d_out, d_in):
    left, _, right = np.linalg.svd(rng.standard_normal((d_out, d_in)), full_matrices=False)
    return (left * values) @ right  # random directions, these singular values


def layer(d_out, d_in):
    return with_values(rng.uniform(0.5, 2, min(d_out, d_in)), d_out, d_in)


D = 8
Ws = [layer(D, D) for _ in range(3)]  # the earliest first: Ws[0] sees x
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
# > **What do you expect?** Three layers with adapters of rank 2 each. The best possible error is (a) $\sigma_3$, because
# > each change has rank 2; (b) $\sigma_7$, because $2 + 2 + 2 = 6$; (c) less, because ranks in a product might multiply.
#
# ## A bound for all adapters: a telescoping sum
#
# Which errors are impossible? Change the layers one at a time, the earliest first. Each step changes one layer, which
# has only *adapted* layers before it and only *frozen* layers after it:
#
# $$\begin{aligned} W_2 W_1 W_0 &\to W_2 W_1 W'_0 \cr &\to W_2 W'_1 W'_0 \cr &\to W'_2 W'_1 W'_0 \end{aligned}$$
#
# The total change is the sum of the steps, and each step is a product with $B_l A_l$ in its middle. Let $S_l$ be the
# product of the later layers, which are frozen, and $X_l$ that of the earlier ones, which are adapted:
#
# $$\begin{aligned} P' - P &= \sum_l S_l \, B_l A_l \, X_l, \cr
#   S_l &= W_{2} \cdots W_{l+1}, \cr
#   X_l &= W'_{l-1} \cdots W'_0. \end{aligned} \tag{1}$$
#
# Try it with random adapters of rank 2.

# %%
Bs, As = rng.standard_normal((3, D, 2)), rng.standard_normal((3, 2, D))
new = [W + B @ A for W, B, A in zip(Ws, Bs, As)]
change = new[2] @ new[1] @ new[0] - P

steps = [
    Ws[2] @ Ws[1] @ (Bs[0] @ As[0]),  # first layer: S = W_2 W_1, X = I
    Ws[2] @ (Bs[1] @ As[1]) @ new[0],  # second: S = W_2, X = W'_0
    (Bs[2] @ As[2]) @ new[1] @ new[0],  # third: S = I, X = W'_1 W'_0
]
assert np.allclose(change, sum(steps), atol=1e-10)
print("rank of each step:     ", [int(np.linalg.matrix_rank(step)) for step in steps])
print("rank of all the change:", int(np.linalg.matrix_rank(change)))
assert np.linalg.matrix_rank(change) == 6

# %% [markdown]
# Ranks do not multiply: three changes of rank 2 make one of rank 6.
#
# > **Lemma (lower bound).** Let $E = \bar W - P$ and $k = \sum_l R_l$. For layers of any shapes, and any adapters of
# > ranks $R_l$, trained or not,
# >
# > $$\lVert P' - \bar W \rVert_2 \;\ge\; \sigma_{k+1}(E) \tag{2}$$
# >
# > with $\sigma_{k+1} = 0$ when $k$ is at least the number of singular values. In the Frobenius norm the bound is
# > $(\sigma_{k+1}^2 + \sigma_{k+2}^2 + \dots)^{1/2}$.
#
# **Proof.** A product has no more rank than any of its factors, so step $l$ has rank $R_l$ at most, and the sum (1) of
# all steps rank $k$ at most. No matrix of rank $k$ is nearer to $E$ than $E_k$ is (Eckart–Young, in both norms). With
# more or fewer than three layers nothing changes. ∎
#
# `predicted_error` returns both bounds.

# %%
from minilora.theorems.chain import add_adapters, chain_product
from minilora.theorems.linear import predicted_error

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
# Random adapters are far above the bound, so they say little about whether it can be reached. So (c) is wrong. Whether
# it is (a) or (b), a construction decides.
#
# ## Two layers by hand
#
# Two layers $W_1 W_0$, adapters of rank 4 on each: $4 + 4 = 8 = D$, so (2) allows error zero. Start from the end: write
# the change that is wanted as a product of a tall and a wide matrix, $E = Q\,C$, and split both in two:
# $E = Q_0 C_0 + Q_1 C_1$, with $Q_0, Q_1$ `(8, 4)` and $C_0, C_1$ `(4, 8)`.
#
# The first layer is to contribute $Q_0 C_0$, the second one $Q_1 C_1$. The SVD gives such a split.

# %%
W0, W1 = layer(D, D), layer(D, D)
goal = layer(D, D)
left, values, right = np.linalg.svd(goal - W1 @ W0)
Q, C = left, values[:, None] * right
Q0, Q1 = Q[:, :4], Q[:, 4:]
C0, C1 = C[:4], C[4:]
assert np.allclose(Q0 @ C0 + Q1 @ C1, goal - W1 @ W0)

# %% [markdown]
# **First layer.** By (1) its step is $W_1\, B_0 A_0$. That should be $Q_0 C_0$. Choose $A_0 = C_0$, then $B_0$ has to
# solve $W_1 B_0 = Q_0$.

# %%
A0 = C0
B0 = np.linalg.solve(W1, Q0)
first = W0 + B0 @ A0
assert np.allclose(W1 @ first, W1 @ W0 + Q0 @ C0)  # half of the change is done

# %% [markdown]
# **Second layer.** Nothing comes after it, so its step is $B_1 A_1\, W'_0$: the layer before it is already the
# *adapted* one. That should be $Q_1 C_1$. Choose $B_1 = Q_1$, then $A_1$ has to solve $A_1 W'_0 = C_1$. (`solve` has
# the unknown on the right, so we solve the transposed equation.) This takes more than the first step: $W_1$ is
# invertible because it was made so, but is $W'_0$? For these random matrices it is. The section on what can fail has an
# example in which it is not.

# %%
B1 = Q1
A1 = np.linalg.solve(first.T, C1.T).T
second = W1 + B1 @ A1
error = np.linalg.norm(second @ first - goal, 2)
print(f"smallest singular value of W'_0: {np.linalg.svd(first, compute_uv=False)[-1]:.2f}")
print(f"‖W'_1 W'_0 − W̄‖ = {error:.0e} with rank 4 on each of two 8 × 8 layers")
assert np.linalg.svd(first, compute_uv=False)[-1] > 0.1
assert error < 1e-13

# %% [markdown]
# That is the whole calculation, in six lines: expand the brackets and see
#
# $$\begin{aligned} W'_1 W'_0
#   &= W_1 W_0 + \underbrace{W_1 B_0 A_0}_{Q_0 C_0} + \underbrace{B_1 A_1 W'_0}_{Q_1 C_1} \cr
#   &= P + E = \bar W. \end{aligned}$$
#
# Two random matrices, frozen except for adapters of half the rank, have become a third one that has nothing to do with
# them.
#
# ## The bug that nearly everyone writes
#
# It is tempting to treat both layers alike, and to solve the second equation with the *frozen* first layer,
# $A_1 W_0 = C_1$. After all, adapters are small changes, and each layer's share was computed from the frozen network.
#
# > **What do you expect?** Then $P'$ (a) misses the target by nearly as much as without adapters, (b) misses it by about
# > half as much, (c) misses it by a few per cent.

# %%
A1_wrong = np.linalg.solve(W0.T, C1.T).T
wrong = (W1 + Q1 @ A1_wrong) @ first
print(f"with the frozen first layer:  ‖P' − W̄‖ = {np.linalg.norm(wrong - goal, 2):.2f}")
print(f"without any adapters:         ‖P − W̄‖  = {np.linalg.norm(W1 @ W0 - goal, 2):.2f}")
assert np.linalg.norm(wrong - goal, 2) > 0.5

# %% [markdown]
# (b), with these matrices. And we can say by what it misses: the second adapter also sees the *change* of the first
# layer. The product contains the extra term $B_1 A_1 \cdot B_0 A_0$, adapter times adapter.
#
# The bug hides well. It has no effect if only one layer has an adapter. And if the target is near the frozen product,
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
# For $L$ layers the recipe is the same, the earliest layer first. Let the ranks add up to $k \le D$ (if they add up to
# more, leave some unused). Write the $k$ largest singular triples of $E$ as $E_k = Q\,C$ and give layer $l$ the columns
# $Q_l$ of $Q$ and the rows $C_l$ of $C$, $R_l$ of each. It solves
#
# $$\begin{aligned} S_l\, B_l &= Q_l, \cr A_l\, X_l &= C_l, \end{aligned} \tag{3}$$
#
# the first with the later layers, which are frozen, the second with the earlier ones, which are adapted. If all layers
# succeed, the sum (1) is $\sum_l Q_l C_l = E_k$.
#
# > **Theorem (after Zeng & Lee, 2023).** Let all $W_l$ be square and invertible, and $k = \sum_l R_l$.
# >
# > 1. There are adapters of ranks $R_l$ with $P' = P + E_k$. For them the bounds of the lemma are equalities.
# > 2. So $P' = \bar W$ can be reached if and only if $\sum_l R_l \ge \mathrm{rank}(E)$.
# > 3. For almost every invertible $G$ of $k \times k$, (3) with the split $E_k = (QG)(G^{-1}C)$ finds such adapters.
#
# **Proof.** The first equation in (3) has a solution, as $S_l$ is a product of invertible matrices. The second one has a
# solution exactly if $C_l v = 0$ for every $v$ with $X_l v = 0$. It is here that a split can fail. But there are many:
# $E_k = QC = (QG)(G^{-1}C)$ for every invertible $G$.
#
# Take a $v$ with $X_l v = 0$. Let the index $<$ stand for the directions of the layers before $l$, and $\ge$ for all
# others. The earlier layers have solved (3), so with them alone adapted the product is $S_l W_l X_l = P + Q_< C_<$. It
# maps $v$ to 0. With $w = C_< v$ this says $v = -P^{-1} Q_< w$. Now apply the $k \times k$ matrix $K = I + C P^{-1} Q$
# to the vector that has $w$ for the earlier directions and 0 for the others:
#
# $$\begin{aligned} K \, (w, 0) &= (w, 0) + C P^{-1} Q_< w \cr
#   &= (w, 0) - C v = (0, \, -C_\ge v). \end{aligned}$$
#
# So $K$ takes something from the span of the earlier directions into the span of the others. With $QG$ and $G^{-1}C$,
# $K$ becomes $G^{-1} K G$. With $G_<$ for the first columns of $G$ and $G_\ge$ for its other columns, the line above
# then says $K G_< w = -G_\ge C_\ge v$. The columns of $K G_<$ span no more dimensions than $G_<$ has columns, so with
# those of $G_\ge$ they are at most $k$. Columns $G_\ge$ that are drawn at random then have only 0 in common with the
# span of $K G_<$, whatever $G_<$ is, and are independent of each other. Hence $C_\ge v = 0$, and $C_l v = 0$ is a part
# of this. That proves 3, and with it 1. By the lemma, 2 follows. ∎
#
# The paper has equal ranks, asks that all $P + E_r$ be invertible too, and takes the largest singular triples first;
# any ranks and the random $G$ are ours. `adapt_product` starts from $G = I$, and if that fails and you gave it a random
# generator, from random $G$. It is in `minilora/theorems/linear.py`: the two equations, a loop, and a choice of
# directions that is the subject of an optional section below.

# %%
from minilora.theorems.linear import adapt_product

params = adapt_product(Ws, target, ranks=[2, 2, 2])
for number, own in enumerate(params):
    print(f"layer {number}: A {own['A'].shape}, B {own['B'].shape}")
achieved = np.linalg.norm(chain_product(add_adapters(Ws, params)) - target, 2)
print(f"achieved {achieved:.12f}\npossible {spectral:.12f}")
assert np.isclose(achieved, spectral, rtol=1e-9)

# %% [markdown]
# So the answer to the question is (b), $\sigma_7$: for invertible layers, **the ranks add up**, no less and no more.
# The best error is reached, not only approached.
#
# Now for every rank and for one, two and four layers of width 12. All targets are $P + E$ with the *same* $E$, whose 12
# singular values go from 3 down to 0.001, so that the curves can be compared. Lines are predicted from the singular
# values of $E$; points are what the adapters of `adapt_product` achieve when they are multiplied out.
#
# > **What do you expect?** From which rank on each layer do four layers reach the target? (a) 12, (b) 6, (c) 3.

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
assert worst < 1e-11
assert exact == [(1, 12), (2, 6), (4, 3)]
assert max(achieved[key] for key in exact) < 1e-11

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharey=True)
for L, colour, marker in zip(depths, (BLUE, ORANGE, GREEN), "os^"):
    R = np.arange(D // L + 1)
    line, points = [np.array([errors[L, r] for r in R]) for errors in (predicted, achieved)]
    label = f"{L} layer{'s' * (L > 1)}"
    for axis, x in zip(axes, (R, L * R)):
        axis.plot(x, np.where(line > 0, line, np.nan), color=colour, lw=1)
        axis.plot(x, points, marker, color=colour, ms=9 - 2 * L / 1.4, label=label)
axes[0].set(xlabel="rank R of each adapter", ylabel="‖P' − W̄‖₂", yscale="log", ylim=(1e-17, 30))
axes[1].set(xlabel="sum of the ranks, L · R")
axes[0].legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.4))
axes[1].annotate("predicted: lines\nachieved: points", (3, 1e-5), color=GREY, ha="center")
axes[1].annotate("rounding", (11.6, 2e-15), color=GREY, ha="right", va="center")
# alt: Error against rank for 1, 2 and 4 layers. Left: it drops to rounding at rank 12, 6 and 3. Right: against the sum of the ranks all three lie on one curve, which drops at 12.
plt.show()

# %% [markdown]
# (c). Left: the error drops to rounding at a rank of its own for each depth, at $R = 12$, $6$ and $3$. Right: plotted
# against the *sum* of the ranks, all depths lie on one curve. Half the rank on twice the layers reaches the same error.
#
# This is a statement about rank, not about saving parameters: with $\sum R_l = D$, the adapters hold
# $\sum 2 D R_l = 2 D^2$ parameters, twice as many as the target itself has. What is saved in practice is saved at
# *smaller* ranks, where a few singular values are most of $E$, or all of $E$ is small.
#
# The ranks need not be equal, and need not be where you expect them. Six in all, on three invertible layers, give the
# same error however they are distributed. A layer without an adapter is no loss, as long as the others have its rank.

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
# The theorem says which adapters *exist*. Does training find them? Take three layers, rank 2 each, and LoRA's start:
# `A` random, `B` zero. The loss is the squared Frobenius distance to the target, with no data and no noise, and Adam
# takes 1,000 steps at each of three learning rates, each from five starts. The closed form says what the best possible
# error is.
#
# Twice: once with the well-behaved frozen matrices from above, once with frozen matrices whose singular values go from
# 5.5 down to 0.18. The [*condition number*](glossary.md#condition-number), the largest singular value over the
# smallest, is 4 at most in the first case and 30 in the second. The theorem makes no difference between them.
#
# > **What do you expect?** At a good learning rate the five starts (a) come to the best possible error in both cases;
# > (b) come to it in the first case, and are 10 to 60 % above it in the second; (c) stay well above it in both.
#
# To save time, all cases and starts run as one array with a product of matrices for each. Their losses are added up, so
# no gradient sees the others, and Adam treats each entry by itself.

# %%
from minilora import adam, adam_start, learning_rate, value_and_grad


def conditioned(number, d):
    return with_values(np.geomspace(number**0.5, number**-0.5, d), d, d)


def distances(params, stacks, targets):
    P = np.eye(targets.shape[-1])
    for W, own in zip(stacks, params.values()):
        P = (W + own["B"] @ own["A"]) @ P
    return np.sqrt(np.sum((P - targets) ** 2, axis=(-2, -1)))  # (cases, starts)


def descend(cases, targets, rank, lr, steps, starts):
    stacks = [np.stack(Ws)[:, None] for Ws in zip(*cases)]  # one for each layer
    params = {}
    for number, W in enumerate(stacks):
        d_out, d_in = W.shape[2:]
        A = rng.standard_normal((len(cases), starts, rank, d_in)) / d_in**0.5
        params[f"{number}"] = {"A": A, "B": np.zeros((len(cases), starts, d_out, rank))}
    targets = np.stack(targets)[:, None]

    def loss(params):
        return np.sum(distances(params, stacks, targets) ** 2)

    state, errors = adam_start(params), []
    for step in range(steps):
        if step % 20 == 0:
            errors.append(distances(params, stacks, targets))
        _, grads = value_and_grad(loss, params)
        params, state = adam(params, grads, state, learning_rate(step, steps, lr))
    return np.array([*errors, distances(params, stacks, targets)])  # (recorded, cases, starts)


# %%
cases = {
    "condition number below 4": Ws,
    "condition number 30": [conditioned(30, 8) for _ in range(3)],
}
possible = np.array([predicted_error(frozen, target, ranks=2)[1] for frozen in cases.values()])
for frozen, best in zip(cases.values(), possible):
    params = adapt_product(frozen, target, ranks=2)
    closed_form = np.linalg.norm(chain_product(add_adapters(frozen, params)) - target)
    assert np.isclose(closed_form, best, rtol=1e-9)

rates = {0.1: BLUE, 0.3: ORANGE, 1.0: GREEN}
curves = {}
for lr in rates:
    errors = descend(list(cases.values()), [target] * 2, rank=2, lr=lr, steps=1000, starts=5)
    curves[lr] = errors / possible[:, None]
for case, name in enumerate(cases):
    print(f"{name}, error / best possible error:")
    for lr in rates:
        print(f"  lr {lr}: five starts end at", *np.sort(curves[lr][-1, case]).round(3))
assert min(np.min(curve) for curve in curves.values()) > 1 - 1e-9  # nothing passes below the bound
assert np.max(curves[0.1][-1, 0]) < 1.001
ends = {lr: np.max(curves[lr][-1, 1]) for lr in rates}
assert min(ends, key=ends.get) == 0.3  # the worst start is best at the rate in the middle

# %% [markdown]
# (b). At the largest rate most starts diverge. In the first case all five arrive at a smaller one. In the second case
# they do not, not even at 0.3, the best of the three rates for the worst start. Are they stuck, or only slow? Four
# times as many steps at this rate tell.

# %%
longer = descend([cases["condition number 30"]], [target], rank=2, lr=0.3, steps=4000, starts=5)
longer = longer[:, 0] / possible[1]
short = curves[0.3][:, 1]
print("condition number 30, lr 0.3, five starts:")
print("  1,000 steps:", *np.sort(short[-1]).round(3))
print("  4,000 steps:", *np.sort(longer[-1]).round(3))
assert np.median(short[-1]) > 1.1
assert np.median(longer[-1]) < 1.02 and np.max(longer[-1]) < 1.1

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 3, figsize=(7.2, 3.2), sharey=True)
panels = [(axes[case], lr, curves[lr][:, case]) for case in (0, 1) for lr in rates]
for axis, lr, curve in [*panels, (axes[2], 0.3, longer)]:
    steps = 20 * np.arange(len(curve))
    best, worst = np.min(curve, axis=1), np.max(curve, axis=1)
    axis.fill_between(steps, best, worst, color=rates[lr], alpha=0.25, lw=0)
    axis.plot(steps, np.median(curve, axis=1), color=rates[lr], label=f"lr {lr}")
for axis, title in zip(axes, ("condition below 4", "condition 30", "condition 30, longer")):
    axis.axhline(1, color="black", ls="--", lw=1)
    axis.set(title=title, xlabel="step", yscale="log", ylim=(0.5, 500))
axes[0].set(ylabel="error / best possible error")
axes[0].legend(frameon=False)
axes[2].annotate("closed form", (4000, 0.9), ha="right", va="top")
axes[0].set_yticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
# alt: Error over the best possible error against the step, three panels. Condition below 4: rates 0.1 and 0.3 fall to 1. Condition 30: they end a little above 1, and at 1 after 4,000 steps.
plt.show()

# %% [markdown]
# (Lines are medians over the five starts, bands go from the best to the worst of them.) Here descent was slow, not
# stuck: with more steps all five starts come to the theorem's number. That is what these matrices and starts show; we
# do not prove that descent always arrives. When a LoRA run stops improving, there are two possible reasons, and they
# ask for different cures: the rank is too small (*representation*: raise it), or descent is slow or stuck
# (*optimisation*: other learning rate, other scaling, more steps). Where a closed form exists, it tells you which.
#
# ## Optional: how rounding grows, and how to keep it small
#
# This section is about the digits of the construction, and nothing later rests on it. The construction solves
# $S_l B_l = Q_l$. Where $S_l$ shrinks a direction by 100, $B_l$ must be 100 times as large, and the rounding errors of
# a matrix with large entries are large. Over several layers such factors multiply.
#
# But there is a freedom that costs nothing. *Which* directions a layer takes is ours to choose: almost any split $E_k =
# \sum_l Q_l C_l$ will do. The singular values of $S_l$ say what the later layers carry well: a left singular vector
# with a large singular value needs a small $B_l$, one with a small value a large $B_l$. The last layer has $S = I$, and
# for it all directions are equally easy. So a layer takes directions of $E_k$ that have no part in the weakest left
# singular vectors of its $S_l$, and leaves the others to later layers, as many as they have rank for. That is what
# `adapt_product` does. Compare it with the order of the paper: largest singular triples first, by inverses.

# %%
from fractions import Fraction


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
    product, *others = [exactly(W) for W in Ws]
    for W in others:
        product = W @ product  # without any rounding
    return np.linalg.norm(product.astype(float) - target) / np.linalg.norm(target)


# %%
numbers, lost = [1, 10, 100, 1e3, 1e4], []
for number in numbers:
    errors = []
    for _ in range(9):
        frozen, goal = [conditioned(number, 6) for _ in range(3)], layer(6, 6)
        params = adapt_product(frozen, goal, ranks=2)
        weak_later = relative_error(add_adapters(frozen, params), goal)
        errors.append((weak_later, relative_error(largest_first(frozen, goal, 2), goal)))
    lost.append(np.median(errors, axis=0))
    print(
        f"condition {number:7,.0f}: weak directions later {lost[-1][0]:.0e}, "
        f"largest first {lost[-1][1]:.0e}"
    )
growth = np.log10(np.array(lost[4]) / lost[2]) / 2
print("from 100 to 10,000 the errors grow like the condition number to the power", *growth.round(1))
assert 3e2 < lost[-1][1] / lost[-1][0] < 1e6
assert lost[0][0] < 1e-13
assert 1 < growth[0] < 2.4 and 2.4 < growth[1] < 4

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 3.2))
names = "weak directions later", "largest first"
for errors, colour, marker, name in zip(zip(*lost), (BLUE, ORANGE), "os", names):
    axis.loglog(numbers, errors, color=colour, marker=marker)
    axis.annotate(name, (numbers[-1] * 1.25, errors[-1]), color=colour, va="center")
label = "condition number of each of three frozen matrices"
axis.set(xlabel=label, ylabel="relative error (median of 9)", xlim=(0.8, 4e5))
# alt: Relative error against the condition number, both axes logarithmic. Both curves rise; at 10,000 largest first is thousands of times above weak directions later.
plt.show()

# %% [markdown]
# In exact arithmetic both reach these targets, as all the matrices to be inverted are invertible. In float64 the error
# grows as a power of the condition number (these have singular values evenly spread on a log scale; others lose less or
# more), and the choice of directions buys several digits. A theorem that says "there are adapters" need not say that
# you can write them down in 16 digits.
#
# ## What can fail: no adapters exist, or only this construction fails
#
# The bound (2) holds without conditions. To *reach* it, (3) must have solutions. With square, invertible layers there
# always are some. For other layers there are two kinds of failure, and they must not be confused. Either **no adapters
# exist** that reach $P + E_k$. Or **this construction fails**, and another one might not.
#
# > **Lemma (obstacles).** Adapters of ranks $R_0, \dots, R_{L-1}$ with $P' = P + E_k$ exist only if for every $l$
# >
# > 1. $\mathrm{rank}(P + E_k) \le \mathrm{rank}(W_l) + R_l$,
# > 2. $E_k$ leaves the range of $W_{L-1} \cdots W_l$ in at most $R_l + \dots + R_{L-1}$ directions (the rank of the part of
# >    $E_k$ that is orthogonal to the range),
# > 3. $E_k$ leaves the row space of $W_l \cdots W_0$ in at most $R_0 + \dots + R_l$ directions.
#
# **Proof.** A product has no more rank than a factor, and $W'_l$ has rank $\mathrm{rank}(W_l) + R_l$ at most: that is 1.
# For 2, look at (1): the terms of layers before $l$ begin with $W_{L-1} \cdots W_l$ and stay in this range, so the
# others have to bring the rest. 3 is the same for the transposed product. ∎
#
# The lemma is about all adapters. `obstacle` says which of its conditions is violated, and `Unsolvable` repeats it. If
# all layers are square and at most one is singular, the three are sufficient in all of some thousand random cases that
# we tried; we do not prove this. For generic layers of any shapes no condition is violated if no inner width is smaller
# than the wider end, $\max(d_0, d_L)$. These conditions and what follows are ours, not the paper's.
#
# **No adapters exist: a waist.** Widths 4 → 4 → 8: a 4 × 4 layer, then an 8 × 4 layer. Rank 2 each is 4 in all, and $E$
# has rank 4, so (2) allows error zero.
#
# > **What do you expect?** Is there a pair of adapters of rank 2 with error zero? (a) Yes, for generic layers. (b) No, as
# > the first layer is too narrow. (c) No, as the second layer's outputs fill too few dimensions.

# %%
from minilora.theorems.chain import Unsolvable
from minilora.theorems.linear import obstacle

narrow, goal = [layer(4, 4), layer(8, 4)], layer(8, 4)
print(f"bound (2): {predicted_error(narrow, goal, ranks=2)[0]:.1f}")
try:
    adapt_product(narrow, goal, ranks=2)
except Unsolvable as error:
    print("Unsolvable:", error)
else:
    raise AssertionError("a waist was not noticed")
assert "range of Ws[1:]" in obstacle(narrow, goal, ranks=2)

# %% [markdown]
# (c): condition 2 is violated for $l = 1$. The outputs of $W_1$ fill 4 of 8 dimensions, whatever the first layer does,
# and the adapter on $W_1$ adds 2. But the target wants all 4 of *its* dimensions, and for a generic target none of them
# lies in the range of $W_1$. How large is the error then? Let $N$ project on what $W_1$ does not reach: $N W'_1 W'_0 =
# N B_1 A_1 W'_0$ has rank 2 at most, so the error is at least $\sigma_3(N \bar W)$, and in the Frobenius norm at least
# $(\sigma_3^2 + \sigma_4^2)^{1/2}$ of $N \bar W$.
#
# Can this second bound be reached? `best_effort=True` starts from what the construction finds and refits one layer
# after the other by least squares. Compare it with gradient descent from three starts, on three draws.

# %%
draws, goals = [[layer(4, 4), layer(8, 4)] for _ in range(3)], [layer(8, 4) for _ in range(3)]
descents = descend(draws, goals, rank=2, lr=0.1, steps=600, starts=3)[-1]
for narrow, goal, descended in zip(draws, goals, np.min(descents, axis=1)):
    N = np.eye(8) - narrow[1] @ np.linalg.pinv(narrow[1])
    floor = np.linalg.norm(np.linalg.svd(N @ goal, compute_uv=False)[2:])
    params = adapt_product(narrow, goal, ranks=2, best_effort=True, rng=rng)
    effort = np.linalg.norm(chain_product(add_adapters(narrow, params)) - goal)
    print(f"floor {floor:.3f}, best effort {effort:.3f}, best of three descents {descended:.3f}")
    assert floor > 0.1
    assert 1 - 1e-9 < effort / floor < 1.05
    assert 1 - 1e-9 < descended / floor < 1.02

# %% [markdown]
# In these draws both come to the bound, so it is the smallest error there is. Nothing guarantees that best effort does:
# refitting one layer at a time can come to rest too early, and in other draws it ends some per cent above.
#
# **No adapters exist: a layer that loses too much.** If the second layer is zero, rank 2 on it makes a product of rank
# 2, and the target has rank 4: condition 1 is violated. The error names the layer and the condition. A layer that loses
# no more than its adapter can bring back is no obstacle.

# %%
dead, goal = [layer(4, 4), np.zeros((4, 4))], layer(4, 4)
try:
    adapt_product(dead, goal, ranks=2)
except Unsolvable as error:
    print("Unsolvable:", error)
else:
    raise AssertionError("rank 2 made a product of rank 4")

singular = [layer(4, 4), with_values([2.0, 1.0, 0.0, 0.0], 4, 4)]
params = adapt_product(singular, goal, ranks=2, rng=rng)
error = np.linalg.norm(chain_product(add_adapters(singular, params)) - goal, 2)
print(f"a second layer of rank 2 instead: error {error:.0e}")
assert error < 1e-12

# %% [markdown]
# **This construction fails: a split.** Frozen layers $I$ and $I$, rank 1 each, and the target $J$ is a rotation by 90°.
# All layers are invertible and the ranks add up to 2, so by the theorem adapters exist. Yet every split into
# *orthogonal* directions fails, the SVD's among them. With a unit vector $q$ for the first layer, $W'_0 = I + q q^\top
# (J - I)$, and $W'_0 q = q + q\,(q^\top J q - 1) = 0$, because $J q$ is at a right angle to $q$. So $W'_0$ is singular,
# and the second layer has lost its input. Almost every other $G$ works. Give `adapt_product` a random generator, and it
# draws one.

# %%
identities, turn = [np.eye(2), np.eye(2)], np.array([[0.0, -1.0], [1.0, 0.0]])
q = rng.standard_normal(2)
q = q / np.linalg.norm(q)
print(f"det W'_0 = {np.linalg.det(np.eye(2) + np.outer(q, q) @ (turn - np.eye(2))):.0e}")
try:
    adapt_product(identities, turn, ranks=1)
except Unsolvable as error:
    print("Unsolvable:", error)
else:
    raise AssertionError("an orthogonal split worked")
params = adapt_product(identities, turn, ranks=1, rng=rng)
error = np.linalg.norm(chain_product(add_adapters(identities, params)) - turn, 2)
print(f"with a random G: error {error:.0e}")
assert abs(np.linalg.det(np.eye(2) + np.outer(q, q) @ (turn - np.eye(2)))) < 1e-12
assert error < 1e-12

# %% [markdown]
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with
# `python -m minilora check 8.1 answers.py`. It tries them on random cases, and shows the smallest on which one fails.
#
# ### Exercise 1 (easy): what does exactness cost?
#
# A stack of $L$ frozen layers, generic matrices of width $D$, is to become any generic target, with adapters of one
# rank on all layers. Write `stack_price(L, D)`: a tuple of two integers, the smallest such rank, and the number of
# entries of all $A$ and $B$ together.
#
# Then take $D = 12$ and $L = 1, 2, 3, 5$, and check each rank with `adapt_product`, and the rank below it with
# `predicted_error`. How many parameters do the adapters hold, compared with the $D^2$ of the target? For which $L$ is
# it more than $2 D^2$, and why? (For none of the four is it more than $3 D^2$.)

# %% [markdown]
# ### Exercise 2 (medium): a quarter turn from two reflections
#
# The construction needed a random $G$ to turn $I \cdot I$ into a rotation by 90° with two adapters of rank 1. Find such
# adapters with paper and pencil, for any angle. Write `two_adapters(degrees)` for an integer from −180 to 180: a tuple
# $(B_0, A_0, B_1, A_1)$, each $B$ `(2, 1)` and each $A$ `(1, 2)`, for which $(I + B_1 A_1)(I + B_0 A_0)$ is the
# rotation by so many degrees counter-clockwise.
#
# Then compare the product for 90° with `turn`, and compute the determinants of both factors. Can one of them ever be
# singular, as $W'_0$ was above? (For two reflections the determinants are equal.)
#
# <details><summary>Hint</summary>
#
# A reflection $I - 2 u u^\top$ with a unit vector $u$ is the identity plus a matrix of rank 1 ([lesson 6](06_hra.py)),
# and two reflections along vectors at 45° to each other make a rotation by 90°.
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): the construction for any number of layers
#
# Write `build_by_hand(Ws, target, ranks)`: the two-layer construction from above in a loop. `Ws` is a list of one or
# more matrices `(D, D)`, the first layer first, and `target` another; all are random with singular values between ½ and
# 2, as on this page. `ranks` has an integer for each layer; their sum is $D$, and some may be 0. The answer is a list
# of dicts `{"A": …, "B": …}`, the first layer first, with $A_l$ `(ranks[l], D)` and $B_l$ `(D, ranks[l])`, for which
# the product of all $W_l + B_l A_l$ is the target.
#
# Then compare with `adapt_product`, for the three layers `Ws` and the `target` of the beginning, and the ranks 1, 4 and
# 3. Are the products equal? Are the changes of the first layer, $B_0 A_0$? (One of the two differs by rounding only,
# the other by more than 1 in the Frobenius norm.)
#
# <details><summary>Hint</summary>
#
# Keep the product of the adapted layers so far in `X`, starting with the identity. Layer `l` takes the next `R_l`
# columns of `Q` and rows of `C`. `chain_product([*Ws[l + 1 :], np.eye(D)])` is $S_l$, for the last layer too.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# [Lesson 9](09_expressive_relu.py) puts ReLUs between the layers, and biases that make them harmless.
#
# ## References
#
# - Y. Zeng and K. Lee, 2023, *The Expressive Power of Low-Rank Adaptation*, [arXiv
#   2310.17513](https://arxiv.org/abs/2310.17513): the theorem on products, for equal ranks and invertible layers, by
#   largest triples and inverses. The statements here are in our own words. Unequal ranks, the random $G$, other shapes,
#   singular layers and the choice of directions are this library's own.
# - C. Eckart and G. Young, 1936, *The approximation of one matrix by another of lower rank*, Psychometrika 1; and L.
#   Mirsky, 1960, for other norms.
# - E. Hu et al., 2021, *LoRA*, [arXiv 2106.09685](https://arxiv.org/abs/2106.09685).
