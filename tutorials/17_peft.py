# %% [markdown]
# # From NumPy to PEFT and back: an adapter is two small files, and one check tells whether they were read correctly
#
# **You will learn**
#
# - what the two files are that hold a published adapter, down to the last byte, by writing them by hand;
# - how to hand an adapter that you trained here to Hugging Face PEFT, and how to read one that PEFT made;
# - how to put an adapter from the Hub on its base model, with GPT-2 as the awkward case;
# - what becomes of SBoRA, CondLoRA and HRA on the way;
# - four ways in which loading goes wrong without an error, and one check that finds all four;
# - how much sixteen bits cost, and whether a merged model that differs from the unmerged one is a bug;
# - how to serve several adapters in one batch.
#
# **Before this:** [lesson 2](02_lora_by_hand.py) (LoRA, `attach`), [lesson 4](04_sbora.py) (SBoRA),
# [lesson 6](06_hra.py) (HRA) and [lesson 7](07_condlora.py) (CondLoRA). **Time:** 45 minutes to read, 2 seconds to run.
#
# You have trained an adapter, and somebody else wants to use it in a PyTorch model. Or the other way round: you found
# an adapter on the Hugging Face Hub and want to take it apart with the tools of these lessons. Both sides keep the same
# few arrays. But do they mean the same by them? Which of the two matrices is called $A$, what is it multiplied by, to
# which layer does it belong? Nothing crashes when the two disagree about the scale. The model is a little worse, that
# is all, and you will blame the training.

# %%
from minilora.cli.lesson import BLUE, GREY, ORANGE, start_lesson

start_lesson()  # one BLAS thread, the figures' style, any terminal

import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)

# %% [markdown]
# ## The first file: numbers
#
# First something worth publishing: a small network, and a second one that is the first with a change of rank 2 in two
# of its layers. LoRA of rank 2 on these layers learns to imitate the second one. We take $\alpha = 6$, so that the
# scale $s = \alpha / r = 3$ is not 1 and a mistake in it can be seen.

# %%
from minilora import LoRA, attach, init_mlp, mlp

weights = init_mlp(rng, widths=(16, 24, 24, 8))
target = dict(weights)
for name in ("layers.0.W", "layers.2.W"):
    d_out, d_in = weights[name].shape
    change = rng.standard_normal((d_out, 2)) @ rng.standard_normal((2, d_in)) / d_in
    target[name] = weights[name] + change.astype(np.float32)
x = rng.standard_normal((2000, 16)).astype(np.float32)
wanted = mlp(target, x)

attached = attach(weights, {"layers.[02].W": LoRA(rank=2, alpha=6)}, rng=rng)
print(attached)

# %%
import autograd.numpy as anp

from minilora import fit


def loss(params, x, y):
    return anp.sum((mlp(attached.bind(params), x) - y) ** 2) / len(x)


def distance(y, reference):
    """The largest difference, as a share of the largest number."""
    return np.max(np.abs(y - reference)) / np.max(np.abs(reference))


params = fit(loss, attached.params, (x, wanted), rng=rng, steps=600, batch=100, lr=3e-2)
adapted = mlp(attached.bind(params), x)
before, after = loss(attached.params, x, wanted), loss(params, x, wanted)
print(f"squared error {before:.3f} before, {after:.4f} after")
assert after < 1e-3 and before > 1

# %% [markdown]
# PEFT keeps the arrays of an adapter in a [*checkpoint*](glossary.md#checkpoint), a folder with two files. The first is
# `adapter_model.safetensors`. It has three parts:
#
# 1. eight bytes: the length $n$ of the header, as a little-endian integer;
# 2. $n$ bytes of JSON, the *header*: for every array its name, its dtype, its shape, and the two offsets between which
#    its bytes lie, counted from the end of the header;
# 3. the numbers of all arrays, row by row, one array after the other.
#
# That is all. Nothing in it is code, so that reading such a file runs nobody's code. (The older `adapter_model.bin` is
# a Python pickle, which can run anything.) Names are missing: PEFT calls the $A$ of a layer
# `base_model.model.<layer>.lora_A.weight`. The orientation is the same as here: $A$ is `(r, d_in)` and $B$ is
# `(d_out, r)`.

# %%
import json
import struct

from minilora.peft.safetensors import pack

