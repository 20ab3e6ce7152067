"""ReLU."""

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._types import Array, ArrayLike


def relu_forward(x: ArrayLike) -> tuple[Array, ArrayLike]:
    """Rectified linear unit, forward: ``out = max(x, 0)``.

    Parameters
    ----------
    x : array, any shape
        NaN passes through.

    Returns
    -------
    out : array, shape of x
        float32 for float32, else float64.
    cache : array
        x itself.

    Raises
    ------
    TypeError
        x is not an array of real numbers.

    References
    ----------
    Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", ICML 2010.

    Examples
    --------
    >>> relu_forward([-1., 0., 2.])[0].tolist()
    [0.0, 0.0, 2.0]
    """
    x_ = _checks.one_array("relu_forward", "x", x)
    kernels = _backend.kernels_of(x_.dtype)
    if kernels is None:
        return reference.relu_forward(x_)[0], x
    out = np.empty_like(x_)
    kernels.activation.relu_forward(x_.reshape(-1), out.reshape(-1), _threads.effective())
    return out, x


def relu_backward(dout: ArrayLike, cache: ArrayLike) -> Array:
    """Rectified linear unit, backward: ``dx = dout`` where ``x > 0``, else 0.

    Parameters
    ----------
    dout : array, shape of x
        Upstream gradient.
    cache : array
        x of `relu_forward`.

    Returns
    -------
    dx : array, shape of x

    Raises
    ------
    ValueError
        dout and x differ in shape.
    TypeError
        An input is not an array of real numbers.

    References
    ----------
    CS231n, "Backpropagation, Intuitions", https://cs231n.github.io/optimization-2/

    Examples
    --------
    >>> relu_backward([5., 5., 5.], [-1., 0., 2.]).tolist()
    [0.0, 0.0, 5.0]
    """
    dout_, x_ = _checks.arrays("relu_backward", ("dout", "cache"), dout, cache)
    _checks.same_shape("relu_backward", "dout", dout_, x_.shape, "x")
    kernels = _backend.kernels_of(x_.dtype)
    if kernels is None:
        return reference.relu_backward(dout_, x_)
    dx = np.empty_like(x_)
    kernels.activation.relu_backward(dout_.reshape(-1), x_.reshape(-1), dx.reshape(-1), _threads.effective())
    return dx
