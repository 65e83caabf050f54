# %% [markdown]
# # LoRA by hand: two thin matrices beside a frozen one
#
# **You will learn** how to write LoRA with your own gradients, which of its matrices starts at zero, what its scale
# does that the learning rate does not, which rank to take, how much merging costs in rounding, and how to add two
# adapters. **Before this:** [lesson 1](01_one_matrix.py).
# **Time:** 50 minutes to read, 20 seconds to run.
#
# LoRA leaves a weight $W$ unchanged ([*frozen*](glossary.md#frozen)) and learns an update of low rank beside it: an
# [*adapter*](glossary.md#adapter). With $W$ `(d_out, d_in)`, $B$ `(d_out, r)`, $A$ `(r, d_in)` and a number
# [$\alpha$](glossary.md#α-scale-s) that you choose,
#
# $$y = W x + s \, B (A x), \qquad s = \frac{\alpha}{r}. \tag{1}$$
#
# That is the whole method. Yet people who use it ask the same questions again and again, and most of the answers follow
# from two lines of algebra. Here you write both lines, and then check the answers one by one.

# %%
from minilora.cli.lesson import BLUE, GREEN, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import autograd.numpy as np  # NumPy, but autograd can differentiate through it
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)

# %% [markdown]
# ## One layer and its two gradients
#
# Take one matrix, a frozen $W$, and data that a different matrix has made: $W$ plus a change of rank 3. The inputs are
# drawn so that their entries are exactly uncorrelated and of mean square 1: `qr` makes the columns of $X$ orthogonal
# and of length 1, and the factor $\sqrt n$ gives $X^\top X = n I$. The error on an input $x$ is $(s B A - \Delta)\, x$,
# with $\Delta$ the wanted change, and the mean of $x x^\top$ is $I$, so that the mean of $\lVert M x \rVert^2$ is
# $\lVert M \rVert_F^2$ for every matrix $M$. So half the mean squared error, the loss below, is
# $\tfrac12 \lVert s B A - \Delta \rVert_F^2$, and you know from lesson 1 what each rank can reach.

# %%
from minilora import linear

d_out, d_in, n, true_rank = 12, 16, 200, 3
W = rng.standard_normal((d_out, d_in)) / np.sqrt(d_in)
change = (
    rng.standard_normal((d_out, true_rank)) @ rng.standard_normal((true_rank, d_in)) / np.sqrt(d_in)
)
X = np.linalg.qr(rng.standard_normal((n, d_in)))[0] * np.sqrt(n)  # one input in each row
Y = linear(W + change, X)
assert np.allclose(X.T @ X / n, np.eye(d_in))
assert np.linalg.matrix_rank(change) == true_rank

# %% [markdown]
# Equation (1) and a loss, as they are. The order of the products matters for the cost: $A x$ has only $r$ entries, so
# both products are thin, and no second `(d_out, d_in)` matrix is made. Nothing nonlinear stands between $A$ and $B$:
# with a ReLU there, the update would differ from input to input, and the two could not be added to $W$ as one matrix.


# %%
def forward(A, B, x, s=1.0):
    low = linear(A, x)  # (n, r)
    return linear(W, x) + s * linear(B, low)


def loss(A, B, s=1.0):
    return np.sum((forward(A, B, X, s) - Y) ** 2) / (2 * n)


A = rng.standard_normal((true_rank, d_in)) / np.sqrt(d_in)
B = rng.standard_normal((d_out, true_rank))
assert np.allclose(forward(A, B, X, s=0.5), linear(W + 0.5 * B @ A, X))
assert np.isclose(loss(A, B), 0.5 * np.sum((B @ A - change) ** 2))

# %% [markdown]
# Call $W' = W + s B A$ and $G = \partial L / \partial W'$, the gradient of the loss $L$ that full fine-tuning would use. If $A$ and $B$
# move a little, by $dA$ and $dB$, then $W'$ moves by $s (dB\, A + B\, dA)$, and $L$ by the sum of the products of all
# entries of this with those of $G$. Entry by entry, $\sum_{ij} (dB\, A)_{ij} G_{ij} = \sum_{ik} dB_{ik} (G A^\top)_{ik}$, and in the same way
# $\sum_{ij} (B\, dA)_{ij} G_{ij} = \sum_{kj} dA_{kj} (B^\top G)_{kj}$. So
#
# $$\frac{\partial L}{\partial B} = s \, G A^\top, \qquad \frac{\partial L}{\partial A} = s \, B^\top G. \tag{2}$$
#
# For this loss $G = \tfrac1n \sum \delta x^\top$, with the vector $\delta = W' x - y$, the error on one input $x$: if
# $W'$ moves by $dW'$, half the squared error on it moves by $\delta^\top dW' x$. So here are LoRA's gradients by hand,
# and autograd agrees.

# %%
from autograd import grad


def gradients(A, B, s=1.0):
    delta = forward(A, B, X, s) - Y  # (n, d_out)
    G = delta.T @ X / n  # (d_out, d_in)
    return s * B.T @ G, s * G @ A.T


for_a, for_b = gradients(A, B, s=0.5)
auto_a, auto_b = grad(loss, (0, 1))(A, B, 0.5)
assert np.allclose(for_a, auto_a) and np.allclose(for_b, auto_b)
print("gradient for A", for_a.shape, " gradient for B", for_b.shape)

# %% [markdown]
# ## Which of the two starts at zero?
#
# Training should start from the pretrained network, so $B A$ should be zero at first. There are three simple ways to
# get that: zero $B$, zero $A$, or both. A fourth start, with neither at zero, is there for comparison. Train from all
# four, with gradient descent by hand.
#
# > **What do you expect?** From which of the three does the loss fall? (a) From all three, (b) from zero $B$ and from
# > zero $A$, not if both are zero, (c) from zero $B$ only. Look at (2) before you answer.

# %%
some_a = rng.standard_normal((true_rank, d_in)) / np.sqrt(d_in)
some_b = rng.standard_normal((d_out, true_rank)) / np.sqrt(true_rank)
starts = {
    "B zero": (some_a, 0 * some_b),
    "A zero": (0 * some_a, some_b),
    "both zero": (0 * some_a, 0 * some_b),
    "neither zero": (some_a, some_b),
}