arrays = {}
for name in ("layers.0", "layers.2"):
    arrays[f"base_model.model.{name}.lora_A.weight"] = params[f"{name}.W"]["A"]
    arrays[f"base_model.model.{name}.lora_B.weight"] = params[f"{name}.W"]["B"]

header, numbers = {"__metadata__": {"format": "pt"}}, b""
for name, array in arrays.items():
    place = [len(numbers), len(numbers) + array.nbytes]
    header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": place}
    numbers += array.astype("<f4").tobytes()
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)  # so that the numbers start at a multiple of eight
content = struct.pack("<Q", len(text)) + text + numbers

print(f"{len(content)} bytes: 8 + {len(text)} of header + {len(numbers)} of numbers")
for name, entry in header.items():
    print(f"{name:44} {json.dumps(entry)}")
assert content == pack(arrays)

# %% [markdown]
# The last line says that `pack` in `minilora/peft/safetensors.py` does no more than this. Here is the file as a
# figure, every byte a dot. Text has few different bytes. The numbers look like noise, except for the byte with the sign
# and the exponent.

# %% tags=["hide-input"]
figure, (left, right) = plt.subplots(2, 1, figsize=(7.2, 4.2), height_ratios=(1, 3))
start = 8 + len(text)
left.barh(0, start, color=GREY)
for name, colour in zip(arrays, (BLUE, ORANGE, BLUE, ORANGE)):
    first, last = header[name]["data_offsets"]
    left.barh(0, last - first, left=start + first, color=colour, edgecolor="white")
    layer, letter = name.removeprefix("base_model.model.").removesuffix(".weight").split(".lora_")
    left.text(start + (first + last) / 2, 0, letter, ha="center", va="center", color="white")
    if letter == "A":
        left.text(start + first, 0.5, layer, va="bottom", color=GREY)
left.text(start / 2, 0, "8 bytes, then the header", ha="center", va="center", color="white")
left.set(xlim=(0, len(content)), yticks=[], xlabel="offset in the file, bytes")
left.spines["left"].set_visible(False)
right.scatter(
    np.arange(len(content)), np.frombuffer(content, np.uint8), s=2, color=BLUE, linewidths=0
)
right.axvline(start, color=GREY, linewidth=1)
right.text(start / 2, 215, "letters of the header", ha="center", color=GREY)
right.set(xlim=(0, len(content)), xlabel="offset in the file, bytes", ylabel="value of the byte")
# alt: Above, the file as a bar: 8 bytes and the header, then A and B of two layers. Below, each byte as a dot: those of the header lie in narrow bands, those of the numbers scatter from 0 to 255.
plt.show()

# %% [markdown]
# ## The second file: settings
#
# Numbers alone are no adapter. The rest is in `adapter_config.json`: the kind of adapter, the rank, $\alpha$, and which
# layers of the model get one. Four entries are enough.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

from minilora import read_peft

config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["layers.0", "layers.2"]}
temporary = TemporaryDirectory()
folder = Path(temporary.name)
(folder / "adapter_config.json").write_text(json.dumps(config))
(folder / "adapter_model.safetensors").write_bytes(content)

again = read_peft(folder, weights)
print(again)
assert np.array_equal(mlp(again.bind(again.params), x), adapted)

# %% [markdown]
# `read_peft` takes the folder and the weights of the model, and returns what `attach` returns, with the numbers of the
# file as `params`: bind them, merge them, or go on training them. `write_peft` is the way back. From there on the
# adapter is PEFT's. In a project with PyTorch, for a model with the same weights whose layers have the same names:
#
# ```
# from peft import PeftModel
# model = PeftModel.from_pretrained(model, "the folder")
# ```

# %%
from minilora import write_peft
from minilora.peft.safetensors import unpack

write_peft(folder, attached, params)
print((folder / "adapter_config.json").read_text())
assert unpack((folder / "adapter_model.safetensors").read_bytes()).keys() == arrays.keys()

# %% [markdown]
# The names of layers differ from model to model. `layer_of` says what PEFT's model calls the layer of a weight; the
# same function serves both ways. By default it takes off the ending `.W`.

# %%
other_names = {"layers.0.W": "encoder.dense", "layers.2.W": "classifier"}
write_peft(folder, attached, params, layer_of=other_names.get)
print(*unpack((folder / "adapter_model.safetensors").read_bytes()), sep="\n")
again = read_peft(folder, weights, layer_of=other_names.get)
assert np.array_equal(again.params["layers.2.W"]["B"], params["layers.2.W"]["B"])

