# %% [markdown]
# # One matrix: what a weight does to a vector, and what training changes in it
#
# **You will learn** what the rank and the singular values of a matrix say about the map $y = W x$; why cutting off the
# small singular values gives the nearest matrix of a given rank; how a model, its gradient and its training look in
# this library; and how much of a real fine-tuning update is of low rank.
# **Before this:** linear algebra, Python, NumPy, a first idea of gradient descent.
# **Time:** 45 minutes to read, 10 seconds to run.
#
# A network has learned to classify upright letters. Now it is to classify letters rotated by 90°. You train its weights
# a little more, and every weight matrix $W$ becomes $W + \Delta W$: this is *fine-tuning*, and $\Delta W$ is the
# [*update*](glossary.md#update-δw). A $144 \times 144$ matrix has 20,736 parameters, and nearly all of them have moved.
# Most methods of this library bet that an update with far fewer parameters would have served as well: a $\Delta W$ [*of
# low rank*](glossary.md#low-rank). Here you find out what that means, and then you put the bet to the test.

# %%
from minilora.cli.lesson import BLUE, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import autograd.numpy as np  # NumPy, but autograd can differentiate through it
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)

# %% [markdown]
# ## A matrix is a map
#
# One convention holds in this whole library. A weight $W$ has the shape `(d_out, d_in)`, and it sends a vector $x$ with
# $d_{in}$ entries to $y = W x$ with $d_{out}$ entries. Column $j$ of $W$ is where the $j$-th basis vector goes.

# %%
W = np.array([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]])
d_out, d_in = W.shape
x = np.array([1.0, 0.0])
print("W maps", d_in, "numbers to", d_out, "numbers: W", x, "=", W @ x)
assert np.array_equal(W @ x, W[:, 0])

# %% [markdown]
# Networks map many vectors at once. They lie on the last axis: `x` is `(n, d_in)`, one vector in each row. Then the
# result is `x @ W.T`. To write this transpose in one place only, the library has the function `linear(W, x)`, and its
# models use a weight in no other way. Later, adapters (lesson 2) enter here.

# %%
from minilora import linear

many = rng.standard_normal((5, d_in))
one_by_one = np.array([W @ x for x in many])
assert np.allclose(linear(W, many), one_by_one, rtol=0, atol=1e-14)
print("linear: ", many.shape, "->", linear(W, many).shape)

# %% [markdown]
# ## What a matrix does to a circle
#
# Every 2 × 2 matrix turns the unit circle into an ellipse, perhaps a flat one (in more dimensions: the unit ball into
# an ellipsoid). The [*singular value decomposition*](glossary.md#singular-value-decomposition-svd) (SVD) names the
# parts of this picture:
#
# $$W = \sum_i \sigma_i \, u_i v_i^\top, \qquad \sigma_1 \ge \sigma_2 \ge \dots \ge 0. \tag{1}$$
#
# The $v_i$ are orthogonal directions of the input, of length 1 (the *right singular vectors*). The $u_i$ are orthogonal
# directions of the output, of length 1 (the *left singular vectors*). The [*singular
# values*](glossary.md#singular-values-spectrum) $\sigma_i$ say how much the matrix stretches on the way: $W v_i =
# \sigma_i u_i$. All of them together are called the *spectrum* of $W$.

# %%
W = np.array([[1.3, 1.0], [0.2, 1.1]])
U, sigma, Vt = np.linalg.svd(W)  # the rows of Vt are the directions v
# −u and −v are as good as u and v: let every v point upwards
signs = np.where(Vt[:, 1] < 0, -1.0, 1.0)
U, Vt = U * signs, Vt * signs[:, None]
assert np.allclose(W @ Vt[0], sigma[0] * U[:, 0]) and np.allclose(W @ Vt[1], sigma[1] * U[:, 1])
W_1 = sigma[0] * np.outer(U[:, 0], Vt[0])  # the first term of (1)
assert np.allclose(W, W_1 + sigma[1] * np.outer(U[:, 1], Vt[1]))
print("singular values:", sigma.round(2))

# %% [markdown]
# The number of singular values that are not zero is the [*rank*](glossary.md#rank): the number of dimensions in which
# the outputs can lie. This matrix has rank 2. If you drop the second term of (1), what is left has rank 1.
#
# > **What do you expect?** What does the first term alone make of the circle? (a) a smaller circle, (b) a narrower
# > ellipse, (c) a piece of a line.

# %%
angle = np.linspace(0, 2 * np.pi, 200)
circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
ellipse, flat = linear(W, circle), linear(W_1, circle)
assert np.linalg.matrix_rank(flat) == 1

