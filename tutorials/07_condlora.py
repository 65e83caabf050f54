# %% [markdown]
# # CondLoRA: one pair of small matrices makes the adapters of all layers, and controls ask why that works
#
# **You will learn**
#
# - how to ask whether the adapters of different layers are made from their weights in the same way, and why the answer
#   means nothing before you know what chance gives, and what other weights give;
# - how CondLoRA computes $A$ and $B$ of every layer from its $W$ with *one* pair of small matrices;
# - how a control experiment separates two explanations: is it $W$ that helps, or the sharing alone?
# - what shared adapters cannot represent.
#
# **Before this:** [lesson 2](02_lora_by_hand.py) (LoRA, `attach`) and [lesson 1](01_one_matrix.py) (singular
# values, the letters). **Time:** 45 minutes to read, 5 more for the optional part, 33 seconds to run.
#
# A network with $N$ layers of a kind has $N$ LoRA adapters, each with an $A$ and a $B$ of its own. Are they really
# $N$ different things? [Kim et al. (2024)](https://arxiv.org/abs/2403.14946) look at how each layer's $A$ and $B$
# can be computed from its own $W$. They find that the rule is similar from layer to layer, and they train one rule for
# all layers instead. At equal rank it takes $N$ times fewer parameters. Here you repeat both steps on small networks:
# first you look at trained adapters, then you train the shared rule.

# %%
from minilora.cli.lesson import BLUE, GREEN, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)

# %% [markdown]
# ## Four layers, four adapters
#
# The network of lesson 1 classifies sans letters. Its four hidden matrices are of one shape, 144 × 144, so they are
# "layers of a kind". Train LoRA of rank 8 on them, for three domains.

# %%
from minilora import accuracy, mlp
from minilora.cli import letters
from minilora.cli.comparison import Length
from minilora.data.glyphs import FRAKTUR, LIGHTING, ROTATED, SOURCE, draw_letters

LENGTH = Length(images=200, pretrain_steps=400, adapt_steps=250)
network = letters.pretrain(rng, LENGTH)
domains = {domain.name: domain for domain in (FRAKTUR, LIGHTING, ROTATED)}
to_adapt = {name: draw_letters(rng, domain, 40) for name, domain in domains.items()}
to_test = {name: draw_letters(rng, domain, 100) for name, domain in domains.items()}
known = draw_letters(rng, SOURCE, 100)


def share_correct(weights, data):
    """The accuracy of the network on images and their labels."""
    images, truths = data
    return accuracy(mlp(weights, images), truths)


print(f"accuracy on sans letters: {share_correct(network, known):.1%}")
before = (f"{name} {share_correct(network, to_test[name]):.1%}" for name in to_test)
print("before adapting:", ", ".join(before))

# %%
import time
from typing import NamedTuple

from minilora import LoRA, attach, fit, own_name


class Run(NamedTuple):
    """What `attach` made, the trained params, the accuracy on the domain, seconds of training."""

    attached: object
    params: dict
    accuracy: float
    seconds: float


def adapt(network, adapter, key, lr, name):
    """Adapt a network to a domain."""
    attached = attach(network, {letters.HIDDEN: adapter}, rng=rng, key=key)

    def loss(params, x, labels):
        return letters.mlp_loss(attached.bind(params), x, labels)

    started = time.process_time()
    params = fit(
        loss, attached.params, to_adapt[name], rng=rng, steps=LENGTH.adapt_steps, batch=64, lr=lr
    )
    seconds = time.process_time() - started
    return Run(attached, params, share_correct(attached.merge(params), to_test[name]), seconds)


LORA_RATES = {"fraktur": 3e-2, "lighting": 3e-2, "rotated": 1e-2}
lora = {name: adapt(network, LoRA(8), own_name, LORA_RATES[name], name) for name in domains}
print("LoRA r=8:", ", ".join(f"{name} {run.accuracy:.1%}" for name, run in lora.items()))

# %% [markdown]
# ## From W to A and B
#
# What would turn a layer's $W$ into its $A$ and $B$? A matrix on the left, and one on the right:
#
# $$ A = \Theta_A W, \qquad B = W\,\Theta_B^{\mathsf T}, \qquad
#    \Theta_A \; (r, d_\text{out}), \quad \Theta_B \; (r, d_\text{in}). \tag{1} $$
#
# The paper calls them [*conversion matrices*](glossary.md#conversion-matrix). If $W$ is invertible they always exist: $\Theta_A = A W^{-1}$ and
# $\Theta_B = (W^{-1} B)^{\mathsf T}$. So that a layer *has* them says nothing. The question is whether they are *the
# same* from layer to layer.
#
# But $A$ is not only what training made of it. $B$ starts at zero, $A$ starts at random, in each layer anew, and at
# the end it still contains its start $A_0$. How much of it?

# %%
from minilora.analysis import subspace_similarity

names = list(lora["fraktur"].params)  # the four adapted matrices
Ws = {name: network[name].astype(np.float64) for name in names}
As, starts, Bs = {}, {}, {}
for domain, run in lora.items():
    for name in names:
        A, B = (run.params[name][letter].astype(np.float64) for letter in "AB")
        A_0 = run.attached.params[name]["A"].astype(np.float64)
        As[domain, name], starts[domain, name], Bs[domain, name] = A, A_0, B
ratio = [np.linalg.norm(starts[at]) / np.linalg.norm(As[at] - starts[at]) for at in As]
kept = [subspace_similarity(As[at].T, starts[at].T, 8, 8) for at in As]
print(f"size of A_0 / size of A - A_0: {min(ratio):.2f} to {max(ratio):.2f}")
print(
    f"how alike the rows of A and of A_0 are (1: the same space): {min(kept):.2f} to {max(kept):.2f}"
)
assert 0.3 < min(ratio) < max(ratio) < 1.6 and max(kept) > 0.4

