# %% [markdown]
# # Four bits: train an adapter over a coarse matrix, and merge it without losing it
#
# **You will learn**
#
# - how NF4 stores a matrix in about four bits for each entry, and how far off the stored matrix is;
# - how to train LoRA or SBoRA over it (QLoRA, QSBoRA), and what that costs in accuracy here;
# - whether to merge the trained adapter into the coarse matrix or into the original one;
# - what is lost when the merged matrix is quantised again.
#
# **Before this:** [lesson 2](02_lora_by_hand.py) (LoRA, `attach`) and [lesson 4](04_sbora.py) (SBoRA).
# **Time:** 35 minutes to read, 17 seconds to run.
#
# An adapter does not change the frozen $W$. So $W$ need not be stored in a form that training can change, and it can be
# stored coarsely. To [*quantise*](glossary.md#quantise) a matrix is to replace each entry by one of a few values, so
# that only the number of the value has to be kept. Four bits can tell 16 values apart, and the matrices of a model then
# take little more than a quarter of what they take in float16. What does such a matrix do to training? And how do you
# get one network out of it in the end? The second question is where people lose accuracy without noticing.

# %%
from minilora.cli.lesson import BLUE, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)

# %% [markdown]
# ## Sixteen levels
#
# Which 16 values? Weights of trained networks often look much like draws from a normal distribution, so the values
# should lie close together where such draws are many. [NF4](glossary.md#nf4) ("normal float", [Dettmers et al.,
# 2023](https://arxiv.org/abs/2305.14314)) takes [*quantiles*](glossary.md#quantile) of the normal distribution: the
# quantile of probability $p$ is the number that a draw falls below with probability $p$. At equal steps of probability
# on either side (longer ones below 0) it takes seven quantiles below 0, the zero itself, and eight above. (A zero of
# its own is useful, and it leaves an odd number of others.) All are divided by the largest, so that they span
# $[-1, 1]$. These 16 numbers are the [*levels*](glossary.md#level). (The quantile of probability 1 is infinite. They
# stop a little before it, at the number `last` in the code, which the authors chose.)

# %%
from statistics import NormalDist

from minilora.quantization import LEVELS

last = 1 - (1 / 30 + 1 / 32) / 2
quantile = NormalDist().inv_cdf
below = [-quantile(p) for p in np.linspace(last, 0.5, 8)[:-1]]
above = [quantile(p) for p in np.linspace(0.5, last, 9)[1:]]
levels = np.array([*below, 0.0, *above]) / above[-1]
print(np.round(levels, 3))
assert np.allclose(levels, LEVELS, atol=1e-15) and len(levels) == 16 and levels[7] == 0

# %% [markdown]
# ## Blocks, each with one absmax
#
# The levels end at $\pm 1$, and the entries of $W$ do not. So a weight matrix is cut into [*blocks*](glossary.md#block)
# of 64 consecutive entries of a row. (Where a row ends before its last block is full, the block goes on in the next
# row.) Each block keeps one ordinary number, its largest magnitude $a$, which is called its
# [*absmax*](glossary.md#absmax). And for each entry the block keeps a [*code*](glossary.md#code), the index of the
# level nearest to the entry divided by $a$:
#
# $$ \hat W_{ij} = a \cdot \text{level}[\text{code}_{ij}], \qquad
#    |W_{ij} - \hat W_{ij}| \le \tfrac12 \, g \, a, \tag{1} $$
#
# where $g$ is the widest gap between two levels: no number in $[-1, 1]$ is further than half of it from a level. The
# cell does all of it by hand, on a matrix of a network that was trained on sans letters (lesson 1), and then asks the
# library. Half of the widest gap is 15 % of the absmax.
#
# > **What do you expect?** How large is the error of the whole matrix, $\lVert W - \hat W\rVert_F / \lVert W\rVert_F$?
# > (a) About 1 %, (b) about 10 %, (c) about 30 %.

