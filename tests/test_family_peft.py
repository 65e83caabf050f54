"""Where Hugging Face PEFT has a method of the family, it computes the same, gradients included.

One linear layer in float64, without a bias; params are random, the same on both sides. Needs the
extra [peft].
"""

import sys
import warnings

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from autograd.tracer import getval

import minilora.family as family

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
from peft.optimizers import create_lorafa_optimizer  # noqa: E402

D_OUT, D_IN = 12, 9
EXACT = 1e-10


def layer_of(config, W):
    """The adapted layer of PEFT on a linear layer with the weight W, and its trained tensors."""
    linear = torch.nn.Linear(W.shape[1], W.shape[0], bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(W))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(torch.nn.Sequential(linear), config).double()
    layer = model.base_model.model[0]
    layer.__dict__["owner"] = model  # no submodule
    trained = {
        name: tensor for name, tensor in layer.named_parameters() if "base_layer" not in name
    }
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(W))  # in float64
    return layer, trained


def short(name):
    """The part of a tensor's name that tells what it is: "lora_A" of lora_A.default.weight."""
    return name.split(".")[0]


def compare(adapter, config, ours, *, frozen=None, only=None, W=None):
    """Assert equal outputs and gradients. ours: {our param: (PEFT's tensor, function of it)}.

    The function makes our array of PEFT's; a second one does so for gradients. frozen: what to put
    into our frozen, from the layer. only: the params whose gradients are compared; all by default.
    """
    rng = np.random.default_rng(0)
    W = rng.standard_normal((D_OUT, D_IN)) if W is None else W
    layer, trained = layer_of(config, W)
    by_name = {short(name): tensor for name, tensor in trained.items()}
    with torch.no_grad():
        for tensor in trained.values():
            tensor.copy_(torch.tensor(0.3 * rng.standard_normal(tuple(tensor.shape))))
        if "boft_s" in by_name:
            by_name["boft_s"].fill_(1.0)  # a gain that only PEFT has
    _, own_frozen = adapter.init(rng, W)
    own_frozen |= frozen(layer) if frozen else {}
    params = {name: to(by_name[theirs].detach().numpy()) for name, (theirs, to, *_) in ours.items()}
    x, g = rng.standard_normal((5, W.shape[1])), rng.standard_normal((5, W.shape[0]))
    given = torch.tensor(x, requires_grad=True)
    output = layer(given)
    (output * torch.tensor(g)).sum().backward()

    def loss(params, x):
        return anp.sum(g * adapter.forward(params, own_frozen, x))

    np.testing.assert_allclose(
        adapter.forward(params, own_frozen, x), output.detach().numpy(), rtol=0, atol=EXACT
    )
    merged = adapter.merge(params, own_frozen)
    np.testing.assert_allclose(x @ merged.T, output.detach().numpy(), rtol=0, atol=EXACT)
    if only is None:
        for_x = grad(loss, 1)(params, x)
        np.testing.assert_allclose(for_x, given.grad.numpy(), rtol=0, atol=EXACT)
    found = grad(loss)(params, x)
    for name in only or ours:
        theirs, *functions = ours[name]
        expected = functions[-1](by_name[theirs].grad.numpy())
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=EXACT, err_msg=name)


def as_it_is(array):
    return array


def first(array):
    return array.reshape(-1)


def buffer(name):
    """A function from a layer to a buffer of PEFT as an array."""
    return lambda layer: getattr(layer, name)["default"].double().numpy()


def test_ia3():
    config = peft.IA3Config(target_modules=["0"], feedforward_modules=[])
    compare(family.IA3(), config, {"l": ("ia3_l", first)})


DORA = {
    "A": ("lora_A", as_it_is),
    "B": ("lora_B", as_it_is),
    "m": ("lora_magnitude_vector", first),
}


