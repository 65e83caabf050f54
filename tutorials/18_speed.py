# %% [markdown]
# # Speed: where the time of a training step goes, and how you find that out
#
# **You will learn**
#
# - how to measure a step so that others believe it;
# - what the *tape* costs, the list of operations that autograd writes down for the gradient, and what one derivative by
#   hand saves;
# - why float64 takes about twice as long as float32, and why thin matrices belong on $x$ and not on $W$;
# - how this library in NumPy compares with PyTorch, and why such a number needs the name of a processor beside it.
#
# **Before this:** [lesson 2](02_lora_by_hand.py), [lesson 3](03_counting.py) and [lesson 6](06_hra.py).
# **Time:** 45 minutes to read, about 10 seconds to run.
#
# An adapter has few trainable parameters, and yet its loss and gradient take more than half of the time that those of
# full fine-tuning take in the network of [lesson 3](03_counting.py), whose matrices are 512 wide, and in a small
# network even longer than those (the last column of the [family's page](family.md)). Where does the time go? Into three
# things: arithmetic on the frozen matrices, which nobody can avoid; arithmetic in the wrong order or in the wrong
# precision; and Python, which does the bookkeeping for the gradient. This lesson separates them.

# %%
from minilora.cli.lesson import BLUE, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import autograd.numpy as np  # NumPy, but autograd can differentiate through it
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)

# %% [markdown]
# ## To measure is to compare
#
# A time in milliseconds says little: it depends on the machine and on what else runs there. So compare two functions,
# and treat them alike. Count *processor time*, in which waiting for other programs does not count. Run both in turn, a
# block of one, a block of the other, so that a slow minute affects both. Take the ratio of blocks that ran one after
# the other, and then the median of the ratios, which one bad block cannot move.

# %%
import time

# One large block, freed at once: from now on Linux keeps the memory that a step frees for the next.
kept = np.empty(31 << 20, np.uint8)
del kept


def block_time(function, calls):
    start = time.process_time()
    for _ in range(calls):
        function()
    return (time.process_time() - start) / calls


def compare(one, other, rounds=9, block=0.02):
    """Seconds of one, seconds of other, and the median of one / other."""
    calls = [max(1, round(block / max(block_time(f, 2), 1e-6))) for f in (one, other)]
    times = np.array(
        [[block_time(f, n) for f, n in zip((one, other), calls)] for _ in range(rounds)]
    )
    return *np.median(times, axis=0), float(np.median(times[:, 0] / times[:, 1]))


A, B = rng.standard_normal((2, 200, 200)).astype(np.float32)
_, _, same = compare(lambda: A @ B, lambda: A @ B)
_, _, half = compare(lambda: A @ B, lambda: (A @ B, A @ B))
print(f"a product against itself: {same:.2f}, against two of them: {half:.2f}")
assert 0.7 < same < 1.4 and half < 0.8

# %% [markdown]
# Check the measurement first: the same thing against itself should give 1, and one against two a half. Do this whenever
# you measure. It tells you how small a difference your measurement can see.
#
# ## The limit: a step without a tape
#
# Take an MLP of four $d \times d$ layers with LoRA of rank 8 on each. What is the fastest that NumPy can do? Work out
# the derivatives on paper and write them down, as in [lesson 2](02_lora_by_hand.py). For one layer,
#
# $$ h = A x, \qquad z = W x + B h + b, \qquad x_{\text{next}} = \max(z, 0), $$
#
# and with $g$ for the gradient of the loss with respect to $z$,
#
# $$ \frac{\partial}{\partial B} = g\, h^\top, \qquad \frac{\partial}{\partial A} = (B^\top g)\, x^\top, \qquad
# \frac{\partial}{\partial x} = W^\top g + A^\top (B^\top g). \tag{1} $$

# %%
from minilora import linear


