# %% [markdown]
# # What each adapter can reach: the nearest matrix to a target, before anything is trained
#
# **You will learn**
#
# - how to measure, without training, how near an adapter can bring one matrix to a target;
# - which changes of a weight each adapter can make exactly, and what the best approximation of all others is;
# - whether more trainable parameters always reach more.
#
# **Before this:** [LoRA](02_lora_by_hand.py), [SBoRA](04_sbora.py), [HRA](06_hra.py), [CondLoRA](07_condlora.py).
# **Time:** 40 minutes to read, 10 seconds to run.
#
# You adapt a model, and the result is poor. Was the rank too small? Was it the wrong *kind* of adapter? Or was the
# learning rate bad? On one weight matrix the first two have exact answers, or nearly so. Take the matrix $W$ that you
# have and the matrix $T$ that you would like to have, the *target*. Each adapter offers a set of matrices $W'$, its
# [*reachable set*](glossary.md#reachable-set). How far from $T$ is the nearest of them? This lesson answers that
# question. What training finds of it is the subject of [the next](12_what_training_finds.py).

# %%
from minilora.cli.lesson import BLUE, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import autograd.numpy as np  # NumPy, but autograd can differentiate through it
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)

# %% [markdown]
# ## One number for "how near"
#
# Let $E = T - W$ be the change that you want. We measure
#
# $$\text{distance} = \frac{\lVert W' - T\rVert_F}{\lVert T - W\rVert_F} \tag{1}$$
#
# where $\lVert\cdot\rVert_F$ is the square root of the sum of all squared entries. A distance of 0 means that the
# adapter reaches the target exactly. A distance of 1 is what you have before you do anything, since $W' = W$ gives 1.
# Above 1 the adapter has made matters worse.

# %%
d = 16
W = rng.standard_normal((d, d)) / d**0.5
T = W + rng.standard_normal((d, d)) / d**0.5
E = T - W


def distance(merged, W, T):
    """Equation (1)."""
    return np.linalg.norm(merged - T) / np.linalg.norm(T - W)


assert distance(T, W, T) == 0.0
assert distance(W, W, T) == 1.0

# %% [markdown]
# ## LoRA and SBoRA by hand
#
# LoRA of rank $r$ reaches every $W + \Delta W$ with a $\Delta W$ of rank at most $r$.
#
# > **Theorem (Eckart & Young, 1936).** Of all matrices of rank at most $r$, the one that keeps the $r$ largest singular
# > triples of $E$ is nearest to $E$. So the best LoRA has
# > $\text{distance}^2 = \sum_{i>r}\sigma_i^2 \,/\, \sum_i \sigma_i^2$, with $\sigma_i$ the singular values of $E$.
#
# The proof is in [lesson 1](01_one_matrix.py).
#
# SBoRA-FA trains $r$ columns of $W$ and nothing else. It sets these columns right and leaves the others as they are. So
# it should take the $r$ longest columns of $E$, and what remains is the length of the others. SBoRA-FB does the same
# with rows.

# %%
from minilora.theorems import reachable

rank = 4  # LoRA: 4 (16 + 16) = 128 trainable parameters; SBoRA has 8 columns or rows for as many
sigma = np.linalg.svd(E, compute_uv=False)
by_hand_lora = np.sqrt(np.sum(sigma[rank:] ** 2) / np.sum(sigma**2))

longest_first = np.sort(np.sum(E**2, axis=0))[::-1]  # the squared lengths of the columns of E
by_hand_fa = np.sqrt(np.sum(longest_first[2 * rank :]) / np.sum(longest_first))

adapter, params, frozen = reachable.best_lora(W, T, rank)
assert abs(distance(adapter.merge(params, frozen), W, T) - by_hand_lora) < 1e-12
adapter, params, frozen = reachable.best_sbora_fa(W, T, 2 * rank)
assert abs(distance(adapter.merge(params, frozen), W, T) - by_hand_fa) < 1e-12
print(
    f"LoRA r=4: {by_hand_lora:.3f}     SBoRA-FA r=8, "
    f"the best columns: {by_hand_fa:.3f}     both with 128 parameters"
)

