# %% [markdown]
# # The family tree: twenty methods, three questions, and what they are worth at equal numbers
#
# **You will learn**
#
# - three questions that sort twenty methods, and how to ask them of code;
# - which method is a special case of which, in one line of algebra each;
# - how near five methods can come to a target, in closed form with proofs;
# - what the methods do at equal numbers of trainable parameters, and whether small tables agree with a large one.
#
# **Before this:** [reach](11_reach.py), [the bake-off](13_bake_off.py) and [your own adapter](16_your_own_adapter.py).
# **Time:** 45 minutes to read, 15 seconds to run.
#
# If you learn PEFT, you meet dozens of names, each with a paper in which it is ahead. Most are one line of algebra away
# from an adapter that you know. This library has fourteen of them in `minilora/family`, one screen each. All but
# BitFit, which trains a bias and refuses a matrix, keep the promises of [lesson 16](16_your_own_adapter.py) (PiSSA
# breaks one, since it replaces $W$; RandLoRA one, since its terms side by side are as large as $W$), and agree with
# Hugging Face PEFT's own classes where it has them. The [page of the family](family.md) lists what running each class
# shows. This lesson puts them in order, and then compares them.

# %%
from minilora.cli.lesson import BLUE, GREEN, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import autograd.numpy as np  # NumPy, but autograd can differentiate through it
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)

# %% [markdown]
# ## Three questions
#
# Lessons 4 to 7 have SBoRA, HRA and CondLoRA, and lesson 16 DoRA and VeRA. These are the others that follow:
#
# | | $W'$ |
# | :-- | :-- |
# | LoRA-FA | $W + s B A$, with a random $A$ that stays |
# | LoRA-XS | $W + s B R A$, with $B A$ the best approximation of rank $r$ of $W$, frozen |
# | PiSSA | $W - s B_0 A_0 + s B A$, which starts at $s B_0 A_0$, the best approximation of rank $r$ of $W$ |
# | RandLoRA | $W + s \sum_i B_i \operatorname{diag}(\lambda_i) A \operatorname{diag}(\gamma_i)$, with random $A$ and $B_i$ |
# | LoHa | $W + s\, (B_1 A_1) \odot (B_2 A_2)$, multiplied entry by entry |
# | LoKr | $W + s\, C \otimes (B A)$, the Kronecker product |
# | SHiRA | $W + M$, with $M$ zero except at random entries |
# | (IA)³ | $\operatorname{diag}(l)\, W$ |
# | SVF | $U \operatorname{diag}(z \sigma) V^\top$ |
# | OFT, BOFT | $W R$, and $W R_1 \cdots R_m$, with block-diagonal rotations ([lesson 6](06_hra.py)) |
#
# 1. **Does it add or multiply?** LoRA adds an update $\Delta W = BA$ that knows nothing of $W$. HRA multiplies: in
#    $W' = WQ$ the update $\Delta W = W (Q - I)$ grows with $W$. This can be asked of code: make the same move of the
#    params over $W$ and over $2W$. If $\Delta W$ is the same both times, the method adds. If it doubles, it multiplies.
# 2. **What is frozen beside $W$?** Nothing; a random factor; or a factor that is computed from $W$, such as its singular
#    vectors. Draw again with another `rng`, and again over another $W$, and see what changes. A random factor does not
#    depend on $W$, so all layers of a shape can share it, and a seed stores it.
# 3. **What do layers share?** By the second question, they can share each random factor. What is trained is shared by a
#    key, for any adapter: `attach(…, key=kind)`. CondLoRA is made for that.
#
# > **What do you expect?** LoRA-XS trains a small matrix $R$ between the first singular vectors of $W$: $W' = W + U_r
# > \Sigma_r R V_r^\top$. By its formula it adds. What does the test say? (a) It adds, (b) it multiplies, (c) neither.

# %%
from minilora.cli.family import CLASSES, make
from minilora.tables import aligned


def made(name, rank=4):
    """The adapter of a name, at a rank if it has one."""
    return make(CLASSES[name], rank)


def update(adapter, W):
    """ΔW after a move of the params that is the same for every W."""
    start, frozen = adapter.init(np.random.default_rng(1), W)
    draw = np.random.default_rng(2).standard_normal
    moved = {name: array + 0.3 * draw(array.shape) for name, array in start.items()}
    return adapter.merge(moved, frozen) - W


def growth(adapter, W):
    """What becomes of ΔW when W doubles."""
    once, twice = update(adapter, W), update(adapter, 2 * W)
    for word, factor in (("the same", 1), ("twice", 2), ("four times", 4)):
        if np.allclose(twice, factor * once, rtol=1e-9, atol=1e-12):
            return word
    return "neither"


def held(adapter, W):
    """(random, of W): the names of the frozen arrays beside W that depend on rng, and on W."""
    (_, one), (_, drawn_anew), (_, on_other) = (
        adapter.init(np.random.default_rng(seed), M) for seed, M in ((1, W), (3, W), (1, 2 * W + 1))
    )
    names = [name for name in one if name != "W"]
    drawn = [name for name in names if not np.array_equal(one[name], drawn_anew[name])]
    return drawn, [name for name in names if not np.array_equal(one[name], on_other[name])]


W = rng.standard_normal((24, 16))
facts = {name: (growth(made(name), W), *held(made(name), W)) for name in CLASSES}
table = [["", "ΔW for 2 W", "frozen, random", "frozen, of W"]]
for name, (word, drawn, of_weight) in facts.items():
    table.append([name, word, ", ".join(drawn) or "-", ", ".join(of_weight) or "-"])
print(aligned(table))
adds, multiplies = ({name for name in facts if facts[name][0] == w} for w in ("the same", "twice"))
assert multiplies == {"LoRA-XS", "IA3", "SVF", "OFT", "BOFT", "HRA", "HRA strict"}
assert facts["CondLoRA"][0] == "four times"
assert set(facts) - adds - multiplies == {"CondLoRA", "PiSSA", "DoRA"}

