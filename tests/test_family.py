"""The family keeps the contract, and each merge is its paper's equation, written in loops."""

import inspect
import subprocess
import sys

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from support.watched import Watched
from test_layout import code_lines

import minilora.family as family
from minilora import attach, init_mlp
from minilora.adapters import LoRA
from minilora.cli.family import make
from minilora.testing import check_adapter
from minilora.testing.trials import moved

CLASS_LIMIT = 25  # lines of code: no docstrings, comments or blank lines
ADAPTERS = [name for name in family.__all__ if name != "BitFit"]
MADE = {name: make(getattr(family, name), 2) for name in ADAPTERS} | {
    "BOFT": family.BOFT(block=2, factors=2)
}


def product(*matrices):
    """A product of matrices, entry by entry."""
    result = matrices[0]
    for other in matrices[1:]:
        entries = np.zeros((len(result), other.shape[1]), result.dtype)
        for i, j in np.ndindex(entries.shape):
            entries[i, j] = sum(result[i, k] * other[k, j] for k in range(len(other)))
        result = entries
    return result


def ia3(adapter, W, params, frozen):
    return np.array([l * row for l, row in zip(params["l"], W)])  # noqa: E741


def dora(adapter, W, params, frozen):
    V = W + adapter.scale * product(params["B"], params["A"])
    return np.array([m * row / np.sqrt(sum(row * row)) for m, row in zip(params["m"], V)])


def svf(adapter, W, params, frozen):
    """The eigenvectors of WᵀW are the right singular vectors: W v is σ u."""
    changed = W.copy()
    for z, v in zip(params["z"], frozen["Vt"]):
        changed = changed + (z - 1) * np.outer(W @ v, v)
    return changed


def lora_fa(adapter, W, params, frozen):
    return W + adapter.scale * product(params["B"], frozen["A"])


def lora_xs(adapter, W, params, frozen):
    """U_r diag(σ_r) is W V_r, so B R A is W V_r R V_rᵀ."""
    A = frozen["A"]
    return W + adapter.scale * product(W, A.T, params["R"], A)


def vera(adapter, W, params, frozen):
    changed = W.copy()
    for i, j in np.ndindex(W.shape):
        for k in range(adapter.rank):
            low = params["d"][k] * frozen["A"][k, j]
            changed[i, j] += params["b"][i] * frozen["B"][i, k] * low
    return changed


def randlora(adapter, W, params, frozen):
    tall = W if W.shape[0] >= W.shape[1] else W.T
    changed = tall.copy()
    for B, own, gamma in zip(frozen["B"], params["lambda"], params["gamma"]):
        for i, j in np.ndindex(tall.shape):
            terms = (B[i, k] * own[k] * frozen["A"][k, j] for k in range(adapter.rank))
            changed[i, j] += adapter.scale * gamma[j] * sum(terms)
    return changed if tall is W else changed.T


def pissa(adapter, W, params, frozen):
    """The frozen part is what the first r singular values leave of W."""
    _, vectors = np.linalg.eigh(W.T @ W)
    last = vectors[:, ::-1][:, adapter.rank :]
    update = adapter.scale * product(params["B"], params["A"])
    return W @ last @ last.T + update


def loha(adapter, W, params, frozen):
    factors = [product(params[f"B{i}"], params[f"A{i}"]) for i in (1, 2)]
    return W + adapter.scale * factors[0] * factors[1]


def lokr(adapter, W, params, frozen):
    C, D = params["C"], product(params["B"], params["A"])
    changed = W.copy()
    for a, b in np.ndindex(C.shape):
        for i, j in np.ndindex(D.shape):
            changed[a * len(D) + i, b * D.shape[1] + j] += adapter.scale * C[a, b] * D[i, j]
    return changed


def cayley(q, b):
    """(I − Q)⁻¹ (I + Q), where q fills Q above the diagonal row by row."""
    Q, entries = np.zeros((b, b)), iter(q)
    for i in range(b):
        for j in range(i + 1, b):
            Q[i, j] = next(entries)
            Q[j, i] = -Q[i, j]
    return np.linalg.inv(np.eye(b) - Q) @ (np.eye(b) + Q)


