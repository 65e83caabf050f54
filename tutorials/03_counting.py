# %% [markdown]
# # Counting: what an adapter saves in parameters, in memory and in time, and what it does not
#
# **You will learn** to count trainable parameters for models of billions of weights without loading one; where the
# memory of training goes, and which part of it LoRA takes away; and what a small share of the parameters says about the
# time. **Before this:** [lesson 2](02_lora_by_hand.py). **Time:** 40 minutes to read, 10 seconds to run.
#
# LoRA trains "0.7 % of the parameters" of LLaMA 3, a language model of eight billion parameters. Does it then need
# 0.7 % of the memory, and 0.7 % of the time? Both can be counted in advance. Here you count by hand, and then you
# measure the memory and the time.

# %%
from minilora.cli.lesson import BLUE, GREEN, GREY, ORANGE, SKY, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import autograd.numpy as np  # NumPy, but autograd can differentiate through it
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)

# %% [markdown]
# ## One matrix
#
# $W$ `(d_out, d_in)` has $d_{out} d_{in}$ parameters. LoRA of rank $r$ trains $A$ `(r, d_in)` and $B$ `(d_out, r)`. The
# share of the two is
#
# $$\rho = \frac{r\,(d_{out} + d_{in})}{d_{out}\, d_{in}}. \tag{1}$$
#
# For a square matrix that is $2r/d$: the wider the model, the smaller the share at the same rank. Keep $\rho$ in mind,
# it comes back when you count time.


# %%
def lora_share(rank, d_out, d_in):
    return rank * (d_out + d_in) / (d_out * d_in)


for d in (144, 768, 4096):
    print(
        f"{d:4} × {d:4}: {d * d:10,} parameters, "
        f"LoRA of rank 8 trains {8 * (d + d):6,}, {lora_share(8, d, d):6.2%}"
    )
assert lora_share(8, 4096, 4096) == 1 / 256
assert lora_share(72, 144, 144) == 1  # at half of the full rank nothing is saved

# %% [markdown]
# ## A model
#
# A language model reads a text as a sequence of [*tokens*](glossary.md#token) (words, or pieces of words). In each
# layer it holds one vector for each token. LLaMA-7B has 32 layers that are alike, and in each there are seven matrices.
# Four belong to the *attention*, by which the tokens look at each other: q, k, v and o, all $4096 \times 4096$. Three
# are an MLP: gate and up go from 4,096 numbers to 11,008, down goes back. For counting parameters, you need to know no
# more than that.
#
# Adapt q, k, v, up and down with rank 32. The authors of SBoRA (lesson 4), who did the same, report 56.1 million
# parameters for LoRA.

# %%
layers, d, hidden, rank = 32, 4096, 11_008, 32
in_a_layer = 3 * rank * (d + d) + rank * (hidden + d) + rank * (d + hidden)
by_hand = layers * in_a_layer
print(f"{in_a_layer:,} in one layer, {by_hand:,} in all")
assert by_hand == 56_098_816 and f"{by_hand / 1e6:.1f}" == "56.1"

# %% [markdown]
# The rest of the model is not much. Each of the 32,000 tokens that the model knows has a vector of 4,096 numbers at the
# entrance and one more at the exit. And there are vectors of scales: two in each layer and one at the end. Each belongs
# to an [*RMSNorm*](glossary.md#rmsnorm), which divides a vector by the root of the mean of its squared entries and
# multiplies the result by the scales. So "7B" is 6.7 billion, nearly all of them in the 7 × 32 matrices.

# %%
import math

from minilora.architectures import MODELS

matrices = layers * (4 * d * d + 3 * d * hidden)
total = matrices + 2 * 32_000 * d + (2 * layers + 1) * d
print(
    f"{total:,} parameters, {matrices / total:.1%} of them in 7 × 32 matrices; "
    f"LoRA trains {by_hand / total:.2%}"
)
assert total == MODELS["llama-7b"].total == 6_738_415_616
assert matrices == sum(math.prod(shape) for shape in MODELS["llama-7b"].shapes().values())

# %% [markdown]
# ## Without loading a weight
#
# The library counts differently: it lets the adapter do what it always does, and counts the arrays that it gets. So no
# second formula can disagree with the code. But `init` needs a $W$, and those of LLaMA-7B in float32 fill more than 25
# GB. The way out is a stand-in: one zero in memory that NumPy shows as a matrix of any shape. (The
# [*strides*](glossary.md#stride) of an array say how many bytes to go forward from a row to the next and from a column
# to the next. Here both are 0.)