# %% tags=["hide-input"]
pictures = {
    "the unit circle": (circle, Vt, ["$v_1$", "$v_2$"]),
    "what $W$ makes of it": (ellipse, (U * sigma).T, [r"$\sigma_1 u_1$", r"$\sigma_2 u_2$"]),
    "its rank-1 part": (flat, (U * sigma).T[:1], [r"$\sigma_1 u_1$"]),
}
figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.5), sharey=True)
for axis, (title, (points, arrows, names)) in zip(axes, pictures.items()):
    axis.plot(*points.T, color=GREY, linewidth=2)
    for arrow, name, colour in zip(arrows, names, (BLUE, ORANGE)):
        head = {"color": colour, "width": 1.5, "headwidth": 8, "headlength": 8}
        axis.annotate("", arrow, (0, 0), arrowprops=head)
        place = arrow * (1 + 0.4 / np.linalg.norm(arrow))
        axis.text(*place, name, color=colour, size=12, ha="center", va="center")
    axis.set(title=title, xlim=(-2.4, 2.4), ylim=(-1.7, 1.7), aspect="equal")
# alt: Three panels: the unit circle with v1 and v2, the ellipse that W makes of it with its axes σ1 u1 and σ2 u2, and the piece of a line that the rank-1 part makes of it.
plt.show()

# %% [markdown]
# (c): it presses the whole circle onto a line.
#
# How large is a matrix? There are two usual answers. The [*spectral norm*](glossary.md#spectral-norm) $\lVert W \rVert_2$ is the largest stretch,
# $\max \lVert W x \rVert$ over all $x$ of length 1. The [*Frobenius norm*](glossary.md#frobenius-norm) $\lVert W \rVert_F$ is the root of the sum of
# all squared entries. Both can be read off the singular values:
#
# $$\lVert W \rVert_2 = \sigma_1, \qquad \lVert W \rVert_F^2 = \sum_i \sigma_i^2. \tag{2}$$

# %%
stretches = np.linalg.norm(ellipse, axis=1)
print(f"largest stretch of 200 points: {stretches.max():.4f}, first singular value: {sigma[0]:.4f}")
assert 0.9998 * sigma[0] < stretches.max() <= sigma[0] * (1 + 1e-12)
assert np.isclose(np.sum(W**2), np.sum(sigma**2))

# %% [markdown]
# ## Keep k terms
#
# Keep only the first $k$ terms of (1) and call the result $W_k$, the [*truncated SVD*](glossary.md#truncated-svd). It is of rank $k$ (less only if
# $\sigma_k = 0$) and can be stored as two thin matrices: $W_k = B A$, with $B$ `(d_out, k)` and $A$ `(k, d_in)`. That
# takes $k (d_{out} + d_{in})$ numbers instead of $d_{out} d_{in}$.


# %%
def best_of_rank(W, k):
    """B (d_out, k) and A (k, d_in): B A is the first k terms of the decomposition (1)."""
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    return U[:, :k] * sigma[:k], Vt[:k]


def cut_to_rank(W, k):
    B, A = best_of_rank(W, k)
    return B @ A


# %% [markdown]
# To see what is lost, take a matrix that you can look at: an image of the letter g with a little noise, $48 \times 48$
# numbers, so 48 terms.
#
# > **What do you expect?** How many of the 48 terms do you need to recognise the letter? (a) 1 or 2, (b) about 4,
# > (c) about 24.

# %%
from minilora.data.glyphs import ALPHABET, SOURCE, draw_letters

images, _ = draw_letters(rng, SOURCE, per_letter=1, size=48)
W = images[ALPHABET.index("g")].reshape(48, 48).astype(np.float64)
thin = {k: best_of_rank(W, k) for k in (1, 2, 4, 8, 16, 48)}
for k, (B, A) in thin.items():
    assert B.size + A.size == k * (48 + 48) and np.linalg.matrix_rank(B @ A) == k
    print(f"rank {k:2}: {B.size + A.size:5,} numbers instead of {W.size:,}")

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, len(thin), figsize=(7.2, 1.9))
for axis, (k, (B, A)) in zip(axes, thin.items()):
    axis.imshow(B @ A, cmap="gray_r", vmin=0, vmax=1)
    axis.set(title=f"rank {k}", xticks=[], yticks=[], xlabel=f"{B.size + A.size:,}\nnumbers")
    axis.spines[:].set_visible(False)
# alt: The letter g cut to rank 1, 2, 4, 8, 16 and 48. Rank 1 is a grid of bars, rank 2 a blurred shape, rank 4 a readable g, rank 16 a sharp one; rank 48 has the noise too.
plt.show()

# %% [markdown]
# Here you can choose the rank yourself, with what the rank leaves out beside it. (In a terminal there is one picture.)

# %% tags=["hide-input"]
from minilora.cli.slider import Slider


def draw_rank(figure, k):
    """The best approximation of rank k, and what is missing of the image."""
    kept = cut_to_rank(W, k)
    axes = figure.subplots(1, 2)
    for axis, picture, title in zip(axes, (kept, W - kept), (f"rank {k}", "the rest")):
        axis.imshow(np.abs(picture), cmap="gray_r", vmin=0, vmax=1)
        axis.set(title=title, xticks=[], yticks=[])