# %% [markdown]
# Answer (b). Since $U_r \Sigma_r = W V_r$, LoRA-XS is $W' = W (I + V_r R V_r^\top)$: it multiplies the inputs of $W$,
# as HRA does, by a matrix that need not be orthogonal. Three methods do neither. CondLoRA's update $W \Theta_B^\top
# \Theta_A W$ has $W$ in it twice. DoRA adds $BA$ and then multiplies each row. PiSSA adds, but its factors start at
# $B_0$ and $A_0$, which grow by $\sqrt 2$ when $W$ doubles, and its update has products of them with what was trained.
#
# The names in the table: `cols` and `rows` are the columns and rows that are drawn; `squares`, the squared lengths of
# $W$'s rows, only save DoRA work; PiSSA's `R` is $W - s B_0 A_0$, which takes the place of $W$.
#
# ## The tree
#
# Here is every method as a point: from left to right by the first question, upwards by its number of trainable
# parameters on a 512 × 512 matrix at rank 8, with a shape for what it freezes and a colour for the rank of its update.
# A line joins two methods of which one line of algebra shows that one is a special case of the other. (More are, in a
# less telling way: an update of rank $r$, such as HRA's, is always one that LoRA of rank $r$ can make.)

# %%
SIDE, SIDE_RANK = 512, 8
POSITIONS = {
    **{"full": 0.45, "RandLoRA": 1.0, "LoHa": 0.1, "LoRA": 0.6, "SHiRA": -0.2, "LoKr": -0.05},
    **{"SBoRA-FA": -0.2, "LoRA-FA": 0.35, "SBoRA-FB": 1.0, "VeRA": 0.45, "PiSSA": 1.5},
    **{"DoRA": 2.0, "CondLoRA": 2.45, "HRA": 2.95, "HRA strict": 3.55, "BOFT": 3.55, "OFT": 3.3},
    **{"IA3": 2.85, "SVF": 3.6, "LoRA-XS": 3.2},
}
LINES = {  # (special case, general case): how far the line bends
    **{("LoRA-FA", "LoRA"): 0, ("SBoRA-FA", "LoRA-FA"): 0, ("SBoRA-FA", "SHiRA"): 0},
    **{("SBoRA-FB", "LoRA"): 0, ("VeRA", "LoRA"): 0, ("LoRA-XS", "LoRA"): 0.15},
    **{("LoRA", "LoHa"): 0, ("PiSSA", "LoRA"): 0, ("LoRA", "DoRA"): -0.25},
    **{("CondLoRA", "LoRA"): 0.35, ("IA3", "DoRA"): 0, ("SVF", "LoRA-XS"): 0},
    **{("OFT", "BOFT"): 0, ("HRA strict", "HRA"): 0},
}


def trainable(name):
    """Parameters on the square matrix, at rank 8 where there is a rank."""
    params, _ = made(name, SIDE_RANK).init(np.random.default_rng(0), np.eye(SIDE))
    return sum(array.size for array in params.values())


def rank_of(name):
    """The rank of ΔW for a generic move, on the square matrix at rank 8."""
    return int(np.linalg.matrix_rank(update(made(name, SIDE_RANK), square)))


square = rng.standard_normal((SIDE, SIDE)) / SIDE**0.5
numbers = {name: trainable(name) for name in CLASSES}
ranks = {name: rank_of(name) for name in CLASSES}
assert set(POSITIONS) == set(CLASSES)
between = {name: rank for name, rank in ranks.items() if SIDE_RANK < rank < SIDE}
print("ΔW has a rank above r and below 512:", between)
assert between == {"PiSSA": 16, "LoHa": 64, "LoKr": 128}

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.2, 5.2))
for pair, bend in LINES.items():
    ends = [(POSITIONS[name], numbers[name]) for name in pair]
    style = {"arrowstyle": "-", "color": "0.75", "connectionstyle": f"arc3,rad={bend}"}
    axis.annotate("", *ends, arrowprops=style, zorder=0)
for name in CLASSES:
    drawn, of_weight = facts[name][1:]
    marker = "s" if of_weight else "^" if drawn else "o"
    colour = GREEN if name in between else BLUE if ranks[name] == SIDE_RANK else ORANGE
    axis.plot(POSITIONS[name], numbers[name], marker, color=colour, ms=8)
    place = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center", "fontsize": 8}
    axis.annotate(name, (POSITIONS[name], numbers[name]), **place)
for title, left, right in (("adds", -0.5, 1.2), ("neither", 1.2, 2.7), ("multiplies", 2.7, 3.9)):
    axis.axvspan(left, right, color="0.97" if title == "neither" else "white", zorder=-1)
    axis.text((left + right) / 2, 6e5, title, ha="center", fontsize=10)
labels = {"o": "nothing frozen", "^": "random factors", "s": "factors of W"}
shapes = [plt.Line2D([], [], marker=m, color=GREY, ls="", label=text) for m, text in labels.items()]
shapes += [
    plt.Line2D([], [], marker="o", color=colour, ls="", label=f"ΔW of {text}")
    for text, colour in (("rank r", BLUE), ("a rank between", GREEN), ("full rank", ORANGE))
]
axis.legend(handles=shapes, frameon=False, fontsize=8, ncols=2, loc="lower left")
axis.set(yscale="log", ylim=(30, 1.2e6), xlim=(-0.5, 3.9), xticks=[])
axis.set_ylabel("trainable parameters, 512 × 512, r=8")
# alt: Twenty methods as points in three columns, adds, neither, multiplies, by trainable parameters from 64 (LoRA-XS) to 262,144 (full), joined by lines to their special cases.
plt.show()

# %% [markdown]
# ## Neighbours, in one line of algebra each
#
# The following cell checks ten lines of the picture with the classes themselves, at $s = 1$. The others need no check:
# LoRA-FA is LoRA whose $A$ stays, SBoRA-FB is LoRA with columns of the identity in $B$, CondLoRA is LoRA with $W
# \Theta_B^\top$ and $\Theta_A W$, and strict HRA is HRA with orthogonal vectors.
#
# | this | is that, where |
# | :-- | :-- |
# | SBoRA-FA | LoRA-FA, where the rows of $A$ are rows of the identity |
# | SBoRA-FA | SHiRA, where the mask takes the same columns in every row |
# | VeRA | LoRA with $\operatorname{diag}(b) B$ and $\operatorname{diag}(d) A$ for its two factors |
# | SVF | LoRA-XS of full rank with a diagonal $R = \operatorname{diag}(z - 1)$ |
# | LoRA-XS | LoRA with $U_r \Sigma_r R$ and $V_r^\top$; and a multiplication of the inputs, $W (I + V_r R V_r^\top)$ |
# | LoRA | LoHa, where the second product is all ones |
# | LoRA | DoRA, where $m_i$ is the length of row $i$ of $W + BA$ |
# | (IA)³ | DoRA with $B = 0$ and $m_i = l_i \lVert w_i \rVert$ |
# | OFT | BOFT with one factor, for blocks of even width |
# | PiSSA | LoRA, with $BA - B_0A_0$ in the place of $BA$ |