def by_hand(weights, params, x, labels):
    """The loss and its gradient, {name: {"A": …, "B": …}}."""
    seen, names = [], [name for name in weights if name.endswith("W")]
    for name in names:
        low = x @ params[name]["A"].T
        z = linear(weights[name], x) + low @ params[name]["B"].T + weights[name[:-1] + "b"]
        seen.append((name, x, low))
        x = np.maximum(z, 0)
    powers = np.exp(z - np.max(z, axis=1, keepdims=True))
    shares = powers / np.sum(powers, axis=1, keepdims=True)
    at_label = np.arange(len(labels)), labels
    loss = -np.mean(np.log(shares[at_label]))
    shares[at_label] -= 1
    return loss, backwards(weights, params, seen, shares / len(labels))


def backwards(weights, params, seen, g):
    """Equation (1), from the last layer to the first."""
    grads = {}
    for name, x, low in reversed(seen):
        A, B = params[name]["A"], params[name]["B"]
        g_low = g @ B
        grads[name] = {"A": g_low.T @ x, "B": g.T @ low}
        if name != "layers.0.W":
            g = (g @ weights[name] + g_low @ A) * (x > 0)
    return grads


# %% [markdown]
# The library does the same with a tape. Same loss, same gradients, so the two can be compared.

# %%
from minilora import LoRA, attach, cross_entropy, init_mlp, mlp, value_and_grad


def problem(width, batch, adapter=None, dtype=np.float32):
    """(weights, attached, params, x, labels): an MLP, adapters off their start, and a batch."""
    weights = init_mlp(rng, (width,) * 5, dtype)
    attached = attach(weights, {"*.W": adapter or LoRA(8)}, rng=rng)
    params = {
        name: {
            letter: (a + 0.05 * rng.standard_normal(a.shape)).astype(dtype)
            for letter, a in own.items()
        }
        for name, own in attached.params.items()
    }
    x = rng.standard_normal((batch, width)).astype(dtype)
    return weights, attached, params, x, rng.integers(width, size=batch)


def with_tape(attached, params, x, labels):
    return value_and_grad(
        lambda params: cross_entropy(mlp(attached.bind(params), x), labels), params
    )


weights, attached, params, x, labels = problem(64, 32, dtype=np.float64)
(loss, grads), (taped_loss, taped) = (
    by_hand(weights, params, x, labels),
    with_tape(attached, params, x, labels),
)
assert np.isclose(loss, taped_loss, rtol=1e-12)
for name, own in taped.items():
    for letter, g in own.items():
        assert np.allclose(g, grads[name][letter], rtol=1e-9, atol=1e-12)
print("by hand and with the tape: the same loss and the same gradients")

# %% [markdown]
# > **What do you expect?** The width grows from 32 to 512, sixteen times. The time of the tape itself, in milliseconds,
# > is the difference of the two. How does it change? (a) Like the arithmetic, (b) much less than the arithmetic, (c)
# > not at all.

# %%
from functools import partial

widths, tape, limit = (32, 64, 128, 256, 512), [], []
for width in widths:
    weights, attached, params, x, labels = problem(width, 32)
    taped_step, hand_step = (
        partial(with_tape, attached, params, x, labels),
        partial(by_hand, weights, params, x, labels),
    )
    slow, fast, ratio = compare(taped_step, hand_step)
    tape.append(1e3 * slow)
    limit.append(1e3 * fast)
    print(
        f"d = {width:3}: {1e3 * slow:6.3f} ms with the tape, "
        f"{1e3 * fast:6.3f} ms by hand, ratio {ratio:.2f}"
    )
by_tape = np.array(tape) - np.array(limit)
print(
    f"from d = {widths[0]} to {widths[-1]} the time by hand grows {limit[-1] / limit[0]:.0f} times, "
    f"the tape's {by_tape[-1] / by_tape[0]:.1f} times"
)
assert by_tape[0] > limit[0] and by_tape[-1] < limit[-1]
assert by_tape[-1] / by_tape[0] < 0.5 * limit[-1] / limit[0]

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2))
axes[0].loglog(widths, tape, "o-", color=BLUE)
axes[0].loglog(widths, limit, "s-", color=ORANGE)
axes[0].text(widths[0], tape[0] * 1.25, "with the tape", color=BLUE)
axes[0].text(widths[2], limit[2] * 0.7, "by hand", color=ORANGE)
axes[0].set(xlabel="width d", ylabel="milliseconds", title="loss and gradient of LoRA, 32 rows")
axes[1].semilogx(widths, by_tape, "D-", color=GREY)
axes[1].set(xlabel="width d", ylabel="milliseconds", ylim=(0, 1.2 * max(by_tape)))
axes[1].set_title("the difference")
axes[0].set_yticks((0.1, 0.3, 1, 3), labels=("0.1", "0.3", "1", "3"))
for axis in axes:
    axis.set_xticks(widths, labels=widths)
    axis.minorticks_off()
