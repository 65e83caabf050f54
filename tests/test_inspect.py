"""`python -m minilora inspect`: its numbers are those of dense matrices; it says what is odd."""

import json
import math
import re
import warnings
from itertools import combinations

import matplotlib.image
import numpy as np
import pytest
from support.command_line import cells_of
from support.counting import calls
from support.draws import haar

from minilora.adapters import HRA, HRAStrict
from minilora.analysis import random_similarity
from minilora.cli import beside_base
from minilora.cli.inspect import inspect_checkpoint
from minilora.cli.main import main
from minilora.cli.plots import plot_spectra
from minilora.peft.checkpoint import ARRAYS
from minilora.peft.safetensors import pack
from minilora.peft.settings import CONFIG

QUERY, DOWN = "model.layers.{}.attn.q_proj", "model.layers.{}.mlp.down_proj"
LORA = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "peft_version": "0.21.2"}
HRA_CONFIG = {"peft_type": "HRA", "r": 4}


def lora_layers(rng, count=4, d_out=12, d_in=10, r=3, name=QUERY):
    """{name of a layer: {"A": …, "B": …}}, Gaussian."""
    return {
        name.format(i): {"A": rng.standard_normal((r, d_in)), "B": rng.standard_normal((d_out, r))}
        for i in range(count)
    }


