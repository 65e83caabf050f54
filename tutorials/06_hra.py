# %% [markdown]
# # HRA: rotate and reflect the inputs of a matrix, and stretch nothing
#
# **You will learn**
#
# - what a reflection is, and why a product of reflections keeps every length and angle;
# - what $W' = WH$ keeps that LoRA does not, although it *is* a LoRA in disguise;
# - why an even number of reflections can start as the identity, and an odd number cannot;
# - which tasks suit HRA, and what it cannot reach;
# - optionally: what changes if the vectors $u_i$ are held orthogonal to each other.
#
# **Before this:** [lesson 2](02_lora_by_hand.py) (LoRA, `attach`); the letters are those of [lesson
# 1](01_one_matrix.py). **Time:** 40 minutes to read, 15 more for the optional part, 26 seconds to run.
#
# LoRA adds to a matrix: $W' = W + BA$. HRA (*Householder reflection adaptation*, [Yuan, Liu & Xu,
# 2024](https://arxiv.org/abs/2405.17484)) multiplies it:
#
# $$ W' = W H, \qquad H = H_1 H_2 \cdots H_r, \qquad
#    H_i = I - 2\,\frac{u_i u_i^{\mathsf T}}{u_i^{\mathsf T} u_i}. \tag{1} $$
#
# Only the vectors $u_1, \dots, u_r$ are trained, $r\,d_\text{in}$ parameters. Each $H_i$ is a
# [*reflection*](glossary.md#reflection): think of a mirror. The frozen $W$ gets its inputs reflected $r$ times. What
# can reflections do, and what not?

# %%
from minilora.cli.lesson import BLUE, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)

# %% [markdown]
# ## One reflection
#
# Take a vector $u$. All vectors orthogonal to $u$ form the mirror: a line in the plane, a plane in space, and so on.
# The reflection $H = I - 2uu^{\mathsf T}/u^{\mathsf T}u$ turns $u$ into $-u$ and leaves the vectors of the mirror as
# they are. Call it the reflection *along* $u$. How long $u$ is does not matter, only its direction.


# %%
def reflection(u):
    """I − 2 u uᵀ / uᵀu."""
    return np.eye(len(u)) - 2 * np.outer(u, u) / (u @ u)


u = rng.standard_normal(5)
H = reflection(u)
x = rng.standard_normal(5)
orthogonal = x - (u @ x) / (u @ u) * u  # x without its part along u
assert np.allclose(H @ u, -u)
assert np.allclose(H @ orthogonal, orthogonal)
assert np.allclose(reflection(100 * u), H)
# The same reflection twice changes nothing
assert np.allclose(H, H.T) and np.allclose(H @ H, np.eye(5))
print(
    f"|x| = {np.linalg.norm(x):.6f}, |Hx| = {np.linalg.norm(H @ x):.6f}, "
    f"det H = {np.linalg.det(H):.6f}"
)

# %% [markdown]
# In the plane you can see it. One reflection turns a letter F into a mirrored F. The *determinant* of $H$ is $-1$: the
# sign says that left and right are exchanged. Now reflect the result again, along a second vector at 20° to the first.
#
# > **What do you expect?** After the second reflection the F is (a) mirrored again, (b) rotated by 20°, (c) rotated by
# > 40°.

# %%
corners = [
    (0, 0),
    (0, 12),
    (8, 12),
    (8, 9.5),
    (2.5, 9.5),
    (2.5, 7),
    (6, 7),
    (6, 4.5),
    (2.5, 4.5),
    (2.5, 0),
]
F = 0.07 * np.array(corners).T + [[1.25], [-0.5]]
first, second = (np.array([np.cos(angle), np.sin(angle)]) for angle in np.deg2rad([150, 170]))
once = reflection(first) @ F
twice = reflection(second) @ once
cos, sin = np.cos(np.deg2rad(40)), np.sin(np.deg2rad(40))
# 20° between the two vectors: a rotation by 40°
assert np.allclose(twice, np.array([[cos, -sin], [sin, cos]]) @ F)

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.3))
for axis, u, name, colour, shape, strength in (
    (axes[0], first, "u₁", BLUE, once, 0.7),
    (axes[1], first, "u₁", BLUE, once, 0.2),
    (axes[1], second, "u₂", ORANGE, twice, 0.7),
):  # the mirror as a dashed line, the vector across it, and the letter after the reflection
    axis.plot([-1.7 * u[1], 1.9 * u[1]], [1.7 * u[0], -1.9 * u[0]], "--", color=colour, linewidth=1)
    head = {"arrowstyle": "->", "color": colour, "linewidth": 1.8}
    axis.annotate("", 0.8 * u, (0, 0), arrowprops=head)
    axis.text(*(0.95 * u), name, color=colour, ha="center", va="center")
    axis.fill(*shape, facecolor=colour, alpha=strength)
