# %% [markdown]
# # SBoRA: train whole columns or whole rows of a matrix
#
# **You will learn**
#
# - that freezing one of LoRA's two matrices to rows of the identity leaves ordinary training of a few columns (or rows)
#   of $W$, and every other entry unchanged;
# - for which changes that is better than LoRA at equal parameter counts, and for which it is worse;
# - what happens on images of letters;
# - what two adapters in disjoint regions of one matrix can and cannot do together.
#
# **Before this:** [lesson 2](02_lora_by_hand.py) (LoRA, `attach`) and [lesson 3](03_counting.py) (counts).
# **Time:** 35 minutes to read, 22 seconds to run.
#
# LoRA trains two thin matrices, $B$ and $A$, and as a rule every entry of $W + BA$ differs from $W$. SBoRA (*standard
# basis low-rank adaptation*, [Po et al., 2024](https://arxiv.org/abs/2407.05413)) asks: what if one of the two is as
# plain as a matrix can be, rows of the identity, and never trained? For a square $W$ you get half of the parameters, or
# twice the rank for as many, and you know exactly which part of $W$ moves. Is that better than LoRA?

# %%
from minilora.cli.lesson import GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)

# %% [markdown]
# ## Freeze A to rows of the identity
#
# Take LoRA's update $\Delta W = BA$ and let the $r$ rows of $A$ be rows of the identity $I$, those whose indices are in
# `cols`. Row $e_j$ of the identity picks entry $j$ out of a vector: $A x$ is `x[cols]`, without one multiplication. And
# the product $BA$ puts the columns of $B$ at the indices `cols`, with zeros everywhere else:
#
# $$ W' = W + s B\, I_{\text{cols}}, \qquad s = 1. \tag{1} $$
#
# This is *SBoRA-FA* ("frozen A"). Only $B$ is trained; it starts at zero.

# %%
d_out, d_in = 5, 8
cols = [6, 1]
A = np.eye(d_in)[cols]  # (r, d_in), never trained
B = rng.standard_normal((d_out, 2))
x = rng.standard_normal(d_in)
print("ΔW = B A =")
print(np.round(B @ A, 2))
assert np.array_equal(A @ x, x[cols])  # A only picks
assert np.array_equal((B @ A)[:, cols], B)  # column 6 of ΔW is column 0 of B, column 1 is column 1
assert not np.any(np.delete(B @ A, cols, axis=1))  # all other columns are exactly zero

# %% [markdown]
# *SBoRA-FB* freezes the other one: the columns of $B$ are columns of the identity, and $A$ is trained. Then $\Delta W$
# is zero except in the chosen *rows*, and these are the rows of $A$. The columns or rows that an adapter can change are
# its [*region*](glossary.md#region). In the library the two are `SBoRAFA` and `SBoRAFB`; the region is drawn at random,
# unless you name its indices.

# %%
from minilora import SBoRAFA, SBoRAFB

W = rng.standard_normal((d_out, d_in))
fa, fb = SBoRAFA(rank=2, cols=(6, 1)), SBoRAFB(rank=2, rows=(0, 3))
fa_params, fa_frozen = fa.init(rng, W)
fb_params, fb_frozen = fb.init(rng, W)
assert not fa_params["B"].any() and not fb_params["A"].any()  # both start at zero, so W' = W
A_rows = rng.standard_normal((2, d_in))
by_hand = W.copy()
by_hand[[0, 3]] += A_rows
assert np.array_equal(fb.merge({"A": A_rows}, fb_frozen), by_hand)
assert np.allclose(fa.merge({"B": B}, fa_frozen), W + B @ A, atol=1e-15)
assert np.allclose(fa.forward({"B": B}, fa_frozen, x), W @ x + B @ x[cols], atol=1e-14)

# %% [markdown]
# Now compare three adapters of a 24 × 24 matrix: LoRA of rank 4, SBoRA-FA of rank 8 and SBoRA-FB of rank 8. Each has
# 192 trainable parameters, a third of the 576 entries of $W$. The cell trains nothing: it draws the parameters at
# random and looks at which entries of $W' - W$ are not zero.
#
# > **What do you expect?** What share of the entries of $W$ moves? (a) A third with each of them, (b) all with LoRA, a
# > third with the SBoRAs, (c) all with each of them.

