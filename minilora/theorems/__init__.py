"""Theorems as code: each construction returns, in closed form, the adapters that training would have to find."""
