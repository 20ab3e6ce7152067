"""The data that a Solver is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c import _checks
from daseCV_c._types import Array


def splits(data: dict[str, Any]) -> dict[str, Array]:
    """X_train, y_train, X_val and y_val as arrays that fit each other."""
    missing = [k for k in ("X_train", "y_train", "X_val", "y_val") if k not in data]
    if missing:
        raise ValueError(f"Solver: data has no {', '.join(missing)}, expected X_train, y_train, X_val, y_val")
    found: dict[str, Array] = {}
    for split in ("train", "val"):
        X, y = np.asarray(data[f"X_{split}"]), np.asarray(data[f"y_{split}"])
        if y.ndim != 1 or X.ndim < 1 or len(X) != len(y):
            raise ValueError(f"Solver: X_{split} has shape {X.shape} and y_{split} {y.shape}, "
                             "expected one label per sample")
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
