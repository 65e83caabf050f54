"""The referee: what every adapter promises, and three ways to check an adapter of your own.

    pytest --adapter mymodule:MyAdapter            in the folder of mymodule.py
    check_adapter(MyAdapter)                       in a script or a test of your own
    tests/test_contract.py                         for the adapters of this package

`python -m minilora.testing` prints the promises. Importing this package imports nothing else.
"""

from importlib import import_module

__all__ = ["ContractError", "Report", "check_adapter"]


def __getattr__(name):
    """A public name from its file (PEP 562), so that the pytest plugin starts without NumPy."""
    if name not in __all__:
        raise AttributeError(f"module 'minilora.testing' has no attribute {name!r}")
    return getattr(import_module("minilora.testing.referee"), name)
