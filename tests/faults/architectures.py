"""Faults for minilora/architectures.py, each of which its tests must catch."""

FILE = "architectures.py"
TESTS = "test_architectures.py"
FAULTS = [  # (original, mutant)
    ('"k": (self.kv_width, self.width)', '"k": (self.width, self.width)'),
    ('"v": (self.kv_width, self.width)', '"v": (self.width, self.kv_width)'),
    ('4096, 1024, 14_336', '4096, 4096, 14_336'),
    ('32, 4096, 4096, 11_008', '32, 4096, 4096, 11_080'),
    ('if parts and all(', 'if all('),
    ('            parts = list(targets)\n', '            parts = targets\n'),
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