# %%
from minilora import quantize
from minilora.cli import letters
from minilora.cli.comparison import Length

length = Length(images=200, pretrain_steps=400, adapt_steps=200)
networks = [letters.pretrain(rng, length) for _ in range(3)]  # one for now, all three below
W = networks[0]["layers.1.W"]
blocks = W.reshape(-1, 64)  # 144 × 144 = 324 blocks of 64
absmax = np.abs(blocks).max(axis=1, keepdims=True)
codes = np.abs(blocks[:, :, None] / absmax[:, :, None] - levels).argmin(axis=2)
by_hand = (absmax * levels[codes]).reshape(W.shape)
assert np.allclose(np.asarray(quantize(W)), by_hand, atol=1e-6)
half_gap = np.diff(levels).max() / 2
assert np.all(np.abs(W - by_hand).reshape(-1, 64) <= half_gap * absmax * (1 + 1e-6))
relative = np.linalg.norm(W - by_hand) / np.linalg.norm(W)
off = np.abs(by_hand / W - 1)
print(f"half the widest gap: {half_gap:.3f} of absmax; error of the matrix: {relative:.1%}")
print(f"one entry: half of them are off by more than {np.median(off):.0%} of their size, ", end="")
print(f"{np.mean(off > 0.5):.0%} by more than half, {np.mean(by_hand == 0):.0%} have become 0")
assert 0.08 < relative < 0.1 and 0.08 < np.median(off) < 0.12
assert 0.05 < np.mean(by_hand == 0) < np.mean(off > 0.5) < 0.2

# %% [markdown]
# (b). The error is nearly a tenth of the matrix, in the Frobenius norm. It is not a tenth of every entry: small entries
# can be off by half of their size or more, and those nearest to zero become zero. The figure shows why it is not worse:
# the levels are where the weights are.

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 2.5))
axis.hist((blocks / absmax).ravel(), bins=101, color=GREY, alpha=0.6)
axis.vlines(levels, 0, axis.get_ylim()[1], color=ORANGE, linewidth=1.5)
axis.set(xlabel="entry of W / absmax of its block", ylabel="how many", xticks=[-1, -0.5, 0, 0.5, 1])
axis.set_title("a trained matrix (grey) and the 16 levels of NF4 (orange)", size=11)
# alt: Histogram of the entries of a trained matrix, divided by their absmax: a bell around 0 with two peaks at -1 and 1. The 16 levels are close together around 0 and further apart outside.
plt.show()

# %% [markdown]
# ## How many bits for each entry?
#
# Four bits for each code, and one float32 for each block of 64: $4 + 32/64 = 4.5$ bits. [*Double quantisation*](glossary.md#double-quantisation) stores
# the absmax values, after their mean over the whole matrix is subtracted, in eight bits, with one float32 for 256 of them:
# $4 + 8/64 + 32/(64 \cdot 256) \approx 4.127$. You can count the bytes.

# %%
large = rng.standard_normal((1024, 1024)).astype(np.float32)
bits = quantize(large).bits, quantize(large, double=True).bits
print(f"bits for each entry: {bits[0]:.3f}, with double quantisation {bits[1]:.3f}, as float32 32")
assert bits[0] == 4.5 and 4.126 < bits[1] < 4.128

# %% [markdown]
# ## Train over the coarse matrix: QLoRA and QSBoRA
#
# `quantize(W)` returns an object that `linear` accepts in place of a matrix. So nothing new is needed to train over it:
# put it into the weights and attach any adapter. With LoRA this is called [*QLoRA*](glossary.md#qlora-qsbora), with
# SBoRA *QSBoRA* ([Po et al., 2024](https://arxiv.org/abs/2407.05413)). Does the adapter suffer from a base that is off
# by a tenth?
#
# One run could not tell, because runs of one method differ by a point or two. So take three networks, two domains and
# two adapters with 9,216 trainable parameters each, and train each adapter twice, over $W$ and over $\hat W$, from the
# same start and with the same batches. That makes twelve pairs. (The learning rate is 0.03. Out of 0.003,
# 0.01, 0.03 and 0.1, on three other networks in four bits, it was the best for SBoRA-FA each time. For LoRA 0.01 and
# 0.03 took turns.)
#
# > **What do you expect?** Trained over $\hat W$ instead of $W$, the accuracy is (a) about 5 points lower, (b) about
# > 2 points lower, (c) the same within a point.

