"""Update rules: each takes ``(w, dw, config)`` and returns ``(next_w, config)``.

`config` is the caller's dict. Missing settings get their defaults, the state is kept in it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._types import Array, ArrayLike, Params

__all__ = ["adagrad", "adam", "adamw", "nesterov", "rmsprop", "sgd", "sgd_momentum"]

# What a rule reads from its configuration, with the defaults, and the state that it keeps there. The training step
# reads the same tables; src/step/rules.h has the same names in capitals.
SETTINGS: dict[str, dict[str, float]] = {
    "sgd": {"learning_rate": 1e-2},
    "sgd_momentum": {"learning_rate": 1e-2, "momentum": 0.9},
    "nesterov": {"learning_rate": 1e-2, "momentum": 0.9},
    "rmsprop": {"learning_rate": 1e-2, "decay_rate": 0.99, "epsilon": 1e-8},
    "adagrad": {"learning_rate": 1e-2, "epsilon": 1e-8},
    "adam": {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "adamw": {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 1e-2},
}
STATES = reference.optim.STATES
COUNTING = frozenset({"adam", "adamw"})  # rules that keep the number of their steps too, under t
# The settings, in the order above, as the kernels take them: rate, keep1, keep2, eps, weight decay.
NUMBERS: dict[str, Callable[..., tuple[float, float, float, float, float]]] = {
    "sgd": lambda rate: (rate, 0.0, 0.0, 0.0, 0.0),
    "sgd_momentum": lambda rate, momentum: (rate, momentum, 0.0, 0.0, 0.0),
    "nesterov": lambda rate, momentum: (rate, momentum, 0.0, 0.0, 0.0),
    "rmsprop": lambda rate, decay, eps: (rate, decay, 0.0, eps, 0.0),
    "adagrad": lambda rate, eps: (rate, 0.0, 0.0, eps, 0.0),
    "adam": lambda rate, beta1, beta2, eps: (rate, beta1, beta2, eps, 0.0),
    "adamw": lambda rate, beta1, beta2, eps, weight_decay: (rate, beta1, beta2, eps, weight_decay),
}


def _checked(
    function: str, w: ArrayLike, dw: ArrayLike, config: Params | None,
) -> tuple[list[float], Sequence[Array]]:
    """Check everything before the caller's dict is touched.

    Returns the settings' values in order, and w, dw and the states as arrays of one dtype and layout.
    """
    if config is not None:
        _checks.dictionary(function, "config", config)
    given = config or {}
    found: list[Any] = [w, dw, *map(given.get, STATES[function])]
    if _checks.alike(found):  # the usual call, in fewer steps: they are most of a small one
        rates = []
        for key, default in SETTINGS[function].items():
            rate = given.get(key, default)
            if type(rate) is not float or rate != rate:
                break
            rates.append(rate)
        else:
            return rates, found
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


def _count(function: str, config: Params | None) -> int:
    """The number of the step, from 1; 0 for a rule that does not count them."""
    if function not in COUNTING:
        return 0
    value = config.get("t", 0) if config else 0
    if type(value) is int and 0 <= value < 2**31 - 1:
        return value + 1
    t = _checks.number(function, "config", {"t": value}, "t", low=0)
    if not t.is_integer() or t >= 2**31 - 1:
        raise ValueError(f"{function}: config['t'] is {t!r}, expected the number of steps taken")
    return int(t) + 1


def _filled(function: str, config: Params | None) -> Params:
    config = {} if config is None else config
    for key, default in SETTINGS[function].items():
        if key not in config:
            config[key] = default
    return config


def _step(function: str, w: ArrayLike, dw: ArrayLike, config: Params | None) -> tuple[Array, Params]:
    """A step of a rule whose next parameter and state are new arrays."""
    rates, (w_, dw_, *states) = _checked(function, w, dw, config)
    t, keys = _count(function, config), STATES[function]
    kernels = _backend.kernels_of(w_.dtype)
    if kernels is None:
        given: Params = dict(zip(SETTINGS[function], rates, strict=True)) | dict(zip(keys, states, strict=True))
        if t:
            given["t"] = t - 1
        next_w, given = getattr(reference, function)(w_, dw_, given)
        new = [given[key] for key in keys]
    else:
        next_w, new = np.empty_like(w_), [np.empty_like(w_) for _ in keys]
        missing = [None] * (2 - len(keys))
        arrays: list[Any] = [w_, dw_, *states, *missing, next_w, *new, *missing]
        flat: list[Any] = [None if array is None else array.ravel() for array in arrays]
        flat += *NUMBERS[function](*rates), t, _threads.effective()
        kernels.optim.update(function, *flat)
    config = _filled(function, config)
    for key, state in zip(keys, new, strict=True):
        config[key] = state
    if t:
        config["t"] = t
    return next_w, config


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
        flat = w.ravel()
        kernels.optim.update(function, flat, dw_.ravel(), None, None, flat, None, None, *NUMBERS[function](rate), 0,
                             _threads.effective())
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
    return _step("sgd_momentum", w, dw, config)


def nesterov(w: ArrayLike, dw: ArrayLike, config: Params | None = None) -> tuple[Array, Params]:
    """Nesterov momentum: the velocity's next step is taken before its gradient is known.

    ``next_v = momentum * v - learning_rate * dw``,
    ``next_w = w - momentum * v + (1 + momentum) * next_v``.

    w is where the gradient is taken: ``momentum * v`` ahead of the parameter of Nesterov's own equations.

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
    Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013.
    CS231n, "Neural Networks Part 3", https://cs231n.github.io/neural-networks-3/#sgd, whose formula this is.

    Examples
    --------
    >>> next_w, config = nesterov([1.], [10.], {'learning_rate': 0.1, 'momentum': 0.5})
    >>> next_w.tolist(), config['velocity'].tolist()
    ([-0.5], [-1.0])
    """
    return _step("nesterov", w, dw, config)


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
    return _step("rmsprop", w, dw, config)


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
    return _step("adagrad", w, dw, config)


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
    return _step("adam", w, dw, config)


def adamw(w: ArrayLike, dw: ArrayLike, config: Params | None = None) -> tuple[Array, Params]:
    """Adam with decoupled weight decay: each step takes a share of the parameter itself, which no moment sees.

    ``t += 1``, ``m = beta1 * m + (1 - beta1) * dw``, ``v = beta2 * v + (1 - beta2) * dw**2``,
    ``next_w = w - learning_rate * weight_decay * w
    - learning_rate * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon)``.

    In a Solver all parameters decay, biases, gamma and beta too, as in PyTorch. A network's `reg` is
    another thing: its gradient is part of dw, and the moments see it.

    Parameters
    ----------
    w, dw : array, the same shape
    config : dict, optional
        ``learning_rate``, default 1e-3; ``beta1``, default 0.9; ``beta2``, default 0.999;
        ``epsilon``, default 1e-8; ``weight_decay``, default 1e-2; ``m`` and ``v``, zeros at first
        and replaced by new arrays; ``t``, the number of steps taken, default 0.

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
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, https://arxiv.org/abs/1711.05101
    The decay is multiplied by the learning rate, as in torch.optim.AdamW, whose defaults these are.

    Examples
    --------
    >>> next_w, config = adamw([1.], [2.], {'learning_rate': 0.5, 'weight_decay': 0.5, 'epsilon': 0.0})
    >>> round(float(next_w[0]), 6), config['t']
    (0.25, 1)
    """
    return _step("adamw", w, dw, config)