# %% [markdown]
# Two layers would differ by their starts alone. So take $A - A_0$, what training made, instead of $A$.
# `conversion_matrices` does that when it is given `A_0`.

# %%
from minilora.analysis import conversion_matrices

conversions = {}
for at in As:
    W = Ws[at[1]]
    Theta_A, Theta_B = conversion_matrices(W, As[at], Bs[at], A_0=starts[at])
    by_hand = (As[at] - starts[at]) @ np.linalg.inv(W), (np.linalg.inv(W) @ Bs[at]).T
    for ours, theirs in zip(by_hand, (Theta_A, Theta_B)):
        assert np.allclose(ours, theirs, rtol=1e-6, atol=1e-6 * np.abs(ours).max())
    assert np.allclose(Theta_A @ W, As[at] - starts[at], atol=1e-8)
    assert np.allclose(W @ Theta_B.T, Bs[at], atol=1e-8)
    conversions[at] = Theta_A, Theta_B

# %% [markdown]
# ## When are two of them alike?
#
# Not entry by entry. $BA$ is the same for $BR^{-1}$ and $RA$ with any invertible $R$ of $r \times r$, so $\Theta_A$ is
# only determined up to $R\,\Theta_A$. What does not depend on $R$ is the space that its rows span. (For $A - A_0$ this
# holds if $A_0$ is replaced by $R A_0$ as well.) Compare spaces: take orthonormal bases $U_1$ ($i$ columns) and $U_2$
# ($j$ columns) of two subspaces of a $d$-dimensional space, and compute their [*subspace
# similarity*](glossary.md#subspace-similarity-φ)
#
# $$ \varphi = \frac{\lVert U_1^{\mathsf T} U_2 \rVert_F^2}{\min(i, j)}, \tag{2} $$
#
# the mean squared cosine between them: 1 exactly if one lies in the other, 0 exactly if they are orthogonal.


# %%
def phi(M1, M2):
    """φ of the spaces that the columns of M1 (d, i) and M2 (d, j) span."""
    U1, U2 = np.linalg.qr(M1)[0], np.linalg.qr(M2)[0]
    return np.sum((U1.T @ U2) ** 2) / min(M1.shape[1], M2.shape[1])


M = rng.standard_normal((10, 3))
assert np.isclose(phi(M, M @ rng.standard_normal((3, 3))), 1)  # the same space, another basis
assert np.isclose(phi(M, M[:, :2]), 1)  # one lies in the other
assert np.isclose(phi(np.eye(10)[:, :3], np.eye(10)[:, 3:5]), 0)
other = rng.standard_normal((10, 4))
assert np.isclose(phi(M, other), subspace_similarity(M, other, 3, 4))

# %% [markdown]
# Two random subspaces are not orthogonal. On average a random direction has the squared length $i/d$ inside a subspace
# of $i$ dimensions, so $\varphi$ of two random subspaces is $\max(i, j)/d$ on average. This is what
# [*chance*](glossary.md#chance) gives. `random_similarity` knows it, and the standard deviation. The same $\varphi$ can
# be a finding or nothing at all:

# %%
from minilora.analysis import random_similarity

for d, i, j in ((144, 8, 8), (144, 8, 72), (16, 8, 8), (8, 8, 8)):
    tries = [phi(rng.standard_normal((d, i)), rng.standard_normal((d, j))) for _ in range(200)]
    mean, deviation = random_similarity(d, i, j)
    print(
        f"d = {d:3}, i = {i}, j = {j:2}: chance {mean:.3f} ± {deviation:.3f}; "
        f"200 random pairs {np.mean(tries):.3f}"
    )
    assert np.isclose(mean, max(i, j) / d) and abs(np.mean(tries) - mean) < 0.4 * deviation + 1e-9

# %% [markdown]
# Eight directions in a space of eight are *everything*, and $\varphi = 1$ says nothing. For eight in a space of 144,
# $\varphi = 0.1$ would already be far above chance. If you report a $\varphi$, say what chance gives. (The authors'
# analysis code does: it draws the map of random matrices beside its own.)
#
# ## Are the layers alike?
#
# Four layers make six pairs. Here is $\varphi$ of their conversion matrices, in three domains.
#
# > **What do you expect?** The mean $\varphi$ over all pairs is (a) close to 1, (b) clearly above chance (which is
# > 0.06), say 0.2, (c) what chance gives.

# %%
from itertools import combinations

mean, deviation = random_similarity(144, 8, 8)
pairs = list(combinations(names, 2))
found = {}
print("layers          ", "  ".join(f"{one}, {two} " for one, two in combinations(range(4), 2)))
for domain in domains:
    for side, letter in enumerate("AB"):
        spaces = {name: conversions[domain, name][side].T for name in names}
        found[domain, letter] = [phi(spaces[one], spaces[two]) for one, two in pairs]
        values = "  ".join(f"{value:.3f}" for value in found[domain, letter])
        print(f"{domain:9} Θ_{letter}    {values}")
everything = np.concatenate(list(found.values()))
print(f"mean of all {everything.size}: {everything.mean():.4f} ± {everything.std():.4f}")
print(f"by chance       {mean:.4f} ± {deviation:.4f}")
assert abs(everything.mean() - mean) < 0.4 * deviation and everything.max() < 0.1

# %% [markdown]
# (c). By this measure the conversion matrices of our layers are not alike. The paper's finding, made on RoBERTa, does
# not show in these four layers. (The authors' script defines the matrices a little differently. The optional section at
# the end repeats the comparison as they do it, with the same result.)
#
# ## Could it have said yes?
#
# Before you believe a "no", ask whether this measure could have said "yes". Plant an answer: make adapters that *do*
# come from one shared $\Theta$, $A_l = \Theta W_l$. Then add a little noise to each $A_l$, convert back, and look at
# $\varphi$.
#
# > **What do you expect?** How much noise, as a share of the size of $A_l$, brings $\varphi$ below a half? (a) A tenth,
# > (b) as much as $A_l$ itself, (c) ten times as much.

