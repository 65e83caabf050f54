# %% [markdown]
# # Expressive power II: with biases that lift the ReLUs, adapters turn one ReLU network into another
#
# **You will learn**
#
# - how a bias makes a ReLU harmless on a ball of inputs, so that layers in a row become one product of matrices;
# - which rank suffices to turn a frozen network into a given one, no deeper and no wider, and what is lost below it;
# - that less rank can do for some targets, and how to find it for some of them;
# - what the construction rests on: a ball of inputs, biases, and something to train in the first layer.
#
# **Before this:** [lesson 8](08_expressive_linear.py): products of adapted matrices and `adapt_product`.
# **Time:** 50 minutes to read, 5 seconds to run.
#
# A product of invertible matrices with adapters reaches any matrix once the ranks add up to enough. In a real network
# there are ReLUs between the matrices, and each of them sets to 0 what is negative. Can a *random* ReLU network still
# be turned into another one, by adapters of low rank? It can, on a ball of inputs, if it is at least as deep and as
# wide as the other, and if the biases may change too.

# %%
from minilora.cli.lesson import BLUE, GREEN, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import autograd.numpy as np  # NumPy, but autograd can differentiate through it
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)

# %% [markdown]
# ## One unit, lifted
#
# A network here has a ReLU after *every* layer, the last one included: with $h_0 = x$,
# $h_{l+1} = \mathrm{relu}(W_l h_l + b_l)$. That is `relu_mlp`. Each entry of $h_{l+1}$ is the output of a *unit*. The
# weights are random: matrices with singular values between ½ and 2, and random biases. Inputs come from the [*ball*](glossary.md#ball)
# $\lVert x \rVert \le \rho$.

# %%
from itertools import pairwise

from minilora.theorems.relu import relu_mlp


def with_values(values, d_out, d_in):
    left, _, right = np.linalg.svd(rng.standard_normal((d_out, d_in)), full_matrices=False)
    return (left * values) @ right  # random directions, these singular values


def net(*widths):
    weights = {}
    for number, (d_in, d_out) in enumerate(pairwise(widths)):
        weights[f"layers.{number}.W"] = with_values(
            rng.uniform(0.5, 2, min(d_out, d_in)), d_out, d_in
        )
        weights[f"layers.{number}.b"] = 0.5 * rng.standard_normal(d_out)
    return weights


def ball(width, radius, count=2000):
    x = rng.standard_normal((count, width))
    x = radius * x / np.linalg.norm(x, axis=1, keepdims=True)  # half of them stay on the surface
    return x * np.where(np.arange(count) % 2, rng.random(count), 1.0)[:, None]


def worst(weights, target, x):
    return np.max(np.linalg.norm(relu_mlp(weights, x) - relu_mlp(target, x), axis=1))


# %% [markdown]
# A unit with one input computes $\mathrm{relu}(w x)$ and maps every $x$ with $w x < 0$ to 0. Now give it the bias
# $c = |w|\,\rho$, the largest value that $-w x$ takes on $|x| \le \rho$. Then $w x + c \ge 0$ on the whole ball, the
# ReLU does nothing there, and the next layer can subtract $c$ again. What comes out is $w x$, as if there were no ReLU.
# We say that $c$ *lifts* the unit, and call it the unit's [*offset*](glossary.md#lift-offset).

# %%
from minilora import relu

w, radius = 1.5, 1.0
x = np.linspace(-2, 2, 401)
c = abs(w) * radius
stages = {
    "relu(w x)": relu(w * x),
    "relu(w x + c)": relu(w * x + c),
    "relu(w x + c) − c": relu(w * x + c) - c,
}
inside = abs(x) <= radius
assert np.allclose(stages["relu(w x + c) − c"][inside], w * x[inside])
assert np.all(stages["relu(w x + c) − c"][x < -radius - 1e-9] > w * x[x < -radius - 1e-9])
biases = [0.25 * step for step in range(9)]
straight = [np.allclose(relu(w * x[inside] + b) - b, w * x[inside]) for b in biases]
assert biases[straight.index(True)] == c

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.8), sharey=True)
for axis, (name, y) in zip(axes, stages.items()):
    axis.axvspan(-radius, radius, color="#e5e7eb", lw=0)
    axis.plot(x, w * x, color=GREY, ls=":", lw=1.5)
    axis.plot(x, y, color=BLUE, lw=2)
    axis.set(title=name, xlabel="x")
axes[0].annotate("w x", (-1.7, -2.4), xytext=(-0.9, -2.6), color=GREY)
axes[1].annotate("the ball", (0, -2.6), ha="center", color=GREY)
# alt: Three panels against x, with the ball from -1 to 1 shaded: relu(w x) is bent at 0, relu(w x + c) is straight inside the ball, and relu(w x + c) - c is w x there.
plt.show()

# %% [markdown]
# The third picture is the whole idea. Inside the ball (grey) the blue line is $w x$. Outside, on the left, it is not.
# Choose the bias yourself: which is the smallest that straightens the line on the whole ball?

# %% tags=["hide-input"]
from minilora.cli.slider import Slider


def draw_lift(figure, bias):
    """relu(w x + b) − b beside w x, for one bias b."""
    axis = figure.subplots()
    axis.axvspan(-radius, radius, color="#e5e7eb", lw=0)
    axis.plot(x, w * x, color=GREY, ls=":", lw=1.5)
    axis.plot(x, relu(w * x + bias) - bias, color=BLUE, lw=2)
    axis.set(xlabel="x", ylim=(-3.2, 3.2), title=f"relu(w x + b) − b, b = {bias:.2f}")