def hra_layers(rng, count=3, d_in=10, r=4):
    return {QUERY.format(i): {"U": rng.standard_normal((d_in, r))} for i in range(count)}


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint of PEFT; returns its folder."""

    def write(layers, config, others=(), dtype=np.float64):
        ending = {"A": "lora_A.weight", "B": "lora_B.weight", "U": "hra_u"}
        arrays = {
            f"{layer}.{ending[letter]}": array
            for layer, params in layers.items()
            for letter, array in params.items()
        }
        arrays = {
            f"base_model.model.{name}": array.astype(dtype)
            for name, array in {**arrays, **dict(others)}.items()
        }
        folder = tmp_path / "adapter"
        folder.mkdir(exist_ok=True)
        (folder / ARRAYS).write_bytes(pack(arrays))
        (folder / CONFIG).write_text(json.dumps(config))
        return folder

    return write


@pytest.fixture
def base(tmp_path):
    """Write a model with these weights, and with biases; returns its folder."""

    def write(weights):
        folder = tmp_path / "base"
        folder.mkdir(exist_ok=True)
        arrays = {f"{name}.weight": W for name, W in weights.items()}
        arrays |= {f"{name}.bias": np.ones(len(W)) for name, W in weights.items()}
        (folder / "model.safetensors").write_bytes(pack(arrays))
        return folder

    return write


def printed(*arguments, **settings):
    """(what inspect_checkpoint returns, the lines that it shows)."""
    texts = []
    found = inspect_checkpoint(*arguments, show=texts.append, **settings)
    return found, "\n".join(texts).splitlines()


def row(lines, start, column):
    """The cells of the line that begins with a name, below the heading with a column."""
    at = next(i for i, line in enumerate(lines) if column in cells_of(line))
    heading = cells_of(lines[at])
    body = next(line for line in lines[at + 1 :] if line.startswith(start))
    return dict(zip(heading, cells_of(body), strict=True))


def spectra_of(updates):
    return [np.linalg.svd(update, compute_uv=False) for update in updates]


# ---- The table of updates


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("rslora", [False, True])
def test_the_numbers_of_lora_are_those_of_the_dense_updates(dtype, rslora, checkpoint, rng):
    """Two kinds of layers, 12 × 10 and 6 × 20; s = 2, or 6 / √3."""
    layers = lora_layers(rng) | lora_layers(rng, 3, 6, 20, name=DOWN)
    folder = checkpoint(layers, {**LORA, "use_rslora": rslora}, dtype=dtype)
    found, lines = printed(folder)
    s = 6 / math.sqrt(3) if rslora else 2
    for start, shape, count in (
        ("model.layers.*.attn.q_proj", "12 × 10", 4),
        ("model.layers.*.mlp.down_proj", "6 × 20", 3),
    ):
        group = [name for name in layers if name.startswith(start.partition("*")[0])]
        group = [name for name in group if name.endswith(start.rpartition(".")[2])]
        params = [
            {letter: array.astype(dtype).astype(float) for letter, array in layers[name].items()}
            for name in group
        ]
        spectra = spectra_of([s * own["B"] @ own["A"] for own in params])
        for name, values in zip(group, spectra, strict=True):
            np.testing.assert_allclose(found[name], values[:3], rtol=1e-5)
        shares = [values**2 / np.sum(values**2) for values in spectra]
        entropies = [-sum(p * math.log(p) for p in own if p > 1e-20) for own in shares]
        cells = row(lines, start, "‖ΔW‖")
        assert cells["count"] == str(count) == str(len(group))
        assert cells["shape"] == shape
        assert cells["rank"] == "3"
        assert cells["s"] == f"{s:.3g}"
        norms = [math.sqrt(sum(values**2)) for values in spectra]
        assert float(cells["‖ΔW‖"]) == pytest.approx(np.mean(norms), rel=1e-3)
        assert float(cells["σ₁"]) == pytest.approx(max(v[0] for v in spectra), rel=1e-3)
        effective = np.mean([math.exp(entropy) for entropy in entropies])
        assert float(cells["effective rank"]) == pytest.approx(effective, abs=0.0501)
        stable = np.mean([1 / own[0] for own in shares])
        assert float(cells["stable rank"]) == pytest.approx(stable, abs=0.0501)
        assert cells["first"] == f"{np.mean([own[0] for own in shares]):.0%}"
    assert lines[0].startswith(f"{folder}: LoRA of PEFT 0.21.2, 7 layers, 498 trainable parameters")


def test_layers_of_one_kind_and_two_shapes_have_two_rows(checkpoint, rng):
    """As in networks whose width grows, and with a rank or an alpha of their own."""
    layers = lora_layers(rng, 2) | {QUERY.format(7): lora_layers(rng, 1, 8, 10)[QUERY.format(0)]}
    layers[QUERY.format(1)] = lora_layers(rng, 1, r=2)[QUERY.format(0)]
    config = {**LORA, "rank_pattern": {"layers.1.attn.q_proj": 2}}
    _, lines = printed(checkpoint(layers, config))
    rows = [cells_of(line) for line in lines if line.startswith("model.layers.*.attn")]
    assert [cells[1:5] for cells in rows] == [
        ["2", "12 × 10", "2–3", "2–3"],
        ["1", "8 × 10", "3", "2"],
    ]


@pytest.mark.parametrize("strict", [False, True])
def test_the_numbers_of_hra_are_those_of_h_and_with_a_base_of_w_h(strict, checkpoint, base, rng):
    layers = hra_layers(rng)
    adapter = HRAStrict(4) if strict else HRA(4)
    Hs = {name: adapter.merge(params, {"W": np.eye(10)}) for name, params in layers.items()}
    folder = checkpoint(layers, {**HRA_CONFIG, "apply_GS": strict})
    found, lines = printed(folder)
    cells = row(lines, "model.layers.*.attn.q_proj", "‖H − I‖")
    for name, H in Hs.items():
        np.testing.assert_allclose(found[name], spectra_of([H - np.eye(10)])[0][:4], atol=1e-12)
    sizes = [np.linalg.norm(H - np.eye(10)) for H in Hs.values()]
    assert float(cells["‖H − I‖"]) == pytest.approx(np.mean(sizes), rel=1e-3)
    angles = [np.max(np.abs(np.angle(np.linalg.eigvals(H)))) for H in Hs.values()]
    assert float(cells["angle"][:-1]) == pytest.approx(np.degrees(max(angles)), abs=0.0501)
    units = [p["U"] / np.linalg.norm(p["U"], axis=0) for p in layers.values()]
    skew = np.mean([np.linalg.norm(unit.T @ unit - np.eye(4)) for unit in units])
    assert float(cells["‖ÛᵀÛ − I‖"]) == pytest.approx(skew, abs=0.000501)
    assert not any("‖ΔW‖" in line for line in lines)

    weights = {name: rng.standard_normal((7, 10)) for name in layers}
    found, lines = printed(folder, base(weights))
    updates = {name: weights[name] @ (H - np.eye(10)) for name, H in Hs.items()}
    for name, update in updates.items():
        np.testing.assert_allclose(found[name], spectra_of([update])[0][:4], atol=1e-12)
    cells = row(lines, "model.layers.*.attn.q_proj", "‖ΔW‖")
    sizes = [np.linalg.norm(update) for update in updates.values()]
    assert float(cells["‖ΔW‖"]) == pytest.approx(np.mean(sizes), rel=1e-3)
    assert cells["shape"] == "7 × 10"
    assert cells["s"] == "–"


def test_what_the_legends_say_of_hra_is_so(rng):
    """3 Gaussian vectors of 16 dimensions; W (12, 16) of Gaussian rows, 4 to 1 times as large.

    The angle is 180° for odd r. Equal pairs of columns are at least √r from orthogonal. Of 200 ΔW
    some have φ below chance, and the mean is above it.
    """
    assert "in any case" not in beside_base._HRA_LEGEND
    assert "do not compare the outputs with chance" in beside_base._HRA_LEGEND
    found = []
    for _ in range(200):
        U = rng.standard_normal((16, 3))
        H = HRA(3, odd=True).merge({"U": U}, {"W": np.eye(16)})
        assert np.linalg.norm(H - np.eye(16), 2) == pytest.approx(2, abs=1e-12)
        pairs = np.repeat(U, 2, axis=1)
        pairs /= np.linalg.norm(pairs, axis=0)
        assert np.linalg.norm(pairs.T @ pairs - np.eye(6)) >= math.sqrt(6) - 1e-12
        W = np.linspace(4, 1, 12)[:, None] * rng.standard_normal((12, 16))
        found.append(phi(W, W @ (H - np.eye(16)), 1))
    assert min(found) < 1 / 12 / 3
    assert np.mean(found) - 1 / 12 > 4 * np.std(found) / math.sqrt(200)


# ---- What is odd about it


def test_a_sound_checkpoint_has_nothing_odd(checkpoint, rng):
    _, lines = printed(checkpoint(lora_layers(rng), LORA))
    assert lines[-2:] == [
        "No layer is dead, no scale is unusual, no rank is above the sides of W.",
        "Nothing else is trained.",
    ]


def test_dead_layers_are_named(checkpoint, rng):
    """One that still is at its start, and one of a hundredth of the others' size."""
    layers = lora_layers(rng, 5)
    layers[QUERY.format(1)]["B"] *= 0
    layers[QUERY.format(3)]["B"] *= 1e-3
    _, lines = printed(checkpoint(layers, LORA))
    assert "Dead, ΔW = 0 as at the start: model.layers.1.attn.q_proj." in lines
    assert "Dead, ‖ΔW‖ below 1% of the median of the kind: model.layers.3.attn.q_proj." in lines