# %%
condition = [np.linalg.cond(W) for W in Ws.values()]
print("condition numbers of the layers:", ", ".join(f"{value:.0f}" for value in condition))
assert min(condition) > 200
shared = rng.standard_normal((8, 144)) / 12
noises, planted, left_over = [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1], [], []


def noisy(A, share):
    """A with Gaussian noise of this share of its size."""
    noise = rng.standard_normal(A.shape)
    return A + share * np.linalg.norm(A) / np.linalg.norm(noise) * noise


for share in noises:
    made = {name: noisy(shared @ W, share) for name, W in Ws.items()}
    spaces = {name: np.linalg.solve(W.T, made[name].T) for name, W in Ws.items()}  # Θ_Aᵀ
    planted.append(np.mean([phi(spaces[one], spaces[two]) for one, two in pairs]))
print("φ:", "  ".join(f"{value:.2f} at {share:.1%}" for share, value in zip(noises, planted)))
assert planted[0] > 0.99 and 0.3 < planted[5] < 0.6 and planted[6] < 0.2 and planted[7] < 1.5 * mean

# %% [markdown]
# (a). So yes, the measure works: without noise it says 1. But noise of a tenth more than halves it, and noise of a
# third leaves little of it, because $A W^{-1}$ amplifies what lies along the small singular values of $W$, and the
# largest singular value of our layers is hundreds of times the smallest. What remains are those directions, and they
# have nothing to do with each other. (That is also why $A_0$ had to go. It would be noise of the size printed first, a
# third of $A - A_0$ or more; with that, $\Theta_A$ would have said little.) So $\varphi$ at chance excludes one
# $\Theta$ for all layers, also under Gaussian noise of a third, but not one under noise as large as $A_l$ itself.
#
# The question "is there one $\Theta$ for all layers?" has a direct form that needs no inverse: *fit one*, by least
# squares, and look at what is left:
#
# $$ \text{residual}^2 = \min_\Theta \, \sum_l \lVert A_l - \Theta W_l \rVert_F^2 \;\Big/\;
#    \sum_l \lVert A_l \rVert_F^2. \tag{3} $$
#
# $\Theta$ has as many parameters as *one* of the $N$ matrices $A_l$, so it can satisfy one of $N$ equations: if the
# $W_l$ are square and invertible, and the $A_l$ have independent normal entries of one size, chance is
# $\sqrt{1 - 1/N}$, here 0.87.
#
# Our $A_l - A_{0,l}$ and $B_l$ are not of one size, and not random in any known way. A better
# [*control*](glossary.md#control), an experiment that differs in one thing only, keeps them all and changes just that:
# *give every layer another layer's $W$*. For four layers there are nine ways to do that so that none keeps its own. If
# $W_l$ has a part in $B_l$, the right pairing leaves less than the wrong.


# %%
def one_for_all(inputs, outputs):
    """The relative residual of the one least-squares Θ with input_l Θᵀ ≈ output_l for all l."""
    system, wanted = np.concatenate(inputs), np.concatenate(outputs)
    Q, _ = np.linalg.qr(system)  # the residual is what is orthogonal to the columns of the system
    return np.linalg.norm(wanted - Q @ (Q.T @ wanted)) / np.linalg.norm(wanted)


# %%
from itertools import permutations

for share in noises:
    made = [noisy(shared @ W, share) for W in Ws.values()]
    left_over.append(one_for_all([W.T for W in Ws.values()], [A.T for A in made]))
assert left_over[3] < 0.03 and planted[3] < 0.95  # 1 % of noise: nothing to the fit, much to φ

wrong_ways = [
    order for order in permutations(names) if all(one != two for one, two in zip(order, names))
]
assert len(wrong_ways) == 9
residuals, wrong, lowest = {"A": [], "B": []}, {"A": [], "B": []}, []
for letter in "AB":
    for domain in domains:
        if letter == "A":
            outputs = [(As[domain, name] - starts[domain, name]).T for name in names]
            inputs = {name: W.T for name, W in Ws.items()}
        else:
            outputs, inputs = [Bs[domain, name] for name in names], Ws
        own = one_for_all([inputs[name] for name in names], outputs)
        others = [one_for_all([inputs[name] for name in way], outputs) for way in wrong_ways]
        residuals[letter].append(own)
        wrong[letter].append(np.mean(others))
        what = {"A": "A - A_0", "B": "B      "}[letter]
        print(
            f"{domain:9} {what} one Θ leaves {own:.3f}; "
            f"paired wrongly {np.mean(others):.3f} ± {np.std(others):.3f}"
        )
        assert own < np.mean(others)
        lowest.append(own < min(others))
print(f"chance: {(1 - 1 / 4) ** 0.5:.3f}")
print(f"less than each of the nine wrong pairings: {sum(lowest)} times of 6")
assert sum(lowest) > 3
of_wrong_ways = []
for way in wrong_ways:
    for domain in domains:
        spaces = [np.linalg.solve(Ws[W], Bs[domain, name]) for W, name in zip(way, names)]
        of_wrong_ways += [phi(one, two) for one, two in combinations(spaces, 2)]