# %%
from minilora import LoRA

stand_in = np.broadcast_to(np.float32(0), (hidden, d))
params, _ = LoRA(rank=32).init(rng, stand_in)
in_memory = stand_in.base.nbytes
print("shape", stand_in.shape, " strides", stand_in.strides, " in memory:", in_memory, "bytes")
assert 4 * matrices > 25e9 and stand_in.strides == (0, 0) and in_memory == 4
assert sum(array.size for array in params.values()) == rank * (hidden + d)

# %% [markdown]
# `MODELS` has the tables of sizes of thirteen released models, with the names that the released weights have.
# `count_trainable` counts what an adapter trains on all these shapes.

# %%
from minilora import count_trainable

FIVE = ("q", "k", "v", "up", "down")
shapes = MODELS["llama-7b"].shapes(FIVE)
for name in list(shapes)[:5]:
    print(f"{name:38} {shapes[name]}")
assert len(MODELS) == 13 and len(shapes) == 5 * 32
assert count_trainable(LoRA(rank=32), shapes) == by_hand

# %% [markdown]
# From here on the model is LLaMA 3 with eight billion parameters. Its MLP is wider, 14,336, and its k and v are
# narrower, $1024 \times 4096$, because the rows of q fall into groups ([lesson 10](10_expressive_attention.py) calls
# them heads), several of which share one group of k and of v ([*grouped-query
# attention*](glossary.md#grouped-query-attention)). Count again by hand.

# %%
d, kv, hidden = 4096, 1024, 14_336
by_hand = layers * rank * ((d + d) + 2 * (kv + d) + 2 * (hidden + d))  # q; k, v; up, down
model = MODELS["llama3-8b"]
llama3 = model.shapes(FIVE)
trainable = count_trainable(LoRA(rank=32), llama3)
print(f"LLaMA 3, LoRA of rank 32 on five matrices: {trainable:,}, {trainable / model.total:.2%}")
assert trainable == by_hand == 56_623_104

# %% [markdown]
# Other adapters train other arrays, and `count_trainable` takes each of them. They are counted where they are
# explained: [SBoRA](04_sbora.py), [HRA](06_hra.py), and [CondLoRA](07_condlora.py), whose layers share matrices. None
# of these counts says which adapter *learns* best; [lesson 13](13_bake_off.py) compares them at equal counts.
#
# To count for any of the thirteen models from the command line, type
#
# ```
# python -m minilora count llama3-8b --adapter lora --rank 32 --targets q,k,v,up,down
# ```
#
# Other models of the families LLaMA, Mistral, Qwen, Gemma, Phi, GPT-2 and BERT are published with a small file,
# `config.json`, that holds their sizes: give its path in place of the name. The command above prints this:

# %%
from minilora.cli.main import main

main(["count", "llama3-8b", "--adapter", "lora", "--rank", "32", "--targets", "q,k,v,up,down"])

# %% [markdown]
# So much for the parameters. The other columns and the lines below the table are about memory, and that comes next.
# (NF4 stores a number in four bits, with a scale for every 64, and double quantisation stores the scales in eight:
# [lesson 5](05_four_bits.py).)
#
# ## Memory: weights, gradients and Adam
#
# Adam keeps two running means for each parameter that it trains (lesson 1), its two [*moments*](glossary.md#moments).
# And each trainable parameter has a gradient. In float32 that makes 4 bytes for the parameter, 4 for the gradient and 8
# for Adam: 16 bytes. A frozen parameter needs only itself. See it on a small network, eight layers of width 512, with
# all its matrices trained, or with LoRA of rank 8.

# %%
from minilora import Full, attach, cross_entropy, init_mlp, mlp

weights = init_mlp(rng, widths=(512,) * 9)
everywhere = attach(weights, {"*.W": LoRA(rank=8)}, rng=rng)
# Only the last two layers, for later
at_the_end = attach(weights, {"layers.[67].W": LoRA(rank=8)}, rng=rng)
ways = {
    "full": attach(weights, {"*.W": Full()}, rng=rng),
    "LoRA": everywhere,
    "LoRA, last two layers": at_the_end,
}
x, labels = rng.standard_normal((512, 512)).astype(np.float32), rng.integers(512, size=512)


def loss(params, way, x, labels):
    return cross_entropy(mlp(ways[way].bind(params), x), labels)


# %%
from minilora import adam_start, value_and_grad
from minilora.train.tape import leaves

