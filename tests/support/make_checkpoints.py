"""Made the checkpoints in tutorials/checkpoints, with PEFT 0.21.2 and torch 2.13.

    cd tests && python -m support.make_checkpoints

The base model is the MLP of golden.py. PEFT saves every checkpoint from parameters in float64, or
in the dtype of its name; outputs.json holds what it computes with them in float64 after loading
them again. Those in `refused` use what minilora cannot represent, so they have no outputs.
"""

import json
from pathlib import Path

import peft
import torch
from transformers.pytorch_utils import Conv1D

from support.golden import DATA, INPUTS, WEIGHTS


class Net(torch.nn.Module):
    """The MLP with these weights, {"layers.0.W": …, "layers.0.b": …}, in torch and float64.

    `transposed` layers keep Wᵀ in place of W, as GPT-2 does.
    """

    def __init__(self, weights, transposed=()):
        super().__init__()
        self.layers = torch.nn.ModuleList()
        for i in range(len(weights) // 2):
            W, b = torch.tensor(weights[f"layers.{i}.W"]), torch.tensor(weights[f"layers.{i}.b"])
            self.layers.append(
                Conv1D(*W.shape)
                if i in transposed
                else torch.nn.Linear(*W.T.shape, dtype=torch.float64)
            )
            self.layers[i].weight.data = W.T.contiguous() if i in transposed else W
            self.layers[i].bias.data = b

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


class Convolution(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Conv2d(2, 3, 2)])


def save(model, config, folder, dtype=torch.float64, seed=0):
    """Give the model an adapter with random parameters of size 1, save it with PEFT, return it."""
    torch.manual_seed(seed)
    adapted = peft.get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape, dtype=torch.float64).to(dtype)
    adapted.save_pretrained(folder)
    Path(folder, "README.md").unlink()
    return adapted


def outputs(model, folder, inputs):
    """What PEFT computes with a checkpoint, in float64."""
    with torch.no_grad():
        return peft.PeftModel.from_pretrained(model, folder)(torch.tensor(inputs)).numpy()


ENDS = ["layers.0", "layers.2"]
PATTERNS = {
    "rank_pattern": {"0": 3, "layers.[12]": 1},
    "alpha_pattern": {"^layers.2": 9, "layers.0": 0.5},
}
CHECKPOINTS = {
    "lora": (peft.LoraConfig(r=2, lora_alpha=5, target_modules=ENDS), torch.float64),
    "lora_float32": (peft.LoraConfig(r=2, lora_alpha=5, target_modules=ENDS), torch.float32),
    "lora_float16": (peft.LoraConfig(r=2, lora_alpha=5, target_modules=ENDS), torch.float16),
    "lora_bfloat16": (peft.LoraConfig(r=2, lora_alpha=5, target_modules=ENDS), torch.bfloat16),
    "rslora": (
        peft.LoraConfig(r=2, lora_alpha=5, use_rslora=True, target_modules=ENDS),
        torch.float32,
    ),
    "patterns": (
        peft.LoraConfig(
            r=2, lora_alpha=5, target_modules=r"layers\.\d", use_rslora=True, **PATTERNS
        ),
        torch.float32,
    ),
    "fan_in_fan_out": (
        peft.LoraConfig(r=2, lora_alpha=3, target_modules=["layers.1"], fan_in_fan_out=True),
        torch.float32,
    ),
    "hra": (peft.HRAConfig(r=4, target_modules=ENDS), torch.float32),
    "hra_odd": (peft.HRAConfig(r=3, target_modules=ENDS, init_weights=False), torch.float32),
    "hra_apply_gs": (peft.HRAConfig(r=2, target_modules=ENDS, apply_GS=True), torch.float32),
    "hra_bfloat16": (peft.HRAConfig(r=2, target_modules=ENDS), torch.bfloat16),
    "modules_to_save": (
        peft.LoraConfig(r=2, target_modules=["layers.0"], modules_to_save=["layers.2"]),
        torch.float32,
    ),
    "bias": (peft.LoraConfig(r=2, target_modules=["layers.0"], bias="lora_only"), torch.float32),
    "bias_all": (
        peft.HRAConfig(r=2, target_modules=["layers.0"], bias="all", modules_to_save=["layers.2"]),
        torch.float32,
    ),
}
REFUSED = {
    "dora": peft.LoraConfig(r=1, target_modules=["layers.0"], use_dora=True),
    "lora_bias": peft.LoraConfig(r=1, target_modules=["layers.0"], lora_bias=True),
    "convolution": peft.LoraConfig(r=1, target_modules=["layers.0"]),
}


def base_of(name):
    return Net(WEIGHTS, transposed=[1] if name == "fan_in_fan_out" else [])


if __name__ == "__main__":
    for name, (config, dtype) in CHECKPOINTS.items():
        save(base_of(name), config, DATA / name, dtype)
    for name, config in REFUSED.items():
        save(
            Convolution() if name == "convolution" else base_of(name),
            config,
            DATA / "refused" / name,
            torch.float32,
        )
    reference = {name: outputs(base_of(name), DATA / name, INPUTS).tolist() for name in CHECKPOINTS}
    lines = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in reference.items()
    )
    (DATA / "outputs.json").write_text(f"{{\n{lines}\n}}\n")
