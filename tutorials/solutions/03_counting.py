# Solutions to the exercises of lesson 3, "Counting". Each answer comes first; what it shows in the lesson's own
# networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: each rank costs the sum of all d_out + d_in, so divide: 21 on all seven matrices, 132 on q and v.
def largest_rank(shapes, budget):
    return budget // sum(d_out + d_in for d_out, d_in in shapes.values())


# %% tags=["hide-cell"]
budget = count_trainable(LoRA(rank=32), llama3)
for targets, best in (("q k v o gate up down", 21), ("q v", 132)):
    chosen = MODELS["llama3-8b"].shapes(targets.split())
    one = count_trainable(LoRA(rank=1), chosen)
    print(f"{targets}: {one:,} for each rank, so rank {budget // one}")
    assert largest_rank(chosen, budget) == budget // one == best
    fits, exceeds = (count_trainable(LoRA(rank), chosen) for rank in (best, best + 1))
    assert fits <= budget < exceeds


# %% tags=["hide-cell"]
# Solution 2: it needs G, the very product that LoRA saves. So it costs more, unless the rank is above d/6 and there are
# enough inputs: n (6 r − d) > 3 r d.
def multiplications(n, d_out, d_in, r):
    thin = 2 * n * d_out * d_in + 3 * n * r * (d_out + d_in)
    merging = 3 * n * d_out * d_in + 3 * r * d_out * d_in
    return thin, merging


# %% tags=["hide-cell"]
def merging_layer(W, A, B, x, slope):
    W = W + product(B, A)
    y, G, for_x = full_layer(W, x, slope)
    return y, product(B.T, G), product(G, A.T), for_x


def costs(d, r, n):
    W, A, B = np.ones((d, d)), np.ones((r, d)), np.ones((d, r))
    for layer in (lora_layer, merging_layer):
        counts.clear()
        layer(W, A, B, np.ones((n, d)), np.ones((n, d)))
        yield sum(counts)


thin_way, dense_way = lora_layer(W, A, B, x_in, slope), merging_layer(W, A, B, x_in, slope)
assert all(np.allclose(one, other) for one, other in zip(thin_way, dense_way))
d_small = 60
for r_small in (4, 10, 15):
    for n_small in (10, 100, 1000):
        thin_cost, dense_cost = costs(d_small, r_small, n_small)
        assert (thin_cost, dense_cost) == multiplications(n_small, d_small, d_small, r_small)
        assert thin_cost == 2 * n_small * d_small**2 + 6 * n_small * r_small * d_small
        assert dense_cost == 3 * n_small * d_small**2 + 3 * r_small * d_small**2
        saved = n_small * (6 * r_small - d_small)
        assert (dense_cost < thin_cost) == (saved > 3 * r_small * d_small)
        print(
            f"rank {r_small:2} of {d_small}, {n_small:4} inputs: "
            f"merging costs {dense_cost / thin_cost:.2f} as much"
        )


# %% tags=["hide-cell"]
# Solution 3: checkpointing lets about ten times as many tokens in, and uses up what LoRA saves in (3). The logits
# hardly matter without it. With it they are a large part, unless the loss is computed for a few tokens at a time.
def tokens_that_fit(free, layers, numbers, d, logits):
    plain = free // (2 * (layers * numbers + logits))
    checkpointed = free // (2 * (layers * d + numbers + logits))
    return plain, checkpointed


# %% tags=["hide-cell"]
free = 24e9 - (base4 + small) * 1e9
for logits in (0, 128_256):
    plain, checkpointed = tokens_that_fit(int(free), layers, one_layer, d, logits)
    print(f"{logits:7,} logits: {plain:,} tokens, with checkpointing {checkpointed:,}")
    assert (plain, checkpointed) == ((3_902, 43_326) if logits == 0 else (3_690, 26_434))
recomputing = (3 + 3 * rho + rho) / 3  # one more W x, and one more B (A x): ρ of a product
print(f"cost of (3): {ratio:.2f}, with checkpointing {recomputing:.2f}")
assert math.isclose(recomputing, ratio + (1 + rho) / 3) and 1 < recomputing < 1.02
for first in (4, 6, 7):
    ways["end"] = attach(weights, {f"layers.[{first}-7].W": LoRA(rank=8)}, rng=rng)
    found = tape("end", x, labels)
    print(f"adapters in the last {8 - first} layers: {found:.1f} activations")
    assert 8 - first + 0.9 < found < 8 - first + 1.3
del ways["end"]
