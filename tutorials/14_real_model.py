# %% [markdown]
# # A real model: every adapter on a pretrained Transformer, with seeds and controls
#
# **You will learn**
#
# - what the adapters of this course do to a network that people use: accuracy, size and directions of the update;
# - which claims of the papers show here, which do not, and which depend on how long one trains;
# - what four bits cost on real weights, which layers and matrices to adapt, and what fine-tuning makes a model forget;
# - how to tell what training did from what the pretrained weights were already: by a control.
#
# **Before this:** [lesson 13](13_bake_off.py) (how to compare methods) and [lesson 7](07_condlora.py) (conversion
# matrices). **Time:** 45 minutes to read, 5 seconds to run.
#
# The networks of this course so far are small, so that they can be trained again in seconds. The papers speak of
# pretrained language models. *all-MiniLM-L6-v2* is one: BERT's architecture with 6 layers of width 384 and 12 heads,
# 22.6 million parameters, trained by its authors on a billion pairs of sentences to give sentences of similar meaning
# similar vectors.

# %%
from minilora.cli.lesson import BLUE, GREEN, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)

# %% [markdown]
# ## The model, the task, and where the numbers come from
#
# The task: is a sentence of a film review positive or negative? A linear map with two outputs, the *head*, is put on
# the model's vector of a sentence. It is trained alone, or together with adapters on the query and value matrices of
# all six layers. The 10,072 sentences with a clear opinion are split once: 6,027 to train, 1,001 to choose learning
# rates, 3,044 to test.
#
# Five seeds of ten methods take hours, so this page shows stored results. `tests/bench/reviews.py` made them: each
# method has three learning rates tried for 100 steps, with a seed of its own, on the validation sentences, and then
# five seeds at the best rate for every length, on 2,000 test sentences. Where the two packages that the README fetches
# are in the folder `real`, this page also runs the model itself, in the cells that say *live*.

# %%
import json
from pathlib import Path

from minilora.course.lessons import lesson_data
from minilora.data.bert import MINILM, read_bert
from minilora.data.packages import locate, problem_with
from minilora.data.reviews import RATINGS, read_ratings, split_by_sentiment

stored = json.loads(lesson_data("results/real.json").read_text("utf-8"))
print("stored results of", *stored["machine"].values())

places = (Path("real"), Path("../real"), lesson_data("../real"))
files = next((one for one in places if not problem_with(MINILM, one)), None)
live = files is not None and not problem_with(RATINGS, files)
print(f"live: the model of {files.name}/" if live else "not live: stored results only")

# %% [markdown]
# *Live:* a sentence becomes tokens, pieces of words from a list of 30,522, and the model a vector for it. Before any
# training, sentences of similar meaning are close. Opinion is another matter: the vectors of "I loved it" and "I hated
# it" are close too, since both are about the same thing.

# %%
from minilora.data.wordpiece import tokenize
from minilora.models.encoder import sentence_vectors


def cosines(texts, bert):
    """Cosines between the vectors of sentences."""
    vectors = sentence_vectors(bert.weights, *tokenize(texts, bert.vocabulary, 48), bert.heads)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units @ units.T


if live:
    bert = read_bert(locate(MINILM, files))
    films = read_ratings(locate(RATINGS, files))
    print("a sentence:", films.texts[0])
    loved, hated, weather = cosines(
        ["I loved this film.", "I hated this film.", "It rains in the north."], bert
    )
    print(f"loved, hated: {loved[1]:.2f}   loved, weather: {loved[2]:.2f}")
    assert loved[1] > 0.5 > loved[2]
    counts = [len(part.labels) for part in split_by_sentiment(films.texts, films.ratings)]
    assert counts == [6027, 1001, 3044]

# %% [markdown]
# ## Accuracy, and how long you train
#
# LoRA $r=8$, SBoRA $r=16$, HRA $r=16$ and CondLoRA $r=48$ have the same number of trainable parameters here, 74,498
# with the head's 770. CondLoRA $r=8$ has LoRA's rank and 13,058. Full fine-tuning trains all six matrices of each
# layer.
#
# > **What do you expect?** After 100 steps of 16 sentences, a quarter of an epoch, how far from full fine-tuning is
# > LoRA, with a 140th of its trainable parameters: (a) less than one point of accuracy, (b) about five, (c) more than
# > ten? And does the order of the adapters stay when one trains three times as long?

# %%
from minilora.tables import aligned