# %% [markdown]
# ## Adapters that PEFT made
#
# With the lessons come a few checkpoints that PEFT itself made and saved, and beside them the outputs that PEFT
# computed with each. They judge everything above. All of them adapt the same small network, whose numbers are eighths.

# %%
from minilora import describe
from minilora.course.lessons import lesson_data


def eighths(shape, step):
    size = int(np.prod(shape))
    return ((np.arange(size) * step + step) % 11 - 5).reshape(shape) / 8


base = {}
for i, (d_out, d_in) in enumerate([(4, 5), (4, 4), (3, 4)]):
    base[f"layers.{i}.W"], base[f"layers.{i}.b"] = (
        eighths((d_out, d_in), 7 + i),
        eighths((d_out,), 3 + i),
    )
inputs = eighths((3, 5), 4)

made_by_peft = lesson_data("checkpoints")
judge = json.loads((made_by_peft / "outputs.json").read_text())
error = {}
for name, outputs in judge.items():
    loaded = read_peft(made_by_peft / name, base, fan_in_fan_out=False)
    error[name] = distance(mlp(loaded.bind(loaded.params), inputs), np.array(outputs))
    first = describe(next(iter(loaded.adapters.values())))
    print(f"{name:15} differs from PEFT by {error[name]:.0e}; its first adapter is {first}")
assert max(error.values()) < 1e-12 and len(error) == 14

# %% [markdown]
# The differences are rounding, for all fourteen. So in these the two programs mean the same by every number:
#
# - **LoRA** with `use_rslora` has the scale $\alpha / \sqrt r$. In `rank_pattern` and `alpha_pattern` single layers
#   have values of their own.
# - **`fan_in_fan_out`** is for GPT-2, which keeps $W^\top$ where others keep $W$. It says nothing about $A$ and $B$,
#   but we have to say that `base` holds $W$: the layer is square, and both would fit.
# - **Heads and biases** that were trained whole (`modules_to_save`, `bias`) are in the file too. They become `Full`.
# - **HRA** is $W H_1 H_2 \cdots H_r$, first column first. With `apply_GS` it is what we call `HRAStrict`. An odd number
#   of reflections is allowed there without asking.
# - **Dtypes**: float16 and bfloat16 are widened when they are read. That is exact; the loss was at saving.
#
# What cannot be represented here is refused by name, and not ignored:

# %%
for name in sorted(path.name for path in (made_by_peft / "refused").iterdir()):
    try:
        read_peft(made_by_peft / "refused" / name, base)
    except ValueError as refused:
        print(f"{name:16} {str(refused).split(': ', 1)[1][:95]}")
    else:
        raise AssertionError(name)

# %% [markdown]
# ## An adapter from the Hub in ten lines
#
# Now take an adapter from the Hub and the model that it is for. GPT-2 is the awkward case: its layers `c_attn`,
# `c_proj` and `c_fc` keep $W^\top$, and the names in its file lack the `transformer.` that the names of an adapter
# have. This cell makes two folders like those that you would download, only smaller: a model, and an adapter that
# classifies. PEFT trains the head of a classifier as a whole, and the model has none yet.

# %%
d = 8
draw = np.random.default_rng(1).standard_normal
files = {f"h.{i}.attn.c_attn.weight": draw((d, 3 * d)) for i in range(2)}  # Wᵀ
files |= {f"h.{i}.attn.c_proj.weight": draw((d, d)) for i in range(2)}
files |= {"wte.weight": draw((20, d)), "h.0.attn.bias": np.ones((4, 4), bool)}
tensors = {"base_model.model.score.weight": draw((2, d))}
for name in [name for name in files if ".c_" in name]:
    stem = f"base_model.model.transformer.{name.removesuffix('.weight')}"
    tensors[f"{stem}.lora_A.weight"] = draw((2, files[name].shape[0]))
    tensors[f"{stem}.lora_B.weight"] = draw((files[name].shape[1], 2))