alt = "relu(w x + b) - b against x: below x = -b/w it is flat, so a larger b moves the bend to the left."
Slider("bias b =", biases, draw_lift, alt=alt, size=(4.4, 2.8), start=2).show()

# %% [markdown]
# It is $b = |w|\,\rho = 1.5$, where the bend leaves the ball.
#
# > **Lemma (offsets).** Let $w_j$ be row $j$ of $W$. With $c_j = \rho\,\lVert w_j \rVert$,
# > $\mathrm{relu}(W x + c) - c = W x$ for all $x$ in the ball. With any smaller $c_j$ there is an $x$ in the ball for
# > which this is false.
#
# **Proof.** By Cauchy–Schwarz the lowest value of $w_j \cdot x$ on the ball is $-\rho\,\lVert w_j \rVert$. It is taken
# at $x = -\rho\,w_j / \lVert w_j \rVert$. ∎
#
# So this is no estimate from samples: no $x$ of the ball is [*clipped*](glossary.md#clipped), which means set to 0 by a
# ReLU.

# %%
W = net(6, 6)["layers.0.W"]
c = radius * np.linalg.norm(W, axis=1)
# Row j: the x at which unit j is lowest
lowest = -radius * W / np.linalg.norm(W, axis=1, keepdims=True)
for points in (ball(6, radius), lowest):
    assert np.allclose(relu(points @ W.T + c) - c, points @ W.T)
assert np.allclose(np.diag(lowest @ W.T + c), 0)  # there is nothing to spare
print("offsets:", c.round(2))

# %% [markdown]
# ## Two frozen layers become one layer of the target
#
# Frozen: $\mathrm{relu}(W_1\,\mathrm{relu}(W_0 x + b_0) + b_1)$. Target: $\mathrm{relu}(\bar W x + \bar b)$. Three
# steps, by hand.
#
# 1. By [lesson 8](08_expressive_linear.py) there are adapters of rank $\lceil D/2 \rceil$ on $W_0$ and $W_1$ with
#    $W'_1 W'_0 = \bar W$, if $W_0$ and $W_1$ are invertible.
# 2. Lift the ReLU between: $b'_0 = c$ with $c_j = \rho$ times the length of row $j$ of the *adapted* $W'_0$.
# 3. Take the offset out again, and put the target's bias in: $b'_1 = \bar b - W'_1 c$.
#
# Then for all $x$ in the ball
#
# $$\begin{aligned} W'_1\,\mathrm{relu}(W'_0 x + c) + b'_1 &= W'_1 (W'_0 x + c) + b'_1 \cr
#   &= W'_1 W'_0 x + \bar b \cr &= \bar W x + \bar b. \end{aligned}$$
#
# The last ReLU is not lifted: the target has it too.

# %%
from minilora.theorems.chain import add_adapters
from minilora.theorems.linear import adapt_product

D = 6
weights, single = net(D, D, D), net(D, D)
W_bar, b_bar = single["layers.0.W"], single["layers.0.b"]

own = adapt_product([weights["layers.0.W"], weights["layers.1.W"]], W_bar, ranks=D // 2)
W0, W1 = add_adapters([weights["layers.0.W"], weights["layers.1.W"]], own)
c = radius * np.linalg.norm(W0, axis=1)
by_hand = {"layers.0.W": W0, "layers.0.b": c, "layers.1.W": W1, "layers.1.b": b_bar - W1 @ c}

x = ball(D, radius)
print(
    f"before: {worst(weights, single, x):.2f}   after: "
    f"{worst(by_hand, single, x):.0e}   (largest error in the ball)"
)
assert worst(by_hand, single, x) < 1e-12
assert worst(weights, single, x) > 1

# %% [markdown]
# The library does the same with `relu_adapters`. It returns params for ordinary adapters: LoRA on every matrix, and
# `Full` on the biases.

# %%
from minilora import Full, LoRA, attach
from minilora.theorems.relu import relu_adapters

params = relu_adapters(weights, single, rank=3, partition=(2,), radius=radius)
attached = attach(weights, {"*.W": LoRA(3), "*.b": Full()}, rng=rng)
merged = attached.merge(params)
print(attached)
assert worst(attached.bind(params), single, x) < 1e-12
assert all(np.allclose(merged[name], by_hand[name]) for name in weights)

# %% [markdown]
# ## Outside the ball
#
# The construction is exact for every $x$ in the ball and promises nothing outside. Build the adapters for three balls,
# of radius 1, 100 and 10,000, and measure the error at inputs of every length.
#
# > **What do you expect?** Inside its ball, the construction for radius 10,000 is (a) as exact as that for radius 1; (b)
# > less exact, by a factor of about 10,000; (c) not exact at all. And outside: do the errors grow slowly or jump?


# %%
def adapt(weights, target, rank, partition, radius):
    params = relu_adapters(weights, target, rank, partition, radius, rng=rng)
    loras = {name: LoRA(len(own["A"])) for name, own in params.items() if name.endswith("W")}
    return attach(weights, {**loras, "*.b": Full()}, rng=rng).merge(params)


lengths = np.logspace(-2, 6, 49)
directions = ball(D, 1.0, 400)[::2]  # unit vectors
errors = {}
for radius in (1, 100, 10_000):
    lifted = adapt(weights, single, 3, (2,), radius)
    errors[radius] = np.array([worst(lifted, single, length * directions) for length in lengths])
    inside, outside = errors[radius][lengths <= radius], errors[radius][lengths >= 100 * radius]
    print(
        f"radius {radius:6,}: error inside {inside.max():.0e}, "
        f"from 100 × the radius on {outside.min():.0e} or more"
    )
    assert inside.max() < 5e-14 * radius
    assert 30 * radius < outside.min() < 1000 * radius

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 3.2))
for (radius, error), colour in zip(errors.items(), (BLUE, ORANGE, GREEN)):
    axis.loglog(lengths, np.maximum(error, 1e-17), color=colour)
    axis.axvline(radius, color=colour, ls=":", lw=1)
    axis.annotate(f"ρ = {radius:,}", (lengths[0], error[0] * 2), color=colour)