# %%
from minilora.adapters import LoRA, SBoRAFA
from minilora.family import BOFT, IA3, OFT, SVF, DoRA, LoHa, LoRAFA, LoRAXS, PiSSA, SHiRA

VERA = CLASSES["VeRA"]  # under its own name it would be the answer to an exercise of lesson 16
n = 6
W = rng.standard_normal((n, n))
draw = rng.standard_normal
cols, A, B, R = np.array([2, 0]), draw((2, n)), draw((n, 2)), draw((2, 2))


def frozen_of(adapter):
    """What the adapter freezes over W."""
    return adapter.init(np.random.default_rng(0), W)[1]


def lengths_of(M):
    """The lengths of the rows."""
    return np.sqrt(np.sum(M**2, axis=1))


by_columns = SBoRAFA(2).merge({"B": B}, {"W": W, "cols": cols})
b, d, z, m = draw(n), draw(2), draw(n), draw(n)
vera, xs, svf = (frozen_of(adapter) for adapter in (VERA(2), LoRAXS(2), SVF()))
whole = frozen_of(LoRAXS(n))
ones = np.ones((n, 2)) / 2**0.5  # ones @ ones.T has ones alone
blocks, butterfly = frozen_of(OFT(2)), frozen_of(BOFT(2, 1))
Q, pissa = draw((3, 1)), PiSSA(2)
start, base = pissa.init(rng, W)
V = xs["A"].T
pairs = {
    "SBoRA-FA in LoRA-FA": (
        LoRAFA(2).merge({"B": B}, {"W": W, "A": np.eye(n)[cols]}),
        by_columns,
    ),
    "SBoRA-FA in SHiRA": (
        SHiRA(1).merge({"v": B}, {"W": W, "cols": np.tile(cols, (n, 1))}),
        by_columns,
    ),
    "VeRA in LoRA": (
        VERA(2).merge({"b": b, "d": d}, vera),
        LoRA(2).merge({"A": d[:, None] * vera["A"], "B": b[:, None] * vera["B"]}, {"W": W}),
    ),
    "SVF in LoRA-XS": (
        SVF().merge({"z": z}, svf),
        LoRAXS(n).merge({"R": np.diag(z - 1)}, whole),
    ),
    "LoRA-XS in LoRA": (
        LoRAXS(2).merge({"R": R}, xs),
        LoRA(2).merge({"A": xs["A"], "B": xs["B"] @ R}, {"W": W}),
    ),
    "LoRA-XS multiplies": (LoRAXS(2).merge({"R": R}, xs), W @ (np.eye(n) + V @ R @ V.T)),
    "LoRA in LoHa": (
        LoRA(2).merge({"A": A, "B": B}, {"W": W}),
        LoHa(2).merge({"A1": A, "B1": B, "A2": ones.T, "B2": ones}, {"W": W}),
    ),
    "LoRA in DoRA": (
        LoRA(2).merge({"A": A, "B": B}, {"W": W}),
        DoRA(2).merge({"A": A, "B": B, "m": lengths_of(W + B @ A)}, {"W": W}),
    ),
    "(IA)3 in DoRA": (
        IA3().merge({"l": m}, {"W": W}),
        DoRA(2).merge({"A": A, "B": 0 * B, "m": m * lengths_of(W)}, {"W": W}),
    ),
    "OFT in BOFT": (OFT(2).merge({"Q": Q}, blocks), BOFT(2, 1).merge({"Q": Q[None]}, butterfly)),
    "PiSSA and LoRA": (
        pissa.merge({"A": A, "B": B}, base),
        LoRA(4).merge(
            {"A": np.concatenate([A, start["A"]]), "B": np.hstack([B, -start["B"]])}, {"W": W}
        ),
    ),
}
for name, (one, other) in pairs.items():
    gap = np.max(np.abs(one - other))
    print(f"{name:<20} largest difference {gap:.0e}")
    assert gap < 1e-12 * np.max(np.abs(one))
    assert np.max(np.abs(one - W)) > 0.1

# %% [markdown]
# ## How near five of them can come
#
# [Lesson 11](11_reach.py) compared how near seven methods can come to a target $T$; SVF was one of them. Here are four
# more with a closed form for the nearest $W'$, and SVF once more, for every shape of $W$. Each is a least-squares
# problem in its own params. Let $E = T - W$, with rows $e_i$, and let $w_i$ and $t_i$ be the rows of $W$ and $T$. All
# norms of matrices are Frobenius norms.
#
# > **Lemma (IA³).** $l_i = w_i \cdot t_i / \lVert w_i \rVert^2$ is best, and leaves $\lVert W' - T \rVert^2 = \sum_i
# > \bigl( \lVert t_i \rVert^2 - (w_i \cdot t_i)^2 / \lVert w_i \rVert^2 \bigr)$. A row with $w_i = 0$ leaves $\lVert
# > t_i \rVert^2$ instead.
#
# **Proof.** $\lVert \operatorname{diag}(l) W - T \rVert^2 = \sum_i \lVert l_i w_i - t_i \rVert^2$, and each term is a
# parabola in its own $l_i$. ∎
#
# > **Lemma (SVF).** Let $W = \sum_k \sigma_k u_k v_k^\top$ be a thin singular value decomposition. $z_k = u_k^\top T v_k /
# > \sigma_k$ is best, and leaves $\lVert T \rVert^2 - \sum_k (u_k^\top T v_k)^2$, with sums over $\sigma_k > 0$.
#
# **Proof.** The matrices $u_k v_k^\top$ are orthonormal in $\langle X, Y \rangle = \operatorname{tr} X^\top Y$, and the
# reachable $W'$ are all $\sum_k c_k u_k v_k^\top$. The nearest is the projection, $c_k = \langle u_k v_k^\top, T
# \rangle$. Where $\sigma_k = 0$, $z_k$ moves nothing. ∎
#
# > **Lemma (SHiRA).** With $k$ entries in each row, the best mask has the $k$ largest $\lvert E_{ij} \rvert$ of each row,
# > the best values are those $E_{ij}$, and all other $E_{ij}^2$ are left. A random mask leaves $1 - k / d_{in}$ of $\lVert
# > E \rVert^2$ on average.
#
# **Proof.** $\lVert \Delta W - E \rVert^2$ is a sum over entries. On the mask each term can be 0, elsewhere it is
# $E_{ij}^2$. A random mask leaves out each entry with probability $1 - k/d_{in}$. ∎
#
# > **Lemma (LoRA-FA).** For a given $A$ of rank $r \le d_{in}$, $B = E A^+$ is best, with the pseudo-inverse $A^+$, and leaves
# > $\lVert E (I - A^+ A) \rVert^2$. For a random $A$ with entries from $N(0, 1)$ that is $1 - r / d_{in}$ of $\lVert E
# > \rVert^2$ on average, for every $E$.
#
# **Proof.** Row $i$ of $BA$ is any vector of the row space of $A$. The one nearest to $e_i$ is its projection, $e_i A^+
# A$. The row space of a random $A$ has no preferred direction: $AO$ is distributed as $A$ for every orthogonal $O$. So
# the mean of $A^+ A$ commutes with every $O$, and is $c I$; its trace is $r$, so $c = r / d_{in}$. Since $I - A^+ A$ is
# a projection, $\lVert E (I - A^+ A) \rVert^2 = \operatorname{tr} E (I - A^+ A) E^\top$, whose mean is $(1 - c) \lVert
# E \rVert^2$. ∎
#
# > **Lemma (LoRA-XS).** For $r \le \operatorname{rank} W$, $R = \Sigma_r^{-1} U_r^\top E V_r$ is best, and leaves $\lVert
# > E \rVert^2 - \lVert U_r^\top E V_r \rVert^2$.
#
# **Proof.** $\Sigma_r$ is invertible, so $S = \Sigma_r R$ is any $r \times r$ matrix. The matrices $u_i v_j^\top$ are
# orthonormal, and $U_r S V_r^\top$ runs through their span, so the nearest has $S_{ij} = u_i^\top E v_j$. ∎
#
# The functions of `minilora.family.reach` return these params, and property-based tests hold them to the lemmas: claims
# I1 to I5 of the page of [claims](claims.md). PiSSA and OFT need no new lemma: PiSSA's best $s B A$ is the best
# approximation of $T - W + s B_0 A_0$, and OFT's best $R$ is the nearest rotation of [lesson 11](11_reach.py), block by
# block. For VeRA, RandLoRA, LoHa, DoRA and BOFT we know no closed form. LoKr has one when its second factor is whole;
# exercise 3 finds it.
#
# > **What do you expect?** A random change of a 16 × 16 matrix, and about 32 trainable parameters for each method. Which
# > leaves least? (a) LoRA of rank 1, the best of its rank; (b) SHiRA with the best mask; (c) LoRA-XS, which knows $W$.