for axis, title in zip(axes, ("one reflection", "and a second one")):
    axis.fill(*F, facecolor=GREY, alpha=0.7)
    axis.set(title=title, aspect="equal", xlim=(-1.3, 2.1), ylim=(-0.9, 2.1), xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
# alt: Left: a grey F and its mirror image across a dashed line. Right: the mirror image, reflected at a second line 20° from the first, is the F again, rotated by 40°.
plt.show()

# %% [markdown]
# (c). The second reflection exchanges left and right back. What is left is a *rotation*, by *twice* the angle between
# the two vectors.
#
# Change the angle between the two vectors, and watch the F: by how much is it rotated at 45°, and at 90°? (The dashed
# lines are the two mirrors. A script shows one picture.)

# %% tags=["hide-input"]
from minilora.cli.slider import Slider


def draw_pair(figure, degrees):
    """F, and F after two reflections whose vectors are so many degrees apart."""
    axis = figure.subplots()
    v = np.array([np.cos(np.deg2rad(150 + degrees)), np.sin(np.deg2rad(150 + degrees))])
    for u, colour in ((first, BLUE), (v, ORANGE)):
        axis.plot([-2 * u[1], 2 * u[1]], [2 * u[0], -2 * u[0]], "--", color=colour, linewidth=1)
    axis.fill(*F, facecolor=GREY, alpha=0.7)
    axis.fill(*once, facecolor=BLUE, alpha=0.2)
    axis.fill(*(reflection(v) @ once), facecolor=ORANGE, alpha=0.7)
    axis.set(aspect="equal", xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


alt = (
    "A grey F, its pale mirror image, and the F after both reflections, rotated by twice the angle."
)
angles = [f"{degrees}°" for degrees in range(0, 91, 15)]
Slider(
    "angle between the two vectors:",
    angles,
    lambda figure, angle: draw_pair(figure, int(angle[:-1])),
    alt=alt,
    size=(3.6, 3.6),
    start=2,
).show()

# %% [markdown]
# The angle of the rotation is always twice the angle between the vectors: 90° at 45°, and at 90° half a turn.
#
# ## A chain of reflections
#
# Multiply $r$ reflections. No step changes a length or an angle, so the product changes none: $H^{\mathsf T} H = I$.
# Such matrices are called *orthogonal*. Each factor multiplies the determinant by $-1$, so $\det H = (-1)^r$. And the
# inverse is the same reflections in reverse order.

# %%
U = rng.standard_normal((6, 5))  # the vectors of five reflections, in columns
H, back = np.eye(6), np.eye(6)
for u in U.T:
    H = H @ reflection(u)
for u in U.T[::-1]:
    back = back @ reflection(u)
assert np.allclose(H.T @ H, np.eye(6), atol=1e-13)
assert np.isclose(np.linalg.det(H), (-1) ** 5)
assert np.allclose(back @ H, np.eye(6), atol=1e-13) and np.allclose(back, H.T, atol=1e-13)

# %% [markdown]
# Now put $H$ to the right of a frozen $W$, as in (1). The library's `HRA` merges by sending the rows of $W$ through
# one reflection after the other. It is your product:

# %%
from minilora import HRA
from minilora.weight import reflect

W = rng.standard_normal((4, 6))
adapter = HRA(rank=5, odd=True)  # an odd number has to be asked for; you will see why
assert np.allclose(adapter.merge({"U": U}, {"W": W}), W @ H, atol=1e-13)
# One reflection, without building H
assert np.allclose(reflect(W, U[:, 0]), W @ reflection(U[:, 0]), atol=1e-14)
x = rng.standard_normal(6)
assert np.allclose(adapter.forward({"U": U}, {"W": W}, x), W @ (H @ x), atol=1e-13)

# %% [markdown]
# HRA trains $r\,d_\text{in}$ parameters: for a square matrix half of what LoRA of the same rank trains. On the matrices
# q and v of LLaMA-7B at rank 32 (lesson 3):

# %%
from minilora import LoRA, count_trainable
from minilora.architectures import MODELS

shapes = MODELS["llama-7b"].shapes(("q", "v"))  # 64 matrices of 4096 × 4096
counts = [count_trainable(method(32), shapes) for method in (HRA, LoRA)]
print("HRA {:,}, LoRA {:,} trainable parameters".format(*counts))
assert counts == [64 * 32 * 4096, 64 * 32 * (4096 + 4096)] == [8_388_608, 16_777_216]

# %% [markdown]
# ## What W H keeps
#
# A row of $W$ is what one output unit responds to. $WH$ moves all rows together, like a rigid body:
# $(WH)(WH)^{\mathsf T} = W H H^{\mathsf T} W^{\mathsf T} = W W^{\mathsf T}$. That matrix holds every row's length and
# every angle between two rows, and its eigenvalues are the squares of the singular values of $W$ (and zeros, if $W$ has
# more rows than columns). All of this is kept. So is anything that is computed from it, such as the [*hyperspherical
# energy*](glossary.md#hyperspherical-energy), the sum of $1/\text{distance}$ over all pairs of rows at unit length: it
# is small if the units respond to well separated directions. A whole family of methods, *orthogonal fine-tuning*, is
# built on the argument that this arrangement holds what pretraining has learned, and so should be kept.

# %%
from minilora.analysis import hyperspherical_energy


def invariants(W):
    """What no rotation of all rows changes: singular values, row lengths and cosines, energy."""
    lengths = np.linalg.norm(W, axis=1)
    cosines = (W @ W.T / np.outer(lengths, lengths))[np.triu_indices(len(W), 1)]
    return np.linalg.svd(W, compute_uv=False), lengths, cosines, hyperspherical_energy(W)


for before, after in zip(invariants(W), invariants(W @ H)):
    assert np.allclose(before, after, atol=1e-12)
energies = [hyperspherical_energy(M) for M in (W, W @ H, reflection(rng.standard_normal(4)) @ W)]
of_w, of_w_h, of_h_w = energies
print(f"Energy of the rows of W: {of_w:.4f}, of W H: {of_w_h:.4f}, ", end="")
print(f"of H W (a reflection on the other side): {of_h_w:.4f}")
assert abs(energies[2] - energies[0]) > 1e-3  # the side matters

# %% [markdown]
# None of this sees the *order* of the reflections. Reverse the chain: the product is orthogonal too, so all of these
# numbers are the same again. But it is another map. (Remember that when you test code of your own: apply the chain to a
# vector, factor by factor, and compare.)

# %%
reversed_chain = adapter.merge({"U": U[:, ::-1]}, {"W": W})
for before, after in zip(invariants(W), invariants(reversed_chain)):
    assert np.allclose(before, after, atol=1e-12)
difference = np.linalg.norm(reversed_chain - W @ H) / np.linalg.norm(W)
print(f"‖W H_r…H_1 − W H_1…H_r‖ / ‖W‖ = {difference:.2f}")
assert difference > 0.5
y = x
for u in U.T[::-1]:  # W H x = W H_1 (H_2 (… (H_r x))): the last reflection comes first
    y = y - 2 * (u @ y) / (u @ u) * u
assert np.allclose(adapter.merge({"U": U}, {"W": W}) @ x, W @ y, atol=1e-13)

# %% [markdown]
# And LoRA? Measure it on trained adapters. Take networks that classify sans letters as in lesson 1, and adapt one to
# letters rotated by 90°, with LoRA of rank 4 and with HRA of rank 8. Both train 4,608 parameters in the four square
# hidden matrices. (The learning rate is 0.03 here and below. On three other networks, over rotated letters and uneven
# light, it was the best of 0.01, 0.03 and 0.1 for both.)

# %%
from minilora import accuracy, attach, mlp
from minilora.cli import letters
from minilora.cli.comparison import Length
from minilora.data.glyphs import LIGHTING, ROTATED, SOURCE, draw_letters

length = Length(images=200, pretrain_steps=400, adapt_steps=200)
networks = [letters.pretrain(rng, length) for _ in range(3)]  # one for now, all three below
domains = (SOURCE, ROTATED, LIGHTING)
to_adapt = {domain.name: draw_letters(rng, domain, 40) for domain in domains}
to_test = {domain.name: draw_letters(rng, domain, 100) for domain in domains}


def score(weights, name):
    """The accuracy of a network on the test letters of a domain, in percent."""
    images, truths = to_test[name]
    return 100 * accuracy(mlp(weights, images), truths)


network = networks[0]
print("accuracy:", ", ".join(f"{name} {score(network, name):.1f} %" for name in to_test))

# %%
from minilora import fit, orthogonality_penalty


def adapt(network, adapter, name, strength=0.0, steps=length.adapt_steps, lr=3e-2):
    """The adapted network, merged, and the trained params. `strength` is for the optional part."""
    attached = attach(network, {letters.HIDDEN: adapter}, rng=rng)

    def loss(params, x, labels):
        value = letters.mlp_loss(attached.bind(params), x, labels)
        if strength:
            penalties = [orthogonality_penalty(own["U"]) for own in params.values()]
            value = value + strength * sum(penalties)
        return value

    how = {"rng": rng, "steps": steps, "batch": 64, "lr": lr}
    params = fit(loss, attached.params, to_adapt[name], **how)
    return attached.merge(params), params


for adapter in (LoRA(4), HRA(8)):
    assert attach(network, {letters.HIDDEN: adapter}, rng=rng).trainable == 4608
lora_network, _ = adapt(network, LoRA(4), "rotated")
hra_network, hra_params = adapt(network, HRA(8), "rotated")
adapted = {"LoRA r=4": lora_network, "HRA r=8": hra_network}
for label, weights in adapted.items():
    print(f"{label:8} accuracy on rotated letters {score(weights, 'rotated'):.1f} %")

# %% [markdown]
# Now compare each adapted matrix with the frozen one. For HRA you know the answer.
#
# > **What do you expect?** How large is the largest change of a singular value by LoRA, as a share of the largest
# > singular value of the frozen matrix? (a) About a hundredth, (b) about a tenth, (c) more than 1.

# %%
worst = {}
for label, weights in adapted.items():
    changes = []
    for name in hra_params:
        old, new = (invariants(model[name].astype(np.float64)) for model in (network, weights))
        scales = (old[0][0], old[1], 1.0, old[3])
        changes.append(
            [np.max(np.abs((late - early) / scale)) for early, late, scale in zip(old, new, scales)]
        )
    worst[label] = np.max(changes, axis=0)
    cells = zip(("singular values", "row lengths", "row cosines", "energy"), worst[label])
    print(f"{label:8}", "  ".join(f"{what} {value:.1e}" for what, value in cells))
assert worst["HRA r=8"].max() < 1e-6  # rounding in float32
assert worst["LoRA r=4"][0] > 1 and worst["LoRA r=4"][1:3].min() > 0.2

# %% tags=["hide-input"]
name = "layers.2.W"
old, by_lora, by_hra = (
    invariants(model[name].astype(np.float64)) for model in (network, lora_network, hra_network)
)
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2))
axes[0].plot(range(1, 21), by_lora[0][:20], "s", color=ORANGE, markersize=4, label="LoRA r=4")
axes[0].plot(range(1, 21), by_hra[0][:20], "o", color=BLUE, markersize=5, label="HRA r=8")
axes[0].plot(range(1, 21), old[0][:20], color=GREY, linewidth=1.2, label="frozen W")
axes[0].set(
    xlabel="index of the singular value", ylabel="singular value", xticks=[1, 5, 10, 15, 20]
)
axes[0].legend(frameon=False)
axes[1].plot(old[2], by_lora[2], ".", color=ORANGE, markersize=2, alpha=0.5)
axes[1].plot(old[2], by_hra[2], ".", color=BLUE, markersize=2)
axes[1].set(xlabel="cosine of two rows, before", ylabel="after", aspect="equal")
# alt: Left: HRA has the singular values of the frozen matrix, the first few of LoRA are far larger. Right: cosines of pairs of rows before and after: HRA on the diagonal, LoRA scattered.
plt.show()

