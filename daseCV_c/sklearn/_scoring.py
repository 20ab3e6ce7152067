"""The score of the validation set after an epoch.

scikit-learn's functions for it look at the labels and the predictions for a millisecond or two, as long as the kernel
trains an epoch of a small network. Here both come from the estimator, so that nothing is left to look for.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def accuracy(y: Any, predicted: Any, sample_weight: Any) -> float | None:
    """The share of the samples with all labels right; None where scikit-learn is to say it."""
    if type(y) is not np.ndarray or type(predicted) is not np.ndarray or y.shape != predicted.shape:
        return None
    right = np.asarray(y == predicted)
    if right.dtype != bool:
        return None
    return float(np.average(right.all(axis=1) if right.ndim == 2 else right, weights=sample_weight))


def r2(y: Any, predicted: Any, sample_weight: Any) -> float | None:
    """``1 - sum (y - predicted)^2 / sum (y - mean y)^2``, the mean over the outputs; None where scikit-learn is to
    say it, as for numbers that are not finite."""
    y, predicted = (part.reshape(-1, 1) if part.ndim == 1 else part for part in (y, predicted))
    if y.shape != predicted.shape or not np.isfinite(predicted).all():
        return None
    weight = 1 if sample_weight is None else sample_weight[:, None]
    residual = (weight * (y - predicted) ** 2).sum(axis=0, dtype=np.float64)
    total = (weight * (y - np.average(y, axis=0, weights=sample_weight)) ** 2).sum(axis=0, dtype=np.float64)
    if not (np.isfinite(residual).all() and (total > 0).all()):
        return None
    return float(np.mean(1 - residual / total))