rows = {(row["method"], row["steps"]): row for row in stored["methods"] if row["corpus"] == "films"}
SHORT, LONG = 100, 300
names = [name for name, steps in rows if steps == SHORT]


def points(name, steps, what="accuracy"):
    """The results of all seeds, in points."""
    return 100 * np.array(rows[name, steps][what])


def spread(values):
    """Mean ± standard deviation over seeds."""
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


table = [["accuracy in %", "trainable", "lr", f"{SHORT} steps", f"{LONG} steps"]]
for name in names:
    row = rows[name, SHORT]
    table.append([name, f"{row['trainable']:,}", f"{row['lr']:g}"])
    table[-1] += [spread(points(name, steps)) for steps in (SHORT, LONG)]
print(aligned(table))
sentences = stored["test sentences"]
print(
    f"mean ± deviation of {len(points('LoRA r=8', LONG))} seeds; the sample of {sentences:,} test"
)
print(f"sentences, which all share, adds {100 * np.sqrt(0.84 * 0.16 / sentences):.1f} points")

# %% tags=["hide-input"]
COLOURS = {"LoRA": BLUE, "SBoRA": GREEN, "QSBoRA": GREEN, "HRA": ORANGE, "CondLoRA": "black"}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.9), sharey=True)
for axis, steps in zip(axes, (SHORT, LONG)):
    for name in names:
        found = points(name, steps)
        colour = COLOURS.get(name.split(" ")[0].split("-")[0], GREY)
        x = rows[name, steps]["trainable"]
        axis.errorbar(x, found.mean(), found.std(ddof=1), fmt="o", color=colour, capsize=3)
    axis.set(xscale="log", xlabel="trainable parameters", title=f"{steps} steps", xlim=(200, 5e7))
    for name in ("head alone", "CondLoRA r=8", "full fine-tuning"):
        found = points(name, steps).mean()
        axis.annotate(
            name,
            (rows[name, steps]["trainable"], found),
            (0, 10),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
axes[0].set_ylabel("accuracy on film reviews, %")
# alt: Two panels, 100 and 300 steps: accuracy against trainable parameters for ten methods, with error bars; full fine-tuning highest, the head alone lowest, the adapters between them.
plt.show()

# %% [markdown]
# The pairs of rows that the papers compare, seed by seed, at equal numbers of trainable parameters except where it says
# otherwise. The rule is that of [lesson 13](13_bake_off.py): a mean difference of more than two standard errors is a
# verdict. All test on the same sentences, so the sample's error is mostly common to both.

# %%
PAIRS = (
    ("LoRA r=8", "full fine-tuning"),
    ("SBoRA-FA r=16", "LoRA r=8"),
    ("SBoRA-FB r=16", "LoRA r=8"),
    ("HRA r=16", "LoRA r=8"),
    ("HRA strict r=16", "HRA r=16"),
    ("CondLoRA r=8", "LoRA r=8"),
    ("CondLoRA r=48", "LoRA r=8"),
    ("QSBoRA-FA r=16", "SBoRA-FA r=16"),
    ("LoRA r=8", "head alone"),
)


def compare(one, other, steps):
    """Mean paired difference in points, and its standard error."""
    differences = points(one, steps) - points(other, steps)
    return differences.mean(), differences.std(ddof=1) / len(differences) ** 0.5


def word(one, other, steps):
    """Ahead, behind or level, by the rule of two standard errors."""
    mean, error = compare(one, other, steps)
    return "level" if abs(mean) <= 2 * error else "ahead" if mean > 0 else "behind"


def verdict(one, other, steps):
    """The difference as text, with a word where it is more than two standard errors."""
    mean, error = compare(one, other, steps)
    found = word(one, other, steps).replace("level", "")
    return f"{mean:+.1f} ± {error:.1f} {found:<6}"


table = [["", "", f"{SHORT} steps", f"{LONG} steps"]]
table += [
    [one, f"against {other}", *(verdict(one, other, steps) for steps in (SHORT, LONG))]
    for one, other in PAIRS
]
print(aligned(table))
for other, steps, least, most in (
    ("full fine-tuning", SHORT, -1.2, -1.0),
    ("full fine-tuning", LONG, -1.4, -1.2),
    ("HRA r=16", LONG, -0.9, -0.7),
):
    assert least < compare("LoRA r=8", other, steps)[0] < most
assert min(points("HRA r=16", LONG) - points("LoRA r=8", LONG)) > 0
assert (
    abs(compare("HRA r=16", "LoRA r=8", SHORT)[0]) < 2 * compare("HRA r=16", "LoRA r=8", SHORT)[1]
)
gain = [np.mean(points(name, LONG) - points("head alone", LONG)) for name in ("LoRA r=8", names[1])]
assert 0.8 < gain[0] / gain[1] < 0.87
for one in ("SBoRA-FA r=16", "SBoRA-FB r=16", "QSBoRA-FA r=16"):
    assert abs(compare(one, "LoRA r=8", LONG)[0]) < 0.6
for one in ("CondLoRA r=8", "CondLoRA r=48"):
    assert -2.5 < compare(one, "LoRA r=8", LONG)[0] < -1.5

# %% [markdown]
# Answer (a), nearly: after 100 steps LoRA is 1.1 ± 0.5 points behind full fine-tuning, and 1.3 ± 0.4 after 300. By our
# rule that is a verdict; LoRA also has about four fifths of what full fine-tuning gains over the head alone. The order
# does not stay. After 100 steps nothing can be said of HRA against LoRA; after 300, HRA is ahead by 0.8 ± 0.1 points,
# in each of the five seeds. (The rates were chosen for 100 steps; with rates chosen for 300 this may differ.) The two
# SBoRA variants, at twice the rank and as many parameters, cannot be told apart from LoRA after 300 steps, four bits or
# not. CondLoRA is about two points behind, perhaps because its layers share, and six times the rank does not bring them
# back.
#
# These are differences of one or two points on one task with 2,000 test sentences. They say which claims hold here, not
# which method is best.
#
# ## Is the update of full fine-tuning of low rank?
#
# LoRA's reason for a low rank is a guess about full fine-tuning: that its update $\Delta W$ has a low "intrinsic rank".
# Here is the test. $p_i = \sigma_i^2 / \sum_j \sigma_j^2$ is the share of direction $i$ in $\lVert \Delta W
# \rVert_F^2$; the [*effective rank*](glossary.md#effective-rank) is $\exp(-\sum_i p_i \log p_i)$, which is $k$ for $k$
# equal values.
#
# > **What do you expect?** Full fine-tuning may change all 384 directions of a value matrix. How many does it use in
# > effect: (a) 1 to 5, (b) about 50, (c) nearly all? And LoRA of its 8?

# %%
UPDATES = ("full fine-tuning", "LoRA r=8", "SBoRA-FA r=16", "HRA r=16", "CondLoRA r=48")
table = [["mean over seeds and layers", "part", "effective rank", "first", "first 8"]]
for name in UPDATES:
    for part in ("query", "value"):
        own = rows[name, LONG][part]
        shares = np.array(own["shares"])
        table.append([name, part, f"{own['effective rank']:.1f}", f"{shares[0]:.0%}"])
        table[-1].append(f"{shares[:8].sum():.0%}")
print(aligned(table))
effective = {
    (name, part): rows[name, LONG][part]["effective rank"]
    for name in UPDATES
    for part in ("query", "value")
}
assert 24 < min(effective["full fine-tuning", part] for part in ("query", "value")) < 33
assert all(2.5 < effective["LoRA r=8", part] < 3.5 for part in ("query", "value"))
assert all(10 < effective[name, part] < 14 for name in UPDATES[2:] for part in ("query", "value"))

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
for axis, part in zip(axes, ("query", "value")):
    for name in UPDATES:
        shares = np.cumsum(rows[name, LONG][part]["shares"])
        colour = COLOURS.get(name.split(" ")[0].split("-")[0], GREY)
        axis.plot(np.arange(1, len(shares) + 1), shares, ".-", color=colour, label=name)
    axis.set(xscale="log", xlabel="directions", title=f"{part} matrices, {LONG} steps")
axes[0].set_ylabel("share of ‖ΔW‖² in the first directions")
axes[1].legend(frameon=False)
# alt: Two panels, query and value: share of the squared update in the first directions, five methods; LoRA reaches 1 at 8 directions, full fine-tuning rises slowest.
plt.show()

# %% [markdown]
# Nearest to (b): full fine-tuning has an effective rank of 25 to 33, its first direction holds about a quarter of
# $\lVert \Delta W \rVert_F^2$ or less, and its first eight hold about half. That is low beside 384, and not as low as the
# rank of 1 or 2 with which the paper on LoRA gets far. LoRA uses 3 of its 8 directions, and one of them holds two thirds. The adapters of rank 16
# that fix one side (SBoRA) or reflect (HRA) use 11 to 13. So on this task the *effective rank* depends on the
# method: the update that LoRA finds is of lower rank than the one that full fine-tuning finds, and nearly as good.
#
# ## Which matrices, and which layers
#
# With about as many trainable parameters for each: LoRA of rank 8 on query and value of all six layers; of rank 2 on
# all six matrices of each layer; of rank 16 on query and value of three layers. Three seeds. (Each at the best of three
# rates on validation sentences; for the last three settings this was the highest, 5e-3, so a higher one might be better
# still.)
#
# > **What do you expect?** Which is best: (a) few directions in all matrices, (b) the first three layers, (c) the last
# > three? And is the difference larger than that between the methods above?

# %%
PLACES = {
    "q, v of all layers, r=8": "LoRA r=8",
    "all six matrices, r=2": "LoRA r=2, all six",
    "q, v of layers 1-3, r=16": "LoRA r=16, layers 1-3",
    "q, v of layers 4-6, r=16": "LoRA r=16, layers 4-6",
}
SEEDS = len(rows["LoRA r=2, all six", LONG]["accuracy"])
table = [["LoRA on", "trainable", f"accuracy, {LONG} steps", "against q, v of all"]]
place = {}
for title, name in PLACES.items():
    found = points(name, LONG)[:SEEDS]
    differences = found - points("LoRA r=8", LONG)[:SEEDS]
    place[name] = differences
    table.append([title, f"{rows[name, LONG]['trainable']:,}", spread(found)])
    table[-1].append(spread(differences) if differences.any() else "")
print(aligned(table))
assert 0.4 < place["LoRA r=2, all six"].mean() < 1 and place["LoRA r=2, all six"].min() > 0
assert place["LoRA r=16, layers 4-6"].max() < 0

# %% [markdown]
# Answer (a): few directions in all six matrices are ahead of query and value by 0.7 ± 0.2 points (± is the
# deviation of the three differences here), with an eighth more parameters. The last three layers alone lose about a
# point; of the first three nothing can be said with these seeds. The differences are as large as those between methods.
# So "LoRA on query and value", the habit of the first papers, costs as much here as the choice of the method.
#
# ## Four bits
#
# NF4 stores $W$ in four bits and a bit more ([lesson 5](05_four_bits.py)). How much is lost on real weights? Three
# measures: the error of the matrices; how far the vectors of 240 sentences move when one kind of matrix is quantised in
# all layers; and how well the vectors still do what they were trained for. For the last, take pairs of sentences from
# newspaper editorials: how often is a pair from one editorial closer than a pair from different ones? (It is the area
# under the ROC curve; 0.5 is chance.)
#
# > **What do you expect?** Normally distributed numbers lose 9 % in NF4. Do real weights lose (a) less, (b) as much, (c)
# > more? Which kind of matrix minds most?

# %%
bits = stored["four bits"]
table = [["four bits for", "matrices", "error of W", "vectors move", "pairs in order"]]
for part, own in bits.items():
    cells = (
        [f"{own['error of W']:.1%}", f"{own['change of vectors']:.2f}"] if part != "none" else []
    )
    cells = cells or ["", ""]
    table.append([part, str(own.get("matrices", "")), *cells, f"{own['related']:.3f}"])
print(aligned(table))
kinds = [part for part in bits if part not in ("all", "none")]
assert all(0.09 < bits[part]["error of W"] < 0.1 for part in kinds)
moves = {part: bits[part]["change of vectors"] for part in bits if part != "none"}
assert min(moves, key=moves.get) == "query" and moves["query"] < 0.035 and 0.2 < moves["all"] < 0.3
assert abs(bits["all"]["related"] - bits["none"]["related"]) < 0.004

# %% [markdown]
# Answer (b): the error is 9.3 to 9.7 %, as for normal numbers. Quantising one kind of matrix moves the vectors by 3 %
# (query) or more, and by 11 to 14 % for the feed-forward maps and the values; all 36 matrices together, by 24 %. Query
# and key suffer least, perhaps because a softmax stands behind them. But the vectors still order pairs of sentences as
# well as before, .913 against .915: what moves is mostly a movement that all sentences share or that does not matter
# for comparing them. And training over four bits, QSBoRA-FA against SBoRA-FA above, costs nothing that can be seen
# here.
#
# ## What stays as it was
#
# Three ways to ask how far fine-tuning leaves the pretrained model, on the query and value matrices:
#
# - *Spectrum*: how far the singular values of $W$ move, as a share of $\lVert W \rVert_F$. HRA's $W H$ with an
#   orthogonal $H$ keeps them all ([lesson 6](06_hra.py)).
# - *Intruder dimensions* ([Shuttleworth et al., 2024](https://arxiv.org/abs/2410.21228)): how many of the first 10 left
#   singular vectors of $W'$ have a cosine below 0.5 with every left singular vector of $W$. They were proposed as the
#   reason why LoRA forgets. $W H$ has the left singular vectors of $W$, so HRA has none.
# - *Forgetting*: the pairs of editorials again, with the fine-tuned model's vectors.
#
# > **What do you expect?** Who forgets least: (a) HRA, which keeps the spectrum and has no intruders, (b) LoRA, whose
# > update has the lowest rank, (c) full fine-tuning, whose update is the smallest?

# %%
before = bits["none"]["related"]
table = [
    ["query and value", "‖ΔW‖/‖W‖", "spectrum", "intruders of 10", "pairs in order", "accuracy"]
]
for steps in (SHORT, LONG):
    table.append([f"{steps} steps:"] + [""] * 5)
    for name in names:
        row = rows[name, steps]
        cells = ["", "", ""]
        if "value" in row:
            own = [row["query"], row["value"]]
            cells = [
                f"{np.mean([one[what] for one in own]):{how}}"
                for what, how in (
                    ("relative size", ".1%"),
                    ("spectrum moved", ".2%"),
                    ("intruders", ".1f"),
                )
            ]
        table.append([name, *cells, f"{np.mean(row['related']):.3f}"])
        table[-1].append(f"{np.mean(points(name, steps)):.1f}")
print(aligned(table))
print(f"pairs in order before any training: {before:.3f}")
order = {name: np.mean(rows[name, LONG]["related"]) for name in names}
assert min(order, key=order.get) == "full fine-tuning" and 0.57 < order["full fine-tuning"] < 0.66
assert (
    abs(order["HRA r=16"] - order["LoRA r=8"])
    < 0.05
    < before - max(value for name, value in order.items() if name != "head alone")
)
intruders = {
    name: np.mean([rows[name, LONG][part]["intruders"] for part in ("query", "value")])
    for name in names[1:]
}
assert intruders["full fine-tuning"] < 0.1 and max(intruders, key=intruders.get) == "CondLoRA r=48"
assert order["CondLoRA r=48"] > order["full fine-tuning"]

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(7.5, 4.2))
for steps, marker in ((SHORT, "o"), (LONG, "s")):
    for name in names:
        colour = COLOURS.get(name.split(" ")[0].split("-")[0], GREY)
        x, y = points(name, steps).mean(), np.mean(rows[name, steps]["related"])
        axis.plot(x, y, marker, color=colour)
        if steps == LONG:
            axis.annotate(
                name,
                (x, y),
                (6, 5 if name.startswith("Q") else -6),
                textcoords="offset points",
                fontsize=8,
            )
