"""Names from `minilora` itself, and what happens when one types what another library takes."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import minilora
from minilora import LoRA, SBoRAFB, attach, cross_entropy, fit, init_mlp, mlp, value_and_grad

PRIMITIVES = [
    "matvec",
    "gather",
    "scatter",
    "add_at",
    "relu",
    "standardise",
    "softmax",
    "cross_entropy",
]


def test_importing_the_package_imports_nothing():
    code = "import sys, minilora; sys.exit('numpy' in sys.modules or 'autograd' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_all_names_are_offered_before_any_is_imported():
    code = "import sys, minilora; sys.exit(not set(minilora.__all__) <= set(dir(minilora)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_exported_name_is_what_its_file_defines_after_every_module_is_imported():
    """Importing a submodule binds its name in the package: no exported name may be a module's."""
    for module in pkgutil.walk_packages(minilora.__path__, "minilora."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name, home in minilora._MODULE_OF.items():
        value = getattr(minilora, name)
        assert value is getattr(importlib.import_module(f"minilora.{home}"), name)
        assert not inspect.ismodule(value), name
        assert name in dir(minilora)
        assert value.__doc__, name


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match=r"'Lora'.*LoRA"):
        _ = minilora.Lora
    with pytest.raises(ImportError, match="Lora"):
        from minilora import Lora  # noqa: F401


@pytest.mark.parametrize("name", PRIMITIVES)
def test_help_of_a_primitive_shows_its_signature_and_its_source(name):
    op = getattr(importlib.import_module("minilora.ops"), name)
    assert "args" not in inspect.signature(op).parameters
    assert f"def {name}(" in inspect.getsource(op)
    assert op.__module__ == "minilora.ops"


@pytest.fixture
def weights(rng):
    return init_mlp(rng, (4, 6, 3))


@pytest.fixture
def attached(weights, rng):
    return attach(weights, {"*.W": LoRA(2)}, rng=rng)


def test_the_words_of_peft_are_explained():
    with pytest.raises(
        TypeError, match=r"LoRA takes rank, alpha, scaling \(PEFT's r is rank.*unexpected.*'r'"
    ):
        LoRA(r=8, lora_alpha=16)


def test_an_error_of_a_users_scaling_is_not_explained_away():
    with pytest.raises(TypeError) as caught:
        LoRA(2, scaling=lambda alpha: alpha)
    assert "PEFT" not in str(caught.value)


def test_a_subclass_without_a_decorator_is_told_so_and_no_other():
    class Mine(LoRA):
        pass

    with pytest.raises(TypeError, match="own, Mine needs @dataclass"):
        Mine(2, extra=1)
    with pytest.raises(TypeError, match=r"is alpha\):"):
        LoRA(r=1)


def test_help_of_an_adapter_shows_its_arguments():
    assert list(inspect.signature(LoRA).parameters) == ["rank", "alpha", "scaling"]
    assert list(inspect.signature(SBoRAFB).parameters) == ["rank", "alpha", "scaling", "rows"]


def test_value_and_grad_as_in_jax_says_how_it_is_called_here():
    with pytest.raises(TypeError, match=r"value_and_grad\(loss, params"):
        value_and_grad(lambda params: 0.0)


def test_one_adapter_without_a_pattern_says_what_to_type(weights, rng):
    with pytest.raises(TypeError, match=r'attach\(weights, {"\*.W": LoRA\(rank=4\)}, rng=rng\)'):
        attach(weights, LoRA(4), rng=rng)


def test_a_positional_rng_says_what_to_type(weights, rng):
    with pytest.raises(TypeError, match="rng by name"):
        attach(weights, {"*.W": LoRA(4)}, rng)


def test_an_attached_is_no_model_and_says_so(attached):
    x = np.ones((2, 4), np.float32)
    with pytest.raises(TypeError, match=r"model\(attached.bind\(params\), x\)"):
        attached(x)
    with pytest.raises(ValueError, match=r"weights must be a dict.*attached.bind\(params\)"):
        mlp(attached, x)


def test_fit_with_loose_arrays_says_what_to_type(attached, rng):
    def loss(params, x, labels):
        return cross_entropy(mlp(attached.bind(params), x), labels)

    x = np.ones((5, 4), np.float32)
    labels = np.zeros(5, int)
    settings = {"steps": 2, "batch": 3, "lr": 0.1}
    with pytest.raises(TypeError, match=r"fit\(loss, params, \(x, y\), rng=rng"):
        fit(loss, attached.params, x, labels, rng=rng, **settings)
    with pytest.raises(ValueError, match=r"rng must be.*np.random.default_rng\(0\)"):
        fit(loss, attached.params, (x, labels), rng=0, **settings)


def test_fit_hands_back_the_losses(attached, rng):
    def loss(params, x, labels):
        return cross_entropy(mlp(attached.bind(params), x), labels)

    losses = []
    data = rng.standard_normal((5, 4)).astype(np.float32), np.array([0, 1, 2, 0, 1])
    fit(loss, attached.params, data, rng=rng, steps=30, batch=5, lr=0.1, record=losses.append)
    assert len(losses) == 30
    assert all(type(value) is float for value in losses)
    first = []
    settings = {"steps": 1, "batch": 5, "lr": 0.1, "record": first.append}
    fit(loss, attached.params, data, rng=np.random.default_rng(0), **settings)
    rows = np.random.default_rng(0).integers(5, size=5)
    assert first == [float(loss(attached.params, data[0][rows], data[1][rows]))]


def test_an_attached_can_be_pickled(attached):
    import pickle

    assert str(pickle.loads(pickle.dumps(attached))) == str(attached)