# %% [markdown]
# The functions `best_…` of the library return what `attach` would hold: the adapter, its params and its frozen part.
# They are params that nobody trained. They come from a formula or, for HRA of most ranks, from a search.
#
# ## HRA and CondLoRA by hand
#
# HRA reaches $W' = WQ$, where $Q$ is a product of $r$ reflections and thus orthogonal. Write out the squared distance
# with $G = W^\top T$:
#
# $$\begin{aligned} \lVert WQ - T\rVert_F^2 &= \lVert W\rVert_F^2 + \lVert T\rVert_F^2 \cr
#   &\quad - 2\operatorname{tr}(Q^\top G) \end{aligned} \tag{2}$$
#
# The first two terms do not depend on $Q$. So all that counts is the trace.
#
# > **Lemma (one reflection).** Of all $Q = I - 2uu^\top$ with a unit vector $u$, the nearest has for $u$ an eigenvector
# > of $G + G^\top$ with the lowest eigenvalue.
#
# **Proof.** $\operatorname{tr}(Q^\top G) = \operatorname{tr} G - 2\,u^\top G u$, and
# $u^\top G u = \tfrac12\, u^\top (G + G^\top)\, u$ is smallest for this $u$. ∎

# %%
G = W.T @ T
values, vectors = np.linalg.eigh((G + G.T) / 2)  # rising order
by_hand_squared = np.sum(W**2) + np.sum(T**2) - 2 * np.trace(G) + 4 * values[0]

adapter, params, frozen = reachable.best_hra(W, T, 1, rng=rng)
reached = adapter.merge(params, frozen)
assert abs(np.sum((reached - T) ** 2) - by_hand_squared) < 1e-10
u = params["U"][:, 0] / np.linalg.norm(params["U"])
assert abs(abs(u @ vectors[:, 0]) - 1) < 1e-8  # the same direction, up to its sign
print(f"HRA, one reflection: {distance(reached, W, T):.3f}")

# %% [markdown]
# With enough reflections every orthogonal matrix is within reach, as far as the sign of its determinant allows. The
# nearest one has a formula too, the [*Procrustes*](glossary.md#procrustes-problem) solution.
#
# > **Theorem (Schönemann, 1966).** Let $G = L S R^\top$ be a singular value decomposition, with singular values $s_i$.
# > Of all orthogonal $Q$, $Q = L R^\top$ is nearest: it has the largest trace in (2),
# > $\operatorname{tr}(Q^\top G) = \sum_i s_i$.
# >
# > **Corollary.** $Q = I$ is nearest if and only if $G$ is symmetric and has no negative eigenvalue.
#
# **Proof.** $\operatorname{tr}(Q^\top L S R^\top) = \sum_i s_i O_{ii}$ with the orthogonal $O = R^\top Q^\top L$. No
# entry of an orthogonal matrix is larger than 1, and $Q = L R^\top$ makes $O = I$. For the corollary, $I$ is nearest if
# and only if $\operatorname{tr} G = \sum_i s_i$, which means $O_{ii} = 1$ for all $s_i > 0$ with $O = R^\top L$. Then
# columns $i$ of $L$ and $R$ are equal, and $G$ is $\sum_i s_i\, l_i l_i^\top$. The other way round, the eigenvalues of
# a symmetric $G$ without negative ones are its singular values, so $\operatorname{tr} G = \sum_i s_i$. ∎
#
# HRA with an even $r$ has $\det Q = 1$. If $L R^\top$ has determinant $-1$, the nearest $Q$ with the other sign negates
# the column of $L$ that belongs to the smallest $s_i$ (Kabsch, 1976; we do not prove this).
#
# For $r = d - 1$ every orthogonal $Q$ with determinant $(-1)^{d-1}$ is within reach, so the formula is the same. For
# $1 < r < d - 1$ we know none. `best_hra` then improves one reflection at a time, each by the lemma while the others
# stay, for 50 rounds and from several starts. What it finds is good, but we cannot say that nothing is nearer. Strict
# HRA has $Q = I - 2P$, with $P$ a projection on $r$ dimensions. It takes the $r$ lowest eigenvectors of $G + G^\top$ at
# once (Fan, 1949).
#
# CondLoRA stays inside the column space and the row space of $W$. Our $W$ is invertible, so both are everything. With
# a single matrix, CondLoRA can then reach what LoRA can, and nothing else.
#
# ## Singular values only
#
# A last one, which is `SVF` of `minilora/family` ([lesson 19](19_family_tree.py)): keep all singular vectors of
# $W = \sum_i \sigma_i u_i v_i^\top$ and train the singular values alone ([SVF](glossary.md#svf), *singular value
# fine-tuning*; the class trains a factor for each, so one that is 0 stays 0). That is $d$ trainable parameters $s_i$:
#
# $$W' = \sum_i s_i\, u_i v_i^\top. \tag{3}$$
#
# It is the opposite of HRA, which keeps all singular values of $W$ and changes its right singular vectors.
#
# > **Lemma.** For a square, invertible $W$ the best choice is $s_i = u_i^\top T v_i$. It leaves
# > $\text{distance}^2 = 1 - \sum_i (u_i^\top E v_i)^2 / \lVert E\rVert_F^2$.
#
# **Proof.** In the bases of the $u_i$ and the $v_i$, lengths are the same, $W'$ is diagonal, and $T$ has the entries
# $u_i^\top T v_j$. A diagonal matrix can meet the diagonal ones and no other. Without a change, $s_i = \sigma_i$, these
# were missed by $u_i^\top E v_i$. ∎


