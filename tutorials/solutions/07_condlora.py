# Solutions to the exercises of lesson 7, "CondLoRA". Each answer comes first; what it shows in the lesson's own
# networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: sharing divides by the number of layers, so equally many parameters buy 32 times the rank.
def sharing_counts(layers, kinds, d, rank):
    lora = layers * kinds * rank * 2 * d
    condlora = kinds * rank * 2 * d
    return lora, condlora, lora // (kinds * 2 * d)


# %% tags=["hide-cell"]
layers, kinds, d, rank = 32, 2, 4096, 8
lora_count = layers * kinds * rank * (d + d)
condlora_count = kinds * rank * (d + d)
rank_for_the_same = lora_count // (kinds * (d + d))
print(
    f"LoRA {lora_count:,}, CondLoRA {condlora_count:,}; "
    f"CondLoRA of rank {rank_for_the_same} costs as much as LoRA"
)
assert (lora_count, condlora_count, rank_for_the_same) == (4_194_304, 131_072, 256)
assert sharing_counts(layers, kinds, d, rank) == (4_194_304, 131_072, 256)

# %% tags=["hide-cell"]
# Solution 2: φ compares spaces and is blind to R; one Θ for all must hit the matrices themselves.
import numpy as np


def alike_without_recipe(Ws, r):
    Theta = np.eye(r, len(Ws[0]))
    return [(-1) ** layer * Theta @ W for layer, W in enumerate(Ws)]  # R_l is 1 or −1


# %% tags=["hide-cell"]
R = {name: rng.standard_normal((8, 8)) for name in names}
old = {name: As["fraktur", name] for name in names}
for name in names:
    B = Bs["fraktur", name]
    assert np.allclose(B @ np.linalg.inv(R[name]) @ (R[name] @ old[name]), B @ old[name], atol=1e-8)
outcome = {}
for made, given in (("trained", old), ("planted", {name: shared @ W for name, W in Ws.items()})):
    for turned, version in (
        ("as it is", given),
        ("turned by R", {name: R[name] @ A for name, A in given.items()}),
    ):
        spaces = {name: np.linalg.solve(Ws[name].T, version[name].T) for name in names}
        similarity = np.mean([phi(spaces[one], spaces[two]) for one, two in pairs])
        outcome[made, turned] = (
            similarity,
            one_for_all([W.T for W in Ws.values()], [A.T for A in version.values()]),
        )
        print(
            f"{made} {turned:11}: φ = {similarity:.4f}, one Θ leaves {outcome[made, turned][1]:.3f}"
        )
    assert np.isclose(outcome[made, "as it is"][0], outcome[made, "turned by R"][0], rtol=1e-3)
assert outcome["planted", "as it is"][1] < 1e-8 and outcome["planted", "turned by R"][1] > 0.5
made = alike_without_recipe(list(Ws.values()), 8)
spaces = [np.linalg.solve(W.T, A.T) for W, A in zip(Ws.values(), made)]
similarity = np.mean([phi(one, two) for one, two in combinations(spaces, 2)])
left = one_for_all([W.T for W in Ws.values()], [A.T for A in made])
print(f"with a minus in every second layer: φ = {similarity:.4f}, one Θ leaves {left:.3f}")
assert np.isclose(similarity, 1) and left > 0.5

# %% tags=["hide-cell"]
# Solution 3: CondLoRA becomes the teacher and finds its very M; a tied pair, with as many parameters, stays far off.
import numpy as np


def shared_recipe(Ws, deltas):
    d_out, d_in = Ws[0].shape
    rows = np.concatenate([np.kron(W, W.T) for W in Ws])
    wanted = np.concatenate([delta.ravel() for delta in deltas])
    M, *_ = np.linalg.lstsq(rows, wanted, rcond=None)
    return M.reshape(d_in, d_out)


# %% tags=["hide-cell"]
import autograd.numpy as anp

from minilora.data import teacher

student, taught, x, y = teacher.teacher_task(
    rng, teacher.shared_conversion, 2, widths=(12, 12, 12, 12)
)
inverse = np.linalg.inv(student["layers.0.W"])
M = inverse @ (taught["layers.0.W"] - student["layers.0.W"]) @ inverse
errors, trained = {}, {}
for label, adapter in (("CondLoRA", CondLoRA(2)), ("tied LoRA", LoRA(2))):
    attached = attach(student, {"layers.*.W": adapter}, rng=rng, key=kind)

    def squares(params, x, y, attached=attached):
        return anp.sum((mlp(attached.bind(params), x) - y) ** 2) / y.size

    params = fit(squares, attached.params, (x, y), rng=rng, steps=1000, batch=64, lr=3e-2)
    trained[label] = params["layers.*.W"]
    result = attached.bind(params)
    errors[label] = np.linalg.norm(mlp(result, x) - y) / np.linalg.norm(y)
    print(f"{label:9} {attached.trainable} parameters: error {errors[label]:.1e}")
found_matrix = trained["CondLoRA"]["Theta_B"].T @ trained["CondLoRA"]["Theta_A"]
print(f"relative error of M itself: {np.linalg.norm(found_matrix - M) / np.linalg.norm(M):.1e}")
assert np.linalg.norm(found_matrix - M) < 1e-4 * np.linalg.norm(M)
assert errors["CondLoRA"] < 1e-4 and errors["tied LoRA"] > 0.2
own = [student[f"layers.{i}.W"] for i in range(3)]
deltas = [taught[f"layers.{i}.W"] - W for i, W in enumerate(own)]
computed = shared_recipe(own, deltas)
assert np.linalg.norm(computed - M) < 1e-8 * np.linalg.norm(M)
assert np.allclose(computed, solve_shared_conversion(own, deltas)[0])