right_way = np.mean([found[domain, "B"] for domain in domains])
print(
    f"φ of Θ_B: {right_way:.4f}; paired wrongly "
    f"{np.mean(of_wrong_ways):.4f} ± {np.std(of_wrong_ways):.4f} for each pair"
)
assert abs(right_way - np.mean(of_wrong_ways)) < np.std(of_wrong_ways)
values = [*residuals["A"], *residuals["B"]]
assert min(values) > 0.72 and max(values) < 0.88
assert np.mean(residuals["A"]) < np.mean(wrong["A"])

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.1))
similarities = {letter: [np.mean(found[domain, letter]) for domain in domains] for letter in "AB"}
panels = (
    (planted, mean, similarities, "φ of conversion matrices"),
    (left_over, (1 - 1 / 4) ** 0.5, residuals, "residual of one Θ for all"),
)
label = "planted Θ plus noise"
for axis, (curve, chance, trained, title) in zip(axes, panels):
    axis.semilogx(np.maximum(noises, 0.0002), curve, "o-", color=BLUE, markersize=4, label=label)
    axis.axhline(chance, color=GREY, linestyle="--", linewidth=1, label="chance")
    axis.plot([4] * 3, trained["A"], "D", color=ORANGE, markersize=5, label="trained LoRA, A - A_0")
    axis.plot([8] * 3, trained["B"], "s", color=GREEN, markersize=5, label="trained LoRA, B")
    axis.set(title=title, xlabel="noise / size of A", ylim=(-0.05, 1.05))
    axis.set_xticks([0.0002, 0.001, 0.01, 0.1, 1, 6], ["0", "0.001", "0.01", "0.1", "1", "LoRA"])
axes[1].plot([5.6] * 6, [*wrong["A"], *wrong["B"]], "x", color=GREY, label="with other layers' W")
axes[1].legend(frameon=False, loc="upper left", bbox_to_anchor=(0.02, 0.8))
# alt: Left, φ of planted adapters falls from 1 to chance as noise grows to the size of A; trained LoRA is at chance. Right, their residual rises from 0 to 0.6; trained LoRA is just below chance, 0.87.
plt.show()

# %% [markdown]
# With 1 % of noise the fit says "one $\Theta$, and 1 % left". For the trained adapters one $\Theta$ explains only a
# little more than it does when every layer has another's $W$. But a little more it is: in all three domains, for
# $A - A_0$ and for $B$, the right pairing leaves less than the nine wrong ones do on average, and in most of these
# cases less than each of them. So $W_l$ has left a trace in both, which $\varphi$ does not see. It is too small to call
# the layers alike.
#
# That does *not* mean that one $\Theta$ cannot solve the task. LoRA found *one* solution for each layer, out of
# very many, and nobody asked it to find solutions that are alike. So ask for it.
#
# ## One pair for all layers
#
# Turn (1) around. Make $\Theta_A$ and $\Theta_B$ the parameters that you train, *one pair for all layers of a kind*,
# and let every layer compute its $A$ and $B$ from its own frozen $W$:
#
# $$ W_l' = W_l + W_l\,\Theta_B^{\mathsf T}\,\Theta_A W_l \qquad \text{for all layers } l. \tag{4} $$
#
# $\Theta_B$ starts at zero, so $W_l' = W_l$, as in LoRA. The forward pass needs no $A$: $A x = \Theta_A (W x)$, and
# $W x$ is computed anyway. First by hand, then by the library:

# %%
from minilora import CondLoRA

W = rng.standard_normal((5, 7))
Theta_A, Theta_B = rng.standard_normal((2, 5)), rng.standard_normal((2, 7))
A, B = Theta_A @ W, W @ Theta_B.T
x = rng.standard_normal(7)
params, frozen = {"Theta_A": Theta_A, "Theta_B": Theta_B}, {"W": W}
assert np.allclose(CondLoRA(2).merge(params, frozen), W + B @ A, atol=1e-12)
assert np.allclose(
    CondLoRA(2).forward(params, frozen, x), W @ x + B @ (Theta_A @ (W @ x)), atol=1e-12
)
assert np.allclose(
    LoRA(2).merge({"A": A, "B": B}, frozen), CondLoRA(2).merge(params, frozen), atol=1e-12
)
start, _ = CondLoRA(2).init(rng, W)
assert not start["Theta_B"].any() and start["Theta_A"].any()

# %% [markdown]
# The sharing is not a part of `CondLoRA`. `attach` takes a function `key` from a weight's name to a
# [*key*](glossary.md#key), and weights with equal keys train the same arrays. The default, `own_name`, is the name
# itself. `kind` replaces every number in the name by a star:

# %%
from minilora import kind

print(
    [
        kind(name)
        for name in ("layers.0.W", "layers.3.W", "blocks.7.attention.q.W", "blocks.7.attention.v.W")
    ]
)
attached = attach(network, {letters.HIDDEN: CondLoRA(8)}, rng=rng, key=kind)
print(attached)
assert list(attached.params) == ["layers.*.W"] and attached.trainable == 8 * (144 + 144)
params = {
    "layers.*.W": {name: array + 0.01 for name, array in attached.params["layers.*.W"].items()}
}
merged = attached.merge(params)
for name in names:  # the same Θ, but another update for every layer, because every W is different
    assert np.allclose(merged[name], CondLoRA(8).merge(params["layers.*.W"], {"W": network[name]}))
updates = [merged[name] - network[name] for name in names]
assert min(np.linalg.norm(one - two) for one, two in combinations(updates, 2)) > 0.1

# %% [markdown]
# How much does it save? $r(d_\text{out} + d_\text{in})$ parameters *once* for each kind of layer, however many there
# are. The authors report 294,912 trainable parameters for LoRA on the query and value matrices of RoBERTa-base, with
# twelve layers and rank 8, and 24,576 for CondLoRA. Count these, and LLaMA 3 8B at rank 32 as in lesson 3:

# %%
from minilora import count_trainable
from minilora.architectures import MODELS