# %% [markdown]
# (c). LoRA makes a few singular values much larger and moves the rows against each other (each orange dot is a pair of
# rows). The energy changes least. It is a sum over all pairs, of which some come closer and others move apart. HRA
# leaves the whole geometry in place: the blue dots lie on the diagonal. Whether that is good depends on the task, and
# you will see both.
#
# ## LoRA in disguise
#
# A chain of $r$ reflections on a vector is $r$ steps, one after the other. Multiply out two, with unit vectors:
#
# $$ H_1 H_2 = I - 2u_1u_1^{\mathsf T} - 2u_2u_2^{\mathsf T} + 4\,(u_1^{\mathsf T}u_2)\,u_1u_2^{\mathsf T}
#    = I - U\,\Gamma\,U^{\mathsf T}, \qquad
#    \Gamma = \begin{pmatrix} 2 & -4u_1^{\mathsf T}u_2 \cr 0 & 2 \end{pmatrix}. \tag{2} $$
#
# The form $I - U\,\Gamma\,U^{\mathsf T}$ holds for any number of reflections. Multiply it by one more, with a unit
# vector $u$: then $\Gamma$ becomes $\begin{pmatrix} \Gamma & -2\,\Gamma U^{\mathsf T}u \cr 0 & 2 \end{pmatrix}$, and
# its inverse $\begin{pmatrix} \Gamma^{-1} & U^{\mathsf T}u \cr 0 & \tfrac12 \end{pmatrix}$ (multiply the two to see
# it). So $\Gamma^{-1}$ can be read off: it is the upper triangle of $U^{\mathsf T}U$, with half of its diagonal.
# Written like this it holds for vectors of any length: if $u_i$ becomes $c_i u_i$, $\Gamma_{ij}$ becomes
# $\Gamma_{ij} / (c_i c_j)$. This is the [*compact form*](glossary.md#compact-form) (compact WY in numerical linear
# algebra).


# %%
def gamma(U):
    """Γ of the compact form: the inverse of the upper triangle of UᵀU with half of its diagonal."""
    gram = U.T @ U
    return np.linalg.inv(np.triu(gram, 1) + np.diag(np.diag(gram)) / 2)


pair = U[:, :2] / np.linalg.norm(U[:, :2], axis=0)
assert np.allclose(gamma(pair), [[2, -4 * pair[:, 0] @ pair[:, 1]], [0, 2]])
compact = np.eye(6) - U @ gamma(U) @ U.T  # the lengths of the columns cancel
print(f"compact form against the chain: {np.abs(compact - H).max():.0e}")
assert np.allclose(compact, H, atol=1e-13)

# %% [markdown]
# Put (2) into $W' = WH$ and you get $W' = W - W U \Gamma U^{\mathsf T}$. That is $W + BA$ with
#
# $$ A = U^{\mathsf T}, \qquad B = -W\,U\,\Gamma. \tag{3} $$
#
# So the update of HRA has rank at most $r$, and LoRA of the same rank could represent it. The difference: LoRA
# trains $A$ and $B$ freely, $r(d_\text{out} + d_\text{in})$ parameters. HRA trains $A$ alone and *computes* $B$, so
# that nothing is stretched. The paper calls this "adaptive": $B$ follows $A$, and it follows $W$.