# %%
from minilora import LoRA

square = np.zeros((24, 24))
moved = {}
for title, adapter in (
    ("LoRA, rank 4", LoRA(4)),
    ("SBoRA-FA, rank 8", SBoRAFA(8)),
    ("SBoRA-FB, rank 8", SBoRAFB(8)),
):
    start, frozen = adapter.init(rng, square)
    drawn = {name: rng.standard_normal(array.shape) for name, array in start.items()}
    moved[title] = adapter.merge(drawn, frozen) != 0
    assert sum(array.size for array in start.values()) == 192
    assert np.mean(moved[title]) == (1 if "LoRA" in title else 1 / 3)
print({title: f"{np.mean(where):.0%}" for title, where in moved.items()})

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.7))
for axis, (title, where) in zip(axes, moved.items()):
    axis.imshow(where, cmap="Oranges", vmin=0, vmax=1.6)
    axis.set(title=title, xticks=[], yticks=[], xlabel="column of W")
    axis.spines[:].set_visible(True)
axes[0].set_ylabel("row of W")
# alt: Which entries of a 24 × 24 matrix can move: all of them with LoRA of rank 4, eight whole columns with SBoRA-FA of rank 8, eight whole rows with SBoRA-FB of rank 8.
plt.show()

# %% [markdown]
# (b). LoRA moves every entry, but not freely: 192 parameters move 576 entries together. SBoRA moves a third of the
# entries, and each of them by a parameter of its own.
#
# ## Half the parameters, or twice the rank
#
# At rank $r$, LoRA trains $r(d_\text{out} + d_\text{in})$ parameters, SBoRA-FA $r\, d_\text{out}$ and SBoRA-FB
# $r\, d_\text{in}$. Together the two SBoRAs have as many as LoRA. Each has *exactly half* if $W$ is square. In LLaMA 3
# 8B the matrix k is 1024 × 4096, and there FB has four times the parameters of FA.
#
# The authors of SBoRA adapt q, k, v, up and down with rank 32, and report 56.6 million trainable parameters for LoRA on
# LLaMA 3 8B, 25.2 for FA and 31.5 for FB. Count them by hand and by the library, as in lesson 3:

# %%
from minilora import count_trainable
from minilora.architectures import MODELS

for shape in [(4096, 4096), (1024, 4096), (14_336, 4096)]:
    counts = [count_trainable(method(32), {"W": shape}) for method in (LoRA, SBoRAFA, SBoRAFB)]
    print("{:6,} × {:,}   LoRA {:8,}   FA {:8,}   FB {:8,}".format(*shape, *counts))
    assert counts == [32 * sum(shape), 32 * shape[0], 32 * shape[1]]
outputs = 4096 + 1024 + 1024 + 14_336 + 4096  # d_out of q, k, v, up and down
inputs = 4096 + 4096 + 4096 + 4096 + 14_336
by_hand = [32 * 32 * width for width in (outputs + inputs, outputs, inputs)]  # 32 layers, rank 32
llama3 = MODELS["llama3-8b"].shapes(("q", "k", "v", "up", "down"))
assert [count_trainable(method(32), llama3) for method in (LoRA, SBoRAFA, SBoRAFB)] == by_hand
print("LLaMA 3 8B", "".join(f"   {count:10,}" for count in by_hand))
assert [f"{count / 1e6:.1f}" for count in by_hand] == ["56.6", "25.2", "31.5"]

# %% [markdown]
# ## Full fine-tuning with a mask
#
# Call $G$ the gradient of the loss with respect to the whole matrix, the one that full fine-tuning uses. From (1), the
# entry $B_{ik}$ is added to the entry of $W$ in row $i$ and column $\text{cols}_k$, and to no other. So the gradient of
# $B$ consists of the chosen columns of $G$. (LoRA's is $G A^{\mathsf T}$: random mixtures of all columns.) Here on the
# third layer of a small network:

# %%
from minilora import attach, init_mlp, value_and_grad
from minilora.cli import letters

weights = init_mlp(rng, (10, 16, 16, 16, 4), np.float64)
x, labels = rng.standard_normal((50, 10)), rng.integers(4, size=50)
_, full_gradient = value_and_grad(letters.mlp_loss, weights, x, labels)
attached = attach(weights, {"layers.2.W": SBoRAFA(5)}, rng=rng)


def loss(params, x, labels):
    return letters.mlp_loss(attached.bind(params), x, labels)


_, gradient = value_and_grad(loss, attached.params, x, labels)
cols = attached.frozen["layers.2.W"]["cols"]
print("columns that may move:", cols)
assert np.allclose(
    gradient["layers.2.W"]["B"], full_gradient["layers.2.W"][:, cols], rtol=1e-10, atol=1e-15
)

# %% [markdown]
# Adam treats every parameter by itself. So with the default scale, $s = 1$, the whole training is the same, not the
# gradient alone: SBoRA-FA is full fine-tuning in which a [*mask*](glossary.md#mask), zero outside the region, is
# multiplied with the gradient. The cell below writes that out. The masked matrix takes its chosen columns from the
# params and all others from the frozen weights, so only the former have a gradient. (A mask on a full gradient would
# save no memory: gradient and Adam's two means would still have an entry for each of $W$'s. SBoRA has them for $B$
# alone.)

# %%
from minilora import fit

before = weights["layers.2.W"]
mask = np.isin(np.arange(16), cols)


def masked_loss(params, x, labels):
    mixed = before * (1 - mask) + params["W"] * mask
    return letters.mlp_loss({**weights, "layers.2.W": mixed}, x, labels)


how = {"steps": 50, "batch": 10, "lr": 1e-2}
by_sbora = attached.merge(
    fit(loss, attached.params, (x, labels), rng=np.random.default_rng(1), **how)
)["layers.2.W"]
by_mask = fit(masked_loss, {"W": before}, (x, labels), rng=np.random.default_rng(1), **how)["W"]
assert np.abs(by_sbora - before).max() > 0.01  # it has moved
assert np.allclose(by_sbora, by_mask, rtol=0, atol=1e-14)
print(f"After 50 steps the two differ by {np.abs(by_sbora - by_mask).max():.0e} at most.")

# %% [markdown]
# ## How near can it come to a wanted change?
#
# Leave training aside for a moment and ask what each adapter can *represent*. Say that full fine-tuning would move one
# matrix from $W$ to $T$. How near to $T$ can an adapter come, in the Frobenius norm? Only the wanted change
# $E = T - W$ matters.
#
# - LoRA: by the theorem of Eckart and Young (lesson 1) the best $\Delta W$ of rank $r$ is the truncated singular
#   value decomposition of $E$. It misses the singular values after the first $r$.
# - SBoRA-FA: the columns of $\Delta W$ are independent of each other. So the best that you can do in the chosen columns
#   is to copy $E$, and you miss the other columns. The best choice is therefore the $r$ *longest* columns.
#
# At rank $r$, the two errors are
#
# $$ \text{error}^2_\text{LoRA} = \sum_{i>r} \sigma_i(E)^2, \qquad
#    \text{error}^2_\text{FA} = \sum_{j \notin \text{cols}} \lVert E_{:,j} \rVert^2. \tag{2} $$

# %%
from itertools import combinations

from minilora.theorems.reachable import best_sbora_fa

W, T = rng.standard_normal((2, 6, 8))
E = T - W
lengths = np.linalg.norm(E, axis=0)
missed = {
    chosen: np.sum(np.delete(lengths, chosen) ** 2) ** 0.5 for chosen in combinations(range(8), 3)
}
best = min(missed, key=missed.get)
print(
    f"Of {len(missed)} ways to choose 3 columns of 8, "
    f"{best} misses {missed[best]:.2f} of {np.linalg.norm(E):.2f}"
)
assert set(best) == set(np.argsort(-lengths)[:3])  # the longest three
# The library's answer, as an adapter that is ready to merge
adapter, params, frozen = best_sbora_fa(W, T, 3)
assert set(adapter.cols) == set(best)
assert np.isclose(np.linalg.norm(adapter.merge(params, frozen) - T), missed[best], rtol=1e-12)

