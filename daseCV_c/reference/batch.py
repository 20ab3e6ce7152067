"""Drawing a batch in plain NumPy."""

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c._types import Array, ArrayLike


def gather_batch(
    X: ArrayLike, index: ArrayLike, mean: ArrayLike | None = None, dtype: DTypeLike | None = None,
) -> Array:
    """X[index] - mean, computed in float64 and cast to dtype."""
    X = np.asarray(X)
    if dtype is None:
        dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.float64
    batch: Array = X[np.asarray(index)]
    if mean is not None:
        batch = batch.astype(np.float64) - np.asarray(mean, np.float64)
    return batch.astype(dtype)