# %%
from minilora import LoRA, SBoRAFA, accuracy, attach, fit, mlp
from minilora.data.glyphs import FRAKTUR, ROTATED, SOURCE, draw_letters

hidden = [f"layers.{layer}.W" for layer in range(4)]
to_adapt = {domain.name: draw_letters(rng, domain, 40) for domain in (FRAKTUR, ROTATED)}
to_test = {domain.name: draw_letters(rng, domain, 100) for domain in (SOURCE, FRAKTUR, ROTATED)}


def score(weights, name):
    """The accuracy of a network on the test letters of a domain, in percent."""
    images, truths = to_test[name]
    return 100 * accuracy(mlp(weights, images), truths)


def train(base, adapter, name, seed):
    """The update ΔW of each hidden matrix after training on one domain."""
    attached = attach(base, {letters.HIDDEN: adapter}, rng=np.random.default_rng(seed))
    assert attached.trainable == 9216

    def loss(params, x, labels):
        return letters.mlp_loss(attached.bind(params), x, labels)

    how = {"rng": np.random.default_rng(seed), "steps": length.adapt_steps, "batch": 64}
    merged = attached.merge(fit(loss, attached.params, to_adapt[name], **how, lr=3e-2))
    return {layer: merged[layer] - np.asarray(base[layer]) for layer in hidden}


def quantized(network):
    """The network with its hidden matrices in four bits."""
    return network | {layer: quantize(network[layer]) for layer in hidden}


def plus(network, update):
    """The network with an update added to its hidden matrices, which become ordinary arrays."""
    return network | {layer: np.asarray(network[layer]) + update[layer] for layer in hidden}


for network in networks:
    print(f"sans letters: {score(network, 'sans'):.1f} % with W, ", end="")
    print(f"{score(quantized(network), 'sans'):.1f} % in four bits")

# %%
from itertools import product

adapters = {"LoRA r=8": LoRA(8), "SBoRA-FA r=16": SBoRAFA(16)}
cases = list(product(range(3), adapters, to_adapt))  # networks, adapters, domains
updates, over_fine, over_coarse = {}, {}, {}
for case in cases:
    which, label, name = case
    network = networks[which]
    updates[case] = [
        train(base, adapters[label], name, seed=which) for base in (network, quantized(network))
    ]
    over_fine[case] = score(plus(network, updates[case][0]), name)
    over_coarse[case] = score(plus(quantized(network), updates[case][1]), name)
for label, name in product(adapters, to_adapt):
    means = (
        np.mean([found[i, label, name] for i in range(3)]) for found in (over_fine, over_coarse)
    )
    print("{:14} {:8} over W {:.1f} %, over four bits {:.1f} %".format(label, name, *means))


def paired(one, other):
    """Mean and standard error of the twelve differences, and the mean for each network."""
    gaps = np.array([one[case] - other[case] for case in cases])
    return gaps.mean(), gaps.std(ddof=1) / len(gaps) ** 0.5, gaps.reshape(3, 4).mean(axis=1)


print("over four bits minus over W: {:.1f} ± {:.1f} points".format(*paired(over_coarse, over_fine)))
assert abs(paired(over_coarse, over_fine)[0]) < 1