def test_a_checkpoint_from_before_training_is_dead_everywhere(checkpoint, rng, tmp_path):
    layers = lora_layers(rng, 9)
    for params in layers.values():
        params["B"] *= 0
    _, lines = printed(checkpoint(layers, LORA), plot=tmp_path / "dead.png")
    assert row(lines, "model.layers.*", "‖ΔW‖")["effective rank"] == "–"
    named = ", ".join(list(layers)[:6])
    assert f"Dead, ΔW = 0 as at the start: {named} and 3 more." in lines


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_equal_pairs_of_reflections_are_dead_and_others_are_not(dtype, checkpoint, base, rng):
    layers = hra_layers(rng)
    for name in (QUERY.format(0), QUERY.format(2)):
        layers[name]["U"][:, 1::2] = layers[name]["U"][:, ::2]
    layers[QUERY.format(2)]["U"][0, 1] += 0.01
    folder = checkpoint(layers, HRA_CONFIG, dtype=dtype)
    for arguments in ([], [base({name: rng.standard_normal((7, 10)) for name in layers})]):
        found, lines = printed(folder, *arguments)
        assert "Dead, ΔW = 0 as at the start: model.layers.0.attn.q_proj." in lines
        assert found[QUERY.format(0)].tolist() == [0, 0, 0, 0]
        assert not any(line.startswith("Dead") and "layers.1" in line for line in lines)


@pytest.mark.parametrize("alpha, odd", [(0.2, True), (0.31, False), (29, False), (31, True)])
def test_unusual_scales_are_named(alpha, odd, checkpoint, rng):
    _, lines = printed(checkpoint(lora_layers(rng, 1), {**LORA, "lora_alpha": alpha}))
    start = f"Unusual scale s = {alpha / 3:g}, outside 0.1 to 10: model.layers.0"
    assert any(line.startswith(start) for line in lines) == odd


def test_a_rank_above_the_sides_of_w_is_named(checkpoint, rng):
    """A head of two classes with r = 3: PEFT writes it."""
    layers = lora_layers(rng, 1) | lora_layers(rng, 1, d_out=2, name="score{}")
    _, lines = printed(checkpoint(layers, LORA))
    assert "Rank 3 above a side of W, more than any ΔW has: score0." in lines


def test_a_layer_that_cannot_be_measured_is_named_and_the_others_are_measured(checkpoint, rng):
    layers = hra_layers(rng)
    layers[QUERY.format(1)]["U"][:, 2] = 0
    found, lines = printed(checkpoint(layers, HRA_CONFIG))
    assert list(found) == [QUERY.format(0), QUERY.format(2)]
    assert any(line.startswith(f"Broken: {QUERY.format(1)}: U must have no zero") for line in lines)


def test_layers_that_cannot_be_measured_are_one_line_for_each_kind(checkpoint, base, rng):
    """And then there is no table beside W, rather than an empty one."""
    layers = {QUERY.format(i): {"U": np.zeros((10, 4))} for i in range(9)}
    layers |= {DOWN.format(0): {"U": np.zeros((10, 4))}}
    folder = checkpoint(layers, HRA_CONFIG)
    _, lines = printed(folder, base({name: np.ones((7, 10)) for name in layers}))
    broken = [line for line in lines if line.startswith("Broken: ")]
    assert len(broken) == 2
    assert "layers.5.attn.q_proj and 3 more: U must have no zero" in broken[0]
    assert not any(line.startswith("beside W") for line in lines)


def test_one_is_singular(checkpoint, rng):
    layers = {"q": {"A": np.ones((1, 1)), "B": np.ones((1, 1))}}
    _, lines = printed(checkpoint(layers, {**LORA, "r": 1}, {"head.bias": np.ones(1)}))
    assert lines[0].endswith(": LoRA of PEFT 0.21.2, 1 layer, 2 trainable parameters.")
    assert lines[-1] == "Trained whole, 1 more parameter: head.bias."