for way in ("full", "LoRA"):
    params = ways[way].params
    _, gradient = value_and_grad(loss, params, way, x, labels)
    state = adam_start(params)
    sizes = [sum(array.nbytes for array in leaves(tree)) for tree in (params, gradient)]
    moments = state.mean.nbytes + state.square.nbytes
    print(f"{way:5} parameters {sizes[0]:9,} bytes, gradient {sizes[1]:9,}, Adam {moments:10,}")
    assert sizes[0] == sizes[1] == moments / 2 == 4 * ways[way].trainable

# %% [markdown]
# For a large model the frozen weights are kept in *float16* (or a relative of it), 2 bytes for a parameter. Full
# fine-tuning then usually keeps: the weight in float16 (2 bytes), its gradient (2), a copy of the weight in float32 to
# which small steps can be added (4), and Adam's moments in float32 (8). By chance this makes 16 bytes again. So there
# is one rule for both:
#
# $$\text{bytes} \approx 2 \cdot \text{frozen parameters} + 16 \cdot \text{trainable parameters}. \tag{2}$$
#
# *QLoRA* stores the frozen matrices smaller still, in a format of four bits for each parameter called *NF4*, with a
# little extra for its scales ([lesson 5](05_four_bits.py) explains how). The trained $A$ and $B$ do not change.
#
# > **What do you expect?** By (2), full fine-tuning of LLaMA 3 takes 128 GB. How much does LoRA of rank 32 take, with
# > its 0.7 % of the parameters? (a) About 1 GB, (b) about 17 GB, (c) about 64 GB.

# %%
from minilora import quantize

in_matrices = sum(math.prod(shape) for shape in model.shapes().values())
bits = quantize(rng.standard_normal((512, 512)).astype(np.float32), double=True).bits
base16 = 2 * model.total / 1e9  # GB, 10⁹ bytes
base4 = (2 * (model.total - in_matrices) + in_matrices * bits / 8) / 1e9
small = 16 * trainable / 1e9
print(
    f"NF4 takes {bits:.2f} bits a parameter: "
    f"frozen model {base16:.1f} GB in float16, {base4:.1f} GB in NF4"
)
print(f"adapter, its gradient and Adam's moments: {small:.1f} GB")
print(
    f"full fine-tuning {16 * model.total / 1e9:.0f} GB, "
    f"LoRA {base16 + small:.1f} GB, QLoRA {base4 + small:.1f} GB"
)
assert 4.1 < bits < 4.2 and round(16 * model.total / 1e9) == 128
assert round(base16 + small, 1) == 17.0 and round(base4 + small, 1) == 6.6

# %% [markdown]
# (b). What has gone is not the model, it is the 14 extra bytes for each of its parameters. And what is left is nearly
# all *frozen weights*: the adapter with its gradient and moments takes 0.9 GB. So with LoRA in place, halving the rank
# saves almost nothing, while storing the base in four bits saves the most. That is the step from LoRA to QLoRA.
#
# ## Memory: activations
#
# The rule (2) forgets a part. To compute a gradient, one goes through the operations twice: *forward*, from the
# parameters to the loss, and *backward*, from the loss to the parameters. On the way back each operation gets the
# gradient of the loss for its result, and computes from it the gradient for what it used: it *sends the gradient back*.
# For that it needs numbers of the forward pass: the [*activations*](glossary.md#activations). In this library autograd
# keeps them. It calls the function with a *box* around each array. Every operation on a box computes its result and
# writes one note: which boxes it used, and how to send a gradient back to them. (In autograd's code a note is a *node*,
# and `vjp` is its way to send a gradient back.) These notes are the [*tape*](glossary.md#tape-node). The gradient is
# what arrives at the start when you send a 1 backwards through all notes, the last one first: that is the chain rule.
# Here are the three notes of one small function.

# %%
from autograd import grad
from autograd.core import VJPNode
from autograd.tracer import new_box, toposort, trace_stack

start = np.array([0.5, -1.0])
with trace_stack.new_trace() as trace:
    box = new_box(start, trace, VJPNode.new_root())
    end = np.sum(np.tanh(2.0 * box))
sent = 1.0
for node, operation in zip(toposort(end._node), ("sum", "tanh", "2 ·")):
    (sent,) = node.vjp(sent)  # each of these operations used one box, so it sends one gradient
    print(f"{operation:4} sends back {sent}")
assert np.array_equal(sent, grad(lambda x: np.sum(np.tanh(2.0 * x)))(start))