alt = "The letter g cut to the chosen rank, and beside it what is left out, which fades as k grows."
ranks = (1, 2, 3, 4, 6, 8, 12, 16, 24, 36, 48)
Slider("rank k =", ranks, draw_rank, alt=alt, size=(4.4, 2.4), start=3).show()

# %% [markdown]
# (b): two terms show that there is a letter, four show which, with a sixth of the 2,304 numbers. The last terms bring
# little but the noise. From rank 24 on the two thin matrices hold at least as many numbers as the image itself: a low
# rank saves only if it is *low*.
#
# ## Is there a better matrix of rank k?
#
# > **Theorem (Eckart & Young, 1936).** Let $W$ be any real matrix, with the singular values $\sigma_1 \ge \sigma_2 \ge
# > \dots$, and $M$ any matrix of the same shape and of rank at most $k$. Then, in both norms, $W_k$ is at least as near
# > to $W$ as $M$ is, and
# >
# > $$\lVert W - W_k \rVert_F = \sqrt{\sigma_{k+1}^2 + \sigma_{k+2}^2 + \dots}, \qquad
# > \lVert W - W_k \rVert_2 = \sigma_{k+1}. \tag{3}$$
#
# **Proof.** The equations (3) follow from (2), because $W - W_k$ consists of the terms that were left out. That nothing
# is nearer follows from Weyl's inequality (1912): with $D = W - M$, for every $i \ge 1$,
#
# $$\sigma_i(D) \ge \sigma_{k+i}(W). \tag{4}$$
#
# For $i = 1$ this is the claim for the spectral norm. Square it and add over all $i$, and it is the claim for the
# Frobenius norm.
#
# To see (4), let $D_{i-1}$ be the first $i - 1$ terms of $D$. The matrix $M + D_{i-1}$ has rank at most $k + i - 1$. So
# among the combinations of the $k + i$ right singular vectors $v_1, \dots, v_{k+i}$ of $W$ there is an $x$ of length 1
# which it sends to zero. (If there are not so many, $\sigma_{k+i}$ counts as 0, and nothing is to be shown.) For this
# $x$,
#
# $$\sigma_{k+i}(W) \le \lVert W x \rVert = \lVert (W - M - D_{i-1})\, x \rVert = \lVert (D - D_{i-1})\, x \rVert
# \le \sigma_i(D).$$
#
# The first step holds because $W$ stretches each of $v_1, \dots, v_{k+i}$ at least by $\sigma_{k+i}$ and sends them to
# orthogonal vectors. The last is (3) for $D$. ∎
#
# The cell checks (3), and (4) for one $M$: four rows of the image, and zeros elsewhere.

# %%
k = 4
sigma = np.linalg.svd(W, compute_uv=False)
bound = np.sqrt(np.sum(sigma[k:] ** 2))
assert np.isclose(np.linalg.norm(W - cut_to_rank(W, k)), bound)
assert np.isclose(np.linalg.norm(W - cut_to_rank(W, k), 2), sigma[k])
print(f"Frobenius norm of the image {np.linalg.norm(W):.2f}, of what rank {k} misses {bound:.2f}")
M = np.zeros((48, 48))
M[22:26] = W[22:26]
of_the_rest = np.linalg.svd(W - M, compute_uv=False)
assert np.all(of_the_rest[: 48 - k] >= sigma[k:])  # (4), for i = 1, 2, …
print(
    "(4) for four rows, i = 1 to 3:", of_the_rest[:3].round(2), "against", sigma[k : k + 3].round(2)
)

# %% [markdown]
# Now try to beat the bound by luck. Draw a space of 4 dimensions at random, 1,000 times, and give every draw the best
# that it can do: the columns of $W$, projected onto the space. (`np.linalg.qr` computes the [*QR
# decomposition*](glossary.md#qr-decomposition): its $Q$ has orthogonal columns of length 1 that span the same space as
# the columns of the given matrix. So $Q Q^\top$ is the projection.)
#
# > **What do you expect?** How large is the smallest of the 1,000 errors? (a) At most 1.1 times the bound, (b) about
# > 1.5 times, (c) about 3 times.

# %%
errors = []
for _ in range(1000):
    Q, _ = np.linalg.qr(rng.standard_normal((48, k)))
    errors.append(np.linalg.norm(W - Q @ (Q.T @ W)))
print(f"best of 1,000 random spaces: {min(errors):.2f}, {min(errors) / bound:.1f} times the bound")
assert 2.5 * bound < min(errors) < 3.5 * bound

