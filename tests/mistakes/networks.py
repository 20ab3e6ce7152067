"""Layers that follow each other, and networks."""

import numpy as np

from daseCV_c.layers import *

from . import wrong


@wrong("affine_relu_forward", "sandwich-no-relu")
def _(x, w, b):
    return affine_forward(x, w, b)


@wrong("affine_bn_relu_forward", "sandwich-relu-before-norm")
def _(x, w, b, gamma, beta, bn_param):
    a, fc = affine_forward(x, w, b)
    h, relu = relu_forward(a)
    out, bn = batchnorm_forward(h, gamma, beta, bn_param)
    return out, (fc, bn, relu)


@wrong("affine_ln_relu_backward", "sandwich-backward-no-relu")
def _(dout, cache):
    fc, ln, _ = cache
    da, dgamma, dbeta = layernorm_backward(dout, ln)
    return (*affine_backward(da, fc), dgamma, dbeta)


@wrong("affine_bn_relu_backward", "sandwich-dgamma-dbeta-swapped")
def _(dout, cache):
    fc, bn, relu = cache
    da, dgamma, dbeta = batchnorm_backward(relu_backward(dout, relu), bn)
    return (*affine_backward(da, fc), dbeta, dgamma)


@wrong("conv_relu_pool_forward", "sandwich-no-pool")
def _(x, w, b, conv_param, pool_param):
    a, conv = conv_forward_naive(x, w, b, conv_param)
    return relu_forward(a)[0], conv


class Net:
    """A fully-connected network as most write it; `mistake` changes one line."""

    mistake = ""

    def __init__(self, hidden_dims, input_dim=3 * 32 * 32, num_classes=10, dropout=1, normalization=None, reg=0.0,
                 weight_scale=1e-2, dtype=np.float32, seed=None):
        self.reg, self.dtype, self.normalization, self.use_dropout = reg, dtype, normalization, dropout != 1
        self.L = len(hidden_dims) + 1
        dims = [input_dim, *hidden_dims, num_classes]
        scale = np.sqrt(weight_scale) ** 4 if self.mistake == "net-init-variance" else weight_scale
        draw = np.random.rand if self.mistake == "net-init-uniform" else np.random.randn
        self.params = {}
        for i in range(self.L):
            self.params[f"W{i + 1}"] = scale * draw(dims[i], dims[i + 1])
            self.params[f"b{i + 1}"] = np.zeros(dims[i + 1])
            if self.mistake == "net-init-bias":
                self.params[f"b{i + 1}"] += weight_scale * np.random.randn(dims[i + 1])
            if normalization and (i < self.L - 1 or self.mistake == "net-norm-last"):
                ones = np.zeros if self.mistake == "net-init-gamma" else np.ones
                self.params[f"gamma{i + 1}"], self.params[f"beta{i + 1}"] = ones(dims[i + 1]), np.zeros(dims[i + 1])
        self.dropout_param = {"mode": "train", "p": dropout}
        self.bn_params = [{"mode": "train"} for _ in range(self.L)]
        if self.mistake != "net-dtype":
            self.params = {k: v.astype(dtype) for k, v in self.params.items()}

    def loss(self, X, y=None):
        mistake, L, p = self.mistake, self.L, self.params
        train = y is not None
        for bn_param in self.bn_params:
            bn_param["mode"] = "train" if train or mistake == "net-norm-train-mode" else "test"
        self.dropout_param["mode"] = "train" if train or mistake == "net-dropout-at-test" else "test"
        h, tape, mask = X.astype(self.dtype), [], None
        for i in range(1, L + 1):
            h, fc = affine_forward(h, p[f"W{i}"], p[f"b{i}"])
            bn = relu = drop = None
            if self.normalization and (i < L or mistake == "net-norm-last"):
                k = 0 if mistake == "net-norm-shared" else i - 1
                norm = batchnorm_forward if self.normalization == "batchnorm" else layernorm_forward
                h, bn = norm(h, p[f"gamma{i}"], p[f"beta{i}"], self.bn_params[k])
            if i < L or mistake == "net-relu-last":
                h, relu = relu_forward(h)
            if i < L and self.use_dropout and mistake != "net-dropout-missing":
                if mistake == "net-dropout-shared" and mask is not None and train:
                    h, drop = h * mask[1], mask
                else:
                    h, drop = dropout_forward(h, self.dropout_param)
                    mask = drop
            tape.append((fc, bn, relu, drop))
        if not train:
            return h
        loss, d = softmax_loss(h, y)
        grads = {}
        for i in range(L, 0, -1):
            fc, bn, relu, drop = tape[i - 1]
            if drop is not None and mistake != "net-dropout-backward":
                d = dropout_backward(d, drop)
            if relu is not None and mistake != "net-relu-backward":
                d = relu_backward(d, relu)
            if bn is not None:
                back = batchnorm_backward_alt if self.normalization == "batchnorm" else layernorm_backward
                d, dgamma, dbeta = back(d, bn)
                if mistake != "net-norm-gradients":
                    grads[f"gamma{i}"], grads[f"beta{i}"] = dgamma, dbeta
            d, grads[f"W{i}"], grads[f"b{i}"] = affine_backward(d, fc)
        last = L if mistake == "net-penalty-last" else L + 1
        for i in range(1, last):
            W = p[f"W{i}"]
            loss += (1.0 if mistake == "net-penalty-half-loss" else 0.5) * self.reg * np.sum(W * W)
            if mistake == "net-penalty-twice-gradient":
                grads[f"W{i}"] += 2 * self.reg * W
            elif mistake != "net-penalty-gradient":
                grads[f"W{i}"] += self.reg * W
            if mistake == "net-penalty-biases":
                loss += 0.5 * self.reg * np.sum(p[f"b{i}"] ** 2)
                grads[f"b{i}"] += self.reg * p[f"b{i}"]
        if mistake == "net-penalty":
            loss -= sum(0.5 * self.reg * np.sum(p[f"W{i}"] ** 2) for i in range(1, L + 1))
            for i in range(1, L + 1):
                grads[f"W{i}"] -= self.reg * p[f"W{i}"]
        return loss, grads