# %% [markdown]
# (c). (The number after ± is the [*standard error*](glossary.md#standard-error) of the mean, the standard deviation of
# the twelve differences over $\sqrt{12}$. The four of one network are not quite independent, so below you also see each
# network.) On these tasks and in these runs, training over $\hat W$ does as well. There is a plausible reason: the
# adapter is trained *with* the coarse matrix in place, so it can make up for a part of the error.
#
# ## Which matrix does the adapter belong to?
#
# Now there are two ways to get one network out of a trained QLoRA. Merge $\Delta W$ into the coarse matrix that it was
# trained over, $\hat W + \Delta W$. Or get the original weights, which are more exact, and merge into them,
# $W + \Delta W$. Many do the second: the original is a file on disk, and $\hat W$ would first have to be unpacked.
# You have the updates of both trainings, so you can also ask the other way round: what if an adapter that was trained
# over $W$ is merged into $\hat W$?
#
# > **What do you expect?** For the adapters trained over $\hat W$, the accuracy of $W + \Delta W$, compared with that
# > of $\hat W + \Delta W$, is (a) higher, because $W$ has no error, (b) the same, (c) lower.

# %%
coarse_into_fine, fine_into_coarse = {}, {}
for case in cases:
    which, label, name = case
    fine, coarse = updates[case]
    coarse_into_fine[case] = score(plus(networks[which], coarse), name)
    fine_into_coarse[case] = score(plus(quantized(networks[which]), fine), name)
print("mean accuracy of twelve     merged into W    into the coarse W")
for label, row in (
    ("trained over W", (over_fine, fine_into_coarse)),
    ("trained over the coarse W", (coarse_into_fine, over_coarse)),
):
    print(f"{label:26}", *(f"{np.mean(list(found.values())):14.1f} %" for found in row))
for label, own, other in (
    ("trained over the coarse W: into it minus into W", over_coarse, coarse_into_fine),
    ("trained over W: into it minus into the coarse W", over_fine, fine_into_coarse),
):
    mean, error, by_network = paired(own, other)
    print(f"{label} {mean:.1f} ± {error:.1f} points; each network", by_network.round(1))
    assert mean > 2 * error and 0.4 < mean < 3 and np.all(by_network > 0)

# %% [markdown]
# (c). An adapter belongs to the matrix that it was trained over. Look at what a layer computes:
#
# $$ W + \Delta W = (\hat W + \Delta W) + (W - \hat W). \tag{2} $$
#
# The first term is the network that was trained. The second is the whole error of quantisation. To the trained network
# it is a disturbance that it has never seen, whichever sign it has: to take away an error to which the adapter has been
# trained is as bad as to add one. That fits the table, which is nearly symmetric. (The sizes are those of our small
# networks. On a model with smaller errors, or with an adapter that moves less, the gap may be too small to see.)
#
# So the exact way to merge QLoRA is $\hat W + \Delta W$, with $\hat W$ unpacked in full precision, by the same
# quantisation with the same block length as in training. If you plan to deploy $W + \Delta W$, train over $W$.
#
# ## Quantise again: how much of the update is left?
#
# $\hat W + \Delta W$ is an ordinary matrix, and it takes 16 or 32 bits for each entry again. To get back to four you
# have to quantise once more. Does the update survive that? First the accuracy, of the twelve adapters that were trained
# over $\hat W$. Then we look at one update closely.

# %%
again, again_from_fine = {}, {}
for case in cases:
    which, label, name = case
    _, coarse = updates[case]
    again[case] = score(quantized(plus(quantized(networks[which]), coarse)), name)
    again_from_fine[case] = score(quantized(plus(networks[which], coarse)), name)
for label, found in (
    ("coarse W + ΔW, quantised", again),
    ("W + ΔW", coarse_into_fine),
    ("W + ΔW, quantised", again_from_fine),
):
    mean, error, by_network = paired(found, over_coarse)
    print(f"{label:24} minus coarse W + ΔW: {mean:.1f} ± {error:.1f} points;", by_network.round(1))