# %% [markdown]
# (c): luck is hopeless in 48 dimensions.
#
# ## Does gradient descent find it?
#
# Start $B$ and $A$ at random and let gradient descent make the error smaller. The error is
# $E(B, A) = \tfrac12 \lVert B A - W \rVert_F^2$. By hand, its gradients are $(B A - W) A^\top$ for $B$ and
# $B^\top (B A - W)$ for $A$. Lesson 2 derives them; here autograd checks them.
#
# For gradients this library uses [autograd](https://github.com/HIPS/autograd): `grad(f)` turns a function into the
# function that computes its gradient. (While `f` runs, its arrays are boxes that note what is done with them, and a
# debugger shows an address for `x` and the value for `str(x)`: [lesson 3](03_counting.py) opens such a box.)

# %%
from autograd import grad


def error(B, A):
    return 0.5 * np.sum((B @ A - W) ** 2)


slopes = grad(error, (0, 1))  # with respect to argument 0 and argument 1
B, A = 0.1 * rng.standard_normal((48, k)), 0.1 * rng.standard_normal((k, 48))
slope_b, slope_a = slopes(B, A)
assert np.allclose(slope_b, (B @ A - W) @ A.T) and np.allclose(slope_a, B.T @ (B @ A - W))

# %% [markdown]
# Gradient descent takes a step against the gradient, again and again: the gradient times a factor, the
# [*learning rate*](glossary.md#learning-rate) (`lr`). If it is too large, the error grows without bound. Here
# $0.5/\sigma_1$ was found by trial.
#
# > **What do you expect?** Where does the error end? (a) Between luck and the bound, because it gets stuck, (b) at the
# > bound, with another $B A$ than the truncated SVD's, (c) at the bound, with the same $B A$.

# %%
lr, distances = 0.5 / sigma[0], []
for _ in range(1500):
    distances.append(np.linalg.norm(B @ A - W))
    slope_b, slope_a = slopes(B, A)
    B, A = B - lr * slope_b, A - lr * slope_a
print(f"gradient descent ends at {distances[-1] / bound:.9f} times the bound")
assert min(distances) >= bound * (1 - 1e-12) and distances[-1] < bound * (1 + 1e-6)
assert np.allclose(B @ A, cut_to_rank(W, k), atol=1e-12)
assert not np.allclose(B, best_of_rank(W, k)[0], atol=1)

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 3.0))
for height, name, colour in (
    (min(errors), "best of 1,000 random spaces", GREY),
    (bound, "Eckart and Young's bound", ORANGE),
):
    axis.axhline(height, color=colour, linestyle="--")
    axis.text(195, height + 0.2, name, color=colour, ha="right", va="bottom")
axis.plot(distances[:200], color=BLUE, linewidth=2)
axis.text(12, distances[8], "gradient descent on B and A", color=BLUE, va="center")
axis.set(xlabel="steps", ylabel="distance ‖B A − W‖", ylim=(0, 1.05 * distances[0]), xlim=(-3, 200))
# alt: The error of gradient descent against steps: within 10 steps it is below the best of 1,000 random spaces, after 40 at Eckart and Young's bound, and never below that.
plt.show()

# %% [markdown]
# (c): the curve goes down to the bound and not below, and there it finds the same *product* as the SVD. It does not
# find the same $B$ and $A$: of those there are many pairs, as exercise 1 of lesson 2 shows.
#
# So a rank is a budget that can be spent well, and singular values tell you how well. Now to a network.
#
# ## A model is a dict of arrays and a pure function
#
# `init_mlp` draws the weights of a [*multilayer perceptron*](glossary.md#multilayer-perceptron-mlp) (MLP): linear maps
# one after another, each followed by the addition of a vector $b$, the *bias*, and between them a
# [*ReLU*](glossary.md#relu), $\max(x, 0)$ for each entry. The weights are a flat dict. The function `mlp(weights, x)`
# has no memory and no hidden state: the same weights and inputs give the same outputs. Here it is by hand, for two
# layers.

# %%
from minilora import init_mlp, mlp, relu

small = init_mlp(rng, widths=(3, 4, 2))
x = rng.standard_normal((5, 3)).astype(np.float32)
for name, array in small.items():
    print(f"{name:11} {array.shape}")
hidden_layer = relu(linear(small["layers.0.W"], x) + small["layers.0.b"])
by_hand = linear(small["layers.1.W"], hidden_layer) + small["layers.1.b"]
assert np.array_equal(mlp(small, x), by_hand)

# %% [markdown]
# The data is drawn from fonts, so nothing is downloaded: images of the 26 lower-case letters on $12 \times 12$ pixels,
# each a little rotated, scaled, sheared and shifted, with noise. A [*domain*](glossary.md#domain) is a kind of image.
# The network learns the *source*, upright sans-serif letters. The others are *targets*, which it meets later:
# black-letter (Fraktur), uneven light, and letters rotated by 90°.

# %%
from minilora.data.glyphs import FRAKTUR, LIGHTING, ROTATED

domains = (SOURCE, FRAKTUR, LIGHTING, ROTATED)
tests = {domain.name: draw_letters(rng, domain, per_letter=40) for domain in domains}
for name, (images, labels) in tests.items():
    print(f"{name:9} images {images.shape}, labels {labels.min()} to {labels.max()}")

