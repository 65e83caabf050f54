"""The same step in Hugging Face PEFT: a torch module, `get_peft_model`, `torch.optim.Adam`."""

import numpy as np
import torch
from cells import BLOCKS, HEADS, LAYERS, RANK
from peft import HRAConfig, LoraConfig, get_peft_model
from torch import nn
from torch.nn import functional

torch.set_num_threads(1)


class MLP(nn.Module):
    """minilora.models.mlp."""

    def __init__(self, weights):
        super().__init__()
        self.layers = nn.ModuleList([linear(weights, f"layers.{layer}") for layer in range(LAYERS)])

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = layer(functional.relu(x) if i else x)
        return x


class Attention(nn.Module):
    def __init__(self, weights, name):
        super().__init__()
        self.q, self.k, self.v, self.o = (linear(weights, f"{name}.{part}") for part in "qkvo")

    def forward(self, x):
        n, length, width = x.shape
        q, k, v = (
            part(x).view(n, length, HEADS, -1).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(n, length, width))


class Block(nn.Module):
    def __init__(self, weights, name):
        super().__init__()
        self.attention = Attention(weights, f"{name}.attention")
        self.up, self.down = (linear(weights, f"{name}.ffn.{part}") for part in ("up", "down"))
        self.norm1, self.norm2 = (norm(weights, f"{name}.{part}") for part in ("norm1", "norm2"))

    def forward(self, h):
        h = h + self.attention(self.norm1(h))
        return h + self.down(functional.relu(self.up(self.norm2(h))))


class Transformer(nn.Module):
    """minilora.models.transformer."""

    def __init__(self, weights):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.tensor(weights["embedding"]))
        self.positions = nn.Parameter(torch.tensor(weights["positions"]))
        self.blocks = nn.ModuleList([Block(weights, f"blocks.{block}") for block in range(BLOCKS)])
        self.norm = norm(weights, "norm")

    def forward(self, tokens):
        h = self.embedding(tokens) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            h = block(h)
        return functional.linear(self.norm(h), self.embedding.weight)


def linear(weights, name):
    W, b = weights[f"{name}.W"], weights.get(f"{name}.b")
    layer = nn.Linear(W.shape[1], W.shape[0], bias=b is not None)
    return loaded(layer, weight=W, **({} if b is None else {"bias": b}))


def norm(weights, name):
    gain, bias = weights[f"{name}.gain"], weights[f"{name}.bias"]
    return loaded(nn.LayerNorm(len(gain)), weight=gain, bias=bias)


def loaded(layer, **arrays):
    layer.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return layer


class Trainer:
    """A model with its adapters and one batch.

    params: {name: {letter: array}} of LoRA or HRA, or PEFT's own start.
    """

    def __init__(self, cell, method, weights, data, params=None):
        torch.set_default_dtype(
            torch.tensor(weights["layers.0.W" if cell.model == "MLP" else "embedding"]).dtype
        )
        model = (MLP if cell.model == "MLP" else Transformer)(weights)
        targets = [name.removesuffix(".W") for name in cell.adapted]
        if method == "LoRA":
            config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets)
        else:
            config = HRAConfig(r=RANK, apply_GS=method == "strict HRA", target_modules=targets)
        self.model = get_peft_model(model, config)
        modules = dict(self.model.base_model.model.named_modules())
        self.trained = {}
        for name in cell.adapted:
            layer = modules[name.removesuffix(".W")]
            if method == "LoRA":
                own = {"A": layer.lora_A["default"].weight, "B": layer.lora_B["default"].weight}
            else:
                own = {"U": layer.hra_u["default"]}
            for letter, parameter in own.items() if params else ():
                parameter.data.copy_(torch.tensor(params[name][letter]))
            self.trained[name] = own
        self.data = [torch.tensor(array) for array in data]
        self.rng = np.random.default_rng(0)
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        assert len(parameters) == sum(len(own) for own in self.trained.values())
        self.optimiser = torch.optim.Adam(parameters, lr=1e-4)

    def loss(self, x, labels):
        logits = self.model(x)
        return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))

    def gradient(self):
        """The loss and {name: {letter: gradient}} before the first step."""
        loss = self.loss(*self.data)
        loss.backward()
        grads = {
            n: {letter: p.grad.numpy() for letter, p in own.items()}
            for n, own in self.trained.items()
        }
        return float(loss.detach()), grads

    def train(self, steps):
        """So many steps: draw the rows, forward, backward, Adam."""
        batch = len(self.data[0])
        for _ in range(steps):
            rows = torch.from_numpy(self.rng.integers(batch, size=batch))
            loss = self.loss(*(array[rows] for array in self.data))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            assert np.isfinite(loss.item())
