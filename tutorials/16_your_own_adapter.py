# %% [markdown]
# # Your own adapter: DoRA in twenty lines, and a referee that judges them
#
# **You will learn**
#
# - what an adapter is to this library: a frozen dataclass with three methods, no base class and no registration;
# - how to write one from a paper's equation (DoRA, 2024), and train it on letters;
# - how `check_adapter` and `pytest --adapter mymodule:MyAdapter` check it promise by promise, and how to read their
#   table when one fails.
#
# **Before this:** [lesson 2](02_lora_by_hand.py) (LoRA, `attach`, `bind`, `merge`). **Time:** 35 minutes to read,
# 10 seconds to run.
#
# New adapters are published all the time. Many are one equation. You can read the equation in the morning and train
# with it before lunch. But does your code compute it? A loss that falls proves little: a wrong adapter may learn too,
# only less. So this lesson has two halves. You write an adapter, and then a [*referee*](glossary.md#referee), a program
# that checks what every adapter must do, judges it.

# %%
from minilora.cli.lesson import BLUE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import autograd.numpy as np  # NumPy, but autograd can differentiate through it
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)

# %% [markdown]
# ## The equation
#
# Each row of $W$ has a length and a direction. LoRA changes both at once. DoRA (*weight-decomposed low-rank
# adaptation*) separates them. A LoRA inside it moves the direction, and the length is a trainable parameter $m$ of its
# own:
#
# $$W' = m \odot \frac{V}{\lVert V\rVert}, \qquad V = W + BA \tag{1}$$
#
# $\lVert V\rVert$ holds the length of every row of $V$, one number for each output. $m$ has as many entries, and each
# multiplies its row. At the start $B = 0$ and $m = \lVert W\rVert$, so $W' = W$. The condition is that no row of $V$
# is zero.
#
# ## The interface
#
# An adapter is a *frozen dataclass*, a class whose fields cannot be changed. They hold what a *person* chose, such as
# the rank. What is *trained* or *drawn* is not in the class. It is in two dicts of arrays:
#
# | method | gets | gives |
# |---|---|---|
# | `init(rng, W)` | a generator and the pretrained matrix | `params` (trained) and `frozen` (kept) |
# | `forward(params, frozen, x)` | the two dicts and inputs | $W'x$, by a cheap path |
# | `merge(params, frozen)` | the two dicts | $W'$, one plain new matrix |
#
# `params` and `frozen` are separate because the gradient is taken with respect to everything in the first. There is no
# base class to inherit from. Anything with these three methods works with `attach`.
#
# ## The cheap path
#
# `forward` must not build $V$, which is as large as $W$ ([lesson 3](03_counting.py)). The product is easy:
# $Vx = Wx + B(Ax)$. The lengths are not. Row $i$ of $V$ is $w_i + b_i A$, with $b_i$ row $i$ of $B$. Square it:
#
# $$\lVert w_i + b_i A\rVert^2 = \lVert w_i\rVert^2 + 2\, b_i \cdot (A w_i) + b_i\,(A A^\top)\, b_i^\top \tag{2}$$
#
# The first term never changes: it goes into `frozen`. $A w_i$ for all $i$ is $WA^\top$ with $r$ columns, and
# $AA^\top$ is $r \times r$. Nothing in (2) is as large as $W$.

# %%
from dataclasses import dataclass

from minilora import dense, linear
from minilora.checks import check_matrix, check_rank
from minilora.weight import normal


@dataclass(frozen=True)
class DoRA:
    """W' = m ⊙ V / ‖V‖ with V = W + B A and ‖V‖ the lengths of the rows of V."""

    rank: int

    def __post_init__(self):
        check_rank(self.rank)

    def init(self, rng, W):
        d_out, d_in = check_matrix("W", W)
        check_rank(self.rank, most=min(d_out, d_in))
        squares = np.sum(dense(W) ** 2, axis=1)
        A = normal(rng, (self.rank, d_in), d_in**-0.5, W.dtype)
        B = np.zeros((d_out, self.rank), W.dtype)
        return {"A": A, "B": B, "m": np.sqrt(squares)}, {"W": W, "squares": squares}

    def forward(self, params, frozen, x):
        A, B = params["A"], params["B"]
        W_A = linear(frozen["W"], A).T  # W Aᵀ, (d_out, r)
        squares = frozen["squares"] + np.sum(B * (2.0 * W_A + B @ (A @ A.T)), axis=1)
        y = linear(frozen["W"], x) + linear(B, linear(A, x))
        return params["m"] / np.sqrt(squares) * y

    def merge(self, params, frozen):
        V = dense(frozen["W"]) + params["B"] @ params["A"]
        lengths = np.sqrt(np.sum(V * V, axis=1))
        return (params["m"] / lengths)[:, None] * V