# %% tags=["hide-input"]
figure, axes = plt.subplots(len(domains), 13, figsize=(7.2, 2.5))
for row, (name, (images, _)) in zip(axes, tests.items()):
    for axis, place in zip(row, range(0, 26 * 40, 2 * 40)):
        axis.imshow(images[place].reshape(12, 12), cmap="gray_r", vmin=-0.25, vmax=1.25)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
# alt: Thirteen letters in each of four rows: sans is plain and upright, fraktur is black-letter, lighting has bright and dark sides, rotated lies on its side.
plt.show()

# %% [markdown]
# ## Pretrain, then fine-tune
#
# The network has 26 outputs, one for each letter, called [*logits*](glossary.md#logits): the largest is its answer. The [*softmax*](glossary.md#softmax) makes
# probabilities of them: their exponentials, divided by the sum of these. The *loss* is the [*cross-entropy*](glossary.md#cross-entropy), the mean of
# $-\log$ of the probability that the right letter gets. Equal probabilities for all 26 have the loss $\log 26$. An
# untrained network starts a little above: its probabilities are unequal, but for no reason that has to do with the
# letter, and $-\log$ punishes what is too small more than it rewards what is too large. The gradient comes as a dict of
# the same form as the weights.

# %%
from minilora import cross_entropy, value_and_grad


def loss(weights, x, labels):
    return cross_entropy(mlp(weights, x), labels)


images, labels = draw_letters(rng, SOURCE, per_letter=300)
start = init_mlp(rng, widths=(144, 144, 144, 144, 144, 26))
# Every eighth image: they are sorted by letter
value, grads = value_and_grad(loss, start, images[::8], labels[::8])
size = sum(W.size for W in start.values())
print(f"{size:,} weights, first loss {value:.2f}; log 26 = {np.log(26):.2f}")
assert np.isclose(cross_entropy(np.zeros((len(labels), 26)), labels), np.log(26))
assert np.log(26) < value < np.log(26) + 0.2
assert {name: g.shape for name, g in grads.items()} == {name: W.shape for name, W in start.items()}

# %% [markdown]
# `fit` is the training loop. In each step it draws some rows of the data (a *batch*), computes the gradient, and lets
# [*Adam*](glossary.md#adam) take a step. Adam keeps two running means for each parameter:
# $m \leftarrow 0.9\, m + 0.1\, g$ of its gradient $g$, and $v \leftarrow 0.999\, v + 0.001\, g^2$ of the square. Both
# start at zero, which makes them too small at first, so in step $t$ they are used divided by $1 - 0.9^t$ and
# $1 - 0.999^t$. Then the parameter moves by $-\eta\, m / (\sqrt v + \varepsilon)$, with the learning rate $\eta$ and a
# tiny $\varepsilon$, so that a parameter without a gradient stays where it is. So the size of a gradient hardly
# matters: in the first step, where these two become $g$ and $g^2$, a parameter moves by the learning rate, and later by
# less if its gradient keeps changing sign. The learning rate rises at first and then falls towards zero. There is
# nothing else in `fit`: three steps by hand give bitwise identical weights.

# %%
from minilora import adam, adam_start, fit, learning_rate

by_hand, state, draws = start, adam_start(start), np.random.default_rng(7)
for step in range(3):
    rows = draws.integers(len(labels), size=128)
    value, grads = value_and_grad(loss, by_hand, images[rows], labels[rows])
    by_hand, state = adam(by_hand, grads, state, lr=learning_rate(step, 3, peak=1e-3))
how = {"rng": np.random.default_rng(7), "steps": 3, "batch": 128, "lr": 1e-3}
fitted = fit(loss, start, (images, labels), **how)
assert all(np.array_equal(fitted[name], by_hand[name]) for name in start)

# %% [markdown]
# Now let it run. This is the [*pretraining*](glossary.md#pretraining): 1,000 steps on the source.
# [*Accuracy*](glossary.md#accuracy) is the share of images that are classified correctly.

# %%
from minilora import accuracy

how = {"rng": rng, "steps": 1000, "batch": 128, "lr": 1e-3, "label": "pretraining"}
weights = fit(loss, start, (images, labels), **how)
before = {name: accuracy(mlp(weights, x), truth) for name, (x, truth) in tests.items()}
for name, share in before.items():
    print(f"{name:9} {share:6.1%} classified correctly")
assert before["sans"] > 0.97 and max(before["fraktur"], before["lighting"]) < 0.45
assert 1 / 26 < before["rotated"] < 0.15

