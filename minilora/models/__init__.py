"""Networks as pure functions of (weights, x): they know nothing of adapters."""