# %% [markdown]
# How much do the notes keep? Run the forward pass of the network on a tape, and see how much memory is held while the
# tape lives. The unit is one activation, an array with one vector of width 512 for each of the 512 inputs. Full
# fine-tuning keeps about one for each of the eight layers.
#
# > **What do you expect?** And LoRA in all layers, with a 32nd of the parameters? (a) Less than one activation, (b)
# > about half of them, (c) as many as full fine-tuning.

# %%
import tracemalloc

from minilora.train.tape import rebuild


def tape(way, x, labels):
    """Memory that the tape of the loss keeps, in units of one activation."""
    params = ways[way].params
    tracemalloc.start()
    with trace_stack.new_trace() as trace:
        boxes = [new_box(array, trace, VJPNode.new_root()) for array in leaves(params)]
        end = loss(rebuild(params, iter(boxes)), way, x, labels)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # End is the last note of the tape, and through it all others are still alive here
    assert end._value > 0
    return kept / x.nbytes


kept = {way: tape(way, x, labels) for way in ways}
for way, activations in kept.items():
    print(
        f"{way:21} trains {ways[way].trainable:9,} parameters, "
        f"the tape keeps {activations:.1f} activations"
    )
assert 7.8 < kept["full"] < 8.5 and 1 < kept["LoRA"] / kept["full"] < 1.07
assert kept["LoRA, last two layers"] < 0.45 * kept["full"]

# %% [markdown]
# (c), and thin ones of $r$ numbers in addition. To pass gradients on, the tape has to know where the input of each ReLU
# was positive, and the gradient for $A$ needs the layer's input. (One array serves for both: the output of a ReLU is
# positive where its input was, and it is the next layer's input.) Only if no early layer has an adapter is there
# nothing to keep for the early layers, as the last row shows. (It counts three activations for two layers: one more is
# kept at the loss. With all eight layers it is 8 and not 9, because the first layer's input is the data, which was
# there before.)
#
# For LLaMA 3, count what one layer keeps for one token. A layer does this: RMSNorm, then the attention (q, k, v, then
# o), whose result is added to the layer's input; again RMSNorm, then the MLP, which multiplies the outputs of gate and
# up entry by entry and sends the product through down, and this is added too. So there are six vectors of width $d$:
# the inputs of the two RMSNorms, their outputs, q, and the input of o; k and v; and three of the MLP's hidden width:
# gate, up, and their product. This is the usual count if the attention does not keep its table, one number for each
# pair of tokens. The logits at the end are left out. In float16, for one text of 2,048 tokens:

# %%
tokens = 2048
one_layer = 6 * d + 2 * kv + 3 * hidden
activations = 2 * tokens * layers * one_layer / 1e9
print(f"{one_layer:,} numbers for a token in a layer, {activations:.1f} GB for {tokens:,} tokens")
thin = 5 * rank / one_layer
print(f"LoRA on five matrices adds {thin:.2%}")
assert one_layer == 69_632 and 9.0 < activations < 9.3 and thin < 0.003

# %%
full_training = 16 * model.total / 1e9 - base16  # what comes to the float16 weights
parts = {
    "weights in float16 or NF4": (base16, base16, base4),
    "trained in float32, gradient, Adam": (full_training, small, small),
    "activations, 2,048 tokens": (activations,) * 3,
}
sums = dict(zip(("full", "LoRA", "QLoRA"), np.sum(list(parts.values()), axis=0)))
print("in all:", *(f"{way} {gigabytes:.0f} GB " for way, gigabytes in sums.items()))
print(f"LoRA takes {sums['LoRA'] / sums['full']:.0%} of full fine-tuning")
assert sums["full"] > 80 > sums["LoRA"] > 24 > sums["QLoRA"]
assert 0.18 < sums["LoRA"] / sums["full"] < 0.2 and activations > base4 > small

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 2.9))
left = np.zeros(3)
for (label, sizes), colour in zip(parts.items(), (BLUE, ORANGE, GREY)):
    axis.barh(range(3), sizes, left=left, height=0.6, color=colour, label=label)
    left = left + np.array(sizes)
white = {"color": "white", "pad": 1}
for row, size in enumerate(left):
    axis.text(size + 1.5, row, f"{size:.0f} GB", va="center", bbox=white, zorder=3)
for card in (24, 80):
    axis.axvline(card, color="black", linestyle=":", linewidth=1)
    axis.text(card + 1, 2.62, f"a card of {card} GB", size=9, ha="left", va="center")
