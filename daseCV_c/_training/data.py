"""The data that a Solver is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c import _checks, _tables
from daseCV_c._types import Array


def splits(data: dict[str, Any], own: bool, classes: bool) -> dict[str, Array]:
    """X_train, y_train, X_val and y_val as arrays that fit each other.

    For a network of the package (`own`) samples become numbers, and labels of `classes` that are whole numbers
    integers.
    A model of the user's own may read other things.
    """
    missing = [k for k in ("X_train", "y_train", "X_val", "y_val") if k not in data]
    if missing:
        raise ValueError(f"Solver: data has no {', '.join(missing)}, expected X_train, y_train, X_val, y_val")
    columns = [_tables.names_of(data[f"X_{split}"]) for split in ("train", "val")]
    if None not in columns and columns[0] != columns[1]:
        raise ValueError(f"Solver: X_train has the columns {', '.join(columns[0] or [])}, but X_val has "
                         f"{', '.join(columns[1] or [])}")
    found: dict[str, Array] = {}
    for split in ("train", "val"):
        X = _tables.samples("Solver", f"X_{split}", data[f"X_{split}"], strict=own)
        y = _tables.labels("Solver", f"y_{split}", data[f"y_{split}"])
        y = _tables.whole(y) if own and classes else y
        if y.ndim != 1 or X.ndim < 1 or len(X) != len(y):
            hint = f": np.ravel(y_{split})" if y.shape[1:] == (1,) else ""
            raise ValueError(f"Solver: X_{split} has shape {X.shape} and y_{split} {y.shape}, "
                             f"expected one label per sample{hint}")
        if own and X.ndim == 1:
            raise ValueError(f"Solver: X_{split} has shape {X.shape}, expected (N, d_1, ..., d_k): for samples of one "
                             f"feature np.reshape(X_{split}, (-1, 1))")
        if len(X) == 0:
            raise ValueError(f"Solver: X_{split} has shape {X.shape}, expected at least one sample")
        found |= {f"X_{split}": X, f"y_{split}": y}
    return found


def mean_image(data: dict[str, Any], *splits: Array) -> Array | None:
    """The mean image of `data` in float64 if one of the splits is of uint8; else None: they have lost it."""
    images = [X for X in splits if X.dtype == np.uint8]
    if not images or "mean_image" not in data:
        return None
    mean = _checks.as_array("Solver", "data['mean_image']", data["mean_image"])
    for X in images:
        if mean.shape != X.shape[1:]:
            raise ValueError(
                f"Solver: data['mean_image'] has shape {mean.shape}, but an image has shape {X.shape[1:]}")
    return _checks.settle(mean, np.dtype(np.float64))