def descend(A, B, s, lr, steps):
    losses = []
    for _ in range(steps):
        losses.append(loss(A, B, s))
        for_a, for_b = gradients(A, B, s)
        A, B = A - lr * for_a, B - lr * for_b
    return A, B, losses


curves = {name: descend(A, B, s=1.0, lr=0.1, steps=400) for name, (A, B) in starts.items()}
for name, (A, B) in starts.items():
    for_a, for_b = gradients(A, B)
    sizes = f"gradient for A {np.linalg.norm(for_a):5.2f}, for B {np.linalg.norm(for_b):.2f}"
    losses = curves[name][2]
    print(f"{name:12} first step: {sizes}; loss {losses[0]:.2f} → {losses[-1]:.2f}")
    assert np.any(for_a) == np.any(B) and np.any(for_b) == np.any(A)
A, B, losses = curves["both zero"]
assert not np.any(A) and not np.any(B) and losses[0] == losses[-1]
assert curves["B zero"][2][0] == curves["A zero"][2][0] < curves["neither zero"][2][0]
assert all(curves[name][2][-1] < 1e-12 * losses[0] for name in starts if name != "both zero")

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.0))
for (name, (_, _, losses)), colour in zip(curves.items(), (BLUE, GREEN, GREY, ORANGE)):
    axes[0].plot(losses[:9], color=colour, linewidth=2, label=name)
    axes[1].semilogy(losses[:100], color=colour, linewidth=2)
axes[0].set(xlabel="steps", ylabel="loss", ylim=(0, None), title="the first steps", xlim=(-0.2, 8))
axes[1].set(xlabel="steps", ylim=(1e-4, 100), title="on a logarithmic scale")
figure.legend(frameon=False, loc="outside upper center", ncols=4)
# alt: Loss against steps from four starts: with both zero it never changes; with B zero and with A zero it falls from the same value; with neither zero it starts higher and falls too.
plt.show()

# %% [markdown]
# (b). The gradient for $A$ has the factor $B$; the gradient for $B$ has the factor $A$. So at the first step the one
# that is *not* zero gets no gradient, exactly none, and the one that is zero gets some (unless $G A^\top$ or $B^\top G$
# happens to be zero). If both are zero, neither ever moves: it is a [*saddle point*](glossary.md#saddle-point) (no
# slope, but some directions lead down), and gradient descent sits on it forever. With neither at zero training works
# too, but it does not start from the pretrained network, and here it starts from a *worse* one.
#
# So zero $B$ and zero $A$ both train. LoRA takes zero $B$, and so does this library. The two are **not** equivalent, as
# the first step shows. With zero $B$, $A$ has no gradient yet, and $B$ becomes $-\eta s\, G A^\top$ at the learning
# rate $\eta$, so
#
# $$\Delta W = s B A = -\eta \, s^2 \, G \, A^\top A. \tag{3}$$
#
# That is the step of full fine-tuning, $-\eta G$, pressed into the $r$ directions of the input that $A$ happened to
# draw. With zero $A$ it is $-\eta\, s^2 B B^\top G$: the $r$ directions of the *output* in the random $B$. In the
# next section you will measure on a network what difference that makes.

# %%
A, B = starts["B zero"]
G = -(Y - linear(W, X)).T @ X / n
A_1, B_1, _ = descend(A, B, s=0.5, lr=0.1, steps=1)
assert np.array_equal(A_1, A)
assert np.allclose(0.5 * B_1 @ A_1, -0.1 * 0.5**2 * G @ A.T @ A)
A, B = starts["A zero"]
A_1, B_1, _ = descend(A, B, s=0.5, lr=0.1, steps=1)
assert np.allclose(0.5 * B_1 @ A_1, -0.1 * 0.5**2 * B @ B.T @ G)

# %% [markdown]
# ## LoRA on a network
#
# The library's `LoRA(rank, alpha)` has three functions. `init` draws what is trained (`params`) and keeps what is not
# (`frozen`). `forward` is (1). `merge` gives $W' = W + s B A$ as one plain matrix. Without `alpha`, $\alpha$ is $r$ and
# $s$ is 1.

# %%
from minilora import LoRA

adapter = LoRA(rank=3, alpha=6)
params, frozen = adapter.init(rng, W)
shapes = {factor: array.shape for factor, array in params.items()}
print(shapes, "largest entry of B:", np.max(np.abs(params["B"])))
# Untrained, it changes nothing
assert np.array_equal(adapter.forward(params, frozen, X), linear(W, X))
A, B = params["A"], rng.standard_normal((d_out, 3))
params = {"A": A, "B": B}
assert np.array_equal(adapter.forward(params, frozen, X), forward(A, B, X, s=2.0))
assert np.array_equal(adapter.merge(params, frozen), W + 2.0 * (B @ A))

# %% [markdown]
# Now a network like that of lesson 1, pretrained anew, and its worst target, letters rotated by 90°. `attach` gives an
# adapter to every weight whose name fits a pattern. Print what it returns before you train: it says what will be
# trained, and how much.

# %%
from minilora import attach
from minilora.cli import letters
from minilora.data.glyphs import ROTATED, draw_letters

weights = letters.pretrain(rng, letters.USUAL)  # 1,000 steps on upright letters, as in lesson 1
data, test = draw_letters(rng, ROTATED, per_letter=40), draw_letters(rng, ROTATED, per_letter=40)
attached = attach(weights, {"layers.[0-3].W": LoRA(rank=4, alpha=8)}, rng=rng)
print(attached)
assert attached.trainable == 4 * 4 * (144 + 144)

# %% [markdown]
# `attached.params` is a nested dict with the [trainable parameters](glossary.md#trainable-parameters), and `fit` trains
# any such dict. `attached.bind(params)` makes weights for the model out of it: the adapted ones are no arrays but small
# callable objects, and `linear(W, x)` calls them. So `mlp` runs unchanged and knows nothing of adapters. At the end
# `merge` gives plain arrays again.