def rotation(Q, order, b):
    """The whole matrix R of one factor."""
    R = np.eye(len(order))
    for block, q in enumerate(Q):
        own = order[block * b : (block + 1) * b]
        small = cayley(q, b)
        for i, j in np.ndindex(b, b):
            R[own[i], own[j]] = small[i, j]
    return R


def oft(adapter, W, params, frozen):
    d_in = W.shape[1]
    return W @ rotation(params["Q"], range(d_in), min(adapter.block, d_in))


def boft(adapter, W, params, frozen):
    """A block of factor k: a run of b / 2 inputs, and the run that is 2^k runs further on."""
    d_in = W.shape[1]
    b = min(adapter.block, d_in)
    for k, Q in enumerate(params["Q"]):
        order = []
        for group in range(0, d_in, b * 2**k):
            inputs = list(range(group, min(group + b * 2**k, d_in)))
            if len(inputs) < b * 2**k or k == 0:
                order += inputs
                continue
            runs = [inputs[i : i + b // 2] for i in range(0, len(inputs), b // 2)]
            for i in range(2**k):
                order += runs[i] + runs[i + 2**k]
        W = W @ rotation(Q, order, b)
    return W


def shira(adapter, W, params, frozen):
    changed = W.copy()
    for i, row in enumerate(frozen["cols"]):
        for column, v in zip(row, params["v"][i]):
            changed[i, column] += v
    return changed


FORMULAS = {
    "IA3": ia3,
    "DoRA": dora,
    "SVF": svf,
    "LoRAFA": lora_fa,
    "LoRAXS": lora_xs,
    "VeRA": vera,
    "RandLoRA": randlora,
    "PiSSA": pissa,
    "LoHa": loha,
    "LoKr": lokr,
    "OFT": oft,
    "BOFT": boft,
    "SHiRA": shira,
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_promise_is_kept_and_merge_is_the_formula(name):
    report = check_adapter(getattr(family, name), formula=FORMULAS[name])
    assert report.lines[-1].number == "P16"
    broken = [line.number for line in report.lines if line.verdict != "holds"]
    assert broken == {"PiSSA": ["P12"], "RandLoRA": ["P11"]}.get(name, [])


SCALED = [name for name in ADAPTERS if "alpha" in getattr(family, name).__dataclass_fields__]


@pytest.mark.parametrize("name", SCALED)
def test_the_scale_is_alpha_over_r_in_forward_and_in_merge(name):
    check_adapter(getattr(family, name), args={"alpha": 5.0}, formula=FORMULAS[name])


def test_randlora_has_bases_enough_for_full_rank(rng):
    params, frozen = family.RandLoRA(2).init(rng, np.zeros((7, 5)))
    moved = {name: rng.standard_normal(array.shape) for name, array in params.items()}
    assert np.linalg.matrix_rank(family.RandLoRA(2).merge(moved, frozen)) == 5


# {(class, array): its scale for a W (d_out, d_in), rank r and LoKr's small factor (o, i)}; the
# arrays that are drawn, with the root of their variance, and those of one value.
DRAWN = {
    ("LoRAFA", "A"): lambda d_out, d_in, r, i: d_in**-0.5,
    ("VeRA", "A"): lambda d_out, d_in, r, i: d_in**-0.5,
    ("VeRA", "B"): lambda d_out, d_in, r, i: r**-0.5,
    ("RandLoRA", "A"): lambda d_out, d_in, r, i: min(d_out, d_in) ** -0.5,
    ("RandLoRA", "B"): lambda d_out, d_in, r, i: r**-0.5,
    ("LoHa", "A1"): lambda d_out, d_in, r, i: 1.0,
    ("LoHa", "A2"): lambda d_out, d_in, r, i: 1.0,
    ("LoHa", "B1"): lambda d_out, d_in, r, i: 0.1,
    ("LoKr", "A"): lambda d_out, d_in, r, i: 1.0,
    ("LoKr", "B"): lambda d_out, d_in, r, i: (i / d_in) ** 0.5,
    ("DoRA", "A"): lambda d_out, d_in, r, i: d_in**-0.5,
}
CONSTANT = {
    ("VeRA", "d"): lambda d_out, d_in: 0.1,
    ("RandLoRA", "gamma"): lambda d_out, d_in: 1 / max(d_out, d_in),
    ("IA3", "l"): lambda d_out, d_in: 1.0,
    ("SVF", "z"): lambda d_out, d_in: 1.0,
}
NOT_SQUARE = [(64, 400), (400, 64)]


@pytest.mark.parametrize("shape", NOT_SQUARE)
@pytest.mark.parametrize(("name", "array"), DRAWN)
def test_what_is_drawn_has_the_variance_of_the_docstring(name, array, shape, rng):
    """Within 15 %, which is more than three deviations for the smallest array."""
    params, frozen = getattr(family, name)(64).init(rng, np.ones(shape))
    i = params["C"].shape[1] if name == "LoKr" else None
    found = np.std((params | frozen)[array])
    assert found == pytest.approx(DRAWN[name, array](*shape, 64, i), rel=0.15)


@pytest.mark.parametrize("shape", NOT_SQUARE)
@pytest.mark.parametrize(("name", "array"), CONSTANT)
def test_what_is_not_drawn_starts_as_the_docstring_says(name, array, shape, rng):
    start = make(getattr(family, name), 8).init(rng, rng.standard_normal(shape))[0][array]
    assert np.all(start == CONSTANT[name, array](*shape))


@pytest.mark.parametrize("name", ADAPTERS)
def test_no_two_arrays_are_drawn_alike(name, rng):
    params, frozen = MADE[name].init(rng, rng.standard_normal((6, 6)))
    arrays = [array for array in (params | frozen).values() if np.size(array) and np.ndim(array)]
    drawn = [array for array in arrays if np.unique(array).size > 2]
    for i, one in enumerate(drawn):
        assert not any(np.array_equal(one, other) for other in drawn[:i])


@pytest.mark.parametrize("name", ADAPTERS)
def test_forward_never_asks_for_the_matrix_of_a_weight(name, rng):
    W = Watched(rng.standard_normal((6, 6)))
    params, frozen = MADE[name].init(rng, W)
    W.asked = 0
    MADE[name].forward(params, frozen, rng.standard_normal((2, 6)))
    assert W.asked == 0


@pytest.mark.parametrize("size", [1e-8, 1e-4, 1e4])
def test_dora_starts_at_w_however_short_its_rows_are(size, rng):
    W = size * rng.standard_normal((4, 3))
    adapter = family.DoRA(1)
    np.testing.assert_allclose(adapter.merge(*adapter.init(rng, W)), W, rtol=1e-9)


@pytest.mark.parametrize("name", family.__all__)
def test_a_class_fits_on_a_screen_and_names_its_paper(name, tmp_path):
    cls = getattr(family, name)
    file = tmp_path / "cls.py"
    file.write_text(inspect.getsource(cls), encoding="utf-8")
    assert code_lines(file) <= CLASS_LIMIT, "a class is one idea: split it, or leave it out"
    assert "arXiv" in cls.__doc__


def test_bitfit_trains_biases_and_refuses_a_matrix(rng):
    weights = init_mlp(rng, widths=(4, 5, 3))
    attached = attach(weights, {"*.b": family.BitFit()}, rng=rng)
    assert attached.trainable == 5 + 3
    moved = {name: {"W": own["W"] + 1} for name, own in attached.params.items()}
    merged = attached.merge(moved)
    assert np.array_equal(merged["layers.0.b"], weights["layers.0.b"] + 1)
    assert np.array_equal(merged["layers.0.W"], weights["layers.0.W"])
    with pytest.raises(ValueError, match=r"^W must be a bias \(d_out,\), got shape \(5, 4\)"):
        family.BitFit().init(rng, weights["layers.0.W"])
    with pytest.raises(ValueError, match=r"^W must be a bias \(d_out,\), got shape \(2, 2, 2\)"):
        family.BitFit().init(rng, np.zeros((2, 2, 2)))


@pytest.mark.parametrize(
    ("make", "start"),
    [
        (lambda: family.OFT(block=1), "block must be an integer from 2"),
        (lambda: family.BOFT(factors=0), "factors must be an integer from 1"),
        (lambda: family.BOFT(block=3), "block must be even, got 3"),
        (lambda: family.VeRA(rank=0), "rank must be an integer from 1"),
        (lambda: family.SHiRA(rank=1.5), "rank must be an integer from 1"),
        (lambda: family.LoKr(rank=2, alpha=-1), "alpha must be a positive number"),
    ],
)
def test_an_impossible_setting_is_refused(make, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        make()


@pytest.mark.parametrize("name", ["LoRAXS", "PiSSA"])
def test_a_rank_beyond_the_matrix_is_refused(name, rng):
    with pytest.raises(ValueError, match=r"^rank must be an integer from 1 to 3, got 4"):
        getattr(family, name)(4).init(rng, np.ones((5, 3)))


def test_the_orthogonal_ones_keep_the_singular_values_and_the_lengths_of_rows(rng):
    W = rng.standard_normal((5, 9))
    for adapter in (family.OFT(block=4), family.BOFT(block=2, factors=3)):
        params, frozen = adapter.init(rng, W)
        merged = adapter.merge({"Q": rng.standard_normal(params["Q"].shape)}, frozen)
        assert np.linalg.norm(merged - W) > 1
        before, after = (np.linalg.svd(M, compute_uv=False) for M in (W, merged))
        np.testing.assert_allclose(after, before, rtol=1e-12)
        np.testing.assert_allclose(np.sum(merged**2, axis=1), np.sum(W**2, axis=1), rtol=1e-12)


def test_the_butterfly_pairs_runs_of_half_a_block():
    """FFT's butterfly for b = 2; for b = 4 runs of two; what is left of a group stays in order."""
    W = np.eye(8)
    _, frozen = family.BOFT(block=2, factors=3).init(None, W)
    assert frozen["orders"].tolist() == [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [0, 2, 1, 3, 4, 6, 5, 7],
        [0, 4, 1, 5, 2, 6, 3, 7],
    ]
    _, frozen = family.BOFT(block=4, factors=2).init(None, np.eye(11))
    assert frozen["orders"][1].tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 10]


def test_one_factor_of_boft_is_oft(rng):
    W = rng.standard_normal((5, 10))
    Q = rng.standard_normal((2, 6))
    boft, oft = family.BOFT(block=4, factors=1), family.OFT(block=4)
    one = boft.merge({"Q": Q[None]}, boft.init(rng, W)[1])
    np.testing.assert_array_equal(one, oft.merge({"Q": Q}, oft.init(rng, W)[1]))


def test_each_factor_of_a_butterfly_mixes_twice_as_many_inputs(rng):
    """With b = 2, m factors let an input reach 2^m outputs of R; m = log2(d_in) makes R dense."""
    for m in (1, 2, 3):
        adapter = family.BOFT(block=2, factors=m)
        params, frozen = adapter.init(rng, np.eye(8))
        params = moved(rng, params)
        R = adapter.merge(params, frozen)
        assert np.all(np.count_nonzero(np.abs(R) > 1e-12, axis=0) == 2**m)
        found = adapter.forward(
            params, frozen, np.eye(8)
        ).T  # its order is its own inverse for m < 3
        np.testing.assert_allclose(found, R, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ADAPTERS)
def test_merge_has_a_gradient(name, rng):
    """As merge of the library's own adapters has, so that a loss may look at W' itself."""
    W = rng.standard_normal((6, 8))
    adapter = MADE[name]
    params, frozen = adapter.init(rng, W)
    params = moved(rng, params)

    def loss(params):
        return anp.sum(anp.sin(adapter.merge(params, frozen)))

    slopes = autograd.grad(loss)(params)
    for letter, array in params.items():
        step = 1e-6 * rng.standard_normal(array.shape)
        ends = [loss({**params, letter: array + sign * step / 2}) for sign in (1, -1)]
        np.testing.assert_allclose(np.sum(slopes[letter] * step), ends[0] - ends[1], atol=1e-12)


COUNTS = {  # at rank 2 on W (6, 8), or as in MADE
    "IA3": 6,
    "DoRA": 2 * (6 + 8) + 6,
    "SVF": 6,
    "LoRAFA": 2 * 6,
    "LoRAXS": 2 * 2,
    "VeRA": 2 + 6,
    "RandLoRA": 3 * (2 + 6),
    "PiSSA": 2 * (6 + 8),
    "LoHa": 2 * 2 * (6 + 8),
    "LoKr": 2 * 2 + 2 * (6 // 2 + 8 // 2),
    "OFT": 8 * 3 // 2,
    "BOFT": 2 * 8 // 2,
    "SHiRA": 6 * (2 * (6 + 8) // 6),
}
RANKS = {  # of W' − W after random training on W (6, 8); 5: a rotation is I on one dimension less
    **dict.fromkeys(ADAPTERS, 6),
    **{"LoRAFA": 2, "LoRAXS": 2, "VeRA": 2, "PiSSA": 4, "LoHa": 4, "LoKr": 4},
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_count_and_rank_are_the_closed_forms(name, rng):
    """The rank for generic W and params: seeds here."""
    W = rng.standard_normal((6, 8))
    params, frozen = MADE[name].init(rng, W)
    assert sum(array.size for array in params.values()) == COUNTS[name]
    merged = MADE[name].merge(moved(rng, params), frozen)
    assert np.linalg.matrix_rank(merged - W, tol=1e-9) == RANKS[name]


def test_loha_reaches_a_rank_above_its_own_and_lora_does_not(rng):
    W = np.zeros((9, 9))
    ranks = {}
    for adapter in (family.LoHa(2), LoRA(4)):  # as many trainable parameters
        params, frozen = adapter.init(rng, W)
        moved = {name: rng.standard_normal(array.shape) for name, array in params.items()}
        ranks[type(adapter).__name__] = np.linalg.matrix_rank(adapter.merge(moved, frozen))
    assert ranks == {"LoHa": 4, "LoRA": 4}
    params, frozen = family.LoHa(3).init(rng, W)
    moved = {name: rng.standard_normal(array.shape) for name, array in params.items()}
    assert np.linalg.matrix_rank(family.LoHa(3).merge(moved, frozen)) == 9


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_row_or_column_of_zeros_is_no_obstacle(name, rng):
    W, x = rng.standard_normal((6, 4)), rng.standard_normal((3, 4))
    W[1], W[:, 2] = 0, 0
    adapter = MADE[name]
    start, frozen = adapter.init(rng, W)
    assert np.allclose(adapter.merge(start, frozen), W, rtol=0, atol=1e-12)

    def total(params):
        return anp.sum(adapter.forward(params, frozen, x) ** 2)

    params = moved(rng, start)
    assert np.allclose(adapter.forward(params, frozen, x), x @ adapter.merge(params, frozen).T)
    for own in (start, params):
        gradient = autograd.grad(total)(own)
        assert all(np.all(np.isfinite(array)) for array in gradient.values())


def test_importing_the_library_imports_no_member_of_the_family():
    code = "import sys, minilora.adapters, minilora.family; "
    code += "sys.exit(any(name.startswith('minilora.family.') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_boft_takes_a_matrix_of_one_column(rng):
    W = rng.standard_normal((2, 1))
    np.testing.assert_array_equal(family.BOFT().merge(*family.BOFT().init(rng, W)), W)


def test_bitfit_refuses_a_list(rng):
    with pytest.raises(ValueError, match=r"^W must be"):
        family.BitFit().init(rng, [1.0])


@pytest.mark.parametrize(
    ("shape", "small"), [((4, 9), (2, 3)), ((16, 8), (4, 2)), ((7, 1), (1, 1))]
)
def test_lokrs_small_factor_is_as_square_as_it_can_be(shape, small, rng):
    assert family.LoKr(1).init(rng, np.ones(shape))[0]["C"].shape == small
