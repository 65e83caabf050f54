"""The limit: the LoRA step on the MLP with derivatives worked out on paper, without a tape."""

import numpy as np
from cells import LAYERS


class Trainer:
    """The same model, batch and params as everywhere else; params: {name: {letter: array}}."""

    def __init__(self, cell, weights, data, params):
        self.data, self.rng = data, np.random.default_rng(0)
        self.W = [weights[f"layers.{layer}.W"] for layer in range(LAYERS)]
        self.b = [weights[f"layers.{layer}.b"] for layer in range(LAYERS)]
        self.names = [(f"layers.{layer}.W", letter) for layer in range(LAYERS) for letter in "AB"]
        arrays = [params[name][letter] for name, letter in self.names]
        ends = np.cumsum([array.size for array in arrays])[:-1]
        self.theta = np.concatenate([array.ravel() for array in arrays])
        self.slope = np.zeros_like(self.theta)
        self.mean, self.square = np.zeros_like(self.theta), np.zeros_like(self.theta)
        views = (
            [part.reshape(array.shape) for part, array in zip(np.split(vector, ends), arrays)]
            for vector in (self.theta, self.slope)
        )
        (self.params, self.grads), self.steps = views, 0

    def loss_and_slope(self, x, labels):
        """The loss; its gradient goes into self.slope."""
        inputs, lows, n = [], [], len(x)
        for layer in range(LAYERS):
            A, B = self.params[2 * layer : 2 * layer + 2]
            low = x @ A.T
            y = times(self.W[layer], x)
            y += low @ B.T
            y += self.b[layer]
            inputs.append(x)
            lows.append(low)
            x = np.maximum(y, 0) if layer < LAYERS - 1 else y
        x -= np.max(x, axis=1, keepdims=True)
        picked = np.arange(n), labels
        logit = x[picked]
        np.exp(x, out=x)
        total = np.sum(x, axis=1, keepdims=True)
        loss = float(np.sum(np.log(total)) - np.sum(logit)) / n
        g = np.divide(x, total, out=x)
        g[picked] -= 1
        g /= n
        for layer in reversed(range(LAYERS)):
            A, B = self.params[2 * layer : 2 * layer + 2]
            dA, dB = self.grads[2 * layer : 2 * layer + 2]
            dlow = g @ B
            np.matmul(g.T, lows[layer], out=dB)
            np.matmul(dlow.T, inputs[layer], out=dA)
            if layer > 0:
                g = g @ self.W[layer]
                g += dlow @ A
                g *= inputs[layer] > 0
        return loss

    def gradient(self):
        """The loss and {name: {letter: gradient}} before the first step."""
        loss, grads = self.loss_and_slope(*self.data), {}
        for (name, letter), grad in zip(self.names, self.grads):
            grads.setdefault(name, {})[letter] = grad.copy()
        return loss, grads

    def train(self, steps, lr=1e-4, decay=(0.9, 0.999), eps=1e-8):
        """So many steps: draw the rows, forward, backward, Adam."""
        batch = len(self.data[0])
        for _ in range(steps):
            rows = self.rng.integers(batch, size=batch)
            loss = self.loss_and_slope(*(array[rows] for array in self.data))
            assert np.isfinite(loss)
            self.steps += 1
            g = self.slope
            self.mean += (1 - decay[0]) * (g - self.mean)
            self.square += (1 - decay[1]) * (g * g - self.square)
            size = np.sqrt(self.square / (1 - decay[1] ** self.steps)) + eps
            self.theta -= (lr / (1 - decay[0] ** self.steps)) * self.mean / size


def times(W, x):
    """W x for every row of x. For few of them BLAS is faster on W xᵀ, transposition included."""
    return np.ascontiguousarray((W @ x.T).T) if 4 * len(x) <= len(W) else x @ W.T