settings = {"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "lora_alpha": 3}
settings |= {"fan_in_fan_out": True, "modules_to_save": ["classifier", "score"]}
for title, content in {"gpt2/model": pack(files), "mine/adapter_model": pack(tensors)}.items():
    (folder / title).parent.mkdir()
    (folder / f"{title}.safetensors").write_bytes(content)
(folder / "mine" / "adapter_config.json").write_text(json.dumps(settings))

# %% [markdown]
# And here are the ten lines. `layer_of` puts the missing prefix before the names, `fan_in_fan_out` says which weights
# are $W^\top$ (they are transposed, so that what you get holds $W$ everywhere), and a head that the model lacks starts
# as zeros. Then write the adapter again, with what the configuration says `about` its base model.

# %%
from minilora import read_safetensors
from minilora.peft import layer_of, open_checkpoint


def in_peft(name):
    return layer_of(name) if name == "score.weight" else f"transformer.{layer_of(name)}"


def is_transposed(name):
    return ".c_" in name


model = {**read_safetensors(folder / "gpt2"), "score.weight": np.zeros((2, d))}
mine = read_peft(folder / "mine", model, layer_of=in_peft, fan_in_fan_out=is_transposed)
about, _ = open_checkpoint(folder / "mine")
write_peft(folder / "again", mine, layer_of=in_peft, fan_in_fan_out=is_transposed, about=about)
print(mine)

# %%
stem = "base_model.model.transformer.h.1.attn.c_proj"
A, B = (tensors[f"{stem}.lora_{letter}.weight"] for letter in "AB")
by_hand = files["h.1.attn.c_proj.weight"].T + 3 / 2 * B @ A
assert np.allclose(mine.merge()["h.1.attn.c_proj.weight"], by_hand, rtol=0, atol=1e-12)
again = read_safetensors(folder / "again")
assert again.keys() == tensors.keys()
assert all(np.array_equal(again[name], array) for name, array in tensors.items())
kept, _ = open_checkpoint(folder / "again")
print({word: kept[word] for word in ("task_type", "fan_in_fan_out", "modules_to_save")})
assert kept["task_type"] == "SEQ_CLS" and kept["modules_to_save"] == ["score"]

# %% [markdown]
# What does such an adapter do? `python -m minilora inspect FOLDER` shows it for every kind of layer, without the model:
# how large the updates are and how many of their directions count. With `--base FILE` it compares them with the model's
# own weights. A pretrained BERT with adapters of your own to try this on comes with `python -m minilora real`.
#
# ## What becomes of SBoRA and CondLoRA
#
# PEFT 0.21 knows LoRA and HRA, but neither SBoRA nor CondLoRA. Both compute what some LoRA computes, so they can be
# written as LoRA.
#
# > **What do you expect?** Four layers of 24 × 24, rank 4. CondLoRA trains one pair of matrices for all four layers,
# > 192 parameters. How many numbers has its file, written as LoRA? (a) 192, (b) 384, (c) 768.

# %%
from minilora import HRA, CondLoRA, SBoRAFA, kind, own_name

square = init_mlp(rng, widths=(24, 24, 24, 24, 24), dtype=np.float64)
points = rng.standard_normal((50, 24))
candidates = {
    "LoRA": (LoRA(4), own_name),
    "SBoRA-FA": (SBoRAFA(4), own_name),
    "CondLoRA": (CondLoRA(4), kind),
    "HRA": (HRA(4), own_name),
}
for title, (adapter, key) in candidates.items():
    own = attach(square, {"layers.*.W": adapter}, rng=rng, key=key)
    for array in [
        array for arrays_of_one in own.params.values() for array in arrays_of_one.values()
    ]:
        array += 0.2 * rng.standard_normal(array.shape)  # as if it had been trained
    write_peft(folder, own, own.params)
    back = read_peft(folder, square)
    gap = distance(mlp(back.bind(back.params), points), mlp(own.bind(own.params), points))
    counts = f"{own.trainable:4} trainable parameters; the file has {back.trainable:4}"
    print(f"{title:9} {counts}; outputs differ by {gap:.0e}")
    assert gap < 1e-12
    times = {"LoRA": 1, "SBoRA-FA": 2, "CondLoRA": 4, "HRA": 1}[title]
    assert back.trainable == times * own.trainable

# %% [markdown]
# Answer (c). What is lost is what made the two special. SBoRA's fixed matrix of zeros and ones is in the file as if it
# had been trained. CondLoRA's one pair of matrices becomes an $A$ and a $B$ for each layer. Read again, they are LoRA,
# and training goes on as LoRA. Of an update whose rank is higher than a LoRA file should have (DoRA, OFT, SHiRA, LoHa
# or LoKr of [lesson 19](19_family_tree.py)) only the nearest LoRA of that rank can be stored,
# `best_lora(W, merged, rank)` of `minilora.theorems.reachable`; [lesson 1](01_one_matrix.py) measures what such a cut
# keeps.
#
# ## It loads without an error. Is it right?
#
# "I loaded my adapter, and nothing changed." "It works, but not as well as when I trained it." These are questions that
# people ask about checkpoints, and here are four possible answers. PEFT loads the first three without an error, with a
# warning at most; it fills in what is missing and ignores what it does not know. To see what they do, we need a reader
# as trusting as that:


# %%
def trusting_reader(config, arrays):
    """W + s B A wherever there is an A and a B with the right name; the base model elsewhere."""
    merged = dict(weights)
    for name, W in weights.items():
        stem = f"base_model.model.{name.removesuffix('.W')}"
        A, B = (arrays.get(f"{stem}.lora_{letter}.weight") for letter in "AB")
        if A is not None and B is not None:
            s = config.get("lora_alpha", 8) / config.get("r", 8)
            merged[name] = W + np.float32(s) * (B @ A)
    return merged


good = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["layers.0", "layers.2"]}
no_prefix = {name.removeprefix("base_model.model."): array for name, array in arrays.items()}
half = {name: array for name, array in arrays.items() if "layers.2.lora_B" not in name}
no_alpha = {word: value for word, value in good.items() if word != "lora_alpha"}
cases = {
    "nothing wrong": (good, arrays),
    "names without the prefix": (good, no_prefix),
    "one array is missing": (good, half),
    "lora_alpha is missing": (no_alpha, arrays),
    "rsLoRA's flag is lost": ({**good, "lora_alpha": 6 / 2**0.5}, arrays),
}

