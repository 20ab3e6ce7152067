"""Numerical gradients by centred differences, to hold analytic ones against.

Each function changes its array in place while it probes it, and puts every element back.
"""

import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from daseCV_c._types import Array, ArrayLike

__all__ = [
    "eval_numerical_gradient", "eval_numerical_gradient_array", "eval_numerical_gradient_blobs",
    "eval_numerical_gradient_net", "grad_check_sparse",
]


def _probed(function: str, x: object) -> None:
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        what = f"an array of {x.dtype}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
        raise TypeError(f"{function}: x is {what}, expected an ndarray of floats to probe in place")
    if not x.flags.writeable:
        raise ValueError(f"{function}: x is read-only, but it is probed in place")


def _difference(f: Callable[[], Any], x: Array, index: tuple[int, ...], h: float) -> tuple[Any, Any]:
    """f above and below one element of x, which is put back whatever f does."""
    old = x[index]
    try:
        x[index] = old + h
        above = f()
        x[index] = old - h
        below = f()
    finally:
        x[index] = old
    return above, below


def eval_numerical_gradient(f: Callable[[Array], Any], x: Array, verbose: bool = True, h: float = 0.00001) -> Array:
    """Gradient of a scalar function: ``(f(x + h) - f(x - h)) / 2h``, element by element.

    Parameters
    ----------
    f : callable
        Takes x, gives a number.
    x : ndarray of floats
        Probed in place and put back.
    verbose : bool
        Print each element's index and derivative.
    h : float

    Returns
    -------
    grad : ndarray, shape of x

    Raises
    ------
    TypeError, ValueError
        x is not a writeable ndarray of floats.

    References
    ----------
    CS231n, "Neural Networks Part 3", https://cs231n.github.io/neural-networks-3/#gradcheck

    Examples
    --------
    >>> import numpy as np
    >>> eval_numerical_gradient(lambda x: (x ** 2).sum(), np.array([1., 2.]), verbose=False).round(6).tolist()
    [2.0, 4.0]
    """
    _probed("eval_numerical_gradient", x)
    grad = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        above, below = _difference(lambda: f(x), x, index, h)
        grad[index] = (above - below) / (2 * h)
        if verbose:
            print(index, grad[index])
    return grad


def eval_numerical_gradient_array(f: Callable[[Array], Any], x: Array, df: ArrayLike, h: float = 1e-5) -> Array:
    """Gradient of an array function, contracted with the upstream gradient df.

    ``grad[i] = sum((f(x + h e_i) - f(x - h e_i)) * df) / 2h``.

    Parameters
    ----------
    f : callable
        Takes x, gives an array.
    x : ndarray of floats
        Probed in place and put back.
    df : array, shape of f(x)
    h : float

    Returns
    -------
    grad : ndarray, shape of x

    Raises
    ------
    TypeError, ValueError
        x is not a writeable ndarray of floats.

    References
    ----------
    CS231n, "Neural Networks Part 3", https://cs231n.github.io/neural-networks-3/#gradcheck

    Examples
    --------
    >>> import numpy as np
    >>> x, df = np.array([1., 2.]), np.array([1., 10.])
    >>> eval_numerical_gradient_array(lambda x: 3 * x, x, df).round(6).tolist()
    [3.0, 30.0]
    """
    _probed("eval_numerical_gradient_array", x)
    grad = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        # Copies: f may give a view of x, which changes under it.
        above, below = _difference(lambda: np.array(f(x)), x, index, h)
        grad[index] = np.sum((above - below) * df) / (2 * h)
    return grad