# %% [markdown]
# That is all: about twenty lines of code. Two habits are worth copying. With `linear(frozen["W"], x)` instead of
# `x @ frozen["W"].T`, $W$ may be anything that maps $x$, such as a four-bit matrix; where the matrix itself is needed,
# `dense` gives it. And `check_matrix` and `check_rank` turn a user's mistake into a `ValueError` that says what was
# wrong.
#
# Try it on one matrix before anything else.

# %%
W = rng.standard_normal((7, 5))
adapter = DoRA(rank=2)
params, frozen = adapter.init(rng, W)
x = rng.standard_normal((4, 5))
print("at the start, largest |W' − W|:", np.max(np.abs(adapter.merge(params, frozen) - W)))

moved = {name: array + 0.5 * rng.standard_normal(array.shape) for name, array in params.items()}
gap = np.max(np.abs(adapter.forward(moved, frozen, x) - x @ adapter.merge(moved, frozen).T))
print(f"after a move, largest |forward − merged|: {gap:.0e}")
assert gap < 1e-13

# %% [markdown]
# Why are `forward` and `merge` written separately, when `forward` could merge and multiply? Because then their equality
# would say nothing. Here they are two derivations of one equation: `merge` is (1) in the form of the authors' code,
# `forward` uses (2). If they agree at a random point, then a mistake in only one of them is almost excluded.
#
# ## On letters
#
# `attach` takes the new class as it takes LoRA. Pretrain a small network on sans-serif letters, then adapt it to
# Fraktur. Pretraining is shorter than that of `python -m minilora`, so accuracies are lower.

# %%
from minilora import accuracy, attach, fit, mlp
from minilora.cli import letters
from minilora.cli.comparison import Length
from minilora.data.glyphs import FRAKTUR, draw_letters

network = letters.pretrain(rng, Length(images=150, pretrain_steps=500, adapt_steps=300))
to_adapt, to_test = draw_letters(rng, FRAKTUR, 40), draw_letters(rng, FRAKTUR, 50)
before = accuracy(mlp(network, to_test[0]), to_test[1])
print(attach(network, {letters.HIDDEN: DoRA(rank=4)}, rng=rng))


def adapted(adapter, lr, steps=300):
    """Accuracy on Fraktur, and the merged weights, after training this adapter."""
    attached = attach(network, {letters.HIDDEN: adapter}, rng=rng)

    def loss(params, x, labels):
        return letters.mlp_loss(attached.bind(params), x, labels)

    params = fit(loss, attached.params, to_adapt, rng=rng, steps=steps, batch=64, lr=lr)
    merged = attached.merge(params)
    return accuracy(mlp(merged, to_test[0]), to_test[1]), merged


# %%
from minilora import Full, LoRA

after = {
    "full": adapted(Full(), 3e-3),
    "LoRA": adapted(LoRA(4), 1e-2),
    "DoRA": adapted(DoRA(4), 1e-2),
}
print(
    f"before {before:.1%}", "".join(f"   {name} {share:.1%}" for name, (share, _) in after.items())
)
assert min(share for share, _ in after.values()) > before + 0.3
assert abs(after["DoRA"][0] - after["LoRA"][0]) < 0.05

# %% [markdown]
# DoRA works: it is within five points of LoRA, and far above the start. Which of the two is better, a single seed and
# one task cannot show ([lesson 13](13_bake_off.py)).
#
# The paper's argument for DoRA is a figure: how much the length of the weights changes, against how much the direction
# does. With LoRA the two grow together, the authors find: the correlation is positive. With full fine-tuning and with
# DoRA it is negative. The paper has a dot for each layer and training step. We take one for each row of the four
# hidden matrices, after training.
#
# > **What do you expect?** Does it show here? (a) Yes: positive for LoRA, negative for the other two. (b) The order
# > shows, LoRA highest and DoRA lowest, but not the signs. (c) No.

# %%
changes, correlation = {}, {}
for name, (_, merged) in after.items():
    direction, length = [], []
    for layer in [f"layers.{n}.W" for n in range(4)]:
        old, new = (np.linalg.norm(weights[layer], axis=1) for weights in (network, merged))
        cosine = np.sum(network[layer] * merged[layer], axis=1) / (old * new)
        direction.append(1 - cosine)
        length.append(np.abs(new - old) / old)
    changes[name] = np.concatenate(direction), np.concatenate(length)
    correlation[name] = np.corrcoef(*changes[name])[0, 1]