# %%
from minilora.data import teacher
from minilora.family import reach
from minilora.theorems import reachable

d = 16


def targets(rng, W):
    """Six kinds of change."""
    left, sigma, right = np.linalg.svd(W)
    core = np.zeros((d, d))
    core[:3, :3] = rng.standard_normal((3, 3))
    few = np.zeros((d, d))
    few[np.arange(d), rng.integers(d, size=d)] = rng.standard_normal(d)
    return {
        "random change": W + rng.standard_normal((d, d)) / d**0.5,
        "change of rank 1": teacher.low_rank(rng, W, 1),
        "D W, rows are scaled": teacher.scaled_rows(rng, W, d),
        "other singular values": (left * sigma * np.exp(rng.uniform(-1, 1, d))) @ right,
        "in W's first 3 directions": W + left @ core @ right,
        "one entry a row": W + few,
    }


def nearest(rng, W, T):
    """{name: W'}, each with about 32 trainable parameters or fewer."""
    mask = SHiRA(1).init(rng, W)[1]["cols"]
    E = T - W
    found = {
        "LoRA r=1": reachable.best_lora(W, T, 1),
        "LoRA-FA r=2": reach.best_lora_fa(W, T, rng.standard_normal((2, d))),
        "LoRA-XS r=5": reach.best_lora_xs(W, T, 5),
        "SHiRA, best": reach.best_shira(W, T, 1),
        "SHiRA, random": (
            SHiRA(1),
            {"v": np.take_along_axis(E, mask, axis=1)},
            {"W": W, "cols": mask},
        ),
        "IA3": reach.best_ia3(W, T),
        "SVF": reach.best_svf(W, T),
    }
    counts = {
        name: sum(own.size for own in params.values()) for name, (_, params, _) in found.items()
    }
    merged = {
        name: adapter.merge(params, frozen) for name, (adapter, params, frozen) in found.items()
    }
    return merged, counts


left_over, draws = {}, 100
for _ in range(draws):
    W = rng.standard_normal((d, d)) / d**0.5
    for target, T in targets(rng, W).items():
        merged, counts = nearest(rng, W, T)
        for name, M in merged.items():
            share = np.sum((M - T) ** 2) / np.sum((W - T) ** 2)
            left_over.setdefault(target, {}).setdefault(name, []).append(share)
methods = list(counts)
table = [["share of ‖E‖² that is left", *methods]]
table.append(["trainable parameters", *(str(counts[name]) for name in methods)])
means = {
    target: {name: np.mean(own[name]) for name in methods} for target, own in left_over.items()
}
table += [[target, *(f"{own[name]:.2f}" for name in methods)] for target, own in means.items()]
print(aligned(table))
for target in means:
    assert abs(means[target]["LoRA-FA r=2"] - (1 - 2 / d)) < 0.03
    assert abs(means[target]["SHiRA, random"] - (1 - 2 / d)) < 0.04
for target, name in (
    ("change of rank 1", "LoRA r=1"),
    ("D W, rows are scaled", "IA3"),
    ("other singular values", "SVF"),
    ("in W's first 3 directions", "LoRA-XS r=5"),
    ("one entry a row", "SHiRA, best"),
):
    assert means[target][name] < 1e-20
random_change = means["random change"]
assert abs(random_change["LoRA-XS r=5"] - (1 - 25 / d**2)) < 0.02
assert all(abs(random_change[name] - (1 - 1 / d)) < 0.02 for name in ("IA3", "SVF"))
assert min(random_change, key=random_change.get) == "SHiRA, best"
assert random_change["SHiRA, best"] < 0.56 and random_change["LoRA r=1"] > 0.75

# %% [markdown]
# Answer (b), and by far: the two largest entries of each row hold nearly half of a random change, the best rank 1 less
# than a quarter. But the best mask is chosen by looking at $E$, which training does not know beforehand. Its positions
# are 32 more numbers, which are not counted as trainable. With a random mask, as SHiRA draws it, two entries of 16
# leave about seven eighths, and so does a random $A$ of rank 2: on average over masks and over $A$, both lemmas give $1 -
# 2/16$ for *every* change.
#
# Five of the columns have a change that they reach and no other column does: the one that the method is made for.
# LoRA-FA and SHiRA with a random mask have none, since what is random in them fits no change in particular. So the
# question is not which method is best. It is which kind of change a task asks for, and whether training finds it.

