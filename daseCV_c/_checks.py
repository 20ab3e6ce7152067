"""Checks at the boundary: they say what came and what was expected, before anything is changed."""

from __future__ import annotations

import math
import numbers

import numpy as np

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def as_array(function: str, name: str, value) -> np.ndarray:
    """An array of real numbers, or TypeError."""
    if type(value) is np.ndarray and (value.dtype is FLOAT32 or value.dtype is FLOAT64):
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{function}: {name} is not an array: {error}") from None
    kind = array.dtype.kind
    if kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(
            f"{function}: {name} has dtype {array.dtype}, expected float32, float64 or a dtype that becomes one"
        )
    return array


def float_dtype(*arrays: np.ndarray) -> np.dtype:
    """float32 when every array is; integers, booleans and float16 count as float64."""
    for array in arrays:
        if array.dtype.kind != "f" or array.dtype.itemsize != 4:  # byte-swapped float32 is float32 too
            return FLOAT64
    return FLOAT32


def settle(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """C-contiguous, aligned and native, in `dtype`; the array itself when it is that already."""
    if array.dtype is dtype or array.dtype == dtype:
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
    # A copy, not np.ascontiguousarray: that keeps misaligned data and makes 0-d arrays 1-d.
    return array.astype(dtype, order="C", copy=True)


def arrays(function: str, names, *values):
    """Check and settle several arrays of one call; returns them in order."""
    found = [as_array(function, name, value) for name, value in zip(names, values, strict=True)]
    dtype = float_dtype(*found)
    return [settle(array, dtype) for array in found]


def rank(function: str, name: str, array: np.ndarray, ndim: int) -> None:
    if array.ndim != ndim:
        raise ValueError(f"{function}: {name} has {array.ndim} dimensions (shape {array.shape}), expected {ndim}")


def same_shape(function: str, name: str, array: np.ndarray, shape: tuple, other: str) -> None:
    if array.shape != shape:
        raise ValueError(f"{function}: {name} has shape {array.shape}, but {other} has shape {shape}")


def vector(function: str, name: str, array: np.ndarray, length: int, other: str, shape: tuple) -> None:
    if array.shape != (length,):
        raise ValueError(
            f"{function}: {name} has shape {array.shape}, expected ({length},), since {other} has shape {shape}"
        )


def cache_of(function: str, cache, length: int) -> tuple:
    """A cache tuple of the forward pass, or a clear error."""
    if not isinstance(cache, (tuple, list)) or len(cache) != length:
        what = f"{type(cache).__name__}" + (f" of length {len(cache)}" if isinstance(cache, (tuple, list)) else "")
        raise ValueError(f"{function}: cache is a {what}, expected the tuple of {length} that the forward pass returned")
    return tuple(cache)


def real_number(function: str, name: str, value, low: float = -math.inf) -> float:
    """A real number, not below `low`; NaN is none."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"{function}: {name} is {value!r}, expected a number")
    value = float(value)
    if not value >= low:
        raise ValueError(f"{function}: {name} is {value!r}, expected a number" + (
            f" of at least {low:g}" if low > -math.inf else ""))
    return value


def number(function: str, name: str, mapping: dict, key: str, default=None, low: float = -math.inf) -> float:
    """The number that a dict holds under `key`."""
    return real_number(function, f"{name}[{key!r}]", mapping.get(key, default), low)


def dictionary(function: str, name: str, value, *keys: str) -> dict:
    """A dict that holds `keys`."""
    if not isinstance(value, dict):
        raise TypeError(f"{function}: {name} is a {type(value).__name__}, expected a dict")
    for key in keys:
        if key not in value:
            raise ValueError(f"{function}: {name} has no key {key!r}")
    return value


def mode_of(function: str, name: str, value: dict) -> str:
    mode = value["mode"]
    if mode not in ("train", "test"):
        raise ValueError(f"{function}: {name}['mode'] is {mode!r}, expected 'train' or 'test'")
    return mode


def labels(function: str, y, n: int, classes: int) -> np.ndarray:
    """Class labels as a C-contiguous int64 vector of length `n`, each in [0, classes)."""
    y_n = np.asarray(y)
    if y_n.dtype.kind not in "iu":
        raise TypeError(f"{function}: y has dtype {y_n.dtype}, expected integers")
    if y_n.shape != (n,):
        raise ValueError(f"{function}: y has shape {y_n.shape}, expected ({n},): one label per row of x")
    if n:
        low, high = int(y_n.min()), int(y_n.max())
        if low < 0 or high >= classes:
            bad = low if low < 0 else high
            raise ValueError(f"{function}: y holds the label {bad}, but x has {classes} classes (0 to {classes - 1})")
    return np.require(y_n, np.int64, ["C", "A"])