def test_dora_but_for_the_gradient_of_the_directions():
    """PEFT treats the lengths as constants in the gradients for A, B and x; m has the same."""
    config = peft.LoraConfig(target_modules=["0"], r=2, lora_alpha=6, use_dora=True)
    compare(family.DoRA(2, alpha=6), config, DORA, only=["m"])


def test_with_constant_lengths_every_gradient_is_peft_s():
    """What m / lengths (W x + s B A x) gives when the lengths are off the tape."""

    class Held(family.DoRA):
        def forward(self, params, frozen, x):
            off = {name: getval(array) for name, array in params.items()}
            V = frozen["W"] + self.scale * (off["B"] @ off["A"])
            y = x @ frozen["W"].T + self.scale * (x @ params["A"].T) @ params["B"].T
            return params["m"] / np.sqrt(np.sum(V * V, axis=1)) * y

    config = peft.LoraConfig(target_modules=["0"], r=2, lora_alpha=6, use_dora=True)
    compare(Held(2, alpha=6), config, DORA)


def test_lora_fa():
    """PEFT has it as an optimizer, which freezes A; it also changes the gradient for B."""
    rng = np.random.default_rng(4)
    W = rng.standard_normal((D_OUT, D_IN))
    layer, _ = layer_of(peft.LoraConfig(target_modules=["0"], r=3, lora_alpha=6), W)
    A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    with torch.no_grad():
        B.copy_(torch.tensor(rng.standard_normal((D_OUT, 3))))
    create_lorafa_optimizer(model=layer.owner, r=3, lora_alpha=6, lr=1e-3)
    assert not A.requires_grad
    x, g = rng.standard_normal((5, D_IN)), rng.standard_normal((5, D_OUT))
    output = layer(torch.tensor(x))
    (output * torch.tensor(g)).sum().backward()
    adapter = family.LoRAFA(3, alpha=6)
    frozen = {"W": W, "A": A.detach().numpy()}

    def loss(params):
        return anp.sum(g * adapter.forward(params, frozen, x))

    params = {"B": B.detach().numpy()}
    ours = adapter.forward(params, frozen, x)
    np.testing.assert_allclose(ours, output.detach().numpy(), rtol=0, atol=EXACT)
    np.testing.assert_allclose(grad(loss)(params)["B"], B.grad.numpy(), rtol=0, atol=EXACT)


def test_vera():
    config = peft.VeraConfig(target_modules=["0"], r=3)
    ours = {"b": ("vera_lambda_b", first), "d": ("vera_lambda_d", first)}

    def frozen(layer):
        A, B = buffer("vera_A")(layer), buffer("vera_B")(layer)
        return {"A": A[:, :D_IN], "B": B[:D_OUT]}

    compare(family.VeRA(3), config, ours, frozen=frozen)


@pytest.mark.parametrize("shape", [(12, 9), (9, 12)])
def test_randlora(shape):
    config = peft.RandLoraConfig(target_modules=["0"], r=4, randlora_alpha=6)
    ours = {
        "lambda": ("randlora_lambda", np.transpose),
        "gamma": ("randlora_gamma", as_it_is),
    }
    W = np.random.default_rng(1).standard_normal(shape)

    def frozen(layer):
        A, B = buffer("randlora_A")(layer), buffer("randlora_B")(layer)
        columns = B[: max(shape)].reshape((max(shape), -1))  # base by base
        B = columns.reshape((max(shape), 4, -1))  # as PEFT pairs them: number i of row k of A
        return {"A": A[:, 0, : min(shape)], "B": np.moveaxis(B, 2, 0)}

    compare(family.RandLoRA(4, alpha=6), config, ours, frozen=frozen, W=W)


def test_loha():
    config = peft.LoHaConfig(target_modules=["0"], r=2, alpha=6)
    ours = {
        "B1": ("hada_w1_a", as_it_is),
        "A1": ("hada_w1_b", as_it_is),
        "B2": ("hada_w2_a", as_it_is),
        "A2": ("hada_w2_b", as_it_is),
    }
    compare(family.LoHa(2, alpha=6), config, ours)


