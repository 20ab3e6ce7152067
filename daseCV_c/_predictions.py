"""What cannot be predictions of classes."""

from __future__ import annotations

import numpy as np

from daseCV_c._types import Array


def unfit(preds: Array, rows: int | None = None, classes: int | None = None) -> str | None:
    """What is wrong with predictions, with what was expected, or None. Classes are numbered from 0."""
    expected = "expected a class, which is a whole number from 0" + (f" to {classes - 1}" if classes else "")
    if preds.ndim != 1:
        return f"has shape {preds.shape}, expected (N,)" if rows is None else \
            f"has shape {preds.shape}, expected ({rows},)"
    if rows is not None and len(preds) != rows:
        return f"has {len(preds)} rows, expected {rows}"
    wrong = np.zeros(len(preds), bool)
    if preds.dtype.kind == "f":
        wrong = ~np.isfinite(preds) | (preds != np.floor(preds))
    if preds.dtype.kind in "fi":
        wrong |= preds < 0
    if classes is not None:
        wrong |= preds >= classes
    if not wrong.any():
        return None
    at = int(wrong.argmax())
    return f"has {preds[at]} at position {at}, {expected}"
