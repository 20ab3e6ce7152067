"""Batch normalization and layer normalization.

What batch norm does with rows, `spatial` does with images: `forward_by_batch` and `backward_by_batch`
serve both, `backward_of` also layer norm and group norm.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._runtime.kernels import Kernels
from daseCV_c._types import Array, ArrayLike, Cache, Entry, Params

_Settled: TypeAlias = Callable[..., tuple[Array, ...]]
_Three: TypeAlias = tuple[Array, Array, Array]


def _settled(function: str, x: ArrayLike, gamma: ArrayLike, beta: ArrayLike) -> tuple[Array, ...]:
    x_nd, gamma_d, beta_d = _checks.arrays(function, ("x", "gamma", "beta"), x, gamma, beta)
    _checks.rank(function, "x", x_nd, 2)
    d = x_nd.shape[1]
    _checks.vector(function, "gamma", gamma_d, d, "x", x_nd.shape)
    _checks.vector(function, "beta", beta_d, d, "x", x_nd.shape)
    return x_nd, gamma_d, beta_d


def _running(function: str, bn_param: Params, key: str, x: Array) -> Array:
    """A running statistic in x's dtype; zeros where there is none yet."""
    if key not in bn_param:
        return np.zeros(x.shape[1], x.dtype)
    name = f"bn_param[{key!r}]"
    value = _checks.as_array(function, name, bn_param[key])
    _checks.vector(function, name, value, x.shape[1], "x", x.shape)
    return _checks.settle(value, x.dtype)


def _flat(gamma: Array) -> Array:
    return gamma if gamma.ndim == 1 else gamma.reshape(-1)


def forward_by_batch(
    function: str, x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, bn_param: Params, settled: _Settled,
    twin: Callable[..., tuple[Array, Cache]], entries: Callable[[Kernels], tuple[Entry, Entry]], sample: str,
) -> tuple[Array, Cache]:
    """Batch norm of rows (N, D) or of images (N, C, H, W): each feature or channel over all samples.

    `settled` checks the arrays; `entries` gives the compiled functions for training and for testing;
    a `sample` is what errors call one.
    """
    _checks.dictionary(function, "bn_param", bn_param, "mode")
    mode = _checks.mode_of(function, "bn_param", bn_param)
    eps = _checks.number(function, "bn_param", bn_param, "eps", 1e-5, low=0)
    momentum = _checks.number(function, "bn_param", bn_param, "momentum", 0.9)
    x, gamma, beta = settled(function, x, gamma, beta)
    running_mean = _running(function, bn_param, "running_mean", x)
    running_var = _running(function, bn_param, "running_var", x)
    if mode == "train" and not x.size and x.shape[0] * math.prod(x.shape[2:]) == 0:
        raise ValueError(f"{function}: x has shape {x.shape}, but mode 'train' needs at least one {sample}")
    kernels = _backend.kernels_of(x.dtype)
    if kernels is None:
        fresh: Params = {"mode": mode, "eps": eps, "momentum": momentum,
                         "running_mean": running_mean, "running_var": running_var}
        out, cache = twin(x, gamma, beta, fresh)
        running_mean, running_var = fresh["running_mean"], fresh["running_var"]
    else:
        (train, test), threads = entries(kernels), _threads.effective()
        gamma_d, beta_d = _flat(gamma), _flat(beta)
        out, xhat, inv_std = np.empty_like(x), np.empty_like(x), np.empty_like(gamma_d)
        if mode == "train":
            mean, var = np.empty_like(gamma_d), np.empty_like(gamma_d)
            train(x, gamma_d, beta_d, eps, out, xhat, mean, var, inv_std, threads)
            running_mean = momentum * running_mean + (1 - momentum) * mean
            running_var = momentum * running_var + (1 - momentum) * var
        else:
            test(x, gamma_d, beta_d, running_mean, running_var, eps, out, xhat, inv_std, threads)
        cache = (mode, xhat, gamma.copy(), inv_std)
    if mode == "train" or "running_mean" not in bn_param or "running_var" not in bn_param:
        bn_param["running_mean"], bn_param["running_var"] = running_mean, running_var
    return out, cache


def backward_by_batch(
    function: str, dout: ArrayLike, cache: Any, settled: _Settled, twin: Callable[..., _Three],
    entries: Callable[[Kernels], tuple[Entry, Entry]],
) -> _Three:
    """The gradients of `forward_by_batch`; `entries` gives the compiled functions after training and after testing."""
    mode, *rest = _checks.cache_of(function, cache, 4)
    if not isinstance(mode, str) or mode not in ("train", "test"):
        forward = function.partition("_backward")[0] + "_forward"
        raise ValueError(f"{function}: cache is not one that {forward} returned")
    dout, xhat, gamma, inv_std = settled(function, dout, *rest)
    kernels = _backend.kernels_of(dout.dtype)
    if kernels is None:
        return twin(dout, (mode, xhat, gamma, inv_std))
    return backward_of(entries(kernels)[mode == "test"], dout, xhat, gamma, inv_std)