# %%
disguised = LoRA(5).merge({"A": U.T, "B": -W @ U @ gamma(U)}, {"W": W})
assert np.allclose(disguised, HRA(5, odd=True).merge({"U": U}, {"W": W}), atol=1e-13)
matrix, trained = network["layers.2.W"], hra_params["layers.2.W"]["U"]
disguised = LoRA(8).merge({"A": trained.T, "B": -matrix @ trained @ gamma(trained)}, {"W": matrix})
apart = np.abs(disguised - hra_network["layers.2.W"]).max()
print(f"trained HRA, written as LoRA: {apart:.0e} apart")
assert apart < 3e-6

# %% [markdown]
# (You can skip this paragraph and its cell.) HRA is not the only method that multiplies $W$ by an [orthogonal
# matrix](glossary.md#orthogonal-matrix). *OFT* ([Qiu et al., 2023](https://arxiv.org/abs/2306.07280)) takes a
# block-diagonal one, with blocks of size $b$, each the [*Cayley transform*](glossary.md#cayley-transform)
# $(I + S)(I - S)^{-1}$ of a trained $S$ with $S^{\mathsf T} = -S$. That is $d_\text{in}(b - 1)/2$ trainable parameters.
# $S = 0$ gives the identity, so training can start there. But entries of different blocks never mix, each step inverts
# the small matrices $I - S$, and $H - I = 2 S (I - S)^{-1}$ has the rank of $S$, which for even $b$ is full as a rule,
# so it is no LoRA of a low rank. (PEFT can put the first terms of Neumann's series, $I + S + S^2 + \dots$, in place of
# the inverse. That is cheaper. The terms up to $S^4$ add up to $(I - S)^{-1}(I - S^5)$, which makes
# $H^{\mathsf T} H = I - S^{10}$: almost orthogonal while $\lVert S \rVert_2$ is small, and far from it once it is near
# 1.) *BOFT* ([Liu et al., 2024](https://arxiv.org/abs/2311.06243)) multiplies several such matrices and permutes the
# entries in between, so that all entries mix. HRA mixes all entries from the first reflection on, and moves only $r$
# directions. The [page of the family](family.md) has what a step of each costs, for a small network; [lesson
# 18](18_speed.py) has HRA's at larger widths.

# %%
S = rng.standard_normal((3, 2, 2))
S = S - S.transpose(0, 2, 1)  # 3 blocks of size 2 for d_in = 6: 3 parameters
oft = np.zeros((6, 6))
for place, own in zip((0, 2, 4), S):
    oft[place : place + 2, place : place + 2] = (np.eye(2) + own) @ np.linalg.inv(np.eye(2) - own)
assert np.allclose(oft.T @ oft, np.eye(6), atol=1e-13) and np.isclose(np.linalg.det(oft), 1)
ranks = [np.linalg.matrix_rank(M - np.eye(6)) for M in (oft, reflection(U[:, 0]))]
print("rank of H − I: OFT {}, one reflection {}".format(*ranks))
assert ranks == [6, 1]
small = S[0] / np.linalg.norm(S[0], 2) / 2
cut = (np.eye(2) + small) @ sum(np.linalg.matrix_power(small, k) for k in range(5))
left = np.eye(2) - np.linalg.matrix_power(small, 10)
assert np.allclose(cut.T @ cut, left, atol=1e-15) and not np.allclose(left, np.eye(2), atol=5e-4)

# %% [markdown]
# ## Start as the identity: pairs
#
# Before training, the adapted network should be the frozen one. LoRA has $B = 0$ for that. A reflection has no such
# setting: no $u$ makes $H$ the identity. But *two equal reflections cancel*. So `HRA` starts with random unit vectors
# in equal pairs, next to each other. Not $u_1, u_2, u_1, u_2$: that is a rotation by four times the angle between the
# two vectors, and it is the identity only for parallel or orthogonal ones.

# %%
adapter = HRA(rank=4)
params, frozen = adapter.init(rng, W)
a, b = params["U"][:, 0], params["U"][:, 2]
assert np.array_equal(params["U"], np.stack([a, a, b, b], axis=1))
assert np.allclose(adapter.merge(params, frozen), W, atol=1e-14)
interleaved = adapter.merge({"U": np.stack([a, b, a, b], axis=1)}, frozen)
print(f"in the order a, b, a, b: ‖W' − W‖ = {np.linalg.norm(interleaved - W):.2f}")
assert not np.allclose(interleaved, W, atol=0.01)

# %% [markdown]
# Does training ever leave a pair? If the two vectors moved alike, they would still cancel, and $H$ would not change. So
# along such a move the loss has no slope: the sum of the two gradients is zero. They are opposite, and for most targets
# not zero. (Below there is a target for which they are zero.) The first step moves the two vectors apart, and what
# results is a small rotation, by $2\theta$ if $\theta$ is the angle between the two. So $H_1 H_2 - I$ acts on one
# plane, where it stretches every vector by $2\lvert\sin\theta\rvert$:
#
# $$ \lVert H_1 H_2 - I \rVert_F = 2\sqrt2\,\lvert\sin\theta\rvert. \tag{4} $$

# %%
import autograd.numpy as anp

from minilora import value_and_grad


def distance_to_target(params, W, target):
    H = anp.eye(6)
    for i in range(4):
        u = params["U"][:, i]
        H = H - 2 * anp.outer(H @ u, u) / anp.sum(u * u)
    return anp.sum((W @ H - target) ** 2)


_, gradient = value_and_grad(distance_to_target, params, W, rng.standard_normal(W.shape))
G = gradient["U"]
assert np.allclose(G[:, 0], -G[:, 1]) and np.allclose(G[:, 2], -G[:, 3]) and np.linalg.norm(G) > 0.1
for theta in (1e-6, 0.01, 0.3, np.pi / 2):
    v = np.cos(theta) * a + np.sin(theta) * (b - (a @ b) * a) / np.linalg.norm(b - (a @ b) * a)
    moved = np.linalg.norm(reflection(a) @ reflection(v) - np.eye(6))
    assert np.isclose(moved, 2 * np.sqrt(2) * np.sin(theta), rtol=1e-6)
    print(f"θ = {theta:8.6f}: ‖H − I‖ = {moved:.6f}")

# %% [markdown]
# ## Does one more reflection always help?
#
# Below, the target is $WQ$ with $Q$ made of two reflections. `best_hra` searches for a good $U$ of each rank, from
# several starts and without training.
#
# > **What do you expect?** The error for $r = 1, 2, \dots, 8$ (a) falls with every reflection, (b) is 0 from $r = 2$
# > on, (c) is 0 for every even $r$ and not for odd $r$.