print(
    "correlation of length and direction:",
    {name: f"{value:.2f}" for name, value in correlation.items()},
)
assert correlation["LoRA"] - 0.1 > correlation["full"] > correlation["DoRA"] > 0
assert correlation["LoRA"] > correlation["DoRA"] + 0.2

# %% tags=["hide-input"]
figure, panels = plt.subplots(1, 3, figsize=(7.2, 2.8), sharex=True, sharey=True)
for axis, (name, (direction, length)) in zip(panels, changes.items()):
    axis.plot(direction, length, ".", ms=3, alpha=0.6, color=BLUE)
    axis.set_title(f"{name}, correlation {correlation[name]:.2f}", fontsize=10)
    axis.set_xlabel("direction: 1 − cosine")
panels[0].set_ylabel("length: relative change")
# alt: Three clouds of dots, change of length against change of direction of each row, for full fine-tuning, LoRA and DoRA. LoRA's rises most clearly.
plt.show()

# %% [markdown]
# In this run it is (b): the correlation is highest for LoRA and lowest for DoRA, but all three are positive. That is
# one seed. And whether this *is* why DoRA does well, the figure does not say.
#
# ## The referee
#
# Now let somebody else look. This library has a [*contract*](glossary.md#contract), a list of promises that an adapter
# keeps. (Two built-in ones break some, by intention, and the tests say which: strict HRA cannot start at $W$, and
# `Full` keeps no frozen $W$ apart.) The built-in ones are checked on every push, and the same checks judge your class.
# They make it with `rank=…`, and choose shapes, ranks, dtypes and inputs themselves. So your adapter cannot choose an
# easy case. These are the promises (in `minilora/testing/contract.py`, each a few lines; `python -m minilora.testing`
# prints them):
#
# | | promise | what usually breaks it |
# |---|---|---|
# | P1 | untrained, it changes nothing | a start that is not zero, a length computed otherwise than in `merge` |
# | P2 | `forward` and `merge` compute the same map | a wrong formula in either |
# | P3 | gradients agree with finite differences | `getval`, or `np.linalg.norm` with `keepdims` (autograd's gradient is wrong, silently) |
# | P4 | every trainable array gets a gradient | an array that `forward` does not use |
# | P5 | training changes `params` and nothing else | `frozen["…"] += …` |
# | P8 | float32 in, float32 out | `np.sqrt(64)`, `np.eye(n)`, `np.mean` without care |
# | P9 | the start depends on $W$ and the generator alone | `np.random.…`, a counter in the class |
# | P10 | `merge` returns a new array | `W += …` |
# | P11 | `forward` builds nothing as large as $W$ | merging inside `forward` |
# | P12 | $W$ may be any weight: four-bit, adapted, or both | `frozen["W"].T`, `frozen["W"] @ x` in `forward` |
# | P13 | a mistake is a `ValueError` that names the argument | no `check_matrix`, no `check_rank` |
# | P14 | `init` and `forward` change nothing that they were given | `W *= …`, `x -= …` |
# | P15 | attached to a model, it has autograd's own gradients | params that are not a flat dict of arrays |
#
# P6 and P7 (how many parameters are trainable; the rank of $\Delta W$) need a formula for your class, so only the
# built-in ones are asked for them. P16 compares `merge` with an equation, if you pass one; more on it below.
#
# In a script, in a notebook or in a test of your own, `check_adapter` judges a class. It returns a report whose table
# you can print, and raises an error with the same table if a promise is broken. Here we want the table in both cases.

# %%
from minilora import check_adapter
from minilora.testing import ContractError


def referee(adapter, **options):
    """Print the table of `check_adapter`, and return {promise: verdict}."""
    try:
        report = check_adapter(adapter, **options)
    except ContractError as broken:
        report = broken.report
    print(report)
    return {line.number: line.verdict for line in report.lines}


def failing(verdicts):
    return [promise for promise, verdict in verdicts.items() if verdict == "FAILS"]


# %%
verdicts = referee(DoRA)
assert len(verdicts) == 13
assert set(verdicts.values()) == {"holds"}

# %% [markdown]
# Each line is a promise. *cases* is how many checks were made for it. *worst* is the largest error as a share of what
# is allowed: 0 means exact, 0.01 a hundredth of the tolerance, and more than 1 too much. (A promise that is kept or
# broken without a number shows 0 in either case: read the last column.) *holds* is what you want to read, on all
# thirteen lines.
#
# The same from the command line, in the folder of your `mymodule.py`, wherever that is:
#
# ```
# pytest --adapter mymodule:MyAdapter
# ```
#
# That needs `pip install pytest` and nothing else beside minilora. Each promise is then a test: `-k P2` runs one alone,
# and `--pdb` stops in the debugger where it breaks.
#
# ## A mistake, and what the table says
#
# Here is a mistake that is easy to make: `merge` divides by the lengths of the rows of $W$ instead of $V$. At the start
# they are the same.
#
# > **What do you expect?** Which promises does it break? (a) P1 and P2, (b) P2 alone, (c) P2 and P3.