def test_lokr():
    config = peft.LoKrConfig(target_modules=["0"], r=1, alpha=6)
    ours = {
        "C": ("lokr_w1", as_it_is),
        "B": ("lokr_w2_a", as_it_is),
        "A": ("lokr_w2_b", as_it_is),
    }
    compare(family.LoKr(1, alpha=6), config, ours)


def test_oft_without_peft_s_series():
    config = peft.OFTConfig(target_modules=["0"], r=0, oft_block_size=3, use_cayley_neumann=False)
    compare(family.OFT(block=3), config, {"Q": ("oft_R", as_it_is)})


@pytest.fixture
def butterfly(monkeypatch):
    """PEFT's BOFT with more than one factor, which it has with CUDA only.

    Its kernel puts blocks on a diagonal; here torch does.
    """

    class BlockDiagonal:
        @staticmethod
        def apply(factors):
            return torch.stack([torch.block_diag(*blocks) for blocks in factors])

    module = sys.modules[peft.tuners.boft.layer.__name__]
    monkeypatch.setattr(module, "get_fbd_cuda", lambda: True)
    monkeypatch.setattr(module, "FastBlockDiag", BlockDiagonal)


@pytest.mark.parametrize(("b", "m", "d_in"), [(2, 1, 8), (2, 3, 8), (4, 2, 16), (4, 3, 16)])
def test_boft_with_peft_s_own_butterfly(b, m, d_in, butterfly):
    """PEFT takes the skew part of whole blocks: our gradient is that of q_ij minus that of q_ji."""
    W = np.random.default_rng(1).standard_normal((6, d_in))
    config = peft.BOFTConfig(target_modules=["0"], boft_block_size=b, boft_n_butterfly_factor=m)
    rows, columns = np.triu_indices(b, 1)

    def twice_skew(blocks):
        return blocks[..., rows, columns] - blocks[..., columns, rows]

    def skew(blocks):
        assert blocks.shape == (m, d_in // b, b, b)
        return twice_skew(blocks) / 2

    adapter = family.BOFT(block=b, factors=m)
    compare(adapter, config, {"Q": ("boft_R", skew, twice_skew)}, W=W)


def test_shira():
    rng = np.random.default_rng(2)
    k = (D_OUT + D_OUT) // D_OUT  # the same number in each row
    cols = np.argsort(rng.random((D_OUT, D_OUT)), axis=1)[:, :k]
    cols.sort(axis=1)
    mask = np.zeros((D_OUT, D_OUT))
    mask[np.arange(D_OUT)[:, None], cols] = 1

    def mask_fn(base_layer, r, **others):
        return torch.tensor(mask)

    config = peft.ShiraConfig(target_modules=["0"], r=1)
    config.mask_fn = mask_fn
    ours = {"v": ("shira_weight", lambda vector: vector.reshape(D_OUT, k))}
    W = rng.standard_normal((D_OUT, D_OUT))
    compare(family.SHiRA(1), config, ours, frozen=lambda layer: {"cols": cols}, W=W)


def test_pissa_starts_where_peft_starts():
    rng = np.random.default_rng(3)
    W = rng.standard_normal((D_OUT, D_IN))
    linear = torch.nn.Linear(D_IN, D_OUT, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(W))
    config = peft.LoraConfig(target_modules=["0"], r=2, lora_alpha=6, init_lora_weights="pissa")
    model = peft.get_peft_model(torch.nn.Sequential(linear), config)
    layer = model.base_model.model[0]
    params, frozen = family.PiSSA(2, alpha=6).init(rng, W)
    theirs = (layer.lora_B.default.weight @ layer.lora_A.default.weight).detach().numpy()
    np.testing.assert_allclose(params["B"] @ params["A"], theirs, atol=1e-5)  # PEFT's SVD: float32
    rest = layer.base_layer.weight.detach().numpy()
    np.testing.assert_allclose(frozen["R"], rest, atol=1e-5)
