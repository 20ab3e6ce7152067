"""Losses on class scores."""

from collections.abc import Callable

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._runtime.kernels import Kernels
from daseCV_c._types import Array, ArrayLike


def _loss(
    function: str, x: ArrayLike, y: ArrayLike, twin: Callable[[Array, Array], tuple[float, Array]],
    entry: Callable[[Kernels], Callable[[Array, Array, Array, int], float]],
) -> tuple[float, Array]:
    x_nc = _checks.one_array(function, "x", x)
    _checks.rank(function, "x", x_nc, 2)
    if 0 in x_nc.shape:
        raise ValueError(f"{function}: x has shape {x_nc.shape}, expected at least one sample and one class")
    kernels = _backend.kernels_of(x_nc.dtype)
    if kernels is None:
        return twin(x_nc, _checks.labels(function, y, *x_nc.shape))
    y_n = _checks.label_vector(function, y, len(x_nc))  # the kernel refuses labels that are out of range
    dx_nc = np.empty_like(x_nc)
    return entry(kernels)(x_nc, y_n, dx_nc, _threads.effective()), dx_nc


def _output_loss(scores: Array, y: Array, loss: str, weight: Array | None) -> tuple[float, Array]:
    """The loss of a network's scores, weighted, and its gradient: see `daseCV_c.reference.losses`."""
    return reference.losses.output_loss(scores, y, loss, weight)


def svm_loss(x: ArrayLike, y: ArrayLike) -> tuple[float, Array]:
    """Multiclass SVM loss: the mean over the batch of ``sum_{j != y} max(0, x_j - x_y + 1)``.

    Parameters
    ----------
    x : array, (N, C)
        Scores.
    y : array of integers, (N,)
        Labels, 0 <= y < C.

    Returns
    -------
    loss : float
        Summed in double precision.
    dx : array, (N, C)
        Gradient of the loss with respect to x.

    Raises
    ------
    ValueError
        Empty batch, wrong shape, or a label outside [0, C).
    TypeError
        Labels are not integers, or x is not an array of real numbers.

    References
    ----------
    Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition", ESANN 1999.

    Examples
    --------
    >>> loss, dx = svm_loss([[1., 1.]], [0])
    >>> loss, dx.tolist()
    (1.0, [[-1.0, 1.0]])
    """
    return _loss("svm_loss", x, y, reference.svm_loss, lambda kernels: kernels.losses.svm_loss)


def softmax_loss(x: ArrayLike, y: ArrayLike) -> tuple[float, Array]:
    """Softmax loss: the mean over the batch of ``log(sum_j exp(x_j)) - x_y``.

    Parameters
    ----------
    x : array, (N, C)
        Scores.
    y : array of integers, (N,)
        Labels, 0 <= y < C.

    Returns
    -------
    loss : float
        Summed in double precision.
    dx : array, (N, C)
        Gradient of the loss with respect to x.

    Raises
    ------
    ValueError
        Empty batch, wrong shape, or a label outside [0, C).
    TypeError
        Labels are not integers, or x is not an array of real numbers.

    References
    ----------
    CS231n, "Linear Classification", https://cs231n.github.io/linear-classify/#softmax

    Examples
    --------
    >>> loss, dx = softmax_loss([[0., 0.]], [1])
    >>> round(loss, 6), dx.tolist()
    (0.693147, [[0.5, -0.5]])
    """
    return _loss("softmax_loss", x, y, reference.softmax_loss, lambda kernels: kernels.losses.softmax_loss)