axis.set(yticks=range(3), yticklabels=sums, xlabel="memory to train LLaMA 3 8B (GB)")
axis.set(xlim=(0, 155), ylim=(2.85, -0.5))
axis.legend(frameon=False, loc="center right", bbox_to_anchor=(1.0, 0.48))
# alt: Memory to train LLaMA 3 8B as bars of weights, trained part and activations: full 138 GB, mostly gradient and Adam; LoRA 26 GB, mostly weights; QLoRA 16 GB, mostly activations.
plt.show()

# %% [markdown]
# LoRA needs about a fifth of what full fine-tuning needs, far from 0.7 %. And with QLoRA the activations are the
# largest part. They grow with the number of tokens, and adapters do not change that. The usual remedy is to keep only
# the input of each layer, $d$ numbers instead of 69,632, and to compute the rest again when the backward pass gets
# there (*checkpointing*). That costs one more forward pass.
#
# ## Time: count the products
#
# In large models nearly all of the time goes into matrix products. Multiplying `(n, d_in)` by `(d_in, d_out)` takes
# $n \, d_{in} \, d_{out}$ multiplications, each with an addition. Write one layer's forward and backward pass by hand,
# with a product that counts. `slope` is what arrives from the later layers, the gradient for $y$.

# %%
counts = []


def product(X, Y):
    counts.append(X.shape[0] * X.shape[1] * Y.shape[1])
    return X @ Y


def full_layer(W, x, slope):
    y = product(x, W.T)
    for_w = product(slope.T, x)
    for_x = product(slope, W)  # goes on to the layer before
    return y, for_w, for_x


# %% [markdown]
# Three products of the same size: one forward, two backward. Now the same layer with a frozen $W$ and LoRA (with
# $s = 1$) beside it.


# %%
def lora_layer(W, A, B, x, slope):
    low = product(x, A.T)  # (n, r)
    y = product(x, W.T) + product(low, B.T)
    for_b = product(slope.T, low)
    for_low = product(slope, B)
    for_a = product(for_low.T, x)
    for_x = product(slope, W) + product(for_low, A)  # through the frozen W, and through the adapter
    return y, for_a, for_b, for_x


# %% [markdown]
# Is that right? Autograd must find the same gradients. Take as the loss the sum of all entries of `slope * y`: its
# gradient for $y$ is `slope`.
#
# > **What do you expect?** As the rank becomes small, which share of the multiplications of full fine-tuning does LoRA
# > need? (a) It goes to 0, (b) to a half, (c) to two thirds.

# %%
from minilora import linear

n, d_out, d_in = 64, 96, 80
W = rng.standard_normal((d_out, d_in))
x_in, slope = rng.standard_normal((n, d_in)), rng.standard_normal((n, d_out))
counts.clear()
y, for_w, for_x = full_layer(W, x_in, slope)
full_cost = sum(counts)
assert np.allclose(for_w, slope.T @ x_in) and np.allclose(for_x, slope @ W)
assert full_cost == 3 * n * d_out * d_in


def weighted(A, B, x):
    return np.sum(slope * (linear(W, x) + linear(B, linear(A, x))))


for r in (16, 4, 1):
    A, B = rng.standard_normal((r, d_in)), rng.standard_normal((d_out, r))
    counts.clear()
    y, *by_hand = lora_layer(W, A, B, x_in, slope)
    lora_cost = sum(counts)
    by_autograd = grad(weighted, (0, 1, 2))(A, B, x_in)
    assert all(np.allclose(mine, theirs) for mine, theirs in zip(by_hand, by_autograd))
    assert lora_cost == 2 * n * d_out * d_in + 3 * n * r * (d_out + d_in)
    assert math.isclose(lora_cost / full_cost, (2 + 3 * lora_share(r, d_out, d_in)) / 3)
    share = lora_cost / full_cost
    print(f"rank {r:2}: full {full_cost:,} multiplications, LoRA {lora_cost:,}, {share:.2f} of it")

# %% [markdown]
# (c). LoRA saves one product of three, the one that makes `for_w`. The other two have to be computed: $W x$, because
# the network needs its output, and the product of the slope with $W$, because the adapters in earlier layers need their
# gradient. On top come the thin products. With the share $\rho$ of (1), for a layer that passes a gradient on,
#
# $$\frac{\text{LoRA's cost}}{\text{cost of full fine-tuning}} = \frac{2 + 3\rho}{3}. \tag{3}$$
#
# For such a layer it cannot fall below two thirds, however few parameters are trained. (The first adapted layer passes
# nothing on, so a whole network may be a little below.) And LLaMA 3? Two of its seven matrices have no adapter, but
# they are frozen and must be passed through as well, so (3) holds for all seven together, with $\rho$ the trainable
# parameters divided by all parameters in matrices. Where does LoRA become the more expensive way? Count with ranks near
# a sixth of the width.

