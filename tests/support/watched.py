"""A weight that tells what is done with it."""

import numpy as np


class Watched:
    """A weight that counts how often its matrix is asked for."""

    def __init__(self, matrix):
        self.matrix, self.asked = matrix, 0
        self.shape, self.ndim, self.dtype = matrix.shape, matrix.ndim, matrix.dtype

    def __call__(self, x):
        return x @ self.matrix.T

    def __array__(self, dtype=None, copy=None):
        self.asked += 1
        return np.array(self.matrix, dtype)