# %%
def best_singular_values(W, T):
    """The nearest W' with the singular vectors of W."""
    left, _, right = np.linalg.svd(W)
    return (left * np.sum(left * (T @ right.T), axis=0)) @ right  # column i: u_i · T v_i


left, _, right = np.linalg.svd(W)
reached = best_singular_values(W, T)
hit = np.sum(np.diag(left.T @ E @ right.T) ** 2)
print(f"singular values only, {d} parameters: {distance(reached, W, T):.3f}")
assert abs(distance(reached, W, T) ** 2 - (1 - hit / np.sum(E**2))) < 1e-12

# %% [markdown]
# Now all of them on this one target, a random change. To compare the adapters fairly, give each as many trainable
# parameters as LoRA of rank $r$ has: on a square matrix SBoRA and HRA get twice the rank, and CondLoRA the same rank.
# (An even number of reflections keeps $W$ itself within HRA's reach.) Singular values only has always $d$.

# %%


def distances(W, T, rank, rng):
    """Rows (name, rank, parameters, distance) for a square W, as many parameters as LoRA has."""
    nearest = [
        reachable.best_lora(W, T, rank),
        reachable.best_condlora(W, T, rank),
        reachable.best_sbora_fa(W, T, 2 * rank),
        reachable.best_sbora_fb(W, T, 2 * rank),
        reachable.best_hra(W, T, 2 * rank, rng=rng),
        reachable.best_hra_strict(W, T, 2 * rank),
    ]
    rows = []
    for adapter, params, frozen in nearest:
        count = sum(array.size for array in params.values())
        reached = adapter.merge(params, frozen)
        rows.append((type(adapter).__name__, adapter.rank, count, distance(reached, W, T)))
    rows.append(("SVF", len(W), len(W), distance(best_singular_values(W, T), W, T)))
    return rows


rows = distances(W, T, rank, rng)
print("adapter      rank  trainable  distance")
for name, own_rank, count, found in rows:
    print(f"{name:<12} {own_rank:>4}  {count:>9}  {found:>8.3f}")

found = {name: found for name, _, _, found in rows}
assert {count for name, _, count, _ in rows if name != "SVF"} == {128}  # the comparison is fair
assert abs(found["CondLoRA"] - found["LoRA"]) < 1e-9
assert abs(found["LoRA"] - by_hand_lora) < 1e-12

# %% [markdown]
# ## Ten kinds of target
#
# This $T$ had nothing that an adapter could use: a random change. Real changes have structure, and we do not know
# which. So try ten kinds. $Q$ is a rotation, $D$ diagonal with positive entries, $M$ has rank 2.
#
# Some of them need a random orthogonal matrix. The usual way is `np.linalg.qr` of a random matrix. By itself it is
# wrong here: NumPy makes its $Q$ of $d - 1$ reflections, so that $\det Q = -1$ for *every* even $d$, and you never get
# a rotation. Multiply its columns by the signs of the diagonal of $R$. Then every orthogonal matrix is as likely as any
# other, and negating one column, if necessary, gives the determinant that you want.

# %%
from minilora.data import teacher


def random_orthogonal(rng, d, det):
    """An orthogonal matrix of this determinant, each as likely as any other."""
    Q, R = np.linalg.qr(rng.standard_normal((d, d)))
    Q = Q * np.sign(np.diag(R))
    if np.linalg.det(Q) * det < 0:
        Q[:, 0] *= -1
    return Q


plain = [np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(20)]
assert all(np.linalg.det(Q) < 0 for Q in plain)
assert abs(np.linalg.det(random_orthogonal(rng, d, det=1)) - 1) < 1e-12


def ten_targets(rng, W):
    """Ten matrices T, each a different change of W."""
    d = len(W)
    noise = rng.standard_normal((d, d)) / d**0.5
    left, values, right = np.linalg.svd(W)
    return {
        "random change": W + noise,
        "rank 2, and 1% noise": teacher.low_rank(rng, W, 2) + 0.01 * noise,
        "2 columns change": teacher.few_columns(rng, W, 2),
        "2 rows change": teacher.few_rows(rng, W, 2),
        "W Q, one plane rotated": teacher.rotated(rng, W, 2),
        "W Q, everything rotated": W @ random_orthogonal(rng, d, det=1),
        "D W, rows are scaled": teacher.scaled_rows(rng, W, d),
        "W D, columns are scaled": teacher.scaled_columns(rng, W, d),
        "W + W M W": teacher.shared_conversion(rng, W, 2),
        "other singular values": (left * values * np.exp(rng.uniform(-1, 1, d))) @ right,
    }