# %%
rho = trainable / in_matrices
ratio = (2 + 3 * rho) / 3
share = trainable / model.total
print(f"LoRA trains {share:.2%} of the parameters, computes {ratio:.1%} of the products")
assert 0.66 < ratio < 0.68
d_square = 60
inputs, square = np.ones((n, d_square)), np.ones((d_square, d_square))
counts.clear()
full_layer(square, inputs, inputs)
full_square = sum(counts)
for rank_here in (9, 10, 11):
    counts.clear()
    lora_layer(square, square[:rank_here], square[:, :rank_here], inputs, inputs)
    print(f"rank {rank_here} of {d_square}: {sum(counts) / full_square:.3f} of full fine-tuning")
    assert np.sign(sum(counts) - full_square) == np.sign(rank_here - d_square / 6)

# %% [markdown]
# For a square matrix LoRA takes fewer multiplications than full fine-tuning below rank $d/6$, and more above it. (The
# attention multiplies q, k and v with each other as well. No weight takes part in that, so it costs the same with and
# without adapters, and the true ratio is closer to 1, the more so the longer the text.)
#
# ## Time: measure it
#
# Back to the eight layers of width 512. Count in units of one product `(512, 512)` by `(512, 512)`. Full fine-tuning
# has 8 forward, 8 for the weights, and 7 to pass on, since nothing before the first layer is trained. LoRA saves 8 and
# adds thin products, six for each adapter, five for the first. Each is $8/512 = 1/64$ of a unit. If only the last two
# layers have adapters, one product passes a gradient on from one to the other, and that is all there is of the backward
# pass besides the thin ones.

# %%
thin_share = lora_share(8, 512, 512)
predicted = {  # forward, passing gradients on, gradients of weights, thin products
    "full": (8, 7, 8, 0),
    "LoRA": (8, 7, 0, (6 * 8 - 1) * thin_share / 2),
    "LoRA, last two layers": (8, 1, 0, (6 * 2 - 1) * thin_share / 2),
}
for way, products in predicted.items():
    print(f"{way:21} {sum(products):5.2f} products, {sum(products) / 23:.2f} of full fine-tuning")
assert 15 / 23 < sum(predicted["LoRA"]) / 23 < 0.69

# %% [markdown]
# Now measure. Times vary from run to run, so take turns (what disturbs one way then disturbs all), measure the
# processor's time instead of the wall clock's, and take the fastest round, the one least disturbed. Adam's step is
# timed apart. (The assertion leaves room for a machine that is busy with other work.)
#
# > **What do you expect?** Where will the measured shares lie? (a) Nearest to the counted ones, (b) far below them,
# > nearer to the share of the parameters, (c) above 1, because LoRA has more, smaller products.

# %%
import time

from minilora import adam


def seconds(task, *inputs):
    start = time.process_time()
    result = task(*inputs)
    return time.process_time() - start, result


def clock(n, rounds):
    """Seconds {way: (gradient, Adam's step)} for n inputs, the ways taking turns."""
    found = {way: [] for way in ways}
    for _ in range(rounds):
        for way, attached in ways.items():
            params, state = attached.params, adam_start(attached.params)
            backward, (_, gradient) = seconds(value_and_grad, loss, params, way, x[:n], labels[:n])
            step, _ = seconds(adam, params, gradient, state, 1e-3)
            found[way].append((backward, step))
    return {way: np.min(times, axis=0) for way, times in found.items()}


# %%
times = {n: clock(n, rounds) for n, rounds in ((512, 9), (64, 15), (8, 25))}
measured = {way: times[512][way][0] / times[512]["full"][0] for way in ways}
for way, products in predicted.items():
    print(f"{way:21} counted {sum(products) / 23:.2f}, measured {measured[way]:.2f}")
trained_share = everywhere.trainable / ways["full"].trainable
print(f"LoRA trains {trained_share:.1%} of the parameters in {measured['LoRA']:.0%} of the time")
assert measured["LoRA"] > 0.5 and measured["LoRA, last two layers"] < measured["LoRA"]
assert trained_share == thin_share == 1 / 32

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 2.8))
left = np.zeros(3)
kinds = ("forward", "passing gradients on", "gradients of W", "thin products")
for label, sizes, colour in zip(kinds, zip(*predicted.values()), (BLUE, SKY, ORANGE, GREEN)):
    axis.barh(range(3), np.array(sizes) / 23, left=left, height=0.55, color=colour, label=label)
    left = left + np.array(sizes) / 23