# %%
from minilora.theorems.reachable import best_hra

Q = HRA(2).merge({"U": rng.standard_normal((6, 2))}, {"W": np.eye(6)})
square = np.eye(6) + 0.2 * rng.standard_normal((6, 6))  # no small singular value
errors = []
for rank in range(1, 9):
    found, params, frozen = best_hra(square, square @ Q, rank, rng=rng)
    errors.append(np.linalg.norm(found.merge(params, frozen) - square @ Q, 2))
floor = 2 * np.linalg.svd(square, compute_uv=False)[-1]
print("errors for r = 1 … 8:", np.round(errors, 4), f" 2 σ_min = {floor:.4f}")
assert max(errors[1::2]) < 1e-6
assert min(errors[0::2]) >= floor * (1 - 1e-9)

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 2.7))
axis.axhline(floor, color=GREY, linestyle="--", linewidth=1)
axis.text(8.45, floor, r"$2\sigma_\mathrm{min}(W)$", color=GREY, va="bottom", ha="right")
axis.plot(range(1, 9), errors, color=GREY, linewidth=0.8, alpha=0.5)
axis.plot(range(1, 9, 2), errors[0::2], "s", color=ORANGE, label="odd")
axis.plot(range(2, 9, 2), errors[1::2], "o", color=BLUE, label="even")
axis.set(
    xlabel="number of reflections r",
    ylabel="error (spectral norm)",
    ylim=(-0.05 * max(errors), None),
    xlim=(0.6, 8.5),
)
axis.legend(frameon=False, loc="upper center", ncols=2)
# alt: The error of the best HRA against the number of reflections is a zigzag: 0 for every even number, and at or above 2 σ_min of W for every odd number.
plt.show()

# %% [markdown]
# (c). An odd product has determinant $-1$, and the identity has $+1$. Training cannot carry the determinant of a
# product of reflections from one to the other: this is called [*parity*](glossary.md#parity). An odd $H$ always turns
# some vector into its negative (it has the eigenvalue $-1$, as the proof below shows), so $\lVert H - I \rVert_2 = 2$,
# however you train.
#
# > **Theorem.** Let $Q$ be orthogonal and $k$ the rank of $Q - I$. Then $Q$ is a product of $r$ reflections if and only
# > if $r = k, k + 2, k + 4, \dots$ Let $r$ and $k$ be of different parity, and $W$ of as many rows as columns or more.
# > Then every product $H$ of $r$ reflections has $\lVert WH - WQ \rVert_2 \ge 2\sigma_\text{min}(W)$.
#
# **Proof of the second half.** By the first half $\det Q = (-1)^k$, so the orthogonal
# $HQ^{\mathsf T}$ has determinant $-1$. So its eigenvalues, which are
# $1$, $-1$ or pairs of complex conjugates, include $-1$: there is a unit vector $v$ with $HQ^{\mathsf T}v = -v$. Then
# $\lVert (WH - WQ)\,Q^{\mathsf T} v \rVert = \lVert -2 W v \rVert \ge 2\sigma_\text{min}(W)$, and $Q^{\mathsf T}v$ is
# a unit vector. ∎ The first half is the theorem of Cartan, Dieudonné and Scherk. We do not prove it; `factor` in
# `minilora/theorems/reachable.py` finds the $k$ reflections.
#
# The library refuses an odd rank unless you insist, because training would not start from $H = I$. How bad is that on
# images of letters? Here is the accuracy on the network's *own* letters, before a single step of training.

# %%
try:
    HRA(rank=9)
except ValueError as error:
    print("ValueError:", error)
else:
    raise AssertionError("an odd rank went unnoticed")
start = {}
for label, adapter in (("8 in pairs", HRA(8)), ("9, one without a partner", HRA(9, odd=True))):
    attached = attach(network, {letters.HIDDEN: adapter}, rng=rng)
    start[label] = score(attached.bind(attached.params), "sans")
attached = attach(network, {letters.HIDDEN: HRA(8)}, rng=rng)
unpaired = {
    name: {"U": rng.standard_normal((144, 8)).astype(np.float32)} for name in attached.params
}
start["8, all different"] = score(attached.bind(unpaired), "sans")
for label, share in start.items():
    print(f"{label:26} {share:.1f} %")
assert abs(start["8 in pairs"] - score(network, "sans")) < 0.2
assert start["9, one without a partner"] > start["8, all different"] + 10

# %% [markdown]
# One reflection in 144 dimensions, in each of the four matrices, is a small disturbance, so it costs little here. Eight
# at random cost much.
#
# ## Which tasks suit reflections?
#
# Train LoRA of rank 4 and HRA of rank 8 on three networks, each pretrained anew, for rotated letters and for uneven
# light.
#
# > **What do you expect?** HRA is ahead of LoRA (a) on rotated letters only, (b) under uneven light only, (c) on both.

# %%
found = {}
for label, adapter in (("LoRA r=4", LoRA(4)), ("HRA r=8", HRA(8))):
    for name in ("rotated", "lighting"):
        runs = [adapt(network, adapter, name)[0] for network in networks]
        found[label, name] = np.array([score(weights, name) for weights in runs])
        print(
            f"{label:8} {name:8} {found[label, name].mean():.1f} %   ", found[label, name].round(1)
        )
lead = {name: found["HRA r=8", name] - found["LoRA r=4", name] for name in ("rotated", "lighting")}
for name, gaps in lead.items():
    print(f"HRA minus LoRA, {name:8} {gaps.mean():+.1f} ± {gaps.std(ddof=1):.1f} points")
assert min(lead["rotated"]) > 0.5 and np.mean(lead["lighting"]) < -1

# %% [markdown]
# (a). HRA is ahead on rotated letters and behind under uneven light, by a few points in the mean. (The number after ±
# is the standard deviation over the three networks.) But 200 steps are few. Train four times as long under uneven
# light, at a third of the rate.

# %%
longer = {"steps": 4 * length.adapt_steps, "lr": 1e-2}
ends = [
    [score(adapt(network, adapter, "lighting", **longer)[0], "lighting") for network in networks]
    for adapter in (HRA(8), LoRA(4))
]
gaps = np.subtract(*ends)
print(
    f"uneven light, 800 steps: HRA {np.mean(ends[0]):.1f} %, LoRA {np.mean(ends[1]):.1f} %,", end=""
)
print(f" difference {gaps.mean():+.1f} ± {gaps.std(ddof=1):.1f} points")
assert gaps.mean() > np.mean(lead["lighting"]) + 1

# %% [markdown]
# Most of the gap under uneven light came from few steps at that rate. [Lesson 13](13_bake_off.py) compares the methods
# with five seeds and a search for the rates.
#
# What do the two domains ask for? You can see that without training. Here is a letter in each of them, and three
# patterns.