# %% [markdown]
# Each adapter gets 64 trainable parameters: LoRA and CondLoRA rank 2, all others rank 4; singular values only has 16.
# SBoRA comes twice, once with the best columns, and once with random ones, as it draws them when you do not say. The
# numbers are means over five draws of $W$ and $T$.
#
# > **What do you expect?** How many of the ten targets does LoRA of rank 2 reach exactly? (a) none, as they are all
# > different; (b) one, the target of rank 2; (c) four, and only CondLoRA reaches as many. And is there a target that no adapter
# > reaches?

# %%
draws = 5
table = {}
for _ in range(draws):
    W = rng.standard_normal((d, d)) / d**0.5
    for kind_of_target, T in ten_targets(rng, W).items():
        row = {name: found for name, _, _, found in distances(W, T, 2, rng)}
        rest = rng.permutation(d)[4:]  # the columns that random choice does not get
        row["FA random"] = np.linalg.norm((T - W)[:, rest]) / np.linalg.norm(T - W)
        for name, found in row.items():
            table.setdefault(kind_of_target, {}).setdefault(name, []).append(found)
columns = ["LoRA", "CondLoRA", "SBoRAFA", "FA random", "SBoRAFB", "HRA", "HRAStrict", "SVF"]
means = np.array([[np.mean(row[name]) for name in columns] for row in table.values()])
deviations = np.array([[np.std(row[name], ddof=1) for name in columns] for row in table.values()])
widest = zip(columns, deviations.max(axis=0))
print("largest standard deviation:", ", ".join(f"{name} {value:.2f}" for name, value in widest))

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 4.8))
picture = axis.imshow(means, cmap="viridis_r", vmin=0, vmax=1, aspect="auto")
for (i, j), value in np.ndenumerate(means):
    colour = "white" if value > 0.5 else "black"
    axis.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour)
labels = ["LoRA", "Cond-\nLoRA", "SBoRA-\nFA", "SBoRA-FA\nrandom", "SBoRA-\nFB", "HRA"]
labels += ["HRA\nstrict", "singular\nvalues"]
axis.set_xticks(range(len(columns)), labels, fontsize=8)
axis.set_yticks(range(len(table)), list(table))
axis.xaxis.tick_top()
axis.tick_params(length=0)
axis.spines[:].set_visible(False)
figure.colorbar(picture, label="distance: 0 reaches it, 1 is no better than W", extend="max")
# alt: Table of distances, ten kinds of target by eight adapters. Six of the ten targets have one to three adapters at or near 0; the others have none, and most other cells are between 0.4 and 1.
plt.show()

# %%
place = {name: j for j, name in enumerate(columns)}
by_target = dict(zip(table, means))
own_targets = [
    ("2 columns change", "SBoRAFA"),
    ("2 rows change", "SBoRAFB"),
    ("W Q, one plane rotated", "HRA"),
    ("W + W M W", "CondLoRA"),
    ("other singular values", "SVF"),
]
for kind_of_target, name in own_targets:
    print(f"{kind_of_target:<22} {name:<10} {by_target[kind_of_target][place[name]]:.1e}")
    assert by_target[kind_of_target][place[name]] < 1e-6

near = by_target["rank 2, and 1% noise"]
assert near[place["LoRA"]] < 0.05 < 0.5 < near[place["SBoRAFA"]]
for line in means:
    assert abs(line[place["LoRA"]] - line[place["CondLoRA"]]) < 1e-6
exact = {
    name: [target for target in table if by_target[target][place[name]] < 1e-6] for name in columns
}
print("exact:", {name: len(targets) for name, targets in exact.items()})
assert len(exact["LoRA"]) == 4 > max(len(exact[name]) for name in columns[2:])
nobody = set(table) - {target for targets in exact.values() for target in targets}
print("reached by none:", sorted(nobody))