axis.set(xlabel="length of the input ‖x‖", ylabel="largest error")
# alt: Largest error against the length of the input, both axes logarithmic, for balls of three radii. Each curve is flat at rounding up to its radius and then jumps by many powers of ten.
plt.show()

# %% [markdown]
# (b), and they jump. Each curve is rounding up to its radius (dotted line) and jumps soon after it. The price of a
# larger ball is on the left: the offsets grow with the radius, and adding a large number and subtracting it again costs
# digits. In float64 there are plenty, in float32 far fewer. So the offsets should be as small as they can be, and no
# "large enough" guess. Biases fitted to a *sample* of inputs are exact on that sample and can fail on the next input.
#
# ## More layers: cut the frozen network into runs
#
# Let the target have $\bar L$ layers and the frozen network $L \ge \bar L$. Cut the frozen layers into $\bar L$ [*runs*](glossary.md#run-partition)
# $P_1, P_2, \dots$, one for each layer of the target. The lengths of the runs are the *partition*. All ReLUs inside a
# run are lifted, and the last one of each run does what the target's ReLU does.
#
#     frozen    x ─ relu W_0 ─ relu W_1 ─ relu W_2 ─ relu W_3 ─ relu W_4        runs {0, 1} and {2, 3, 4},
#     target    x ─ ─ ─  relu W̄_1 ─ ─ ─ ─ ─ ─ ─ ─ ─ relu W̄_2 ─ ─ ─ ─ ─          the partition (2, 3)
#
# > **Theorem (after Zeng & Lee, 2023).** Let all frozen layers be square and invertible, of the target's width, with
# > adapters of rank $R$ and trainable biases. If
# >
# > $$R \ge \max_i \, \big\lceil \mathrm{rank}\big(\bar W_i - \textstyle\prod_{l \in P_i} W_l\big) / |P_i| \big\rceil$$
# >
# > with $|P_i|$ the number of layers in run $i$, then for every $\rho$ there are adapters and biases with
# > $f(x) = \bar f(x)$ for all $\lVert x \rVert \le \rho$.
# >
# > **Corollary.** For generic matrices of width $D$ and runs of $n = \lfloor L / \bar L \rfloor$ layers,
# > $R = \lceil D / n \rceil$ suffices.
#
# **Proof.** Take one run after the other. Its ranks add up to $R\,|P_i|$ at least, so by
# [lesson 8](08_expressive_linear.py) its product can be made $\bar W_i$. All its ReLUs but the last are lifted, as in
# the two layers above: each layer lifts by the lengths of the rows of the product up to it, and the next one takes the
# offset out. What the target's layer puts out lies in a ball again, of radius
# $\lVert \bar W_i \rVert \rho_i + \lVert \bar b_i \rVert$, and that is the ball of the next run. ∎
#
# This is the formula of the paper's abstract, up to rounding: width times the depth of the target over that of the
# frozen network. The greater the frozen depth, the smaller the rank.

# %%
from minilora.theorems.relu import sufficient_rank, uniform_partition