def backward_of(entry: Entry, dout: Array, xhat: Array, gamma: Array, inv_std: Array) -> _Three:
    """dx, dgamma and dbeta of any normalization, by its compiled function."""
    gamma_d = _flat(gamma)
    dx, dgamma, dbeta = np.empty_like(dout), np.empty_like(gamma_d), np.empty_like(gamma_d)
    entry(dout, xhat, gamma_d, inv_std, dx, dgamma, dbeta, _threads.effective())
    if gamma_d is gamma:
        return dx, dgamma, dbeta
    return dx, dgamma.reshape(gamma.shape), dbeta.reshape(gamma.shape)


def batchnorm_forward(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, bn_param: Params) -> tuple[Array, Cache]:
    """Batch normalization, forward: ``out = gamma * (x - mean) / sqrt(var + eps) + beta``.

    In training mean and var are those of the batch, feature by feature, var without Bessel's
    correction, and the running statistics follow:
    ``running = momentum * running + (1 - momentum) * batch``. In testing they are the running ones.

    Parameters
    ----------
    x : array, (N, D)
    gamma, beta : array, (D,)
        Scale and shift.
    bn_param : dict
        ``mode``, 'train' or 'test'; ``eps``, default 1e-5; ``momentum``, default 0.9;
        ``running_mean`` and ``running_var``, (D,), zeros at first and replaced by new arrays
        after each call in mode 'train'.

    Returns
    -------
    out : array, (N, D)
        float32 when all inputs are float32, else float64.
    cache : tuple
        For `batchnorm_backward` and `batchnorm_backward_alt`.

    Raises
    ------
    ValueError
        Shapes that do not fit, no mode or an unknown one, an empty batch in training.
    TypeError
        An input is not an array of real numbers.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015, https://arxiv.org/abs/1502.03167

    Examples
    --------
    >>> out, _ = batchnorm_forward([[0.], [2.]], [1.], [5.], {'mode': 'train', 'eps': 0.0})
    >>> out.tolist()
    [[4.0], [6.0]]
    """
    return forward_by_batch(
        "batchnorm_forward", x, gamma, beta, bn_param, _settled, reference.batchnorm_forward,
        lambda kernels: (kernels.normalization.batchnorm_forward_train, kernels.normalization.batchnorm_forward_test),
        "sample")


def _backward_settled(
    function: str, dout: ArrayLike, xhat: ArrayLike, gamma: ArrayLike, inv_std: ArrayLike, statistic: int = 1,
) -> tuple[Array, ...]:
    """dout, xhat, gamma, inv_std of one dtype; `statistic` is the axis that inv_std runs along."""
    dout_nd, xhat_nd, gamma_d, inv_std = _checks.arrays(
        function, ("dout", "the cached xhat", "the cached gamma", "the cached inv_std"),
        dout, xhat, gamma, inv_std,
    )
    _checks.rank(function, "dout", dout_nd, 2)
    _checks.same_shape(function, "dout", dout_nd, xhat_nd.shape, "the output")
    _checks.vector(function, "the cached gamma", gamma_d, xhat_nd.shape[1], "dout", dout_nd.shape)
    _checks.vector(function, "the cached inv_std", inv_std, xhat_nd.shape[statistic], "dout", dout_nd.shape)
    return dout_nd, xhat_nd, gamma_d, inv_std


def batchnorm_backward(dout: ArrayLike, cache: Any) -> _Three:
    """Batch normalization, backward, node by node along the computational graph.

    ``dgamma = sum(dout * xhat)``, ``dbeta = sum(dout)``, and dx through mean, variance and
    inverse standard deviation in turn. After a forward pass in test mode the statistics are
    constants: ``dx = dout * gamma / sqrt(var + eps)``.

    Parameters
    ----------
    dout : array, (N, D)
        Upstream gradient.
    cache : tuple
        Of `batchnorm_forward`.

    Returns
    -------
    dx : array, (N, D)
    dgamma, dbeta : array, (D,)

    Raises
    ------
    ValueError
        dout does not have the shape of the output, or cache is not the forward pass's.
    TypeError
        dout is not an array of real numbers.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015, https://arxiv.org/abs/1502.03167

    Examples
    --------
    >>> _, cache = batchnorm_forward([[0.], [2.]], [1.], [5.], {'mode': 'train', 'eps': 0.0})
    >>> dx, dgamma, dbeta = batchnorm_backward([[1.], [2.]], cache)
    >>> dgamma.tolist(), dbeta.tolist()
    ([1.0], [3.0])
    """
    return backward_by_batch(
        "batchnorm_backward", dout, cache, _backward_settled, reference.batchnorm_backward,
        lambda kernels: (kernels.normalization.batchnorm_backward, kernels.normalization.batchnorm_backward_test))