# %% [markdown]
# (c), and yes. LoRA (and with it CondLoRA) reaches four of the ten targets: two columns, two rows, one rotated plane and
# $WMW$ are all changes of rank 2. (The second row would be a fifth one without its noise.) Where a target has the structure of an adapter *and no more of it than the rank*, that adapter reaches it, and most
# others are far away with as many trainable parameters. Nobody wins everywhere, and some of the targets are reached by
# none.
#
# The last column answers a question that is often asked: why should the singular values be enough? They are enough only
# where the change keeps all singular vectors of $W$. On a generic change $d$ of $d^2$ directions are theirs, so that
# they leave about $\sqrt{1 - 1/d} = 0.97$ of it. Their merit is that they are few.
#
# LoRA does not know *what kind* of rank 2 it needs, and pays for that in parameters:

# %%
from minilora import LoRA

two_columns, one_plane = teacher.few_columns(rng, W, 2), teacher.rotated(rng, W, 2)
for T, solution in (
    (two_columns, reachable.best_lora(W, two_columns, 2)),
    (two_columns, reachable.best_sbora_fa(W, two_columns, 2)),
    (one_plane, reachable.best_hra(W, one_plane, 2, rng=rng)),
):
    adapter, params, frozen = solution
    count = sum(array.size for array in params.values())
    print(f"{type(adapter).__name__} r=2 is exact with {count} parameters")
    assert distance(adapter.merge(params, frozen), W, T) < 1e-8
    assert count == (64 if isinstance(adapter, LoRA) else 32)
generic = by_target["random change"][place["SVF"]]
print(f"singular values only, random change: {generic:.3f}; formula: {np.sqrt(1 - 1 / d):.3f}")
assert abs(generic - np.sqrt(1 - 1 / d)) < 0.03

# %% [markdown]
# ## Columns, or a low rank?
#
# Look at the first row again, the random change. Eckart and Young say that LoRA is the best of all changes of rank
# $r$. But SBoRA has twice the rank for as many parameters. Which counts for more? Vary the share $r/d$ on larger
# matrices.
#
# > **Lemma (random columns).** Columns that are drawn at random, $k$ of $d$, leave $1 - k/d$ of $\lVert E\rVert_F^2$ on
# > average, for every $E$.
#
# **Proof.** Each column is left out with probability $1 - k/d$. ∎
#
# > **What do you expect?** A random change, LoRA of rank $r$ against $2r$ columns: (a) LoRA is nearer at every $r$;
# > (b) LoRA is nearer at small $r$ and the columns at large $r$; (c) the other way round.

# %%
side, ranks = 128, np.arange(1, 65)
curves = {"LoRA r": [], "SBoRA-FA 2r, best columns": [], "SBoRA-FA 2r, random columns": []}
for _ in range(3):
    change = rng.standard_normal((side, side))
    energy = np.cumsum(np.linalg.svd(change, compute_uv=False) ** 2) / np.sum(change**2)
    longest = np.cumsum(np.sort(np.sum(change**2, axis=0))[::-1]) / np.sum(change**2)
    curves["LoRA r"].append(np.sqrt(1 - energy[ranks - 1]))
    curves["SBoRA-FA 2r, best columns"].append(np.sqrt(np.maximum(1 - longest[2 * ranks - 1], 0)))
    curves["SBoRA-FA 2r, random columns"].append(np.sqrt(1 - 2 * ranks / side))  # the lemma
mean = {name: np.mean(rows, axis=0) for name, rows in curves.items()}
crossing = {name: ranks[np.argmax(mean[name] < mean["LoRA r"])] / side for name in list(mean)[1:]}
for name, share in crossing.items():
    print(f"{name}: nearer than LoRA from r/d = {share:.2f}")
    assert 0.34 < share < 0.46
print(f"at r/d = 0.5 LoRA leaves {mean['LoRA r'][-1]:.2f}")
assert mean["SBoRA-FA 2r, best columns"][-1] < 1e-6 < 0.25 < mean["LoRA r"][-1] < 0.35

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 3.0))
for (name, curve), style in zip(mean.items(), ("-", "-", "--")):
    axis.plot(ranks / side, curve, style, label=name, color=BLUE if "LoRA" in name else ORANGE)
axis.axvspan(*sorted(crossing.values()), color="0.85", zorder=0)
share = min(crossing.values())
axis.text(share - 0.01, 0.75, "the curves cross", ha="right", color=GREY)
label = "r / d of LoRA; SBoRA has as many trainable parameters"
axis.set(xlabel=label, ylabel="distance", ylim=(0, 1))
axis.legend(frameon=False, loc="lower left")
# alt: Distance against r/d. LoRA's curve falls faster at first; both curves of SBoRA cross it near r/d = 0.4 and reach 0 at 0.5, where LoRA is near 0.3.
plt.show()

