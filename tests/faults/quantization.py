"""Faults for minilora/quantization.py, each of which its tests must catch."""

FILE = "quantization.py"
TESTS = "test_quantize.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('np.linspace(last, 0.5, 8)[:-1]]', 'np.linspace(last, 0.5, 9)[1:-1]]'),
    ('for p in np.linspace(0.5, last, 9)[1:]]', 'for p in np.linspace(0.5, last, 8)[1:]] + [2.0]'),
    ('_MIDPOINTS = (LEVELS[1:] + LEVELS[:-1]) / 2', '_MIDPOINTS = LEVELS[1:]'),
    ('[np.repeat(LEVELS, 16), np.tile(LEVELS, 16)]', '[np.tile(LEVELS, 16), np.repeat(LEVELS, 16)]'),
    ('return linear(np.asarray(self), x)', 'return x @ np.asarray(self).T'),
    ('_PAIRS.astype(self.dtype)', '_PAIRS'),
    ('.ravel()[: self.size]', '.ravel()'),
    ('return np.asarray(self)[index]', 'return np.asarray(self).T[index]'),
    ('return self.codes.nbytes + self.absmax.nbytes', 'return self.codes.nbytes'),
    ('return 8 * self.nbytes / self.size', 'return 8 * self.nbytes / (2 * self.codes.size)'),
    ('np.minimum(self.mean + offset, ', 'np.minimum(offset, '),
    ('self.steps.astype(np.float64)', 'self.steps'),
    ('+ self.steps.nbytes + self.mean.nbytes', '+ self.steps.nbytes'),
    ('    if not hasattr(W, "dtype"):', '    if False:'),
    ('np.ma.isMaskedArray(W) or ', ''),
    ('mean = np.mean(absmax, dtype=np.float64).astype(np.float32)', 'mean = np.float32(0)'),
    ('centred = absmax.astype(np.float64) - mean', 'centred = absmax.astype(np.float64)'),
    ('np.maximum.reduceat(np.abs(values),', 'np.maximum.reduceat(values,'),
    ('np.repeat(units, min(block, size))', 'np.repeat(units, block)'),
    ('np.where(units > 0, units, 1)', 'units'),
    ('np.minimum(self.mean + offset, np.finfo(np.dtype(dtype)).max)', 'self.mean + offset'),
    ('    dense = np.asarray(W)\n', '    if isinstance(W, Quantized):\n        return W\n    dense = np.asarray(W)\n'),
    ('np.asarray(self)[index]', 'np.asarray(self)[np.asarray(index)]'),
]  # fmt: skip