# %% [markdown]
# The last one was trained with $s = \alpha / \sqrt r$, and the flag that says so is missing.
#
# > **What do you expect?** `read_peft` is less trusting. How many of the four does it refuse? (a) All four, (b) three,
# > (c) two.

# %%
seen, published = {}, {}
for title, (settings, tensors) in cases.items():
    y = mlp(trusting_reader(settings, tensors), x)
    published[title] = distance(y[0], adapted[0])  # one input and its output
    seen[title] = np.sum((y - wanted) ** 2) / len(x)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "adapter_model.safetensors").write_bytes(pack(tensors))
    try:
        verdict = f"reads {len(read_peft(folder, weights).adapters)} layers"
    except ValueError as refused:
        verdict = "refuses: …" + str(refused).split(": ", 1)[1][:56]
    print(f"{title:25} squared error {seen[title]:.4f}; read_peft {verdict}")
base_model = mlp(weights, x)
assert np.array_equal(mlp(trusting_reader(*cases["names without the prefix"]), x), base_model)
assert min(seen[title] for title in list(cases)[1:]) > 0.07 > 70 * seen["nothing wrong"]

# %% [markdown]
# Answer (b). Without the prefix you get the base model, bitwise identical. Without an $\alpha$ the trusting reader
# takes 8, so that every update is a third too large. In the fourth case $\alpha = 6 / \sqrt 2$ gave $s = 3$ in
# training, and is read as $s = 3 / \sqrt 2$ now. `read_peft` cannot notice that, and nobody can from the two files
# alone: nothing in them is wrong. One check finds all four:
#
# > Publish an input and its output with every adapter. Those who load it compute the output and compare.

# %%
for title, gap in published.items():
    print(f"{title:25} the output of one input is off by {gap:.0e}")
assert published["nothing wrong"] < 1e-6
assert min(published[title] for title in list(cases)[1:]) > 0.05

# %% [markdown]
# That is what `outputs.json` is above. Here is how the error of our model depends on the scale that a reader assumes:

# %%
scales = np.linspace(0, 6, 61)
errors = []
for s in scales:
    y = mlp(trusting_reader({"r": 1, "lora_alpha": s}, arrays), x)
    errors.append(np.sum((y - wanted) ** 2) / len(x))
assert abs(scales[np.argmin(errors)] - 3) < 0.15