axis.axhline(before, color=GREY, lw=1, ls=":")
axis.set(xlabel=f"accuracy on film reviews, % (circles {SHORT} steps, squares {LONG})")
axis.set_ylabel("pairs of editorials in order")
# alt: Share of pairs of editorials in order against accuracy on film reviews, at 100 and 300 steps; all trained encoders lie below the dotted line of the pretrained model, full fine-tuning and strict HRA lowest.
plt.show()

# %% [markdown]
# (b), if any: of the three LoRA forgets least after 300 steps, and not because of its rank. On the query and value
# matrices, the only ones measured, full fine-tuning changes the weights least, by 2 % of their norm at most, keeps the
# spectrum within 0.1 %, has no intruder dimensions, and it forgets most: .613 after 300 steps, where .915 was. But it
# also trains four more matrices of each layer, which the adapters leave alone. So look at HRA, which trains the same
# matrices as LoRA. It keeps the spectrum exactly and has no intruders, and forgets as much as LoRA does or more (.794
# and .808), and strict HRA, which keeps the spectrum too, forgets much more (.694). CondLoRA $r=48$ has the most
# intruders, 6.7 of 10, and forgets less than full fine-tuning with none there. So on this model neither a kept spectrum
# nor the absence of intruders goes with little forgetting, and intruders cannot be the only reason for it. All the
# encoders that were trained forget; the head alone, which leaves the encoder as it is, cannot.
#
# ## Conversion matrices, with controls
#
# CondLoRA rests on an observation ([Kim et al., 2024](https://arxiv.org/abs/2403.14946)): take what LoRA has learned in
# each layer $l$, and ask for the matrices that make it from that layer's own $W_l$, $B_l = W_l \Theta_{B,l}^\top$ and
# $A_l = \Theta_{A,l} W_l$. The $\Theta_l$ of different layers are more alike than chance ($\varphi$ of
# [lesson 7](07_condlora.py), first left singular vectors). So one $\Theta$ might do for all layers. On letters we
# found nothing of it. Here?
#
# The rows named *products* repeat it on reviews of products.
#
# > **What do you expect?** Two controls stand beside the rows: each $B_l$ with the $W$ of the *next* layer, in place
# > of its own; and a *random* $B_l$, of a network that has learned nothing. If $\Theta_B$ is a relation between a layer
# > and what it learned, the controls show (a) chance, (b) something between, (c) the same.