# alt: Left, milliseconds against width on log scales: with the tape a step is several times slower at d = 32 and about a third slower at d = 512. Right, the difference grows slowly.
plt.show()

# %% [markdown]
# Answer (b). At $d = 32$ the tape takes longer than the arithmetic. At $d = 512$ it is the smaller part. The right
# panel shows why: in milliseconds the tape's part grows little from one width to the next, while the multiplications
# grow like $d^2$. (The time by hand grows less than they do, since a call of NumPy has fixed costs too.)
#
# ## What a node costs
#
# Each operation on a *traced* array, one that the gradient depends on, writes a *node*, an entry of the tape. Going
# back visits each node once. That is Python code, and takes the same time whether the array has ten entries or a
# thousand. Count the nodes of the step.

# %%
from autograd.core import VJPNode
from autograd.tracer import new_box, toposort, trace_stack

from minilora.train.tape import leaves, rebuild


def count_nodes(loss, params):
    with trace_stack.new_trace() as trace:
        boxes = [new_box(leaf, trace, VJPNode.new_root()) for leaf in leaves(params)]
        end = loss(rebuild(params, iter(boxes)))
    return sum(len(node.parents) > 0 for node in toposort(end._node))


weights, attached, params, x, labels = problem(64, 32)
total = count_nodes(lambda params: cross_entropy(mlp(attached.bind(params), x), labels), params)
print(f"{total} nodes in a LoRA step on four layers")
assert total == 27


def chain(params, length):
    a = params["a"]
    for _ in range(length):
        a = a + 1.0
    return np.sum(a)


short, long = (partial(value_and_grad, chain, {"a": np.ones(4)}, length) for length in (10, 110))
slow, fast, _ = compare(long, short)
per_node = (slow - fast) / 100
print(
    f"a node costs about {1e6 * per_node:.0f} µs, "
    f"so {total} nodes about {1e3 * total * per_node:.2f} ms"
)
assert 0.1 < 1e3 * total * per_node / by_tape[widths.index(64)] < 1.5

# %% [markdown]
# The product of the two is a good part of the difference that you have just drawn for $d = 64$. It is not all of it:
# most nodes of the step have more to do than to add.
#
# So the way to be faster is to write fewer nodes. The library does it where nothing becomes harder to read: the
# functions in `minilora/ops.py` are *primitives*, operations with one node each and their derivatives beside them.
# Cross-entropy is one. Composed of NumPy operations it is nine nodes; written with its derivative, $\partial / \partial
# z = (\operatorname{softmax}(z) - \text{one-hot}) / n$, it is one.


# %%
def composed(logits, labels):
    shifted = logits - 10.0
    log_total = np.log(np.sum(np.exp(shifted), axis=1))
    picked = np.sum(shifted * (labels[:, None] == np.arange(logits.shape[1])), axis=1)
    return np.sum(log_total - picked) / len(labels)


logits = {"z": rng.standard_normal((32, 64)).astype(np.float32)}
assert np.isclose(composed(logits["z"], labels), cross_entropy(logits["z"], labels), rtol=1e-5)
nine, one = (
    count_nodes(lambda p, f=f: f(p["z"], labels), logits) for f in (composed, cross_entropy)
)
_, _, ratio = compare(
    lambda: value_and_grad(lambda p: composed(p["z"], labels), logits),
    lambda: value_and_grad(lambda p: cross_entropy(p["z"], labels), logits),
)
print(f"{nine} nodes against {one}: {ratio:.1f} times the time")
assert (nine, one) == (9, 1) and ratio > 1.3

