# Solutions to the exercises of lesson 18, "Speed". Each answer comes first; what it shows in the lesson's own
# networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: seven nodes a layer; the first has five, for its W x is not traced and no ReLU stands before it.
def nodes(layers):
    return 5 + 7 * (layers - 1) + 1


# %% tags=["hide-cell"]
counts = {}
for depth in (2, 4, 8):
    deep = init_mlp(rng, (16,) * (depth + 1))
    own = attach(deep, {"*.W": LoRA(2)}, rng=rng)
    batch = rng.standard_normal((4, 16)).astype(np.float32)
    targets = rng.integers(16, size=4)
    counts[depth] = count_nodes(
        lambda params, own=own, batch=batch, targets=targets: cross_entropy(
            mlp(own.bind(params), batch), targets
        ),
        own.params,
    )
print(counts)
# A x, s ·, B h, W x, +, + b and the ReLU before; and one node for cross-entropy.
assert all(count == nodes(depth) for depth, count in counts.items())


# %% tags=["hide-cell"]
# Solution 2: r = n d / (2 n − d), about d / 2 for a large batch; the times cross between r = 16 and r = d too.
def crossing(n, d):
    return n * d / (2 * n - d) if 2 * n > d else None


# %% tags=["hide-cell"]
d, n = 128, 512
wide = rng.standard_normal((n, d)).astype(np.float32)
found = {}
for r in (4, 16, 64, 128):
    A, B = (
        rng.standard_normal((r, d)).astype(np.float32),
        rng.standard_normal((d, r)).astype(np.float32),
    )
    _, _, found[r] = compare(
        lambda A=A, B=B: (wide @ A.T) @ B.T, lambda A=A, B=B: wide @ (B @ A).T, rounds=5
    )
    print(
        f"r = {r:3}: thin path / product first {found[r]:.2f}, "
        f"by count {2 * n * r / (r * d + n * d):.2f}"
    )
print(f"the counts are equal at r = {crossing(n, d):.0f}; for n ≤ d / 2 never")
assert crossing(64, 128) is None
assert max(found[4], found[16]) < 0.8 and found[128] > 1.1

# %% tags=["hide-cell"]
# Solution 3: 12 nodes in place of 27, and less time; but LoRA's formula is now written four times.
from autograd.extend import defvjp, primitive


@primitive
def lora(A, B, x, W):
    return x @ W.T + (x @ A.T) @ B.T


defvjp(
    lora,
    lambda y, A, B, x, W: lambda g: (g @ B).T @ x,
    lambda y, A, B, x, W: lambda g: g.T @ (x @ A.T),
    lambda y, A, B, x, W: lambda g: g @ W + (g @ B) @ A,
)


# %% tags=["hide-cell"]
from autograd.test_util import check_grads


class InOneNode:
    def __init__(self, own, W):
        self.own, self.W = own, W

    def __call__(self, x):
        return lora(self.own["A"], self.own["B"], x, self.W)


small = [rng.standard_normal(shape) for shape in ((2, 5), (4, 2), (3, 5), (4, 5))]
check_grads(lora, argnum=[0, 1, 2], modes=["rev"], order=1)(*small)
weights, attached, params, x, labels = problem(64, 32)


def fused_loss(params):
    bound = weights | {name: InOneNode(own, weights[name]) for name, own in params.items()}
    return cross_entropy(mlp(bound, x), labels)


assert count_nodes(fused_loss, params) == 12
_, fused = value_and_grad(fused_loss, params)
_, usual = with_tape(attached, params, x, labels)
assert all(np.allclose(fused[n][k], usual[n][k], rtol=1e-3, atol=1e-5) for n in usual for k in "AB")
_, _, ratio = compare(
    lambda: value_and_grad(fused_loss, params), lambda: with_tape(attached, params, x, labels)
)
print(f"in one node: {ratio:.2f} of the time")
assert ratio < 0.9
