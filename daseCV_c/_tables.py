"""What people keep data in, as arrays of numbers, or an error that says why not and where.

A frame (pandas, polars) or one of its columns is known by what it offers, so that no such library is imported.
What has no number, whether it is called NaN, NA, null or masked, is never given one in silence.
"""

from __future__ import annotations

import numbers
from decimal import Decimal
from typing import Any, NoReturn

import numpy as np

from daseCV_c._types import Array

_REAL = (numbers.Real, Decimal, np.bool_)
_FILL = "fill these places, or leave the rows out"


def is_frame(value: Any) -> bool:
    """Columns by their names, each of a type of its own."""
    return not isinstance(value, np.ndarray) and hasattr(value, "to_numpy") and hasattr(value, "columns") and (
        len(getattr(value, "shape", ())) == 2)


def is_column(value: Any) -> bool:
    """A column of a frame, or what its library makes of a list."""
    return not isinstance(value, np.ndarray) and hasattr(value, "dtype") and hasattr(value, "to_numpy") and (
        not is_frame(value))


def names_of(value: Any) -> list[str] | None:
    """The names of a frame's columns."""
    return list(map(str, value.columns)) if is_frame(value) else None


def dense(function: str, name: str, value: Any) -> Array:
    """``np.asarray``, but for what it would take for something else: masks, sparse matrices, frames yet to be computed.

    Values stay as they are; those of a frame may be objects.
    """
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        masked = np.argwhere(np.ma.getmaskarray(value))
        if len(masked):
            raise ValueError(f"{function}: {name} is masked in {_places(len(masked))}, first at "
                             f"{name}{_index(masked[0])}: {_FILL}")
        return np.asarray(value)
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        shape = tuple(value.shape)
        size = float(np.prod(shape, dtype=float)) * np.dtype(value.dtype).itemsize / 1e6
        raise TypeError(f"{function}: {name} is a sparse {type(value).__name__} of shape {shape}, expected a dense "
                        f"array: {name}.toarray() makes one of {size:.3g} MB")
    if hasattr(value, "collect") and not hasattr(value, "to_numpy"):
        raise TypeError(f"{function}: {name} is a {type(value).__name__}, expected a table that was computed: "
                        f"{name}.collect()")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{function}: {name} is not an array: {error}") from None


def samples(function: str, name: str, value: Any, strict: bool = True) -> Array:
    """Samples: columns of a frame brought to one type of number, and objects that are numbers to theirs.

    Not `strict`, for models that may take anything: a missing value stays NaN, and what is no number stays an object.
    """
    if type(value) is np.ndarray and value.dtype.kind != "O":
        return value
    if is_frame(value):
        return _frame(function, name, value, strict)
    array = dense(function, name, value)
    if strict and array.dtype.kind == "O":
        return _of_objects(function, name, array, None)
    if strict and is_column(value):
        _refuse_missing(function, name, array, None)
    return array


def labels(function: str, name: str, value: Any) -> Array:
    """One label a sample, of whatever kind. A missing one is an error where the kind has a sign for it."""
    if type(value) is np.ndarray:
        return value
    array = dense(function, name, value)
    if is_column(value) or is_frame(value):
        _refuse_missing(function, name, array, None)
        if array.dtype.kind == "O" and array.ndim == 1 and all(isinstance(item, _REAL) for item in array.tolist()):
            return _of_objects(function, name, array, None)
    return array


def whole(array: Array) -> Array:
    """Labels that are whole numbers, whatever their type, as int64; others as they are."""
    if array.dtype.kind == "O":
        items = array.ravel().tolist()
        if not items or not all(isinstance(item, _REAL) for item in items):
            return array
        array = np.array(items).reshape(array.shape)
        if array.dtype.kind == "i":
            array = array.astype(np.int64)  # where a pointer has 32 bits, Python's integers become such
    if array.dtype.kind == "b" or array.dtype.kind == "f" and bool(
            (np.abs(array) < 2**53).all() and (array == np.floor(array)).all()):
        array = array.astype(np.int64)
    return array