# %% [markdown]
# ## On letters, at equal numbers
#
# The network and the three kinds of letters of [lesson 13](13_bake_off.py), 180 steps, five seeds. Full fine-tuning
# trains everything, and BitFit the hidden biases. Every other method has the four hidden matrices, and at most as many
# trainable parameters as LoRA of rank 4: 4,608. (IA)³ has one for each row, SVF one for each singular value. VeRA, whose
# number grows slowly, has the rank 144, and LoKr the rank 12, from which on it reaches no
# more. RandLoRA's sum has $\lceil 144 / r \rceil$ terms, so its number *falls* as $r$ rises. In the table $b$ is the
# width of a block, and $m$ BOFT's number of factors. Each got a
# learning rate of its own, found as [lesson 13](13_bake_off.py) does it on seeds and letters of their own: from a guess
# to the neighbours on a grid with steps of 2.5, until the best rate has a worse one on either side. These are hundreds
# of runs, so the results are stored; `tests/bench/family.py` made them.
#
# > **What do you expect?** Which methods come near LoRA in the mean over the three kinds of letters? (a) The ones of low
# > rank; (b) those that have as many parameters, whatever their kind; (c) those that adapt to each row, such as (IA)³.

# %%
import json

from minilora.course.lessons import lesson_data

stored = json.loads(lesson_data("results/family.json").read_text("utf-8"))
KINDS = ("fraktur", "lighting", "rotated")
letters = {row["method"]: row for row in stored["letters"]}
means = {
    name: 100 * np.mean([row[kind] for kind in KINDS], axis=0) for name, row in letters.items()
}


def spread(values):
    """Mean ± standard error over the seeds."""
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.1f}"


def compared(one, other):
    """Mean paired difference, its standard error, and the word of lesson 13's rule."""
    differences = one - other
    mean, error = differences.mean(), differences.std(ddof=1) / len(differences) ** 0.5
    return mean, error, "" if abs(mean) <= 2 * error else "ahead" if mean > 0 else "behind"


table = [["accuracy in %", "trainable", "lr", *KINDS, "mean", "against LoRA", ""]]
for name in sorted(letters, key=lambda name: -np.mean(means[name])):
    row = letters[name]
    mean, error, word = compared(means[name], means["LoRA"])
    table.append([f"{name} {row['size']}".strip(), f"{row['trainable']:,}", f"{row['lr']:g}"])
    table[-1] += [f"{100 * np.mean(row[kind]):.1f}" for kind in KINDS]
    table[-1] += [spread(means[name])]
    table[-1] += [f"{mean:+.1f} ± {error:.1f}", word] if name != "LoRA" else ["", ""]
print(aligned(table))

# %% tags=["hide-input"]
GROUP_COLOURS = {**{name: BLUE for name in adds}, **{name: ORANGE for name in multiplies}}
GROUP_COLOURS |= {"full fine-tuning": "black", "BitFit": BLUE}  # a bias is added to
MARKERS = dict(zip(KINDS, "^o*"))
in_order = sorted(letters, key=lambda name: np.mean(means[name]))
figure, axis = plt.subplots(figsize=(7.2, 5.6))
for height, name in enumerate(in_order):
    colour = GROUP_COLOURS.get(name, GREEN)
    shares = [100 * np.mean(letters[name][kind]) for kind in KINDS]
    axis.plot([min(shares), max(shares)], [height, height], color="0.85", zorder=0)
    for kind, share in zip(KINDS, shares):
        axis.plot(share, height, MARKERS[kind], color=colour, ms=5, alpha=0.5)
    axis.plot(np.mean(shares), height, "|", color=colour, ms=12, mew=2.5)
labels = [f"{name}, {letters[name]['trainable']:,}" for name in in_order]
axis.set_yticks(range(len(in_order)), labels, fontsize=8)
axis.tick_params(axis="y", length=0)
handles = [plt.Line2D([], [], marker=MARKERS[k], color=GREY, ls="", label=k) for k in KINDS]
handles += [plt.Line2D([], [], marker="|", color=GREY, ls="", ms=10, mew=2.5, label="mean")]
handles += [
    plt.Line2D([], [], color=colour, lw=3, label=text)
    for text, colour in (("adds", BLUE), ("multiplies", ORANGE), ("neither", GREEN))
]
axis.legend(handles=handles, frameon=False, fontsize=8, loc="upper left")
axis.set_xlabel("accuracy after 180 steps, %, mean of five seeds")
# alt: Twenty-one methods sorted by mean accuracy on letters, each with a mark for Fraktur, lighting and rotated. Full fine-tuning is first, strict HRA second; IA3, SVF, SBoRA-FB and BitFit are far below the others.
plt.show()

# %%
many = [name for name in letters if letters[name]["trainable"] >= 4_000 and name in facts]
few = [name for name in letters if letters[name]["trainable"] < 4_000]
gaps = {name: compared(means[name], means["LoRA"])[0] for name in letters}
near = {name for name in many if gaps[name] > -3}
print("within 3 points of LoRA:", ", ".join(sorted(near)))
print("as many parameters, but further behind:", ", ".join(sorted({*many} - near)))
assert {*many} - near == {"LoHa", "LoRA-FA", "SBoRA-FA", "SBoRA-FB"}
assert all(gaps[name] < -5 for name in few)
words = {name: compared(means[name], means["LoRA"])[2] for name in near}
assert [name for name in near if words[name] == "ahead"] == ["HRA strict"]
assert {name for name in near if words[name] == "behind"} == {
    "BOFT",
    "LoRA-XS",
    "PiSSA",
    "CondLoRA",
}
assert gaps["SHiRA"] - gaps["LoRA-FA"] > 5


def word_on(kind, one, other):
    """The verdict on two methods on one kind of letters."""
    own, rival = (100 * np.array(letters[name][kind]) for name in (one, other))
    return compared(own, rival)[2] or "level"


strict = {kind: [word_on(kind, "HRA strict", other) for other in ("LoRA", "HRA")] for kind in KINDS}
print("strict HRA against LoRA, HRA:", {kind: ", ".join(words) for kind, words in strict.items()})
assert [against_lora for against_lora, _ in strict.values()] == ["level", "behind", "ahead"]
assert {against_hra for _, against_hra in strict.values()} == {"ahead"}
ahead = {kind: {one for one in many if word_on(kind, one, "LoRA") == "ahead"} for kind in KINDS}
assert ahead["rotated"] == {"HRA strict", "HRA", "OFT", "RandLoRA"}
assert ahead["fraktur"] == {"CondLoRA", "LoRA-XS", "DoRA"} and not ahead["lighting"]

