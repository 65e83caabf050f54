# %% [markdown]
# # Expressive power III: adapters of half the rank turn one attention network into another
#
# **You will learn**
#
# - what attention is, from scratch, and that it sees its four matrices only as two products of two;
# - why adapters of half the rank are therefore enough, for every input, length and mask, and why no less is;
# - where this ends: residual paths, LayerNorm, rotated positions, gates and stacked heads, each with a number.
#
# **Before this:** [tutorial 7](07_expressive_linear.py) (products of adapted matrices), [tutorial
# 8](08_expressive_relu.py) (ReLUs). **Time:** 45 minutes to read, 5 seconds to run.
#
# In a Transformer, LoRA sits on the matrices of attention. Suppose somebody has another Transformer of the same size,
# with entirely different weights. Which rank turns ours into theirs? Full rank, $D$, would do: replace every matrix.
# For attention in its plainest form the answer is that half of it is enough, and that most matrices of the feed-forward
# part need no adapter at all. For the Transformers in use it is not, and you will see why.

# %%
import os

# Matrices this small run faster on one thread. NumPy reads this when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import autograd.numpy as np
import matplotlib.pyplot as plt
from autograd import jacobian

from minilora import Full, LoRA, attach, causal, relu
from minilora.cli.output import survive_any_output
from minilora.tables import aligned
from minilora.theorems.chain import Unsolvable, add_adapters
from minilora.theorems.linear import adapt_product, predicted_error
from minilora.theorems.transformer import plain_transformer, residual_adapters, transformer_adapters

survive_any_output()  # a terminal that lacks λ or → gets "lambda" or "->"
plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#6b7280"
rng = np.random.default_rng(0)

# %% [markdown]
# ## Attention from scratch
#
# The input is a sequence of $N$ *tokens*, in a language model one for each letter or word. Each token is a vector of
# $D$ numbers, $x_1, \dots, x_N$, the rows of $X$. An MLP would treat each one alone. Attention lets every token collect
# something from the others. For token $i$ it goes like this:
#
# - token $i$ asks: a **query** $q_i = W_Q x_i$; every token $j$ answers to a **key** $k_j = W_K x_j$;
# - the **score** of $j$ for $i$ is the inner product $k_j \cdot q_i$, large where key and query point the same way;
# - **softmax** makes shares of the scores: $p_{ij} = e^{k_j \cdot q_i} / \sum_{j'} e^{k_{j'} \cdot q_i}$, which are
#   positive and add up to 1 for each $i$;
# - token $i$ receives the mixture of the **values** $W_V x_j$ in these shares, and $W_O$ maps it to the output:
#   $a_i = W_O \sum_j p_{ij} W_V x_j$.
#
# Four matrices, here all $D \times D$. In code, token by token:


# %%
def matrix(D):
    left, _, right = np.linalg.svd(rng.standard_normal((D, D)))
    return (left * rng.uniform(0.5, 2, D)) @ right  # singular values between ½ and 2


def attend(W_Q, W_K, W_V, W_O, X):
    outputs, shares = [], []
    for x_i in X:
        scores = np.array([(W_K @ x_j) @ (W_Q @ x_i) for x_j in X])
        p = np.exp(scores) / np.sum(np.exp(scores))
        shares.append(p)
        outputs.append(W_O @ sum(p_j * (W_V @ x_j) for p_j, x_j in zip(p, X)))
    return np.array(outputs), np.array(shares)


D = 8
W_Q, W_K, W_V, W_O = (matrix(D) for _ in range(4))
X = 0.5 * rng.standard_normal((6, D))
outputs, shares = attend(W_Q, W_K, W_V, W_O, X)
print(
    "outputs",
    outputs.shape,
    "  shares",
    shares.shape,
    "  rows of shares add up to",
    shares.sum(axis=1).round(12),
)
assert np.allclose(shares.sum(axis=1), 1)

# %% [markdown]
# Without the loops it is three lines, and scores between any two tokens are one matrix product. A **mask** says who may
# see whom: a language model must not look at the tokens it is to predict, so token $i$ sees only $j \le i$ (*causal*).
# Forbidden scores are set to $-\infty$, and their share is 0.


# %%
def softmax(scores):
    # What is subtracted cancels out
    powers = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return powers / np.sum(powers, axis=-1, keepdims=True)