for model, targets, rank in (
    ("roberta-base", ("q", "v"), 8),
    ("llama3-8b", ("q", "k", "v", "up", "down"), 32),
):
    shapes = MODELS[model].shapes(targets)
    alone = count_trainable(LoRA(rank), shapes)
    shared_once = count_trainable(CondLoRA(rank), shapes, key=kind)
    print(
        f"{model:12} LoRA {alone:10,}, CondLoRA {shared_once:9,}: {alone // shared_once} times fewer"
    )
    by_hand = {kind(name): rank * sum(shape) for name, shape in shapes.items()}  # once for a kind
    assert shared_once == sum(by_hand.values())
    assert (alone, shared_once) in ((294_912, 24_576), (56_623_104, 56_623_104 // 32))

# %% [markdown]
# ## Is it W that helps? Two controls
#
# Say CondLoRA does well. There are at least two explanations. The paper's: the frozen $W$ tells each layer what its
# adapter should be. The other: it is enough to share *something*, and what is shared has little to do with $W$. Two
# controls take one ingredient away:
#
# - [*tied*](glossary.md#tied): one $A$ and one $B$ for all layers. Sharing, and no $W$ at all: LoRA with `key=kind`.
# - *on noise*: CondLoRA's formula, but in $A$ and $B$ every layer gets, instead of $W_l$, a random matrix $G_l$ of the
#   norm of its $W_l$, drawn once and frozen. The layers differ, but their differences have nothing to do with $W_l$.
#
# All have the same 2,304 trainable parameters. The second takes about fifteen lines. An adapter is a frozen dataclass
# with three functions, `init`, `forward` and `merge`, nothing more:

# %%
from dataclasses import dataclass

from minilora import linear


@dataclass(frozen=True)
class OnNoise:
    """W' = W + G Θ_Bᵀ Θ_A G with a frozen random G of the norm of W."""

    rank: int

    def init(self, rng, W):
        params, _ = CondLoRA(self.rank).init(rng, W)
        G = rng.standard_normal(W.shape).astype(W.dtype)
        return params, {"W": W, "G": G * (np.linalg.norm(W) / np.linalg.norm(G))}

    def forward(self, params, frozen, x):
        low = linear(params["Theta_A"], linear(frozen["G"], x))
        return linear(frozen["W"], x) + low @ linear(frozen["G"], params["Theta_B"])

    def merge(self, params, frozen):
        G = frozen["G"]
        return frozen["W"] + (G @ params["Theta_B"].T) @ (params["Theta_A"] @ G)


# %%
W = rng.standard_normal((5, 7))
adapter = OnNoise(2)
params, frozen = adapter.init(rng, W)
assert np.array_equal(adapter.merge(params, frozen), W)  # starts at W
params["Theta_B"] = rng.standard_normal((2, 7))
batch = rng.standard_normal((3, 7))
assert np.allclose(
    adapter.forward(params, frozen, batch), batch @ adapter.merge(params, frozen).T, atol=1e-12
)
assert np.isclose(np.linalg.norm(frozen["G"]), np.linalg.norm(W))

# %% [markdown]
# Three networks, each pretrained anew, and three domains. All methods but LoRA of rank 8 train 2,304 parameters. For
# each method and domain the learning rate is the better one of 0.01 and 0.03 on other networks. (With unequal care in
# the choice you would compare the rates.)
#
# > **What do you expect?** Take the random $G_l$ instead of $W_l$. The accuracy is (a) lower in all three domains, (b)
# > the same in all three, (c) lower in one, the same in one, higher in one.

# %%
rivals = {
    "LoRA r=8": (LoRA(8), own_name),
    "LoRA r=2": (LoRA(2), own_name),
    "CondLoRA r=8": (CondLoRA(8), kind),
    "tied r=8": (LoRA(8), kind),
    "on noise r=8": (OnNoise(8), kind),
}
# 0.01, the others 0.03
slower = {
    ("LoRA r=8", "rotated"),
    ("CondLoRA r=8", "lighting"),
    ("CondLoRA r=8", "rotated"),
    ("tied r=8", "rotated"),
    ("on noise r=8", "lighting"),
}
networks = [network, letters.pretrain(rng, LENGTH), letters.pretrain(rng, LENGTH)]
runs = {("LoRA r=8", domain): [lora[domain]] for domain in domains}
for method, (adapter, key) in rivals.items():
    for domain in domains:
        lr = 1e-2 if (method, domain) in slower else 3e-2
        some = runs.setdefault((method, domain), [])
        some += [adapt(one, adapter, key, lr, domain) for one in networks[len(some) :]]
        trainable = 9216 if method == "LoRA r=8" else 2304
        assert all(run.attached.trainable == trainable for run in some)
shares = {at: 100 * np.array([run.accuracy for run in some]) for at, some in runs.items()}


def three(values):
    """Three networks' numbers in each of the three domains."""
    return "   ".join(f"{name} " + " ".join(f"{v:5.1f}" for v in values[name]) for name in domains)


for method in rivals:
    print(f"{method:13}", three({domain: shares[method, domain] for domain in domains}))

# %% tags=["hide-input"]
colours = dict(zip(rivals, ("black", GREY, BLUE, ORANGE, GREEN)))
figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.8), sharex=True, sharey=True)
for axis, domain in zip(axes, domains):
    for place, method in enumerate(rivals):
        values = shares[method, domain]
        axis.plot(
            values, [-place] * len(values), "o", color=colours[method], markersize=6, alpha=0.7
        )
        axis.plot(
            np.mean(values), -place, "|", color=colours[method], markersize=18, markeredgewidth=2
        )
    axis.set(title=domain, xlabel="accuracy (%)", ylim=(-4.6, 0.6))
    axis.grid(axis="x", alpha=0.25)
axes[0].set_yticks([-place for place in range(len(rivals))], list(rivals))
# alt: Accuracy of five methods on three networks in three panels. LoRA r=8 is highest in each. Then, fraktur: tied and on noise; lighting: CondLoRA; rotated: on noise, with tied far apart.
plt.show()

