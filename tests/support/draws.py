"""Whether random numbers have the distribution that they should: its shape, not its size alone.

Each check allows what chance does once in a thousand seeds, or less.
"""

import math
from collections import Counter
from statistics import NormalDist

import numpy as np


def assert_normal(draws, deviation):
    """Independent draws from N(0, deviation²), a matrix with at least 64 rows and 64 columns.

    Mean, variance and distribution function are those; no two rows and no two columns are alike.
    """
    z = np.asarray(draws, np.float64) / deviation
    n = z.size
    assert min(z.shape) >= 64
    assert abs(np.mean(z)) < 4 / math.sqrt(n)
    assert abs(np.mean(z * z) - 1) < 4 * math.sqrt(2 / n)
    assert_uniform([NormalDist().cdf(value) for value in z.ravel()], 0, 1)
    for M in (z, z.T):
        products = M @ M.T / math.sqrt(M.shape[1])
        assert np.max(np.abs(products - np.diag(np.diag(products)))) < 6.5


def assert_uniform(draws, low, high):
    """Draws from all numbers between low and high alike: by the two distribution functions."""
    shares = (np.sort(draws, axis=None) - low) / (high - low)
    n = len(shares)
    assert shares[0] >= 0
    assert shares[-1] <= 1
    assert np.max(np.abs(shares - (np.arange(n) + 0.5) / n)) < 1.95 / math.sqrt(n)


def assert_equally_often(draws, kinds):
    """Draws from all of the kinds alike, and from nothing else: by how often each occurs."""
    counts = Counter(draws)
    assert set(counts) == set(kinds)
    total = counts.total()
    p = 1 / len(counts)
    deviation = math.sqrt(total * p * (1 - p))
    assert max(abs(count - total * p) for count in counts.values()) < 4.5 * deviation


def haar(rng, d):
    """A random orthogonal matrix, uniform over both signs of the determinant."""
    Q, R = np.linalg.qr(rng.standard_normal((d, d)))
    return Q * np.sign(np.diag(R))
