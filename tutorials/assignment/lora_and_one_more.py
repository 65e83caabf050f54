# %% [markdown]
# # LoRA, and one more: the assignment
#
# You write LoRA's parts yourself, then an adapter from a paper that this library does not have, and find out on data
# whether the paper's claim shows. **100 points, six to eight hours.**
#
# | part | points | hours | marked by |
# |---|---|---|---|
# | 1. merge | 10 | ½ | program |
# | 2. gradients by hand | 20 | 1 | program |
# | 3. a low-rank update of least error | 15 | 1 | program |
# | 4. one more adapter | 25 | 2½ | program |
# | 5. a report | 30 | 2 | a person |
#
# **Before you start:** [lesson 2](../02_lora_by_hand.py) for parts 1 to 3, [lesson 16](../16_your_own_adapter.py) for
# part 4, and [lesson 13](../13_bake_off.py) for part 5.
#
# **Rules.** Answers use NumPy, `autograd.numpy` and this library. You may not change your arguments, print, or read
# files. One convention holds: a weight $W$ is `(d_out, d_in)`, an input is a row of `x`, `(n, d_in)`, and
# $\Delta W = B A$ with $A$ `(r, d_in)` and $B$ `(d_out, r)`.
#
# **Hand in** this notebook, or a file `answers.py` with the answers of parts 1 to 4, and the report as a PDF or as
# Markdown. Check them yourself first; the marking uses the same checks with other random cases:
#
# ```sh
# python -m minilora check answers.py --all
# ```

# %% [markdown]
# ### Exercise 1 (10 points): merge
#
# Write `merged(W, A, B, alpha)`: the merged weight $W + \frac{\alpha}{r} B A$ as a new array with the dtype of $W$, where
# $r$ is the number of rows of $A$. $W$, $A$ and $B$ have one dtype, float32 or float64; `alpha` is a Python float.

# %% [markdown]
# ### Exercise 2 (20 points): gradients by hand
#
# The layer computes $y = x W^\top + s \, (x A^\top) B^\top$ for inputs `x` `(n, d_in)`. A loss $L$ has the gradient
# $g = \partial L / \partial y$, `(n, d_out)`. Write `lora_gradients(x, W, A, B, s, g)`: it returns the tuple
# $(\partial L / \partial A, \partial L / \partial B, \partial L / \partial x)$, each with the shape of what it belongs
# to. Build no array of the shape of $W$ other than $W$ itself.

# %% [markdown]
# ### Exercise 3 (15 points): a low-rank update of least error
#
# Somebody has fine-tuned all of $W_0$ and got $W_1$. Write `as_lora(W0, W1, r)`: a tuple $(A, B)$ with $A$ `(r, d_in)`
# and $B$ `(d_out, r)` for which $\lVert W_0 + B A - W_1 \rVert_F$ is as small as it can be. $r$ is at least 1 and at
# most $\min(d_{out}, d_{in})$.

# %% [markdown]
# ### Exercise 4 (25 points): one more adapter
#
# Choose a paper from your teacher's list. Write `class Mine`, an adapter with the three methods of lesson 16, `init(rng,
# W)`, `forward(params, frozen, x)` and `merge(params, frozen)`, and a fourth, `formula(W, params, frozen)`. It returns
# the same matrix as `merge`, written as the paper's equation entry by entry, with loops; it may share no line with
# `merge`. The check runs every promise of `pytest --adapter`, and compares `merge` with `formula`.
#
# If a promise cannot hold for your method, say so: `expected_failures = {"P1": "why"}` in the class, at most two, and
# explain each in the report.

# %% [markdown]
# ### Exercise 5 (30 points): a report
#
# Two pages at most, with these parts.
#
# 1. The method: its equation with the shapes, how many parameters it trains on a matrix, and what your class does
#    otherwise than the paper.
# 2. The claim that you test: one sentence of the paper, quoted or in your words, and where it stands.
# 3. The comparison: your method and LoRA with about equal numbers of trainable parameters on the three unseen kinds
#    of letters, five seeds each, in the cell "Your method here" of lesson 13. Give for each kind the mean paired
#    difference with its standard error. The learning rate of each is chosen on seeds that are not used again.
# 4. The verdict for each kind by the rule of lesson 13: ahead, behind, or not told apart. And what you did not test.
#
# A method that turns out no better is worth as many points as one that does.