# %% [markdown]
# (c). Each dot is one network, a bar is the mean of three. Compare two methods on the *same* network: by how many
# points is CondLoRA better, and is it on all three?

# %%
gaps = {}
for rival in rivals:
    if rival != "CondLoRA r=8":
        for domain in domains:
            gaps[rival, domain] = shares["CondLoRA r=8", domain] - shares[rival, domain]
        print(
            f"CondLoRA minus {rival:13}", three({domain: gaps[rival, domain] for domain in domains})
        )
seconds = {
    method: min(run.seconds for domain in domains for run in runs[method, domain])
    for method in ("LoRA r=8", "CondLoRA r=8")
}
for method, shortest in seconds.items():
    print(f"{method:13} {shortest:.2f} seconds of training, the shortest of nine runs")

# %% [markdown]
# Read it line by line. Three networks are few: trust a large gap that has one sign on all three, and no other.
#
# - *LoRA of the same rank*, with four times the parameters: CondLoRA is clearly behind on rotated letters, and one to
#   four points on the others, on average. The paper's main claim, on par with far fewer parameters, nearly holds here
#   in two cases of three, after training as short as this. (With more steps the gap on rotated letters narrows; try
#   400.)
# - *LoRA with equally many parameters* (rank 2): CondLoRA is ahead by one to three points on Fraktur and under uneven
#   light, on average. On rotated letters the sign differs from network to network.
# - *Fraktur*: tied and on noise are no worse than on $W$. It is the sharing that works here; we see no part of $W$ in
#   it.
# - *Uneven light*: noise is clearly worse than $W$. Here $W$ is better than noise; a tied pair, with no $W$ at all, is
#   only a little behind.
# - *Rotated letters*: noise is *better* than $W$, and clearly better than a tied pair. So what $W$ says is not what
#   helps here. That each layer gets a $G$ of its own is only a part of it: on two networks that we tried (not shown
#   here), noise with one common $G$ in all layers was still well ahead of a tied pair. A tied pair is nearly level with
#   $W$ on one network and far behind on two.
#
# As for *time*: a step takes about as long as one of LoRA. Fewer trainable parameters save memory, not products.
#
# "A single linear layer yields task-adapted matrices": yes, mostly. "Because $W$ tells it how": against noise in one
# case of three, and there a pair without $W$ is nearly as good. A method can work for another reason than the one it
# was built on. Only a control can tell.

# %%
assert all(gaps["LoRA r=8", "rotated"] < -3)
for domain in ("fraktur", "lighting"):
    assert -5 < np.mean(gaps["LoRA r=8", domain]) < 0
    assert 0.3 < np.mean(gaps["LoRA r=2", domain]) < 5
assert abs(np.mean(gaps["LoRA r=2", "rotated"])) < 4
for control in ("tied r=8", "on noise r=8"):
    assert -5 < np.mean(gaps[control, "fraktur"]) < 1
assert all(gaps["on noise r=8", "lighting"] > 2) and all(gaps["on noise r=8", "rotated"] < 0)
assert np.mean(gaps["on noise r=8", "rotated"]) < -1
assert all(shares["on noise r=8", "rotated"] - shares["tied r=8", "rotated"] > 1.5)
assert 0 < np.mean(gaps["tied r=8", "lighting"]) < 4
assert 0.5 < seconds["CondLoRA r=8"] / seconds["LoRA r=8"] < 2

# %% [markdown]
# ## What CondLoRA cannot represent
#
# First, in one layer. By (4) the update is $W(\dots)W$. Its columns lie in the column space of $W$, its rows in the
# row space. So what $W$ maps to zero, $W'$ maps to zero, whatever you train, and the rank of $W'$ is at most that of
# $W$. LoRA has no such limit. (Neither has CondLoRA in one layer if $W$ is invertible: conversion matrices exist.)

# %%
W = rng.standard_normal((6, 3)) @ rng.standard_normal((3, 8))  # rank 3
params = {"Theta_A": rng.standard_normal((2, 6)), "Theta_B": rng.standard_normal((2, 8))}
by_condlora = CondLoRA(2).merge(params, {"W": W})
by_lora = LoRA(2).merge(
    {"A": rng.standard_normal((2, 8)), "B": rng.standard_normal((6, 2))}, {"W": W}
)
ranks = [int(np.linalg.matrix_rank(M, tol=1e-8)) for M in (W, by_condlora, by_lora)]
print("rank of W, with CondLoRA, with LoRA:", ranks)
assert ranks[1] <= ranks[0] == 3 and ranks[2] == 5
ignored = np.linalg.svd(W)[2][-1]  # a direction that W maps to zero
assert np.linalg.norm(by_condlora @ ignored) < 1e-10 < 0.1 < np.linalg.norm(by_lora @ ignored)

# %% [markdown]
# Second, between layers. Say that layer $l$ needs the update $\Delta_l$. One $M = \Theta_B^{\mathsf T}\Theta_A$ has to
# serve all, $W_l M W_l = \Delta_l$. For invertible $W_l$ that is possible only if all $W_l^{-1}\Delta_l W_l^{-1}$ are
# the same matrix. `solve_shared_conversion` finds the best $M$ (of any rank) and what it leaves. With updates of
# independent normal entries of one size, and square $W_l$, it is about $\sqrt{1 - 1/N}$ again.

# %%
from minilora.theorems.reachable import solve_shared_conversion