# %% [markdown]
# Answer (b), but it is not the whole truth. Ten methods that train about as much come within 3 points of LoRA, whether
# they add or multiply, at rank 4 or at full rank. By our rule (a mean paired difference of more than two standard
# errors) one of the ten is ahead, strict HRA, four are behind, and five are *level*: not told apart, which does not
# mean equal. If no two methods differed, about two of twenty comparisons would get a word all the same. All that train
# less are about 6 points behind or more. Strict HRA cannot start at $W$, and is ahead of HRA on all three kinds. Its
# lead over LoRA comes from rotated letters: on Fraktur the two are level, and under uneven light it is behind.
#
# Four have as many parameters and are 5 to 26 points behind. LoRA-FA and the two SBoRA keep one random side of rank 8
# for good. That alone does not explain it: by the lemmas above, a random mask of 8 entries in a row reaches no larger
# share of a change than a random $A$ of rank 8, and SHiRA is 6 points ahead of LoRA-FA. Its update has full rank, and
# is not confined to 8 of 144 directions of the input. LoHa spends its parameters on two products of rank 2.
#
# ## On the pretrained Transformer
#
# The task of [lesson 14](14_real_model.py): is a sentence of a film review positive? The queries and values of the six
# layers of all-MiniLM-L6-v2 are adapted for 100 steps (by BitFit all biases, by full fine-tuning all matrices of the
# layers), and a head is trained with them. LoRA has rank 8 here, and 74,498 trainable parameters with the head's 770.
# The rows of LoRA, SBoRA, HRA, CondLoRA and full fine-tuning are those of lesson 14, which tried three rates for each.
# The other fourteen methods got theirs by the search above. All rates were chosen on validation sentences with one
# seed.

# %%
films = {row["method"]: row for row in stored["films"]}
points = {name: 100 * np.array(row["films"]) for name, row in films.items()}
table = [["accuracy in %", "trainable", "lr", "films", "against LoRA", ""]]
for name in sorted(films, key=lambda name: -np.mean(points[name])):
    row = films[name]
    mean, error, word = compared(points[name], points["LoRA"])
    table.append([f"{name} {row['size']}".strip(), f"{row['trainable']:,}", f"{row['lr']:g}"])
    table[-1] += [spread(points[name])]
    table[-1] += [f"{mean:+.1f} ± {error:.1f}", word] if name != "LoRA" else ["", ""]
print(aligned(table))

# %%
verdicts = {name: compared(points[name], points["LoRA"]) for name in films}
behind = sorted(name for name in films if verdicts[name][2] == "behind")
print("behind LoRA:", ", ".join(behind))
print("ahead:", ", ".join(name for name in films if verdicts[name][2] == "ahead"))
assert [name for name in films if verdicts[name][2] == "ahead"] == ["full fine-tuning"]
assert {*behind} == {"LoKr", "IA3", "BitFit", "SVF", "VeRA"}
assert all(films[name]["trainable"] < 30_000 for name in behind)
assert -1.5 < verdicts["IA3"][0] < -1.2 and -3.7 < verdicts["VeRA"][0] < -3.3
assert (films["LoRA"]["trainable"] - 770) == 16 * (films["IA3"]["trainable"] - 770)

# %% [markdown]
# By our rule only full fine-tuning is ahead of LoRA, barely, and those that are behind are the five that train less. Of
# the others none is told apart from LoRA. LoRA-FA, far behind on letters, is level here. And (IA)³ gives up 1.3 ± 0.4
# points for training a sixteenth. These 1.3 points are a quarter of what LoRA gains over the head alone, which has 75.7 %
# ([lesson 14](14_real_model.py)).
#
# ## Do the tables agree?
#
# Nobody chooses a method for a large model by letters of 12 × 12 pixels. But do small tables *rank* methods as large
# ones do? There is a large one to compare with. The authors of PEFT train Llama-3.2-3B with each of their methods on
# questions of arithmetic (MetaMathQA), 5,000 steps with one seed each, and count how many of the 1,319 test questions
# of GSM8K are answered correctly. Ten of their methods and full fine-tuning are in our tables too. These are their
# counts as of August 2026. The tables differ in more than the task. Theirs has no common search for rates: six of these
# eleven have the rate 1e-4, the others one between 1e-5 and 3e-3, and (IA)³ rises from 410 right answers to 525 at ten
# times the rate and without weight decay. Their numbers of parameters are not equal. And what they run as BOFT is a
# single factor with blocks of four and a gain for each output: by the table of neighbours that is OFT with gains, with
# less than a tenth of LoRA's parameters, and not the BOFT of our tables. So it stands apart below.
#
# [*Spearman's rank correlation*](glossary.md#rank-correlation) is the correlation of ranks: 1 if two tables order the
# methods alike, −1 if one order is the reverse of the other. With a dozen methods it is uncertain. How often would a
# random order give a correlation as far from 0? That share is the $p$-value of a *permutation test*, as the sign flips
# of [lesson 13](13_bake_off.py), exercise 2, gave one. And would other seeds give the same? Draw the seeds anew from
# ours, and their number of right answers from a binomial distribution, and see where the middle 95 % of the
# correlations lie. (It is not a confidence interval: the drawn tables have noise twice, which tends to lower a high
# correlation, and our test images and sentences stay the same.)
#
# > **What do you expect?** The rank correlation of our two tables with PEFT's: (a) above 0.8, small tables are enough;
# > (b) about 0.5; (c) about 0, they have nothing to do with each other.

# %%
QUESTIONS = 1319
PEFT_FOUND = {  # name: (right answers, trainable parameters)
    "full fine-tuning": (622, 3_212_749_824),
    "LoRA": (631, 9_175_040),  # rank 32, as LoRA-FA, DoRA, RandLoRA, SHiRA, LoHa and LoKr
    "LoRA-FA": (533, 3_670_016),
    "DoRA": (619, 9_289_728),
    "RandLoRA": (630, 9_289_728),
    "SHiRA": (673, 9_175_040),
    "OFT": (648, 8_171_520),
    "IA3": (525, 286_720),  # the better of two rates on its usual matrices
    "LoHa": (518, 18_350_080),
    "LoKr": (615, 2_294_656),
    "VeRA": (467, 129_024),
}
BOFT_OF_ONE_FACTOR = (453, 802_816)
right_answers = {name: [right] for name, (right, _) in PEFT_FOUND.items()}
TABLES = {"letters": means, "films": points, "PEFT": right_answers}