# %%
chance = np.array(stored["conversion"]["films"]["k"]) / 384
for corpus, found in stored["conversion"].items():
    for part in ("value", "query"):
        seeds = len(found["rows"]["B"][part])
        ks = "".join(f"{f'k={k}':>8}" for k in found["k"])
        print(f"{corpus}, {part}: mean φ over 15 pairs of layers, {seeds} seeds{ks}")
        for title, own in found["rows"].items():
            values = np.mean(own[part], axis=0)
            print(f"  {title:<45}" + "".join(f"{value:8.3f}" for value in values))
        print(f"  {'chance':<45}" + "".join(f"{value:8.3f}" for value in chance))
for found in stored["conversion"].values():
    own, wrong, random, left = (
        np.mean(found["rows"][title]["value"], axis=0)
        for title in ("Theta_B", "Theta_B, next W", "Theta_B, random B", "Theta_A")
    )
    assert np.all(own > 2 * chance) and np.all(own < 8 * chance)
    assert np.all(np.abs(np.log(own / wrong)) < 0.4) and np.all(np.abs(np.log(own / random)) < 0.4)
    assert np.all(left < 1.3 * chance)
learned = np.mean(stored["conversion"]["films"]["rows"]["A - A_0"]["value"], axis=0) / chance
assert 20 < learned[0] < 40 and 3 < learned[-1] < 5

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
shown = {"Theta_B": BLUE, "Theta_B, next W": GREEN, "Theta_B, random B": ORANGE, "B": GREY}
for axis, part in zip(axes, ("value", "query")):
    for title, colour in shown.items():
        own = np.array(stored["conversion"]["films"]["rows"][title][part]) / chance
        label = title.replace("Theta_B", "Θ_B")
        axis.errorbar(
            stored["conversion"]["films"]["k"],
            own.mean(axis=0),
            own.std(axis=0, ddof=1),
            fmt=".-",
            color=colour,
            label=label,
        )
    axis.axhline(1, color="black", lw=1, ls=":")
    axis.set(
        title=f"{part} matrices", xlabel="first k directions", xscale="log", xticks=[1, 2, 4, 8]
    )
    axis.set_xticklabels(["1", "2", "4", "8"])
    axis.minorticks_off()
