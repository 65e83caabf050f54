"""Faults for minilora/cli/beside_base.py, each of which its tests must catch."""

FILE = "cli/beside_base.py"
TESTS = "test_inspect.py"
FAULTS = [  # (original, mutant)
    ('if np.ndim(array) == 2}', '}'),
    ('        if transposed and _fits(W.T, shapes[layer]):', '        if transposed:'),
    ('if W.dtype.kind != "f" or not np.all(np.isfinite(W)):', 'if False:'),
    ('        elif not _fits(W, shapes[layer]):', '        elif False:'),
    ('    if not weights:', '    if False:'),
    ('if f".{longer}".endswith(f".{shorter}"):', 'if longer.endswith(shorter[-1]):'),
    ('if layer in names or len(best) == 1:', 'if best:'),
    ('for layer, name in found.items() if used[name] == 1}', 'for layer, name in found.items()}'),
    ('        if seconds > left:', '        if False:'),
    ('        left -= seconds\n', ''),
    ('np.inf if full else _PATIENCE', '_PATIENCE'),
    ('f"{np.mean(shares):.2%}"', 'f"{np.max(shares):.2%}"'),
    ('    learned = [layer for layer in group if layer.norm > 0]', '    learned = list(group)'),
    ('narrow_product(layer.A.T, layer.B.T)', 'narrow_product(layer.B, layer.A)'),
    ('learned[i - 1]', 'layer'),
    ('matrices in across.items() if len(learned) > 1 else ():', 'matrices in across.items():'),
    ('count = len(learned) * (len(learned) - 1) // 2', 'count = len(learned)'),
    ('return W.astype(np.float32) if W.dtype == np.float16 else W', 'return W'),
    ('most = _DIRECTIONS[-1] + 1', 'most = 2'),
    ('W + layer.B @ layer.A, k', 'W, k'),
    ('    except ValueError:\n        return None', '    except ZeroDivisionError:\n        return None'),
    ('theta_B[2 * r :].T', 'theta_B[:r].T'),
    ('theta_A[r : 2 * r].T', 'theta_A[:r].T'),
    ('_DEVIATIONS * deviation / count**0.5', '_DEVIATIONS * deviation'),
]  # fmt: skip
