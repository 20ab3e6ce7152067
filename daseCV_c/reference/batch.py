"""Drawing a batch in plain NumPy."""

import numpy as np


def gather_batch(X, index, mean=None, dtype=None):
    """X[index] - mean, computed in float64 and cast to dtype."""
    X = np.asarray(X)
    if dtype is None:
        dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.float64
    batch = X[np.asarray(index)]
    if mean is not None:
        batch = batch.astype(np.float64) - np.asarray(mean, np.float64)
    return batch.astype(dtype)