points = list(measured.values())
axis.plot(points, range(3), "D", color="black", markersize=7, label="measured time")
axis.set(yticks=range(3), yticklabels=["full", "LoRA", "LoRA in the\nlast two layers"])
axis.set(xlabel="cost of a gradient, as a share of full fine-tuning", xlim=(0, 1.25))
axis.invert_yaxis()
look = {"columnspacing": 1.0, "handlelength": 1.2}
figure.legend(frameon=False, loc="outside upper center", ncols=5, **look)
# alt: Counted products as stacked bars, with the measured time as a diamond on each: full 1, LoRA about two thirds, LoRA in the last two layers well below a half, most of it the forward pass.
plt.show()

# %% [markdown]
# (a). The measured shares are above the counts, on a busy machine far above: biases, ReLUs and the tape take time too,
# and are not counted. A 32nd of the parameters, and more than half of the time. What decides is not how many parameters
# are trained, but how far *back* the gradient has to go, as the last bar shows. And even there the forward pass has to
# be paid in full.
#
# ## When does the time go with the parameters?
#
# One part of a step does shrink with the parameters: Adam's own arithmetic, a few operations for each trainable
# parameter, however many inputs there are.
#
# > **What do you expect?** With 8 inputs in a step instead of 512, LoRA's share of the time of full fine-tuning is (a)
# > smaller, (b) the same, (c) larger.

# %%
for n, fastest in times.items():
    (full_gradient, full_step), (gradient, step) = fastest["full"], fastest["LoRA"]
    print(
        f"{n:3} inputs: "
        f"Adam takes {full_step / (full_gradient + full_step):4.0%} of full fine-tuning's time; "
        f"LoRA needs {gradient / full_gradient:4.0%} for the gradient, "
        f"{(gradient + step) / (full_gradient + full_step):4.0%} for all"
    )
    assert step < 0.5 * full_step
steps = {n: fastest["full"][1] / sum(fastest["full"]) for n, fastest in times.items()}
assert steps[8] > steps[512]

# %% [markdown]
# (a): for a few inputs Adam can be the larger part of the step. So in a notebook with a tiny batch LoRA may seem
# several times as fast. That is Adam (and this library's Adam makes several passes over memory, where others make one).
# With thousands of tokens in a step, the products dominate, and (3) is the better guide. On a graphics card two more
# things count, which this page cannot measure. The thin products are too small to keep it busy, so they cost more than
# their share. And the memory that LoRA saves can hold a larger batch, or saves you a second card; in this way LoRA
# *can* make training faster.
#
# ## After training
#
# Left beside $W$, the adapter costs the share $\rho$ of (1) in additional multiplications, and four more notes on the
# tape for each matrix: two products, the scale and the sum. And merged? Count the operations: put the input on a tape,
# and see how many notes the forward pass writes.

# %%
merged = everywhere.merge(everywhere.params)
# Each has arrays of its own, so none warms another's cache
own = {name: W.copy() for name, W in weights.items()}
networks = {"no adapter": own, "merged": merged, "beside W": everywhere.bind(everywhere.params)}


def operations(network):
    with trace_stack.new_trace() as trace:
        end = mlp(network, new_box(x, trace, VJPNode.new_root()))
    return len(list(toposort(end._node))) - 1  # the input itself is no operation


notes = {name: operations(network) for name, network in networks.items()}
print("operations that an input passes:", notes)
assert notes["merged"] == notes["no adapter"] < notes["beside W"]
assert all(merged[name].dtype == weights[name].dtype for name in weights)
for n in (8, 512):
    found = {name: [] for name in networks}
    for _ in range(15):
        for name, network in networks.items():
            found[name].append(seconds(mlp, network, x[:n])[0])
    plain = min(found["no adapter"])
    ratios = (f"{name} {min(spent) / plain:.2f}" for name, spent in found.items())
    print(f"{n:3} inputs, time of a forward pass:", *ratios, sep="  ")

# %% [markdown]
# Merged, the adapter costs nothing: $W'$ is an array like $W$, and the network does the same operations as before. (So
# what differs from 1.00 there is the clock.) What you save on disk is real too, and there the share of the parameters
# is the share of the bytes. For 100 tasks, compare 100 full copies of LLaMA 3 with one copy and 100 adapters, all in
# float16.

# %%
copies, adapters_too = 100 * base16, base16 + 100 * 2 * trainable / 1e9
print(f"100 models {copies:,.0f} GB, one model and 100 adapters {adapters_too:,.0f} GB")
assert 50 < copies / adapters_too < 70

