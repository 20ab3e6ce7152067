"""Update rules: each takes ``(w, dw, config)`` and returns ``(next_w, config)``.

`config` is the caller's dict. Missing settings get their defaults, the state is kept in it.
"""

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._types import Array, ArrayLike, Params

__all__ = ["adagrad", "adam", "rmsprop", "sgd", "sgd_momentum"]

# What a rule reads from its configuration, with the defaults, and the state that it keeps there beside
# adam's count t: in the order in which its kernel takes them. The training step reads the same tables.
SETTINGS: dict[str, dict[str, float]] = {
    "sgd": {"learning_rate": 1e-2},
    "sgd_momentum": {"learning_rate": 1e-2, "momentum": 0.9},
    "rmsprop": {"learning_rate": 1e-2, "decay_rate": 0.99, "epsilon": 1e-8},
    "adam": {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "adagrad": {"learning_rate": 1e-2, "epsilon": 1e-8},
}
STATES: dict[str, tuple[str, ...]] = {
    "sgd": (), "sgd_momentum": ("velocity",), "rmsprop": ("cache",), "adam": ("m", "v"), "adagrad": ("cache",)}


def _checked(
    function: str, w: ArrayLike, dw: ArrayLike, config: Params | None,
) -> tuple[list[float], tuple[Array, ...]]:
    """Check everything before the caller's dict is touched.

    Returns the settings' values in order, and w, dw and the states as arrays of one dtype and layout.
    """
    if config is not None:
        _checks.dictionary(function, "config", config)
    given = config or {}
    w_, dw_ = _checks.as_array(function, "w", w), _checks.as_array(function, "dw", dw)
    _checks.same_shape(function, "dw", dw_, w_.shape, "w")
    names, values = ["w", "dw"], [w_, dw_]
    for key in STATES[function]:
        name, state = f"config[{key!r}]", given.get(key)
        if state is None:
            # Zeros in w's dtype, float64 for a w of integers: a state holds fractions.
            state = np.zeros(w_.shape, _checks.float_dtype(w_))
        else:
            state = _checks.as_array(function, name, state)
            _checks.same_shape(function, name, state, w_.shape, "w")
        names.append(name)
        values.append(state)
    rates = [_checks.number(function, "config", given, key, default) for key, default in SETTINGS[function].items()]
    return rates, _checks.arrays(function, names, *values)


def _flat(array: Array) -> Array:
    """As the kernels take it: a rule takes each element for itself."""
    return array.reshape(-1)


def _filled(function: str, config: Params | None) -> Params:
    config = {} if config is None else config
    for key, default in SETTINGS[function].items():
        config.setdefault(key, default)
    return config


def sgd(w: ArrayLike, dw: ArrayLike, config: Params | None = None) -> tuple[Array, Params]:
    """Stochastic gradient descent: ``w -= learning_rate * dw``, in place.

    Parameters
    ----------
    w : ndarray of float32 or float64
        Changed in place, so it must be writeable.
    dw : array, shape of w
    config : dict, optional
        ``learning_rate``, default 1e-2.

    Returns
    -------
    w : ndarray
        The array that came in.
    config : dict

    Raises
    ------
    ValueError
        w is read-only, or dw has another shape.
    TypeError
        w is not an ndarray of floats, dw not an array of real numbers, or learning_rate not a number.

    References
    ----------
    CS231n, "Neural Networks Part 3", https://cs231n.github.io/neural-networks-3/#sgd

    Examples
    --------
    >>> import numpy as np
    >>> sgd(np.array([1., 2.]), np.array([10., 10.]))[0].tolist()
    [0.9, 1.9]
    """
    function = "sgd"
    if not isinstance(w, np.ndarray) or w.dtype.kind != "f":
        what = f"an array of {w.dtype}" if isinstance(w, np.ndarray) else f"a {type(w).__name__}"
        raise TypeError(f"{function}: w is {what}, expected an ndarray of floats to change in place")
    (rate,), (w_, dw_) = _checked(function, w, dw, config)
    if not w.flags.writeable:
        raise ValueError(f"{function}: w is read-only, but it is changed in place")
    kernels = _backend.kernels_of(w_.dtype)
    config = _filled(function, config)
    # w_ is a copy where w has another layout or a narrower dtype: NumPy then writes through w.
    if kernels is None or w_ is not w or np.may_share_memory(w, dw_):
        reference.sgd(w, dw_, {"learning_rate": rate})
    else:
        kernels.optim.sgd(_flat(w), _flat(dw_), rate, _threads.effective())
    return w, config


def sgd_momentum(w: ArrayLike, dw: ArrayLike, config: Params | None = None) -> tuple[Array, Params]:
    """Momentum: ``v = momentum * v - learning_rate * dw``, ``next_w = w + v``.

    Parameters
    ----------
    w, dw : array, the same shape
    config : dict, optional
        ``learning_rate``, default 1e-2; ``momentum``, default 0.9; ``velocity``, zeros at first
        and replaced by a new array.

    Returns
    -------
    next_w : array
        float32 when all arrays are float32, else float64.
    config : dict

    Raises
    ------
    ValueError
        Shapes differ.
    TypeError
        An array does not hold real numbers, or a setting is not a number.

    References
    ----------
    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.

    Examples
    --------
    >>> next_w, config = sgd_momentum([1.], [10.], {'learning_rate': 0.1})
    >>> next_w.tolist(), config['velocity'].tolist()
    ([0.0], [-1.0])
    """
    function = "sgd_momentum"
    (rate, momentum), (w_, dw_, v) = _checked(function, w, dw, config)
    kernels = _backend.kernels_of(w_.dtype)
    if kernels is None:
        state: Params = {"learning_rate": rate, "momentum": momentum, "velocity": v}
        next_w, _ = reference.sgd_momentum(w_, dw_, state)
        next_v = state["velocity"]
    else:
        next_w, next_v = np.empty_like(w_), np.empty_like(w_)
        kernels.optim.sgd_momentum(
            _flat(w_), _flat(dw_), _flat(v), rate, momentum, _flat(next_w), _flat(next_v), _threads.effective())
    config = _filled(function, config)
    config["velocity"] = next_v
    return next_w, config


def rmsprop(w: ArrayLike, dw: ArrayLike, config: Params | None = None) -> tuple[Array, Params]:
    """RMSProp: a moving average of squared gradients sets each parameter's rate.

    ``cache = decay_rate * cache + (1 - decay_rate) * dw**2``,
    ``next_w = w - learning_rate * dw / (sqrt(cache) + epsilon)``.

    Parameters
    ----------
    w, dw : array, the same shape
    config : dict, optional
        ``learning_rate``, default 1e-2; ``decay_rate``, default 0.99; ``epsilon``, default 1e-8;
        ``cache``, zeros at first and replaced by a new array.

    Returns
    -------
    next_w : array
        float32 when all arrays are float32, else float64.
    config : dict

    Raises
    ------
    ValueError
        Shapes differ.
    TypeError
        An array does not hold real numbers, or a setting is not a number.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5: rmsprop", COURSERA: Neural Networks for Machine Learning, 2012.

    Examples
    --------
    >>> next_w, config = rmsprop([1.], [2.], {'decay_rate': 0.0, 'learning_rate': 0.5, 'epsilon': 0.0})
    >>> next_w.tolist(), config['cache'].tolist()
    ([0.5], [4.0])
    """
    function = "rmsprop"
    (rate, decay, eps), (w_, dw_, cache) = _checked(function, w, dw, config)
    kernels = _backend.kernels_of(w_.dtype)
    if kernels is None:
        state: Params = {"learning_rate": rate, "decay_rate": decay, "epsilon": eps, "cache": cache}
        next_w, _ = reference.rmsprop(w_, dw_, state)
        next_cache = state["cache"]
    else:
        next_w, next_cache = np.empty_like(w_), np.empty_like(w_)
        kernels.optim.rmsprop(
            _flat(w_), _flat(dw_), _flat(cache), rate, decay, eps, _flat(next_w), _flat(next_cache),
            _threads.effective())
    config = _filled(function, config)
    config["cache"] = next_cache
    return next_w, config


def adagrad(w: ArrayLike, dw: ArrayLike, config: Params | None = None) -> tuple[Array, Params]:
    """AdaGrad: the sum of all squared gradients so far sets each parameter's rate.

    ``cache = cache + dw**2``, ``next_w = w - learning_rate * dw / (sqrt(cache) + epsilon)``.

    Parameters
    ----------
    w, dw : array, the same shape
    config : dict, optional
        ``learning_rate``, default 1e-2; ``epsilon``, default 1e-8; ``cache``, zeros at first and
        replaced by a new array.

    Returns
    -------
    next_w : array
        float32 when all arrays are float32, else float64.
    config : dict

    Raises
    ------
    ValueError
        Shapes differ.
    TypeError
        An array does not hold real numbers, or a setting is not a number.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", JMLR 2011.
    CS231n, "Neural Networks Part 3", https://cs231n.github.io/neural-networks-3/#ada

    Examples
    --------
    >>> next_w, config = adagrad([1.], [2.], {'learning_rate': 0.5, 'epsilon': 0.0, 'cache': [12.]})
    >>> next_w.tolist(), config['cache'].tolist()
    ([0.75], [16.0])
    """
    function = "adagrad"
    (rate, eps), (w_, dw_, cache) = _checked(function, w, dw, config)
    kernels = _backend.kernels_of(w_.dtype)
    if kernels is None:
        state: Params = {"learning_rate": rate, "epsilon": eps, "cache": cache}
        next_w, _ = reference.adagrad(w_, dw_, state)
        next_cache = state["cache"]
    else:
        next_w, next_cache = np.empty_like(w_), np.empty_like(w_)
        kernels.optim.adagrad(
            _flat(w_), _flat(dw_), _flat(cache), rate, eps, _flat(next_w), _flat(next_cache), _threads.effective())
    config = _filled(function, config)
    config["cache"] = next_cache
    return next_w, config


def adam(w: ArrayLike, dw: ArrayLike, config: Params | None = None) -> tuple[Array, Params]:
    """Adam: moving averages of the gradient and of its square, corrected for their start at zero.

    ``t += 1``, ``m = beta1 * m + (1 - beta1) * dw``, ``v = beta2 * v + (1 - beta2) * dw**2``,
    ``next_w = w - learning_rate * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon)``.

    Parameters
    ----------
    w, dw : array, the same shape
    config : dict, optional
        ``learning_rate``, default 1e-3; ``beta1``, default 0.9; ``beta2``, default 0.999;
        ``epsilon``, default 1e-8; ``m`` and ``v``, zeros at first and replaced by new arrays;
        ``t``, the number of steps taken, default 0.

    Returns
    -------
    next_w : array
        float32 when all arrays are float32, else float64.
    config : dict

    Raises
    ------
    ValueError
        Shapes differ, or t is not a count.
    TypeError
        An array does not hold real numbers, or a setting is not a number.

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, https://arxiv.org/abs/1412.6980

    Examples
    --------
    >>> next_w, config = adam([1.], [2.], {'learning_rate': 0.5, 'epsilon': 0.0})
    >>> round(float(next_w[0]), 6), config['t']
    (0.5, 1)
    """
    function = "adam"
    (rate, beta1, beta2, eps), (w_, dw_, m, v) = _checked(function, w, dw, config)
    t = _checks.number(function, "config", config or {}, "t", 0, low=0)
    if not t.is_integer() or t >= 2**31 - 1:
        raise ValueError(f"{function}: config['t'] is {t!r}, expected the number of steps taken")
    t = int(t) + 1
    kernels = _backend.kernels_of(w_.dtype)
    if kernels is None:
        state: Params = {"learning_rate": rate, "beta1": beta1, "beta2": beta2, "epsilon": eps}
        state.update(m=m, v=v, t=t - 1)
        next_w, _ = reference.adam(w_, dw_, state)
        next_m, next_v = state["m"], state["v"]
    else:
        next_w, next_m, next_v = np.empty_like(w_), np.empty_like(w_), np.empty_like(w_)
        kernels.optim.adam(
            _flat(w_), _flat(dw_), _flat(m), _flat(v), rate, beta1, beta2, eps, t,
            _flat(next_w), _flat(next_m), _flat(next_v), _threads.effective())
    config = _filled(function, config)
    config.update(m=next_m, v=next_v, t=t)
    return next_w, config