scores = X @ W_Q.T @ W_K @ X.T  # scores[i, j] = k_j · q_i
assert np.allclose(softmax(scores), shares)
assert np.allclose(softmax(scores) @ X @ W_V.T @ W_O.T, outputs)
seen = softmax(np.where(causal(6), scores, -np.inf))
assert np.allclose(seen, np.tril(seen))

# %%
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.4), sharey=True)
for axis, p, title in zip(axes, (shares, seen), ("every token sees all", "causal mask")):
    picture = axis.imshow(p, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.argwhere(p > 0):
        colour = "white" if p[i, j] > 0.6 else "black"
        axis.text(j, i, f"{p[i, j]:.2f}", ha="center", va="center", size=8, color=colour)
    axis.set(title=title, xlabel="token j that is seen", xticks=range(6), yticks=range(6))
axes[0].set_ylabel("token i that looks")
plt.show()

# %% [markdown]
# ## It sees its four matrices only as two products
#
# Look at the formulas again. The scores are $k_j \cdot q_i = x_j^\top (W_K^\top W_Q)\, x_i$: the matrices $W_Q$ and
# $W_K$ occur only as the product $W_K^\top W_Q$. And as the shares are plain numbers, they move past the matrices:
# $a_i = (W_O W_V) \sum_j p_{ij} x_j$. So attention knows $W_O W_V$ only. Put any invertible $G$ between the two
# matrices of a pair and its inverse behind it, and nothing changes. (Physicists call this *gauge freedom*.)

# %%
G, H = matrix(D), matrix(D)
before = W_Q, W_K, W_V, W_O
after = G @ W_Q, np.linalg.inv(G).T @ W_K, H @ W_V, W_O @ np.linalg.inv(H)
print(
    "the matrices differ by", *[f"{np.max(abs(new - old)):.1f}" for new, old in zip(after, before)]
)
new_outputs, new_shares = attend(*after, X)
print(f"the outputs differ by {np.max(abs(new_outputs - outputs)):.0e}")
assert np.allclose(new_shares, shares) and np.allclose(new_outputs, outputs)
assert min(np.max(abs(new - old)) for new, old in zip(after, before)) > 0.1

# %% [markdown]
# ## Half the rank, by hand
#
# So do not aim for the target's matrices $\bar W_Q, \bar W_K$, which would take rank $D$. Aim for their product. A
# product of two frozen matrices with adapters reaches any matrix when the two ranks add up to $D$: tutorial 7. Hence
# rank $\lceil D/2 \rceil$ on each is enough:
#
# $$W'^\top_K W'_Q = \bar W_K^\top \bar W_Q, \qquad W'_O W'_V = \bar W_O \bar W_V. \tag{1}$$
#
# The upper factor of the first product is $W_K^\top$. An adapter $BA$ on $W_K^\top$ is the adapter $A^\top B^\top$ on
# $W_K$.

# %%
targets = [matrix(D) for _ in range(4)]
Q_bar, K_bar, V_bar, O_bar = targets
for_q, for_k_transposed = adapt_product([W_Q, W_K.T], K_bar.T @ Q_bar, ranks=D // 2)
new_q = W_Q + for_q["B"] @ for_q["A"]
new_k = W_K + for_k_transposed["A"].T @ for_k_transposed["B"].T
new_v, new_o = add_adapters([W_V, W_O], adapt_product([W_V, W_O], O_bar @ V_bar, ranks=D // 2))

wanted, got = attend(*targets, X)[0], attend(new_q, new_k, new_v, new_o, X)[0]
print(
    f"outputs off by {np.max(abs(outputs - wanted)):.2f} before, "
    f"{np.max(abs(got - wanted)):.0e} after"
)
print(f"W'_Q and the target's W_Q differ by {np.max(abs(new_q - Q_bar)):.1f}")
assert np.allclose(got, wanted, atol=1e-10)
assert np.linalg.matrix_rank(new_q - W_Q, tol=1e-9) == D // 2
assert np.max(abs(new_q - Q_bar)) > 0.1

# %% [markdown]
# The outputs are the target's, to rounding, and yet $W'_Q$ is not the target's matrix: it is the target's up to some
# $G$ in the middle.
#
# ## The whole network
#
# The network of the theorem is as plain as it gets. Each block has several **heads**, each of them an attention with
# four $D \times D$ matrices of its own, and adds up their outputs $a_i$. Then a feed-forward part treats every token
# alone: $z_i = \mathrm{relu}(W_1 a_i + b_1)$ and $h_i = W_2 z_i + b_2$, and $h_i$ is the next block's $x_i$. At the end
# $y_i = W_o h_i$. There is no residual path and no LayerNorm (their turn comes below).


# %%
def network(D, heads, depth):
    weights = {}
    for block in range(depth):
        weights |= {
            f"blocks.{block}.heads.{h}.{part}.W": matrix(D) for h in range(heads) for part in "qkvo"
        }
        for number in (1, 2):
            weights[f"blocks.{block}.ffn.{number}.W"] = matrix(D)
            weights[f"blocks.{block}.ffn.{number}.b"] = rng.standard_normal(D)
    return weights | {"head.W": matrix(D)}


def by_hand(weights, X, heads, depth, share=softmax, norm=lambda X: X):
    for block in (f"blocks.{number}" for number in range(depth)):
        X, a = norm(X), 0
        for head in (f"{block}.heads.{number}" for number in range(heads)):
            W_Q, W_K, W_V, W_O = (weights[f"{head}.{part}.W"] for part in "qkvo")
            a = a + share(X @ W_Q.T @ W_K @ X.T) @ X @ W_V.T @ W_O.T
        z = relu(a @ weights[f"{block}.ffn.1.W"].T + weights[f"{block}.ffn.1.b"])
        X = z @ weights[f"{block}.ffn.2.W"].T + weights[f"{block}.ffn.2.b"]
    return X @ weights["head.W"].T


# %%
D, heads, depth = 6, 2, 2
weights, target = network(D, heads, depth), network(D, heads, depth)
X = 0.5 * rng.standard_normal((5, D))
assert np.allclose(by_hand(weights, X, heads, depth), plain_transformer(weights, X))
apart = np.max(abs(plain_transformer(weights, X) - plain_transformer(target, X)))
print(f"without adapters the outputs of the two networks differ by up to {apart:.1f}")
assert apart > 0.1

# %% [markdown]
# Could the frozen $W_1$ and $W_2$ stay, though the target has others? They can, because the pairs have room for more
# than their own target.
#
# **$W_1$.** The target computes $\bar W_1 \bar a$. We want $W_1 a$ to be that. With $F = W_1^{-1} \bar W_1$ it is
# $W_1 F \bar a$: so let the value pair of every head make $F$ times the target's output,
# $W'_O W'_V = F\, \bar W_O \bar W_V$. Then $z = \bar z$ after the ReLU, with $b'_1 = \bar b_1$.
#
# **$W_2$.** Now $z$ is right, and $h = W_2 z + b'_2$ where the target has $\bar h = \bar W_2 z + \bar b_2$. With
# $C = \bar W_2 W_2^{-1}$ and $C b'_2 = \bar b_2$ it follows that $\bar h = C h$: the block's output is right up to a
# known change of basis. The next block undoes it, inside its pairs:
#
# $$W'^\top_K W'_Q = C^\top\, \bar W_K^\top \bar W_Q\, C, \qquad W'_O W'_V = F\, \bar W_O \bar W_V\, C. \tag{2}$$
#
# **The end.** After the last block there is one more pair, $W'_o W'_2 = \bar W_o \bar W_2$.
#
# Every right-hand side is a known matrix, and every left-hand side a product of two matrices with adapters. Here is the
# first block by hand, with $C = I$ since nothing came before.

# %%
F = np.linalg.solve(weights["blocks.0.ffn.1.W"], target["blocks.0.ffn.1.W"])
ours = weights | {"blocks.0.ffn.1.b": target["blocks.0.ffn.1.b"]}
for head in ("blocks.0.heads.0", "blocks.0.heads.1"):
    q, k, v, o = (f"{head}.{part}.W" for part in "qkvo")
    queries_keys, values_out = [weights[q], weights[k].T], [weights[v], weights[o]]
    found = adapt_product(queries_keys, target[k].T @ target[q], ranks=D // 2)
    ours[q], new_k_transposed = add_adapters(queries_keys, found)
    ours[k] = new_k_transposed.T
    found = adapt_product(values_out, F @ target[o] @ target[v], ranks=D // 2)
    ours[v], ours[o] = add_adapters(values_out, found)


# %%
def first_z(net):
    a = sum(
        attend(*[net[f"blocks.0.heads.{h}.{part}.W"] for part in "qkvo"], X)[0]
        for h in range(heads)
    )
    return relu(a @ net["blocks.0.ffn.1.W"].T + net["blocks.0.ffn.1.b"])


z, z_bar = first_z(ours), first_z(target)
print(f"z differs from the target's by {np.max(abs(z - z_bar)):.0e}, with our own frozen W_1")
assert np.allclose(z, z_bar, atol=1e-9)
assert ours["blocks.0.ffn.1.W"] is weights["blocks.0.ffn.1.W"]

# %%
W_2, W_2_bar = weights["blocks.0.ffn.2.W"], target["blocks.0.ffn.2.W"]
C = W_2_bar @ np.linalg.inv(W_2)
b_2 = np.linalg.solve(C, target["blocks.0.ffn.2.b"])
h, h_bar = z @ W_2.T + b_2, z_bar @ W_2_bar.T + target["blocks.0.ffn.2.b"]
print(
    f"h̄ and C h differ by {np.max(abs(h @ C.T - h_bar)):.0e}; "
    f"h̄ and h by {np.max(abs(h - h_bar)):.1f}"
)
assert np.allclose(h @ C.T, h_bar, atol=1e-9)

# %% [markdown]
# `transformer_adapters` goes through all blocks like this. What it returns are params of ordinary adapters: LoRA of
# half the rank on all heads, on the last $W_2$ and on $W_o$, and new biases. All $W_1$, and all $W_2$ but the last,
# stay frozen.

# %%
half = LoRA((D + 1) // 2)
adapters = {"*.heads.*": half, f"blocks.{depth - 1}.ffn.2.W": half, "head.W": half, "*.b": Full()}
attached = attach(weights, adapters, rng=rng)
params = transformer_adapters(weights, target, rng=rng)
merged = attached.merge(params)
print(attached)

# %%
untouched = sorted(weights.keys() - params.keys())
print("frozen:", ", ".join(untouched))
assert untouched == ["blocks.0.ffn.1.W", "blocks.0.ffn.2.W", "blocks.1.ffn.1.W"]
for name in untouched:
    assert merged[name].tobytes() == weights[name].tobytes()  # bitwise identical
    # Although the target has another matrix there
    assert not np.allclose(weights[name], target[name])
error = np.max(abs(plain_transformer(attached.bind(params), X) - plain_transformer(target, X)))
print(f"the adapted network differs from the target by {error:.0e}")
assert error < 1e-8

# %% [markdown]
# As in tutorial 7, this is about rank, not about saving: an adapter of rank $D/2$ on a $D \times D$ matrix holds
# $2 D \cdot D/2 = D^2$ parameters, as many as the matrix. What is gained is that the other matrices are left alone.
#
# And it has a condition: the equations must have solutions, which is certain if all matrices of both networks are
# invertible. A singular $W_1$ has no $F$, and the library says so instead of returning something near.

# %%
broken = weights | {"blocks.0.ffn.1.W": np.zeros((D, D))}
try:
    transformer_adapters(broken, target, rng=rng)
except Unsolvable as error:
    print("Unsolvable:", error)
else:
    raise AssertionError("a network without W_1 was matched")

# %% [markdown]
# ## For every input, length, mask, scale
#
# Nothing in the construction looked at an input. So the same adapters hold for every input, any number of tokens, any
# mask, any scale of the scores (in practice $1/\sqrt D$), and even with another function in the place of softmax,
# because the scores themselves are equal. Vectors for the places, added to the input, are part of the input.

# %%
places = rng.standard_normal((5, D))
long = rng.standard_normal((40, D))
# Every token sees itself, and others by chance
mask = np.eye(5, dtype=bool) | (rng.random((5, 5)) < 0.5)
trials = {
    "one token": lambda net: plain_transformer(net, X[:1]),
    "40 tokens": lambda net: plain_transformer(net, long),
    "causal mask": lambda net: plain_transformer(net, X, causal),
    "a random mask": lambda net: plain_transformer(net, X, lambda n: mask),
    "scores times 1/√D": lambda net: plain_transformer(net, X, scale=D**-0.5),
    "scores times −3": lambda net: plain_transformer(net, X, scale=-3.0),
    "places added to the input": lambda net: plain_transformer(net, X + places),
    "tanh instead of softmax": lambda net: by_hand(net, X, heads, depth, share=np.tanh),
}
kept = {}
for name, run in trials.items():
    kept[name] = np.max(abs(run(merged) - run(target))) / np.max(abs(run(target)))
print(
    aligned(
        [
            ("what is changed in both networks", "relative error"),
            *[(n, f"{e:.0e}") for n, e in kept.items()],
        ]
    )
)
assert max(kept.values()) < 1e-8

# %% [markdown]
# ## Below half the rank
#
# Adapters of rank $R$ on $W_Q$ and $W_K$ change $W_K^\top W_Q$ by rank $2R$ at most, so they miss a generic target by
# at least $\sigma_{2R+1}$, as tutorial 7 says. For $2R < D$ that is not zero. Measure the two sides of it: how far the
# *product* is from its target, and how far the *outputs* are. Only the queries and keys get too small a rank here; the
# rest is matched exactly.

# %%
D = 8
frozen, wanted = network(D, 1, 1), network(D, 1, 1)
adapters = {"*.heads.*": LoRA(4), "blocks.0.ffn.2.W": LoRA(4), "head.W": LoRA(4), "*.b": Full()}
matched = attach(frozen, adapters, rng=rng).merge(transformer_adapters(frozen, wanted, rng=rng))
q, k = "blocks.0.heads.0.q.W", "blocks.0.heads.0.k.W"
pair, goal = [frozen[q], frozen[k].T], wanted[k].T @ wanted[q]

# %%
ranks, inputs = range(6), {N: 0.5 * rng.standard_normal((200, N, D)) for N in (1, 2, 8)}
distance, predicted, wrong = [], [], {N: [] for N in inputs}
for R in ranks:
    new_q, new_k_transposed = add_adapters(pair, adapt_product(pair, goal, ranks=R))
    distance.append(np.linalg.norm(new_k_transposed @ new_q - goal, 2))
    predicted.append(predicted_error(pair, goal, ranks=R)[0])
    tried = matched | {q: new_q, k: new_k_transposed.T}
    for N, tokens in inputs.items():
        missed = plain_transformer(tried, tokens) - plain_transformer(wanted, tokens)
        wrong[N].append(np.max(abs(missed)))

# %%
print("rank          ", *[f"{R:8}" for R in ranks])
for name, line in (
    ("product", distance),
    ("predicted", predicted),
    *[(f"N = {N}", wrong[N]) for N in inputs],
):
    print(f"{name:14}", *[f"{value:8.1e}" for value in line])
assert np.allclose(distance[:4], predicted[:4], rtol=1e-8) and max(distance[4:]) < 1e-10
assert max(wrong[1]) < 1e-9
assert min(wrong[8][:4]) > 1e-4 and max(wrong[8][4:]) < 1e-9

# %%
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.3), sharey=True)
axes[0].semilogy(ranks, np.where(np.array(predicted) > 0, predicted, np.nan), color=BLUE, lw=1)
axes[0].semilogy(ranks, distance, "o", color=BLUE)
for (N, line), colour, marker in zip(wrong.items(), (GREY, ORANGE, GREEN), "s^v"):
    axes[1].semilogy(
        ranks,
        np.maximum(line, 1e-17),
        color=colour,
        marker=marker,
        label=f"{N} token{'s' * (N > 1)}",
    )
for axis in axes:
    axis.axvline(4, color=GREY, ls=":", lw=1)
    axis.annotate("⌈D/2⌉", (4.08, 1e-4), color=GREY)
    axis.set(xlabel="rank of the adapters on W_Q, W_K", xticks=ranks)
axes[0].set(title="the product W_Kᵀ W_Q", ylabel="error")
axes[1].set(title="the outputs")
axes[1].legend(frameon=False, loc="center left")
plt.show()

# %% [markdown]
# Left: the distance of the product is the predicted one (line) at every rank, and falls off a cliff at
# $\lceil D/2 \rceil = 4$. Right: the outputs show the cliff too, but only if there are several tokens. With **one**
# token the error is rounding at *every* rank, even without adapters on $W_Q$ and $W_K$. The reason: a single share must
# be 1, whatever the score, and so queries and keys play no part. Outputs can also hide an error where ReLUs are off.
# That is why claims about "which rank is needed" are tested on the products here, and not on a few outputs.
#
# An odd width rounds up. For $D = 7$, rank 3 on both makes 6 in all and leaves $\sigma_7$; rank 4 leaves nothing.

# %%
odd, odd_goal = [matrix(7), matrix(7)], matrix(7)
for R in (3, 4):
    lower, upper = add_adapters(odd, adapt_product(odd, odd_goal, ranks=R, rng=rng))
    missed = np.linalg.norm(upper @ lower - odd_goal, 2)
    print(f"D = 7, rank {R}: distance {missed:.0e}")
    assert (missed < 1e-10) == (R == 4)

# %% [markdown]
# ## Where the theorem ends
#
# Real Transformers have more parts. What held it together are the freedoms between the two matrices of a pair, and the
# changes of basis $C$ and $F$ that pass from one pair to another. Any part that stands between and does not let them
# pass ends it. One at a time.
#
# **A residual path** adds a part's input to its output, $x \leftarrow x + a$ and $x \leftarrow x + h$. It carries $x$
# itself past the pairs, in its own basis, so that $C$ has to be $I$: no room is left for $W_1$ and $W_2$. What remains
# true: replace $W_1$, $W_2$ and $W_o$ in full, and keep half the rank for the heads. That is `residual_adapters`.

# %%
D = X.shape[1]


def off(net, run):
    return np.max(abs(run(net) - run(target))) / np.max(abs(run(target)))


def with_skips(net):
    return plain_transformer(net, X, residual=True)


wider = attach(weights, {"*.heads.*": half, "*.ffn.*": Full(), "head.W": Full()}, rng=rng)
replaced = wider.merge(residual_adapters(weights, target, rng=rng))
plain_error, full_error = off(merged, with_skips), off(replaced, with_skips)
print(
    f"with a residual path: the adapters from above are {plain_error:.0%} off, "
    f"`residual_adapters` {full_error:.0e}"
)
assert plain_error > 0.01
assert full_error < 1e-9

# %% [markdown]
# **LayerNorm** subtracts from each vector its mean and divides by its standard deviation. The construction would need
# $\mathrm{norm}(C h) = C\,\mathrm{norm}(h)$. That is true for a permutation of the entries, as mean and deviation do
# not care about order; it is not true for the $C = \bar W_2 W_2^{-1}$ that we get.


# %%
def norm(X):
    centred = X - np.mean(X, axis=-1, keepdims=True)
    return centred / np.std(X, axis=-1, keepdims=True)


vectors = rng.standard_normal((100, D))
commutes = {"a permutation": np.eye(D)[rng.permutation(D)], "2 I": 2 * np.eye(D), "our C": C}
commutes = {
    name: np.max(abs(norm(vectors @ M.T) - norm(vectors) @ M.T)) for name, M in commutes.items()
}
for name, error in commutes.items():
    print(f"norm(C h) and C norm(h) differ by {error:.0e} for C = {name}")
assert commutes["a permutation"] < 1e-12 and min(commutes["2 I"], commutes["our C"]) > 0.1


def with_norms(net):
    return by_hand(net, X, heads, depth, norm=norm)


norm_error = off(merged, with_norms)
print(f"with a LayerNorm before each block: the adapters from above are {norm_error:.0%} off")
assert norm_error > 0.01

# %% [markdown]
# **A gated feed-forward part**, as in LLaMA, has two matrices in the place of $W_1$, whose outputs are multiplied entry
# by entry. Each asks for an $F$ of its own, $W_g F = \bar W_g$ and $W_u F = \bar W_u$, but both see the same input.

# %%
gates, wanted_gates = np.vstack([matrix(D), matrix(D)]), np.vstack([matrix(D), matrix(D)])
F = np.linalg.lstsq(gates, wanted_gates, rcond=None)[0]
gate_error = np.linalg.norm(gates @ F - wanted_gates) / np.linalg.norm(wanted_gates)
print(f"the best common F leaves {gate_error:.0%} of both")
assert gate_error > 0.01

# %% [markdown]
# **Rotated positions and stacked heads.** In these two, one pair of matrices has to serve *several* products.
#
# - *Rotated positions* (RoPE) turn queries and keys by angles that grow with their place, so that tokens at distance
#   $\delta$ have the scores $x_j^\top (W_K^\top R_\delta W_Q)\, x_i$: one product for each distance.
# - *Stacked heads* are how nearly every library stores them: one $D \times D$ matrix $W_Q$ whose rows are divided among
#   $H$ heads, with one adapter. Head $h$ has the scores $x_j^\top (W_K^\top S_h W_Q)\, x_i$ with an $S_h$ that keeps
#   only its rows.
#
# How much can such adapters reach? Count dimensions: take the derivative of all these products with respect to all
# parameters of the adapters. Its rank, at a random place, is the number of independent directions in which the products
# can move. Where it is smaller than with adapters of full rank, almost no target can be reached.


# %%
def dimension(between, rank):
    D = len(between[0])
    Q, K = matrix(D), matrix(D)

    def products(theta):
        new_q, new_k = Q + theta[0] @ theta[1].T, K + theta[2] @ theta[3].T
        return np.concatenate([np.ravel(new_k.T @ S @ new_q) for S in between])

    derivative = jacobian(products)(rng.standard_normal((4, D, rank)))
    return int(np.linalg.matrix_rank(derivative.reshape(len(derivative), -1), tol=1e-8))


def turn(D, distance):
    R = np.zeros((D, D))
    for plane in range(D // 2):
        angle, own = distance * 0.7 / 3**plane, slice(2 * plane, 2 * plane + 2)
        R[own, own] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return R


def rows(D, heads):
    return [
        np.diag(np.repeat(np.arange(heads) == h, D // heads).astype(float)) for h in range(heads)
    ]


# %%
D = 6
cases = {
    "one head": [np.eye(D)],
    "RoPE, distances 0 … 4": [turn(D, distance) for distance in range(5)],
}
cases |= {f"{heads} stacked heads": rows(D, heads) for heads in (2, 3, 6)}
table, smallest = [("D = 6", *[f"rank {rank}" for rank in range(1, D + 1)], "smallest")], {}
for name, between in cases.items():
    reached = [dimension(between, rank) for rank in range(1, D + 1)]
    smallest[name] = 1 + reached.index(reached[-1])
    table.append((name, *map(str, reached), str(smallest[name])))
print("dimensions that the scores of adapters of each rank reach; rank 6 replaces both matrices\n")
print(aligned(table))
assert smallest["one head"] == 3
assert smallest["RoPE, distances 0 … 4"] > 3
# 2 R (2 D − R) parameters that count, against D (2 D − D / H) of the targets
for heads in (
    2,
    3,
    6,
):
    assert smallest[f"{heads} stacked heads"] == np.ceil(D - D / np.sqrt(2 * heads) - 1e-9)

# %% [markdown]
# One head: everything from rank 3 = D/2 on, as the theorem says. RoPE, and stacked heads from three on, do not get
# there with half the rank. For $H \ge 2$ stacked heads the count is simple: two adapters of rank $R$ reach
# $2R(2D - R)$ dimensions, the scores of all heads have $D(2D - D/H)$, and the first catches up with the second at
# $R = D - D/\sqrt{2H}$. With many heads that is nearly $D$. (This shows what is *not* enough. It does not construct
# adapters at the rank where the counts meet, and a particular target may need less.)
#
# All in one table:

# %%
results = [("part", "does half the rank still do?", "seen here")]
results += [(name, "yes", f"error {error:.0e}") for name, error in kept.items()]
results += [
    ("residual path", "no; W_1, W_2, W_o in full: yes", f"{plain_error:.0%} off; {full_error:.0e}"),
    ("LayerNorm", "no, C does not pass", f"{norm_error:.0%} off"),
    ("gated feed-forward part", "no, two F are asked for", f"{gate_error:.0%} of both left"),
    (
        "rotated positions",
        "no, too few dimensions",
        f"rank {smallest['RoPE, distances 0 … 4']} of 6 at least",
    ),
    (
        "six stacked heads",
        "no, too few dimensions",
        f"rank {smallest['6 stacked heads']} of 6 at least",
    ),
]
print(aligned(results))

# %% [markdown]
# So for the networks that people really fine-tune, this theorem is not a promise. It explains why adapters on attention
# go far, it says exactly which freedoms that rests on, and it tells you where to look when they are not enough.
#
# ## Exercises
#
# ### Exercise 1 (easy): when queries and keys play no part
#
# With one token, $W_Q$ and $W_K$ do not matter. Find another kind of input, with many tokens, for which they do not
# matter either. Check it on the network `weights` by replacing all its queries and keys by random ones.

# %% tags=["hide-cell"]
# Solution 1: equal tokens. Whatever the shares are, a mixture of equal values is that value.
shuffled = {name: matrix(6) if name.endswith(("q.W", "k.W")) else W for name, W in weights.items()}
for name, tokens in (("equal tokens", np.repeat(X[:1], 5, axis=0)), ("different tokens", X)):
    moved = np.max(abs(plain_transformer(shuffled, tokens) - plain_transformer(weights, tokens)))
    print(f"{name}: outputs move by {moved:.0e}")
    assert (moved < 1e-10) == (name == "equal tokens")

# %% [markdown]
# ### Exercise 2 (medium): queries and values only
#
# LoRA's authors, and many after them, adapt $W_Q$ and $W_V$ and leave $W_K$ and $W_O$ frozen. Which rank does an
# arbitrary target need then, in a single head? Predict the distance of $W_K^\top W_Q$ at each rank, and compare with
# the same number of trainable parameters spent on both.
#
# <details><summary>Hint</summary>
#
# `adapt_product` and `predicted_error` take a rank for each of the two matrices, and one of them may be 0.
#
# </details>

# %% tags=["hide-cell"]
# Solution 2: rank D. Only the sum of the ranks counts, so rank 2R on W_Q alone does what rank R on both does.
for R in range(5):
    alone, both = adapt_product(pair, goal, [2 * R, 0]), adapt_product(pair, goal, [R, R])
    lower, upper = add_adapters(pair, alone)
    missed = np.linalg.norm(upper @ lower - goal, 2)
    print(
        f"rank {2 * R} on W_Q alone: {missed:.2e}; "
        f"rank {R} on W_Q and W_K: {predicted_error(pair, goal, R)[0]:.2e}"
    )
    assert np.isclose(missed, predicted_error(pair, goal, R)[0], atol=1e-9)
    assert sum(own["A"].size for own in alone) == sum(own["A"].size for own in both)
assert predicted_error(pair, goal, [7, 0])[0] > 1e-3

# %% [markdown]
# ### Exercise 3 (hard): keys that are shared
#
# To save memory, many models let several heads share one $W_K$, while each has a $W_Q$ of its own. Count, as above,
# which rank is not enough for $H = 1, 2, 4, 8$ heads that share their keys, with adapters on $W_K$ and on every $W_Q$.
# Is it more or less than for heads with keys of their own?
#
# <details><summary>Hint</summary>
#
# One product $W_K^\top W_{Q,h}$ for each head. In the derivative, `theta` now has $2(H + 1)$ blocks.
#
# </details>

# %% tags=["hide-cell"]
# Solution 3: more, once there are many heads: all products have to share what the adapter on W_K adds.


def shared_keys(D, heads, rank):
    frozen = [matrix(D) for _ in range(heads + 1)]

    def products(theta):
        K, *Qs = [W + B @ A.T for W, (B, A) in zip(frozen, theta)]
        return np.concatenate([np.ravel(K.T @ Q) for Q in Qs])

    derivative = jacobian(products)(rng.standard_normal((heads + 1, 2, D, rank)))
    return int(np.linalg.matrix_rank(derivative.reshape(len(derivative), -1), tol=1e-8))


enough = {}
for heads in (1, 2, 4, 8):
    reached = [shared_keys(4, heads, rank) for rank in range(1, 5)]
    enough[heads] = 1 + reached.index(heads * 16)
    print(
        f"H = {heads}, D = 4: dimensions {reached} of {heads * 16}; "
        f"ranks below {enough[heads]} are not enough"
    )
assert enough == {1: 2, 2: 2, 4: 3, 8: 3}  # with keys of its own, each head needs 2 = D/2

# %% [markdown]
# ## Where to go next
#
# [Tutorial 10](10_reach.py) asks the same for one matrix and for every adapter of this library: which changes can each
# of them make, and how near does it come to the others?
#
# ## References
#
# - Y. Zeng and K. Lee, 2023, *The Expressive Power of Low-Rank Adaptation*,
#   [arXiv 2310.17513](https://arxiv.org/abs/2310.17513): the theorem on Transformers. The statement here is in our own
#   words, with conditions that we tested; the residual variant and the reasons where it ends are this library's.
# - A. Vaswani et al., 2017, *Attention Is All You Need*, [arXiv 1706.03762](https://arxiv.org/abs/1706.03762).
# - E. Hu et al., 2021, *LoRA*, [arXiv 2106.09685](https://arxiv.org/abs/2106.09685).