# %% [markdown]
# To sum up, for LLaMA 3, LoRA of rank 32 on five matrices, and one text of 2,048 tokens:
#
# | what | share of full fine-tuning | why |
# | :-- | :-- | :-- |
# | trainable parameters, Adam, disk | 0.7 % | these go with the trainable parameters |
# | memory of training | a fifth | the frozen weights and the activations stay |
# | products for one gradient | two thirds | the gradient has to pass through the frozen layers |
# | products after merging | all of them | it is the same network |
#
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 3.1
# answers.py`. It tries them on random cases, and shows the smallest on which one fails.

# %% [markdown]
# ### Exercise 1 (easy): more places, or more rank?
#
# On LLaMA 3, rank 32 on five matrices trains 56,623,104 parameters. Somebody suggests all seven matrices instead. Which
# rank may you take without training more parameters? And which rank if you adapt only q and v?
#
# Write `largest_rank(shapes, budget)`: the largest rank of LoRA, an integer, for which the matrices of a dict
# `{name: (d_out, d_in)}` train at most `budget` parameters together; 0 if not even rank 1 fits. (One answer is near 20,
# the other above 100.)

# %% [markdown]
# ### Exercise 2 (medium): merge in every step?
#
# In lesson 1 you trained LoRA by making $W' = W + B A$ in each step and using it like any matrix. Write this layer with
# the counting `product`, check its gradients against `lora_layer`, and compare the costs. When is it the cheaper way?
# (With $d = 60$, at rank 15 it can be; at rank 4 it never is.)
#
# Then write `multiplications(n, d_out, d_in, r)`. It returns a tuple of two integers, how many multiplications of two
# numbers the matrix products of one step take for $n$ inputs: by the thin path of `lora_layer`, and by way of $W'$.
# Each gives $y$ and the gradients for $A$, $B$ and $x$. A product of `(a, b)` and `(b, c)` takes $abc$.
#
# <details><summary>Hint</summary>
#
# Backward, you first get the gradient $G$ for $W'$, and from it those for $A$ and $B$ by (2) of lesson 2. Count the
# products of each way: eight, and six.
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): how long a text fits?
#
# You have a card of 24 GB and want to train LLaMA 3 8B with QLoRA, rank 32 on the five matrices. How many tokens fit
# into a step, if you count (2), with the base in four bits, and the 69,632 numbers for each token and layer in float16?
# How many if you keep only the input of each of the 32 layers, and compute one layer at a time again (*checkpointing*)?
# (The first answer is between 3,000 and 5,000.) What does that do to the ratio (3)? What do the logits, 128,256 numbers
# for each token, change in your counts?
#
# Write `tokens_that_fit(free, layers, numbers, d, logits)`. It returns a tuple of two integers, how many tokens fit
# into `free` bytes without and with checkpointing. `numbers` is how many each layer keeps for a token, `d` how many its
# input has, `logits` how many the end keeps; each takes two bytes.
#
# Last, another way to keep less: on the small network, adapt only the last four, two or one layers. How many
# activations does the tape keep?
#
# <details><summary>Hint</summary>
#
# With checkpointing, one layer has to hold all its 69,632 numbers for each token while it is computed again, and each
# layer holds the $d$ numbers of its input. Full fine-tuning without checkpointing still costs three products, the
# denominator of (3).
#
# </details>

# %% [markdown]
# ## Where to go next
#
# [Lesson 4](04_sbora.py) trains half of the parameters, all at chosen rows or columns of $W$. [Lesson
# 5](05_four_bits.py) stores the frozen weights, which are most of what is left of the memory, in four bits.
#
# ## References
#
# - Edward Hu and others, 2021, *LoRA: Low-Rank Adaptation of Large Language Models*,
#   [arXiv 2106.09685](https://arxiv.org/abs/2106.09685).
# - Samyam Rajbhandari and others, 2019, *ZeRO: Memory Optimizations Toward Training Trillion Parameter Models*,
#   [arXiv 1910.02054](https://arxiv.org/abs/1910.02054) (the 16 bytes for each trainable parameter).
# - Tim Dettmers and others, 2023, *QLoRA: Efficient Finetuning of Quantized LLMs*,
#   [arXiv 2305.14314](https://arxiv.org/abs/2305.14314).
# - Lai-Man Po and others, 2024, *SBoRA: Low-Rank Adaptation with Regional Weight Updates*,
#   [arXiv 2407.05413](https://arxiv.org/abs/2407.05413) (the published count).