axes[0].set_ylabel("mean φ over pairs of layers / chance")
axes[0].legend(frameon=False)
# alt: Two panels, value and query: mean similarity over chance against the number of directions; the curves for the layer's own W, the next layer's W and a random B lie together, B itself at 1.
plt.show()

# %% [markdown]
# Answer (c). The observation holds here, as it did not on letters: for the value matrices, the $\Theta_B$ of different
# layers are about three to seven times as similar as chance. But they are as similar when every $B_l$ is paired with the *wrong*
# $W$, and as similar for a $B$ that is *random*. So the similarity says nothing about what LoRA learned. It is in the $W_l$
# alone, on both tasks. $\Theta_A$ shows nothing at all.
#
# What LoRA learned *is* similar across layers, in a place where the paper does not look: the rows of $A - A_0$, what
# training added to the random start, are four times as similar as chance at $k=8$ and nearly thirty times at $k=1$, in
# the value matrices on film reviews.
#
# Where does the similarity of $W_l^{-1}B_l$ come from? $W^{-1}$ multiplies a direction by $1/\sigma$, so the weakest
# singular directions of $W$ decide. Do those of different layers resemble each other?

# %%
weak = stored["weak directions"]
print("mean φ of the k weakest singular vectors of W, 15 pairs of layers")
for part in ("value", "query", "key"):
    for side in ("right", "left"):
        print(f"  {part}, {side:<22}" + "".join(f"{value:8.3f}" for value in weak[part][side]))