# %%
from minilora import accuracy, fit, mlp


def lora_loss(params, x, labels):
    return letters.mlp_loss(attached.bind(params), x, labels)


def score(weights, test):
    return accuracy(mlp(weights, test[0]), test[1])


params = fit(lora_loss, attached.params, data, rng=rng, steps=400, batch=64, lr=1e-2)
bound, deployed = attached.bind(params), attached.merge(params)
print(f"{score(weights, test):.1%} → {score(bound, test):.1%}, merged {score(deployed, test):.1%}")
print(
    "bound: ", type(bound["layers.0.W"]).__name__, " merged:", type(deployed["layers.0.W"]).__name__
)
assert score(weights, test) < 0.3 and score(bound, test) > 0.75
assert all(np.array_equal(deployed[name], weights[name]) for name in weights if name not in params)

# %% [markdown]
# Which functions does an input pass on its way? A quick way to see it is to make a mistake, here images with too few
# pixels, and to read the traceback.

# %%
import traceback

try:
    mlp(attached.bind(params), test[0][:, :100])
except ValueError as error:
    print(error)
    chain = [call.name for call in traceback.extract_tb(error.__traceback__)]
print(" → ".join(chain))
first = chain.index("mlp")
assert chain[first : first + 4] == ["mlp", "linear", "__call__", "forward"]

# %% [markdown]
# The $W$ of the message is $A$: `LoRA.forward` called `linear` with it. You can go the same way with the debugger. In
# the script `tutorials/02_lora_by_hand.py`, write `breakpoint()` and below it `mlp(attached.bind(params), test[0][:1])`
# after the cell that trains, and run it. At the prompt, `s` steps into a call, `n` goes to the next line, `r` runs to
# the end of a function. `bind`, `mlp`, `linear`, `Adapted.__call__`, `LoRA.forward`: the last has the lines that you
# wrote yourself above, and there `p low.shape` shows the thin middle, four numbers for one image. (Inside a training
# step write `p str(x)` for the value of `x`.)
#
# Back to the open question: zero $B$ or zero $A$? Train briefly, 100 steps with Adam, from zero $B$ (with $A$ from
# $N(0, 1/d_{in})$, where the second number is the variance) and from zero $A$ (with $B$ from $N(0, 1/r)$, as Hayou and
# others draw it in their comparison of 2024), at four learning rates, with three draws each.
#
# > **What do you expect?** (a) The two starts do equally well at every rate, (b) zero $B$ stands larger rates, (c) zero
# > $A$ stands larger rates.


# %%
def with_zero_a(params, draws):
    other = {}
    for name, own in params.items():
        B = draws.standard_normal(own["B"].shape) / np.sqrt(len(own["A"]))
        other[name] = {"A": 0 * own["A"], "B": B.astype(np.float32)}
    return other


def train_briefly(adapters, seed=1, lr=1e-2, zero="B"):
    """Accuracy after 100 steps. The seed draws the start and the batches."""
    draws = np.random.default_rng(seed)
    attached = attach(weights, adapters, rng=draws)
    start = attached.params if zero == "B" else with_zero_a(attached.params, draws)

    def brief_loss(params, x, labels):
        return letters.mlp_loss(attached.bind(params), x, labels)

    params = fit(brief_loss, start, data, rng=draws, steps=100, batch=64, lr=lr)
    return score(attached.bind(params), test)


rates, seeds, rank_4 = (0.003, 0.01, 0.03, 0.05), (1, 2, 3), {"layers.[0-3].W": LoRA(4, alpha=8)}
zero_b, zero_a = (
    np.array([[train_briefly(rank_4, seed, lr, zero) for seed in seeds] for lr in rates])
    for zero in "BA"
)
for lr, with_b, with_a in zip(rates, zero_b, zero_a):
    of_b, of_a = (" ".join(f"{share:4.0%}" for share in shares) for shares in (with_b, with_a))
    print(f"learning rate {lr:5}: zero B {of_b}   zero A {of_a}")
gap = zero_b - zero_a
print("zero B ahead by points, mean of three:", (100 * gap.mean(axis=1)).round(0))
assert np.all(gap[0] < -0.05) and np.all(gap[2:] > 0.08) and gap[2:].mean() > 0.25
assert np.all(zero_b.max(axis=0) > zero_a.max(axis=0) + 0.01)

# %% [markdown]
# (b), on this task, in each of the three draws: at the two larger rates zero $B$ is far ahead, while at the smallest
# rate zero $A$ is. For wide networks and Adam, Hayou and others derive that zero $B$ allows larger learning rates. (A
# step of $A$ is multiplied by the random $B$, whose entries have the variance $1/r$; a step of $B$ by the random $A$,
# whose entries have only $1/d_{in}$. So from zero $A$ the same rate moves $W'$ further: an advantage at a small rate,
# too much at a large one.) Each at its best of the four rates, zero $B$ has a few points more. For other tasks, and for
# longer training, measure again.
#
# ## Is α only a learning rate?
#
# A larger $\alpha$ and a larger learning rate both make training faster (until it diverges), so people ask. Take plain
# gradient descent and one learning rate for $A$ and $B$ alike. Make $s$ four times as large.
#
# > **What do you expect?** What else must change, so that the same $W'$ is trained at every step? (a) The learning rate
# > becomes a quarter, (b) the learning rate becomes a sixteenth, (c) the learning rate and the start must change.

# %%
A, B = starts["B zero"]
A_s, B_s, losses = descend(A, B, s=1.0, lr=0.1, steps=50)
changes = {
    "(a) rate / 4": descend(A, B, s=4.0, lr=0.1 / 4, steps=50),
    "(b) rate / 16": descend(A, B, s=4.0, lr=0.1 / 16, steps=50),
    "(c) rate / 4 and start / 2": descend(A / 2, B / 2, s=4.0, lr=0.1 / 4, steps=50),
}
print(f"s = 1: loss {losses[10]:.4f} after 10 steps, {losses[-1]:.4f} after 50; s = 4:")
for name, (A_c, B_c, other) in changes.items():
    print(f"{name:26} loss {other[10]:7.4f} after 10 steps, {other[-1]:.4f} after 50")
    same = other == losses and np.array_equal(4.0 * B_c @ A_c, 1.0 * B_s @ A_s)
    assert same == (name == "(c) rate / 4 and start / 2")
    assert same or abs(other[10] - losses[10]) > 0.01 * losses[0]

