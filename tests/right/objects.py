"""Layers as objects that remember; the course's names are their methods."""

import numpy as np


class Affine:
    def __call__(self, x, w, b):
        return np.tensordot(x.reshape(x.shape[0], -1), w, 1) + b, (x, w, b)

    def back(self, dout, cache):
        x, w, b = cache
        n = x.shape[0]
        return np.tensordot(dout, w, (1, 1)).reshape(x.shape), np.tensordot(x.reshape(n, -1), dout, (0, 0)), dout.sum(0)


class Relu:
    def __call__(self, x):
        return x * (x > 0), x

    def back(self, dout, cache):
        dout = np.array(dout)
        dout[cache < 0] = 0
        return dout


class Norm:
    """Batch norm (axis 0) and layer norm (axis 1) in one."""

    def __init__(self, axis):
        self.axis = axis

    def __call__(self, x, gamma, beta, param):
        eps, test = param.get("eps", 1e-5), param.get("mode") == "test"
        if test:
            mean, var = param["running_mean"], param["running_var"]
        else:
            mean, var = x.mean(self.axis, keepdims=True), x.var(self.axis, keepdims=True)
        if self.axis == 0 and not test:
            a = param.get("momentum", 0.9)
            for key, value in (("running_mean", mean[0]), ("running_var", var[0])):
                param[key] = a * param.get(key, 0.0 * value) + (1 - a) * value
        std = np.sqrt(var + eps)
        xhat = (x - mean) / std
        return xhat * gamma + beta, {"xhat": xhat, "gamma": gamma, "std": std}

    def back(self, dout, cache):
        xhat, g = cache["xhat"], dout * cache["gamma"]
        dx = g - g.mean(self.axis, keepdims=True) - xhat * (g * xhat).mean(self.axis, keepdims=True)
        return dx / cache["std"], np.sum(dout * xhat, 0), np.sum(dout, 0)


affine_forward, affine_backward = Affine(), Affine().back
relu_forward, relu_backward = Relu(), Relu().back
batchnorm_forward, batchnorm_backward, batchnorm_backward_alt = Norm(0), Norm(0).back, Norm(0).back
layernorm_forward, layernorm_backward = Norm(1), Norm(1).back