# %% [markdown]
# Now compare them at *equal parameter counts*: LoRA of rank $r$ against SBoRA-FA of rank $2r$, on square matrices of
# width 128. Take three kinds of wanted change: one without any structure (independent normal entries), one of rank 8,
# and one in 16 columns. SBoRA gets the best columns. (In training nobody tells it which they are.)
#
# > **What do you expect?** Where does SBoRA come nearer than LoRA? (a) Nowhere: by Eckart and Young's theorem nothing
# > beats LoRA, (b) only for the change in 16 columns, (c) for that one, and for the change without structure if $r$ is
# > large enough.


# %%
def without_structure(d):
    return rng.standard_normal((d, d))


def of_rank_8(d):
    return rng.standard_normal((d, 8)) @ rng.standard_normal((8, d))


def in_16_columns(d):
    return rng.standard_normal((d, d)) * (rng.permutation(d) < 16)


def curves(E):
    """Relative errors (2) for r = 1 … d/2: LoRA of rank r, SBoRA-FA of rank 2r, best columns."""
    values = np.sort(np.linalg.svd(E, compute_uv=False) ** 2)
    columns = np.sort(np.sum(E**2, axis=0))
    # missed[…][k]: the share of ‖E‖² that is left when the k largest are kept, by LoRA and by SBoRA
    missed = [
        np.insert(np.cumsum(squares), 0, 0)[::-1] / np.sum(E**2) for squares in (values, columns)
    ]
    return np.sqrt(missed[0][1 : len(E) // 2 + 1]), np.sqrt(missed[1][2::2])


d = 128
errors = {
    make.__name__.replace("_", " "): curves(make(d))
    for make in (without_structure, of_rank_8, in_16_columns)
}
share = np.arange(1, d // 2 + 1) / d

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.8), sharey=True)
for axis, (title, (lora, sbora)) in zip(axes, errors.items()):
    axis.plot(share, lora, color=GREY, label="LoRA, rank r")
    axis.plot(share, sbora, color=ORANGE, label="SBoRA-FA, rank 2r")
    axis.set(title=f"change {title}", xlabel="r / d", ylim=(-0.03, 1.03), xticks=[0, 0.25, 0.5])
    axis.grid(alpha=0.25)
axes[0].set_ylabel("what is missed (share of ‖E‖)")
axes[2].legend(frameon=False, loc="upper right")
# alt: What is missed against r/d. Without structure LoRA is a little ahead, until SBoRA overtakes it and reaches 0 at 1/2. For rank 8 LoRA is at 0 from r = 8 on, for 16 columns SBoRA is.
plt.show()

# %% [markdown]
# (c). On the left LoRA is ahead while $r$ is small, by a few points, and then SBoRA overtakes it and reaches *zero* at
# $r = d/2$, where LoRA still misses a third. Why? Some of LoRA's parameters change nothing: for every invertible $R$ of
# $r \times r$, $BR$ and $R^{-1}A$ give the same product, so only $2dr - r^2$ of its $2dr$ parameters count. SBoRA
# wastes none: at rank $d$ it *is* full fine-tuning. (Eckart and Young's theorem does not exclude that. SBoRA has a
# larger rank.)

# %%
lora, sbora = errors["without structure"]
crossing = share[np.argmax(sbora < lora)]
print(
    f"SBoRA overtakes at r/d = {crossing:.2f}. "
    f"At r = d/2 LoRA misses {lora[-1]:.0%}, SBoRA {sbora[-1]:.0%}."
)
print(f"At r/d = 1/16, LoRA misses {lora[d // 16 - 1]:.0%}, SBoRA {sbora[d // 16 - 1]:.0%}.")
print(f"LoRA's largest lead: {100 * np.max(sbora - lora):.1f} points.")
assert 0.33 < crossing < 0.45 and sbora[-1] == 0 and 0.28 < lora[-1] < 0.37
assert 0.02 < np.max(sbora - lora) < 0.08
B, A, R = rng.standard_normal((d, 4)), rng.standard_normal((4, d)), rng.standard_normal((4, 4))
# 16 of LoRA's parameters change nothing
assert np.allclose((B @ R) @ (np.linalg.inv(R) @ A), B @ A)

# %% [markdown]
# The other two panels say what the first cannot: *structure decides*. A change of rank 8 is within reach of LoRA at
# $r = 8$, exactly, and SBoRA with as many parameters still misses most of it. A change in 16 columns is within reach of
# SBoRA at rank 16. LoRA needs rank 16 for it too, which takes twice the parameters. And what of a change in 16 *rows*?
# FA with its columns is no help there, but FB is made for it.

# %%
from minilora.theorems.reachable import best_lora, best_sbora_fb

lora, sbora = errors["of rank 8"]
print(f"change of rank 8, r = 8: LoRA misses {lora[7]:.0%}, SBoRA of rank 16 misses {sbora[7]:.0%}")
assert lora[7] < 1e-6 and 0.8 < sbora[7] < 0.92
lora, sbora = errors["in 16 columns"]
assert sbora[7] < 1e-6 and lora[7] > 0.5 and lora[15] < 1e-6
rows = in_16_columns(d).T
W = rng.standard_normal((d, d))
for find, rank in ((best_lora, 8), (best_sbora_fa, 16), (best_sbora_fb, 16)):
    adapter, params, frozen = find(W, W + rows, rank)
    error = np.linalg.norm(adapter.merge(params, frozen) - W - rows) / np.linalg.norm(rows)
    print(f"{type(adapter).__name__:8} rank {rank:2}, change in 16 rows: misses {error:.0%}")
    assert (error < 1e-12) == (find is best_sbora_fb)

# %% [markdown]
# Two warnings before you take this to a network. First, you do not know $E$, so you do not know its longest columns.
# Random columns catch, on average, just the share $2r/d$ of $\lVert E\rVert^2$ (with $r$ as in the figure), and
# exercise 3 looks for something better. Second, adapters in use have $r/d$ of about 1/100, at the left edge of the
# figure. Who is ahead there depends on the structure of the change: LoRA in the first two panels, SBoRA in the third,
# from the first rank on.
#
# ## On letters: does double rank beat LoRA?
#
# The paper reports SBoRA with double rank ahead of LoRA at equal parameter counts, on large language models. Here is
# the same comparison at our size: three networks like that of lesson 1, each pretrained anew on sans letters. Adapters
# on their four hidden matrices adapt them to three domains, all with 4,608 trainable parameters. All three methods have
# the same learning rate, 0.03. It was chosen beforehand on three other networks, by the mean accuracy over the three
# domains, out of 0.003, 0.01, 0.03 and 0.1: for LoRA and for FA it was the best each time, for FB 0.03 and 0.1 took
# turns.
#
# > **What do you expect?** Which has the highest accuracy, on average over the domains? (a) SBoRA, as in the paper,
# > (b) all within three points, (c) LoRA.

# %%
from minilora import accuracy, mlp
from minilora.cli.comparison import Length
from minilora.data.glyphs import FRAKTUR, LIGHTING, ROTATED, SOURCE, draw_letters

length = Length(images=200, pretrain_steps=400, adapt_steps=200)
networks = [letters.pretrain(rng, length) for _ in range(3)]
domains = (SOURCE, FRAKTUR, ROTATED, LIGHTING)
to_adapt = {domain.name: draw_letters(rng, domain, 40) for domain in domains[1:]}
to_test = {domain.name: draw_letters(rng, domain, 100) for domain in domains}


def score(weights, name):
    """The accuracy of a network on the test letters of a domain, in percent."""
    images, truths = to_test[name]
    return 100 * accuracy(mlp(weights, images), truths)


for name in to_test:
    before = "   ".join(f"{score(network, name):4.1f}" for network in networks)
    print(f"before adapting, accuracy on {name:9} {before} %")


# %%
def adapt(network, adapters, name, lr):
    """The attached adapters and their params after training on one domain."""
    attached = attach(network, adapters, rng=rng)

    def loss(params, x, labels):
        return letters.mlp_loss(attached.bind(params), x, labels)

    how = {"rng": rng, "steps": length.adapt_steps, "batch": 64, "lr": lr}
    return attached, fit(loss, attached.params, to_adapt[name], **how)


rivals = {"LoRA r=4": LoRA(4), "SBoRA-FA r=8": SBoRAFA(8), "SBoRA-FB r=8": SBoRAFB(8)}
results = {}
for method, adapter in rivals.items():
    for name in to_adapt:
        runs = [adapt(network, {letters.HIDDEN: adapter}, name, lr=3e-2) for network in networks]
        assert all(attached.trainable == 4608 for attached, _ in runs)
        results[method, name] = [score(attached.bind(params), name) for attached, params in runs]
    columns = (
        f"{name} {np.mean(results[method, name]):4.1f} ± {np.std(results[method, name], ddof=1):3.1f}"
        for name in to_adapt
    )
    print(f"{method:13}", "   ".join(columns))

# %%
mean = {method: np.mean([results[method, name] for name in to_adapt], axis=0) for method in rivals}
for method, values in mean.items():
    print(f"{method:13} mean of three domains, each network:", values.round(1))
assert np.all(mean["LoRA r=4"] > mean["SBoRA-FA r=8"] + 4)
assert np.all(mean["SBoRA-FA r=8"] > mean["SBoRA-FB r=8"] + 5)

# %% [markdown]
# (c). (The number after ± is the standard deviation over the three networks.) On each of them LoRA is ahead, FA follows
# and FB is last, with gaps of several points. That is in line with what (2) says of a change of low rank and of random
# columns. It is no more than that: (2) speaks of the distance to one given matrix, and nobody asked for one (lesson 1).
# The claim "double rank, equal parameter counts, better" does *not* hold here. It need not be wrong where it was
# measured. It is not a law.
#
# ## Two tasks in one matrix
#
# With regions several adapters can share one matrix. Give task 1 some columns and task 2 others, and merge both. The
# order does not matter: the results are equal in every bit, because nothing is added to an entry twice. With two LoRAs
# every entry takes two sums, and the order shows in the rounding. The cell does it first by hand and then with
# `merge_all`, which refuses regions that overlap.

# %%
from minilora import merge_all

W = rng.standard_normal((24, 24)).astype(np.float32)
first, second = np.array([3, 17, 8]), np.array([0, 5, 21])
B1, B2 = rng.standard_normal((2, 24, 3)).astype(np.float32)
one_two, two_one = W.copy(), W.copy()
one_two[:, first] += B1
one_two[:, second] += B2
two_one[:, second] += B2
two_one[:, first] += B1
assert np.array_equal(one_two, two_one)
parts = [
    (SBoRAFA(3, cols=tuple(cols)), {"B": B}, {"W": W, "cols": cols})
    for cols, B in ((first, B1), (second, B2))
]
assert np.array_equal(merge_all(parts), one_two)
assert np.array_equal(merge_all(parts[::-1]), one_two)
# Two LoRA updates
delta1, delta2 = (B @ rng.standard_normal((3, 24)).astype(np.float32) for B in (B1, B2))
agree = W + delta1 + delta2 == W + delta2 + delta1
print(f"Two LoRAs, either order: {agree.mean():.0%} of the entries are equal.")
assert 0.6 < agree.mean() < 0.9

# %%
rows = np.array([2, 4])
parts.append((SBoRAFB(2, rows=(2, 4)), {"A": np.ones((2, 24), np.float32)}, {"W": W, "rows": rows}))
try:
    merge_all(parts)
except ValueError as error:
    print("ValueError:", error)
    # 2 rows cross 3 + 3 columns: FA and FB always meet
    assert "overlap in 12 entries" in str(error)
else:
    raise AssertionError("an overlap went unnoticed")

# %% [markdown]
# Now train two such adapters on one network: one for Fraktur in 72 of the 144 columns of every hidden matrix, one for
# uneven light in the other 72. Then merge both. No entry belongs to both.
#
# > **What do you expect?** What does the network with both adapters do, compared with each adapter alone? (a) As well
# > on both tasks, (b) a few points less on both, (c) far less on at least one.

# %%
network = networks[0]
halves = np.split(rng.permutation(144), 2)
adapted = {}
for name, half in zip(("fraktur", "lighting"), halves):
    adapter = SBoRAFA(72, cols=tuple(half.tolist()))
    adapted[name] = adapt(network, {letters.HIDDEN: adapter}, name, lr=1e-2)
merged = {f"{name} alone": attached.merge(params) for name, (attached, params) in adapted.items()}
merged["both"] = dict(network)
hidden = [f"layers.{layer}.W" for layer in range(4)]
for layer in hidden:
    both = [
        (attached.adapters[layer], params[layer], attached.frozen[layer])
        for attached, params in adapted.values()
    ]
    merged["both"][layer] = merge_all(both)
scores = {title: [score(weights, name) for name in adapted] for title, weights in merged.items()}
for title, (on_fraktur, on_light) in scores.items():
    print(f"{title:14}  fraktur {on_fraktur:.1f} %   lighting {on_light:.1f} %")
assert scores["fraktur alone"][0] - scores["both"][0] > 5
assert scores["lighting alone"][1] - scores["both"][1] > 30
for name, half in zip(adapted, halves):
    for layer in hidden:  # what each task has trained is all there
        alone = merged[f"{name} alone"][layer]
        assert np.array_equal(merged["both"][layer][:, half], alone[:, half])

# %% [markdown]
# (c). Every parameter that either task has trained is in the merged network, unchanged. And still the merged network
# does much worse under uneven light than the adapter for light alone, and worse on Fraktur than the adapter for Fraktur
# alone. The reason: *weights in disjoint regions still meet in the activations*. In each layer the second task's
# columns add to the outputs, also for the first task's inputs, and the next layer gets vectors that the first task was
# not trained on. For one layer there is an exact statement, and it is a small one: task 2 does not disturb an input $x$
# if $x$ is zero at task 2's columns. Two signs that people look for are both there: the inner product
# $\langle \Delta W_1, \Delta W_2 \rangle$, the sum of the products of the entries, is exactly zero, and no entry is
# changed by both tasks. (So a method such as TIES, [Yadav et al., 2023](https://arxiv.org/abs/2306.01708), which
# settles conflicts where the signs of two updates disagree, has nothing to do.) Neither is enough to keep two tasks
# apart.

# %%
from minilora import linear

x = rng.standard_normal(24).astype(np.float32)
task_1, both_tasks = merge_all(parts[:1]), merge_all(parts[:2])
disturbed = linear(both_tasks, x) - linear(task_1, x)
x[second] = 0
undisturbed = linear(both_tasks, x) - linear(task_1, x)
print(
    f"task 2 adds {np.abs(disturbed).max():.1f} to the output, {np.abs(undisturbed).max():.0e}",
    end="",
)
print(" if x is zero at its columns")
assert np.abs(disturbed).max() > 0.5 and np.abs(undisturbed).max() < 1e-6

# %% [markdown]
# So disjoint regions make it simple to manage several adapters: you can add one, remove one (if you have kept the
# original columns) or replace one, in any order, and all others stay exactly as they were trained. For *tasks* that
# must work at the same time, train on them together.

# %%
without_light = merged["both"]["layers.1.W"].copy()
# The original columns, kept or read again from disk
without_light[:, halves[1]] = network["layers.1.W"][:, halves[1]]
assert np.array_equal(without_light, merged["fraktur alone"]["layers.1.W"])

# %% [markdown]
# ## Optional: bitwise identical is more than equal
#
# You can skip this section; only exercise 2 uses its `same_bits`. "Unchanged" can mean two things for floating-point
# numbers: equal, or [*bitwise identical*](glossary.md#bitwise-identical). They are not the same, because $-0.0 = 0.0$
# although the bits differ. That matters if you compare files by a checksum. `merge` copies $W$ and adds to the chosen
# columns only, so the others keep their bits. The textbook formula, a dense $W + BA$, adds $0.0$ to all of them, and
# that turns $-0.0$ into $0.0$.


# %%
def same_bits(X, Y):
    """True where two float32 arrays hold the same 32 bits."""
    return X.view(np.uint32) == Y.view(np.uint32)


W = rng.standard_normal((6, 8)).astype(np.float32)
W[2, 3] = -0.0
B = rng.standard_normal((6, 2)).astype(np.float32)
by_merge = SBoRAFA(2, cols=(6, 1)).merge({"B": B}, {"W": W, "cols": np.array([6, 1])})
dense = W + B @ np.eye(8, dtype=np.float32)[[6, 1]]
others = [0, 2, 3, 4, 5, 7]
assert same_bits(by_merge, W)[:, others].all() and not same_bits(by_merge, W)[:, [6, 1]].any()
assert np.array_equal(dense[:, others], W[:, others])  # equal…
assert not same_bits(dense, W)[2, 3]  # …but not the same bits: −0.0 became 0.0
print(
    f"The same bits: {same_bits(by_merge, W).sum()} of {W.size} entries with merge, "
    f"{same_bits(dense, W).sum()} dense."
)

# %% [markdown]
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 4.1
# answers.py`. It tries your function on hundreds of random cases, and shows the smallest on which it fails.

# %% [markdown]
# ### Exercise 1 (easy): the cheaper side
#
# For each matrix, take the one of FA and FB that trains fewer parameters. Write `cheaper_side(shapes, budget)`, where
# `shapes` is a dict `{name: (d_out, d_in)}`. It returns two integers: how many parameters all matrices train together
# at rank 1, and the largest rank whose parameters do not exceed the budget.
#
# Then call it with `llama3`, the q, k, v, up and down of LLaMA 3 8B as above. How many parameters does rank 32 train in
# all? Which rank does LoRA's budget of 56,623,104 allow? (Between 10 and 20 million, and a rank above 100.)

# %% [markdown]
# ### Exercise 2 (medium): undo a merge, bitwise
#
# You have merged an SBoRA-FA adapter into $W$ and want $W$ back, bitwise identical. Subtract what was added, and count
# the entries of the region that do not come back with the same bits. (`same_bits` is defined in the optional section.)
#
# Then write `class Undo`. `Undo(W, cols)` is made before the merge and keeps what it needs, at most $r\,d_{out}$
# numbers beside `cols`, a tuple of $r$ integers. Its method `restore(merged)` returns $W$ with all of its bits.
#
# <details><summary>Hint</summary>
#
# `merge` replaces $r$ columns. What did they hold before?
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): choose the columns instead of drawing them
#
# Random columns catch a random share of what full fine-tuning wants to change. Look first: compute the gradient of
# the loss with respect to the full matrices, once, on all of the data to adapt on, and let SBoRA-FA take the columns
# of each matrix where this gradient is longest.
#
# Write `longest_columns(gradient, r)`: a tuple of the $r$ columns of a gradient `(d_out, d_in)` whose Euclidean length
# is largest, the longest first, as Python's integers. Then compare with random columns at rank 8, on Fraktur and under
# uneven light, on the three networks, with the learning rate 0.03. Does the difference have one sign on all three?
#
# <details><summary>Hint</summary>
#
# `value_and_grad(letters.mlp_loss, network, *to_adapt[name])` returns the loss and a gradient for every weight. Each
# matrix needs an adapter of its own, `{"layers.0.W": SBoRAFA(8, cols=…), …}`.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# The frozen $W$ is never trained. So it need not be stored in a form that training can change:
# [lesson 5](05_four_bits.py) stores it in four bits and trains SBoRA and LoRA over it.
#
# ## References
#
# - Lai-Man Po and others, 2024, *SBoRA: Low-Rank Adaptation with Regional Weight Updates*,
#   [arXiv 2407.05413](https://arxiv.org/abs/2407.05413).
# - Edward Hu and others, 2021, *LoRA: Low-Rank Adaptation of Large Language Models*,
#   [arXiv 2106.09685](https://arxiv.org/abs/2106.09685).
