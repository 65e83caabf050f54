"""The pytest plugin: `pytest --adapter MODULE:CLASS` checks an adapter's promises, in any folder.

It comes with the package, so pytest imports it in all runs. Unless a run asks for it, with an
--adapter that has a colon, it does nothing. It does not even add its options, which could collide
with those of somebody else.
"""

import os

_OPTIONS = {
    "adapter": ("MODULE:CLASS", "check this alone: a class or function of rank=, or an adapter"),
    "adapter-args": ("ARGS", 'more arguments, as Python literals: "rank=2, dropout=0.1"'),
    "formula": ("MODULE:FUNCTION", "compare merge with this (adapter, W, params, frozen) -> W'"),
    "report": ("FILE", "write what was found as JSON"),
}


def pytest_addoption(parser, pluginmanager):
    """Add the options to a run that asks for them."""
    words = pluginmanager.get_plugin("pytestconfig").invocation_params.args
    words = [*os.environ.get("PYTEST_ADDOPTS", "").split(), *map(str, words)]
    pairs = zip(words, [*words[1:], "none"])
    named = [after for word, after in pairs if word == "--adapter"]
    named += [word.partition("=")[2] for word in words if word.startswith("--adapter=")]
    if any(":" in name or not name for name in named):
        group = parser.getgroup("minilora", "the promises of an adapter (minilora)")
        for name, (metavar, says) in _OPTIONS.items():
            group.addoption(f"--{name}", dest=_dest(name), metavar=metavar, help=says)


def pytest_configure(config):
    """Import the adapter: an error ends the run with one sentence, before anything is collected."""
    options = {name: config.getoption(_dest(name), None) for name in _OPTIONS}
    if options["adapter"] is not None:
        from minilora.testing.door import configure

        configure(config, options)


def pytest_collection(session):
    """Collect the promises, and no test files. The controller of pytest-xdist collects nothing."""
    if session.config.getoption(_dest("adapter"), None) is None:
        return None
    from minilora.testing.door import collect

    return collect(session)


def _dest(name):
    """Where pytest keeps the value of an option; another plugin's of the same name is elsewhere."""
    return f"minilora_{name}"
