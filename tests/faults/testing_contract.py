"""Faults for minilora/testing/contract.py: a referee who looks away."""

FILE = "testing/contract.py"
TESTS = "test_own_adapter.py test_contract.py"
FAULTS = [  # (original, mutant)
    ('within(np.abs(y - linear(trial.W, trial.x)), tolerance * np.max(np.abs(trial.x)), "forward:")', 'exactly(True)'),
    ('within(np.abs(trial.adapter.merge(trial.start, trial.frozen) - trial.W), tolerance, "merge:")', 'exactly(True)'),
    ('within(error, _TOLERANCE[case.dtype] * scale, says)', 'exactly(True)'),
    ('exactly(np.shape(y) == expected.shape,', 'exactly(True,'),
    ('_LEADING_AXES = ((), (1,), (4,), (2, 3), (2, 1, 3), (0,))', '_LEADING_AXES = ((4,),)'),
    ('np.dtype(np.float32): 1e-5', 'np.dtype(np.float32): 1e-1'),
    ('within(abs(numeric - exact), tolerance,', 'within(0, tolerance,'),
    ('for name, array in arrays.items():', 'for name, array in trial.params.items():'),
    ('exactly(np.max(np.abs(grad)) > 1e-6,', 'exactly(True,'),
    ('trial.adapter.merge(trained, trial.frozen)\n    _check_unchanged(trial, before)', 'trial.adapter.merge(trained, trial.frozen)'),
    ('exactly(np.any(trained[name] != trial.start[name]),', 'exactly(True,'),
    ('exactly(array.dtype == case.dtype,', 'exactly(True,'),
    ('exactly(bits(first.start.get(name)) == bits(second.start.get(name)),', 'exactly(True,'),
    ('exactly(bits(first.frozen) == bits(second.frozen),', 'exactly(True,'),
    ('merged = trial.adapter.merge(trial.params, trial.frozen)\n    _check_unchanged(trial, before)', 'merged = trial.adapter.merge(trial.params, trial.frozen)'),
    ('exactly(not shares,', 'exactly(True,'),
    ('exactly(not large,', 'exactly(True,'),
    ('within(np.abs(one - other), 1e-13,', 'within(0, 1e-13,'),
    ('exactly(len(calls) > 0,', 'exactly(True,'),
    ('exactly(starts,', 'exactly(True,'),
    ('exactly(False, f"no ValueError was raised: {checks}")', 'exactly(True)'),
    ('| {"W": bits(trial.W_given)}', ''),
    ('trial.adapter.forward(trial.params, trial.frozen, trial.x)\n    _check_unchanged(trial, before)', 'trial.adapter.forward(trial.params, trial.frozen, trial.x)'),
    ('exactly(type(trial.adapter).__name__ in str(attached),', 'exactly(True,'),
    ('within(np.abs(grad - theirs[name][letter]), tolerance,', 'within(0, tolerance,'),
    ('within(np.abs(merged - expected), _TOLERANCE[case.dtype] * np.linalg.norm(merged))', 'exactly(True)'),
]  # fmt: skip
