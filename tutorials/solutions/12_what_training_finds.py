# Solutions to the exercises of lesson 12, "What training finds". Each answer comes first. What it shows on the
# lesson's own networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: representation, optimisation, representation. A learning rate of 0.05 mends the second.
import autograd.numpy as np


def two_failures(W, T, trained, r):
    squares = np.linalg.svd(T - W, compute_uv=False) ** 2
    possible = np.sqrt(np.sum(squares[r:]) / np.sum(squares))
    reached = np.sqrt(np.sum((trained - T) ** 2) / np.sum(squares))
    return float(possible), float(reached - possible)


# %% tags=["hide-cell"]
W = rng.standard_normal((d, d)) / d**0.5
low, scaled = teacher.low_rank(rng, W, 2), teacher.scaled_rows(rng, W, d)
for adapter, best, T, lr, failure in (
    (LoRA(1), reachable.best_lora, low, 0.05, "representation"),
    (LoRA(2), reachable.best_lora, low, 0.001, "optimisation"),
    (HRA(8), reachable.best_hra, scaled, 0.1, "representation"),
):
    _, possible = best_possible(best, W, T, adapter.rank)
    trained, _ = trained_distance(adapter, W, T, rng, 200, lr)
    print(f"{adapter}, lr {lr}: possible {possible:.2f}, trained {trained:.2f}, so {failure}")
    assert (possible > 0.3 and trained - possible < 0.02) == (failure == "representation")
    assert (possible < 1e-9 and trained > 0.3) == (failure == "optimisation")
possible, more = two_failures(W, low, W, 1)  # W itself, not trained at all
assert np.isclose(possible, best_possible(reachable.best_lora, W, low, 1)[1])
assert np.isclose(possible + more, 1)
mended, _ = trained_distance(LoRA(2), W, low, rng, 200, lr=0.05)
print(f"LoRA of rank 2 with lr 0.05: {mended:.3f}")
assert mended < 0.05

# %% tags=["hide-cell"]
# Solution 2: on one layer the gradient finds all columns. In the network, over ten tasks, it finds three times as many
# as chance does, and in the task that we train the error falls with them.
import autograd.numpy as np


def columns_by_gradient(W, x, y, r):
    gradient = 2 / len(x) * (x @ W.T - y).T @ x
    longest = np.argsort(-np.linalg.norm(gradient, axis=0))[:r]
    return tuple(sorted(longest.tolist()))


# %% tags=["hide-cell"]
from minilora.train import value_and_grad

W = rng.standard_normal((24, 24)) / 24**0.5
T = teacher.few_columns(rng, W, 4)
x = rng.standard_normal((1000, 24))
changed = np.flatnonzero(np.any(T != W, axis=0))
assert columns_by_gradient(W, x, x @ T.T, 4) == tuple(changed)


def squared_error(weights, x, y):
    """The mean squared error of the plain network."""
    error = mlp(weights, x) - y
    return np.sum(error * error) / len(x)


counts = []
for _ in range(10):
    task = teacher.teacher_task(rng, teacher.few_columns, 4, count=1500)
    student, taught, x, y = task
    _, gradient = value_and_grad(squared_error, student, x[:1000], y[:1000])
    right, chosen = columns_that_changed(student, taught), {}
    for name in right:
        lengths = np.linalg.norm(gradient[name], axis=0)
        chosen[name] = SBoRAFA(4, cols=tuple(np.argsort(-lengths)[:4].tolist()))
    counts.append(sum(len(set(chosen[name].cols) & set(right[name].cols)) for name in right))
print("columns found, of 12, where chance finds 2:", counts)
assert 4 < np.mean(counts) < 9
outcome = {}
for name, adapters in (
    ("random", {LAYERS: SBoRAFA(4)}),
    ("by gradient", chosen),
    ("the right ones", right),
):
    outcome[name], _, _ = learn(task, adapters, rng, 300, 0.06)
print("the last task:", {name: f"{error:.3f}" for name, error in outcome.items()})
assert outcome["the right ones"] < outcome["by gradient"] < outcome["random"]

# %% tags=["hide-cell"]
# Solution 3: the best B is E Aᵀ, and B A = E Aᵀ A = E_r: with this A the best LoRA is a linear problem. In the network
# it is ahead after 30 steps in every draw, and after 150 neither is ahead in all draws.
import autograd.numpy as np


def informed(G, E, r):
    A = np.linalg.svd(G)[2][:r]
    return A, E @ A.T


# %% tags=["hide-cell"]
E, size = rng.standard_normal((d, d)), 2
A, B = informed(-E, E, size)
tail = np.linalg.svd(E, compute_uv=False)[size:]
assert abs(np.linalg.norm(B @ A - E) - np.linalg.norm(tail)) < 1e-10

ratios = {30: [], 150: []}
for seed in range(5):
    own_rng = np.random.default_rng(seed)
    task = teacher.teacher_task(own_rng, teacher.low_rank, size, count=1500)
    student, _, x, y = task
    attached = attach(student, {LAYERS: LoRA(size)}, rng=own_rng)
    _, gradient = value_and_grad(squared_error, student, x[:1000], y[:1000])
    begin = {}
    for name, own in attached.params.items():
        A, _ = informed(gradient[name], -gradient[name], size)
        begin[name] = own | {"A": A}  # B stays 0
    for steps, found in ratios.items():
        blind, _ = train(task, attached, attached.params, own_rng, steps, lr=0.05)
        seeing, _ = train(task, attached, begin, own_rng, steps, lr=0.05)
        found.append(seeing / blind)
for steps, found in ratios.items():
    print(f"{steps} steps: error with the gradient's start / with LoRA's own:", np.round(found, 2))
assert max(ratios[30]) < 1
assert min(ratios[150]) < 1 < max(ratios[150])