D, target = 8, net(8, 8, 8)
x = ball(D, 1.0)
for L in (2, 4, 6, 8):
    weights = net(*[D] * (L + 1))
    partition = uniform_partition(L, 2)
    rank = sufficient_rank(weights, target, partition)
    error = worst(adapt(weights, target, rank, partition, 1.0), target, x)
    print(f"{L} frozen layers, partition {partition}: rank {rank}, error {error:.0e}")
    assert rank == -(-D // (L // 2))
    assert error < 1e-11

# %% [markdown]
# Equal runs are not always best. If the target's first layer differs from the first frozen one by a matrix of low rank,
# that run can be short, and the other gets more layers. `best_partition` (ours) finds the best cut, by going through
# the target's layers and keeping, for each number of frozen layers used so far, the cut with the smallest rank (dynamic
# programming).

# %%
from minilora.theorems.relu import best_partition

D = 6
weights, target = net(D, D, D, D, D), net(D, D, D)
target["layers.0.W"] = weights["layers.0.W"] + np.ones((D, D))  # a change of rank 1
for partition in ((1, 3), (2, 2), (3, 1)):
    print(f"partition {partition}: rank {sufficient_rank(weights, target, partition)}")
assert uniform_partition(4, 2) == (2, 2)
assert best_partition(weights, target) == (1, 3)
assert sufficient_rank(weights, target, (1, 3)) == 2
assert sufficient_rank(weights, target, (2, 2)) == 3
assert sufficient_rank(weights, target, (3, 1)) == 6

# %% [markdown]
# ## Is that rank necessary?
#
# For a linear product the rank was necessary too: that was the lower bound of lesson 8. For ReLU networks it is not.
# For a diagonal matrix $\Lambda$ of positive numbers and a permutation $\Pi$,
#
# $$\mathrm{relu}(\Lambda\, \Pi\, z) = \Lambda\, \Pi\, \mathrm{relu}(z).$$
#
# So the hidden units of the target may be scaled and put in another order, if the next layer undoes it. The function is
# the same, but every $\bar W_i$ has changed, and the theorem counts ranks of $\bar W_i - \prod W_l$. An extreme case:
# let the target be the frozen network itself, in such another form, with four layers of width 6.
#
# > **What do you expect?** Which rank does the theorem ask for with this target, and which rank is enough? (a) 6 and 6;
# > (b) 6 and 0; (c) 0 and 0.

# %%
from minilora.theorems.relu import align_units

D, partition = 6, (1, 1, 1, 1)
weights = net(*[D] * 5)
disguised = dict(weights)
for i in range(3):
    mixed = np.diag(rng.uniform(0.2, 5, D))[rng.permutation(D)]
    disguised[f"layers.{i}.W"] = mixed @ disguised[f"layers.{i}.W"]
    disguised[f"layers.{i}.b"] = mixed @ disguised[f"layers.{i}.b"]
    disguised[f"layers.{i + 1}.W"] = disguised[f"layers.{i + 1}.W"] @ np.linalg.inv(mixed)
x = ball(D, 1.0)
aligned = align_units(weights, disguised, partition)
found = relu_adapters(weights, aligned, [0, 0, 0, 0], partition, 1.0)  # biases only
print(f"frozen against target: {worst(weights, disguised, x):.0e}")
print("rank that the theorem asks for:", sufficient_rank(weights, disguised, partition))
print("                after alignment:", sufficient_rank(weights, aligned, partition))
assert worst(weights, disguised, x) < 1e-12
assert sufficient_rank(weights, disguised, partition) == D
assert sufficient_rank(weights, aligned, partition) == 0
assert set(found) == {f"layers.{i}.b" for i in range(4)}
assert worst(attach(weights, {"*.b": Full()}, rng=rng).merge(found), disguised, x) < 1e-12

# %% [markdown]
# (b). The theorem asks for full rank where nothing has to be done. `align_units` (ours) undoes the disguise: a hidden
# unit whose row is a positive multiple of a row of the frozen product gets that row's place and size. It finds exact
# multiples only; which scales and which order make the rank smallest is a search that the library does not do. Nor must
# a frozen network work in runs at all.
#
# For a target of one layer the rank is needed, under conditions:
#
# > **Lemma (one layer).** Let all layers be square, the target have one layer with an invertible $\bar W$, and let
# > there be an input inside the ball at which all units of the target are on. Then $f = \bar f$ on the ball only if
# > $\sum_l R_l \ge \mathrm{rank}(\bar W - \prod W_l)$.
#
# **Proof.** Near such an input $\bar f(x) = \bar W x + \bar b$. If $f = \bar f$, then at almost every point nearby $f$
# has a Jacobian, and it is $\bar W$: a product of the $W'_l$ with 0 for the rows of all units that are off. It is
# invertible, so no unit is off, and $\prod W'_l = \bar W$. The rest is the lower bound of [lesson
# 8](08_expressive_linear.py). ∎
#
# For targets of more layers we know no such bound.
#
# ## Below the sufficient rank
#
# Count the runs from 1. With a smaller rank, run $i$ becomes the best approximation $M_i$ of $\bar W_i$, and misses it
# by a singular value, $E_i = \sigma_{R |P_i| + 1}(\bar W_i - \prod W_l)$. It is lifted on a ball that holds its own
# inputs. The radius is $\rho_1 = \rho$ for the first, and
# $\rho_{i+1} = \lVert M_i \rVert \rho_i + \lVert \bar b_i \rVert$ for the others.
#
# > **Lemma (error bounds).** On the ball, the error after run $i$ is at most $\delta_i$, and what the target computes
# > there has at most the length $z_i$, with $\delta_0 = 0$, $z_0 = \rho$ and
# >
# > $$\begin{aligned} \delta_i &= \lVert M_i \rVert\, \delta_{i-1} + E_i\, z_{i-1}, \cr
# >   z_i &= \lVert \bar W_i \rVert\, z_{i-1} + \lVert \bar b_i \rVert. \end{aligned} \tag{1}$$
# >
# > A larger bound, in which only the target's norms and the $E_i$ occur, is
# >
# > $$\begin{aligned} &\max_{i < \bar L} z_i \, \sum_{i=1}^{\bar L} m^{\bar L - i} E_i, \cr
# >   &m = \max_k \, (\lVert \bar W_k \rVert_F + E_k). \end{aligned} \tag{2}$$
#
# **Proof.** A ReLU never moves two points further apart. Let $h$ and $\bar h$ be the inputs of run $i$ in the two
# networks. Then $M_i h - \bar W_i \bar h = M_i (h - \bar h) + (M_i - \bar W_i)\, \bar h$, of length at most
# $\lVert M_i \rVert\, \delta_{i-1} + E_i\, z_{i-1}$. For (2), $\lVert M_i \rVert \le m$ and each $z_{i-1}$ is at most
# the largest; sum up. ∎
#
# `error_bounds` returns both. The paper bounds the *expected* error over random inputs. Here (1) and (2) hold for every $x$ in the ball, and for the
# mean error over random inputs in the ball if $z_0$ is the mean of $\lVert x \rVert$. Take a target that differs from
# the frozen runs by singular values from 2 down to 0.002, so that each rank does something.

# %%
from minilora.theorems.chain import chain_product
from minilora.theorems.relu import error_bounds

D, partition = 12, (2, 2)
weights = net(*[D] * 5)
target = net(D, D, D)
for run in (0, 1):
    frozen = chain_product([weights[f"layers.{2 * run}.W"], weights[f"layers.{2 * run + 1}.W"]])
    target[f"layers.{run}.W"] = frozen + with_values(np.geomspace(2, 2e-3, D), D, D)
x, ranks = ball(D, 1.0), range(1, 8)
measured, mean = [], []
for rank in ranks:
    adapted = adapt(weights, target, rank, partition, 1.0)
    errors = np.linalg.norm(relu_mlp(adapted, x) - relu_mlp(target, x), axis=1)
    measured.append(np.max(errors))
    mean.append(np.mean(errors))
measured, mean_size = np.array(measured), np.mean(np.linalg.norm(x, axis=1))
sharp, plain = np.array([error_bounds(weights, target, rank, partition, 1.0) for rank in ranks]).T
on_mean = [error_bounds(weights, target, rank, partition, mean_size)[0] for rank in ranks]
print("rank          ", *[f"{rank:8}" for rank in ranks])
lines = {"largest error": measured, "bound (1)": sharp, "bound (2)": plain}
lines |= {"mean error": mean, "(1) on mean |x|": on_mean}
for name, line in lines.items():
    print(f"{name:15}", *[f"{error:8.1e}" for error in line])
assert sufficient_rank(weights, target, partition) == 6
assert np.all(measured <= sharp + 1e-12) and np.all(sharp <= plain + 1e-12)
assert np.all(np.array(mean) <= np.array(on_mean) + 1e-12)
assert measured[5] < 1e-12 and measured[4] > 1e-3

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 3.2))
for line, colour, marker, name in (
    (plain, GREY, "s", "bound (2)"),
    (sharp, ORANGE, "^", "bound (1)"),
    (measured, BLUE, "o", "measured, largest of 2,000 inputs"),
):
    axis.semilogy(ranks, line, color=colour, marker=marker, label=name)
