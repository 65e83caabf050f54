# Solutions to the exercises of lesson 6, "HRA". Each answer comes first; what it shows in the lesson's own
# networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: two vectors 45° apart; the reversed product turns the other way, because it is the inverse.
import numpy as np


def turn_vectors(degrees):
    half = np.deg2rad(degrees) / 2
    return np.array([np.cos(half), np.sin(half)]), np.array([1.0, 0.0])


# %% tags=["hide-cell"]
east, north_east = np.array([1.0, 0.0]), np.array([1.0, 1.0]) / np.sqrt(2)
quarter = reflection(north_east) @ reflection(east)
print(np.round(quarter, 12))
assert np.allclose(quarter @ [1, 0], [0, 1]) and np.allclose(quarter @ [0, 1], [-1, 0])
assert np.allclose(reflection(east) @ reflection(north_east), quarter.T)
assert np.allclose(turn_vectors(90), (north_east, east))

# %% tags=["hide-cell"]
# Solution 2: the same reflections in reverse order undo the chain, and orthogonal maps do not amplify rounding.
from minilora import HRA


def take_out(merged, U):
    reversed_order = U[:, ::-1].astype(merged.dtype)
    return HRA(U.shape[1]).merge({"U": reversed_order}, {"W": merged})


# %% tags=["hide-cell"]
original, trained = network["layers.1.W"], hra_params["layers.1.W"]["U"]
there_and_back = original
for _ in range(50):
    merged = HRA(8).merge({"U": trained}, {"W": there_and_back})
    there_and_back = take_out(merged, trained)
gap = np.linalg.norm(there_and_back - original) / np.linalg.norm(original)
print(f"after 50 rounds (800 reflections): relative error {gap:.0e}")
assert 1e-7 < gap < 1e-5 and np.linalg.norm(merged - original) / np.linalg.norm(original) > 0.1

# %% tags=["hide-cell"]
# Solution 3: a half turn swaps 72 pairs of pixels; each swap is a reflection along e_i − e_j, and these are orthogonal.
import numpy as np


def strict_vectors(H):
    values, vectors = np.linalg.eigh(H)  # H = I − 2P has the eigenvalue −1 on the columns of U
    return vectors[:, values < 0]


# %% tags=["hide-cell"]
half_turn = turn @ turn
assert np.array_equal(half_turn, np.eye(144)[::-1])
assert np.array_equal(half_turn @ half_turn, np.eye(144))
# A quarter turn is not its own inverse, so I − 2P cannot be it
assert not np.array_equal(turn @ turn, np.eye(144))
swaps = (np.eye(144) - np.eye(144)[::-1])[:, :72]
assert np.array_equal(HRAStrict(72).merge({"U": swaps}, {"W": np.eye(144)}).round(12), half_turn)
found = strict_vectors(half_turn)
assert found.shape == (144, 72) and np.allclose(np.eye(144) - 2 * found @ found.T, half_turn)
to_test["upside down"] = draw_letters(rng, ROTATED._replace(angle=180.0), 100)
flipped = HRAStrict(72).merge({"U": swaps}, {"W": W0}).astype(np.float32)
before = score(networks[0], "upside down")
after = score(networks[0] | {"layers.0.W": flipped}, "upside down")
print(f"upside down: {before:.1f} % before, {after:.1f} % with 72 reflections, never trained")
assert before < 50 and abs(after - score(networks[0], "sans")) < 2