print(f"  {'chance':<29}" + "".join(f"{value:8.3f}" for value in chance))
assert all(2 < ratio < 11 for ratio in np.array(weak["value"]["right"]) / chance)
assert all(ratio < 1.5 for ratio in np.array(weak["value"]["left"]) / chance)

# %% [markdown]
# They do: the weakest *right* singular vectors of the value matrices are three to ten times as similar as chance, and
# about as similar as the $\Theta_B$ above, or more. Any $B$, learned or not, is turned towards them by $W^{-1}$. The
# value matrices of the layers respond least to similar directions of their inputs. Why, we do not know.
#
# ## The papers' claims, here and on letters
#
# What the papers say, what [lesson 13](13_bake_off.py#claim-by-claim) finds on letters and text (it asserts the words
# of that column: *light* is uneven light), and what was found here.


# %%
lora, full = "LoRA r=8", "full fine-tuning"
half = np.mean([rows[full, LONG][part]["effective rank"] for part in ("query", "value")])
table = [["paper", "what it says", "letters and text", f"here, {SHORT} steps", f"{LONG} steps"]]
for paper, claim, letters, one, other in (
    ("LoRA", "on par with full fine-tuning", "behind; level in light", lora, full),
    ("SBoRA", "FA at twice the rank beats LoRA", "behind; level on text", "SBoRA-FA r=16", lora),
    ("SBoRA", "four bits cost it little", "not compared", "QSBoRA-FA r=16", "SBoRA-FA r=16"),
    ("HRA", "beats LoRA at as many parameters", "ahead when rotated", "HRA r=16", lora),
    ("CondLoRA", "on par with LoRA of its rank", "behind", "CondLoRA r=8", lora),
):
    table.append([paper, claim, letters, *(word(one, other, steps) for steps in (SHORT, LONG))])