for count in (1, 2, 4, 8):
    agreeing, independent = [], []
    for _ in range(5):
        layers = [rng.standard_normal((8, 8)) for _ in range(count)]
        common = rng.standard_normal((8, 8))
        needs = [rng.standard_normal((8, 8)) for _ in layers]
        agreeing.append(solve_shared_conversion(layers, [W @ common @ W for W in layers])[1])
        independent.append(solve_shared_conversion(layers, needs)[1])
    chance = (1 - 1 / count) ** 0.5
    print(
        f"{count} layers: one M leaves {max(agreeing):.0e} if they agree, "
        f"{np.mean(independent):.2f} if not; chance {chance:.2f}"
    )
    assert max(agreeing) < 1e-11 and abs(np.mean(independent) - chance) < 0.08

# %% [markdown]
# That is the price: with $N$ layers and nothing in common between them, a shared adapter explains about one $N$-th of
# what they need, as if it served one layer. Why does it cost so little on the letters? A likely reason, which we do
# not prove: a network has many good sets of updates, and training looks for one among those that can be shared.
#
# ## Optional: as the authors do it
#
# You can skip this section. The authors' analysis script differs from (1) in some ways. It compares three matrices, all
# with $W^{-1}$ on the left: $W^{-1}A^{\mathsf T}$, $W^{-1}B$ and $W^{-1}BA$, with $A$ as it is. It takes left or right
# singular vectors, and the first $i$ and $j$ of them as you like. `published_conversion_matrices` gives these three. At
# $i = j = r$ the third tells you nothing new: its columns span what those of $W^{-1}B$ span, and its rows what the rows
# of $A$ span, without $W$. At $i < r$ it does: there it is the only one of the three that does not depend on $R$.

# %%
from minilora.analysis import published_conversion_matrices


def similarity_of_layers(made, i):
    """The mean φ(i, i) over six pairs of layers and three domains."""
    values = [
        subspace_similarity(made[domain, one], made[domain, two], i, i)
        for domain in domains
        for one, two in pairs
    ]
    return np.mean(values)


def smaller(M):
    """A matrix (d, 8) with the left singular vectors and the singular values of M, of rank 8."""
    U, values, _ = np.linalg.svd(M)
    return U[:, :8] * values[:8]


as_it_is = {at: published_conversion_matrices(Ws[at[1]], As[at], Bs[at]) for at in As}
learned = {at: published_conversion_matrices(Ws[at[1]], As[at], Bs[at], starts[at]) for at in As}
rows = {
    "W⁻¹ Aᵀ": {at: made["A"] for at, made in as_it_is.items()},
    "W⁻¹ (A - A_0)ᵀ": {at: made["A"] for at, made in learned.items()},
    "W⁻¹ B": {at: made["B"] for at, made in learned.items()},
    "W⁻¹ B A": {at: smaller(made["BA"]) for at, made in learned.items()},
    "right vectors": {at: smaller(made["BA"].T) for at, made in learned.items()},
}
print("i = j              1     2     4     8")
for label, made in rows.items():
    row = [similarity_of_layers(made, i) for i in (1, 2, 4, 8)]
    print(f"{label:16}", " ".join(f"{value:.3f}" for value in row))
    for i, value in zip((1, 2, 4, 8), row):
        assert abs(value - i / 144) < random_similarity(144, i, i)[1]
print(f"{'chance':16}", " ".join(f"{i / 144:.3f}" for i in (1, 2, 4, 8)))
both = (similarity_of_layers(rows[label], 8) for label in ("W⁻¹ B", "W⁻¹ B A"))
assert np.isclose(*both, rtol=1e-4)

# %% [markdown]
# It stays at what chance gives. The authors also compare what was trained: LoRA's $A$ with CondLoRA's $A$, $B$ with $B$
# and $BA$ with $BA$, layer by layer, by $\varphi$, next to random matrices. (They take $A$ as it is. We add $A - A_0$.)
# Again, chance is not the only number to compare with. Add one from below, LoRA's matrices of a layer with CondLoRA's
# of the *next*, and one from above: LoRA with LoRA, from another start.


# %%
def trained_matrices(run, name):
    """{label: matrix} of one layer; their left singular vectors are what is compared."""
    if name in run.params:  # LoRA
        A_0, A, B = run.attached.params[name]["A"], run.params[name]["A"], run.params[name]["B"]
    else:  # CondLoRA
        before, after = (own["layers.*.W"] for own in (run.attached.params, run.params))
        A_0, A = (own["Theta_A"] @ Ws[name] for own in (before, after))
        B = Ws[name] @ after["Theta_B"].T
    A_0, A, B = (M.astype(np.float64) for M in (A_0, A, B))
    triangle = np.linalg.qr(A.T)[1]  # A = triangleᵀ Qᵀ, so BA has those of B triangleᵀ
    return {"A": A.T, "A - A_0": (A - A_0).T, "B": B, "BA": B @ triangle.T}


again = {name: adapt(network, LoRA(8), own_name, LORA_RATES[name], name) for name in domains}
versus = {"CondLoRA": 0, "next layer": 1, "LoRA again": 0}  # and by how many layers it is shifted
alike = {}
for label in ("A", "A - A_0", "B", "BA"):
    for rival, shift in versus.items():
        for i in (1, 8):
            values = []
            for domain in domains:
                other = again[domain] if rival == "LoRA again" else runs["CondLoRA r=8", domain][0]
                for k, name in enumerate(names):
                    one = trained_matrices(lora[domain], name)[label]
                    two = trained_matrices(other, names[(k + shift) % 4])[label]
                    values.append(subspace_similarity(one, two, i, i))
            alike[label, rival, i] = np.mean(values)
for i in (1, 8):
    print(f"φ({i}, {i}) of LoRA with", ", ".join(versus), f"(chance {i / 144:.3f})")
    for label in ("A", "A - A_0", "B", "BA"):
        cells = (f"{alike[label, rival, i]:.3f}" for rival in versus)
        print(f"    {label:8}", "   ".join(cells))

