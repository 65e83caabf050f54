"""Faults for minilora/architectures/counting.py, each of which its tests must catch."""

FILE = "architectures/counting.py"
TESTS = "test_architectures.py"
FAULTS = [  # (original, mutant)
    ('    _check_shapes(shapes)\n', ''),
    ('    if not callable(key):', '    if False:'),
    ('    except MemoryError:', '    except KeyError:'),
    ('        for size in shape:\n', '        for size in ():\n'),
    ('or not isinstance(shape, tuple)', 'or False'),
    ('np.broadcast_to(np.zeros((), self.dtype), self.shape)', 'np.zeros(self.shape, self.dtype)'),
    ('        check_width(x, self)\n', ''),
    ('np.shape(x)[:-1], self.shape[0])', 'np.shape(x)[:-1], self.shape[1])'),
    ('np.array(zeros, dtype, copy=copy)', 'zeros'),
]  # fmt: skip