# %% tags=["hide-input"]
figure, axes = plt.subplots(figsize=(7.2, 3.2))
axes.plot(scales, errors, color=BLUE)
labels = {
    0: ("no prefix: the base model", (10, 0)),
    3 / 2**0.5: ("√r lost", (4, 8)),
    3: ("as trained", (-4, 8)),
    4: ("α missing: 8 is taken", (12, -6)),
}
for s, (words, offset) in labels.items():
    height = np.interp(s, scales, errors)
    axes.plot(s, height, "o", color=ORANGE)
    axes.annotate(words, (s, height), xytext=offset, textcoords="offset points", color=ORANGE)
axes.set(
    xlabel="scale s that the reader assumes",
    ylabel="squared error",
    xlim=(-0.1, 6),
    ylim=(0, None),
)
# alt: The squared error against the assumed scale has its minimum, nearly 0, at s = 3, as trained. It is 0.2 where the square root is lost, 0.27 without alpha, 2.2 at s = 0, the base model.
plt.show()

# %% [markdown]
# ## Merged and unmerged differ: is that a bug?
#
# The same map, computed in another order, is rounded differently. So some difference is no bug. How much is the
# question. The measure is the precision of the dtype: one rounding has a relative size of at most $6 \cdot 10^{-8}$ in
# float32 and $5 \cdot 10^{-4}$ in float16. Saving the adapter in sixteen bits rounds each of its numbers once. Merging
# in sixteen bits rounds every entry of $W$.
#
# > **What do you expect?** Which costs more? (a) The adapter saved in float16, (b) the merged matrix saved in float16,
# > (c) both the same.

# %%
exact = {name: W.astype(np.float64) for name, W in weights.items()}
double = {
    key: {letter: a.astype(np.float64) for letter, a in own.items()} for key, own in params.items()
}
reference = mlp(attach(exact, attached.adapters, rng=rng).bind(double), x.astype(np.float64))


def through(dtype):
    """Numbers after a stay in this dtype."""
    return {
        key: {letter: a.astype(dtype).astype(np.float64) for letter, a in own.items()}
        for key, own in double.items()
    }


merged = {
    name: W.astype(np.float16).astype(np.float64) for name, W in attached.merge(params).items()
}
rounded_base = {name: W.astype(np.float16).astype(np.float64) for name, W in weights.items()}
kept = attach(exact, attached.adapters, rng=rng)
rows = {
    "float32, unmerged": adapted,
    "float32, merged": mlp(attached.merge(params), x),
    "adapter saved in float16, base exact": mlp(kept.bind(through(np.float16)), x),
    "adapter exact, base in float16": mlp(
        attach(rounded_base, attached.adapters, rng=rng).bind(double), x
    ),
    "merged, then saved in float16": mlp(merged, x),
}
for title, y in rows.items():
    print(f"{title:38} {distance(y, reference):.0e}")
errors_of = {title: distance(y, reference) for title, y in rows.items()}
assert max(errors_of["float32, unmerged"], errors_of["float32, merged"]) < 6e-7
assert 3e-5 < errors_of["adapter saved in float16, base exact"] < 3e-4
assert 1e-4 < errors_of["merged, then saved in float16"] < 1e-3

# %% [markdown]
# Answer (b): $W$ is larger than the update, and so is its rounding. For a network of this size a difference of
# $10^{-6}$ between merged and unmerged is rounding in float32, and one of $10^{-2}$ is a bug; in float16 one of
# $10^{-3}$ is rounding. When you are in doubt, compute both in float64: rounding is then $2^{29}$ times smaller, nearly
# nine orders of magnitude, and a bug stays.
#
# ## Several adapters in one batch
#
# A server has one model and many users, each with an adapter. Merging would need a copy of $W$ for each. Instead write
# for row $i$ of the batch, with its own $A_i$ and $B_i$,
#
# $$y_i = W x_i + s\, B_i (A_i x_i). \tag{1}$$
#
# > **What do you expect?** Three users, 2,000 rows in mixed order. How many products with $W$ does the batch need? (a)
# > One for all rows together, (b) one for each user, (c) one for each row.
#
# `bind` has one adapter a layer. But a weight is anything that maps $x$, so here is one that maps each row in its own
# way.


# %%
class Mixed:
    """W with adapter which[i] for row i; A (users, r, d_in), B (users, d_out, r) hold s B."""

    ndim = 2

    def __init__(self, W, A, B, which):
        self.W, self.A, self.B = W, A, B
        self.which = which
        self.shape, self.dtype = W.shape, W.dtype

    def __call__(self, x):
        low = np.einsum("nri,ni->nr", self.A[self.which], x)
        return linear(self.W, x) + np.einsum("nor,nr->no", self.B[self.which], low)