# %% [markdown]
# Everything that you are meant to read, above all the adapters, stays composed. Exercise 3 shows what a derivative by
# hand would gain there.
#
# ## What float64 costs
#
# A float64 has 64 bits, a float32 has 32. So half as many fit into a register of the processor, all of which it works
# on at once, and half as many come from memory in the same time.
#
# > **What do you expect?** A product of matrices in float64 takes, as a multiple of float32's time, (a) about 1, (b) between 1 and 3, (c) about 4.

# %%
for width in (64, 512):
    M = rng.standard_normal((width, width))
    single = M.astype(np.float32)
    _, _, ratio = compare(partial(np.matmul, M, M), partial(np.matmul, single, single))
    print(f"a product of {width} × {width} matrices: float64 takes {ratio:.1f} times as long")
    assert 1.1 < ratio < 3

# %% [markdown]
# Answer (b). Both arguments say twice as long. What does not depend on the precision, such as the fixed costs of a
# call, makes it less; the cache can make it more.
#
# And float64 spreads. One float64 number among float32 arrays, and everything after it is float64. Below, the second
# result is scaled by a NumPy number, for `np.sqrt(64)` is one, and the third by the same number in Python.

# %%
z = rng.standard_normal((4, 64)).astype(np.float32)
print(
    "z:",
    z.dtype,
    "  z / np.sqrt(64):",
    (z / np.sqrt(64)).dtype,
    "  z / 64**0.5:",
    (z / 64**0.5).dtype,
)
assert (z / np.sqrt(64)).dtype == np.float64
assert (z / 64**0.5).dtype == np.float32

# %% [markdown]
# No error, no warning, and about half of the speed is gone. That is why this library has a test that asks the dtype of
# every gradient.
#
# ## Thin matrices belong on x
#
# $(W + BA)\,x$ and $W x + B (A x)$ are the same vector. For a batch of $n$ vectors, the second one adds about $2 n r d$
# multiplications to $n d^2$. The first one builds a $d \times d$ matrix: $r d^2$ multiplications, and $2 d^2$ numbers
# to write and to read. It does so again on the way back, where the gradient for $W + BA$ is a matrix of that size too.


# %%
def step(forward, params, x):
    return value_and_grad(lambda params: np.sum(forward(params, x) ** 2), params)


W = (rng.standard_normal((256, 256)) / 16).astype(np.float32)
thin = {
    "A": rng.standard_normal((8, 256)).astype(np.float32),
    "B": rng.standard_normal((256, 8)).astype(np.float32),
}
x = rng.standard_normal((32, 256)).astype(np.float32)


def on_weights(params, x):
    return linear(W + params["B"] @ params["A"], x)


def on_vectors(params, x):
    return LoRA(8).forward(params, {"W": W}, x)


assert np.allclose(on_weights(thin, x), on_vectors(thin, x), rtol=1e-3, atol=1e-2)
_, _, ratio = compare(partial(step, on_weights, thin, x), partial(step, on_vectors, thin, x))
print(f"W + BA first: {ratio:.1f} times as long")
assert ratio > 1.15

# %% [markdown]
# ## A chain, or its compact form
#
# HRA multiplies $W$ by $r$ reflections. There are three ways to compute the same map:
#
# 1. Build $H = H_1 \cdots H_r$, then $W H$, then $W H x$. Building takes $2 r d^2$ multiplications, but $W H$ takes
#    $d^3$, whatever the batch is. This is how Hugging Face PEFT does it.
# 2. Reflect $x$ by $H_r$, then by $H_{r-1}$, and so on: little arithmetic, but many nodes.
# 3. The compact form of [lesson 6](06_hra.py), $H x = x - U \Gamma U^\top x$ with one small matrix $\Gamma$. This is
#    what `HRA.forward` does.
#
# > **What do you expect?** Which of the first two is slower, at $d = 256$, $r = 8$ and 32 rows? (a) The first, (b) the
# > second, (c) they are within a factor of 1.5.