print(aligned(table))
print(f"LoRA: the update has a low rank. Here full fine-tuning uses {half:.0f} of 384 directions")
print("HRA: the spectrum stays. Holds exactly, everywhere (a theorem)")
print("CondLoRA: the conversion matrices of layers are alike. Here yes, and so are random ones")

# %% [markdown]
# The theorem holds, as theorems do. Of the four comparisons of accuracy none comes out the same on letters, on text and
# here at both lengths, except one: CondLoRA at LoRA's rank is behind, by a point or two here, with a sixth of the
# parameters. LoRA is near full fine-tuning rather than on par. HRA against LoRA depends on the task and on the steps.
# And an observation can be true, repeated on a second task, and mean something else than it seems to: that is what
# controls are for.
#
# One word of the table may well be chance: four bits are "ahead" after 100 steps by 0.2 points. By the rule of two
# standard errors one comparison in nine of five pairs gets a word although nothing differs.
#
# ## To PEFT and back
#
# An adapter that was trained here belongs to the model, and the model is everybody's. `write_peft` writes it with the
# names that PEFT and transformers use, the head included (*live*; what is not live does the same with a small random
# encoder of the same architecture):

# %%
from tempfile import TemporaryDirectory

from minilora import Full, LoRA, attach, init_encoder, read_peft, write_peft
from minilora.models.encoder import sentence_logits, with_head

if live:
    pretrained, heads = bert.weights, bert.heads
    tokens, mask = tokenize(films.texts[:20], bert.vocabulary, 48)
else:
    pretrained, heads = (
        init_encoder(rng, vocabulary=50, context=12, width=24, depth=2, hidden=48),
        4,
    )
    tokens = rng.integers(50, size=(20, 12))
    mask = np.ones(tokens.shape, bool)
weights = with_head(rng, pretrained, classes=2)
patterns = {"encoder.*.query.weight": LoRA(8), "encoder.*.value.weight": LoRA(8)}
attached = attach(weights, {**patterns, "classifier.*": Full()}, rng=rng)
params = {
    name: {
        letter: M + 0.02 * rng.standard_normal(M.shape).astype(M.dtype) for letter, M in own.items()
    }
    for name, own in attached.params.items()
}
logits = sentence_logits(attached.bind(params), tokens, mask, heads)
with TemporaryDirectory() as folder:
    write_peft(folder, attached, params)
    print(*sorted(file.name for file in Path(folder).iterdir()))
    again = read_peft(folder, weights)
assert np.array_equal(sentence_logits(again.bind(), tokens, mask, heads), logits)
assert np.max(np.abs(logits - sentence_logits(weights, tokens, mask, heads))) > 0.01

# %% [markdown]
# In a project with PyTorch, with this folder, it is PEFT's own code that reads it:
#
# ```
# model = transformers.AutoModel.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")
# model = peft.PeftModel.from_pretrained(model, folder)
# ```
#
# (with a layer `classifier` added to the model for the head). That the logits are the same was measured with the
# stored adapter of seed 0:

# %%
in_peft = stored["in PEFT"]
print(
    f"PEFT {in_peft['peft']}, transformers {in_peft['transformers']}, {in_peft['sentences']} sentences:"
)
print(
    f"logits up to {in_peft['largest logit']:.1f}, largest difference {in_peft['difference']:.0e}"
)
assert in_peft["difference"] < 1e-5

# %% [markdown]
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 14.1
# answers.py`. It tries them on random cases, and shows the smallest on which one fails.
#
# ### Exercise 1 (easy): how many test sentences?
#
# Two methods have the accuracies $p$ and $q$, and each is tested on $n$ sentences of its own. Write `sentences(p, q)`:
# the $n$, a float, for which $|q - p|$ is twice its standard error; $p \ne q$. How large is it for 0.83 and 0.84?
# (Above ten thousand.) Why do 2,000 sentences suffice for smaller differences on this page?
#
# <details><summary>Hint</summary>
#
# An accuracy $p$ from $n$ sentences has the variance $p(1-p)/n$, and variances of independent numbers add up.
#
# </details>

# %% [markdown]
# ### Exercise 2 (medium): equal numbers
#
# Write `equal_ranks(layers, r)`: a tuple of three integers, the ranks of SBoRA, of HRA and of CondLoRA with which each
# trains as many parameters as LoRA of rank $r$, on matrices of $d \times d$, one of each kind in each of `layers`
# layers.
#
# Then compute, from the width 384 and the 6 layers, all `trainable` of the table. (Every one comes out exactly.)
#
# <details><summary>Hint</summary>
#
# CondLoRA has one pair of conversion matrices for all queries and one for all values. The head has $2 \cdot 384 + 2$.
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): alike without having learned
#
# Build a case in which the conversion matrices of two layers are alike although nothing was learned.
#
# Write `alike_pair(rng, d)` for $16 \le d \le 64$: a tuple of two invertible matrices $W_1, W_2$ `(d, d)`, drawn with `rng`,
# that have no singular vector in common, left or right, but their weakest right one. For independent random $B_1, B_2$
# `(d, 4)`, $\varphi(1, 1)$ of $W_1^{-1} B_1$ and $W_2^{-1} B_2$ is above 0.9 nearly always. Show with $d = 64$ that it
# is near 1, with each other's $W$ too, and that it is at chance once the vectors differ.
#
# <details><summary>Hint</summary>
#
# $W^{-1} = \sum_i v_i u_i^\top / \sigma_i$: the weakest direction counts most. Make the smallest $\sigma$ a hundredth of
# the others.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# Run it yourself: `python -m minilora real --fast` takes half a minute once the two packages are there, and `python -m
# minilora inspect FOLDER` looks into any adapter of PEFT in the same way as this page looked into ours. [Lesson
# 15](15_what_to_set.py) asks what to set, and [lesson 16](16_your_own_adapter.py) adds a method of your own.
#
# ## References
#
# - Devlin et al., 2019, *BERT*, [arXiv 1810.04805](https://arxiv.org/abs/1810.04805); Reimers & Gurevych, 2019,
#   *Sentence-BERT*, [arXiv 1908.10084](https://arxiv.org/abs/1908.10084); Wang et al., 2020, *MiniLM*,
#   [arXiv 2002.10957](https://arxiv.org/abs/2002.10957). The model.
# - Hutto & Gilbert, 2014, *VADER*, ICWSM; Pang & Lee, 2005, *Seeing Stars*, ACL. The sentences and their ratings.
# - Hu et al., 2021, *LoRA*, [arXiv 2106.09685](https://arxiv.org/abs/2106.09685); Po et al., 2024, *SBoRA*,
#   [arXiv 2407.05413](https://arxiv.org/abs/2407.05413); Yuan et al., 2024, *HRA*,
#   [arXiv 2405.17484](https://arxiv.org/abs/2405.17484); Kim et al., 2024, *CondLoRA*,
#   [arXiv 2403.14946](https://arxiv.org/abs/2403.14946). The claims.
# - Dettmers et al., 2023, *QLoRA*, [arXiv 2305.14314](https://arxiv.org/abs/2305.14314); Shuttleworth et al., 2024, *LoRA
#   vs Full Fine-tuning: An Illusion of Equivalence*, [arXiv 2410.21228](https://arxiv.org/abs/2410.21228).
