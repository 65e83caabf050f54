"""A BERT with a head on the mean of its tokens, as PEFT adapts it. Needs transformers."""

from support.tiny_bert import bert_of


def classifier_of(weights, heads):
    """transformers' BertModel with a mean over the tokens and a head, as a model for PEFT."""
    import torch

    plain = {name: W for name, W in weights.items() if not name.startswith("classifier")}
    model = bert_of(plain, heads)

    class Classifier(type(model)):
        def forward(self, tokens, mask):
            h = super().forward(tokens, attention_mask=mask).last_hidden_state
            kept = mask[:, :, None].to(h.dtype)
            return self.classifier((h * kept).sum(1) / kept.sum(1))

    model.__class__ = Classifier
    C, b = (torch.tensor(weights[f"classifier.{part}"]) for part in ("weight", "bias"))
    model.classifier = torch.nn.Linear(*C.shape[::-1], dtype=C.dtype)
    model.classifier.load_state_dict({"weight": C, "bias": b})
    return model


def peft_logits(model, tokens, mask):
    """Logits (N, classes) of such a model, with or without an adapter."""
    import torch

    with torch.no_grad():
        return model(torch.tensor(tokens).long(), torch.tensor(mask)).numpy()
