"""Activations in plain NumPy."""

from collections.abc import Callable
from typing import Any

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


def softmax(x: Array) -> Array:
    """exp(x_j) / sum_k exp(x_k), row by row."""
    power = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(power / power.sum(axis=1, keepdims=True))


_ACTIVATIONS: dict[str, Callable[[Array], Any]] = {
    "identity": np.copy, "logistic": logistic, "tanh": np.tanh, "relu": lambda x: np.maximum(x, 0),
    "softmax": softmax, "exp": np.exp}


def activate(x: Array, activation: str) -> Array:
    """x, 1 / (1 + exp(-x)), tanh(x) or max(x, 0); of an output also softmax(x) or exp(x)."""
    return np.asarray(_ACTIVATIONS[activation](x))


def deactivate(dout: Array, out: Array, activation: str) -> Array:
    """dout times the derivative, which each activation has in terms of its own output."""
    if activation == "identity":
        return dout
    if activation == "relu":
        return relu_backward(dout, out)
    return np.asarray(dout * (out * (1 - out) if activation == "logistic" else 1 - out * out))
