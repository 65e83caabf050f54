"""Theorems as code: each construction returns, in closed form, params that training must search."""
