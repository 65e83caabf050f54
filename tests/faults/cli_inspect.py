"""Faults for minilora/cli/inspect.py, each of which its tests must catch."""

FILE = "cli/inspect.py"
TESTS = "test_inspect.py"
FAULTS = [  # (original, mutant)
    ('        if options.plot.suffix != ".png":', '        if False:'),
    ('        check_folder(options.plot.parent, [options.plot.name], argument="--plot")\n', ''),
    ('bool(config.get("fan_in_fan_out"))', 'False'),
    ('updates += measure(with_base, weights)[0]', 'updates += []'),
    ('for layer in [*layers, *updates]}', 'for layer in layers}'),
    ('        raise UsageError(printable(str(error))) from error', '        raise UsageError(str(error)) from error'),
    ('"\\n".join(map(printable, notes))', '"\\n".join(notes)'),
    ('shapes[name] = len(params["B"]), params["A"].shape[1]', 'shapes[name] = params["A"].shape[1], len(params["B"])'),
    ('for _, params in adapters.values() for array in params.values())', 'for _, params in list(adapters.values())[1:] for array in params.values())'),
    ('broken_of[kind(name)]', 'broken_of[name]'),
    ('        median = np.median([layer.norm for layer in group])', '        median = 1e-9'),
    ('    if layer.norm == 0:', '    if layer.norm < 0:'),
    ('if not low <= scale <= high:', 'if not low <= scale:'),
    ('layer.adapter.rank > min(layer.shape)', 'layer.adapter.rank > max(layer.shape)'),
    ('Counter(kind(name) for name in arrays)', 'Counter(arrays)'),
    ('(f" and {more} more" if more > 0 else "")', '""'),
    ('_plot(updates or rotations, ', '_plot(updates, '),
]  # fmt: skip