axis.annotate("sufficient rank", (6.05, 1e-5), color=GREY)
axis.axvline(6, color=GREY, ls=":", lw=1)
axis.set(xlabel="rank R of each adapter", ylabel="error on the ball")
axis.legend(frameon=False, loc="lower left")
# alt: Error against rank, logarithmic. Bound (2) lies above bound (1), and that above the measured error; all three fall slowly up to rank 5 and to rounding at rank 6.
plt.show()

# %% [markdown]
# The measured error lies below bound (1), and that below bound (2): bounds have to hold for the worst network with
# these norms, and the measured error is that of one network on some inputs. Here all three fall with the rank, and at
# the sufficient rank, 6, the error falls to rounding.
#
# What is a low rank good for, then? For targets that are *near*. Let $\bar W_i = \prod W_l + s\,G_i$ with random $G_i$.
# As $s$ goes to 0, so do all $E_i$, and with them both bounds. That is why one starts from a pretrained network: the
# network that is wanted is supposed to be near. (The paper makes this point with pretrained frozen models. Here is the
# mechanism, on five draws.)
#
# > **What do you expect?** A target at a tenth of the distance: (a) a smaller rank is exact for it; (b) the same rank is
# > exact, and below it the error is about a tenth; (c) nothing changes.

# %%
D, partition, draws, radius = 8, (2, 2), 5, 1.0
largest = {s: [] for s in (1, 0.1, 0.01)}
for _ in range(draws):
    weights, target = net(*[D] * 5), net(D, D, D)
    G, x = rng.standard_normal((2, D, D)) / D**0.5, ball(D, radius)
    for s in largest:
        for run in (0, 1):
            first, second = [weights[f"layers.{2 * run + i}.W"] for i in (0, 1)]
            target[f"layers.{run}.W"] = second @ first + s * G[run]
        largest[s].append(
            [worst(adapt(weights, target, R, partition, radius), target, x) for R in range(1, 5)]
        )
print("largest error in the ball, mean of 5 draws, at rank", *[f"{R:9}" for R in range(1, 5)])
for s, errors in largest.items():
    print(f"{f'distance s = {s}':>50}", *[f"{error:9.1e}" for error in np.mean(errors, axis=0)])
# Ranks 1 to 3: ten times nearer makes the error 7 to 20 times as small, in every draw
ratios = np.array([np.array(largest[1]) / largest[0.1], np.array(largest[0.1]) / largest[0.01]])
assert np.min(ratios[:, :, :3]) > 7 and np.max(ratios[:, :, :3]) < 20
assert np.all(np.array(largest[0.01])[:, 0] < np.array(largest[1])[:, 2])
assert np.max([np.array(errors)[:, 3] for errors in largest.values()]) < 1e-11

# %% [markdown]
# (b). The rank that suffices for an exact copy does not change: 4, at every distance. But at a hundredth of the
# distance, rank 1 has a smaller error than rank 3 has at the full one.
#
# ## Narrower targets: dead units
#
# The frozen network has width 12, the target only width 3. The plain way is to pad the target with zeros to 12 × 12.
# But the frozen product has entries there, and to make them zero takes rank. There is a cheaper way (ours). Make the
# nine units that the target lacks *dead*: give them so low a bias that they are always 0. Then what their rows hold has
# no effect, and the columns that read them do not matter either. Only the 3 × 3 corner of the product has to become
# $\bar W$, and this corner is a product of its own: of the first matrix without its last nine columns, and the last
# one without its last nine rows.

# %%
D, width = 12, 3
frozen = [with_values(rng.uniform(0.5, 2, D), D, D) for _ in range(3)]
W_bar = with_values(rng.uniform(0.5, 2, width), width, width)
P = chain_product(frozen)
part = [frozen[0][:, :width], frozen[1], frozen[2][:width]]
assert np.allclose(chain_product(part), P[:width, :width])
zeros = np.zeros((D, D))
zeros[:width, :width] = W_bar
ranks = [int(np.linalg.matrix_rank(E)) for E in (zeros - P, W_bar - P[:width, :width])]
print(f"rank of the change: {ranks[0]} when padded with zeros, {ranks[1]} for the corner")
assert ranks == [12, 3]