# %% [markdown]
# It classifies nearly every letter of the source correctly. Of the targets it gets no more than some 4 in 10, and of
# rotated letters only about 1 in 10. Chance is 1 in 26.
#
# So train on, with 40 rotated images of each letter: this is the fine-tuning, and it is *full* if the matrices
# themselves are trained. To keep the question simple, train the four square matrices and leave all other arrays
# unchanged. In Python that takes one operator: `weights | params` is the dict `weights` with the entries of `params` in
# place of its own.
#
# [Full fine-tuning](glossary.md#full-fine-tuning), and the training at low rank further down, use the same learning
# rate, 0.01. It was chosen beforehand, on three other networks and other draws of letters, out of 0.001, 0.003, 0.01
# and 0.03: it was the best of the four for full fine-tuning and for rank 16, each time. At ranks 1 and 4, 0.01 and 0.03
# took turns.

# %%
hidden = [f"layers.{layer}.W" for layer in range(4)]
rotated = draw_letters(rng, ROTATED, per_letter=40)
brief = {"rng": rng, "steps": 400, "batch": 64, "lr": 1e-2}


def tuning_loss(params, x, labels):
    return loss(weights | params, x, labels)


def score(params):
    x, truth = tests["rotated"]
    return accuracy(mlp(weights | params, x), truth)


tuned = fit(tuning_loss, {name: weights[name] for name in hidden}, rotated, **brief)
print(
    f"{sum(W.size for W in tuned.values()):,} parameters trained: "
    f"{before['rotated']:.1%} → {score(tuned):.1%}"
)
assert score(tuned) > 0.9 and score({}) == before["rotated"]

# %% [markdown]
# ## Is the update of low rank?
#
# Here are the updates $\Delta W$, one for each layer. Each is about half as large as the weight itself (in the
# Frobenius norm), and nearly every entry has moved. (The gradient of an entry $W_{ij}$ is a sum over images, of input
# $j$ times how the loss changes with output $i$: lesson 2 derives it. The entries that have not moved are those where,
# on every image that this training has drawn, a ReLU made one of the two zero.)
#
# > **What do you expect?** Of the 144 singular values of $\Delta W$, how many are above rounding? (a) About 26, one for
# > each letter, (b) about half, (c) nearly all.

# %%
delta = {name: tuned[name] - weights[name] for name in hidden}
for name, change in delta.items():
    relative = np.linalg.norm(change) / np.linalg.norm(weights[name])
    moved = np.mean(change != 0)
    rank = np.linalg.matrix_rank(change)
    print(f"{name}: ‖ΔW‖/‖W‖ = {relative:.2f}, {moved:.0%} of the entries moved, rank {rank}")
    assert 0.3 < relative < 0.7 and moved > 0.9 and rank > 130

# %% [markdown]
# (c): in the strict sense it is not of low rank. In a looser sense it may be: a few singular values could hold most of
# it. By (2) and (3) the best rank-$k$ part holds the share $\sum_{i \le k} \sigma_i^2 / \sum_i \sigma_i^2$ of
# $\lVert \Delta W \rVert_F^2$. It is called the [*energy captured*](glossary.md#energy-captured), and the library has it as `energy_captured`.
#
# A share means little without something to compare it with. Even a matrix of random entries has unequal singular
# values, so that its best rank-16 part holds more than 16/144 of the energy. So shuffle the entries of $\Delta W$: the
# same 20,736 numbers at random places. What structure there was in their arrangement is gone.
#
# > **What do you expect?** Rank 16 is a ninth of the full rank. How much of the energy of $\Delta W$ does it hold, and
# > how much of the shuffled matrix? (a) About 35 % of both, (b) about 80 % of both, (c) about 80 % of $\Delta W$ and 35 %
# > of the shuffled one.

# %%
from minilora.analysis import energy_captured

shuffled = {
    name: rng.permutation(change.ravel()).reshape(144, 144) for name, change in delta.items()
}
for name, change in delta.items():
    sigma = np.linalg.svd(change, compute_uv=False)
    share, chance = energy_captured(change), energy_captured(shuffled[name])
    assert np.isclose(share[16], np.sum(sigma[:16] ** 2) / np.sum(sigma**2))
    print(
        f"{name}: rank 1 holds {share[1]:.0%} of the energy, "
        f"rank 16 {share[16]:.0%}; shuffled {chance[16]:.0%}"
    )
    assert share[1] > 0.1 and 0.7 < share[16] < 0.9 and 0.3 < chance[16] < 0.42

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2))
shown = {f"layer {layer}": delta[name] for layer, name in enumerate(hidden)}
shown["shuffled"] = shuffled[hidden[0]]
colours = ("#a6cbe3", "#6aa9d0", "#2f86bd", "#00507c", GREY)
for (label, change), colour in zip(shown.items(), colours):
    dashes = "--" if label == "shuffled" else "-"
    spectrum = np.linalg.svd(change, compute_uv=False)
    axes[0].semilogy(np.arange(1, 145), spectrum / spectrum[0], dashes, color=colour)
    axes[1].plot(100 * energy_captured(change), dashes, color=colour, label=label)
