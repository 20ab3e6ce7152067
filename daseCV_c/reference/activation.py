"""Activations in plain NumPy."""

import numpy as np

from daseCV_c._types import Array, ArrayLike

from ._common import as_float


def relu_forward(x: ArrayLike) -> tuple[Array, ArrayLike]:
    """out = max(x, 0); NaN stays NaN."""
    (x_,) = as_float(x)
    return np.asarray(np.maximum(x_, 0)), x


def relu_backward(dout: ArrayLike, cache: ArrayLike) -> Array:
    """dx = dout where x > 0, else 0."""
    dout_, x_ = as_float(dout, cache)
    return np.where(x_ > 0, dout_, dout_.dtype.type(0))


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), from the exp of -|x|, which never overflows."""
    power = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, power, 1) / (1 + power))


def activate(x: Array, activation: str) -> Array:
    """A hidden layer's output: x, 1 / (1 + exp(-x)), tanh(x) or max(x, 0)."""
    if activation == "identity":
        return x
    if activation == "logistic":
        return logistic(x)
    return np.asarray(np.tanh(x) if activation == "tanh" else np.maximum(x, 0))


def deactivate(dout: Array, out: Array, activation: str) -> Array:
    """dout times the derivative, which each activation has in terms of its own output."""
    if activation == "identity":
        return dout
    if activation == "relu":
        return relu_backward(dout, out)
    return np.asarray(dout * (out * (1 - out) if activation == "logistic" else 1 - out * out))