def eval_numerical_gradient_blobs(
    f: Callable[..., object], inputs: Iterable[Any], output: Any, h: float = 1e-5,
) -> list[Array]:
    """Gradients of a function that writes into a blob.

    Parameters
    ----------
    f : callable
        Called as ``f(*inputs, output)``; writes ``output.vals``.
    inputs : sequence of blobs
        Objects with ``vals`` and ``diffs``.
    output : blob
        Its ``diffs`` is the upstream gradient.
    h : float

    Returns
    -------
    diffs : list of ndarray
        One per input.

    Raises
    ------
    TypeError, ValueError
        An input's vals is not a writeable ndarray of floats.

    References
    ----------
    CS231n, "Neural Networks Part 3", https://cs231n.github.io/neural-networks-3/#gradcheck

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace as Blob
    >>> a, out = Blob(vals=np.array([2.]), diffs=np.zeros(1)), Blob(vals=np.zeros(1), diffs=np.ones(1))
    >>> def double(a, out):
    ...     out.vals[:] = 2 * a.vals
    >>> eval_numerical_gradient_blobs(double, [a], out)[0].round(6).tolist()
    [2.0]
    """
    diffs = []

    def value() -> Array:
        f(*inputs, output)
        return np.copy(output.vals)

    for blob in inputs:
        _probed("eval_numerical_gradient_blobs", blob.vals)
        diff = np.zeros_like(blob.diffs)
        for index in np.ndindex(blob.vals.shape):
            above, below = _difference(value, blob.vals, index, h)
            diff[index] = np.sum((above - below) * output.diffs) / (2 * h)
        diffs.append(diff)
    return diffs


def eval_numerical_gradient_net(net: Any, inputs: Iterable[Any], output: Any, h: float = 1e-5) -> list[Array]:
    """`eval_numerical_gradient_blobs` of ``net.forward``: ``sum((f(x + h) - f(x - h)) * output.diffs) / 2h``.

    Parameters
    ----------
    net : object
        ``net.forward()`` reads the inputs and writes ``output.vals``.
    inputs : iterable of blobs
        ``vals`` is a writeable array of floats, probed in place and put back; the gradient has its shape.
    output : blob
        ``vals`` is the output, ``diffs`` the upstream gradient.
    h : float

    Returns
    -------
    grads : list of array
        One for each input.

    Raises
    ------
    TypeError, ValueError
        As `eval_numerical_gradient_blobs`.

    References
    ----------
    CS231n, "Neural Networks Part 3", https://cs231n.github.io/neural-networks-3/#gradcheck

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace as Blob
    >>> a, out = Blob(vals=np.array([2.]), diffs=np.zeros(1)), Blob(vals=np.zeros(1), diffs=np.ones(1))
    >>> def forward():
    ...     out.vals[:] = a.vals ** 2
    >>> eval_numerical_gradient_net(Blob(forward=forward), [a], out)[0].round(6).tolist()
    [4.0]
    """
    return eval_numerical_gradient_blobs(lambda *args: net.forward(), inputs, output, h=h)


def grad_check_sparse(
    f: Callable[[Array], Any], x: Array, analytic_grad: ArrayLike, num_checks: int = 10, h: float = 1e-5,
) -> None:
    """Compare an analytic gradient with the numerical one at a few random elements, and print both.

    Parameters
    ----------
    f : callable
        Takes x, gives a number.
    x : ndarray of floats
        Probed in place and put back.
    analytic_grad : array, shape of x
    num_checks : int
    h : float

    Raises
    ------
    TypeError, ValueError
        x is not a writeable ndarray of floats, or the shapes differ.

    References
    ----------
    CS231n, "Neural Networks Part 3", https://cs231n.github.io/neural-networks-3/#gradcheck

    Examples
    --------
    >>> import numpy as np
    >>> grad_check_sparse(lambda x: 2 * x.sum(), np.ones(1), np.array([2.]), num_checks=1)
    ... # doctest: +ELLIPSIS
    numerical: 2.000000 analytic: 2.000000, relative error: ...
    """
    _probed("grad_check_sparse", x)
    analytic_grad = np.asarray(analytic_grad)
    if analytic_grad.shape != x.shape:
        raise ValueError(
            f"grad_check_sparse: analytic_grad has shape {analytic_grad.shape}, but x has shape {x.shape}")
    for _ in range(num_checks):
        index = tuple(random.randrange(m) for m in x.shape)
        above, below = _difference(lambda: f(x), x, index, h)
        numerical = (above - below) / (2 * h)
        analytic = analytic_grad[index]
        scale = abs(numerical) + abs(analytic)
        error = abs(numerical - analytic) / scale if scale else 0.0
        print(f"numerical: {numerical:f} analytic: {analytic:f}, relative error: {error:e}")
