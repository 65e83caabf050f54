# Solutions to the exercises of lesson 17, "From NumPy to PEFT and back". Each answer comes first; what it shows in
# the lesson's own networks follows, in cells that continue the lesson.

# %% tags=["hide-cell"]
# Solution 1: s = α/√r; with α/r the outputs are wrong by more than a fifth, and nothing else gives it away.
def merged_layer(W, A, B, settings):
    power = 0.5 if settings.get("use_rslora") else 1
    return W + settings["lora_alpha"] / settings["r"] ** power * B @ A


# %% tags=["hide-cell"]
settings = json.loads((made_by_peft / "rslora" / "adapter_config.json").read_text())
tensors = unpack((made_by_peft / "rslora" / "adapter_model.safetensors").read_bytes())
results = {}
for use_rslora in (True, False):
    by_hand = dict(base)
    for layer in ("layers.0", "layers.2"):
        A, B = (
            tensors[f"base_model.model.{layer}.lora_{letter}.weight"].astype(np.float64)
            for letter in "AB"
        )
        by_hand[f"{layer}.W"] = merged_layer(
            base[f"{layer}.W"], A, B, settings | {"use_rslora": use_rslora}
        )
    results[use_rslora] = distance(mlp(by_hand, inputs), np.array(judge["rslora"]))
    print(f"use_rslora {use_rslora}: differs from PEFT by {results[use_rslora]:.0e}")
assert settings["use_rslora"]
assert results[True] < 1e-12
assert results[False] > 0.2

# %% tags=["hide-cell"]
# Solution 2: [s₁B₁ s₂B₂] [A₁; A₂] = s₁B₁A₁ + s₂B₂A₂, so the stacked adapter is the sum of the two updates.
import numpy as np


def stacked(A1, B1, s1, A2, B2, s2):
    return np.vstack([A1, A2]), np.hstack([s1 * B1, s2 * B2])


# %% tags=["hide-cell"]
from minilora import alpha_over_sqrt_rank

W = rng.standard_normal((10, 12))
first = attach({"fc.W": W}, {"fc.W": LoRA(2, alpha=6)}, rng=rng)
second = attach({"fc.W": W}, {"fc.W": LoRA(3, alpha=5, scaling=alpha_over_sqrt_rank)}, rng=rng)
first.params["fc.W"]["B"] += rng.standard_normal((10, 2))
second.params["fc.W"]["B"] += rng.standard_normal((10, 3))
one, other = first.params["fc.W"], second.params["fc.W"]
A, B = stacked(one["A"], one["B"], 6 / 2, other["A"], other["B"], 5 / 3**0.5)
both = {"A": A, "B": B}
write_peft(folder, attach({"fc.W": W}, {"fc.W": LoRA(5)}, rng=rng), {"fc.W": both})
total = read_peft(folder, {"fc.W": W})
sum_of_updates = first.merge(first.params)["fc.W"] + second.merge(second.params)["fc.W"] - W
assert np.allclose(total.merge(total.params)["fc.W"], sum_of_updates, rtol=0, atol=1e-12)
print("one file of rank 5 holds both")


# %% tags=["hide-cell"]
# Solution 3: bfloat16 is eight times as coarse as float16, but it holds a number of 1e6 or 1e-9 as well as any other.
import numpy as np


def as_bfloat16(array):
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) >> 16).astype(np.uint16)


# %% tags=["hide-cell"]
def pack_bfloat16(arrays):
    header, numbers = {}, b""
    for name, array in arrays.items():
        place = [len(numbers), len(numbers) + 2 * array.size]
        header[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": place}
        numbers += as_bfloat16(array).astype("<u2").tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


coarse = unpack(pack_bfloat16(arrays))
relative = {"bfloat16": [], "float16": []}
for name, array in arrays.items():
    relative["bfloat16"].append(np.max(np.abs(coarse[name] - array) / np.abs(array)))
    usual = np.abs(array) > 1e-4  # below that float16 has fewer digits left
    relative["float16"].append(
        np.max((np.abs(array.astype(np.float16) - array) / np.abs(array))[usual])
    )
for title, errors in relative.items():
    print(f"{title:8} relative error of one number: at most {max(errors):.1e}")
assert 2**-9 < max(relative["bfloat16"]) <= 2**-8
assert 2**-12 < max(relative["float16"]) <= 2**-11
wide = np.array([1e6, 1e-9], np.float32)
with np.errstate(over="ignore"):
    assert np.array_equal(wide.astype(np.float16), [np.inf, 0])
assert np.allclose(unpack(pack_bfloat16({"wide": wide}))["wide"], wide, rtol=2**-8)

# %%
temporary.cleanup()  # the folder of the checkpoints