axes[0].set(
    xlabel="i", ylabel="$\\sigma_i$ / $\\sigma_1$", ylim=(1e-3, 1.3), title="spectrum of ΔW"
)
axes[1].set(xlabel="k", ylabel="energy captured (%)", title="in its best rank-k part")
axes[1].set(xlim=(0, 145), ylim=(0, 102))
axes[1].legend(frameon=False, loc="lower right")
# alt: Left, the spectra of the four updates on a log scale fall much faster than that of the shuffled matrix, without an edge. Right, the energy captured by rank k rises much faster for the updates.
plt.show()

# %% [markdown]
# (c): the update is far from random. With one ninth of the possible rank you get about three quarters of the energy or
# more, and the shuffled entries give little more than a third. And yet the spectrum has no edge after which there is
# nothing.
#
# ## How well does rank k serve?
#
# Energy is not the goal, accuracy is. Replace each $\Delta W$ by its best part of rank $k$ and measure. (`best_lora` is
# the library's truncated SVD. It is named after the method that trains two thin matrices, which you meet below, and
# returns three things: an adapter, the two matrices, and what stays frozen.)
#
# > **What do you expect?** At rank 4, where each layer keeps a third to a half of its energy, how much of the gain in
# > accuracy, from 9 % to 94 %, is left? (a) Nearly all, (b) about 40 %, (c) nothing.

# %%
from minilora.theorems.reachable import best_lora

_, thin, _ = best_lora(weights[hidden[0]], tuned[hidden[0]], rank=4)
assert np.allclose(thin["B"] @ thin["A"], cut_to_rank(delta[hidden[0]], 4), atol=1e-6)


def truncated(k):
    return {name: weights[name] + cut_to_rank(delta[name], k) for name in hidden}


ranks = (1, 2, 4, 8, 16, 32, 64, 144)
cut = {k: score(truncated(k)) for k in ranks}
for k, share in cut.items():
    energy = [energy_captured(change)[k] for change in delta.values()]
    print(
        f"rank {k:3}: {min(energy):4.0%} to {max(energy):4.0%} of the energy, accuracy {share:.1%}"
    )
assert cut[16] > score(tuned) - 0.05 and cut[32] > score(tuned) - 0.02
assert (
    cut[1] < 0.2 and 0.25 < (cut[4] - before["rotated"]) / (score(tuned) - before["rotated"]) < 0.6
)

# %% [markdown]
# (b). At rank 16 the network is within a few points of the fully tuned one, and at rank 32 within one or two. But at
# rank 1, where each layer keeps about a sixth of the energy, next to nothing of the new skill is left, and at rank 4
# more than half of it is still missing.
#
# Is that the best that a rank can do? Eckart and Young's theorem says that no matrix of rank $k$ is nearer *to this
# $\Delta W$*. Nobody asked for this $\Delta W$. You asked for a network that classifies rotated letters. So do with the
# loss what you did with the image above: write $\Delta W = B A$ and train $B$ and $A$. $A$ starts at random, with
# entries of variance $1/144$, so that those of $A x$ are about as large as those of $x$. $B$ starts at zero, so that
# training starts from the pretrained network. This is **LoRA**, [*low-rank adaptation*](glossary.md#lora), and lesson 2 takes it apart.
#
# > **What do you expect?** Trained at rank 1 from the start, the network classifies correctly (a) about as few rotated
# > letters as after the cut to rank 1, (b) about half of them, (c) about three quarters.


# %%
def with_updates(params):
    return {name: weights[name] + params[name]["B"] @ params[name]["A"] for name in hidden}


def thin_loss(params, x, labels):
    return tuning_loss(with_updates(params), x, labels)


trained = {}
for k in (1, 4, 16):
    first = {}
    for name in hidden:
        A = rng.standard_normal((k, 144)) / np.sqrt(144)
        first[name] = {"B": np.zeros((144, k), np.float32), "A": A.astype(np.float32)}
    trained[k] = score(with_updates(fit(thin_loss, first, rotated, **brief)))
    print(f"rank {k:2}: trained at this rank {trained[k]:.1%}, cut down to it {cut[k]:.1%}")
assert 0.1 < score(tuned) - trained[1] < 0.3
assert trained[1] > cut[1] + 0.5 and trained[4] > cut[4] + 0.3 and trained[16] > score(tuned) - 0.04

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 3.2))
axis.axhline(100 * score(tuned), color=GREY, linestyle="--")
axis.text(144, 100 * score(tuned) + 1, "full fine-tuning", color=GREY, ha="right", va="bottom")
axis.semilogx(ranks, [100 * cut[k] for k in ranks], "o-", color=BLUE)
axis.semilogx(list(trained), [100 * share for share in trained.values()], "s-", color=ORANGE)
axis.text(1, 64, "trained at rank k", color=ORANGE, va="center")
axis.text(9, 66, "tuned fully, then cut to rank k", color=BLUE, va="center")
axis.set(xlabel="rank k of each ΔW", ylabel="accuracy on rotated letters (%)", ylim=(0, 105))
axis.set_xticks(ranks, [str(k) for k in ranks])
axis.set_xticks([], minor=True)
# alt: Accuracy against rank. Cut to rank k after full fine-tuning it rises from 10 % at rank 1 to 92 % at rank 16; trained at rank k it is already 74 % at rank 1 and 93 % at rank 16.
plt.show()

