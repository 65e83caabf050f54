"""A Transformer as a table of sizes: what is needed to know the shape of each of its linear maps.

    q           (q_width, width)        gate, up    (hidden, width)
    k, v        (kv_width, width)       gate_up     (2 hidden, width)
    qkv         (q_width + 2 kv_width, width)
    o           (width, q_width)        down        (width, hidden)

A fused matrix, qkv or gate_up, is one part, because an adapter on it is one adapter: with rank r,
LoRA on qkv has one A of r rows for all three, while separate q, k and v have one each.
"""

from typing import NamedTuple


class Architecture(NamedTuple):
    """A Transformer as a table of sizes: layers that are alike, each with the same few linear maps.

    stack      where the layers are, "model.layers" for "model.layers.31.mlp.up_proj.weight"
    names      part -> name within a layer, "up" -> "mlp.up_proj"
    layers     how many there are
    width      of the vectors between the layers
    q_width    of the queries of all heads together, often equal to width
    kv_width   of the keys, and of the values; less than q_width where several heads share them
    hidden     width inside the MLP
    total      all parameters of the released model, also embeddings, norms and biases
    counted    whose parameters total counts, a class of Hugging Face's transformers
    """

    stack: str
    names: dict
    layers: int
    width: int
    q_width: int
    kv_width: int
    hidden: int
    total: int
    counted: str = ""

    def shapes(self, targets=None):
        """{name: (d_out, d_in)} of the linear maps of every layer, all of these or some.

        targets: any of q k v o (attention) and gate up down (MLP; BERTs have no gate), or qkv and
        gate_up where the model has fused them, as a list, or as a string if all have one letter:
        ["q", "up"], "qv". None means all.

        DeBERTa's maps of relative positions are not among them.

        The shape is that of W in y = W x, also for GPT-2, which stores Wᵀ.

        Raises ValueError for any other target, and for none.
        """
        parts = list(self.names) if targets is None else self._parts(targets)
        shape_of = self.shapes_in_a_layer()
        found = {}
        for layer in range(self.layers):
            for part in parts:
                found[f"{self.stack}.{layer}.{self.names[part]}.weight"] = shape_of[part]
        return found

    def shapes_in_a_layer(self):
        """{part: (d_out, d_in)} of the parts that the model has."""
        shape_of = {
            "q": (self.q_width, self.width),
            "k": (self.kv_width, self.width),
            "v": (self.kv_width, self.width),
            "qkv": (self.q_width + 2 * self.kv_width, self.width),
            "o": (self.width, self.q_width),
            "gate": (self.hidden, self.width),
            "up": (self.hidden, self.width),
            "gate_up": (2 * self.hidden, self.width),
            "down": (self.width, self.hidden),
        }
        return {part: shape_of[part] for part in self.names}

    def _parts(self, targets):
        """The targets as a list. Raises ValueError unless there are some and the model has all."""
        known = f"targets must be any of {', '.join(self.names)}"
        try:
            parts = list(targets)
        except TypeError:
            raise ValueError(f"{known}, got {targets!r}") from None
        if parts and all(part in list(self.names) for part in parts):
            return parts
        given = ", ".join(map(str, parts)) or "none"
        words = targets.replace(",", " ").split() if isinstance(targets, str) else []
        if words and all(word in self.names for word in words):
            given = f"the letters of {targets!r}: try {words}"
        raise ValueError(f"{known}, got {given}")