# %% [markdown]
# With runs of three layers, padding with zeros takes rank 12/3 = 4, [dead units](glossary.md#dead-unit) 3/3 = 1. For
# generic matrices $\lceil w / |P_i| \rceil$ suffices for a target of width $w$, however wide the frozen network is.
# `relu_adapters` does this when the target is narrower. (Here the target also has fewer inputs: it sees the first three
# entries of $x$, and the others must be 0.)

# %%
weights, target = net(*[D] * 7), net(3, 3, 3)
padded = {}
for name, array in target.items():
    padded[name] = np.zeros([D] * array.ndim)
    padded[name][tuple(slice(size) for size in array.shape)] = array
enough = [sufficient_rank(weights, wanted, (3, 3)) for wanted in (padded, target)]
print("rank that suffices with zeros:", enough[0], "  with dead units:", enough[1])
assert enough == [4, 1]

x = ball(width, 1.0)
y = relu_mlp(adapt(weights, target, 1, (3, 3), 1.0), np.pad(x, ((0, 0), (0, D - width))))
print(f"rank 1: largest error {np.max(abs(y[:, :width] - relu_mlp(target, x))):.0e}")
assert np.max(abs(y[:, :width] - relu_mlp(target, x))) < 1e-12
assert np.all(y[:, width:] == 0)  # dead means exactly 0

# %% [markdown]
# Six random layers of width 12, changed by rank 1 each and with other biases, compute what a random 3-3-3 network
# computes. The frozen layers need not be square either: for generic matrices it is enough that the inner widths of
# a run are at least those of the *target*. So a frozen 8-4-8 becomes 3-3.

# %%
weights, target = net(8, 4, 8), net(3, 3)
x = ball(3, 1.0)
rank = sufficient_rank(weights, target, (2,))
y = relu_mlp(adapt(weights, target, rank, (2,), 1.0), np.pad(x, ((0, 0), (0, 5))))
print(f"8-4-8 to 3-3: rank {rank}, error {np.max(abs(y[:, :3] - relu_mlp(target, x))):.0e}")
assert rank == 2 and np.max(abs(y[:, :3] - relu_mlp(target, x))) < 1e-12

# %% [markdown]
# ## Must the first layer be trained?
#
# It is common to adapt only the last layers. Is that enough, with any rank? Look at the *first* layer, its matrix $W_0$
# and its bias $b_0$ both frozen. Where one of its ReLUs is off, it maps different inputs to the same output, and no
# later layer can tell them apart.
#
# > **Lemma (a pair of inputs).** Let the frozen first layer map $x$ and $x'$ to the same output. Then *every* network
# > with this $W_0$ and $b_0$, whatever its later layers are, has an error of at least
# > $\tfrac12 \lVert \bar f(x) - \bar f(x') \rVert$ at one of the two.
#
# **Proof.** Its outputs at $x$ and $x'$ are equal. By the triangle inequality its two errors add up to
# $\lVert \bar f(x) - \bar f(x') \rVert$ at least. ∎
#
# So here no adapters exist; it is not a construction that fails. How to find such a pair? Take an input $x$ at which
# unit $j$ is off: the entry $z_j$ of $z = W_0 x + b_0$ is negative. Move to $x'$ with three times that $z_j$ and all
# other entries the same: solve $W_0 (x' - x) = 2 z_j e_j$. `witness` searches for a pair that the target maps far
# apart. (Zeng and Lee prove, for random networks, that none with this first layer equals the target; the pair of
# inputs, and with it a bound on the error, is ours.)

# %%
from minilora.theorems.witness import witness

weights, target = net(2, 2, 16, 2), net(2, 2)
weights["layers.0.b"], weights["layers.2.b"] = np.array([0.3, -0.2]), np.ones(2)
target["layers.0.W"], target["layers.0.b"] = (
    np.array([[1.0, -0.6], [0.5, 1.0]]),
    np.array([2.0, 2.0]),
)
radius = 2.0
first, twin, bound = witness(weights, target, radius, rng=rng)
pair = np.array([first, twin])
hidden = relu(pair @ weights["layers.0.W"].T + weights["layers.0.b"])
print("inputs:               ", *pair.round(2))
print("after the first layer:", *hidden.round(2))
print("wanted:               ", *relu_mlp(target, pair).round(2))
print(f"any network with this W_0 and b_0 errs by {bound:.2f} or more at one of the two")
assert np.allclose(hidden[0], hidden[1])
assert bound > 0.5

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.5))
x = ball(2, radius, 6000)
before = x @ weights["layers.0.W"].T + weights["layers.0.b"]
unit = np.argmax(abs((pair[1] - pair[0]) @ weights["layers.0.W"].T))
off = before[:, unit] < 0
for axis, points in zip(axes, (x, relu(before))):
    axis.scatter(*points[~off].T, s=2, color="#cbd5e1")
    axis.scatter(*points[off].T, s=2, color="#f0b27a")
axes[0].annotate("", twin, first, arrowprops={"arrowstyle": "->", "lw": 1.5})
axes[0].plot(*pair.T, "o", color=BLUE)
for point, name, place in zip(pair, ("x", "x′"), ((6, 5), (-15, 3))):
    axes[0].annotate(name, point, xytext=place, textcoords="offset points", size=13)