# %%
from minilora import linear

users = [attach(exact, attached.adapters, rng=rng) for _ in range(3)]
for user in users:
    for own in user.params.values():
        own["B"] += rng.standard_normal(own["B"].shape)  # as if it had been trained
which = rng.integers(3, size=len(x))
batch, inputs_of_all = dict(exact), x.astype(np.float64)
for name, adapter in attached.adapters.items():
    A, B = (np.stack([user.params[name][letter] for user in users]) for letter in "AB")
    batch[name] = Mixed(exact[name], A, adapter.scale * B, which)
together = mlp(batch, inputs_of_all)
for number, user in enumerate(users):
    alone = mlp(user.bind(user.params), inputs_of_all)
    assert distance(together[which == number], alone[which == number]) < 1e-13
copies = 3 * sum(exact[name].size for name in attached.adapters)
thin = copies // 3 + sum(user.trainable for user in users)
print(f"adapted layers: {copies} numbers in three merged copies, {thin} in W and three adapters")
assert thin < 0.6 * copies

# %% [markdown]
# Answer (a): $W x$ for all rows at once, as if there were no adapters, and two thin products a row. The outputs are
# those of three separate models, and none of them was merged. In PEFT the same is `model(…, adapter_names=[…])`, one
# name a row; it works for LoRA that is not merged. Servers for large models have kernels that do not copy $A_i$ for
# each row, as the indexing above does.
#
# ## Optional: other layers, and files of strangers
#
# You can skip this section; nothing later depends on it.
#
# **Convolutions, embeddings, the output layer.** Each of them multiplies by a matrix, but only the last one is written
# so. Therefore:
#
# | layer | its array | here | how LoRA does it |
# | :-- | :-- | :-- | :-- |
# | output layer (`lm_head`) | $U$ `(vocabulary, d)` | any adapter; PEFT's LoRA is read | as any linear layer. If $U$ is tied to the embedding, an adapter on one of the two unties them |
# | embedding | $E$ `(vocabulary, d)`, indexed | `Full` only; a whole one is read, PEFT's LoRA on it refused | $E_t + s\,(B A)_t$, with a row of $B$ for each token |
# | convolution | `(c_out, c_in, k, k)` | `Full` only; PEFT's LoRA on it refused | $A$ is a convolution to $r$ channels, $B$ one with a 1 × 1 kernel |
#
# The two lower rows need no new mathematics. Row $t$ of an adapted embedding costs $r\,d$ operations. (PEFT stores $B$
# and $A$ of an embedding under other names and transposed.) And a convolution multiplies every patch of the image,
# written as a vector of $c_{in} k^2$ numbers, by a matrix $(c_{out}, c_{in} k^2)$. The refused checkpoint above has
# such a convolution:

# %%
from minilora.peft import open_checkpoint

settings, tensors = open_checkpoint(made_by_peft / "refused" / "convolution")
A, B = (
    tensors[f"base_model.model.layers.0.lora_{letter}.weight"].astype(np.float64) for letter in "AB"
)
rank, c_in, k, _ = A.shape
image = rng.standard_normal((c_in, 6, 6))
patches = np.lib.stride_tricks.sliding_window_view(image, (k, k), axis=(1, 2))
in_turn = np.einsum("cr,rijk,ixyjk->cxy", B[:, :, 0, 0], A, patches)  # first A, then B
delta = B.reshape(-1, rank) @ A.reshape(rank, -1)  # (c_out, c_in k²): LoRA as always
as_matrix = np.einsum("cm,mxy->cxy", delta, patches.transpose(0, 3, 4, 1, 2).reshape(-1, 5, 5))
print(f"A {A.shape}, B {B.shape}, ΔW {delta.shape}, outputs {as_matrix.shape}")
assert np.allclose(in_turn, as_matrix, rtol=1e-12)

# %% [markdown]
# **Files of strangers.** A file from the network may be cut short, damaged, or made to harm. A header can claim a
# gigabyte, let two arrays overlap, or use a name twice, so that two programs read different numbers from it. `unpack`
# believes none of it. It writes down the header that the arrays it found ought to have, and compares. Then every byte
# after the header belongs to exactly one number, and no memory was taken that the file does not fill.