# %% [markdown]
# (c), and the two runs are bitwise identical. The exact answer follows from (2). Scale $s$ by some $c$, and scale $A$
# and $B$ at the start by $1/\sqrt c$, so that $s B A$ stays the same. Then the gradients (2) become $\sqrt c$ times as
# large, while the steps ought to be $\sqrt c$ times smaller. So the learning rate has to be divided by $c$:
#
# $$(s, \ \eta, \ A_0) \quad \text{and} \quad (c\,s, \ \eta / c, \ A_0 / \sqrt{c}\,) \quad \text{train the same } W'
# \text{ at every step.} \tag{4}$$
#
# (With $c = 4$ every factor is a power of two. These are exact in floating-point numbers.)
#
# In one sentence: **with one common learning rate for $A$ and $B$, $\alpha$ is not only a learning rate, because it
# also sets the size of the start; but if $B$, which starts at zero, has a learning rate of its own, then to change
# $\alpha$ is to change that rate and nothing else.** The second half is exercise 2, where you find by how much.
#
# Adam divides each gradient by its typical size. Gradients that are $\sqrt c$ times as large then make no difference,
# and for the smaller steps the learning rate is divided by $\sqrt c$ instead of $c$. The rest of (4) stays. LoRA's
# authors write of Adam that to tune $\alpha$ is roughly to tune the learning rate, if the start is scaled
# appropriately; $A_0 / \sqrt c$ is what is appropriate. (Adam adds a tiny $\varepsilon$ to the size that it divides by.
# For bitwise equality it has to be scaled too.)

# %%
from minilora import adam, adam_start


def descend_adam(A, B, s, lr, eps, steps):
    params = {"A": A, "B": B}
    state = adam_start(params)
    for _ in range(steps):
        for_a, for_b = gradients(params["A"], params["B"], s)
        params, state = adam(params, {"A": for_a, "B": for_b}, state, lr, eps=eps)
    return s * params["B"] @ params["A"]


reference = descend_adam(A, B, s=1.0, lr=0.01, eps=1e-8, steps=50)
half = A / 2, B / 2
assert np.array_equal(descend_adam(*half, s=4.0, lr=0.01 / 2, eps=2e-8, steps=50), reference)
wrong_rate = descend_adam(*half, s=4.0, lr=0.01 / 4, eps=2e-8, steps=50)
wrong_start = descend_adam(A, B, s=4.0, lr=0.01 / 2, eps=2e-8, steps=50)
for wrong, other in (("rate / 4", wrong_rate), ("start unchanged", wrong_start)):
    gap = np.linalg.norm(other - reference) / np.linalg.norm(reference)
    print(f"Adam, s = 4, but {wrong}: ΔW differs by {gap:.0%}")
    assert gap > 0.1

# %% [markdown]
# ## Why α/r, and not α?
#
# Suppose that you have found a good $\alpha$ at rank 4 and now try rank 16. You would like to keep it. What should $s$
# be, so that training goes at the same pace?
#
# Look at the first step once more. With gradient descent it is (3). Adam's first step has the size $\eta$ in each
# entry, $B = -\eta \operatorname{sign}(G A^\top)$. Draw many $A$ from $N(0, 1/d_{in})$, at $s = \eta = 1$. In the mean
# over these draws $\Delta W$ points along $-G$, as you will see below: it is $-p\, G$ for a number $p$. Call it the
# *pace*. With Adam the same holds for each row $g_i$ of $G$, in units of its length: the mean of row $i$ of $\Delta W$
# is $-p\, g_i / \lVert g_i \rVert$.
#
# > **What do you expect?** How many times as large is the pace at rank 64 as at rank 1? (a) The same, (b) 8 times,
# > (c) 64 times.

# %%
d = 144
G = rng.standard_normal((10, d))
units = G / np.linalg.norm(G, axis=1, keepdims=True)
paces = {}
for rank in (1, 4, 16, 64):
    descent, signs, squares = [], [], []
    for _ in range(400):
        A = rng.standard_normal((rank, d)) / np.sqrt(d)
        step = G @ A.T @ A
        descent.append(np.sum(step * G) / np.sum(G * G))  # how far along G, for s = η = 1
        signs.append(np.sum((np.sign(G @ A.T) @ A) * units) / len(G))
        squares.append(np.sum(step**2) / np.sum(G * G))
    paces[rank] = np.mean(descent), np.mean(signs)
    times = np.array(paces[rank]) / paces[1]
    print(f"rank {rank:2}: pace {times[0]:5.1f} times (gradient descent), {times[1]:5.1f} (Adam)")
    assert np.allclose(paces[rank], (rank / d, rank * np.sqrt(2 / (np.pi * d))), rtol=0.05)
    # (r/d)² is the mean's, r (d + 1)/d² the random part's
    assert np.isclose(np.mean(squares), (rank**2 + rank * (d + 1)) / d**2, rtol=0.06)