# %% [markdown]
# (b). From $r/d \approx 0.4$ on, columns are the better buy. At $r = d/2$ SBoRA has all $d$ columns and is exact, while
# LoRA still misses a third. Why? LoRA wastes parameters: for any invertible $r \times r$ matrix $M$, the
# pairs $(B, A)$ and $(BM, M^{-1}A)$ give the same $\Delta W$. So $r^2$ of its $2dr$ parameters change nothing. That
# waste is small at small $r$ and half of everything at $r = d$. In large models $r/d$ is often about one in a hundred
# (rank 8 at width 768). There LoRA is ahead on such a target, and you see it at the left: its curve falls faster at
# first.

# %%
captured = (
    1 - mean["LoRA r"][3] ** 2,
    1 - mean["SBoRA-FA 2r, best columns"][3] ** 2,
    2 * ranks[3] / side,
)
print(f"share of ‖E‖² that is captured at r/d = {ranks[3] / side:.3f}:")
print("LoRA {:.3f}, SBoRA's best columns {:.3f}, its random columns {:.3f}".format(*captured))
assert captured[0] > 1.2 * captured[1] and captured[0] > 1.5 * captured[2]

# %% [markdown]
# On a random change all columns are nearly alike, so it matters little which of them you take. On the target "2 columns
# change" it decides: four columns are exact if they are the right ones. If they are drawn, they leave
# $1 - 4/16$ of the squared distance on average, the square of $0.87$. But does anyone know the right columns? With a known target, yes. In training you have data and no
# $T$. An exercise of [lesson 12](12_what_training_finds.py) has an idea.

# %%
T = teacher.few_columns(rng, W, 2)
E = T - W
missed = []
for _ in range(2000):
    rest = rng.permutation(d)[4:]
    missed.append(np.sum(E[:, rest] ** 2) / np.sum(E**2))
print(f"random 4 columns: {np.sqrt(np.mean(missed)):.3f}, the lemma: {np.sqrt(1 - 4 / d):.3f}")
assert abs(np.mean(missed) - (1 - 4 / d)) < 0.04
adapter, params, frozen = reachable.best_sbora_fa(W, T, 4)
assert distance(adapter.merge(params, frozen), W, T) == 0.0

# %% [markdown]
# ## More and more reflections
#
# Give HRA more and more reflections, on four of the ten targets. LoRA reaches every target in the end, at $r = d$.
#
# > **What do you expect?** HRA with $r = d = 16$ reflections has $d^2$ trainable parameters, as many as $W$ has entries.
# > It (a) reaches all four targets; (b) reaches "W Q, everything rotated" only and comes near to the others; (c) reaches
# > that one only, and on one of the four it gains nothing at all.

# %%
W = rng.standard_normal((d, d)) / d**0.5
targets = ten_targets(rng, W)
shown = [
    "random change",
    "W Q, everything rotated",
    "W D, columns are scaled",
    "D W, rows are scaled",
]
reflections = [2, 4, 8, 12, 16]
free, strict, floor = {}, {}, {}
for name in shown:
    T, free[name], strict[name] = targets[name], [], []
    for r in reflections:
        adapter, params, frozen = reachable.best_hra(W, T, r, rng=rng)
        free[name].append(distance(adapter.merge(params, frozen), W, T))
        adapter, params, frozen = reachable.best_hra_strict(W, T, r)
        strict[name].append(distance(adapter.merge(params, frozen), W, T))
    floor[name] = distance(W @ reachable.procrustes(W, T, odd=False), W, T)
    assert abs(free[name][-1] - floor[name]) < 1e-8
    assert free[name][0] > floor[name] + 0.03 or name == "D W, rows are scaled"
    print(f"{name:<24} Procrustes {floor[name]:.3f}   HRA r=16 {free[name][-1]:.3f}")

# %% tags=["hide-input"]
figure, panels = plt.subplots(1, 4, figsize=(7.2, 2.6), sharey=True)
for axis, name in zip(panels, shown):
    axis.plot(reflections, free[name], "o-", color=BLUE, ms=4, label="HRA")
    axis.axhline(floor[name], color="0.4", lw=1, ls=":", label="Procrustes")
    axis.set_title(name.replace(", ", ",\n"), fontsize=9)
    axis.set(ylim=(-0.03, 1.1), xticks=[2, 8, 16], xlabel="reflections r")
panels[0].set_ylabel("distance")
panels[1].legend(frameon=False, fontsize=8)
# alt: Four panels, distance against the number of reflections. HRA falls to 0.70, 0 and 0.90 in the first three and stays at 1 in the last, where rows are scaled.
plt.show()

