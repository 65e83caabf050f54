"""Faults for minilora/cli/letters.py, each of which its tests must catch."""

FILE = "cli/letters.py"
TESTS = "test_cli.py test_cli_comparison.py"
FAULTS = [  # (original, mutant)
    ('f"{results[0].trainable:,}"', 'f"{results[0].trainable + 1:,}"'),
    ('mlp(attached.merge(params), ', 'mlp(weights, '),
    ('{100 * before:.1f} → {100 * after:.1f}', '{100 * after:.1f} → {100 * before:.1f}'),
    ('accuracy=accuracy(logits, labels)', 'accuracy=_accuracy_on(weights, task.to_test)'),
    (', key=kind),\n)', ', ),\n)'),
    ('    check_folder(options.out, _FIGURES)\n', ''),
    ('    show.raise_error()\n', ''),
    ('    finally:  # whatever', '    except ZeroDivisionError:  # whatever'),
    ('{table(rows)}', '{rows}'),
]  # fmt: skip