# %% [markdown]
# (c), for both, because each of the $r$ terms of $B A$ brings on average the same. On average $A^\top A$ is
# $(r / d_{in})\, I$, and that gives the first formula. For the second, one term of row $i$ is
# $-\eta \operatorname{sign}(g_i \cdot a)\, a$ with a row $a$ of $A$. Orthogonal to $g_i$ it is zero on average. Along
# $g_i$ it is $-\eta\, |z|$ with $z = g_i \cdot a / \lVert g_i \rVert$, which is normal of variance $1/d_{in}$, and the
# mean of $|z|$ is $\sqrt{2 / (\pi\, d_{in})}$. With $\mathbb{E}$ for the mean over the draws of $A$,
#
# $$\text{gradient descent: } \ \mathbb{E}\,\Delta W = - \eta\, s^2 \frac{r}{d_{in}}\, G, \qquad
# \text{Adam: } \ \mathbb{E}\,\Delta W_i = - \eta\, s\, r \sqrt{\frac{2}{\pi\, d_{in}}}\, \frac{g_i}{\lVert g_i \rVert}.
# \tag{5}$$
#
# This mean is what lowers the loss at first. Around it there is a random part, a sum of $r$ independent terms of mean
# zero. It grows only like $\sqrt r$, and as long as $r$ is far below $d_{in}$, it is the larger of the two (their
# squares are as $r$ to $d_{in} + 1$, as the cell checks); but on average it changes the loss, to first order, by
# nothing.
#
# So if the pace of the first step is to be the same at all ranks, Adam needs $s \propto 1/r$, and gradient descent
# needs $s \propto 1/\sqrt r$. LoRA's choice $s = \alpha / r$ is the first; the second is known as
# [rsLoRA](glossary.md#rslora) (its author derives it from how the adapter's outputs and gradients grow with $r$
# throughout training by gradient descent, which is more than a first step). $s = \alpha$ is right for neither. In the
# library the choice is `LoRA(rank, alpha, scaling=alpha_over_sqrt_rank)`.
#
# A first step is not a training. So train 20 adapters on rotated letters, four ranks with five values of $\alpha$ each,
# all with Adam, the same learning rate, and few steps.

# %%
from minilora import alpha_over_sqrt_rank

assert LoRA(rank=16, alpha=8, scaling=alpha_over_sqrt_rank).scale == 2.0
ranks, alphas = (1, 4, 16, 64), (1, 4, 16, 64, 256)
grid = {
    (rank, alpha): train_briefly({"layers.[0-3].W": LoRA(rank=rank, alpha=alpha)})
    for rank in ranks
    for alpha in alphas
}

# %% [markdown]
# > **What do you expect?** Is there a setting that is within five points of the best at every rank? (a) Yes, one $s$,
# > (b) yes, one $\alpha$, (c) no.

# %%
scales = {"1/64": 1 / 64, "1/16": 1 / 16, "1/4": 1 / 4}
scales |= {"1": 1, "4": 4, "16": 16, "64": 64, "256": 256}
by_alpha = np.array([[grid[rank, alpha] for alpha in alphas] for rank in ranks])
by_scale = np.array(
    [[grid.get((rank, s * rank), np.nan) for s in scales.values()] for rank in ranks]
)
for rank, row in zip(ranks, by_alpha):
    print(f"rank {rank:2}:", *(f"α = {alpha}: {share:.1%} " for alpha, share in zip(alphas, row)))


# %% tags=["hide-input"]
def draw_table(axis, table, columns):
    axis.imshow(table, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(table):
        if np.isfinite(share):
            colour = "black" if share > 0.55 else "white"
            axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour)
    axis.set(xticks=range(len(columns)), xticklabels=columns)
    axis.set(yticks=range(len(ranks)), yticklabels=ranks)


figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.7), width_ratios=(8, 5), sharey=True)
draw_table(axes[0], by_scale, list(scales))
draw_table(axes[1], by_alpha, alphas)
axes[0].set(xlabel="s", ylabel="rank", title="accuracy (%) by rank and s")
axes[1].set(xlabel="α = s r", title="the same runs by rank and α")
# alt: Two tables of accuracies for ranks 1, 4, 16 and 64. By s the good cells move from s = 16 at rank 1 to s = 1 at rank 64; by α the column α = 16 is good at every rank.
plt.show()

# %% [markdown]
# (b), $\alpha = 16$. Both panels show the same 20 runs, one for each pair: read differences of many points, not of two
# or three. On the left (in the printed rows, divide $\alpha$ by the rank), what works moves to smaller $s$ as the rank
# grows; the best scale at rank 1 ruins rank 64, as one more run shows below. On the right, one column is good in every
# row. That is what dividing by $r$ is for: choose $\alpha$ once, then change the rank. Not everything lines up by
# $\alpha$. The right end of what works moves to larger $\alpha$ as the rank grows: $\alpha = 256$ ruins ranks 1 and 4
# and still trains at ranks 16 and 64. For this end, a factor that falls more slowly than $1/r$ would fit better.

# %%
best = by_alpha.max(axis=1)
print("best α for each rank:", dict(zip(ranks, np.array(alphas)[by_alpha.argmax(axis=1)].tolist())))
behind = best[:, None] - by_alpha
assert np.all(behind[:, alphas.index(16)] < 0.05)  # one α serves all
tried = np.isfinite(by_scale).all(axis=0)  # the scales that all four ranks were trained with
behind = best[:, None] - by_scale[:, tried]
# None of these s serves all
assert behind.shape == (4, 2) and np.all(behind.max(axis=0) > 0.05)
kept = train_briefly({"layers.[0-3].W": LoRA(rank=64, alpha=16 * 64)})
print(f"s = 16, good at rank 1 with {grid[1, 16]:.1%}, reaches {kept:.1%} at rank 64")
assert kept < 0.15
assert min(grid[16, 256], grid[64, 256]) > max(grid[1, 256], grid[4, 256]) + 0.4

# %% [markdown]
# ## Which rank?
#
# First on the one layer of the beginning, with its change of rank 3. For each rank, Eckart and Young's bound (lesson
# 1) is the least loss that can remain.
#
# > **What do you expect?** Which ranks does gradient descent need to reach (nearly) zero loss? (a) Rank 2 is enough,
# > (b) rank 3, (c) more than 3, because it does not find the best matrix of a rank.

# %%
sigma = np.linalg.svd(change, compute_uv=False)
for rank in (1, 2, 3, 4):
    A = rng.standard_normal((rank, d_in)) / np.sqrt(d_in)
    A, B, losses = descend(A, np.zeros((d_out, rank)), s=1.0, lr=0.1, steps=1000)
    least = 0.5 * np.sum(sigma[rank:] ** 2)
    print(f"rank {rank}: loss {losses[-1]:.6f}, Eckart and Young {least:.6f}")
    assert abs(losses[-1] - least) < 1e-9 * losses[0]

