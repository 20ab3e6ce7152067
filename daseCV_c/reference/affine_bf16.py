"""Affine layer with factors rounded to bfloat16, in plain NumPy: the twin of the compiled family.

Products and sums are those of float32 matrix products, so that only the rounding of the factors
differs from `affine`.
"""

from typing import Any

import numpy as np

from daseCV_c._types import Array, ArrayLike, Cache

from . import affine


def round_to_bfloat16(x: ArrayLike) -> Array:
    """float32 numbers rounded to nearest, ties to even, among those that bfloat16 has; NaN stays NaN.

    Denormals become zeros of their sign, as the instructions have it.
    """
    x = np.asarray(x, np.float32)
    bits = x.view(np.uint32)
    # Half a unit of what stays, less one where the last bit that stays is 0: a tie goes to even.
    even = (bits >> 16) & 1
    rounded = ((bits + (0x7FFF + even)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    rounded = np.where(np.isnan(x), np.float32(np.nan), rounded)
    return np.where(np.abs(x) < np.finfo(np.float32).smallest_normal, np.copysign(np.float32(0), x), rounded)


def affine_forward(x: ArrayLike, w: ArrayLike, b: ArrayLike) -> tuple[Array, Cache]:
    """out = r(x).reshape(N, D) @ r(w) + b."""
    return affine.affine_forward(round_to_bfloat16(x), round_to_bfloat16(w), b)[0], (x, w, b)


def affine_backward_dx(dout_nm: Array, w_dm: Array) -> Array:
    """dx = r(dout) @ r(w).T."""
    return affine.affine_backward_dx(round_to_bfloat16(dout_nm), round_to_bfloat16(w_dm))


def affine_backward_dw(x_nd: Array, dout_nm: Array) -> tuple[Array, Array]:
    """dw = r(x).T @ r(dout), db = sum of dout over the batch, not rounded."""
    return round_to_bfloat16(x_nd).T @ round_to_bfloat16(dout_nm), dout_nm.sum(axis=0)


def affine_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients of affine_forward: dx, dw, db."""
    dout_nm, x, w_dm, _ = (np.asarray(a) for a in (dout, *cache))
    dw, db = affine_backward_dw(x.reshape(x.shape[0], w_dm.shape[0]), dout_nm)
    return affine_backward_dx(dout_nm, w_dm).reshape(x.shape), dw, db