assert -5 < paired(again, over_coarse)[0] < -0.8

# %% [markdown]
# Quantising again costs about two points here. This second error is the larger one here, because $\hat W + \Delta W$ is
# larger than $W$, and no training makes up for it.
#
# These updates are large: the one below is nearly as large as $W$. Many in practice are not. So take the update of one
# layer, and make it smaller by a factor $c$. Quantise $\hat W + c\,\Delta W$ and call what has arrived, the difference
# from $\hat W$, $D$. The share of the update that is left is
#
# $$ \langle D,\, c\,\Delta W\rangle \,/\, \lVert c\,\Delta W\rVert_F^2, \tag{3} $$
#
# where $\langle\cdot,\cdot\rangle$ is the sum of the products of the entries. It is 1 if all of the update is there, up
# to errors that have nothing to do with it, and 0 if nothing is. (At $c = 1/50$ the update is a fifth of the error of
# $\hat W$.)
#
# > **What do you expect?** What share of the update is left at $c = 1/50$? (a) About 1: the errors cancel each other in
# > the mean, (b) about a half, (c) nearly nothing.

# %%
W = networks[0]["layers.1.W"]
W_hat = np.asarray(quantize(W))
update = updates[0, "LoRA r=8", "rotated"][1]["layers.1.W"]
print(f"‖ΔW‖ / ‖W‖ = {np.linalg.norm(update) / np.linalg.norm(W):.2f}")
assert np.array_equal(np.asarray(quantize(W_hat)), W_hat)  # Ŵ itself stays as it is
factors = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1])
left = {"added to the coarse W": [], "added to W": []}
for (label, shares), start in zip(left.items(), (W_hat, W)):
    for factor in factors:
        wanted = factor * update
        arrived = np.asarray(quantize((start + wanted).astype(np.float32))) - W_hat
        shares.append(np.sum(arrived * wanted) / np.sum(wanted**2))
    print(label, "  ".join(f"{share:.2f} at {c:.2f}" for c, share in zip(factors, shares)))
assert left["added to the coarse W"][1] < 0.05 and left["added to the coarse W"][-1] > 0.97
assert min(left["added to W"]) > 0.9

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 2.8))
for (label, shares), colour in zip(left.items(), (ORANGE, BLUE)):
    axis.semilogx(factors, shares, "o-", color=colour, markersize=4, label=f"update {label}")
size = np.linalg.norm(W - W_hat) / np.linalg.norm(update)
axis.axvline(size, color=GREY, linestyle="--", linewidth=1)
axis.text(size * 1.05, 0.05, "update as large as\nthe error of Ŵ", color=GREY)
axis.set(xlabel="c, the factor of the update", ylabel="share that is left", ylim=(-0.05, 1.15))
axis.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
axis.legend(frameon=False, loc="center left")
# alt: Share of the update that is left after quantising, against its factor. Added to the coarse W it falls from 1 at a fifth to 0 at a fiftieth. Added to W it stays near 1.
plt.show()

# %% [markdown]
# (c). Every entry of $\hat W$ lies exactly on a level. As long as the absmax stays, what $\Delta W$ adds to an entry is
# lost if it is below half the gap to the next level. So a small update does not become inaccurate, it disappears: the
# network is the one from before the fine-tuning.
#
# Added to $W$ (the blue curve), the update is still there in the mean, at every size. The entries of $W$ lie anywhere
# between the levels, so a small change takes some of them over the middle. But it is a mean: for a small update the
# errors of single entries are many times larger than the update itself. And (2) still holds, so its accuracy, in the
# last row of the table above, is no better.
#
# ## Which untouched entries change?
#
# A block shares its absmax. If quantising again finds a new absmax, *all 64* entries are rounded anew, also those that
# no adapter has touched. A block is a stretch of entries *along a row*. Take $\hat W$ of 128 × 128, SBoRA of rank 4,
# and updates with entries twice as large as those of $W$, or a tenth as large. Look only at the entries outside the
# adapter's region.
#
# > **What do you expect?** Which of the untouched entries change by quantising again? (a) None, (b) some with FA, none
# > with FB, (c) some with FB, none with FA.

