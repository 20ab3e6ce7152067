"""Checks at the boundary: they say what came and what was expected, before anything is changed."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from daseCV_c import _tables
from daseCV_c._types import Array, ArrayLike, DType, Params

FLOAT32, FLOAT64, INT64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)


def as_array(function: str, name: str, value: object) -> Array:
    """An array of real numbers, or TypeError."""
    if type(value) is np.ndarray and (value.dtype is FLOAT32 or value.dtype is FLOAT64):
        return value
    array = _tables.samples(function, name, value)
    # 16-byte floats (longdouble) would lose digits without a word.
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(
            f"{function}: {name} has dtype {array.dtype}, "
            "expected float32, float64 or one that becomes float64"
        )
    return array


def float_dtype(*arrays: Array) -> DType:
    """float32 when every array is; integers, booleans and float16 count as float64."""
    for array in arrays:
        if array.dtype.kind != "f" or array.dtype.itemsize != 4:  # byte-swapped float32 is float32 too
            return FLOAT64
    return FLOAT32


def settle(array: Array, dtype: DType) -> Array:
    """C-contiguous, aligned and native, in `dtype`; the array itself when it is that already."""
    if array.dtype is dtype or array.dtype == dtype:
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
    # A copy, not np.ascontiguousarray: that keeps misaligned data and makes 0-d arrays 1-d.
    return array.astype(dtype, order="C", copy=True)


def one_array(function: str, name: str, value: Any) -> Array:
    """`arrays` for one array, in fewer steps: they are a good part of a small layer's call."""
    if type(value) is np.ndarray:
        dtype = value.dtype
        if (dtype is FLOAT32 or dtype is FLOAT64) and value.flags.carray:
            return value
    array = as_array(function, name, value)
    return settle(array, float_dtype(array))


def arrays(function: str, names: Sequence[str], *values: Any) -> tuple[Array, ...]:
    """Check the arrays of one call and bring them to one dtype and layout; returns them in order."""
    first = values[0]
    if type(first) is np.ndarray:
        dtype = first.dtype
        if dtype is FLOAT32 or dtype is FLOAT64:
            # The usual call needs no more than this. carray: C-contiguous, aligned, writeable;
            # a read-only array takes the longer way and is not copied there either.
            for value in values:
                if type(value) is not np.ndarray or value.dtype is not dtype or not value.flags.carray:
                    break
            else:
                return values
    found = [as_array(function, name, value) for name, value in zip(names, values, strict=True)]
    dtype = float_dtype(*found)
    return tuple(settle(array, dtype) for array in found)


def alike(values: Sequence[Any]) -> bool:
    """Whether all are arrays of one float dtype and one shape that a kernel may take as they are."""
    first = values[0]
    if type(first) is not np.ndarray:
        return False
    dtype, shape = first.dtype, first.shape
    if dtype is not FLOAT32 and dtype is not FLOAT64:
        return False
    for value in values:
        if (type(value) is not np.ndarray or value.dtype is not dtype or value.shape != shape
                or not value.flags.carray):
            return False
    return True


def rank(function: str, name: str, array: Array, ndim: int) -> None:
    if array.ndim != ndim:
        raise ValueError(
            f"{function}: {name} has {array.ndim} dimensions (shape {array.shape}), expected {ndim}"
        )


def same_shape(function: str, name: str, array: Array, shape: tuple[int, ...], other: str) -> None:
    if array.shape != shape:
        raise ValueError(f"{function}: {name} has shape {array.shape}, but {other} has shape {shape}")


def vector(function: str, name: str, array: Array, length: int, other: str, shape: tuple[int, ...]) -> None:
    if array.shape != (length,):
        raise ValueError(
            f"{function}: {name} has shape {array.shape}, "
            f"expected ({length},), since {other} has shape {shape}"
        )


def cache_of(function: str, cache: object, length: int) -> tuple[Any, ...]:
    """A cache tuple of the forward pass, or a clear error."""
    if not isinstance(cache, (tuple, list)):
        what = f"a {type(cache).__name__}"
    elif len(cache) != length:
        what = f"a {type(cache).__name__} of length {len(cache)}"
    else:
        return tuple(cache)
    raise ValueError(
        f"{function}: cache is {what}, expected the tuple of {length} that the forward pass returned"
    )