# %%
from minilora import HRA
from minilora.weight import reflect


def build_H(params, x):
    H = np.eye(len(W), dtype=W.dtype)
    for i in range(8):
        H = reflect(H, params["U"][:, i])
    return linear(W @ H, x)


def one_by_one(params, x):
    for i in reversed(range(8)):
        x = reflect(x, params["U"][:, i])
    return linear(W, x)


def compact(params, x):
    return HRA(8).forward(params, {"W": W}, x)


mirrors = {"U": rng.standard_normal((256, 8)).astype(np.float32)}
for forward in (build_H, one_by_one, compact):
    assert np.allclose(forward(mirrors, x), compact(mirrors, x), rtol=1e-3, atol=1e-2)
    nodes = count_nodes(lambda p, f=forward: np.sum(f(p, x) ** 2), mirrors)
    _, _, ratio = compare(
        partial(step, forward, mirrors, x), partial(step, compact, mirrors, x), rounds=5
    )
    print(f"{forward.__name__:10} {nodes:4} nodes, {ratio:5.1f} times the time of the compact form")
    assert forward is compact or ratio > 2

# %% [markdown]
# Answer (a). Both have nearly as many nodes, but the first one multiplies two $d \times d$ matrices. The compact form
# has little arithmetic and few nodes.
#
# ## Beside PyTorch, on which machine?
#
# Now the whole step, with Adam, against [Hugging Face PEFT](https://github.com/huggingface/peft) on PyTorch: the same
# model with the same numbers, whose loss and gradients agree, on one thread of the same processor. The scripts in
# `tests/bench` do it by the protocol above, each side in a process of its own, and write their numbers to
# `tutorials/results`, with the machine. To have yours, in a copy of the repository, install the extra `bench` and run
# them:
#
# ```sh
# .venv/bin/pip install -e '.[bench]'
# .venv/bin/python tests/bench/steps.py
# .venv/bin/python tests/bench/real.py --files real
# .venv/bin/python tests/bench/process.py
# .venv/bin/python tests/bench/scaling.py
# ```
#
# (`real.py` needs the two downloads of `python -m minilora real`.) A second machine's numbers stand beside the first if
# their file has a longer name in the same folder, such as `steps_mine.json`; `--out` says where.
#
# Why does the machine matter so much? The products are done by [*BLAS*](glossary.md#blas-kernel), a library of routines
# for matrices. NumPy brings OpenBLAS, which has a *kernel*, hand-written code, for each family of processors, and picks
# one when it is loaded. PyTorch brings a BLAS of its own. So for large matrices a ratio compares two kernels on one
# processor, and on another processor it is another ratio. Below stand a first machine, which was not recorded; a
# second, an Intel Xeon, for which OpenBLAS picks the kernel SkylakeX; and the second once more with the kernel Haswell,
# which uses registers half as wide, forced by the environment variable `OPENBLAS_CORETYPE`.

# %%
import json

from minilora.course.lessons import lesson_data


def results(name):
    """{file name: content} of results/name*.json."""
    files = sorted(lesson_data("results").glob(f"{name}*.json"))
    return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def machine_of(found):
    """The machine and the releases of one file of results, as far as it says."""
    machine = found.get("machine", {"machine": "not recorded"})
    parts = machine | found["versions"]
    return "; ".join(f"{word} {value}" for word, value in parts.items())


# %% [markdown]
# First an MLP and a Transformer of several sizes. Below 1, the NumPy code that you have read is faster. LoRA, HRA and
# strict HRA are compared with PEFT's own. SBoRA and CondLoRA are not in PEFT, so they are compared with its LoRA. "no
# tape" is LoRA against the derivatives by hand.
#
# > **What do you expect?** Where is NumPy ahead of PyTorch? (a) Nowhere. (b) Where matrices are small. (c) Everywhere.

# %%
COLUMNS = ["LoRA", "HRA", "strict HRA", "SBoRA-FA", "SBoRA-FB", "CondLoRA", "no tape"]