# %%
from minilora import SBoRAFB

base = quantize(rng.standard_normal((128, 128)).astype(np.float32))
dense, changed, shares = np.asarray(base), {}, {}
for adapter in (SBoRAFA(4), SBoRAFB(4)):
    start, frozen = adapter.init(rng, base)
    touched = np.zeros(dense.shape, bool)
    touched[adapter.region(frozen)] = True
    label = type(adapter).__name__
    for size in (0.1, 2):
        moved = {
            name: (size * rng.standard_normal(array.shape)).astype(np.float32)
            for name, array in start.items()
        }
        twice = np.asarray(quantize(adapter.merge(moved, frozen)))
        changed[label] = np.where(touched, 2, twice != dense)
        shares[label, size] = changed[label][~touched].mean()
        print(
            f"{label}, entries of {size}: {shares[label, size]:.1%} of the untouched have changed"
        )
assert shares["SBoRAFB", 0.1] == shares["SBoRAFB", 2] == 0
assert 0.01 < shares["SBoRAFA", 0.1] < 0.1 and 0.25 < shares["SBoRAFA", 2] < 0.6

# %% tags=["hide-input"]
from matplotlib.colors import ListedColormap

colours = ListedColormap(["#f3f4f6", ORANGE, BLUE])
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.6))
for axis, (name, picture) in zip(axes, changed.items()):
    axis.imshow(picture, cmap=colours, vmin=0, vmax=2, interpolation="nearest")
    axis.set(title=name, xticks=[0, 64, 127], yticks=[0, 64, 127], xlabel="column of W")
axes[0].set_ylabel("row of W")
figure.suptitle(
    "blue: the adapter's region   orange: untouched, yet changed by quantising again", size=10
)
# alt: Two matrices. SBoRA-FA: four blue columns and many orange runs of 64 entries beside them. SBoRA-FB: four blue rows and nothing orange.
plt.show()

# %% [markdown]
# (b). SBoRA-FB changes whole rows, so all other blocks keep their absmax and do not change, if the block length divides
# $d_{in}$ (and without double quantisation, in which 256 blocks share a number). SBoRA-FA changes a few entries in
# *every* row, and so in many more blocks. In the figure the update is twice as large as the weights, to show the
# effect. An update a tenth as large as the weights disturbs far fewer entries, but some.
#
# ## What to keep after training
#
# There are four ways to keep what has been trained, the last for SBoRA-FA only. The first has two rows, for LoRA and
# for SBoRA. For a matrix of 4096 × 4096, with adapters of rank 32 in float16:

# %%
d, rank = 4096, 32
per_entry = 16 * d * rank / d**2  # bits of one thin matrix in float16, for each entry of W
ways = {
    "LoRA beside the coarse W": 4.5 + 2 * per_entry,
    "SBoRA beside the coarse W": 4.5 + per_entry,
    "the columns of SBoRA-FA in float16": 4.5 * (1 - rank / d) + per_entry,
    "merged, in float16": 16,
    "merged, quantised again": 4.5,
}
for way, bits in ways.items():
    print(f"{way:34} {bits:6.3f} bits for each entry")
assert max(list(ways.values())[:3]) < 1.06 * 4.5

# %% [markdown]
# - *The adapter beside the coarse $\hat W$*, as in training. It takes hardly more memory and loses nothing. Each layer
#   computes two thin products more with LoRA, one with SBoRA.
# - *Merged, in float16.* $\hat W + \Delta W$ is as fast as before the adapter, and only float16 rounds. But the four
#   bits are gone.
# - *Merged, quantised again.* It is as small and as fast as $\hat W$, but loses a part of the update. Measure the
#   accuracy afterwards.
# - *The columns of SBoRA-FA in float16*, the rest in four bits. Nothing moves outside these columns. It needs a
#   multiplication that can mix the two.
#
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 5.1
# answers.py`. It tries them on random cases, and shows the smallest on which one fails.