# %% [markdown]
# (c). HRA multiplies $W$ by an orthogonal $Q$ and so keeps all singular values of $W$. If those of $T$ differ, the rest
# is out of reach: the Procrustes distance (dotted) is a floor, and with 16 reflections HRA is on it.
#
# The last panel is the strangest: on $T = DW$, rows stretched by positive factors, HRA gains nothing with any number
# of reflections. Here $G = W^\top D W$ is symmetric with positive eigenvalues. By the corollary the best that HRA can
# do is to leave $W$ unchanged. (The tenth target, other singular values, is of this kind too: 1.00 in the table. There
# $G$ has the eigenvectors $v_i$ and positive eigenvalues.)

# %%
T = targets["D W, rows are scaled"]
nearest = reachable.procrustes(W, T, odd=False)
print(f"the nearest rotation differs from I by {np.max(np.abs(nearest - np.eye(d))):.0e}")
assert np.max(np.abs(nearest - np.eye(d))) < 1e-7
assert np.linalg.eigvalsh(W.T @ T + T.T @ W)[0] > 0
assert min(free["D W, rows are scaled"]) > 1 - 1e-9

# %% [markdown]
# HRA keeps all singular values. Is that a virtue, because what the model knew is kept? It is no promise about answers:
# in the table of the README the source accuracy of HRA is below those of LoRA and SBoRA-FA with as many trainable
# parameters. (That is one seed. [Lesson 13](13_bake_off.py) looks closer.)
#
# ## Does more rank always help?
#
# Strict HRA reflects in $r$ orthogonal directions, $Q = I - 2P$. It can use every rank from 1 to $d$.
#
# > **What do you expect?** From rank 2 to rank 16, the distance of strict HRA on these four targets (a) never rises, as
# > more parameters can do no harm; (b) rises on some of them in between, and ends lowest; (c) is highest at rank 16.

# %%
from minilora import HRAStrict

for name in shown:
    values = np.linalg.eigvalsh((W.T @ targets[name] + targets[name].T @ W) / 2)
    print(
        f"{name:<24} {np.sum(values < 0):>2} of 16 eigenvalues are negative,   "
        f"distance at r = {', '.join(map(str, reflections))}: "
        + " ".join(f"{value:.2f}" for value in strict[name])
    )
    assert strict[name][-1] == max(strict[name]) > min(strict[name]) + 0.05
reached = HRAStrict(d).merge({"U": np.eye(d)}, {"W": W})
assert np.allclose(reached, -W)  # at r = d strict HRA has no choice left: W' = −W

# %% [markdown]
# (c). Every reflection is a full one: a vector becomes its negative. Strict HRA cannot use fewer than $r$ of them. The
# $r$-th one changes $\lVert W' - T \rVert_F^2$ by four times the $r$-th eigenvalue of $(G + G^\top)/2$. Once the
# negative eigenvalues are used up, each further reflection adds to the distance. (Not on all targets: exercise 1 has
# one on which every reflection helps.)
#
# So more trainable parameters are not always more reach. Free HRA does not have the problem as long as the number stays
# even (or odd): two equal vectors next to each other cancel, so it can always leave two reflections unused. One more
# alone can harm: see the optional section.
#
# ## Optional: an even or an odd number of reflections
#
# HRA takes an even rank, unless you insist, and this section is about why. Take "everything rotated" once more, and the
# same $Q$ with one reflection added, so that $\det Q = -1$. How many reflections reach the target?
#
# > **Lemma (parity).** A product $H$ of $r$ reflections has $\det H = (-1)^r$. If $\det H = -\det Q$ for an orthogonal
# > $Q$, then $\lVert WH - WQ \rVert_2 \ge 2\,\sigma_\text{min}(W)$ for a square $W$.
#
# **Proof.** The orthogonal matrix $HQ^\top$ has determinant $-1$. Its eigenvalues that are not real come in pairs with
# product 1, so $-1$ is among the real ones: $HQ^\top v = -v$ for a unit vector $v$. Then $W(H - Q)\,Q^\top v = -2Wv$,
# and $Q^\top v$ has length 1. ∎

# %%
rotation = np.linalg.solve(W, targets["W Q, everything rotated"])
smallest = np.linalg.svd(W, compute_uv=False)[-1]
for sign, Q in ((1, rotation), (-1, rotation * np.where(np.arange(d) == 0, -1, 1))):
    assert abs(np.linalg.det(Q) - sign) < 1e-9
    least = 2 * smallest / np.linalg.norm(W @ Q - W)
    print(f"det Q = {sign:+}", end="")
    for r in (15, 16, 17):
        adapter, params, frozen = reachable.best_hra(W, W @ Q, r, rng=rng, starts=0, sweeps=5)
        found = distance(adapter.merge(params, frozen), W, W @ Q)
        print(f"   r = {r}: {found:.0e}", end="")
        assert found < 1e-10 if (-1) ** r == sign else found > (1 - 1e-9) * least
    print(f"   with the wrong parity at least {least:.0e}")