# %%
ramp = np.tile(np.linspace(-1, 1, 12), (12, 1))
patterns = np.stack([np.ones(144), ramp.ravel(), ramp.T.ravel()], axis=1)

# %% tags=["hide-input"]
g = 6 * 100  # the first g among 100 images of each letter
shown = [*(to_test[name][0][g] for name in to_test), *patterns.T]
titles = ("sans", "rotated", "lighting", "offset", "left–right", "top–bottom")
figure, axes = plt.subplots(1, 6, figsize=(7.2, 1.6))
for axis, image, title in zip(axes, shown, titles):
    axis.imshow(image.reshape(12, 12), cmap="gray_r", vmin=-1.2, vmax=1.5)
    axis.set(title=title, xticks=[], yticks=[])
# alt: Six small images: the letter g in sans, the same rotated by 90°, the same under uneven light, and three patterns: a constant, a ramp from left to right, a ramp from top to bottom.
plt.show()

# %% [markdown]
# An image rotated by 90° is the same image with its pixels in another order, and *to permute entries is an orthogonal
# map* $x \mapsto Qx$. So $W' = WQ^{\mathsf T}$ in the *first* layer undoes it. How many reflections does it take? By
# the theorem, as many as the rank of $Q^{\mathsf T} - I$.

# %%
from minilora.theorems.reachable import factor

# Turn @ x is x rotated by 90°
turn = np.array([np.rot90(pixel.reshape(12, 12)).ravel() for pixel in np.eye(144)]).T
U = factor(turn.T)
network = networks[0]
W0 = network["layers.0.W"].astype(np.float64)
first_layer = HRA(U.shape[1]).merge({"U": U}, {"W": W0}).astype(np.float32)
by_reflections = score(network | {"layers.0.W": first_layer}, "rotated")
print(f"{U.shape[1]} reflections in the first layer, no training: {by_reflections:.1f} %", end="")
print(f" of rotated letters, {score(network, 'sans'):.1f} % of upright ones without them")
assert U.shape[1] == np.linalg.matrix_rank(turn.T - np.eye(144)) == 108
assert abs(by_reflections - score(network, "sans")) < 2

# %% [markdown]
# So reflections can undo the rotation, and no update of a small rank can do it in this way. Do not conclude too much:
# the runs above had 8 reflections in each of four matrices, not 108 in the first. What these found is not this
# solution, and that HRA is ahead *because* the task is a rotation is a guess.
#
# Uneven light is another kind of change: it *adds* three patterns to the image, in random amounts: a constant, a
# left–right ramp, a top–bottom ramp. The remedy is to make $W$ blind to these three directions,
# $W' = W(I - QQ^{\mathsf T})$, with a new $Q$: the three patterns, made orthonormal, in its columns. That is an update
# of rank 3: LoRA can do it. (A letter has a share in these directions too, which is now lost. A new bias would give
# back the share of the mean letter. None of these adapters has one. So the output has the accuracy without such a bias,
# and with it.)

# %%
Q, _ = np.linalg.qr(patterns)
mean_letter = to_adapt["sans"][0].mean(axis=0)
bias, seen = network["layers.0.b"], Q @ (Q.T @ mean_letter)


def scores_in_uneven_light(first_layer):
    """The accuracy with another first W alone, and with a bias for the mean letter's share too."""
    corrected = bias + (W0 - first_layer) @ seen
    found = []
    for own_bias in (bias, corrected):
        layer = {"layers.0.W": first_layer, "layers.0.b": own_bias}
        own = {name: array.astype(np.float32) for name, array in layer.items()}
        found.append(score(network | own, "lighting"))
    return found


blind = LoRA(3).merge({"A": Q.T, "B": -W0 @ Q}, {"W": W0})
assert np.abs(blind @ patterns).max() < 1e-10
print(f"W itself: {score(network, 'lighting'):.1f} % under uneven light")
by_blindness = scores_in_uneven_light(blind)
line = "{} in the first layer, no training: {:.1f} %, with a new bias {:.1f} %"
print(line.format("LoRA of rank 3", *by_blindness))
assert by_blindness[0] > 75 and by_blindness[1] > 90

# %% [markdown]
# Can reflections do that? Not exactly: all singular values are kept, and $W$ has none that is 0. But it has small ones.
# What lies along its last three right singular vectors $v_i$ it hardly sees. So exchange these directions with those of
# the patterns: one reflection each, along $q_i - v_i$ (with $v_i$ made orthogonal to the patterns). For vectors of
# equal length, the reflection along $q - v$ turns $q - v$ around and keeps $q + v$, so it exchanges $q$ and $v$.

# %%
v = np.linalg.svd(W0)[2][-3:].T
v, _ = np.linalg.qr(v - Q @ (Q.T @ v))
exchanged = HRA(3, odd=True).merge({"U": Q - v}, {"W": W0})
by_exchange = scores_in_uneven_light(exchanged)
sizes = [np.linalg.norm(first_layer @ Q) for first_layer in (W0, exchanged, blind)]
print("what W, three reflections and LoRA let through: {:.2f}, {:.2f}, {:.0e}".format(*sizes))
print(line.format("three reflections", *by_exchange))
assert 0.02 * sizes[0] < sizes[1] < 0.2 * sizes[0]
assert by_exchange[0] > 65 and by_exchange[1] > 80
assert all(one < other - 2 for one, other in zip(by_exchange, by_blindness))

# %% [markdown]
# Nearly blind is not blind, and the reflections now show the rest of the network what $W$ overlooked before. So they
# have a remedy against uneven light too, but not LoRA's, and not as good a one.
#
# Last, a change that no number of reflections brings nearer: scale the rows of $W$, $T = DW$ with a positive diagonal
# $D$. Multiply out:
# $\lVert WH - T\rVert_F^2 = \lVert W\rVert_F^2 + \lVert T\rVert_F^2 - 2\operatorname{tr}(H^{\mathsf T} W^{\mathsf T} D W)$.
# The matrix $W^{\mathsf T} D W$ is symmetric, with eigenvalues $\lambda_i \ge 0$ and orthonormal eigenvectors $p_i$. So
# the trace is $\sum_i \lambda_i\, p_i^{\mathsf T} H p_i$, no orthogonal $H$ makes one $p_i^{\mathsf T} H p_i$ larger than
# 1, and $H = I$ makes all of them 1. HRA stays where it
# is: the gradient at the start is zero. (`procrustes` finds the orthogonal matrix that comes nearest.)

# %%
from minilora.theorems.reachable import procrustes

