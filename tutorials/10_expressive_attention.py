# %% [markdown]
# # Expressive power III: adapters of half the rank turn one attention network into another
#
# **You will learn**
#
# - what attention is, from scratch, and that it sees its four matrices only as two products of two;
# - why adapters of half the rank therefore suffice, for every input, length and mask; where no smaller rank does, and
#   where one does;
# - where this ends: residual paths, LayerNorm, rotated positions, gates and stacked heads, each with a number, and
#   whether it is only our construction that fails there, or no such adapters exist.
#
# **Before this:** [lesson 8](08_expressive_linear.py) (products of adapted matrices), [lesson
# 9](09_expressive_relu.py) (ReLUs). **Time:** 55 minutes to read, 10 seconds to run.
#
# In a Transformer, LoRA sits on the matrices of attention. Suppose somebody has another Transformer of the same size,
# with entirely different weights. Which rank turns ours into theirs? Full rank, $D$, suffices: replace every matrix.
# For attention in its plainest form half of it suffices, and of all feed-forward matrices only the last one gets an
# adapter. The Transformers in use have more parts, and you will see what each of them changes.

# %%
from minilora.cli.lesson import BLUE, GREEN, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import autograd.numpy as np  # NumPy, but autograd can differentiate through it
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)

# %% [markdown]
# ## Attention from scratch
#
# The input is a sequence of $N$ *tokens*, in a language model one for each letter or word. Each token is a vector of
# $D$ numbers, $x_1, \dots, x_N$, the rows of $X$. An MLP would treat each one alone. [*Attention*](glossary.md#attention) lets every token
# collect something from the others. For token $i$ it goes like this:
#
# - token $i$ has a [*query*](glossary.md#query-key-value) $q_i = W_Q x_i$, and every token $j$ a *key* $k_j = W_K x_j$;
# - the [*score*](glossary.md#score) of $j$ for $i$ is the inner product $k_j \cdot q_i$, large where key and query point the same way;
# - *softmax* makes shares of the scores: $p_{ij} = e^{k_j \cdot q_i} / \sum_{j'} e^{k_{j'} \cdot q_i}$, which are
#   positive and add up to 1 for each $i$ (the [*attention weights*](glossary.md#attention-weights));
# - token $i$ receives the mixture of the *values* $W_V x_j$ in these shares, and $W_O$ maps it to the output:
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
print("outputs", outputs.shape, "  shares", shares.shape)
print("rows of shares add up to", shares.sum(axis=1).round(12))
assert np.allclose(shares.sum(axis=1), 1)

# %% [markdown]
# Without the loops it is two lines, and the scores of all pairs of tokens are one product of matrices. A *mask* says
# which tokens each token may see: a language model must not look at the tokens it is to predict, so token $i$ sees only
# $j \le i$ (a *causal* mask). The other scores are set to $-\infty$, and their share is 0.

# %%
from minilora import causal


def softmax(scores):
    # What is subtracted cancels out
    powers = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return powers / np.sum(powers, axis=-1, keepdims=True)