# %% [markdown]
# (b): a change of rank 3 needs rank 3, and in these runs gradient descent reaches the bound at each rank. On this layer
# the loss *is* the distance of matrices, so the truncated SVD of the change is the best adapter. On a network it is
# not: there the adapter that is nearest to the update of full fine-tuning can be far from the best one for the loss, as
# [lesson 1](01_one_matrix.py) shows. So train at low rank, do not cut.
#
# No formula says how many directions a network needs. Here is the best accuracy of each row of the table.

# %%
for rank, share in zip(ranks, best):
    trainable = attach(weights, {"layers.[0-3].W": LoRA(rank=rank)}, rng=rng).trainable
    print(f"rank {rank:2}: {trainable:6,} parameters, best accuracy after 100 steps {share:.1%}")
    assert trainable == 4 * rank * (144 + 144)
gains = np.diff(best)
assert gains[0] > 0.1 and 0 < gains[1] < gains[0] / 2 and abs(gains[2]) < 0.04

# %% [markdown]
# It grows from rank 1 to 4 to 16, by less each time. From 16 to 64 so little is left that one run cannot show it, while
# the number of trainable parameters grows in proportion to the rank. So start with a small rank such as 4, double it
# until the gain is no longer worth it, and keep $\alpha$.
#
# All four layers had the same rank so far. They need not: `attach` takes several patterns, each with an adapter of its
# own. Spend the 4,608 parameters of rank 4 in each layer in other ways, at $\alpha = 16$: rank 16 in the first layer
# only, rank 16 in the last hidden layer only, or rank 10 in the first and rank 2 in each of the others.
#
# > **What do you expect?** Which is the worst of these? (a) Rank 4 in each, (b) rank 16 in the first only, (c) rank 16
# > in the last only.

# %%
rank_2, rank_4, rank_10, rank_16 = (LoRA(rank=rank, alpha=16) for rank in (2, 4, 10, 16))
places = {
    "rank 4 in each": {"layers.[0-3].W": rank_4},
    "rank 10 in layer 0, 2 in 1 to 3": {"layers.0.W": rank_10, "layers.[1-3].W": rank_2},
    "rank 16 in layer 0": {"layers.0.W": rank_16},
    "rank 16 in layer 3": {"layers.3.W": rank_16},
}
placed = {}
for name, adapters in places.items():
    assert attach(weights, adapters, rng=rng).trainable == 4608
    placed[name] = np.array([train_briefly(adapters, seed) for seed in seeds])
    each = " ".join(f"{share:.1%}" for share in placed[name])
    print(f"{name:32} {each}, mean {placed[name].mean():.1%}")
assert placed["rank 4 in each"].mean() > placed["rank 16 in layer 0"].mean() + 0.03
assert np.all(placed["rank 16 in layer 0"] > placed["rank 16 in layer 3"] + 0.08)

# %% [markdown]
# (c): with these three draws a little in every layer beats much in one, and if it is to be one layer, the first is
# better than the last. The first two rows are too close to each other to tell. That the first layer is the better one
# is no law: rotated letters change what the *first* layer sees. [Lesson 15](15_what_to_set.py) asks the
# same of a language model and of a pretrained one, and asks for rates, data and dropout as well.
#
# ## Merged and unmerged differ: bug or rounding?
#
# `forward` and `merge` compute the same in exact arithmetic. In floating point they do not, because they compute the
# same sums in another order, with roundings at other places. How do you tell rounding from a mistake? The finer the
# numbers, the smaller the rounding; a mistake stays as large. So compute both in float64, float32 and float16.
# (`attach` refuses float16, in which nobody should train. So attach first, and cast everything afterwards.) For
# comparison, do the same with a wrong merge: one that forgets $s$. A gap says little by itself, so all gaps are
# relative to the largest logit.
#
# > **What do you expect?** In float32, how large is the largest gap between two logits, merged and unmerged, divided by
# > the largest logit? (a) Exactly 0, (b) between $10^{-7}$ and $10^{-5}$, (c) about $10^{-3}$.

# %%
from dataclasses import replace

from minilora.train.tape import leaves, rebuild


def cast(tree, dtype):
    """A nested dict with all its arrays in a dtype: rebuild puts what leaves has taken out."""
    return rebuild(tree, (leaf.astype(dtype) for leaf in leaves(tree)))


def attach_in(dtype, weights, adapter):
    attached = attach(cast(weights, np.float64), {"layers.[0-3].W": adapter}, rng=rng)
    parts = ("weights", "params", "frozen")
    return replace(attached, **{part: cast(getattr(attached, part), dtype) for part in parts})


# %%
x = test[0][::8]
precisions, gaps, wrong_gaps = (np.float64, np.float32, np.float16), [], []
for dtype in precisions:
    exact = attach_in(dtype, weights, LoRA(rank=4, alpha=8))
    without_s = attach_in(dtype, weights, LoRA(rank=4))
    logits = mlp(exact.bind(cast(params, dtype)), x.astype(dtype))
    merged = mlp(exact.merge(cast(params, dtype)), x.astype(dtype))
    wrong = mlp(without_s.merge(cast(params, dtype)), x.astype(dtype))
    assert logits.dtype == merged.dtype == dtype
    size = float(np.max(np.abs(logits)))  # all gaps relative to the largest logit
    gaps.append(float(np.max(np.abs(logits - merged))) / size)
    wrong_gaps.append(float(np.max(np.abs(logits - wrong))) / size)
    flips = np.sum(np.argmax(logits, axis=1) != np.argmax(merged, axis=1))
    found = f"relative gap {gaps[-1]:.0e}, wrong merge {wrong_gaps[-1]:.0e}"
    print(
        f"{dtype.__name__}, largest logit {size:.0f}: {found}, answers changed: {flips} of {len(x)}"
    )