D = np.diag(np.exp(rng.uniform(-1, 1, 6)))
target = D @ square
for rank in (2, 4, 6):
    found, params, frozen = best_hra(square, target, rank, rng=rng)
    missed = np.linalg.norm(found.merge(params, frozen) - target)
    relative = missed / np.linalg.norm(square - target)
    print(f"HRA r={rank}: {relative:.6f} of the distance is left")
    assert np.isclose(relative, 1)
# The best rotation of all is none
assert np.allclose(procrustes(square, target, odd=False), np.eye(6), atol=1e-8)
start, _ = HRA(4).init(rng, square)
_, gradient = value_and_grad(distance_to_target, start, square, target)
assert np.abs(gradient["U"]).max() < 1e-10

# %% [markdown]
# All of this is about what HRA *can represent*. What training *finds* is another question, and
# [lesson 12](12_what_training_finds.py) is about that.
#
# ## Optional: reflections along orthogonal vectors
#
# You can skip this section and the next; only exercise 3 uses the result. The paper asks what happens when the vectors
# are kept orthogonal to each other. Then $\Gamma = 2I$, the reflections commute, and the chain becomes one formula,
# with $P$ the projection on the span of the $u_i$:
#
# $$ H = I - 2P, \qquad H^2 = I, \qquad \lVert H - I\rVert_F = 2\sqrt r \ \text{ always.} \tag{5} $$
#
# This is the [*strict variant*](glossary.md#strict-variant), `HRAStrict`. By (5) it can *never* be the identity, not even for even $r$: each
# reflection has its full effect. The library therefore starts with the $r$ directions in which $W$ does least, its last
# right singular vectors.

# %%
from minilora import HRAStrict

adapter = HRAStrict(rank=3)
strict = {"U": rng.standard_normal((6, 3))}  # any basis of the span will do
P = strict["U"] @ np.linalg.pinv(strict["U"])
H = adapter.merge(strict, {"W": np.eye(6)})
assert np.allclose(H, np.eye(6) - 2 * P, atol=1e-13) and np.allclose(H @ H, np.eye(6), atol=1e-13)
assert np.isclose(np.linalg.norm(H - np.eye(6)), 2 * np.sqrt(3))
params, frozen = adapter.init(rng, square)
moved = np.linalg.norm(adapter.merge(params, frozen) - square)
# The least possible
assert np.isclose(moved, 2 * np.sqrt(np.sum(np.linalg.svd(square, compute_uv=False)[-3:] ** 2)))
attached = attach(network, {letters.HIDDEN: HRAStrict(8)}, rng=rng)
untrained = score(attached.bind(attached.params), "sans")
print(f"strict, r=8, before training: {untrained:.1f} % of its own letters")
assert abs(untrained - score(network, "sans")) < 1

# %% [markdown]
# Another way to the strict variant is to take free vectors and make them orthogonal in every step, by the method of
# *Gram and Schmidt*: subtract from $u_2$ its part along $u_1$, normalise, and so on. Hugging Face's library PEFT (0.21;
# [lesson 17](17_peft.py)) does that with `apply_GS=True`, and it starts from the same equal pairs as *free* HRA, the
# one without the constraint. Do it by hand for *one* pair in float32: what is left of $u_2$ after the subtraction is
# rounding noise. Dividing by its length makes a unit vector out of the noise.


# %%
def gram_schmidt(U):
    """Orthonormal columns from U, each column once: the textbook algorithm."""
    done = []
    for u in U.T:
        for q in done:
            u = u - (q @ u) * q
        done.append(u / np.linalg.norm(u))
    return np.stack(done, axis=1)


u = np.array([0.3, -0.7, 0.2, 0.9, 0.4, -0.5, 0.1, 0.8], np.float32)
q = u / np.linalg.norm(u)
left_over = u - (q @ u) * q
print("what is left of the second vector:", left_over)
assert np.abs(left_over).max() < 1e-6

# %%
off, broken = [], 0
with np.errstate(invalid="ignore"):  # 0/0 may happen: that is the point
    for _ in range(200):
        half = rng.uniform(-1, 1, (8, 1)).astype(np.float32)
        Q = gram_schmidt(np.repeat(half, 2, axis=1)).astype(np.float64)
        H = np.eye(8) - 2 * Q @ Q.T
        broken += np.isnan(H).any()
        off.append(np.abs(H @ H.T - np.eye(8)).max())
print(f"200 pairs: NaN {broken} times")
print(f"max |H Hᵀ − I| otherwise: median {np.nanmedian(off):.2f}, largest {np.nanmax(off):.2f}")
assert broken > 0 and np.nanmedian(off) > 0.5

# %% [markdown]
# An "orthogonal" matrix that is off by about 2, or NaN, before training has begun. And where it happens to work, the
# second reflection is along a random direction that depends on your processor's rounding. There is no good start from
# pairs for the strict variant, because by (5) there is no identity to start from. `HRAStrict` starts elsewhere,
# computes $P$ without Gram and Schmidt in `forward`, and refuses columns that are dependent or nearly so: for two, when
# less than 0.8° lies between their lines.

# %%
try:
    HRAStrict(2).forward(
        {"U": np.repeat(u[:, None], 2, axis=1)}, {"W": np.eye(8, dtype=np.float32)}, u
    )
except ValueError as error:
    print("ValueError:", error)
else:
    raise AssertionError("dependent columns went unnoticed")

# %% [markdown]
# ## Optional: between free and strict, the regulariser
#
# Between free HRA and the strict variant stands a *penalty*, added to the loss with a factor $\lambda$:
#
# $$ \lambda\,\lVert \hat U^{\mathsf T}\hat U - I \rVert_F^2, \qquad
#    \hat U \text{ the columns of } U \text{ at unit length.} \tag{6} $$
#
# It is the sum of $\cos^2$ over all ordered pairs of different columns: 0 if all are orthogonal, $r(r-1)$ if all are
# parallel. $\lambda = 0$ is free HRA, $\lambda \to \infty$ the strict variant. Equal pairs start with a value of at
# least $r$, and there is a catch: equal vectors are the *maximum* of their $\cos^2$, so the penalty's gradient
# cannot separate a pair by itself.

# %%
# 4 pairs, orthogonal to each other
pairs = np.repeat(np.linalg.qr(rng.standard_normal((20, 4)))[0], 2, axis=1)
cosines = pairs.T @ pairs
assert np.isclose(orthogonality_penalty(pairs), np.sum(cosines**2) - np.sum(np.diag(cosines) ** 2))
assert np.isclose(orthogonality_penalty(pairs), 8)
_, slope = value_and_grad(lambda params: orthogonality_penalty(params["U"]), {"U": pairs})
print(
    f"penalty of 4 pairs: {orthogonality_penalty(pairs):.3f}, "
    f"its gradient: {np.abs(slope['U']).max():.0e}"
)
assert np.abs(slope["U"]).max() < 1e-12