for mistake in ("net-penalty-last", "net-penalty-half-loss", "net-penalty-twice-gradient", "net-penalty-gradient",
                "net-penalty-biases", "net-penalty", "net-norm-last", "net-norm-train-mode", "net-norm-shared",
                "net-relu-last",
                "net-relu-backward", "net-norm-gradients", "net-dropout-shared", "net-dropout-missing",
                "net-dropout-at-test",
                "net-dropout-backward", "net-init-variance", "net-init-uniform", "net-init-bias", "net-init-gamma",
                "net-dtype"):
    wrong("FullyConnectedNet", mistake)(type("FullyConnectedNet", (Net,), {"mistake": mistake}))


class Two:
    mistake = ""

    def __init__(self, input_dim=3 * 32 * 32, hidden_dim=100, num_classes=10, weight_scale=1e-3, reg=0.0):
        self.reg = reg
        self.params = {"W1": weight_scale * np.random.randn(input_dim, hidden_dim), "b1": np.zeros(hidden_dim),
                       "W2": weight_scale * np.random.randn(hidden_dim, num_classes), "b2": np.zeros(num_classes)}

    def loss(self, X, y=None):
        W1, b1, W2, b2 = self.params.values()
        rows = X.reshape(len(X), -1)
        a = rows @ W1 + b1
        h = a if self.mistake == "net-no-relu" else np.maximum(0, a)
        scores = h @ W2 + b2
        if y is None:
            return scores
        loss, d = softmax_loss(scores, y)
        first = 0 if self.mistake == "net-penalty-first" else 1
        half = 1 if self.mistake == "net-penalty-half" else 0.5
        loss += half * self.reg * (first * np.sum(W1**2) + np.sum(W2**2))
        dh = d @ W2.T * (1 if self.mistake == "net-no-relu" else a > 0)
        return loss, {"W1": rows.T @ dh + 2 * half * first * self.reg * W1, "b1": dh.sum(0),
                      "W2": h.T @ d + 2 * half * self.reg * W2, "b2": d.sum(0)}


for mistake in ("net-no-relu", "net-penalty-first", "net-penalty-half"):
    wrong("TwoLayerNet", mistake)(type("TwoLayerNet", (Two,), {"mistake": mistake}))


class Conv:
    mistake = ""

    def __init__(self, input_dim=(3, 32, 32), num_filters=32, filter_size=7, hidden_dim=100, num_classes=10,
                 weight_scale=1e-3, reg=0.0, dtype=np.float32):
        C, H, W = input_dim
        self.reg = reg
        draw = np.random.randn
        self.params = {
            "W1": draw(num_filters, C, filter_size, filter_size), "b1": np.zeros(num_filters),
            "W2": draw(num_filters * H * W // 4, hidden_dim), "b2": np.zeros(hidden_dim),
            "W3": draw(hidden_dim, num_classes), "b3": np.zeros(num_classes)}
        for name in ("W1", "W2", "W3"):
            self.params[name] *= weight_scale
        self.params = {name: value.astype(dtype) for name, value in self.params.items()}

    def loss(self, X, y=None):
        W1, b1, W2, b2, W3, b3 = self.params.values()
        conv_param = {"stride": 1, "pad": (W1.shape[2] - 1) // 2}
        a, conv = conv_forward_naive(X, W1, b1, conv_param)
        h, relu1 = relu_forward(a)
        h, pool = max_pool_forward_naive(h, {"pool_height": 2, "pool_width": 2, "stride": 2})
        h, fc2 = affine_forward(h, W2, b2)
        h, relu2 = relu_forward(h)
        scores, fc3 = affine_forward(h, W3, b3)
        if y is None:
            return scores
        loss, d = softmax_loss(scores, y)
        d, dW3, db3 = affine_backward(d, fc3)
        d, dW2, db2 = affine_backward(d if self.mistake == "net-relu-backward" else relu_backward(d, relu2), fc2)
        d = max_pool_backward_naive(d, pool)
        _, dW1, db1 = conv_backward_naive(d if self.mistake == "net-relu-backward" else relu_backward(d, relu1), conv)
        grads = {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3, "b3": db3}
        for name in ("W1", "W2", "W3"):
            if name == "W3" and self.mistake == "net-penalty-last":
                continue
            loss += 0.5 * self.reg * np.sum(self.params[name] ** 2)
            grads[name] = grads[name] + self.reg * self.params[name]
        return loss, grads


for mistake in ("net-relu-backward", "net-penalty-last"):
    wrong("ThreeLayerConvNet", mistake)(type("ThreeLayerConvNet", (Conv,), {"mistake": mistake}))