def ranks_of(values):
    """1 for the smallest; equal values share the mean of their ranks."""
    values = np.asarray(values)
    below = np.sum(values[None] < values[:, None], axis=1)
    equal = np.sum(values[None] == values[:, None], axis=1)
    return below + (equal + 1) / 2


def rank_correlation(one, other):
    """Spearman's ρ."""
    return np.corrcoef(ranks_of(one), ranks_of(other))[0, 1]


def drawn_again(rng, name, methods):
    """The means of a table with other seeds, or right answers to other questions."""
    if name == "PEFT":
        shares = [PEFT_FOUND[method][0] / QUESTIONS for method in methods]
        return rng.binomial(QUESTIONS, shares)
    own = TABLES[name]
    return [np.mean(rng.choice(own[method], len(own[method]))) for method in methods]


def by_chance(rng, one, other, draws=2000):
    """The share of random orders with a rank correlation at least as far from 0, one of them ours."""
    found = abs(rank_correlation(one, other)) - 1e-12
    random = [rank_correlation(one, rng.permutation(other)) for _ in range(draws)]
    return (1 + np.sum(np.abs(random) >= found)) / (1 + draws)


def agreement(rng, one, other, methods, draws=2000):
    """ρ, its p-value, and the middle 95 % of ρ over drawn tables."""
    first, second = ([np.mean(TABLES[name][m]) for m in methods] for name in (one, other))
    again = [
        rank_correlation(drawn_again(rng, one, methods), drawn_again(rng, other, methods))
        for _ in range(draws)
    ]
    p = by_chance(rng, first, second, draws)
    return rank_correlation(first, second), p, np.quantile(again, (0.025, 0.975))


def numbers_in(name):
    """The numbers of trainable parameters of a table."""
    table = {"letters": letters, "films": films}.get(name)
    if table is None:
        return {method: number for method, (_, number) in PEFT_FOUND.items()}
    return {method: row["trainable"] for method, row in table.items()}


in_all = [name for name in PEFT_FOUND if name in letters and name in films]
in_both = [name for name in letters if name in films]
similar = [  # within a factor of three of LoRA's number, in each table
    name
    for name in in_all
    if all(1 / 3 < numbers_in(one)[name] / numbers_in(one)["LoRA"] < 3 for one in TABLES)
]
table, found = [["", "methods", "ρ", "p", "drawn again"]], {}
for methods in (in_both, in_all, similar):
    for one, other in (("letters", "films"), ("letters", "PEFT"), ("films", "PEFT")):
        if methods is in_both and other == "PEFT":
            continue
        rho, p, (low, high) = agreement(rng, one, other, methods)
        found[one, other, len(methods)] = rho, p
        table.append([f"{one} and {other}", str(len(methods)), f"{rho:.2f}"])
        table[-1] += [f"{p:.3f}", f"{low:.2f} to {high:.2f}"]
print(aligned(table))
print("the methods of the last three rows:", ", ".join(similar))
for one, own in TABLES.items():
    shares = [np.mean(own[name]) for name in in_all]
    counts = [numbers_in(one)[name] for name in in_all]
    rho, p = rank_correlation(shares, counts), by_chance(rng, shares, counts)
    print(f"{one}: ρ of accuracy and number of trainable parameters {rho:.2f}, p = {p:.2f}")
    found[one, "number"] = rho, p
for one, own in (("letters", means), ("films", points)):
    with_boft = [*in_all, "BOFT"]
    theirs = [*(right_answers[name][0] for name in in_all), BOFT_OF_ONE_FACTOR[0]]
    rho = rank_correlation([np.mean(own[name]) for name in with_boft], theirs)
    print(f"{one} and PEFT, as if its BOFT were ours: ρ {rho:.2f}")
    found[one, "with BOFT"] = rho
assert (len(in_both), len(in_all), len(similar)) == (21, 11, 7)
for pair, rho, least, most in (
    (("letters", "films", 21), 0.68, 0, 0.005),
    (("letters", "films", 11), 0.66, 0.01, 0.05),
    (("letters", "PEFT", 11), 0.56, 0.05, 0.1),
    (("films", "PEFT", 11), 0.75, 0, 0.03),
    (("letters", "number"), 0.57, 0.05, 0.1),
    (("films", "number"), 0.74, 0, 0.03),
    (("PEFT", "number"), 0.35, 0.2, 0.4),
):
    assert abs(found[pair][0] - rho) < 0.01 and least < found[pair][1] < most
assert min(own[1] for pair, own in found.items() if pair[-1] == len(similar)) > 0.1
assert abs(found["films", "with BOFT"] - 0.39) < 0.01
assert abs(found["letters", "with BOFT"] - 0.56) < 0.01

# %% tags=["hide-input"]
SIDES = {  # of a name beside its point, where the usual one would cover another
    **{("letters", "RandLoRA"): (-5, -3), ("letters", "full fine-tuning"): (0, -11)},
    **{("letters", "DoRA"): (-5, -7), ("films", "DoRA"): (4, -8), ("films", "LoRA"): (-5, 2)},
    **{("films", "full fine-tuning"): (0, -11), ("films", "LoKr"): (-5, -3)},
}
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.6), sharey=True)
for axis, one in zip(axes, ("letters", "films")):
    for name in in_all:
        x, y = np.mean(TABLES[one][name]), 100 * PEFT_FOUND[name][0] / QUESTIONS
        axis.plot(x, y, "o", color=BLUE if name in similar else GREY, ms=5)
        side = SIDES.get((one, name), (4, 3))
        ha = {-5: "right", 0: "center", 4: "left"}[side[0]]
        axis.annotate(name, (x, y), side, textcoords="offset points", ha=ha, fontsize=7)
    axis.set_xlabel(f"accuracy on {one} here, %")
    axis.margins(x=0.2)
axes[0].set_ylabel("GSM8K in PEFT's table, %")
# alt: Two panels, letters and films: accuracy here against PEFT's accuracy on GSM8K. Most methods with few parameters are low in both; among those with as many as LoRA, shown in blue, there is no clear line.
plt.show()