def print_steps(found):
    ratios = {}
    for row in found["rows"]:
        column = "no tape" if row["rival"] == "limit" else row["method"]
        ratios.setdefault(row["cell"], {})[column] = row["ratio"]
    print(f"{'time here / time there':27}" + "".join(f"{column:>11}" for column in COLUMNS))
    for cell, own in ratios.items():
        cells = [f"{own[c][1]:11.2f}" if c in own else " " * 11 for c in COLUMNS]
        print(f"{cell:27}" + "".join(cells))
    spreads = sorted(
        (high - low) / middle for own in ratios.values() for low, middle, high in own.values()
    )
    print(f"half of all rounds lie within {spreads[len(spreads) // 2]:.0%}\n{machine_of(found)}\n")


step_times = results("steps")
for file, found in step_times.items():
    print(file)
    print_steps(found)
    assert max(max(row["loss_gap"], row["gradient_gap"]) for row in found["rows"]) < 1e-9


def lora_ratio(file, cell):
    """The middle ratio of LoRA to PEFT's LoRA."""
    rows = step_times[file]["rows"]
    (row,) = (
        r for r in rows if (r["cell"], r["method"], r["rival"]) == (cell, "LoRA", "PEFT LoRA")
    )
    return row["ratio"][1]


for cell, first, second, forced in (
    ("MLP d=64 n=32", 0.60, 0.50, 0.59),
    ("MLP d=1024 n=128", 0.92, 0.98, 1.33),
    ("Transformer qv d=256 n=32", 0.97, 1.28, 1.74),
):
    files = ("steps.json", "steps_xeon.json", "steps_xeon_haswell.json")
    found = [lora_ratio(file, cell) for file in files]
    print(f"LoRA, {cell:27}" + "".join(f"{ratio:8.2f}" for ratio in found))
    assert np.allclose(found, [first, second, forced], atol=0.006)

# %% [markdown]
# In the MLP it is (b); in the Transformer small matrices are no advantage. In the MLP PyTorch too does bookkeeping, in
# layers of C++ and Python that are made for large models, and a short tape in NumPy is ahead. In a Transformer, which
# has many parts between its matrices, PyTorch makes up for that: each part is one function in C++. Where the matrices
# are large, both wait for the same products, and it is the kernels that are compared. On the first machine the ratio of
# LoRA is 0.92 in the largest MLP and 0.97 in a large Transformer, on the second 0.98 and 1.28 (with a later release of
# PyTorch, so not for the processor alone). And on the same processor, with a kernel for another family of processors,
# it is 1.33 and 1.74. So a ratio without the name of the kernel says little.
#
# CondLoRA, which computes its $A$ and $B$ from $W$, can take longer than LoRA. In the MLP, the column of HRA says less
# about languages than about the difference between $d^3$ and $n d^2$: the larger $d$ is beside $n$, the smaller is the
# ratio.
#
# Then a pretrained BERT with 22.6 million parameters, on film reviews. *products* are the matrix products of the step,
# timed alone: the limit for any library with this BLAS.

# %%
for file, found in results("real_steps").items():
    print(
        f"{file:22}{'time here / PEFT':>20}{'time here / products':>24}{'memory here / PEFT':>22}"
    )
    for row in found["rows"]:
        low, middle, high = row["ratio"]
        ratio, limit = f"{middle:.2f} ({low:.2f} … {high:.2f})", f"{row['over_products'][1]:.2f}"
        print(f"{row['method']:22}{ratio:>20}{limit:>24}{row['memory_ratio']:>22.2f}")
        assert max(row["loss_gap"], row["gradient_gap"]) < 1e-9
    print(machine_of(found))

# %% [markdown]
# Here padding is not computed, and PyTorch's own code is in memory on the other side; `tests/bench/real.py` says what
# is the same on both sides and what is not.
#
# A whole process is more than its steps. Importing PyTorch and PEFT takes longer than a whole small experiment here.

# %%
for found in results("process").values():
    for name in ("here", "PEFT", "import of minilora", "import of torch and peft"):
        row = found[name]
        print(f"{name:26} {row['cpu']:6.2f} s of processor time {row['megabytes']:6.0f} MB")
    assert found["import of torch and peft"]["cpu"] > 5 * found["here"]["cpu"]
