"""`python -m minilora.testing` prints the promises that every adapter keeps."""

from minilora.testing import contract

if __name__ == "__main__":
    print(contract.__doc__)
