# Solutions to the exercises of lesson 4, "SBoRA". Each answer comes first. What it shows on the lesson's own
# networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: r min(d_out, d_in) for each matrix: FA for k, v and down, FB for up, and for q both are equal.
import numpy as np


def cheaper_side(shapes, budget):
    at_rank_1 = sum(min(shape) for shape in shapes.values())
    return at_rank_1, budget // at_rank_1


# %% tags=["hide-cell"]
cheaper, rank = cheaper_side(llama3, by_hand[0])
print(f"{32 * cheaper:,} at rank 32; LoRA's budget allows rank {rank}")
assert 32 * cheaper == 14_680_064 and rank == 123
assert 32 * cheaper == sum(
    min(count_trainable(method(32), {name: shape}) for method in (SBoRAFA, SBoRAFB))
    for name, shape in llama3.items()
)


# %% tags=["hide-cell"]
# Solution 2: (w + b) − b is rounded twice, so some bits are lost; r stored columns, as many numbers as B, restore all.
class Undo:
    def __init__(self, W, cols):
        self.cols = list(cols)
        self.kept = W[:, self.cols].copy()

    def restore(self, merged):
        W = merged.copy()
        W[:, self.cols] = self.kept
        return W


# %% tags=["hide-cell"]
W = network["layers.1.W"]
adapter = SBoRAFA(16)
start, frozen = adapter.init(rng, W)
B = rng.standard_normal(start["B"].shape).astype(np.float32)
after, cols = adapter.merge({"B": B}, frozen), frozen["cols"]
back = after.copy()
back[:, cols] -= B
lost = ~same_bits(back, W)
share = lost[:, cols].mean()
print(f"by subtraction {share:.0%} of the entries in the region come back with other bits")
assert 0.5 < share < 0.9 and not np.delete(lost, cols, axis=1).any()
assert same_bits(Undo(W, cols).restore(after), W).all() and Undo(W, cols).kept.size == B.size


# %% tags=["hide-cell"]
# Solution 3: on Fraktur one look at the gradient helps, on all three networks. Under uneven light it does not help on
# average here; with other networks we saw both signs.
def longest_columns(gradient, r):
    lengths = np.linalg.norm(gradient, axis=0)
    return tuple(np.argsort(-lengths)[:r].tolist())


# %% tags=["hide-cell"]
gains = {}
for name in ("fraktur", "lighting"):
    gains[name] = []
    for network in networks:
        _, gradient = value_and_grad(letters.mlp_loss, network, *to_adapt[name])
        chosen = {layer: SBoRAFA(8, cols=longest_columns(gradient[layer], 8)) for layer in hidden}
        drawn, picked = (
            score(attached.bind(params), name)
            for attached, params in (
                adapt(network, {letters.HIDDEN: SBoRAFA(8)}, name, lr=3e-2),
                adapt(network, chosen, name, lr=3e-2),
            )
        )
        gains[name].append(picked - drawn)
        print(f"{name:9} random columns {drawn:.1f} %, chosen by the gradient {picked:.1f} %")
print({name: np.round(values, 1) for name, values in gains.items()})
assert min(gains["fraktur"]) > 1.5
assert np.mean(gains["lighting"]) < np.mean(gains["fraktur"]) - 3
