"""What `python -m minilora` shows: a network pretrained, seen to fail, adapted, and compared."""
