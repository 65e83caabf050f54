# Solutions to the exercises of lesson 9, "Expressive power II". Each answer comes first. What it shows on the
# lesson's own networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: random inputs may miss it altogether; the lowest point of each unit never does.
import autograd.numpy as np


def lowest_points(W, radius):
    return -radius * W / np.linalg.norm(W, axis=1, keepdims=True)


# %% tags=["hide-cell"]
W0, W1 = by_hand["layers.0.W"], by_hand["layers.1.W"]
c = 0.99 * by_hand["layers.0.b"]
x = ball(6, 1.0)
lowest = lowest_points(W0, 1.0)
clipped, all_six = (np.any(points @ W0.T + c < 0, axis=1) for points in (x, lowest))
at_lowest = relu(lowest @ W0.T + c) @ W1.T - (lowest @ W0.T + c) @ W1.T
print(
    f"clipped: {np.sum(clipped)} of {len(x)} random inputs, "
    f"and {np.sum(all_six)} of {len(lowest)} lowest points"
)
assert np.all(all_six)
assert np.mean(clipped) < 0.01
assert np.all(np.linalg.norm(at_lowest, axis=1) > 1e-3)


# %% tags=["hide-cell"]
# Solution 2: rank ⌈4/3⌉ = 2 with runs of 3 and 3, and no less with others: one of two runs has 3 layers at most. That
# is nine times the parameters of the target: the theorem is about rank, not about saving.
def network_price(width, depth, target_width, target_depth):
    shortest = depth // target_depth  # of the runs, when they are as equal as they can be
    rank = -(-target_width // shortest)
    trained = depth * (rank * 2 * width + width)
    return rank, trained, target_depth * (target_width**2 + target_width)


# %% tags=["hide-cell"]
weights, target = net(*[12] * 7), net(4, 4, 4)
partition = best_partition(weights, target)
rank = sufficient_rank(weights, target, partition)
assert rank == sufficient_rank(weights, target, (3, 3))
trained = attach(weights, {"*.W": LoRA(rank), "*.b": Full()}, rng=rng).trainable
size = sum(array.size for array in target.values())
print(f"partition {partition}, rank {rank}: {trained} parameters trained, the target has {size}")
assert rank == 2
assert trained == 6 * (2 * rank * 12 + 12)
assert trained == 9 * size
assert network_price(12, 6, 4, 2) == (rank, trained, size)

# %% tags=["hide-cell"]
# Solution 3: on the box max −g·x is the sum of the negative entries of g, made positive; each corner in turn is tested.
import autograd.numpy as np


def box_biases(W0, W1, b):
    c = np.sum(np.maximum(-W0, 0), axis=1)
    return c, b - W1 @ c


# %% tags=["hide-cell"]
c, c_1 = box_biases(W0, W1, b_bar)
on_ball = np.sqrt(6) * np.linalg.norm(W0, axis=1)
corners = np.array(np.meshgrid(*[[0.0, 1.0]] * 6)).reshape(6, -1).T
# Nothing is clipped, and there is nothing to spare.
assert np.allclose(np.min(corners @ W0.T + c, axis=0), 0)
boxed = {"layers.0.W": W0, "layers.0.b": c, "layers.1.W": W1, "layers.1.b": c_1}
x = np.concatenate([corners, rng.random((500, 6))])
print(
    f"error {worst(boxed, single, x):.0e}; "
    f"the ball's offsets are {np.sum(on_ball) / np.sum(c):.1f} times as large"
)
assert worst(boxed, single, x) < 1e-11
assert np.all(c < on_ball) and 2 < np.sum(on_ball) / np.sum(c) < 6