# %% [markdown]
# An even number of reflections never gives a $Q$ with determinant $-1$, and an odd one never gives a rotation. Two more
# reflections do not help, one more or one less does. What is missed is little here, since there is a direction that
# this $W$ nearly maps to 0. With `np.linalg.qr` alone all our "rotations" would have been of the wrong kind for an
# even number of reflections.
#
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 11.1
# answers.py`. It tries them on random cases, and shows the smallest on which one fails.
#
# ### Exercise 1 (easy): turn everything round
#
# The target is $T = -W$. Write `lora_to_minus(W, r)`: a float, the distance
# $\lVert W' - T\rVert_F \,/\, \lVert T - W\rVert_F$ that the best LoRA of rank $r$ leaves, for any $W$ `(d_out, d_in)`
# other than zero and any $r$ from 1 to $\min(d_{out}, d_{in})$.
#
# Then take a random $16 \times 16$ matrix. Before you compute: which adapter reaches $-W$, with how many parameters?
# How near does LoRA come with as many? Use `best_hra`, `best_hra_strict` and `best_lora`. (One of the three distances
# is between 0.1 and 0.5, the others are rounding.)
#
# <details><summary>Hint</summary>
#
# $-I = I - 2P$ with $P = I$. And the change is $E = -2W$, so only the singular values of $W$ count.
#
# </details>

# %% [markdown]
# ### Exercise 2 (medium): what HRA is blind to
#
# On $T = DW$ no orthogonal $Q$ is nearer than $I$. Let $W$ be invertible. Which other targets are like that? Write
# `blind_target(rng, W)` for a $W$ `(d, d)` with $d \ge 3$: a random one, drawn with `rng`. No orthogonal $Q$ brings
# $W Q$ nearer to this $T$ than $W$ is, in the Frobenius norm, and $T W^{-1}$ is not diagonal.
#
# Then describe *all* such targets with the corollary. How many dimensions do they have, of the $d^2$ of all matrices?
# (More than half.) Build one for a random $16 \times 16$ matrix that is far from any $DW$ with a diagonal $D$, and
# check with `procrustes`, and with `best_hra` of rank 8, that HRA gains nothing. (Both distances are above 0.999999.)
#
# <details><summary>Hint</summary>
#
# Write $T = SW$ with $S = T W^{-1}$, which is always possible. What does the corollary say about $S$?
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): count the wasted parameters
#
# How many of an adapter's trainable parameters change $W'$ independently? It is the rank of the derivative of $W'$ with
# respect to all params at once, at a random point. Write `free_parameters(d, r)`: a tuple of two integers, this number
# for LoRA of rank $r$ and for HRA with $r$ reflections, on a generic $W$ `(d, d)`, for any $r$ from 1 to $d$.
#
# To find the formulas, compute it for both with $d = 6$ and $r = 2, 4, 6$. (The six numbers lie between 9 and 36.)
# Which of the two wastes more?
#
# <details><summary>Hint</summary>
#
# `autograd.jacobian` of the map from one flat vector of params to `forward(params, frozen, np.eye(d))`; then
# `np.linalg.matrix_rank`.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# All of this says what is possible. [Lesson 12](12_what_training_finds.py) trains the same adapters on targets with a
# known answer, and asks which of these solutions gradient descent finds.
#
# ## References
#
# - Eckart & Young, 1936, *The approximation of one matrix by another of lower rank*. The best LoRA.
# - Schönemann, 1966, *A generalized solution of the orthogonal Procrustes problem*; Kabsch, 1976, *A solution for the
#   best rotation to relate two sets of vectors*. The floor of HRA.
# - Fan, 1949, *On a theorem of Weyl concerning eigenvalues of linear transformations*. The best projection.
# - Sun, Cetin & Tang, 2025, *Transformer-Squared: Self-adaptive LLMs*,
#   [arXiv 2501.06252](https://arxiv.org/abs/2501.06252). Singular values only.
# - Po et al., 2024, *SBoRA*, [arXiv 2407.05413](https://arxiv.org/abs/2407.05413); Yuan, Liu & Xu, 2024, *HRA*,
#   [arXiv 2405.17484](https://arxiv.org/abs/2405.17484); Kim et al., 2024, *CondLoRA*,
#   [arXiv 2403.14946](https://arxiv.org/abs/2403.14946).