spacings = [float(np.finfo(dtype).eps) for dtype in precisions]
assert all(gap < 15 * spacing for gap, spacing in zip(gaps, spacings)) and gaps[2] > 1e11 * gaps[0]
assert 1e-7 < gaps[1] < 1e-5
assert min(wrong_gaps) > 0.3 and max(wrong_gaps) < 1.1 * min(wrong_gaps)

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 2.9))
axis.loglog(spacings, wrong_gaps, "s--", color=ORANGE)
axis.loglog(spacings, gaps, "o-", color=BLUE)
axis.text(spacings[0], wrong_gaps[0] / 4, "a merge that forgets s", color=ORANGE, va="top")
axis.text(spacings[1] * 2, gaps[1] / 4, "the right merge", color=BLUE, va="top")
labels = [f"{dtype.__name__}\n{spacing:.0e}" for dtype, spacing in zip(precisions, spacings)]
axis.set(xlabel="spacing of the numbers just above 1", ylabel="largest gap / largest logit")
axis.set(ylim=(1e-17, 1e2))
axis.set_xticks(spacings, labels)
axis.set_xticks([], minor=True)
# alt: Relative gap between merged and unmerged logits against the spacing of float64, float32 and float16: the right merge's gap falls with it, a wrong merge's stays near 1.
plt.show()

# %% [markdown]
# (b). The gap of the right merge falls as the numbers get finer, over more than ten orders of magnitude. That is
# rounding. The gap of the wrong one stays: that is a bug. So when you see a gap, cast everything to float64 and look
# again.
#
# ## Adding two adapters
#
# You have an adapter for rotated letters and train another one for Fraktur. Can one network have both? The updates can
# be added: $W + s B_1 A_1 + s B_2 A_2$. What you must *not* do is to add the matrices factor by factor, for
#
# $$(B_1 + B_2)(A_1 + A_2) = B_1 A_1 + B_2 A_2 + \underbrace{B_1 A_2 + B_2 A_1}_{\text{cross terms}}. \tag{6}$$
#
# The right way is to put them side by side. It is an adapter of rank $2r$:
#
# $$B_1 A_1 + B_2 A_2 = \begin{bmatrix} B_1 & B_2 \end{bmatrix} \begin{bmatrix} A_1 \cr A_2 \end{bmatrix}. \tag{7}$$
#
# Mind the scale: at rank $2r$, $\alpha / r$ stays the same only if $\alpha$ doubles too.

# %%
from minilora.data.glyphs import FRAKTUR

fraktur = draw_letters(rng, FRAKTUR, per_letter=40)
fraktur_test = draw_letters(rng, FRAKTUR, per_letter=40)
second = fit(lora_loss, attached.params, fraktur, rng=rng, steps=400, batch=64, lr=1e-2)
stacked, summed = {}, {}
for name in params:
    A_1, B_1 = params[name]["A"], params[name]["B"]
    A_2, B_2 = second[name]["A"], second[name]["B"]
    stacked[name] = {"A": np.concatenate([A_1, A_2]), "B": np.concatenate([B_1, B_2], axis=1)}
    summed[name] = {"A": A_1 + A_2, "B": B_1 + B_2}
    right, cross = B_1 @ A_1 + B_2 @ A_2, B_1 @ A_2 + B_2 @ A_1
    assert np.allclose(stacked[name]["B"] @ stacked[name]["A"], right, atol=1e-5)
    assert np.allclose(summed[name]["B"] @ summed[name]["A"], right + cross, atol=1e-5)
    ratio = np.linalg.norm(cross) / np.linalg.norm(right)
    print(f"{name}: the cross terms are {ratio:.1f} times as large as the sum")

# %% [markdown]
# The algebra is exact. What does the network say? And what does it say if one adapter of rank 8 is *trained* on both
# kinds of letters together?
#
# > **What do you expect?** With the right sum (7), what is the accuracy on each kind of letters? (a) As good as with
# > that kind's own adapter, (b) a few points lower, (c) much lower.

# %%
wide = attach(weights, {"layers.[0-3].W": LoRA(rank=8, alpha=16)}, rng=rng)
for name in stacked:
    updates = [attached.merge(own)[name] - weights[name] for own in (params, second)]
    assert np.allclose(wide.merge(stacked)[name] - weights[name], sum(updates), atol=1e-5)


def wide_loss(params, x, labels):
    return letters.mlp_loss(wide.bind(params), x, labels)


mixed = [np.concatenate(pair) for pair in zip(data, fraktur)]
joint = fit(wide_loss, wide.params, mixed, rng=rng, steps=400, batch=64, lr=1e-2)
networks = {
    "no adapter": weights,
    "rotated alone": attached.bind(params),
    "Fraktur alone": attached.bind(second),
    "side by side (7)": wide.bind(stacked),
    "factor by factor (6)": attached.bind(summed),
    "trained on both": wide.bind(joint),
}
results = {name: (score(net, test), score(net, fraktur_test)) for name, net in networks.items()}
for name, (on_rotated, on_fraktur) in results.items():
    print(f"{name:21} rotated {on_rotated:6.1%}   Fraktur {on_fraktur:6.1%}")
side, summed_shares = results["side by side (7)"], results["factor by factor (6)"]
assert min(results["trained on both"]) > max(side) + 0.25
assert sum(side) > sum(summed_shares) + 0.1
alone = results["rotated alone"][0], results["Fraktur alone"][1]
assert all(share < goal - 0.3 for share, goal in zip(side, alone))
assert side[1] < results["no adapter"][1] - 0.1

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 3.0))
rows = np.arange(len(results))
for shift, colour, label, shares in zip(
    (-0.2, 0.2), (BLUE, ORANGE), ("rotated", "Fraktur"), zip(*results.values())
):
    axis.barh(rows + shift, 100 * np.array(shares), height=0.36, color=colour, label=label)
axis.set(yticks=rows, yticklabels=results, xlabel="accuracy (%)", xlim=(0, 100))
axis.invert_yaxis()
axis.legend(frameon=False, loc="upper right")
# alt: Accuracy on rotated and on Fraktur letters for six networks: each adapter alone is good on its own kind, their sum is poor on both, the wrong sum poorer, one trained on both is good on both.
plt.show()

