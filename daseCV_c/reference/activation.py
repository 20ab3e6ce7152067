"""ReLU in plain NumPy."""

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