axes[1].plot(*hidden[0], "o", color=BLUE)
axes[1].annotate("x and x′", hidden[0], xytext=(8, 5), textcoords="offset points", size=13)
axes[0].set(xlabel="first entry of x", ylabel="second entry of x", aspect="equal")
axes[0].set_title(f"inputs; orange: unit {unit} is off")
axes[1].set(title="after the frozen first layer", xlabel="unit 0", ylabel="unit 1", aspect="equal")
# alt: Left: a disc of inputs, part of it orange, with an arrow from x to x′ inside that part. Right: after the first layer the orange part is a line, and x and x′ are one point of it.
plt.show()

# %% [markdown]
# All the orange part of the ball is pressed onto one line on the right, and $x$, $x'$ onto one point of it. Now three
# experiments, a row of the table each. First, train all that comes after the first layer in full, matrices and biases,
# with 16 units in the middle. Second, train $b_0$ too, and give the later matrices rank 1 only, by `relu_adapters` with
# a rank for each layer. Third, give $W_0$ an adapter as well.
#
# > **What do you expect?** The error falls to rounding (a) in none of the three rows; (b) in the third one only; (c) in
# > the second and the third one.

# %%
from minilora import fit


def loss(params, x, y):
    return np.sum((relu_mlp(later.bind(params), x) - y) ** 2) / len(x)


later = attach(weights, {"layers.[12].*": Full()}, rng=rng)
x = np.concatenate([ball(2, radius, 1000), np.repeat(pair, 100, axis=0)])
trained = later.merge(
    fit(loss, later.params, (x, relu_mlp(target, x)), rng=rng, steps=500, batch=100, lr=1e-2)
)
left_over = worst(trained, target, pair)
print(f"{'trainable':40} parameters  largest error")
print(f"{'later layers in full':40} {later.trainable:10}  {left_over:.2f}, at least {bound:.2f}")
assert left_over >= bound * (1 - 1e-9)
x = ball(2, radius)
for name, ranks in (("b_0, later layers with rank 1", [0, 1, 1]), ("all layers with rank 1", 1)):
    found = relu_adapters(weights, target, ranks, (3,), radius, rng=rng)
    adapted = adapt(weights, target, ranks, (3,), radius)
    held = sum(array.size for own in found.values() for array in own.values())
    print(f"{name:40} {held:10}  {worst(adapted, target, x):.0e}")
    assert held < later.trainable
    assert worst(adapted, target, x) < 1e-12
    same = np.array_equal(adapted["layers.0.W"], weights["layers.0.W"])
    assert same == ("layers.0.W" not in found) == (ranks != 1)

alone, deep = net(4, 4, 4), net(4, 4, 4)
own_run = worst(adapt(alone, deep, [0, 4], (1, 1), 1.0), deep, ball(4, 1.0))
print(f"two layers for two, full rank, but none on W_0: error {own_run:.2f}")
assert own_run > 1

# %% [markdown]
# (c). The two entries of $b_0$ make the difference, not an adapter on $W_0$. They lift the first layer's units, and
# then nothing is lost there: the ranks of the later layers only have to add up to enough. In this construction $W_0$
# does need an adapter if it is a run of its own, as it then has to become $\bar W_1$ by itself. (The last line says
# that this construction fails there; we have not shown that no adapters exist.)
#
# All this is about targets in general. If all units of the frozen first layer are on wherever the target varies, or if
# the target has the same first layer, then nothing is lost there, and training the later layers can suffice.
#
# Full training of the last layers had more parameters than either. The paper makes this comparison in general: low rank
# on all layers, against the last layers in full, at equal or fewer parameters. Ten random networks of four layers and
# width 4, one-layer targets:

# %%
bounds, errors = [], []
for _ in range(10):
    weights, target = net(4, 4, 4, 4, 4), net(4, 4)
    bounds.append(witness(weights, target, 10.0, rng=rng)[2])
    errors.append(worst(adapt(weights, target, 1, (4,), 10.0), target, ball(4, 10.0)))
low_rank = attach(weights, {"*.W": LoRA(1), "*.b": Full()}, rng=rng).trainable
last_three = attach(weights, {"layers.[123].*": Full()}, rng=rng).trainable
print(f"rank 1 and biases, {low_rank} parameters: error {max(errors):.0e} at most")
print(
    f"last three layers in full, {last_three} parameters: "
    f"error from {min(bounds):.1f} to {max(bounds):.1f} at least"
)
assert (low_rank, last_three) == (48, 60)
assert max(errors) < 1e-10 and min(bounds) > 1

# %% [markdown]
# ## Must the biases be trained?
#
# LoRA as it is often used leaves biases unchanged. Suppose first that there are none.
#
# > **Lemma (no biases).** A network without biases has $f(t x) = t f(x)$ for all $t > 0$, and $f(0) = 0$, whatever its
# > adapters are. It misses every target by at least $\lVert \bar f(0) \rVert$ at 0.
#
# **Proof.** Every layer has this property: $\mathrm{relu}(W\, t x) = t\, \mathrm{relu}(W x)$. (Such functions are
# called [*positively homogeneous*](glossary.md#positively-homogeneous).) ∎

# %%
weights = {name: array * name.endswith("W") for name, array in net(4, 4, 4).items()}
changed = {
    name: array + rng.standard_normal(array.shape) * name.endswith("W")
    for name, array in weights.items()
}
x = ball(4, 1.0)
assert np.allclose(relu_mlp(changed, 7 * x), 7 * relu_mlp(changed, x))
assert np.all(relu_mlp(changed, np.zeros(4)) == 0)