def _columns(frame: Any) -> list[Any]:
    if hasattr(frame, "iloc"):
        return [frame.iloc[:, i] for i in range(frame.shape[1])]
    return list(frame.get_columns()) if hasattr(frame, "get_columns") else [frame[:, i] for i in range(frame.shape[1])]


def _frame(function: str, name: str, frame: Any, strict: bool) -> Array:
    columns = []
    for label, column in zip(frame.columns, _columns(frame), strict=True):
        array = np.asarray(column)
        if strict and array.dtype.kind == "O":
            array = _of_objects(function, name, array, label)
        elif strict:
            if array.dtype.kind not in "biuf":
                _no_number(function, name, array, (0,) if array.size else (), label)
            _refuse_missing(function, name, array, label)
        columns.append(array)
    kinds = {array.dtype for array in columns}
    if not all(kind.kind in "biuf" for kind in kinds):
        return np.asarray(frame)
    if len(kinds) == 1:
        found = np.asarray(frame)  # mostly as it lies
        if found.dtype in kinds:
            return found
    found = np.empty(frame.shape, np.result_type(*kinds) if kinds else float)
    for i, array in enumerate(columns):
        found[:, i] = array
    return found


def _of_objects(function: str, name: str, array: Array, label: Any) -> Array:
    """Objects that are real numbers as an array of numbers; `label` names the column of a frame."""
    items = array.ravel().tolist()
    for i, item in enumerate(items):
        if not isinstance(item, _REAL):
            place = np.unravel_index(i, array.shape) if array.ndim else ()
            if label is not None and _is_missing(item):
                _refuse_missing(function, name, array, label)
            _no_number(function, name, array, place, label)
    if label is not None:
        _refuse_missing(function, name, array, label)
    try:
        found = np.asarray(items)
        return (found if found.dtype.kind in "biuf" else np.asarray(items, np.float64)).reshape(array.shape)
    except OverflowError:
        raise ValueError(f"{function}: {_column(name, label)} holds a number that is too large for a float") from None


def _is_missing(item: Any) -> bool:
    return item is None or type(item).__name__ in ("NAType", "NaTType") or (
        isinstance(item, (float, np.floating)) and bool(np.isnan(item)))


def _refuse_missing(function: str, name: str, array: Array, label: Any) -> None:
    """ValueError for the first missing value of a frame or column."""
    if array.dtype.kind == "f":
        missing = np.argwhere(np.isnan(array))
    elif array.dtype.kind == "O":
        flags = np.fromiter(map(_is_missing, array.ravel().tolist()), bool, array.size)
        missing = np.argwhere(flags.reshape(array.shape))
    elif array.dtype.kind in "mM":
        missing = np.argwhere(np.isnat(array))
    else:
        return
    if len(missing):
        raise ValueError(f"{function}: {_column(name, label)} has no value in {_places(len(missing))}, first in row "
                         f"{missing[0][0]} (of 0 to {len(array) - 1}): {_FILL}")


def _no_number(function: str, name: str, array: Array, place: Any, label: Any) -> NoReturn:
    what = f"has dtype {array.dtype}"
    if array.ndim == 0 or len(place):
        item = array[tuple(place)]
        what += f" and holds {str(item) if isinstance(item, np.generic) else repr(item)[:60]}"
    if label is not None:
        hint = ": make numbers of text by one-hot columns, such as pandas.get_dummies or OneHotEncoder"
        raise TypeError(f"{function}: {_column(name, label)} {what}{f' in row {place[0]}' if len(place) else ''}, "
                        f"expected numbers{hint if array.dtype.kind in 'OUST' else ''}")
    raise TypeError(f"{function}: {name} {what}{f' at {name}{_index(place)}' if len(place) else ''}, "
                    "expected float32, float64 or one that becomes float64")


def _column(name: str, label: Any) -> str:
    return name if label is None else f"column {str(label)!r} of {name}"


def _places(count: int) -> str:
    return f"{count} place{'s' * (count != 1)}"


def _index(place: Any) -> str:
    return f"[{', '.join(map(str, place))}]"