# %% [markdown]
# (c): the sum (7) is what you asked for, and still it does poorly on both, on Fraktur even worse than no adapter at
# all. Each update was learned as if the other did not exist, but in the sum each acts on *all* inputs: what was learned
# for Fraktur also changes what the network makes of rotated letters. The sum (6) is worse still. If one network is to
# do both, train on both. If not, keep two adapters and switch: they are small.
#
# ## Optional: which of the two is nearer to the truth in float16?
#
# You can skip this section: nothing later needs it. If $W$ and the merged weights are kept in float16, are the merged
# logits or the unmerged ones nearer to the exact ones? You might fear for the merged ones: $W + \Delta W$ is rounded to
# the float16 numbers near $W$, and a small entry of $\Delta W$ can be lost in that. It depends on what else is in
# float16: $A$, $B$ and the activations, or none of these. So try both. The truth is computed from the same numbers in
# float64, which is as good as exact. Make the update smaller and smaller to see when rounding hides it.

# %%
short, short_x = cast(weights, np.float16), x.astype(np.float16)
unchanged = mlp(cast(short, np.float64), short_x.astype(np.float64))


def errors(dtype, factor):
    """Merged and unmerged error: W is stored in float16, A, B and activations in dtype."""
    small = {name: {"A": own["A"], "B": factor * own["B"]} for name, own in params.items()}
    small, inputs = cast(small, dtype), short_x.astype(dtype)
    exact = attach_in(np.float64, short, LoRA(rank=4, alpha=8))
    truth = mlp(exact.bind(cast(small, np.float64)), short_x.astype(np.float64))
    attached = attach_in(dtype, short, LoRA(rank=4, alpha=8))
    stored = cast(attached.merge(small), np.float16)
    found = mlp(cast(stored, dtype), inputs), mlp(attached.bind(small), inputs)
    return [np.linalg.norm(logits - truth) / np.linalg.norm(truth - unchanged) for logits in found]


print("error, as a share of the update's effect")
for factor in (1.0, 0.1, 0.01, 0.001):
    merged, unmerged = errors(np.float16, factor)
    merged_32, unmerged_32 = errors(np.float32, factor)
    print(
        f"update × {factor:<5}: A, B and activations in float16: merged {merged:6.2%}, "
        f"unmerged {unmerged:6.2%}; in float32: merged {merged_32:6.2%}, unmerged {unmerged_32:.1e}"
    )
    assert 0.6 < merged / unmerged < 1.3 and merged_32 > 100 * unmerged_32
assert 0.05 < merged < 0.4 and 0.02 < merged_32 < 0.2  # of the smallest update

# %% [markdown]
# As a share of the update's effect, the error of the merged weights grows as the update shrinks. If all is in float16,
# the unmerged error grows alike: the small update is added to the outputs $W x$, and these are rounded to float16 as
# well. Then [merging](glossary.md#merging) costs nothing that float16 has not cost already. But if $A$, $B$ and the
# activations are in float32, as in most training, unmerged is exact to about four digits or more, and it is the
# rounding of the merged $W'$ to float16 that loses the small update.
#
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 2.1
# answers.py`. It tries your function on hundreds of random cases, and shows the smallest on which it fails.

# %% [markdown]
# ### Exercise 1 (easy): many adapters, one update
#
# Let $M$ `(r, r)` be any invertible matrix. With $B' = B M$ in place of $B$, which $A'$ gives the same $\Delta W$?
# Write `other_factors(A, B, M)`, which returns `(A', B')` for $A$ `(r, d_in)` and $B$ `(d_out, r)`.
#
# Then take the trained $A$ and $B$ of `layers.0.W` and a random $M$. By how much does $A'$ differ from $A$, and
# $B'A'$ from $BA$? What does this say about comparing two adapters entry by entry?

# %% [markdown]
# ### Exercise 2 (medium): α is the learning rate of B
#
# In (4), with one learning rate, $A$ has to start smaller. Keep its start this time, and give $A$ and $B$ (which starts
# at zero) learning rates of their own. By which factors do you have to multiply them when $s$ becomes $c s$, so that
# training gives the same $W'$ after every step? For Adam, the $\varepsilon$ of $B$ has to be scaled as well.
#
# Write `rate_factors(c)`, which returns five numbers: the factors of the rates of $A$ and of $B$ for gradient descent,
# the two for Adam, and the factor of $\varepsilon$ for $B$. Why can powers of two for $c$ give a *bitwise identical* $W'$?
#
# <details><summary>Hint</summary>
#
# Call the new matrix $\tilde B$. For the same $W'$, with $c s$ in place of $s$, it has to be $B / c$ at every step. How
# large are the gradients (2) for $A$ and for $\tilde B$ then, and how large ought the steps to be?
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): back to rank r
#
# Side by side, two adapters have rank $2r$, three have $3r$. Write `compress(adapters, r)`: from a list of pairs
# `(A, B)` it makes the one pair `(A, B)` of rank $r$ whose $BA$ is closest to the sum of all, in the Frobenius norm. It
# must never make a `(d_out, d_in)` matrix, which for a large language model is big and slow to decompose.
#
# Then compress the two adapters of "Adding two adapters" to rank 4. How much of the sum is lost in each layer? (Between
# a tenth and two thirds.)
#
# <details><summary>Hint</summary>
#
# Use `np.linalg.qr` for the stacked $B = Q_B R_B$ and for $A^\top = Q_A R_A$. What is left in the middle is a matrix of
# $2r \times 2r$ numbers.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# LoRA trains few parameters. Does that make it faster, or smaller in memory? [Lesson 3](03_counting.py) counts.
#
# ## References
#
# - Edward Hu and others, 2021, *LoRA: Low-Rank Adaptation of Large Language Models*,
#   [arXiv 2106.09685](https://arxiv.org/abs/2106.09685).
# - Damjan Kalajdzievski, 2023, *A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA*,
#   [arXiv 2312.03732](https://arxiv.org/abs/2312.03732).
# - Soufiane Hayou, Nikhil Ghosh and Bin Yu, 2024, *LoRA+: Efficient Low Rank Adaptation of Large Models*,
#   [arXiv 2402.12354](https://arxiv.org/abs/2402.12354).
# - Soufiane Hayou, Nikhil Ghosh and Bin Yu, 2024, *The Impact of Initialization on LoRA Finetuning Dynamics*,
#   [arXiv 2406.08447](https://arxiv.org/abs/2406.08447).