for found in results("scaling").values():
    print("\ncost ∝ quantity^p:              p, and as expected")
    for row in found:
        print(
            f"{row['what']:10} {row['name']:21} {row['quantity']} "
            f"{row['fitted']:7.2f} {row['expected']:7.2f}"
        )
    gaps = {what: [] for what in ("step", "merge", "construct")}
    for row in found:
        gaps[row["what"]].append(abs(row["fitted"] - row["expected"]))
    print("largest gap:", {what: f"{max(own):.2f}" for what, own in gaps.items()})
    assert max(gaps["step"]) < 0.2 and max(gaps["merge"] + gaps["construct"]) < 0.7

# %% [markdown]
# For a step, counting multiplications predicts the exponents to within 0.2: its time grows like $d^2$ and like $n$. For
# a merge and for the constructions of the theorems, which decompose matrices, it predicts them to within 0.7 only.
# Fixed costs make an exponent lower than the count says, and so does BLAS where it handles larger matrices better than
# small ones; leaving the cache makes it higher. We did not measure which of these it is.
#
# Use PEFT for what it is made for, and what is not measured here: several threads, large models, a graphics card, which
# this library cannot use at all, and models that do not fit into memory.
#
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 18.1
# answers.py`. It tries them on random cases, and shows the smallest on which one fails.
#
# ### Exercise 1 (easy): how many nodes does a layer add?
#
# Count the nodes of the LoRA step for 2, 4 and 8 layers. How many does each layer add, and which operations are they?
# (Fewer than ten.) Why does the first layer have fewer?
#
# Write `nodes(layers)`: the number for any MLP of so many layers, one or more, with LoRA on each, and cross-entropy at
# the end.
#
# <details><summary>Hint</summary>
#
# An operation writes a node only if one of its arguments is traced. What is traced when the first layer sees the data?
#
# </details>

# %% [markdown]
# ### Exercise 2 (medium): from which rank on is the thin path no bargain?
#
# $B (A x)$ costs $2 n r d$ multiplications, $(B A)\,x$ costs $r d^2 + n d^2$. Write `crossing(n, d)`: the rank, a
# float, from which on the second takes fewer, or `None` if it never does for any rank.
#
# Compute it for $d = 128$ and $n = 512$ (it is above $d / 2$), and then measure both orders, without gradients, for
# ranks up to $d$. Do the times cross where the counts do?
#
# <details><summary>Hint</summary>
#
# Set $2 n r d = r d^2 + n d^2$ and solve for $r$. Is there a solution for every $n$?
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): LoRA in one node
#
# Write `lora(A, B, x, W)`: $W x + B A x$ for every row of `x` `(n, d_in)`, as one `@primitive` of $A$, $B$ and $x$ with
# the derivatives of equation (1), so that it is a single node on the tape. Check it with `check_grads`. How many nodes
# has the step now, and how much of its time is gone at $d = 64$? (More than half of the nodes, and more than a tenth of
# the time.) Then say why the library does not do it.
#
# <details><summary>Hint</summary>
#
# `defvjp(f, for_A, for_B, for_x)`, where each is a function of the result and all arguments of $f$ that returns a
# function of $g$. To use it in the MLP, put an object into the weights that can be called.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# [Lesson 19](19_family_tree.py) meets the rest of the family. Make [an adapter of your own](16_your_own_adapter.py),
# and make it fast: `minilora/train/tape.py` is where the tape is walked. Or go to a real model: `python -m minilora
# real` fine-tunes a pretrained Transformer with every adapter, and `python -m minilora inspect` shows what is in the
# adapters of others.
#
# ## References
#
# - Maclaurin, Duvenaud & Adams (2015), [autograd](https://github.com/HIPS/autograd), the tape that this library uses.
# - Schreiber & Van Loan (1989), A storage-efficient WY representation for products of Householder transformations.
# - Hu et al. (2021), [LoRA: low-rank adaptation of large language models](https://arxiv.org/abs/2106.09685).
