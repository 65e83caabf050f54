"""The command line: one file a command; `main.py` lists them and `python -m minilora` runs them."""
