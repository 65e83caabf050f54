"""Boxes for theorems and questions. A Sphinx extension.

In a script, in a notebook and on a forge a box is a quotation that begins with bold words:

    # > **Theorem (Eckart–Young).** For every matrix of rank k …
    #
    # > **What do you expect?** The error of rank 3 is
    # > - (a) zero,
    # > - (b) as large as the third singular value.

On the site it gets a class by its first word, and minilora.css gives it a border and a colour.
"""

from docutils import nodes

KINDS = {
    "Theorem": "theorem",
    "Lemma": "theorem",
    "Proposition": "theorem",
    "Corollary": "theorem",
    "Definition": "theorem",
    "What": "question",
}


def kind(quote):
    """The class of a quotation's box, or None if it does not begin with bold words that we know."""
    texts = [
        text for text in quote.findall(nodes.Text) if text.strip()
    ]  # the parser adds empty ones
    if not texts or not isinstance(texts[0].parent, nodes.strong):
        return None
    return KINDS.get(texts[0].replace(".", " ").split()[0])


def mark_boxes(app, document):
    """Give every box of a page its classes."""
    for quote in document.findall(nodes.block_quote):
        if kind(quote):
            quote["classes"] += ["box", kind(quote)]


def setup(app):
    """Called by Sphinx."""
    app.connect("doctree-read", mark_boxes)
    return {"parallel_read_safe": True}
