"""Inverted dropout."""

from typing import Any

import numpy as np

from daseCV_c import _checks, _random, reference
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._types import Array, ArrayLike, Cache, Params


def _parameters(function: str, dropout_param: Params) -> tuple[float, str]:
    _checks.dictionary(function, "dropout_param", dropout_param, "p", "mode")
    p = _checks.number(function, "dropout_param", dropout_param, "p")
    if not 0 < p <= 1:
        raise ValueError(f"{function}: dropout_param['p'] is {p}, expected a probability in (0, 1]")
    own = dropout_param.get("generator")
    if own is not None and not isinstance(own, _random.Generator):
        raise TypeError(f"{function}: dropout_param['generator'] is {own!r}, expected a numpy.random.RandomState")
    return p, _checks.mode_of(function, "dropout_param", dropout_param)


def dropout_forward(x: ArrayLike, dropout_param: Params) -> tuple[Array, Cache]:
    """Inverted dropout, forward: ``out = x * mask``, ``mask = (uniform < p) / p``.

    Parameters
    ----------
    x : array, any shape
    dropout_param : dict
        ``p``, the probability of keeping a unit, in (0, 1]; ``mode``, 'train' or 'test';
        optional ``seed``, given to ``np.random.seed`` at every call, in either mode; optional ``generator``,
        a numpy.random.RandomState that masks are drawn from, in place of NumPy's global one and its seed.

    Returns
    -------
    out : array, shape of x
        In test mode a copy of x.
    cache : tuple
        ``(dropout_param, mask)``; the mask is None in test mode.

    Raises
    ------
    ValueError
        A key is missing, p is outside (0, 1], or the mode is unknown.
    TypeError
        x is not an array of real numbers.

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15 (2014).

    Examples
    --------
    >>> out, _ = dropout_forward([1., 2.], {'p': 1.0, 'mode': 'train'})
    >>> out.tolist()
    [1.0, 2.0]
    """
    function = "dropout_forward"
    p, mode = _parameters(function, dropout_param)
    x_ = _checks.one_array(function, "x", x)
    kernels = _backend.kernels_of(x_.dtype)
    if kernels is None:
        return reference.dropout_forward(x_, dropout_param)
    if mode == "test":
        if "seed" in dropout_param and dropout_param.get("generator") is None:
            np.random.seed(dropout_param["seed"])
        return x_.copy(), (dict(dropout_param), None)
    uniform = _random.uniform(dropout_param, *x_.shape)
    mask, out = np.empty_like(x_), np.empty_like(x_)
    kernels.dropout.dropout_forward(
        x_.reshape(-1), uniform.reshape(-1), p, mask.reshape(-1), out.reshape(-1), _threads.effective())
    return out, (dict(dropout_param), mask)


def dropout_backward(dout: ArrayLike, cache: Any) -> Array:
    """Inverted dropout, backward: ``dx = dout * mask``; in test mode ``dx = dout``.

    Parameters
    ----------
    dout : array, shape of x
        Upstream gradient.
    cache : tuple
        Of `dropout_forward`.

    Returns
    -------
    dx : array, shape of x

    Raises
    ------
    ValueError
        dout and the mask differ in shape, or cache is not the forward pass's.
    TypeError
        dout is not an array of real numbers.

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15 (2014).

    Examples
    --------
    >>> _, cache = dropout_forward([1., 2.], {'p': 1.0, 'mode': 'train'})
    >>> dropout_backward([3., 4.], cache).tolist()
    [3.0, 4.0]
    """
    function = "dropout_backward"
    dropout_param, mask = _checks.cache_of(function, cache, 2)
    _, mode = _parameters(function, dropout_param)
    if mode == "test":
        return _checks.one_array(function, "dout", dout).copy()
    dout_, mask = _checks.arrays(function, ("dout", "mask"), dout, mask)
    _checks.same_shape(function, "dout", dout_, mask.shape, "the mask")
    kernels = _backend.kernels_of(dout_.dtype)
    if kernels is None:
        return reference.dropout_backward(dout_, (dropout_param, mask))
    dx = np.empty_like(dout_)
    kernels.dropout.dropout_backward(dout_.reshape(-1), mask.reshape(-1), dx.reshape(-1), _threads.effective())
    return dx
