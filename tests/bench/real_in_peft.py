"""The same step in Hugging Face PEFT: transformers' BertModel, `get_peft_model`, torch's Adam."""

import numpy as np
import torch
from cells import RANK
from peft import HRAConfig, LoraConfig, get_peft_model
from torch import nn
from torch.nn import functional
from transformers import BertModel
from transformers.utils import logging

torch.set_num_threads(1)
logging.set_verbosity_error()
logging.disable_progress_bar()
TARGETS = ["query", "value"]


class Classifier(nn.Module):
    """A BERT, the mean over the tokens of each sentence, and a head; no dropout."""

    def __init__(self, model):
        super().__init__()
        silent = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        self.bert = BertModel.from_pretrained(model, add_pooling_layer=False, **silent)
        self.classifier = nn.Linear(self.bert.config.hidden_size, 2)

    def forward(self, tokens, mask):
        h = self.bert(tokens, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(2).to(h.dtype)
        return self.classifier((h * weights).sum(1) / weights.sum(1))


class Trainer:
    """As that of real_here.py; each batch is padded to its longest sentence.

    model: a folder with config.json and model.safetensors. params: {key: {letter: array}} of
    real_here.py, or PEFT's own start.
    """

    def __init__(self, model, method, batches, dtype="float32", params=None):
        shared = {"r": RANK, "target_modules": TARGETS, "modules_to_save": ["classifier"]}
        if method == "LoRA":
            config = LoraConfig(lora_alpha=RANK, **shared)
        else:
            config = HRAConfig(apply_GS=False, **shared)
        self.model = get_peft_model(Classifier(model).to(getattr(torch, dtype)), config)
        self.model.to(getattr(torch, dtype))
        self.trained = trained(self.model, method)
        for key, own in params.items() if params else ():
            for letter, array in own.items():
                self.trained[key][letter].data.copy_(torch.tensor(array))
        self.batches = [trimmed(*batch) for batch in zip(*batches)]
        self.rng = np.random.default_rng(0)
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        assert len(parameters) == sum(len(own) for own in self.trained.values())
        self.optimiser = torch.optim.Adam(parameters, lr=1e-4)

    def loss(self, tokens, mask, labels):
        return functional.cross_entropy(self.model(tokens, mask), labels)

    def gradient(self):
        """The loss and {key: {letter: gradient}} of the first batch, before the first step."""
        loss = self.loss(*self.batches[0])
        loss.backward()
        grads = {
            key: {letter: parameter.grad.numpy() for letter, parameter in own.items()}
            for key, own in self.trained.items()
        }
        return float(loss.detach()), grads

    def train(self, steps):
        """So many steps: draw a batch, forward, backward, Adam."""
        for _ in range(steps):
            row = self.rng.integers(len(self.batches), size=1)[0]
            loss = self.loss(*self.batches[row])
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            assert np.isfinite(loss.item())


def trained(model, method):
    """{key: {letter: parameter}} under the keys that `attach` gives them."""
    found = {}
    for name, module in model.base_model.model.named_modules():
        key = f"{name.removeprefix('bert.')}.weight"
        if name.endswith(tuple(TARGETS)):
            if method == "LoRA":
                A, B = module.lora_A["default"].weight, module.lora_B["default"].weight
                found[key] = {"A": A, "B": B}
            else:
                found[key] = {"U": module.hra_u["default"]}
    head = model.base_model.model.classifier.modules_to_save["default"]
    return {**found, "classifier.weight": {"W": head.weight}, "classifier.bias": {"W": head.bias}}


def trimmed(tokens, mask, labels):
    """One batch as tensors, without the columns that are padding in every sentence."""
    length = int(mask.sum(axis=1).max())
    arrays = tokens[:, :length].astype(int), mask[:, :length].astype(int), labels
    return [torch.tensor(array) for array in arrays]