# %%


@dataclass(frozen=True)
class WrongMerge(DoRA):
    """DoRA whose merge is wrong."""

    def merge(self, params, frozen):
        V = dense(frozen["W"]) + params["B"] @ params["A"]
        return (params["m"] / np.sqrt(frozen["squares"]))[:, None] * V


verdicts = referee(WrongMerge)
assert failing(verdicts) == ["P2"]

# %% [markdown]
# Answer (b). P1 holds: untrained, the adapter is right. So do P3 to P5: it trains well, since training only calls
# `forward`. You would see a falling loss and a good accuracy, and then deploy merged weights that compute something
# else. The lines below the table say where it fails first and by how much; *worst* has the largest
# of these errors. Compare *cases* with the table before: a check stops at its first wrong number, so there are fewer.
#
# Which half is wrong, `forward` or `merge`? P2 cannot know. Put a breakpoint into both, at the same `params`, and
# compare with the paper's equation. Or let pytest stop where the promise breaks:
#
# ```
# pytest --adapter mymodule:MyAdapter -k P2 --pdb
# ```
#
# ## A tiny constant
#
# The next one computes the right map, with an addition that looks harmless: a tiny constant under the root, so that
# nothing is ever divided by zero. It is a `np.float64`, as a constant is when it comes out of `np.sqrt(64)` or
# `np.finfo(float)`.
#
# > **What do you expect?** (a) All promises hold, (b) P2 fails, for `merge` has no such constant, (c) P8 fails.

# %%


@dataclass(frozen=True)
class Leaky(DoRA):
    """DoRA whose forward is right, but turns float32 into float64."""

    def forward(self, params, frozen, x):
        A, B = params["A"], params["B"]
        W_A = linear(frozen["W"], A).T
        squares = (
            frozen["squares"] + np.sum(B * (2.0 * W_A + B @ (A @ A.T)), axis=1) + np.float64(1e-30)
        )
        y = linear(frozen["W"], x) + linear(B, linear(A, x))
        return params["m"] / np.sqrt(squares) * y


verdicts = referee(Leaky)
assert failing(verdicts) == ["P8"]

# %% [markdown]
# Answer (c). One NumPy scalar of type float64, and from there on everything is float64: twice the memory, slower, and
# no wrong number anywhere. Without P8 it is easily missed. A plain Python `1e-30` does no harm, because NumPy lets it
# take the type of the array.
#
# ## Work saved
#
# The last one saves work: it keeps the lengths up to date in `frozen`, in place.
#
# > **What do you expect?** `merge` returns the right matrix. Does a promise fail? (a) None; (b) P2, since `forward`
# > uses the changed lengths; (c) P5 and P10, which watch what an adapter was given.

# %%


@dataclass(frozen=True)
class Scribbler(DoRA):
    """DoRA whose merge leaves its lengths behind in frozen."""

    def merge(self, params, frozen):
        V = dense(frozen["W"]) + params["B"] @ params["A"]
        frozen["squares"][:] = np.sum(V * V, axis=1)
        return (params["m"] / np.sqrt(frozen["squares"]))[:, None] * V


verdicts = referee(Scribbler)
assert failing(verdicts) == ["P5", "P10"]

# %% [markdown]
# Answer (c). P2 holds here: in its check `forward` is called first and `merge` once after it. But the next call of
# `forward` has the wrong lengths. P5 and P10 ask that every array that the adapter was given is bitwise identical
# before and after. That is why nothing in this library changes its arguments: what you compute then does not depend on
# what you called before.
#
# ## What a referee cannot see
#
# A class that keeps all promises is consistent with itself. Is it DoRA? Write $W' = m \odot V$ in both `forward` and
# `merge`, with $m = 1$ at the start: a different method, which keeps all promises too.


# %%
@dataclass(frozen=True)
class NoLength(DoRA):
    """W' = m ⊙ V: the same shapes, another method."""

    def init(self, rng, W):
        params, frozen = super().init(rng, W)
        return {**params, "m": np.ones_like(params["m"])}, frozen

    def forward(self, params, frozen, x):
        return params["m"] * (linear(frozen["W"], x) + linear(params["B"], linear(params["A"], x)))

    def merge(self, params, frozen):
        return params["m"][:, None] * (dense(frozen["W"]) + params["B"] @ params["A"])