for label in ("A", "A - A_0", "B", "BA"):
    below, own, above = (
        alike[label, rival, 8] for rival in ("next layer", "CondLoRA", "LoRA again")
    )
    assert below < 0.1 and 1.2 * below < own < 0.8 * above

# %% [markdown]
# In every line LoRA and CondLoRA agree more than by chance, and more than with the next layer. But two LoRAs from two
# starts agree far more. CondLoRA does not find LoRA's update: it finds another one.
#
# Last, a note on the released code of CondLoRA. It sends the *rows of $W$* through both linear layers. Written in our
# letters that gives $W M W^{\mathsf T}$, with $M = \Theta_B^{\mathsf T}\Theta_A$, instead of $W M W$ in (4). For a
# square $W$ it is another adapter with as many parameters, and $W^{-1}A^{\mathsf T}$ above is *its*
# $\Theta_A^{\mathsf T}$. For any other shape it does not fit.

# %%
square = rng.standard_normal((5, 5))
Theta_A, Theta_B = rng.standard_normal((2, 2, 5))
ours = CondLoRA(2).merge({"Theta_A": Theta_A, "Theta_B": Theta_B}, {"W": square}) - square
published = (square @ Theta_B.T) @ (square @ Theta_A.T).T
print(
    "relative difference of the two updates: "
    f"{np.linalg.norm(ours - published) / np.linalg.norm(ours):.2f}"
)
assert np.allclose(published, square @ (Theta_B.T @ Theta_A) @ square.T)
assert not np.allclose(ours, published, atol=0.1)
wide = rng.standard_normal((5, 7))
M = rng.standard_normal((7, 7))
assert (wide @ M @ wide.T).shape == (5, 5) != wide.shape  # cannot be added to W

# %% [markdown]
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 7.1
# answers.py`. It tries them on random cases, and shows the smallest on which one fails.
#
# ### Exercise 1 (easy): spend the savings
#
# A model has 32 layers with a query and a value matrix of 4096 × 4096 each. LoRA of rank 8 trains how many parameters?
# And CondLoRA of rank 8? With LoRA's budget, what rank could CondLoRA have? (Between 100 and 1,000.)
#
# Write `sharing_counts(layers, kinds, d, rank)` for `layers` layers, each with a $d \times d$ matrix of each of `kinds`
# kinds: a tuple of three integers, LoRA's number, CondLoRA's with the same rank, and the largest rank with which
# CondLoRA trains no more than LoRA.

# %% [markdown]
# ### Exercise 2 (medium): what φ ignores and the fit does not
#
# Is $\varphi = 1$ enough for one $\Theta$? Write `alike_without_recipe(Ws, r)`. It gets a list of two to four
# well-conditioned matrices $W_l$ `(d, d)` and a rank $r < d$. It returns a list of as many $A_l$ `(r, d)`, each of rank
# $r$, for which $\varphi$ of any two conversion matrices $A_l W_l^{-1}$ is 1, but the residual (3) is at least 0.5.
#
# Then replace the trained $A_l$ by $R_l A_l$ and $B_l$ by $B_l R_l^{-1}$, with a random invertible $R_l$ for each
# layer. Show that the adapted network stays the same, that $\varphi$ between the conversion matrices $A_l W_l^{-1}$
# stays the same (with $A_l$ itself in place of $A_l - A_{0,l}$), and that the residual (3) does not. Which of the two
# questions is the more demanding one? Try it on planted adapters $A_l = \Theta W_l$ too. (Their residual rises from 0
# to more than 0.5.)

# %% [markdown]
# ### Exercise 3 (hard): recover a recipe that is there
#
# `teacher.shared_conversion` makes a teacher with $W_l + W_l M W_l$, one $M$ of rank $k$ for all layers. Write
# `shared_recipe(Ws, deltas)`, which finds $M$ without training. It gets two lists, $W_l$ and $\Delta W_l$, both
# `(d_out, d_in)`, and returns the matrix $M$ `(d_in, d_out)`, of any rank, for which
# $\sum_l \lVert W_l M W_l - \Delta W_l \rVert_F^2$ is smallest; if several are, any of them. Use NumPy only. The
# library's `solve_shared_conversion` will tell you whether you are right.
#
# Then see whether training finds it. Train CondLoRA of rank 2 with `key=kind` on
# `teacher_task(rng, teacher.shared_conversion, 2, widths=(12, 12, 12, 12))`, and tied LoRA with as many parameters,
# both for 1,000 steps of 64 points at the rate 0.03. Which one gets near, to a relative error below $10^{-4}$? Does
# CondLoRA find the *same* $M$, or another one that does as well?
#
# <details><summary>Hint</summary>
#
# $W M W$ is linear in $M$. Which matrix maps `M.ravel()` to `(W @ M @ W).ravel()`? `np.kron` makes it.
#
# The true $M$ is $W^{-1}(W' - W)W^{-1}$ in any layer, and the trained one is $\Theta_B^{\mathsf T}\Theta_A$. Compare
# them entry by entry: here nothing is free, because $\Theta_B^{\mathsf T}R^{-1}R\,\Theta_A$ is the same $M$.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# Both HRA and CondLoRA give up some of what LoRA can represent. How much can LoRA itself represent, if *every* layer
# of a network gets a small update? [Lesson 8](08_expressive_linear.py) answers that exactly, for linear networks.
#
# ## References
#
# - Hwichan Kim, Shota Sasaki, Sho Hoshino, Ukyo Honda (2024). A single linear layer yields task-adapted low-rank
#   matrices. [arXiv 2403.14946](https://arxiv.org/abs/2403.14946).
# - Edward Hu and others (2021). LoRA: low-rank adaptation of large language models, section 7 for $\varphi$.
#   [arXiv 2106.09685](https://arxiv.org/abs/2106.09685).
