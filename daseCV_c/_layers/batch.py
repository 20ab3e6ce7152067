"""Drawing a batch of images."""

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c import _checks, _tables, reference
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._types import Array, ArrayLike

_SOURCES = (np.uint8, np.float32, np.float64)


def gather_batch(
    X: ArrayLike, index: ArrayLike, mean: ArrayLike | None = None, dtype: DTypeLike | None = None,
) -> Array:
    """Rows of X in one pass: ``X[index] - mean``, subtracted in float64 and cast once.

    Parameters
    ----------
    X : array, (N, d_1, ..., d_k)
    index : array of integers, (B,)
        0 <= index < N.
    mean : array, (d_1, ..., d_k), optional
    dtype : {float32, float64}, optional
        Default: X's own if it is one of them, else float64.

    Returns
    -------
    batch : array, (B, d_1, ..., d_k)

    Raises
    ------
    ValueError, TypeError, IndexError
        X has no rows, index is not a vector of row numbers, mean does not have a row's shape,
        or the dtype is not a supported one.

    References
    ----------
    CS231n, "Optimization: Stochastic Gradient Descent", https://cs231n.github.io/optimization-1/

    Examples
    --------
    >>> import numpy as np
    >>> gather_batch(np.array([[1, 2], [3, 4]], np.uint8), [1, 1], mean=[1., 1.]).tolist()
    [[2.0, 3.0], [2.0, 3.0]]
    """
    X = _tables.samples("gather_batch", "X", X)
    if X.ndim < 1 or X.dtype.kind not in "biuf":
        raise TypeError(f"gather_batch: X has shape {X.shape} and dtype {X.dtype}, expected rows of real numbers")
    index = _checks.integers("gather_batch", "index", index, IndexError)
    if index.ndim != 1:
        raise TypeError(f"gather_batch: index has shape {index.shape}, expected a vector of integers")
    if dtype is None:
        dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.float64
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"gather_batch: dtype is {dtype}, expected float32 or float64")
    if mean is not None:
        mean = np.require(_checks.as_array("gather_batch", "mean", mean), np.float64, ["C", "A"])
        if mean.shape != X.shape[1:]:
            raise ValueError(f"gather_batch: mean has shape {mean.shape}, but a row of X has shape {X.shape[1:]}")
    kernels = _backend.kernels_of(dtype)
    flags = X.flags
    if kernels is not None and X.dtype in _SOURCES and X.size and index.size and flags.c_contiguous and flags.aligned:
        out = np.empty((index.size, *X.shape[1:]), dtype)
        # The kernel refuses an index that is out of range.
        kernels.batch.gather(
            X.reshape(X.shape[0], -1), index, None if mean is None else mean.reshape(-1),
            out.reshape(index.size, -1), _threads.effective(),
        )
        return out
    if index.size and not (0 <= index.min() and index.max() < X.shape[0]):
        bad = index.min() if index.min() < 0 else index.max()
        raise IndexError(f"gather_batch: index holds {bad}, but X has {X.shape[0]} rows")
    return reference.gather_batch(X, index, mean, dtype)
