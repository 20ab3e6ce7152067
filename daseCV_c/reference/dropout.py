"""Inverted dropout in plain NumPy."""

from typing import Any

import numpy as np

from daseCV_c._types import Array, ArrayLike, Cache, Params

from ._common import as_float


def dropout_forward(x: ArrayLike, dropout_param: Params) -> tuple[Array, Cache]:
    """out = x * mask, mask = (uniform < p) / p; p is the probability of keeping a unit."""
    p, mode = float(dropout_param["p"]), dropout_param["mode"]
    (x,) = as_float(x)
    own = dropout_param.get("generator")
    if own is None and "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])
    mask = None
    if mode == "train":
        uniform = (np.random if own is None else own).rand(*x.shape)
        mask = np.asarray((uniform < p) / p, x.dtype)
        out = np.asarray(x * mask)
    elif mode == "test":
        out = x.copy()
    else:
        raise ValueError(f"dropout_forward: dropout_param['mode'] is {mode!r}, expected 'train' or 'test'")
    return out, (dict(dropout_param), mask)


def dropout_backward(dout: ArrayLike, cache: Any) -> Array:
    """dx = dout * mask in training, dout in testing."""
    dropout_param, mask = cache
    if dropout_param["mode"] == "test":
        return as_float(dout)[0].copy()
    dout, mask = as_float(dout, mask)
    return np.asarray(dout * mask)