def test_names_of_strangers_move_nothing_on_the_terminal(checkpoint, base, rng, capsys):
    """Escapes that colour, move and clear, line breaks, and marks that turn the direction."""
    name = "q\x1b[2J\n\r\x9b\u202e\u2028目 é"
    folder = checkpoint(lora_layers(rng, 1, name=name), LORA, {f"{name}.bias": np.ones(1)})
    for weights in (
        {name: np.ones((12, 10))},
        {name: np.ones((12, 10)), f"x.{name}": np.ones((1, 1))},
    ):
        assert main(["inspect", str(folder), "--base", str(base(weights))]) == 0
        out = capsys.readouterr().out
        assert r"q\x1b[2J\n\r\x9b\u202e\u2028目 é" in out
        assert [c for c in out if not c.isprintable() and c != "\n"] == []
        assert not any(line.startswith(("\r", "\x9b")) for line in out.splitlines())
    message = refused([folder, "--base", base({f"y{name}": np.ones((1, 1))})], capsys)
    assert r"q\x1b[2J\n\r" in message
    assert message.isprintable()


def test_heads_and_biases_are_counted(checkpoint, rng):
    others = {
        "classifier.weight": np.ones((3, 12)),
        "model.layers.0.attn.q_proj.bias": np.ones(12),
        "model.layers.1.attn.q_proj.bias": np.ones(12),
    }
    config = {**LORA, "bias": "lora_only", "modules_to_save": ["classifier"]}
    _, lines = printed(checkpoint(lora_layers(rng), config, others))
    names = "classifier.weight, 2 of model.layers.*.attn.q_proj.bias"
    assert lines[-1] == f"Trained whole, 60 more parameters: {names}."


@pytest.mark.parametrize(
    "name", ["lora", "rslora", "patterns", "lora_float16", "lora_bfloat16", "hra", "hra_apply_gs"]
)
def test_what_peft_wrote_can_be_inspected(name):
    found, lines = printed(f"tutorials/checkpoints/{name}")
    assert found
    assert all(np.all(np.isfinite(values)) for values in found.values())
    assert re.search(rf" {len(found)} layers, [\d,]+ trainable parameters\.$", lines[0])


# ---- Beside the base


def phi(one, two, k):
    """φ(k, k) by dense singular vectors."""
    U = np.linalg.svd(one)[0][:, :k]
    V = np.linalg.svd(two)[0][:, :k]
    return sum(float(u @ v) ** 2 for u in U.T for v in V.T) / k