# %% [markdown]
# Between (a) and (b): 0.56 for letters and PEFT, which chance can give (p = 0.07), and 0.75 for films and PEFT, which
# it hardly can (p = 0.01). Our own two tables agree by 0.66 on these eleven methods and by 0.68 on all 21. So there is
# some agreement; whether a pretrained Transformer of 23 million parameters is the better guide, two numbers do not
# tell.
#
# How far does it carry? One method decides a lot: if PEFT's BOFT were taken for ours, 0.75 would become 0.39, while
# that of letters would stay 0.56. A part of the agreement may be the number of trainable parameters, with which
# accuracy goes on films (0.74). In PEFT's own table it does so less (0.35, p = 0.3). And among the seven methods whose
# number is within a factor of three of LoRA's in each table, the blue points, no correlation can be told from chance;
# with seven methods that takes a correlation of about 0.8. So our two tables do not tell the order of these seven on a
# large model. To learn that for a task of your own, run the two that you hesitate between on it, with a search for the
# rate of each and more than one seed.
#
# What to take home: a method that is new to you is probably a neighbour of one that you know; find out which factor it
# freezes and what it shares. Give it the number of parameters of its rival, and a rate of its own. Begin with LoRA: at
# equal numbers only strict HRA was ahead of it in the mean over the letters, and none was on films. On rotated letters
# HRA was ahead, too. (By our rule OFT and RandLoRA were as well, and CondLoRA, LoRA-XS and DoRA on Fraktur, but barely,
# and of so many comparisons about five would be by chance.) Choose another one for what it keeps or costs: singular
# values (OFT, HRA), all but some entries (SBoRA, SHiRA), or a small file ((IA)³, SVF, VeRA).
#
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 19.1
# answers.py`. It tries them on random cases, and shows the smallest on which one fails.
#
# ### Exercise 1 (easy): gains on the inputs
#
# (IA)³ scales the hidden units of a feed-forward layer. They are the inputs of its second matrix, so that this matrix
# becomes $W' = W \operatorname{diag}(l)$: one number for each column. `IA3` in this library scales the outputs,
# $\operatorname{diag}(l)\, W$.
#
# Write `nearest_input_gains(W, T)` for two matrices `(d_out, d_in)`: the array $l$ `(d_in,)` that makes
# $\lVert W \operatorname{diag}(l) - T\rVert_F$ smallest. Where column $j$ of $W$ is zero, every $l_j$ is as good.
# Return 1 there, the value at the start.
#
# Then take a random $16 \times 16$ matrix $W$, and $T = W \operatorname{diag}(l)$ with `l = np.linspace(0.5, 2, 16)`.
# Before you compute: which part of $\lVert T - W\rVert_F$ do gains on the inputs leave, and which part do gains on the
# outputs leave? `best_ia3` of `minilora.family.reach` finds the latter. (One is rounding, the other is between 0.7 and
# 1.)
#
# <details><summary>Hint</summary>
#
# The columns do not interact. For each column, the squared error is a parabola in one number.
#
# </details>

# %% [markdown]
# ### Exercise 2 (medium): LoHa is a LoRA
#
# LoHa multiplies two products entry by entry: $\Delta W = (B_1 A_1) \odot (B_2 A_2)$. Its rank is at most $r^2$, so
# there is a LoRA of rank $r^2$ with the same update.
#
# Write `loha_as_lora(A1, B1, A2, B2)`, where the ranks of the two products may differ: $A_1$ is `(r1, d_in)`, $B_1$ is
# `(d_out, r1)`, $A_2$ is `(r2, d_in)` and $B_2$ is `(d_out, r2)`. It returns a tuple $(A, B)$ with $A$ `(r1 r2, d_in)`,
# $B$ `(d_out, r1 r2)` and $BA = (B_1 A_1) \odot (B_2 A_2)$. The order of the rows of $A$ is up to you.
#
# Then draw random params for `LoHa(4)` on a matrix `(32, 24)`, and merge them. Merge your $A$ and $B$ with `LoRA(16)`,
# and compare. How many numbers does each of the two train, and what is the rank of the update? From which $r$ does LoHa
# need fewer than its LoRA? (The two $W'$ agree up to rounding, and both train fewer than 1,000 numbers.)
#
# <details><summary>Hint</summary>
#
# Each entry of $(B_1 A_1) \odot (B_2 A_2)$ is a product of two sums, one over $k$ and one over $l$. Write it as one sum
# over all pairs $(k, l)$. Which row of $A$ and which column of $B$ belong to one pair?
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): the nearest Kronecker product
#
# At a large enough rank, LoKr in LyCORIS and PEFT trains its second factor whole: $\Delta W = C \otimes D$, with $C$
# `(o, i)` and $D$ `(d_out / o, d_in / i)`. Block $(a, b)$ of this matrix is $C_{ab} D$, as in `np.kron(C, D)`.
#
# Write `nearest_kronecker(E, o, i)`: a tuple $(C, D)$ that makes $\lVert E - C \otimes D\rVert_F$ smallest, for any $E$
# `(d_out, d_in)`, zero too, and any $o$ and $i$ that divide `d_out` and `d_in`. Only the product counts: $-2C$ and
# $-D/2$ are as good as $C$ and $D$.
#
# Then take $16 \times 16$ matrices and $o = i = 4$. A product $C \otimes D$ has 32 numbers, and so has LoRA of rank 1.
# Draw 100 matrices $E$ of independent normal entries. Before you compute: which of the two leaves less of
# $\lVert E\rVert_F$, on average? (The two means lie between 0.85 and 0.92.) And what does each leave of a Kronecker
# product of two random matrices, and of a random matrix of rank one?
#
# <details><summary>Hint</summary>
#
# Write each block of $E$ as one row of a matrix. What is the rank of this matrix if $E = C \otimes D$? And what does
# moving the entries do to the Frobenius norm? (Van Loan & Pitsianis, 1993.)
#
# </details>

# %% [markdown]
# ## Where to go next
#
# The [page of the family](family.md) has the numbers of every method on llama3-8b, and the time of a step. [Lesson
# 16](16_your_own_adapter.py) lets you write one more, and [lesson 13](13_bake_off.py) compares it. A claim about a new
# method is worth a test: [the page for teachers](teaching.md) lists fifteen papers that nobody has tried here.
#
# ## References
#
# - Each class in `minilora/family` names its paper.
# - Van Loan & Pitsianis, 1993, *Approximation with Kronecker Products*. Exercise 3.
# - Hugging Face, *PEFT method comparison*, `method_comparison/MetaMathQA` in
#   [huggingface/peft](https://github.com/huggingface/peft/tree/main/method_comparison/MetaMathQA). The counts of right
#   answers, as of August 2026.
# - Spearman, 1904, *The Proof and Measurement of Association between Two Things*. Rank correlation.