# %%
write_peft(folder, attached, params)
whole = (folder / "adapter_model.safetensors").read_bytes()
lies = {
    "cut short": whole[:-100],
    "something after the end": whole + b"more",
    "a header as long as an ocean": struct.pack("<Q", 2**62) + whole[8:],
    "a place before the beginning": whole.replace(b"[0,", b"[-9,", 1).replace(b"  ", b" ", 1),
    "a name twice": whole.replace(b"layers.2.lora_A", b"layers.0.lora_A", 1),
    "numbers that are none": whole[:-4] + struct.pack("<f", np.nan),
}
for title, lie in lies.items():
    (folder / "adapter_model.safetensors").write_bytes(lie)
    try:
        read_peft(folder, weights)
    except ValueError as refused:
        reason = str(refused).split(": ", 1)[1].split("safetensors file: ")[-1]
        print(f"{title:29} {reason[:80]}")
    else:
        raise AssertionError(title)

# %% [markdown]
# Damage to the numbers themselves, one bit flipped in a matrix, is not seen unless it makes a NaN or an infinity: every
# other bit pattern is some number. If that matters, publish a checksum too.
#
# ## Exercises
#
# Write your answers into a file of your own, `answers.py`, and ask for a verdict with `python -m minilora check 17.1
# answers.py`. It tries them on random cases, and shows the smallest on which one fails.
#
# ### Exercise 1 (easy): rsLoRA by hand
#
# Write `merged_layer(W, A, B, settings)`: the merged weight of one layer of a LoRA checkpoint, where `settings` is its
# `adapter_config.json` as a dict, of which `"r"`, `"lora_alpha"` and `"use_rslora"` count; the last may be missing and
# is then false.
#
# The checkpoint `rslora` of PEFT adapts `layers.0` and `layers.2` of the network `base`. Take its two files apart with
# `json` and `unpack`, merge both layers, and compare with PEFT's outputs. (They agree to $10^{-12}$.) What do you get
# if you forget the square root? (Outputs that differ by more than a fifth of their size.)

# %% [markdown]
# ### Exercise 2 (medium): two adapters in one
#
# You have two adapters of one matrix, and somebody asks for one file with the effect of both. LoRA of rank $r_1$ and of
# rank $r_2$ add up to LoRA of rank $r_1 + r_2$. Write `stacked(A1, B1, s1, A2, B2, s2)`: a tuple $(A, B)$ of this rank
# with $B A = s_1 B_1 A_1 + s_2 B_2 A_2$. Then write a checkpoint, read it, and check the merged weights.
#
# <details><summary>Hint</summary>
#
# Stack the two $A$ on top of each other and put the two $B$ side by side. The scale of the sum can be 1 if the old
# scales go into $B$.
#
# </details>

# %% [markdown]
# ### Exercise 3 (hard): write bfloat16
#
# A bfloat16 is the upper half of a float32: 8 bits of precision, but the range of a float32. `pack` does not write it.
#
# Write `as_bfloat16(array)` for a float32 array of one axis or more: an array of the same shape and of the dtype
# uint16, each entry the upper half of the float32 that is nearest among those whose lower half is zero; of two that
# are equally near, either. All entries are finite and far from the largest float32.
#
# Then write the arrays of our adapter as a file that `unpack` reads. Compare the relative errors of float16 and
# bfloat16. (At most $2^{-11}$ and $2^{-8}$, for the entries above $10^{-4}$.) Why does anybody use bfloat16?
#
# <details><summary>Hint</summary>
#
# View the float32 numbers as `uint32`. Adding half of the last place that stays, before the shift by 16 bits, makes
# cutting off into rounding. The header says `"BF16"`, and every array has half of its bytes.
#
# </details>

# %% [markdown]
# ## Where to go next
#
# The files in `minilora/peft` are short enough to read in one evening. Then write a bridge for [an adapter of your
# own](16_your_own_adapter.py). [Lesson 18](18_speed.py) measures this library beside PEFT: where does
# the time of a training step go?
#
# ## References
#
# - Mangrulkar et al. (2022), [PEFT: state-of-the-art parameter-efficient fine-tuning
#   methods](https://github.com/huggingface/peft). The checkpoints here are from version 0.21.
# - Hugging Face, [safetensors](https://github.com/huggingface/safetensors), with the format on one page.
# - Kalajdzievski (2023), [A rank stabilization scaling factor for fine-tuning with
#   LoRA](https://arxiv.org/abs/2312.03732).