# %% [markdown]
# So write out the paper's equation once more, in plain loops, and pass it as `formula`. P16 compares `merge` with it,
# at random params.


# %%
def equation_1(adapter, W, params, frozen):
    A, B, m = params["A"], params["B"], params["m"]
    d_out, d_in = W.shape
    merged = np.zeros((d_out, d_in))
    for i in range(d_out):
        row = [W[i, j] + sum(B[i, k] * A[k, j] for k in range(len(A))) for j in range(d_in)]
        length = sum(entry**2 for entry in row) ** 0.5
        for j in range(d_in):
            merged[i, j] = m[i] * row[j] / length
    return merged


verdicts = referee(DoRA, formula=equation_1)
assert len(verdicts) == 14 and verdicts["P16"] == "holds" and not failing(verdicts)

# %%
verdicts = referee(NoLength, formula=equation_1)
assert failing(verdicts) == ["P16"]

# %% [markdown]
# `NoLength` keeps the other thirteen, and only P16 tells it from DoRA. On the command line it is
# `--formula mymodule:equation_1`.
#
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 16.1
# answers.py`. It lets the referee judge them, and says which promise is broken and where.
#
# ### Exercise 1 (easy): the short way
#
# Write `class Lazy`: LoRA with the library's rank and scale, whose `forward` is one line,
# `linear(self.merge(params, frozen), x)`. Before you run the referee: which two promises fail? Which one can no longer
# fail, and is therefore worth nothing? Is it the same for a DoRA whose `forward` merges?
#
# <details><summary>Hint</summary>
#
# `class Lazy(LoRA)` inherits the rest. Read P2, P11 and P12 again.
#
# </details>

# %% [markdown]
# ### Exercise 2 (medium): the authors' shortcut
#
# The authors of DoRA treat the lengths $\lVert V\rVert$ as constants when they differentiate. That saves memory. Write
# `class Held` so, a DoRA with the params `"A"`, `"B"` and `"m"` of this page, with `getval` from `autograd.tracer`,
# which takes a number off the tape. Which promise fails, and is that a bug? (The check wants this one to fail, and all
# others to hold.) Train it on Fraktur. Does it learn? (It comes within five points of DoRA.)
#
# <details><summary>Hint</summary>
#
# Write `squares = frozen["squares"] + np.sum(getval(B) * …)`, with `getval` around every traced array in this line.
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): another paper
#
# VeRA ([Kopiczko et al., 2023](https://arxiv.org/abs/2310.11454)) draws $A$ and $B$ at random and never trains them. It
# trains two vectors, $d$ with $r$ entries and $b$ with one entry for each output:
#
# $$W' = W + \operatorname{diag}(b)\, B \operatorname{diag}(d)\, A$$
#
# Write `class VeRA` from this line, with `rank`, the params `"b"` and `"d"`, and `"A"` and `"B"` in `frozen`; $b = 0$
# and $d = 0.1$ at the start; and let the referee read it: all promises hold. (The authors draw one $A$ and one $B$ for
# all layers; here each layer may draw its own.) How many parameters does it train with $r = 64$ on the four hidden
# layers, and how far does it get on Fraktur? (By more than 20 points.)
#
# <details><summary>Hint</summary>
#
# $A$ and $B$ belong in `frozen`. Draw them so that $Ax$ and $B(Ax)$ have the size of $x$. In `forward` the two
# diagonal matrices are products of vectors: `params["d"] * linear(A, x)`.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# You have an adapter of your own. [Lesson 13](13_bake_off.py) compares it fairly with the others: append it to the list
# `MINE` there, and its tables and verdicts have it too. To give it to somebody who uses PyTorch, read [lesson
# 17](17_peft.py). If all promises hold and it belongs into this library, `.github/CONTRIBUTING.md` lists what else an
# adapter needs.
#
# Fourteen more methods are in `minilora.family`, the DoRA of this page among them. `python -m minilora family` prints
# what each trains, reaches, keeps and costs, found by running it.
#
# ## References
#
# - Liu et al., 2024, *DoRA: Weight-Decomposed Low-Rank Adaptation*, [arXiv
#   2402.09353](https://arxiv.org/abs/2402.09353).
# - Kopiczko, Blankevoort & Asano, 2023, *VeRA: Vector-based Random Matrix Adaptation*,
#   [arXiv 2310.11454](https://arxiv.org/abs/2310.11454).
# - Hu et al., 2021, *LoRA: Low-Rank Adaptation of Large Language Models*,
#   [arXiv 2106.09685](https://arxiv.org/abs/2106.09685).