# %% [markdown]
# ### Exercise 1 (easy): how long should a block be?
#
# Quantise the normal matrix `large` with blocks of 16, 64, 256 and 1024 entries, as in `quantize(W, block=16)`. Print
# the bits for each entry and the relative error. What do you pay for a smaller error, and why does a long block have a
# larger one?
#
# Write `bits_and_error(W, block)` for it, with the library's `quantize` and $W \ne 0$: a tuple of two floats, how many
# bits of memory an entry takes and $\lVert W - \hat W \rVert_F / \lVert W \rVert_F$. (The error is near 10 %, and grows
# by about 3 points from the shortest to the longest block.)

# %% [markdown]
# ### Exercise 2 (medium): protect the other columns
#
# After QSBoRA-FA, quantising again changes untouched columns. Store the matrix in another way, still in four bits, so
# that SBoRA-FA of rank 4 leaves all other columns of $\hat W$ unchanged when $\hat W + \Delta W$ is quantised again.
#
# Write `through_four_bits(W, block)`: the dense matrix that your way gives back, where `block` divides `d_out`. A block
# is `block` entries of one column, one below the other, each the nearest level times the block's absmax; a block
# of zeros stays zero. Check it on `large`, with an update of entries of size 2. Does your way also work with double
# quantisation? And what does it do to SBoRA-FB? (Of the four cases, FA or FB, with or without
# double quantisation, more than 5 % of the untouched entries change in three.)
#
# <details><summary>Hint</summary>
#
# A block is a run along a row. Which rows would you like the columns to be?
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): start nearer to W
#
# QLoRA starts at $\hat W$, with $BA = 0$. Why not use the adapter to make up for the error, before any training
# ([LoftQ](https://arxiv.org/abs/2310.08659))?
#
# Write `nearer_start(W, r)`: a tuple $(\hat W, A, B)$ of dense arrays, with $\hat W$ as `quantize` has it with its
# usual block, $A$ `(r, d_in)`, $B$ `(d_out, r)`, and $\lVert W - (\hat W + BA) \rVert_F$ as small as it can be. For
# `layers.1.W` of the first network and rank 8, by how much does the error fall? (By 7 to 13 %.) Is the error of
# quantisation nearer to a matrix of rank 8 than its own entries in random order are? Then choose $\hat W$ and $BA$ by
# turns, five times: quantise $W - BA$, cut $W - \hat W$ to rank 8. Last, what does a block length of 16 do instead, and
# what does each cost in bits, with $B$ and $A$ in float16?
#
# <details><summary>Hint</summary>
#
# Eckart and Young's theorem gives the best $BA$. `best_lora` of `minilora.theorems.reachable` is the truncated SVD as
# an adapter.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# [Lesson 6](06_hra.py) leaves sums behind: it *rotates* the inputs of $W$ instead of adding something to it. For how
# to merge several adapters that were trained over one $\hat W$, see "Two tasks in one matrix" in
# [lesson 4](04_sbora.py).
#
# ## References
#
# - Tim Dettmers and others, 2023, *QLoRA: Efficient Finetuning of Quantized LLMs*,
#   [arXiv 2305.14314](https://arxiv.org/abs/2305.14314).
# - Lai-Man Po and others, 2024, *SBoRA: Low-Rank Adaptation with Regional Weight Updates*,
#   [arXiv 2407.05413](https://arxiv.org/abs/2407.05413).
# - Yixiao Li and others, 2023, *LoftQ: LoRA-Fine-Tuning-Aware Quantization for Large Language Models*,
#   [arXiv 2310.08659](https://arxiv.org/abs/2310.08659).