scores = X @ W_Q.T @ W_K @ X.T  # scores[i, j] = k_j · q_i
assert np.allclose(softmax(scores), shares)
assert np.allclose(softmax(scores) @ X @ W_V.T @ W_O.T, outputs)
seen = softmax(np.where(causal(6), scores, -np.inf))
assert np.allclose(seen, np.tril(seen))

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.4), sharey=True)
for axis, p, title in zip(axes, (shares, seen), ("every token sees all", "causal mask")):
    axis.imshow(p, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.argwhere(p > 0):
        colour = "white" if p[i, j] > 0.6 else "black"
        axis.text(j, i, f"{p[i, j]:.2f}", ha="center", va="center", size=8, color=colour)
    axis.set(title=title, xlabel="token j that is seen", xticks=range(6), yticks=range(6))
axes[0].set_ylabel("token i that looks")
# alt: Two tables of shares, six tokens by six. Left: every token has a share for all. Right, with the causal mask, only the lower left triangle is filled.
plt.show()

# %% [markdown]
# ## It sees its four matrices only as two products
#
# > **Lemma (two products).** The output of attention depends on its four matrices only through $W_K^\top W_Q$ and
# > $W_O W_V$.
#
# **Proof.** The scores are $k_j \cdot q_i = x_j^\top (W_K^\top W_Q)\, x_i$. The shares are plain numbers, so they
# commute with the matrices: $a_i = (W_O W_V) \sum_j p_{ij} x_j$. ∎
#
# Call $W_Q, W_K$ and $W_V, W_O$ the two [*pairs*](glossary.md#pair) of an attention. Put any invertible $G$ between the
# two matrices of a pair and its inverse behind it, and nothing changes. (Physicists call this *gauge freedom*.)

# %%
G, H = matrix(D), matrix(D)
before = W_Q, W_K, W_V, W_O
after = G @ W_Q, np.linalg.inv(G).T @ W_K, H @ W_V, W_O @ np.linalg.inv(H)
moved = [np.max(abs(new - old)) for new, old in zip(after, before)]
print("the matrices differ by", *[f"{change:.1f}" for change in moved])
new_outputs, new_shares = attend(*after, X)
print(f"the outputs differ by {np.max(abs(new_outputs - outputs)):.0e}")
assert np.max(abs(new_shares - shares)) < 1e-14 and np.max(abs(new_outputs - outputs)) < 1e-13
assert min(moved) > 0.5

# %% [markdown]
# ## Half the rank, by hand
#
# So do not aim for the target's matrices $\bar W_Q, \bar W_K$, which for a generic target needs rank $D$. Aim for their
# product. A product of two frozen invertible matrices with adapters reaches any matrix when the two ranks add up to $D$
# ([lesson 8](08_expressive_linear.py)). Hence rank $\lceil D/2 \rceil$ on each suffices:
#
# $$\begin{aligned} W'^\top_K W'_Q &= \bar W_K^\top \bar W_Q, \cr
#   W'_O W'_V &= \bar W_O \bar W_V. \end{aligned} \tag{1}$$
#
# The later factor of the first product is $W_K^\top$. An adapter $BA$ on $W_K^\top$ is the adapter $A^\top B^\top$ on
# $W_K$.

# %%
from minilora.theorems.chain import add_adapters
from minilora.theorems.linear import adapt_product

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
assert np.max(abs(got - wanted)) < 1e-12
for new, old in zip((new_q, new_k, new_v, new_o), (W_Q, W_K, W_V, W_O)):
    assert np.linalg.matrix_rank(new - old, tol=1e-9) == D // 2
assert np.max(abs(new_q - Q_bar)) > 0.5

# %% [markdown]
# The outputs are the target's, to rounding, and yet $W'_Q$ is not the target's matrix: it is $G \bar W_Q$ with some
# invertible $G$.
#
# ## The whole network
#
# The network of the theorem is as plain as possible. Each block has several [*heads*](glossary.md#head), each of them
# an attention with four $D \times D$ matrices of its own, and adds up their outputs $a_i$. Then a *feed-forward part*
# treats every token alone: $z_i = \mathrm{relu}(W_1 a_i + b_1)$ and $h_i = W_2 z_i + b_2$, and $h_i$ is the next
# block's $x_i$. At the end $y_i = W_o h_i$. ($W_o$, `head.W` in the code, is one matrix for the whole network, and not
# the $W_O$ of a head.) There is no residual path and no LayerNorm (they come in the last section).

# %%
from minilora import relu


def network(D, heads, depth):
    weights = {}
    for block in range(depth):
        weights |= {
            f"blocks.{block}.heads.{h}.{part}.W": matrix(D) for h in range(heads) for part in "qkvo"
        }
        for number in (1, 2):
            weights[f"blocks.{block}.ffn.{number}.W"] = matrix(D)
            weights[f"blocks.{block}.ffn.{number}.b"] = 0.3 * rng.standard_normal(D)
    return weights | {"head.W": matrix(D)}


def T(W):
    return np.swapaxes(W, -1, -2)  # transposed; later W is a stack of many matrices


def by_hand(weights, X, heads, depth, share=softmax, norm=lambda X: X):
    for block in (f"blocks.{number}" for number in range(depth)):
        X, a = norm(X), 0
        for head in (f"{block}.heads.{number}" for number in range(heads)):
            W_Q, W_K, W_V, W_O = (weights[f"{head}.{part}.W"] for part in "qkvo")
            scores = X @ (T(W_Q) @ W_K) @ T(X)
            a = a + share(scores) @ X @ T(W_O @ W_V)
        z = relu(a @ T(weights[f"{block}.ffn.1.W"]) + weights[f"{block}.ffn.1.b"])
        X = z @ T(weights[f"{block}.ffn.2.W"]) + weights[f"{block}.ffn.2.b"]
    return X @ T(weights["head.W"])


# %%
from minilora.theorems.transformer import plain_transformer

heads, depth = 2, 2
weights, target = network(D, heads, depth), network(D, heads, depth)
wanted = plain_transformer(target, X)
assert np.allclose(by_hand(weights, X, heads, depth), plain_transformer(weights, X))
apart = np.max(abs(plain_transformer(weights, X) - wanted))
print(f"without adapters the outputs of the two networks differ by up to {apart:.1f}")
assert apart > 1

# %% [markdown]
# > **What do you expect?** The target has other $W_1$ and $W_2$ too, in both blocks. Of the four feed-forward matrices,
# > (a) all need an adapter; (b) half of them do; (c) one adapter, on the last $W_2$, suffices.
#
# The pairs have room for more than their own target, as follows.
#
# **$W_1$.** The target computes $\bar W_1 \bar a$. We want $W_1 a$ to be that. With $F = W_1^{-1} \bar W_1$ it is
# $W_1 F \bar a$: so let the value pair of every head make $F$ times the target's output,
# $W'_O W'_V = F\, \bar W_O \bar W_V$. Then $z = \bar z$ after the ReLU, with $b'_1 = \bar b_1$.
#
# **$W_2$.** Now $z$ is right, and $h = W_2 z + b'_2$ where the target has $\bar h = \bar W_2 z + \bar b_2$. With
# $C = \bar W_2 W_2^{-1}$ and $C b'_2 = \bar b_2$ it follows that $\bar h = C h$: the block's output is right up to a
# known change of basis. The next block undoes it, inside its pairs:
#
# $$\begin{aligned} W'^\top_K W'_Q &= C^\top\, \bar W_K^\top \bar W_Q\, C, \cr
#   W'_O W'_V &= F\, \bar W_O \bar W_V\, C. \end{aligned} \tag{2}$$
#
# **The end.** After the last block there is one more pair, $W'_o W'_2 = \bar W_o \bar W_2$, and the last bias solves
# $W'_o b'_2 = \bar W_o \bar b_2$ ($W'_o$ is invertible, as $W'_o W'_2$ is).
#
# > **Theorem (Zeng & Lee, 2023).** Let two plain networks have the same shape, and let all their matrices be invertible.
# > Then adapters of rank $\lceil D/2 \rceil$ on $W_Q$, $W_K$, $W_V$, $W_O$ of every head, on the last $W_2$ and on
# > $W_o$, together with new biases, make the one network equal to the other on every input. All $W_1$, and all $W_2$ but
# > the last, stay frozen.
#
# **Proof.** These are the three steps above. Every right-hand side is a known matrix, and every left-hand side is a
# product of two invertible matrices with adapters, whose ranks add up to $D$ or more. It reaches the right-hand side by
# the theorem of [lesson 8](08_expressive_linear.py). ∎
#
# So the answer is (c).
#
# Here it is by hand. One function for a block, given the $C$ of the block before it; $C = I$ before the first.


# %%
def match_block(weights, target, block, C):
    w1, b1 = f"{block}.ffn.1.W", f"{block}.ffn.1.b"
    F = np.linalg.solve(weights[w1], target[w1])
    matched = weights | {b1: target[b1]}
    for head in (f"{block}.heads.{number}" for number in range(heads)):
        q, k, v, o = (f"{head}.{part}.W" for part in "qkvo")
        queries_keys, values_out = [weights[q], weights[k].T], [weights[v], weights[o]]
        found = adapt_product(queries_keys, C.T @ target[k].T @ target[q] @ C, ranks=D // 2)
        matched[q], new_k_transposed = add_adapters(queries_keys, found)
        matched[k] = new_k_transposed.T
        found = adapt_product(values_out, F @ target[o] @ target[v] @ C, ranks=D // 2)
        matched[v], matched[o] = add_adapters(values_out, found)
    return matched


def first_z(net):
    a = sum(
        attend(*[net[f"blocks.0.heads.{h}.{part}.W"] for part in "qkvo"], X)[0]
        for h in range(heads)
    )
    return relu(a @ net["blocks.0.ffn.1.W"].T + net["blocks.0.ffn.1.b"])


ours = match_block(weights, target, "blocks.0", np.eye(D))
z, z_bar = first_z(ours), first_z(target)
print(f"z differs from the target's by {np.max(abs(z - z_bar)):.0e}, with our own frozen W_1")
assert np.max(abs(z - z_bar)) < 1e-12
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
assert np.max(abs(h @ C.T - h_bar)) < 1e-12
assert np.max(abs(h - h_bar)) > 0.5

# %% [markdown]
# The second block takes this $C$ into its pairs. It is the last one here, so the pair of the end follows.


# %%
def match_end(weights, target, w2="blocks.1.ffn.2.W", b2="blocks.1.ffn.2.b"):
    pair = [weights[w2], weights["head.W"]]
    W_2, W_o = add_adapters(pair, adapt_product(pair, target["head.W"] @ target[w2], D // 2))
    return weights | {
        w2: W_2,
        "head.W": W_o,
        b2: np.linalg.solve(W_o, target["head.W"] @ target[b2]),
    }


ours = match_block(ours | {"blocks.0.ffn.2.b": b_2}, target, "blocks.1", C)
ours = match_end(ours, target)
error = np.max(abs(by_hand(ours, X, heads, depth) - wanted))
print(f"the whole network, by hand: {error:.0e} from the target")
assert error < 1e-11

# %% [markdown]
# `transformer_adapters` does the same for any number of blocks. What it returns are params of ordinary adapters.

# %%
from minilora import Full, LoRA, attach
from minilora.theorems.transformer import transformer_adapters

half = LoRA((D + 1) // 2)
adapters = {"*.heads.*": half, f"blocks.{depth - 1}.ffn.2.W": half, "head.W": half, "*.b": Full()}
attached = attach(weights, adapters, rng=rng)
params = transformer_adapters(weights, target, rng=rng)
merged = attached.merge(params)
print(attached)
assert all(np.allclose(merged[name], ours[name]) for name in weights)

# %%
untouched = sorted(weights.keys() - params.keys())
print("frozen:", ", ".join(untouched))
assert untouched == ["blocks.0.ffn.1.W", "blocks.0.ffn.2.W", "blocks.1.ffn.1.W"]
for name in untouched:
    assert merged[name].tobytes() == weights[name].tobytes()  # bitwise identical
    # Although the target has another matrix there
    assert np.max(abs(weights[name] - target[name])) > 0.5
error = np.max(abs(plain_transformer(attached.bind(params), X) - wanted))
print(f"the adapted network differs from the target by {error:.0e}")
assert error < 1e-11

# %% [markdown]
# As in lesson 8, this is about rank, not about saving: an adapter of rank $D/2$ on a $D \times D$ matrix holds
# $2 D \cdot D/2 = D^2$ parameters, as many as the matrix. What is gained is that the other matrices are left alone.
#
# And it has a condition: the equations must have solutions. They have if all matrices of both networks are invertible,
# and in some other cases. With a singular $W_1$ there is in general no $F$, so that this construction fails. The
# library says so instead of returning something near.

# %%
from minilora.theorems.chain import Unsolvable

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
# Nothing in the construction looked at an input. So the same adapters are exact for every input, any number of tokens,
# any mask, any scale of the scores (in practice $1/\sqrt D$ when a head has $D$ rows), and even with another function
# instead of softmax, because the scores themselves are equal. Both networks must have the same mask, scale and
# function, of course. Vectors for the positions, added to the input, are part of the input.

# %%
from minilora.tables import aligned

positions = rng.standard_normal(X.shape)
long = rng.standard_normal((40, D))
# Every token sees itself, and others by chance
mask = np.eye(6, dtype=bool) | (rng.random((6, 6)) < 0.5)
trials = {
    "one token": lambda net: plain_transformer(net, X[:1]),
    "40 tokens": lambda net: plain_transformer(net, long),
    "causal mask": lambda net: plain_transformer(net, X, causal),
    "a random mask": lambda net: plain_transformer(net, X, lambda n: mask),
    "scores over sqrt(D)": lambda net: plain_transformer(net, X, scale=D**-0.5),
    "scores times −3": lambda net: plain_transformer(net, X, scale=-3.0),
    "positions added to the input": lambda net: plain_transformer(net, X + positions),
    "tanh instead of softmax": lambda net: by_hand(net, X, heads, depth, share=np.tanh),
}


def off(net, run):
    return np.max(abs(run(net) - run(target))) / np.max(abs(run(target)))


kept = {name: off(merged, run) for name, run in trials.items()}
rows = [(name, f"{error:.0e}") for name, error in kept.items()]
print(aligned([("what is changed in both networks", "relative error"), *rows]))
assert max(kept.values()) < 1e-11
assert min(off(weights, run) for run in trials.values()) > 0.3

# %% [markdown]
# ## Below half the rank
#
# > **Lemma (queries and keys of the first block).** Adapters of rank $R$ on $W_Q$ and $W_K$ leave
# > $\lVert W'^\top_K W'_Q - \bar W_K^\top \bar W_Q \rVert_2 \ge \sigma_{2R+1}$, a singular value of
# > $\bar W_K^\top \bar W_Q - W_K^\top W_Q$. For a generic target this matrix is invertible, and no rank below $D/2$
# > reaches the product.
#
# **Proof.** They change the product by rank $2R$ at most: the lower bound of [lesson 8](08_expressive_linear.py). ∎
#
# (In a later block the goal depends on $C$, and we claim no lower bound.) Measure both: how far the *product* is from
# its target, and how far the *outputs* are. Only the queries and keys get too small a rank here; the rest is matched
# exactly.
#
# > **What do you expect?** With one token in the input, and with rank 0 on $W_Q$ and $W_K$, the outputs are off (a) by
# > about as much as with eight tokens; (b) by less; (c) by rounding only.

# %%
frozen, other = network(D, 1, 1), network(D, 1, 1)
q, k = "blocks.0.heads.0.q.W", "blocks.0.heads.0.k.W"
pair, goal = [frozen[q], frozen[k].T], other[k].T @ other[q]


def with_adapters(weights, params):
    adapters = {name: LoRA(len(own["A"])) if "A" in own else Full() for name, own in params.items()}
    return attach(weights, adapters, rng=rng).merge(params)


# %%
from minilora.theorems.linear import predicted_error
from minilora.theorems.transformer import sufficient_ranks

ranks, inputs = range(6), {N: 0.5 * rng.standard_normal((200, N, D)) for N in (1, 2, 8)}
distance, predicted, wrong = [], [], {N: [] for N in inputs}
for R in ranks:
    own = dict.fromkeys(sufficient_ranks(frozen, other), D // 2) | {q: R, k: R}
    tried = with_adapters(frozen, transformer_adapters(frozen, other, own, rng=rng))
    distance.append(np.linalg.norm(tried[k].T @ tried[q] - goal, 2))
    predicted.append(predicted_error(pair, goal, ranks=R)[0])
    for N, tokens in inputs.items():
        missed = plain_transformer(tried, tokens) - plain_transformer(other, tokens)
        wrong[N].append(np.max(abs(missed)))

# %%
print("rank          ", *[f"{R:8}" for R in ranks])
for name, line in (
    ("product", distance),
    ("predicted", predicted),
    *[(f"N = {N}", wrong[N]) for N in inputs],
):
    print(f"{name:14}", *[f"{value:8.1e}" for value in line])
assert np.allclose(distance[:4], predicted[:4], rtol=1e-8) and max(distance[4:]) < 1e-12
assert max(wrong[1]) < 1e-12
assert min(wrong[8][:4]) > 0.1 and max(wrong[8][4:]) < 1e-12

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.3), sharey=True)
axes[0].semilogy(ranks, np.where(np.array(predicted) > 0, predicted, np.nan), color=BLUE, lw=1)
axes[0].semilogy(ranks, distance, "o", color=BLUE)
for (N, line), colour, marker in zip(wrong.items(), (GREY, ORANGE, GREEN), "s^v"):
    label, line = f"{N} token{'s' * (N > 1)}", np.maximum(line, 1e-17)
    axes[1].semilogy(ranks, line, color=colour, marker=marker, label=label)
for axis in axes:
    axis.axvline(4, color=GREY, ls=":", lw=1)
    axis.annotate("⌈D/2⌉", (4.08, 1e-4), color=GREY)
    axis.set(xlabel="rank of the adapters on W_Q, W_K", xticks=ranks)
axes[0].set(title="the product W_Kᵀ W_Q", ylabel="error")
axes[1].set(title="the outputs")
axes[1].legend(frameon=False, loc="center left")
# alt: Error against rank, logarithmic. Left: the product drops to rounding at rank 4. Right: so do the outputs for 2 and 8 tokens; for one token they are at rounding at every rank.
plt.show()

# %% [markdown]
# (c). Left: the distance of the product is the predicted one (line) at every rank, and drops to rounding at
# $\lceil D/2 \rceil = 4$. Right: so do the outputs, but only if there are several tokens. With *one* token the error is
# rounding at *every* rank, even without adapters on $W_Q$ and $W_K$. The reason: a single share must be 1, whatever the
# score, and so queries and keys have no effect. Outputs can also hide an error where ReLUs are off. That is why the
# bound is about the product, and not about a few outputs.
#
# An odd width rounds up. For $D = 7$, rank 3 on both makes 6 in all and leaves $\sigma_7$; rank 4 leaves rounding only.

# %%
odd, odd_goal = [matrix(7), matrix(7)], matrix(7)
smallest_gap = np.linalg.svd(odd_goal - odd[1] @ odd[0], compute_uv=False)[6]
for R, left_over in ((3, smallest_gap), (4, 0.0)):
    lower, upper = add_adapters(odd, adapt_product(odd, odd_goal, ranks=R, rng=rng))
    missed = np.linalg.norm(upper @ lower - odd_goal, 2)
    print(f"D = 7, rank {R}: distance {missed:.0e}")
    assert abs(missed - left_over) < 1e-12
assert smallest_gap > 0.05

# %% [markdown]
# ## Where less suffices
#
# **Gaps of low rank.** $\lceil D/2 \rceil$ is for a target that has nothing to do with ours. What counts is the
# [*gap*](glossary.md#gap) of each pair: the right-hand side of (2) minus the frozen product. A pair whose gap has rank
# $g$ takes adapters whose ranks add up to $g$, such as $\lceil g/2 \rceil$ on both; the paper states its theorem in
# this way. Let the target differ from our network by a change of rank 1 in one $W_Q$, in one $W_V$ and in the first
# $W_2$, and by all biases. The $W_2$ stays frozen, so its change shows up as a $C$ that differs from $I$ by rank 1, and
# in the next block $C^\top \bar W_K^\top \bar W_Q\, C$ differs by rank 2 in every head. `sufficient_ranks` counts that.

# %%
close = {name: W if W.ndim == 2 else 0.3 * rng.standard_normal(D) for name, W in weights.items()}
for name in ("blocks.0.heads.1.q.W", "blocks.1.heads.0.v.W", "blocks.0.ffn.2.W"):
    close[name] = close[name] + np.outer(rng.standard_normal(D), rng.standard_normal(D)) / D
suffice = sufficient_ranks(weights, close)
few = [name for name, rank in suffice.items() if rank]
print(f"rank {max(suffice.values())} on {len(few)} of {len(suffice)} matrices:", *few, sep="\n")
closed = with_adapters(weights, transformer_adapters(weights, close, suffice, rng=rng))
wanted = plain_transformer(close, X)
before, after = (np.max(abs(plain_transformer(net, X) - wanted)) for net in (weights, closed))
print(f"the outputs differ by {before:.1f} without adapters, {after:.0e} with them")
assert set(suffice.values()) == {0, 1} and len(few) == 10
assert after < 1e-11 and before > 0.3

# %% [markdown]
# **Values and outputs.** For queries and keys of the first block $\lceil D/2 \rceil$ is needed to reach the product,
# when the target is generic. For values and outputs it is not: the ReLU lets positive factors through,
# $\mathrm{relu}(t u) = t\,\mathrm{relu}(u)$ for $t > 0$. So the target with $t \bar W_1$, $t \bar b_1$ and
# $\bar W_2 / t$ is the same function, but for our construction another target: its $F$ is $t$ times as large. The gap
# $t\, F \bar W_O \bar W_V - W_O W_V$ loses a rank when $t$ is an eigenvalue of $(F \bar W_O \bar W_V)^{-1} W_O W_V$. If
# one of these is positive, and $D = 3$, then rank 1 on $W_V$ and $W_O$ suffices, where the theorem has rank 2. How
# often is that so, for one block with one head?

# %%
v, o = "blocks.0.heads.0.v.W", "blocks.0.heads.0.o.W"
w1, b1, w2 = "blocks.0.ffn.1.W", "blocks.0.ffn.1.b", "blocks.0.ffn.2.W"
lowered, tokens = [], 0.5 * rng.standard_normal((50, 4, 3))
for _ in range(20):
    frozen, other = network(3, 1, 1), network(3, 1, 1)
    values = np.linalg.solve(frozen[w1], other[w1]) @ other[o] @ other[v]
    factors = np.linalg.eigvals(np.linalg.solve(values, frozen[o] @ frozen[v]))
    positive = factors.real[(abs(factors.imag) < 1e-9) & (factors.real > 0)]
    assert sufficient_ranks(frozen, other)[v] == 2
    if len(positive):
        t = positive[0]
        same = other | {w1: t * other[w1], b1: t * other[b1], w2: other[w2] / t}
        suffice = sufficient_ranks(frozen, same)
        assert suffice[v] == suffice[o] == 1
        tried = with_adapters(frozen, transformer_adapters(frozen, same, suffice, rng=rng))
        missed = plain_transformer(tried, tokens) - plain_transformer(other, tokens)
        lowered.append(np.max(abs(missed)))
print(f"rank 1 on W_V and W_O suffices for at least {len(lowered)} of 20 pairs of networks, D = 3")
print(f"their outputs differ by {max(lowered):.0e} at most")
assert 9 <= len(lowered) <= 19 and max(lowered) < 1e-9

# %% [markdown]
# A factor for each unit of its own would be more freedom still. Which rank values and outputs *need* we do not know,
# and `transformer_adapters` does not look for such factors.
#
# ## Optional: the construction against training
#
# This section repeats an experiment of the paper; the next one does not need it. How near does the construction come
# with too small a rank? `transformer_adapters` then gives each pair the best approximation of its right-hand side. The
# paper compares this with what training finds at the same rank: Adam on adapters and biases, with $B = 0$ at the start,
# fresh inputs in every step, and the target's outputs as labels. It does so for a random frozen network, and for a
# *pretrained* one: trained in full on the target until the loss is a third. We repeat both in small: width 6, one
# block, two heads, 4 tokens, and 200 steps at one learning rate. (The authors' code has width 16, one and two blocks,
# 10 tokens, and 5,000 steps with the best of twelve settings.) Ours are the rank 0, which is new biases only, and a
# third frozen network, each of whose matrices is the target's plus a small change: one with singular values ½, ¼, ⅛ and
# so on.
#
# > **What do you expect?** For which of the three frozen networks is a rank below $\lceil D/2 \rceil = 3$ exact with the
# > construction? (a) the pretrained one and that of the small change; (b) that of the small change; (c) none.

# %%
from minilora import adam, adam_start, learning_rate, value_and_grad


def descend(loss, params, steps, lr, stop=0.0):
    state, start = adam_start(params), None
    for step in range(steps):
        value, grads = value_and_grad(loss, params, 0.5 * rng.standard_normal((16, 4, width)))
        start = start or value
        if value < stop * start:
            break
        params, state = adam(params, grads, state, learning_rate(step, steps, lr))
    return params


def squared_errors(nets, goals, X):
    return np.mean((by_hand(nets, X, 2, 1) - by_hand(goals, X, 2, 1)) ** 2, axis=(-3, -2, -1))


def stack(networks, *axes):  # one array for each name: the axes, then one for sequences
    rows = {name: (*axes, 1, -1, width) for name in networks[0]}
    return {name: np.array([net[name] for net in networks]).reshape(rows[name]) for name in rows}


def nudged(W):
    left, _, right = np.linalg.svd(rng.standard_normal((width, width)))
    return W + (left * 0.5 ** np.arange(1, width + 1)) @ right if W.ndim == 2 else W


# %%
width, pairs, ranks = 6, 5, range(5)
goals = [network(width, 2, 1) for _ in range(pairs)]
kinds = {"random": [network(width, 2, 1) for _ in range(pairs)]}
all_goals = stack(goals, pairs, 1)
trained = descend(
    lambda nets, X: np.sum(squared_errors(nets, all_goals, X)),
    stack(kinds["random"], pairs, 1),
    steps=1000,
    lr=3e-3,
    stop=1 / 3,
)
kinds["pretrained"] = [
    {name: array[i].reshape(goals[0][name].shape) for name, array in trained.items()}
    for i in range(pairs)
]
kinds["a small change"] = [{name: nudged(W) for name, W in goal.items()} for goal in goals]

# %% [markdown]
# The construction is one line for each network. Training does all runs at once: every matrix gets axes for the kind of
# frozen network, the pair of networks, and the rank. Adam treats every entry alone, so that no run feels the others. An
# adapter of rank $R$ is one of rank 4 in which all rows of $A$ but $R$ start at 0. As $B$ starts at 0 too, these rows
# get no gradient, nor do their columns of $B$: they stay at 0.

# %%
shape = len(kinds), pairs, len(ranks)
built = [
    with_adapters(net, transformer_adapters(net, goal, R, rng=rng))
    for networks in kinds.values()
    for net, goal in zip(networks, goals)
    for R in ranks
]
frozen = stack([net for networks in kinds.values() for net in networks], len(kinds), pairs, 1)
used = (np.arange(max(ranks)) < np.array(ranks)[:, None])[:, None, :, None]  # (ranks, 1, rows, 1)
start = {}
for name, W in frozen.items():
    if name.endswith(".b"):
        start[name] = {"W": np.repeat(W, len(ranks), axis=2)}
    elif "ffn.1" not in name:
        A = rng.standard_normal((*shape, 1, max(ranks), width)) / width**0.5
        start[name] = {"A": used * A, "B": np.zeros((*shape, 1, width, max(ranks)))}


def adapted(params):
    return frozen | {
        name: own["W"] if "W" in own else frozen[name] + own["B"] @ own["A"]
        for name, own in params.items()
    }


found = descend(
    lambda params, X: np.sum(squared_errors(adapted(params), all_goals, X)),
    start,
    steps=200,
    lr=5e-2,
)
assert all(np.all(own["A"] == used * own["A"]) for own in found.values() if "A" in own)

# %%
unseen = 0.5 * rng.standard_normal((200, 4, width))
size = np.var(by_hand(all_goals, unseen, 2, 1), axis=(-3, -2)).mean(axis=-1)
errors = {
    "construction": np.sqrt(squared_errors(stack(built, *shape), all_goals, unseen) / size),
    "Adam": np.sqrt(squared_errors(adapted(found), all_goals, unseen) / size),
}
untrained = np.sqrt(squared_errors(frozen, all_goals, unseen) / size)[..., 0]
table = [("", *[f"rank {R}" for R in ranks])]
for method, error in errors.items():
    for kind, runs in zip(kinds, error):
        cells = [
            f"{m:.2g} ({a:.1g}-{b:.1g})" for a, b, m in zip(runs.min(0), runs.max(0), runs.mean(0))
        ]
        table.append((f"{method}, {kind}", *cells))
print("relative error of the outputs, mean (smallest-largest) of five pairs of networks\n")
print(aligned(table))
print("\nwithout adapters:", *[f"{k} {e.mean():.2g}" for k, e in zip(kinds, untrained)], sep="  ")

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 3, figsize=(7.2, 3.2), sharey=True)
for axis, kind, *both in zip(axes, kinds, *errors.values()):
    for method, runs, colour, marker in zip(errors, both, (BLUE, ORANGE), "os"):
        shown = np.maximum(runs, 1.2e-3)  # the bottom of the figure stands for rounding
        axis.fill_between(ranks, shown.min(0), shown.max(0), color=colour, alpha=0.25, lw=0)
        axis.semilogy(ranks, shown.mean(0), color=colour, marker=marker, label=method)
    axis.axvline(3, color=GREY, ls=":", lw=1)
    axis.set(title=kind, xlabel="rank", xticks=ranks, ylim=(1e-3, 5))
    axis.annotate("rounding", (2.75, 1.15e-3), color=BLUE, ha="right")
    axis.annotate("⌈D/2⌉", (3.1, 2.5), color=GREY)
axes[0].set_ylabel("relative error")
axes[0].legend(frameon=False, loc="center left")
# alt: Error against rank in three panels. The construction drops to rounding at rank 3 in each; Adam falls slowly. After a small change both are far lower at ranks 1 and 2.
plt.show()

# %%
construction, adam_found = errors.values()
assert construction[:, :, 3:].max() < 1e-11 and construction[:, :, :3].min() > 0.02
for networks in kinds.values():
    for net, matching in zip(networks, goals):
        assert set(sufficient_ranks(net, matching).values()) == {3}
nearer = np.mean(adam_found < construction, axis=(0, 1))
print("Adam is nearer in", *[f"{share:.0%}" for share in nearer], "of the runs at ranks", *ranks)
assert min(nearer[:2]) > 0.8 and max(nearer[3:]) == 0
assert 0.15 < adam_found[0, :, 3].mean() < 0.7 and adam_found[2, :, 3].mean() < 0.03
in_random, in_pretrained, in_near = construction.mean(axis=1)
assert 3 * in_near[1] < in_random[1] and 5 * in_near[2] < in_random[2] and in_near[2] < 0.1
assert 0.5 < untrained[1].mean() / untrained[0].mean() < 0.8
assert 0.7 < in_pretrained[2] / in_random[2] < 1.2

# %% [markdown]
# - **(c): for none of the three is a smaller rank exact, with this construction.** The gaps of all fifteen networks have
#   rank 6, so that it falls to rounding at $\lceil D/2 \rceil = 3$ and not before. What being near changes is the error
#   below that, and so the rank at which it is small enough: after a small change, rank 2 is off by a few per cent only.
# - **Near in its outputs is not near in its matrices.** Pretraining brought the error of the frozen networks down by
#   a third or so. The construction at rank 2 hardly gains from that: it works on the gaps between matrices.
# - **The best products are not the best outputs.** At ranks 0 and 1 Adam comes nearer in nearly every run; at rank 2 in most of
#   them, by less. The construction insists on $z = \bar z$ and on one goal for each pair, and that costs nothing
#   only where all goals can be met.
# - **What exists is not what training finds.** At rank 3 an exact solution exists, and 200 steps of Adam are far from
#   it (after a small change, nearer). With more steps they come nearer; try `steps=1000`.
#
# ## Where the theorem ends
#
# Real Transformers have more parts. The theorem rests on two things: each pair is free to be any two matrices with the
# right product, and the changes of basis $C$ and $F$ pass from one pair to the next. A part that stands *between* two
# pairs may stop $C$ or $F$; then **this construction fails**, and others might not. A part that stands *inside* a pair,
# or ties several products to one pair, takes freedom away; then we can count what is left, and may find that **no
# adapters exist**. One at a time.
#
# > **What do you expect?** For which of these parts is it shown below, by a proof or by counting dimensions for
# > $D = 6$, that no adapters of half the rank exist, for almost all targets? Residual path, LayerNorm, gated
# > feed-forward part, rotated positions, stacked heads. (a) for all five; (b) for three of them, two with a further
# > condition; (c) for none.
#
# **A residual path** adds a part's input to its output, $x \leftarrow x + a$ and $x \leftarrow x + h$. It carries $x$
# itself past the pairs, in its own basis, so that the construction must have $C = I$ and cannot keep $W_2$. Could other
# adapters of the heads do it at least for the first block, with our $W_1$ frozen and $z = \bar z$?
#
# > **Lemma (residual path).** Let the first block have a residual path and no mask, let $S = \sum W'_O W'_V$ over the
# > heads, and $\bar S$ likewise. Let $W_1 \ne \bar W_1$ be frozen, and let no row of $\bar W_1 \bar S$ or
# > $\bar W_1 (I + \bar S)$ be 0. Then no adapters of the heads, of any rank, and no bias $b_1$ make $z = \bar z$ on all
# > inputs of two tokens.
#
# **Proof.** Look at two kinds of input:
#
# - *All tokens are $x$.* Every mixture of them is $x$, whatever the scores, so $W_1 (I + S)\, x = \bar W_1 (I + \bar
#   S)\, x$.
# - *One token is 0.* Its query is 0, its scores are equal, and it collects the mean $m$ of all tokens, so $W_1 S\, m =
#   \bar W_1 \bar S\, m$.
#
# (Before the ReLU each entry is an affine function of $x$ or $m$. Its positive part determines it, unless it is constant,
# which we have excluded.) Both $x$ and $m$ are arbitrary. Subtract the second equation from the first:
# $W_1 = \bar W_1$. ∎
#
# In other words, the two inputs ask for two sums $S$ that differ by $F - I$.

# %%
W_1, W_1_bar = weights["blocks.0.ffn.1.W"], target["blocks.0.ffn.1.W"]
F, S_bar = np.linalg.solve(W_1, W_1_bar), O_bar @ V_bar  # one head is enough to see it
same, with_zero = np.tile(X[0], (4, 1)), np.vstack([np.zeros(D), X])
assert np.allclose(attend(*targets, same)[0], same @ S_bar.T)
assert np.allclose(attend(*targets, with_zero)[0][0], S_bar @ with_zero.mean(axis=0))
asked_by_equal, asked_by_zero = F @ (np.eye(D) + S_bar) - np.eye(D), F @ S_bar
contradiction = np.linalg.norm(asked_by_equal - asked_by_zero, 2)
print(f"two inputs ask for two values of S that differ by {contradiction:.1f}")
assert contradiction > 1

# %% [markdown]
# What is still true: replace $W_1$, $W_2$ and $W_o$ in full, and half the rank suffices for the heads. That is
# `residual_adapters`.

# %%
from minilora.theorems.transformer import residual_adapters


def with_skips(net):
    return plain_transformer(net, X, residual=True)


wider = attach(weights, {"*.heads.*": half, "*.ffn.*": Full(), "head.W": Full()}, rng=rng)
replaced = wider.merge(residual_adapters(weights, target, rng=rng))
plain_error, full_error = off(merged, with_skips), off(replaced, with_skips)
print(
    f"with a residual path: the adapters from above are {plain_error:.0%} off, "
    f"`residual_adapters` {full_error:.0e}"
)
assert plain_error > 0.2
assert full_error < 1e-12

# %% [markdown]
# **LayerNorm** subtracts from each vector its mean and divides by its standard deviation. For $C$ to pass, there must
# be some $C'$ with $\mathrm{norm}(C h) = C'\,\mathrm{norm}(h)$ for all $h$; the next block then undoes $C'$ instead of
# $C$.
#
# > **Lemma (what passes a LayerNorm).** $C = c\,Q + \mathbf 1 m^\top$ passes with $C' = \pm Q$, the sign of $c$, for every
# > $c \ne 0$, every $m$, and every $Q$ that is orthogonal on the vectors of mean zero and maps
# > $\mathbf 1 = (1, \dots, 1)$ to 0.
#
# **Proof.** What is added along $\mathbf 1$ and a positive factor make no difference to norm, and $Q$ keeps the mean
# zero and the length. ∎ (No other $C$ passes. We do not prove this.)
#
# So $2 I$ passes, and a permutation. One flipped sign does not, and in general neither does the $C = \bar W_2 W_2^{-1}$
# that we get. Look for $C'$ by least squares:


# %%
def layer_norm(X):
    centred = X - np.mean(X, axis=-1, keepdims=True)
    return centred / np.std(X, axis=-1, keepdims=True)


zero_mean = np.linalg.svd(np.ones((D, 1)))[0][:, 1:]  # a basis of the vectors of mean zero
Q = zero_mean @ np.linalg.qr(rng.standard_normal((D - 1, D - 1)))[0] @ zero_mean.T
passing = 2 * Q + rng.standard_normal(D)  # adds m to every row: + 1 mᵀ
changes = {"2 I": 2 * np.eye(D), "2 Q + 1 m^T": passing}
changes |= {
    "a permutation": np.eye(D)[rng.permutation(D)],
    "one flipped sign": np.diag([-1.0] + [1.0] * (D - 1)),
    "our C": C,
}
vectors, left_over = rng.standard_normal((200, D)), {}
for name, change in changes.items():
    wanted_norm = layer_norm(vectors @ change.T)
    best = np.linalg.lstsq(layer_norm(vectors), wanted_norm, rcond=None)[0]
    missed = layer_norm(vectors) @ best - wanted_norm
    left_over[name] = np.linalg.norm(missed) / np.linalg.norm(wanted_norm)
    print(f"{name:16}: the best C' leaves {left_over[name]:.0e} of norm(C h)")
assert max(left_over[name] for name in ("2 I", "2 Q + 1 m^T", "a permutation")) < 1e-13
assert min(left_over[name] for name in ("one flipped sign", "our C")) > 0.1

# %% [markdown]
# Is a $C$ that passes enough? Give the target a $\bar W_2 = C W_2$ in the first block, and put a LayerNorm before
# each block of both networks. The second block then takes $Q$ where it took $C$, and all is as exact as before. For the
# target from above it is not: this construction fails, and we have not shown that no adapters exist.


# %%
def with_norms(net):
    return by_hand(net, X, heads, depth, norm=layer_norm)


w2, b2 = "blocks.0.ffn.2.W", "blocks.0.ffn.2.b"
special = target | {w2: passing @ weights[w2], b2: passing @ weights[b2]}
matched = match_block(weights, special, "blocks.0", np.eye(D))
matched = match_end(match_block(matched, special, "blocks.1", Q), special)
special_error = np.max(abs(with_norms(matched) - with_norms(special)))
norm_error = off(merged, with_norms)
print(f"with a LayerNorm before each block: off by {special_error:.0e} for C = 2 Q + 1 m^T,")
print(f"{norm_error:.0%} for the target and the adapters from above")
assert np.array_equal(matched[w2], weights[w2])
assert special_error < 1e-11
assert norm_error > 0.15

# %% [markdown]
# **A gated feed-forward part**, as in LLaMA, has two matrices instead of $W_1$, whose outputs are multiplied entry by
# entry. Each asks for an $F$ of its own, $W_g F = \bar W_g$ and $W_u F = \bar W_u$, but both see the same input.

# %%
gates, wanted_gates = np.vstack([matrix(D), matrix(D)]), np.vstack([matrix(D), matrix(D)])
common = np.linalg.lstsq(gates, wanted_gates, rcond=None)[0]
gate_error = np.linalg.norm(gates @ common - wanted_gates) / np.linalg.norm(wanted_gates)
print(f"the best common F leaves {gate_error:.0%} of both")
assert gate_error > 0.35

# %% [markdown]
# So this construction fails, too, and again we have not shown that no adapters exist.
#
# **Rotated positions and stacked heads.** In these two, one pair of matrices has to serve *several* products.
#
# - *Rotated positions* (RoPE) rotate queries and keys by angles that grow with their position, so that tokens at distance
#   $\delta$ have the scores $x_j^\top (W_K^\top R_\delta W_Q)\, x_i$: one product for each distance.
# - *Stacked heads* are how nearly every library stores them: one $D \times D$ matrix $W_Q$ whose rows are divided among
#   $H$ heads, with one adapter. Head $h$ has the scores $x_j^\top (W_K^\top S_h W_Q)\, x_i$ with an $S_h$ that keeps
#   only its rows.
#
# How much can such adapters reach? Count dimensions: take the derivative of all these products with respect to all
# parameters of the adapters. Its rank, at random values, is the number of independent directions in which the products
# can move. Where it is smaller than with adapters of full rank, the products of almost no target can be reached.

# %%
from autograd import jacobian


def dimension(between, rank):
    D = between.shape[-1]
    Q, K = matrix(D), matrix(D)

    def products(theta):
        new_q, new_k = Q + theta[0] @ theta[1].T, K + theta[2] @ theta[3].T
        return np.ravel(new_k.T @ between @ new_q)

    derivative = jacobian(products)(rng.standard_normal((4, D, rank)))
    return int(np.linalg.matrix_rank(derivative.reshape(len(derivative), -1), tol=1e-8))


def turn(D, distance):
    R = np.zeros((D, D))
    for plane in range(D // 2):
        angle, own = distance * 0.7 / 3**plane, slice(2 * plane, 2 * plane + 2)
        R[own, own] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return R


def rows_of_heads(D, count):
    return np.array(
        [np.diag(np.repeat(np.arange(count) == h, D // count).astype(float)) for h in range(count)]
    )


# %%
cases = {"one head": np.eye(width)[None]}
cases["RoPE, distances 0 … 4"] = np.array([turn(width, distance) for distance in range(5)])
cases |= {f"{count} stacked heads": rows_of_heads(width, count) for count in (2, 3, 6)}
table = [("D = 6", *[f"rank {rank}" for rank in range(1, width + 1)], "smallest")]
dimensions, smallest = {}, {}
for name, between in cases.items():
    reached = [dimension(between, rank) for rank in range(1, width + 1)]
    dimensions[name], smallest[name] = reached, 1 + reached.index(reached[-1])
    table.append((name, *map(str, reached), str(smallest[name])))
print("dimensions that the scores of adapters of each rank reach; rank 6 replaces both matrices\n")
print(aligned(table))
assert smallest["one head"] == 3
assert smallest["RoPE, distances 0 … 4"] == 5
# 2 R (2 D − R) parameters that count, against D (2 D − D / H) of the targets
for count in (2, 3, 6):
    every, bound = width * (2 * width - width // count), width - width / np.sqrt(2 * count)
    counted = [min(2 * R * (2 * width - R), every) for R in range(1, width + 1)]
    assert dimensions[f"{count} stacked heads"] == counted
    assert smallest[f"{count} stacked heads"] == np.ceil(bound - 1e-9)

# %% [markdown]
# One head: all dimensions from rank 3 = D/2 on, as the theorem says. RoPE, and stacked heads from three on, do not have
# all of them with half the rank. For $H \ge 2$ stacked heads the count is simple: two adapters of rank $R$ reach
# $2R(2D - R)$ dimensions or all that there are, the scores of all heads have $D(2D - D/H)$, and the two are equal at
# $R = D - D/\sqrt{2H}$. With many heads that is nearly $D$. (This shows what is *not* enough. It does not construct
# adapters at the rank where the counts meet, and a particular target may need less.)
#
# All in one table. Its last column says how much each line shows: that the same adapters are exact, that this
# construction fails, or that none exist.

# %%
results = [("part", "does half the rank still do?", "seen here", "what this shows")]
results += [(name, "yes", f"error {error:.0e}", "exact") for name, error in kept.items()]
results += [
    (
        "residual path",
        "not if W_1 is frozen",
        f"{plain_error:.0%} off; S off by {contradiction:.1f}",
        "none exist with z = z̄",
    ),
    ("  W_1, W_2, W_o replaced", "yes", f"error {full_error:.0e}", "exact"),
    ("LayerNorm", "not by this construction", f"{norm_error:.0%} off", "construction fails"),
    ("  C = 2 Q + 1 m^T", "yes", f"error {special_error:.0e}", "exact"),
    (
        "gated feed-forward part",
        "not by this construction",
        f"{gate_error:.0%} of both left",
        "construction fails",
    ),
]
for name in ("RoPE, distances 0 … 4", "6 stacked heads"):
    seen_here = f"rank {smallest[name]} of 6 at least"
    results.append((name, "no", seen_here, "none exist for almost all targets"))
print(aligned(results))

# %% [markdown]
# (b): for rotated positions and for stacked heads (from three heads on), and for a residual path if $W_1$ is frozen and
# $z = \bar z$ is asked for. So for the networks that people really fine-tune, this theorem is not a promise. It shows
# which freedoms adapters on attention have, it says what exactness rests on, and it tells you where to look when they are
# not enough.
#
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with
# `python -m minilora check 10.1 answers.py`. It tries them on random cases, and shows the smallest on which one fails.
#
# ### Exercise 1 (easy): when queries and keys play no part
#
# With one token, $W_Q$ and $W_K$ do not matter. There are inputs of many tokens for which they do not matter either.
# Write `blind_tokens(rng, n, D)`: such an input, an array `(n, D)` with a token in each row and no row of zeros, drawn
# with `rng`, for $n \ge 2$ and $D \ge 2$. The output of one head of attention must not depend on $W_Q$ and $W_K$, for
# any $W_V$ `(D, D)`.
#
# Then replace all queries and keys of the network `weights` by random ones, and see by how much its outputs change: for
# five such tokens, and for the tokens `X`. (By rounding only, and by more than 0.5.)

# %% [markdown]
# ### Exercise 2 (medium): queries and values only
#
# LoRA's authors, and many after them, adapt $W_Q$ and $W_V$ and leave $W_K$ and $W_O$ frozen. What does that cost a
# single head? Write `least_error(W_Q, W_K, goal, r_Q, r_K)`: a float, the least spectral norm
# $\lVert W_K'^\top W_Q' - M \rVert_2$ that an adapter of rank $r_Q$ on $W_Q$ and one of rank $r_K$ on $W_K$ reach,
# where $M$ is `goal`. All matrices are $D \times D$, $W_Q$ and $W_K$ are invertible, and both ranks are integers from 0
# to $D$.
#
# Then take `pair` and `goal` from "Below half the rank", of width 8. Predict the distance for the ranks 0, 2, 4, 6 and
# 8 on $W_Q$ alone, and for half of each on both matrices, with the same number of trainable parameters. Compare with
# what the adapters of `adapt_product` reach. (They agree to $10^{-12}$.) From which rank on is $W_Q$ alone enough for a
# generic target?
#
# <details><summary>Hint</summary>
#
# `adapt_product` and `predicted_error` take a rank for each of the two matrices, and one of them may be 0.
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): keys that are shared
#
# To save memory, many models let several heads share one $W_K$, while each has a $W_Q$ of its own. Adapters of one rank
# $R$ are on $W_K$ and on every $W_Q$. Count dimensions, as above: those of the adapters against those of all products
# $W_K^\top W_{Q,h}$, one $D \times D$ matrix for each head. Write `not_excluded(heads, D)`: the smallest rank, an
# integer, that this count does not exclude. Each head alone is still a product of two, so that no rank below $D/2$ is
# enough either.
#
# Then compute the rank of the derivative, as above, for $D = 4$ with 1, 2, 4 and 8 heads and for $D = 7$ with 2. From
# which rank on does it have all dimensions? (From `not_excluded` on, in these five cases.) Is that more or less than
# for heads with keys of their own? Find a formula for the bound, and say what it tends to with many heads.
#
# <details><summary>Hint</summary>
#
# There are $H D^2$ dimensions in all, and $H + 1$ adapters. One of rank $R$ adds at most $R(2D - R)$. In the
# derivative, `theta` now has $2(H + 1)$ blocks.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# [Lesson 11](11_reach.py) asks the same for one matrix and for every adapter of this library: which changes can each
# of them make, and how near does it come to the others?
#
# ## References
#
# - Y. Zeng and K. Lee, 2023, *The Expressive Power of Low-Rank Adaptation*,
#   [arXiv 2310.17513](https://arxiv.org/abs/2310.17513): the theorem on Transformers, with a rank for each gap, and the
#   experiment of construction against training. The statement here is in our own words, with conditions that we tested;
#   the scaled values, the residual variant and all that stands in "Where the theorem ends" are this library's.
# - A. Vaswani et al., 2017, *Attention Is All You Need*, [arXiv 1706.03762](https://arxiv.org/abs/1706.03762).
# - E. Hu et al., 2021, *LoRA*, [arXiv 2106.09685](https://arxiv.org/abs/2106.09685).