def real_number(function: str, name: str, value: Any, low: float = -math.inf) -> float:
    """A real number, not below `low`; NaN is none."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{function}: {name} is {value!r}, expected a number")
    try:
        found = float(value)
    except OverflowError:
        raise ValueError(f"{function}: {name} is too large for a float") from None
    if not found >= low:
        raise ValueError(f"{function}: {name} is {found!r}, expected a number" + (
            f" of at least {low:g}" if low > -math.inf else ""))
    return found


def number(
    function: str, name: str, mapping: Params, key: str, default: float | None = None, low: float = -math.inf,
) -> float:
    """The number that a dict holds under `key`."""
    value = mapping.get(key, default)
    if type(value) is float and value >= low:  # without putting a name together that nobody reads
        return value
    return real_number(function, f"{name}[{key!r}]", value, low)


def dictionary(function: str, name: str, value: object, *keys: str) -> Params:
    """A dict that holds `keys`."""
    if not isinstance(value, dict):
        raise TypeError(f"{function}: {name} is a {type(value).__name__}, expected a dict")
    for key in keys:
        if key not in value:
            raise ValueError(f"{function}: {name} has no key {key!r}")
    return value


def mode_of(function: str, name: str, value: Params) -> str:
    mode = value["mode"]
    if not isinstance(mode, str) or mode not in ("train", "test"):
        raise ValueError(f"{function}: {name}['mode'] is {mode!r}, expected 'train' or 'test'")
    return mode


def integer(function: str, name: str, value: object, low: int, high: float = math.inf,
            wrong_type: type[Exception] = TypeError) -> int:
    """A whole number from `low` to `high`; a bool is none."""
    try:
        if isinstance(value, (bool, np.bool_)):  # NumPy before 2.3 takes its own for 0 or 1, with a warning
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]  # whether it has one is what is asked
    except TypeError:
        shown, error = repr(value), wrong_type
    else:
        if low <= number <= high:
            return number
        # Python writes out no integer of thousands of digits.
        shown, error = str(number) if number.bit_length() <= 256 else f"of {number.bit_length()} bits", ValueError
    wanted = f"an integer from {low} to {high}" if high < math.inf else (
        "a positive integer" if low == 1 else f"an integer of at least {low}")
    raise error(f"{function}: {name} is {shown}, expected {wanted}")


def as_int64(array: Array) -> Array:
    """Integers of any kind and byte order as kernels take them; the array itself if it is that already.

    An unsigned one that no int64 holds becomes negative.
    """
    dtype, flags = array.dtype, array.flags
    # By its number: long and long long may be of one size and compare equal, but a kernel takes only one of them.
    if dtype.num == INT64.num and dtype.isnative and flags.c_contiguous and flags.aligned:
        return array
    return array.astype(INT64, order="C", copy=True)


def integers(function: str, name: str, value: ArrayLike, too_large: type[Exception] = ValueError) -> Array:
    """`as_int64` of what a caller gave, or an error."""
    array = value if type(value) is np.ndarray else _tables.labels(function, name, value)
    dtype = array.dtype
    if dtype.kind not in "iu" and array.size:
        raise TypeError(f"{function}: {name} has dtype {dtype}, expected integers")
    if dtype.kind == "u" and dtype.itemsize == 8 and array.size and array.max() > 2**63 - 1:
        raise too_large(f"{function}: {name} holds {array.max()}, expected at most 2**63 - 1")
    return as_int64(array)


LOSSES = ("softmax", "logistic", "squared", "poisson")


def targets(function: str, y: ArrayLike, n: int, outputs: int, loss: str, dtype: DType) -> Array:
    """Targets of a loss other than softmax as (n, outputs); one number a sample may be a vector."""
    y_nk = as_array(function, "y", y)
    if y_nk.ndim == 1 and outputs == 1:
        y_nk = y_nk.reshape(-1, 1)
    if y_nk.shape != (n, outputs):
        raise ValueError(f"{function}: y has shape {y_nk.shape}, expected ({n}, {outputs}): one row per row of X, one "
                         f"number per output, for the loss {loss!r}")
    if n == 0:
        raise ValueError(f"{function}: X has no samples, expected at least one")
    low, high = y_nk.min(), y_nk.max()
    # A comparison with NaN is false.
    if not (-math.inf < low and high < math.inf):
        raise ValueError(f"{function}: y holds a NaN or an infinity")
    if low < 0 and loss in ("logistic", "poisson") or high > 1 and loss == "logistic":
        wanted = "numbers from 0 to 1" if loss == "logistic" else "no negative number"
        raise ValueError(f"{function}: y holds {low if low < 0 else high!s}, expected {wanted} for the loss {loss!r}")
    return settle(y_nk, dtype)


def sample_weights(function: str, value: ArrayLike, n: int, dtype: DType) -> Array:
    """A weight for each sample, not all of them 0 together."""
    weight_n = as_array(function, "sample_weight", value)
    if weight_n.shape != (n,):
        raise ValueError(f"{function}: sample_weight has shape {weight_n.shape}, expected ({n},): one per row of X")
    total = float(weight_n.sum(dtype=np.float64))
    if not math.isfinite(total) or total == 0:
        raise ValueError(f"{function}: sample_weight sums to {total:g}, expected a sum that is finite and not 0")
    return settle(weight_n, dtype)


def label_vector(function: str, y: ArrayLike, n: int) -> Array:
    """Class labels as a C-contiguous int64 vector of length `n`, not yet held against the classes."""
    y_n = integers(function, "y", y)
    if y_n.shape != (n,):
        raise ValueError(f"{function}: y has shape {y_n.shape}, expected ({n},): one label per row of x")
    return y_n


def labels(function: str, y: ArrayLike, n: int, classes: int) -> Array:
    """The same, each in [0, classes)."""
    y_n = label_vector(function, y, n)
    # Read as unsigned, a negative label is a huge one: one pass finds both ends.
    if n and y_n.view(np.uint64).max() >= classes:
        low, high = int(y_n.min()), int(y_n.max())
        raise ValueError(
            f"{function}: y holds the label {low if low < 0 else high}, "
            f"but x has {classes} classes (0 to {classes - 1})"
        )
    return y_n