# %% [markdown]
# What does the penalty trade? Every reflection that is pushed away from all others has its full effect, so $H$ is
# pushed away from the identity, towards $\lVert H - I\rVert_F = 2\sqrt 8 \approx 5.66$ by (5). You give up small
# rotations. In return no two reflections cancel each other. Try values of $\lambda$ on the rotated letters, on the
# three networks.
#
# > **What do you expect?** Compared with $\lambda = 0$, the accuracy (a) is higher at both 0.1 and 1, (b) is the same
# > at 0.1 and lower at 1, (c) is lower at both.


# %%
def describe(weights, params):
    """Accuracy on rotated letters; the mean over the layers of the penalty and of ‖H − I‖."""
    chain, identity = HRA(8), np.eye(144, dtype=np.float32)
    moved = [
        np.linalg.norm(chain.merge(own, {"W": identity}) - identity) for own in params.values()
    ]
    penalty = [orthogonality_penalty(own["U"]) for own in params.values()]
    return score(weights, "rotated"), np.mean(penalty), np.mean(moved)


sweep = {}
for strength in (0.0, 0.1, 1.0):
    runs = [adapt(network, HRA(8), "rotated", strength) for network in networks]
    sweep[strength] = np.array([describe(*run) for run in runs])  # (network, 3)
    shares, penalties, moves = sweep[strength].T
    print(f"λ = {strength:<5} accuracy {shares.round(1)}", end="")
    print(f"   penalty {penalties.mean():7.4f}   ‖H − I‖ {moves.mean():.2f}")
strict = np.array(
    [score(adapt(network, HRAStrict(8), "rotated")[0], "rotated") for network in networks]
)
print(f"strict    accuracy {strict.round(1)}   penalty {0:7.4f}   ‖H − I‖ {2 * 8**0.5:.2f}")
free = sweep[0.0][:, 0]
for label, values in (("0.1", sweep[0.1][:, 0]), ("1", sweep[1.0][:, 0]), ("strict", strict)):
    gaps = values - free
    print(f"{label:6} minus λ = 0: {gaps.mean():+.1f} ± {gaps.std(ddof=1):.1f} points")

# %%
shares, penalty, moved = np.moveaxis([*sweep.values()], 2, 0)  # each (λ, network)
assert np.all(np.diff(penalty.mean(axis=1)) < 0) and penalty[0].min() > 0.5
assert penalty[1].max() < 0.1
assert np.all(np.diff(moved.mean(axis=1)) > 0) and abs(moved[-1] - 2 * np.sqrt(8)).max() < 0.01
assert abs(np.mean(shares[1] - free)) < 2 and abs(np.mean(strict - free)) < 2
assert np.all(shares[2] < free - 1.5)

# %% [markdown]
# (b). The penalty does what it says: the columns become orthogonal, and $\lVert H - I\rVert_F$ arrives at its limit. At
# $\lambda = 0.1$ the accuracy is what it is at 0, up to what runs of one method differ by. At $\lambda = 1$ it is
# lower. Are reflections along orthogonal vectors worse, then? No: the strict variant has nothing else, and is at least
# as good as the free one here. More likely the penalty at $\lambda = 1$ outweighs the loss that you care about while
# the network trains; we have not shown that. In these runs you need not tune $\lambda$; the paper tunes it, on large
# models. (The authors' code adds the norm itself, not its square: their $\lambda$ is not on this scale.)
#
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 6.1
# answers.py`. It tries them on random cases, and shows the smallest on which one fails.
#
# ### Exercise 1 (easy): a quarter turn
#
# Find two unit vectors $u_1, u_2$ in the plane such that $H_1H_2$ turns every vector by 90° counter-clockwise. What
# does $H_2H_1$ do? Use `reflection`.
#
# Then for any angle: write `turn_vectors(degrees)`, a tuple of two unit vectors, arrays with two entries each, for
# which $H_1 H_2$ turns by so many degrees counter-clockwise; a negative angle turns clockwise.
#
# <details><summary>Hint</summary>
#
# Twice the angle between the two. Try one order, look at where $(1, 0)$ goes, and exchange the two if it went
# the wrong way.
#
# </details>

# %% [markdown]
# ### Exercise 2 (medium): take an adapter out again
#
# You are given only the merged matrix $W' = W H_1 \cdots H_r$ and the trained $U$, whose columns, of any length and an
# even number, are the $u_i$. Write `take_out(merged, U)`, which recovers $W$ with the tools of the library or with
# NumPy, without solving a linear system, in the dtype of `merged`. How exact is it after 50 rounds of merging and
# taking out, in float32? (Better than $10^{-5}$.)

# %% [markdown]
# ### Exercise 3 (hard): upside down, strictly
#
# `ROTATED._replace(angle=180.0)` draws letters upside down. Show that for this task the *strict* variant (the optional
# section) is exact, in the first layer, as free HRA was for 90°, and say why the strict variant is not exact for 90°.
# What is its rank, and which vectors are the $u_i$? Check that the network classifies upside-down letters without
# training. (Within two points of its accuracy on upright ones.)
#
# Then for any such map: write `strict_vectors(H)`. It gets a symmetric orthogonal matrix $H \ne I$, `(d, d)`, and
# returns $U$ `(d, r)` with $r$ as small as it can be, for which the strict variant multiplies $W$ with $H$:
# $H = I - 2P$, and $P$ projects onto the columns of $U$.
#
# <details><summary>Hint</summary>
#
# The strict variant reaches exactly the symmetric $H$ with $H^2 = I$. A half turn exchanges pixel $i$ with pixel
# $143 - i$.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# HRA computes $B$ from $A$ and $W$. [Lesson 7](07_condlora.py) goes one step further and computes both from $W$,
# by one small layer that all matrices share.
#
# ## References
#
# - Shen Yuan, Haotian Liu, Hongteng Xu (2024). Bridging the gap between low-rank and orthogonal adaptation via
#   Householder reflection adaptation. [arXiv 2405.17484](https://arxiv.org/abs/2405.17484).
# - Zeju Qiu and others (2023). Controlling text-to-image diffusion by orthogonal finetuning.
#   [arXiv 2306.07280](https://arxiv.org/abs/2306.07280).
# - Weiyang Liu and others (2024). Parameter-efficient orthogonal finetuning via butterfly factorization.
#   [arXiv 2311.06243](https://arxiv.org/abs/2311.06243).
# - Robert Schreiber, Charles Van Loan (1989). A storage-efficient WY representation for products of Householder
#   transformations. SIAM Journal on Scientific and Statistical Computing 10(1).