# %% [markdown]
# (c). The bet has two halves. Full fine-tuning does *not* make an update of very low rank, not in this network: you
# need rank 16 or so to keep what it learned. But updates of low rank that do nearly the same *exist*: if training has
# to look for one, it finds one, at rank 1 some 20 points short of full fine-tuning, at rank 16 hardly any. (Each dot is
# one run: differences of two or three points say nothing here.) Of all matrices of rank $k$, the truncated update is
# the closest to $\Delta W$. That does not make it the best for the loss.
#
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 1.1
# answers.py`. It tries them on random cases, and shows the smallest on which one fails.

# %% [markdown]
# ### Exercise 1 (easy): what leaves the singular values alone?
#
# Take the image of the g. Rotate it by 90°; mirror it; put its rows into a random order; shuffle all its pixels. In
# which cases do the singular values stay the same? Say why before you run it.
#
# Then write `rotated_svd(U, sigma, Vt)`. It gets the three arrays that `np.linalg.svd(W, full_matrices=False)` returns
# for a matrix $W$ `(d_out, d_in)`, and returns a tuple of three such arrays for `np.rot90(W)`, which is $W$ rotated by
# 90° counter-clockwise. It needs no other SVD.
#
# <details><summary>Hint</summary>
#
# To put the rows in another order is to multiply from the left with a permutation matrix, which is orthogonal. What
# does an orthogonal matrix do to an ellipse? `np.rot90` transposes, and then reverses the order of the rows.
#
# </details>

# %% [markdown]
# ### Exercise 2 (medium): a low rank takes noise away
#
# Draw a clean letter (an image of $0$ and $1$ such as `W > 0.5` will do) and add to each pixel Gaussian noise with the
# standard deviation 0.3. Cut the noisy image down to rank $k$ and measure its distance to the *clean* one, for every
# $k$. Which $k$ is best, and why neither the smallest nor the largest? (For the g, between 3 and 8.)
#
# Write `best_rank(noisy, clean)` for this: two matrices of one shape, and the tuple $(k, \lVert N_k - C \rVert_F)$ of a
# Python integer and a float, where $N_k$ is the noisy matrix cut to rank $k$, $C$ the clean one, and $k$ from 1 up
# makes the distance smallest.

# %% [markdown]
# ### Exercise 3 (hard): cut where the data does not look
#
# Let $X$ `(n, d_in)` hold the inputs that a layer of the tuned network really sees, in rows. Which matrix $M$ of rank
# $k$ changes the *outputs* least, that is, makes $\lVert X (\Delta W - M)^\top \rVert_F$ smallest? If $X^\top X$ were a
# multiple of the identity (all directions of the input equally strong), this would be the truncated $\Delta W$. It is
# not.
#
# Write `best_for_outputs(X, delta, k)`: such an $M$ `(d_out, d_in)` of rank $k$ at most, for $\Delta W$
# `(d_out, d_in)`. Check on each layer that it beats the truncated $\Delta W$ in this sense, and measure the accuracy at
# ranks 1, 4 and 8. (At ranks 4 and 8, between 5 and 20 points more than with the truncated one.) Does it reach, at
# ranks 1 and 4, what training at that rank reached?
#
# <details><summary>Hint</summary>
#
# $Y = X \Delta W^\top$ is a matrix too, and Eckart and Young's theorem gives the best $Y_k$. Can $Y_k$ be written as
# $X M^\top$? If $V$ `(k, d_out)` holds the first $k$ right singular vectors of $Y$ in its rows, then
# $Y_k = Y V^\top V$.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# You trained $B$ and $A$ and saw that it works. [Lesson 2, LoRA by hand](02_lora_by_hand.py), explains why $B$ starts
# at zero and $A$ does not, what $\alpha$ is for, and which rank to take.
#
# ## References
#
# - Carl Eckart and Gale Young, 1936, *The approximation of one matrix by another of lower rank*, Psychometrika 1.
# - Hermann Weyl, 1912, *Das asymptotische Verteilungsgesetz der Eigenwerte linearer partieller
#   Differentialgleichungen*, Mathematische Annalen 71 (inequality (4), for eigenvalues).
# - Armen Aghajanyan, Luke Zettlemoyer and Sonal Gupta, 2020, *Intrinsic Dimensionality Explains the Effectiveness of
#   Language Model Fine-Tuning*, [arXiv 2012.13255](https://arxiv.org/abs/2012.13255).
# - Edward Hu and others, 2021, *LoRA: Low-Rank Adaptation of Large Language Models*,
#   [arXiv 2106.09685](https://arxiv.org/abs/2106.09685).