def numbers(cells, k):
    """(φ, whether it is marked, chance) of a cell."""
    mark, found, chance = re.fullmatch(r"(\*?)([\d.]+) \(([\d.]+)\)", cells[f"k = {k}"]).groups()
    return float(found), mark == "*", float(chance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_the_comparisons_are_those_of_dense_matrices(dtype, checkpoint, base, rng, monkeypatch):
    """Sizes, φ of W and ΔW from both sides, of the factors and of W⁻¹B and A W⁻¹ across layers.

    Random layers are within 4 deviations of chance, but with 0.5 some cells are marked.
    """
    monkeypatch.setattr(beside_base, "_DEVIATIONS", 0.5)
    layers = lora_layers(rng, 4, 10, 10, r=4)
    weights = {name: rng.standard_normal((10, 10)).astype(dtype) for name in layers}
    folder = checkpoint(layers, {**LORA, "r": 4, "lora_alpha": 0.4})
    _, lines = printed(folder, base(weights))
    Ws = [W.astype(float) for W in weights.values()]
    updates = [0.1 * own["B"] @ own["A"] for own in layers.values()]
    cells = row(lines, "model.layers.*", "‖ΔW‖ / ‖W‖")
    shares = [np.linalg.norm(update) / np.linalg.norm(W) for update, W in zip(updates, Ws)]
    assert float(cells["‖ΔW‖ / ‖W‖"][:-1]) == pytest.approx(100 * np.mean(shares), rel=2e-3)
    assert float(cells["largest"][:-1]) == pytest.approx(100 * max(shares), rel=2e-3)
    norms = [np.linalg.norm(W) for W in Ws]
    assert float(cells["‖W‖"]) == pytest.approx(np.mean(norms), rel=2e-3)

    As, Bs = [p["A"] for p in layers.values()], [p["B"] for p in layers.values()]
    inverses = [np.linalg.inv(W) for W in Ws]
    later = inverses[1:] + inverses[:1]
    between = {
        "B of the layers": Bs,
        "Θ_B of the layers": [inverse @ B for inverse, B in zip(inverses, Bs)],
        "… with the W of the next layer": [inverse @ B for inverse, B in zip(later, Bs)],
        "A of the layers": [A.T for A in As],
        "Θ_A of the layers": [(A @ inverse).T for inverse, A in zip(inverses, As)],
        "… with the W of the next one": [(A @ inverse).T for inverse, A in zip(later, As)],
    }
    for k in (1, 2, 4):
        expected = {
            label: np.mean([phi(*pair, k) for pair in combinations(matrices, 2)])
            for label, matrices in between.items()
        }
        pairs = list(zip(Ws, updates))
        expected["W and ΔW, outputs"] = np.mean([phi(W, update, k) for W, update in pairs])
        expected["W and ΔW, inputs"] = np.mean([phi(W.T, update.T, k) for W, update in pairs])
        for label, value in expected.items():
            found, marked, chance = numbers(row(lines, label, f"k = {k}"), k)
            assert found == pytest.approx(value, abs=2e-3 if dtype == np.float16 else 2e-4), label
            mean, deviation = random_similarity(10, k, k)
            count = 4 if label.startswith("W") else 6
            assert chance == pytest.approx(mean, abs=6e-5)
            assert marked == (abs(value - mean) > 0.5 * deviation / math.sqrt(count))
    for label in between:
        assert row(lines, label, "k = 1")["k = 8"] == "–"


def similarity_table(checkpoint, base, layers, weights):
    """{label: φ at k = 2}."""
    _, lines = printed(checkpoint(layers, {**LORA, "r": 2}), base(weights))
    labels = ("Θ_B", "… with the W of the next layer", "… of a random B", "Θ_A", "… of a random A")
    return {label: numbers(row(lines, label, "k = 2"), 2)[:2] for label in labels}


def test_shared_conversion_matrices_are_seen_and_the_controls_stay_at_chance(checkpoint, base, rng):
    """A_l = Θ_A W_l, B_l = W_l Θ_Bᵀ with one Θ for six Gaussian layers, 30 × 30."""
    names = [QUERY.format(i) for i in range(6)]
    weights = {name: rng.standard_normal((30, 30)) for name in names}
    theta_A, theta_B = rng.standard_normal((2, 2, 30))
    layers = {name: {"A": theta_A @ W, "B": W @ theta_B.T} for name, W in weights.items()}
    found = similarity_table(checkpoint, base, layers, weights)
    assert found["Θ_B"] == found["Θ_A"] == (1, True)
    for label in ("… with the W of the next layer", "… of a random B", "… of a random A"):
        assert not found[label][1], label


def test_weights_that_are_alike_are_seen_in_the_controls(checkpoint, base, rng):
    """All W_l have one weak input direction: Θ_B is alike for any B, learned or not."""
    names = [QUERY.format(i) for i in range(6)]
    weak = haar(rng, 30)[:, :2]
    layers = lora_layers(rng, 6, 30, 30, r=2)
    weights = {}
    for name in names:
        W = rng.standard_normal((30, 30))
        weights[name] = W - (1 - 1e-4) * W @ weak @ weak.T
    found = similarity_table(checkpoint, base, layers, weights)
    for label in ("Θ_B", "… with the W of the next layer", "… of a random B"):
        assert found[label][0] > 0.99, label
    assert not found["Θ_A"][1]


def test_intruders_are_counted(checkpoint, base, rng):
    """ΔW has one direction far from all those of W: large in one layer, tiny in the other."""
    d = 16
    U, V = haar(rng, d), haar(rng, d)
    values = np.linspace(2, 1, d)
    far = U @ np.full(d, d**-0.5)  # |cosine| 1/4 to all of them
    layers, weights = {}, {}
    for i in range(2):
        name = QUERY.format(i)
        weights[name] = (U * values) @ V.T
        B = far[:, None] * (100 if i == 0 else 1e-6)
        layers[name] = {"A": haar(rng, d)[:1], "B": B}
    _, lines = printed(checkpoint(layers, {**LORA, "r": 1, "lora_alpha": 1}), base(weights))
    expected = []
    for name, own in layers.items():
        vectors = np.linalg.svd(weights[name] + own["B"] @ own["A"])[0][:, :10]
        expected.append(sum(max(abs(float(u @ v)) for v in U.T) < 0.5 for u in vectors.T))
    assert expected[0] > 0 == expected[1]
    cells = row(lines, "model.layers.*", "intruders")
    assert float(cells["intruders"]) == np.mean(expected)


def test_what_would_take_minutes_is_left_out_and_said_unless_all_is_wanted(
    checkpoint, base, rng, monkeypatch
):
    layers = lora_layers(rng) | lora_layers(rng, 3, 6, 20, name=DOWN)
    weights = {
        name: rng.standard_normal((len(p["B"]), p["A"].shape[1])) for name, p in layers.items()
    }
    folder, model = checkpoint(layers, LORA), base(weights)
    attention, mlp = 4 * 12 * 10 * 10, 3 * 6 * 20 * 6
    monkeypatch.setattr(beside_base, "_SECONDS", 1.0)
    monkeypatch.setattr(beside_base, "_PATIENCE", attention + mlp - 1)
    _, lines = printed(folder, model)
    assert row(lines, "model.layers.*.attn", "intruders")["intruders"] != "–"
    assert row(lines, "model.layers.*.mlp", "intruders")["intruders"] == "–"
    monkeypatch.setattr(beside_base, "_PATIENCE", mlp + 1)
    _, lines = printed(folder, model)
    assert row(lines, "model.layers.*.attn", "intruders")["intruders"] == "–"
    assert row(lines, "model.layers.*.mlp", "intruders")["intruders"] == "0.0"
    left_out = "SVDs of 4 × 12 × 10 take about 80 minutes; --full does them."
    assert f"Left out for model.layers.*.attn.q_proj: {left_out}" in lines
    assert sum("k = 1" in line for line in lines) == 1
    _, lines = printed(folder, model, full=True)
    assert sum("k = 1" in line for line in lines) == 2
    assert not any(line.startswith("Left out") for line in lines)


def test_of_a_zero_weight_nothing_is_a_share(checkpoint, base, rng):
    layers = lora_layers(rng, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, lines = printed(
            checkpoint(layers, LORA), base(dict.fromkeys(layers, np.zeros((12, 10))))
        )
    cells = row(lines, "model.layers.*", "‖ΔW‖ / ‖W‖")
    assert (cells["‖W‖"], cells["‖ΔW‖ / ‖W‖"], cells["largest"]) == ("0", "–", "–")


@pytest.mark.parametrize("size, fits", [(2e37, True), (4e37, False)])
def test_weights_so_large_that_their_norm_overflows_are_left_out(size, fits, checkpoint, base, rng):
    """float32 ends at 3.4e38, a 120th of whose square is (3.1e37)²; others are compared."""
    layers = lora_layers(rng, 2)
    weights = dict.fromkeys(layers, rng.standard_normal((12, 10)).astype(np.float32))
    first = next(iter(layers))
    weights[first] = np.full((12, 10), size, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, lines = printed(checkpoint(layers, LORA), base(weights))
    cells = row(lines, "model.layers.*", "‖ΔW‖ / ‖W‖")
    assert cells["layers"] == ("2" if fits else "1")
    assert any("a norm that overflows" in line for line in lines) != fits


def test_a_share_beyond_all_percents_stays_short(checkpoint, base, rng):
    layers = lora_layers(rng, 1)
    weights = dict.fromkeys(layers, np.full((12, 10), 1e-42))
    _, lines = printed(checkpoint(layers, LORA), base(weights))
    assert len(row(lines, "model.layers.*", "‖ΔW‖ / ‖W‖")["largest"]) < 9


def test_dead_layers_and_single_ones_are_compared_as_far_as_they_go(checkpoint, base, rng):
    layers = lora_layers(rng, 2)
    layers[QUERY.format(1)]["B"] *= 0
    weights = {name: rng.standard_normal((12, 10)) for name in layers}
    _, lines = printed(checkpoint(layers, LORA), base(weights))
    assert row(lines, "W and ΔW, outputs", "k = 1")["k = 2"] != "–"
    assert not any(line.startswith("Θ_B") for line in lines)
    layers[QUERY.format(0)]["B"] *= 0
    _, lines = printed(checkpoint(layers, LORA), base(weights))
    assert row(lines, "model.layers.*", "intruders")["intruders"] == "–"


# ---- The names of the layers in the base


@pytest.mark.parametrize("shorten", [lambda name: name, lambda name: name[6:], "wrapped.{}".format])
def test_a_beginning_of_the_name_may_be_missing(shorten, checkpoint, base, rng):
    """Also with other layers of the same end: of another part of the model, or another number."""
    layers = lora_layers(rng, 12)
    weights = {shorten(name): rng.standard_normal((12, 10)) for name in layers}
    others = {f"vision.layers.{i}.mlp.q_proj": np.ones((12, 10)) for i in range(3)}
    _, lines = printed(checkpoint(layers, LORA), base(weights | others))
    cells = row(lines, "model.layers.*", "‖ΔW‖ / ‖W‖")
    assert cells["layers"] == "12"
    norms = [np.linalg.norm(W) for W in weights.values()]
    assert float(cells["‖W‖"]) == pytest.approx(np.mean(norms), rel=1e-3)
    assert not any(line.startswith("Not found") for line in lines)


def test_each_layer_gets_its_own_weight(checkpoint, base, rng):
    """Whatever the order: ΔW of layer i is (i + 1) times as large as its W."""
    layers = lora_layers(rng, 3)
    weights = {
        name[6:]: 2 * own["B"] @ own["A"] / (i + 1) for i, (name, own) in enumerate(layers.items())
    }
    weights = dict(reversed(weights.items()))
    _, lines = printed(checkpoint(layers, LORA), base(weights))
    cells = row(lines, "model.layers.*", "‖ΔW‖ / ‖W‖")
    assert cells["‖ΔW‖ / ‖W‖"] == "200.00%"
    assert cells["largest"] == "300.00%"


def test_layers_without_a_weight_are_said(checkpoint, base, rng):
    """No such name, two that may be meant, another shape, four bits."""
    W = rng.standard_normal((12, 10))
    layers = lora_layers(rng, 6)
    _, lines = printed(
        checkpoint(layers, LORA),
        base(
            {
                "layers.0.attn.q_proj": W,
                "encoder.model.layers.2.attn.q_proj": W,
                "decoder.model.layers.2.attn.q_proj": W,
                "layers.3.attn.q_proj": W.T.copy(),
                "layers.4.attn.q_proj": np.ones((12, 10), np.uint8),
                "layers.5.attn.q_proj": W + np.inf,
            }
        ),
    )
    kind_name = "model.layers.*.attn.q_proj"
    assert row(lines, kind_name, "‖ΔW‖ / ‖W‖")["layers"] == "1"
    assert [line for line in lines if line.startswith("Not found")] == [
        f"Not found in the base: 1 of {kind_name} (no such name).",
        f"Not found in the base: 1 of {kind_name} (more than one name fits).",
        f"Not found in the base: 1 of {kind_name} "
        "(shape (10, 12), but the adapter is for (12, 10)).",
        f"Not found in the base: 1 of {kind_name} (uint8, which is not a float type).",
        f"Not found in the base: 1 of {kind_name} (NaN or inf, or a norm that overflows).",
    ]


def test_one_weight_is_not_taken_for_two_layers(checkpoint, base, rng):
    own = lora_layers(rng, 1)[QUERY.format(0)]
    layers = {"encoder.0.q": own, "decoder.0.q": own, "encoder.1.q": own}
    W = rng.standard_normal((12, 10))
    _, lines = printed(checkpoint(layers, LORA), base({"0.q": W, "1.q": W}))
    assert row(lines, "encoder.*.q", "‖ΔW‖ / ‖W‖")["layers"] == "1"
    assert "Not found in the base: 1 of decoder.*.q (its name fits more than one layer)." in lines


@pytest.mark.parametrize("form", ["{}", "m.{}", "{}.end"])
def test_names_are_found_in_steps_in_proportion_to_the_layers(form):
    """Counted: four times as many layers, at most six times as many calls."""

    def steps(count):
        layers = [f"model.layers.{i}.q_proj" for i in range(count)]
        shapes = dict.fromkeys([form.format(layer) for layer in layers], (1, 1))
        model = {f"{form.format(layer[6:])}.weight": np.ones((1, 1)) for layer in layers}
        if form == "m.{}":
            model = {f"m.m.model.{layer[6:]}.weight": np.ones((1, 1)) for layer in layers}
        assert list(beside_base.base_weights(model, shapes, False)[0]) == list(shapes)
        return calls(beside_base.base_weights, model, shapes, False)

    assert steps(800) < 6 * steps(200)


@pytest.mark.parametrize(
    "layer, names, found",
    [
        ("a.b", ["a.b", "x.a.b", "b"], "a.b"),
        ("a.b", ["x.a.b", "b"], "x.a.b"),
        ("a.b", ["b", "xa.b", "a.b.c"], "b"),
        ("a.b.c", ["c", "b.c"], "b.c"),
        ("a.b", ["x.a.b", "y.a.b", "b"], None),
        ("a.b", ["xa.b", "a/b", "a-b"], None),
        ("", [".", "a"], "."),
    ],
)
def test_the_name_with_most_in_common_is_found(layer, names, found):
    model = {f"{name}.weight": np.full((1, 1), float(i)) for i, name in enumerate(names)}
    shapes = {layer: (1, 1)}
    if found is None:
        with pytest.raises(ValueError, match=r"no such name|more than one name fits"):
            beside_base.base_weights(model, shapes, False)
    else:
        weights, _ = beside_base.base_weights(model, shapes, False)
        assert weights[layer].item() == names.index(found)


@pytest.mark.parametrize("d_out", [10, 12])
def test_a_model_that_keeps_the_transpose_is_transposed_when_the_file_says_so(
    d_out, checkpoint, base, rng
):
    """GPT-2's Conv1D; where the shape fits without, as for an ordinary layer, it is left."""
    layers = lora_layers(rng, 2, d_out=d_out)
    weights = {name: 2 * own["B"] @ own["A"] for name, own in layers.items()}
    kept = {name: np.ascontiguousarray(W.T) for name, W in weights.items()}
    folder = checkpoint(layers, {**LORA, "fan_in_fan_out": True})
    _, lines = printed(folder, base(kept))
    assert "Transposed, because the model keeps Wᵀ (fan_in_fan_out): 2 layers." in lines
    assert numbers(row(lines, "W and ΔW, outputs", "k = 1"), 1)[0] == 1
    if d_out == 12:
        _, lines = printed(folder, base(weights))
        assert numbers(row(lines, "W and ΔW, outputs", "k = 1"), 1)[0] == 1
        assert not any(line.startswith("Transposed") for line in lines)
        with pytest.raises(
            ValueError, match=r"^base must have the layers, such as model\.layers\.0"
        ):
            printed(checkpoint(layers, LORA), base(kept))


# ---- The figure


def test_the_figure_has_a_panel_for_each_kind_and_a_line_for_each_layer(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr("minilora.cli.plots._save", lambda figure, file: saved.append(figure))
    spectra = [np.array([3.0, 1e-2, 2e-9, 0]), np.array([2.0, 1.0])]
    plot_spectra({f"a.kind.{i}": spectra for i in range(14)}, "Title", tmp_path / "x.png")
    panels = [axis for axis in saved[0].axes if axis.axison]
    assert len(panels) == 12
    assert "2 more kinds are not shown" in saved[0].get_suptitle()
    for axis in panels:
        assert axis.get_yscale() == "log"
        assert [line.get_xdata().tolist() for line in axis.lines] == [[1, 2], [1, 2]]
        assert [line.get_ydata().tolist() for line in axis.lines] == [[3.0, 1e-2], [2.0, 1.0]]


@pytest.mark.parametrize("config, layers", [(LORA, lora_layers), (HRA_CONFIG, hra_layers)])
def test_the_figure_is_written(config, layers, checkpoint, tmp_path, rng):
    file = tmp_path / "spectra.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, lines = printed(checkpoint(layers(rng), config), plot=file)
    assert lines[-1] == f"wrote {file}"
    image = matplotlib.image.imread(file)
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 20


def test_a_name_of_a_stranger_is_no_formula_of_the_figure(checkpoint, tmp_path, rng):
    printed(checkpoint(lora_layers(rng, name=r"$\frac$.{}"), LORA), plot=tmp_path / "x.png")
    plot_spectra({"kind": [np.ones(2)]}, r"$\frac$", tmp_path / "y.png")
    assert (tmp_path / "x.png").exists() and (tmp_path / "y.png").exists()


def test_where_no_layer_can_be_measured_there_is_no_figure(checkpoint, tmp_path):
    layers = {QUERY.format(0): {"U": np.zeros((10, 4))}}
    _, lines = printed(checkpoint(layers, HRA_CONFIG), plot=tmp_path / "x.png")
    assert lines[-1] == "No figure: no layer could be measured."
    assert not (tmp_path / "x.png").exists()


def test_the_folder_of_the_figure_is_made(checkpoint, tmp_path, rng):
    file = tmp_path / "new" / "folder" / "x.png"
    assert main(["inspect", str(checkpoint(lora_layers(rng), LORA)), "--plot", str(file)]) == 0
    assert file.exists()


@pytest.mark.parametrize(
    "W, why",
    [
        (np.ones((7, 10)), r"shape \(7, 10\), but"),
        (np.ones((12, 10), int), "int64, which is not a float type"),
    ],
)
def test_a_base_whose_layers_do_not_fit_says_why(W, why, checkpoint, base, rng):
    layers = lora_layers(rng)
    with pytest.raises(ValueError, match=rf"such as model\.layers\.0\.attn\.q_proj \({why}"):
        printed(checkpoint(layers, LORA), base(dict.fromkeys(layers, W)))


# ---- The command


def refused(arguments, capsys):
    """The message with which main refuses these arguments."""
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", *map(str, arguments)])
    captured = capsys.readouterr()
    assert stopped.value.code == 2
    assert captured.out == ""
    usage, message = captured.err.rsplit(": error: ", 1)
    assert usage.startswith("usage: minilora inspect")
    return message.strip()


def test_the_command_prints_it(checkpoint, base, tmp_path, rng, capsys):
    layers = lora_layers(rng)
    folder = checkpoint(layers, LORA)
    model = base({name: rng.standard_normal((12, 10)) for name in layers})
    file = tmp_path / "spectra.png"
    assert main(["inspect", str(folder), "--base", str(model), "--plot", str(file)]) == 0
    _, lines = printed(folder, model)
    assert capsys.readouterr().out.splitlines() == [*lines, f"wrote {file}"]
    assert file.exists()


def test_mistakes_end_with_one_message(checkpoint, base, tmp_path, rng, capsys):
    folder = checkpoint(lora_layers(rng), LORA)
    model = base({"other.0": np.ones((12, 10))})
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "adapter_config.json" in refused([empty], capsys)
    assert str(tmp_path / "none") in refused([folder, "--base", tmp_path / "none"], capsys)
    assert "base must have the layers, such as" in refused([folder, "--base", model], capsys)
    message = refused([folder, "--plot", tmp_path / "figure.gif"], capsys)
    assert message.startswith("argument --plot: must end in .png, got ")
    (tmp_path / "file").write_text("kept")
    message = refused([folder, "--plot", tmp_path / "file" / "figure.png"], capsys)
    assert message.startswith("argument --plot: cannot write into ")
    (folder / ARRAYS).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    assert "git lfs pull" in refused([folder], capsys)


def test_all_characters_can_be_spelled_out(checkpoint, base, rng):
    """For a pipe of Windows or of ASCII: nothing turns into a question mark."""
    for config, layers in ((LORA, lora_layers(rng)), (HRA_CONFIG, hra_layers(rng, 4))):
        model = base({name: rng.standard_normal((12, 10)) for name in layers})
        _, lines = printed(checkpoint(layers, config), model)
        text = "\n".join(lines).encode("ascii", "minilora.spelled_out").decode()
        assert "?" not in text
        assert "sigma1^2 / Sigmasigma^2" in text or config is HRA_CONFIG  # "sigma12" means σ₁₂