def batchnorm_backward_alt(dout: ArrayLike, cache: Any) -> _Three:
    """Batch normalization, backward, in closed form.

    ``dx = gamma * inv_std * (dout - mean(dout) - xhat * mean(dout * xhat))``: the same gradient
    as `batchnorm_backward` in fewer passes over memory.

    Parameters
    ----------
    dout : array, (N, D)
        Upstream gradient.
    cache : tuple
        Of `batchnorm_forward`.

    Returns
    -------
    dx : array, (N, D)
    dgamma, dbeta : array, (D,)

    Raises
    ------
    ValueError
        dout does not have the shape of the output, or cache is not the forward pass's.
    TypeError
        dout is not an array of real numbers.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015, https://arxiv.org/abs/1502.03167

    Examples
    --------
    >>> _, cache = batchnorm_forward([[0.], [2.]], [1.], [5.], {'mode': 'train', 'eps': 0.0})
    >>> dx, dgamma, dbeta = batchnorm_backward_alt([[1.], [2.]], cache)
    >>> dgamma.tolist(), dbeta.tolist()
    ([1.0], [3.0])
    """
    return backward_by_batch(
        "batchnorm_backward_alt", dout, cache, _backward_settled, reference.batchnorm_backward_alt,
        lambda kernels: (kernels.normalization.batchnorm_backward_alt, kernels.normalization.batchnorm_backward_test))


def layernorm_forward(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, ln_param: Params) -> tuple[Array, Cache]:
    """Layer normalization, forward: ``out = gamma * (x - mean) / sqrt(var + eps) + beta``.

    mean and var are taken over the features of each sample, so training and testing are alike.

    Parameters
    ----------
    x : array, (N, D)
    gamma, beta : array, (D,)
        Scale and shift.
    ln_param : dict
        ``eps``, default 1e-5.

    Returns
    -------
    out : array, (N, D)
        float32 when all inputs are float32, else float64.
    cache : tuple
        For `layernorm_backward`.

    Raises
    ------
    ValueError
        Shapes that do not fit, or no features.
    TypeError
        An input is not an array of real numbers.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450

    Examples
    --------
    >>> out, _ = layernorm_forward([[0., 2.]], [1., 1.], [5., 5.], {'eps': 0.0})
    >>> out.tolist()
    [[4.0, 6.0]]
    """
    function = "layernorm_forward"
    _checks.dictionary(function, "ln_param", ln_param)
    eps = _checks.number(function, "ln_param", ln_param, "eps", 1e-5, low=0)
    x_nd, gamma_d, beta_d = _settled(function, x, gamma, beta)
    if x_nd.shape[1] == 0:
        raise ValueError(f"{function}: x has shape {x_nd.shape}, expected at least one feature")
    kernels = _backend.kernels_of(x_nd.dtype)
    if kernels is None:
        return reference.layernorm_forward(x_nd, gamma_d, beta_d, {"eps": eps})
    out, xhat, inv_std_n = np.empty_like(x_nd), np.empty_like(x_nd), np.empty(x_nd.shape[0], x_nd.dtype)
    kernels.normalization.layernorm_forward(
        x_nd, gamma_d, beta_d, eps, out, xhat, inv_std_n, _threads.effective()
    )
    return out, (xhat, gamma_d.copy(), inv_std_n)


def layernorm_backward(dout: ArrayLike, cache: Any) -> _Three:
    """Layer normalization, backward.

    With ``dxhat = dout * gamma``:
    ``dx = inv_std * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))``, the means over the
    features; ``dgamma = sum(dout * xhat)`` and ``dbeta = sum(dout)`` over the batch.

    Parameters
    ----------
    dout : array, (N, D)
        Upstream gradient.
    cache : tuple
        Of `layernorm_forward`.

    Returns
    -------
    dx : array, (N, D)
    dgamma, dbeta : array, (D,)

    Raises
    ------
    ValueError
        dout does not have the shape of the output, or cache is not the forward pass's.
    TypeError
        dout is not an array of real numbers.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450

    Examples
    --------
    >>> _, cache = layernorm_forward([[0., 2.]], [1., 1.], [5., 5.], {'eps': 0.0})
    >>> dx, dgamma, dbeta = layernorm_backward([[1., 2.]], cache)
    >>> dgamma.tolist(), dbeta.tolist()
    ([-1.0, 2.0], [1.0, 2.0])
    """
    function = "layernorm_backward"
    xhat, gamma, inv_std = _checks.cache_of(function, cache, 3)
    dout_nd, xhat_nd, gamma_d, inv_std_n = _backward_settled(function, dout, xhat, gamma, inv_std, statistic=0)
    kernels = _backend.kernels_of(dout_nd.dtype)
    if kernels is None:
        return reference.layernorm_backward(dout_nd, (xhat_nd, gamma_d, inv_std_n))
    return backward_of(kernels.normalization.layernorm_backward, dout_nd, xhat_nd, gamma_d, inv_std_n)
