"""Faults for minilora/peft/files.py, each of which its tests must catch."""

FILE = "peft/files.py"
TESTS = "test_peft.py test_peft_broken.py"
FAULTS = [  # (original, mutant)
    ('    check_named_weights(weights)\n', ''),
    ('.read_text("utf-8")', '.read_text("latin-1")'),
    ('    except Exception as error:', '    except ValueError as error:'),
    ('    except Exception as error:', '    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:'),
    ('glob.escape(name): adapter', 'name: adapter'),
    ('return replace(attached, params=params)', 'return attached'),
    ('    if not isinstance(folder, (str, os.PathLike)):\n', '    if False:\n'),
    ('    if not isinstance(attached, Attached):\n', '    if False:\n'),
    ('    if not attached.adapters:\n', '    if False:\n'),
    ('attached.params if params is None else params', 'attached.params'),
    ('    attached.bind(params)  # raises for params of something else\n', ''),
    ('        from_peft(parse_json(text), unpack(content), attached.weights, layers)\n', ''),
    ('    except ValueError as error:\n        problem = "attached', '    except OSError as error:\n        problem = "attached'),
    ('folder.mkdir(parents=True, exist_ok=True)', 'folder.mkdir(exist_ok=True)'),
    ('folder.mkdir(parents=True, exist_ok=True)', 'folder.mkdir(parents=True)'),
    ('            Path(aside, name).write_bytes(content)\n', '            (folder / name).write_bytes(content)\n            Path(aside, name).write_bytes(content)\n'),
    ('                undo.callback(os.replace, old, target)\n', ''),
    ('                undo.callback(target.unlink, missing_ok=True)\n', '                pass\n'),
    ('undo.callback(target.unlink, missing_ok=True)', 'undo.callback(target.unlink)'),
    ('        undo.pop_all()\n', ''),
]  # fmt: skip