target = net(4, 4)
target["layers.0.b"] = np.ones(4)
right = relu_adapters(weights, target, 2, (2,), 1.0)
matrices_only = attach(weights, {"*.W": LoRA(2)}, rng=rng)
params = {name: own for name, own in right.items() if name.endswith("W")}
error = worst(matrices_only.merge(params), target, np.zeros((1, 4)))
print(f"the right adapters without the biases: error {error:.2f} at 0")
assert np.isclose(error, np.linalg.norm(np.ones(4)))

# %% [markdown]
# Real networks have biases, frozen ones. Can these replace trained ones? Sometimes. Let $b_0 > 0$ and $b_1$ be frozen,
# and, if $\bar b \ne b_1$, choose an invertible $W'_1$ with $W'_1 b_0 = \bar b - b_1$ and $W'_0 = W_1'^{-1} \bar W$.
# Then the frozen $b_0$ lifts the units, on a ball that is as large as it allows. (Here the change of $W_1$ has rank 1,
# that of $W_0$ full rank.) What frozen biases and low rank can do together, we do not know.

# %%
weights, target = net(4, 4, 4), net(4, 4)
b = weights["layers.0.b"] = rng.uniform(1, 2, 4)
wanted = target["layers.0.b"] - weights["layers.1.b"]
W1 = weights["layers.1.W"]
W1 = W1 + np.outer(wanted - W1 @ b, b) / (b @ b)
W0 = np.linalg.solve(W1, target["layers.0.W"])
radius = np.min(b / np.linalg.norm(W0, axis=1))
x = ball(4, radius)
changed = weights | {"layers.0.W": W0, "layers.1.W": W1}
assert np.linalg.matrix_rank(W1 - weights["layers.1.W"]) == 1
assert np.linalg.matrix_rank(W0 - weights["layers.0.W"]) == 4
print(f"frozen biases: error {worst(changed, target, x):.0e} on the ball of radius {radius:.2f}")
assert worst(changed, target, x) < 1e-12
assert radius > 0.3

# %% [markdown]
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with
# `python -m minilora check 9.1 answers.py`. It tries them on random cases, and shows the smallest on which one fails.
#
# ### Exercise 1 (easy): offsets that are a little too small
#
# Write `lowest_points(W, radius)`: a matrix `(d_out, d_in)` whose row $i$ is the point $x$ of the ball
# $\lVert x \rVert \le$ `radius` at which unit $i$, row $i$ of $W$ times $x$, is lowest. No row of $W$ is zero.
#
# Then take the matrices of `by_hand` from above, whose ball has radius 1, and make the offsets `layers.0.b` 1 %
# smaller, in both biases. At how many of 2,000 random inputs of the ball is a unit clipped? And at how many of the six
# lowest points of the first layer? (At fewer than 20 of the random ones.)

# %% [markdown]
# ### Exercise 2 (medium): the adapters against the target
#
# All layers of a frozen ReLU network are square and of one `width`, and there are `depth` of them. The target has
# `target_depth` square layers of `target_width`; it is no wider and no deeper. Cut the frozen layers into one run for
# each layer of the target: a run of $k$ layers needs rank $\lceil$target width$/k\rceil$. Write
# `network_price(width, depth, target_width, target_depth)`: a tuple of three integers. The first is the smallest rank
# for all runs, over all ways to cut. The second is the number of entries of adapters of that rank on every frozen
# layer, and of all its biases. The third is the number of entries of the target, with its biases.
#
# Then take width 12 and depth 6, and a target of width 4 and depth 2. Compare with `best_partition`, with
# `sufficient_rank`, and with the `trainable` of `attach`. (The adapters and biases have between 5 and 10 times the
# entries of the target.) What does that say about this theorem as a way to save memory?

# %% [markdown]
# ### Exercise 3 (hard): pixels
#
# Pixels lie between 0 and 1. The smallest ball around 0 that holds all such inputs has radius $\sqrt D$, but the *box*
# $[0, 1]^D$ is much smaller than this ball. Write `box_biases(W0, W1, b)`, with $W_0$ `(units, D)`, $W_1$
# `(outputs, units)` and $b$ `(outputs,)`: a tuple of two vectors $(c_0, c_1)$. The offsets $c_0$ are the smallest, in
# every entry, with which no entry of $W_0 x + c_0$ is negative for any $x$ in the box. The other, $c_1$, makes
# $W_1 \operatorname{relu}(W_0 x + c_0) + c_1 = W_1 W_0 x + b$ true there.
#
# Then build the two-layer network `by_hand` with them, and compare it with `single` at all corners of the box and at
# random points in it. By what factor are the offsets of the ball larger, on average? (Between 2 and 6.)
#
# <details><summary>Hint</summary>
#
# The lowest value of $g \cdot x$ on the box: set $x_i = 1$ where $g_i < 0$, and $x_i = 0$ elsewhere.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# [Lesson 10](10_expressive_attention.py) does it for attention, where no bias has to be lifted: each head is made of
# two products of two matrices.
#
# ## References
#
# - Y. Zeng and K. Lee, 2023, *The Expressive Power of Low-Rank Adaptation*, [arXiv
#   2310.17513](https://arxiv.org/abs/2310.17513): the theorem on ReLU networks for equal ranks, the bound on the
#   expected error, tuning the last layers. The offsets from bounds, the bound for every $x$, unequal ranks, the best
#   partition, aligned and dead units, the pair of inputs and the remarks on necessity are this library's own;
#   statements are in our words, with conditions that we tested.
# - E. Hu et al., 2021, *LoRA*, [arXiv 2106.09685](https://arxiv.org/abs/2106.09685).
