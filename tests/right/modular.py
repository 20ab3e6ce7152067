"""A network of layer objects with no function of the course in it; the keywords are the later editions'."""

import numpy as np


class Linear:
    def __init__(self, net, i):
        self.net, self.i = net, i

    def forward(self, x, train):
        self.x = x.reshape(len(x), -1)
        return self.x @ self.net.params[f"W{self.i}"] + self.net.params[f"b{self.i}"]

    def backward(self, d, grads):
        W = self.net.params[f"W{self.i}"]
        grads[f"W{self.i}"] = self.x.T @ d + self.net.reg * W
        grads[f"b{self.i}"] = d.sum(0)
        return d @ W.T


class Rectify:
    def forward(self, x, train):
        self.on = x > 0
        return np.where(self.on, x, 0.0)

    def backward(self, d, grads):
        return d * self.on


class Drop:
    def __init__(self, keep):
        self.keep = keep

    def forward(self, x, train):
        self.mask = (np.random.uniform(size=x.shape) < self.keep) / self.keep if train else 1.0
        return x * self.mask

    def backward(self, d, grads):
        return d * self.mask


class Normalize:
    def __init__(self, net, i, axis):
        self.net, self.i, self.axis = net, i, axis
        self.mean = self.var = 0.0

    def forward(self, x, train):
        if train or self.axis == 1:
            mean, var = x.mean(self.axis, keepdims=True), x.var(self.axis, keepdims=True)
            self.mean, self.var = 0.9 * self.mean + 0.1 * mean, 0.9 * self.var + 0.1 * var
        else:
            mean, var = self.mean, self.var
        self.std = np.sqrt(var + 1e-5)
        self.hat = (x - mean) / self.std
        return self.hat * self.net.params[f"gamma{self.i}"] + self.net.params[f"beta{self.i}"]

    def backward(self, d, grads):
        grads[f"gamma{self.i}"], grads[f"beta{self.i}"] = (d * self.hat).sum(0), d.sum(0)
        d = d * self.net.params[f"gamma{self.i}"]
        return (d - d.mean(self.axis, keepdims=True) - self.hat * (d * self.hat).mean(self.axis,
                                                                                      keepdims=True)) / self.std


class FullyConnectedNet:
    def __init__(self, hidden_dims, input_dim=3 * 32 * 32, num_classes=10, dropout_keep_ratio=1, normalization=None,
                 reg=0.0, weight_scale=1e-2, dtype=np.float32, seed=None):
        self.reg, self.params, self.layers = reg, {}, []
        sizes = [input_dim, *hidden_dims, num_classes]
        for i, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False), 1):
            self.params[f"W{i}"] = np.random.normal(scale=weight_scale, size=(a, b)).astype(dtype)
            self.params[f"b{i}"] = np.zeros(b, dtype)
            self.layers.append(Linear(self, i))
            if i < len(sizes) - 1:
                if normalization:
                    self.params[f"gamma{i}"], self.params[f"beta{i}"] = np.ones(b, dtype), np.zeros(b, dtype)
                    self.layers.append(Normalize(self, i, 0 if normalization == "batchnorm" else 1))
                self.layers.append(Rectify())
                if dropout_keep_ratio != 1:
                    self.layers.append(Drop(dropout_keep_ratio))

    def loss(self, X, y=None):
        out = X
        for layer in self.layers:
            out = layer.forward(out, y is not None)
        if y is None:
            return out
        p = np.exp(out - out.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        loss = -np.log(p[np.arange(len(y)), y]).mean()
        loss += 0.5 * self.reg * sum((W**2).sum() for k, W in self.params.items() if k[0] == "W")
        p[np.arange(len(y)), y] -= 1
        d, grads = p / len(y), {}
        for layer in reversed(self.layers):
            d = layer.backward(d, grads)
        return loss, grads
