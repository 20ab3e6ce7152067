"""Batch and group normalization of images."""

from typing import Any

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._layers.normalization import backward_by_batch, backward_of, forward_by_batch
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._types import Array, ArrayLike, Cache, Params


def _per_channel(function: str, name: str, array: Array, shape: tuple[int, ...]) -> None:
    """(C,) or (1, C, 1, 1)."""
    c = shape[1]
    if array.shape not in ((c,), (1, c, 1, 1)):
        raise ValueError(
            f"{function}: {name} has shape {array.shape}, "
            f"expected ({c},) or (1, {c}, 1, 1), since x has shape {shape}"
        )


def _settled(function: str, x: ArrayLike, gamma: ArrayLike, beta: ArrayLike) -> tuple[Array, ...]:
    x_nchw, gamma, beta = _checks.arrays(function, ("x", "gamma", "beta"), x, gamma, beta)
    _checks.rank(function, "x", x_nchw, 4)
    _per_channel(function, "gamma", gamma, x_nchw.shape)
    _per_channel(function, "beta", beta, x_nchw.shape)
    return x_nchw, gamma, beta


def _backward_settled(
    function: str, dout: ArrayLike, xhat: ArrayLike, gamma: ArrayLike, inv_std: ArrayLike,
) -> tuple[Array, ...]:
    dout_nchw, xhat_nchw, gamma, inv_std = _checks.arrays(
        function, ("dout", "the cached xhat", "the cached gamma", "the cached inv_std"),
        dout, xhat, gamma, inv_std,
    )
    _checks.rank(function, "dout", dout_nchw, 4)
    _checks.same_shape(function, "dout", dout_nchw, xhat_nchw.shape, "the output")
    _per_channel(function, "the cached gamma", gamma, dout_nchw.shape)
    return dout_nchw, xhat_nchw, gamma, inv_std


def _batchnorm_backward_settled(function: str, *arrays: ArrayLike) -> tuple[Array, ...]:
    dout_nchw, xhat_nchw, gamma, inv_std_c = _backward_settled(function, *arrays)
    _checks.vector(function, "the cached inv_std", inv_std_c, dout_nchw.shape[1], "dout", dout_nchw.shape)
    return dout_nchw, xhat_nchw, gamma, inv_std_c


def spatial_batchnorm_forward(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, bn_param: Params) -> tuple[Array, Cache]:
    """Batch normalization of images, forward: each channel over all its pixels in all images.

    ``out = gamma * (x - mean) / sqrt(var + eps) + beta``, as `batchnorm_forward` of x with its
    N * H * W pixels as samples and its channels as features.

    Parameters
    ----------
    x : array, (N, C, H, W)
    gamma, beta : array, (C,) or (1, C, 1, 1)
        Scale and shift.
    bn_param : dict
        ``mode``, 'train' or 'test'; ``eps``, default 1e-5; ``momentum``, default 0.9;
        ``running_mean`` and ``running_var``, (C,), zeros at first and replaced by new arrays
        after each call in mode 'train'.

    Returns
    -------
    out : array, (N, C, H, W)
        float32 when all inputs are float32, else float64.
    cache : tuple
        For `spatial_batchnorm_backward`.

    Raises
    ------
    ValueError
        Shapes that do not fit, no mode or an unknown one, no pixels in training.
    TypeError
        An input is not an array of real numbers.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015, https://arxiv.org/abs/1502.03167

    Examples
    --------
    >>> out, _ = spatial_batchnorm_forward([[[[0., 2.]]]], [1.], [5.], {'mode': 'train', 'eps': 0.0})
    >>> out.tolist()
    [[[[4.0, 6.0]]]]
    """
    return forward_by_batch(
        "spatial_batchnorm_forward", x, gamma, beta, bn_param, _settled, reference.spatial_batchnorm_forward,
        lambda kernels: (kernels.spatial.spatial_batchnorm_forward_train,
                         kernels.spatial.spatial_batchnorm_forward_test),
        "pixel")


def spatial_batchnorm_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Batch normalization of images, backward, in closed form.

    ``dx = gamma * inv_std * (dout - mean(dout) - xhat * mean(dout * xhat))``, the means over a
    channel's pixels in all images. After a forward pass in test mode the statistics are constants:
    ``dx = dout * gamma / sqrt(var + eps)``.

    Parameters
    ----------
    dout : array, (N, C, H, W)
        Upstream gradient.
    cache : tuple
        Of `spatial_batchnorm_forward`.

    Returns
    -------
    dx : array, (N, C, H, W)
    dgamma, dbeta : array, shape of gamma

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
    >>> _, cache = spatial_batchnorm_forward([[[[0., 2.]]]], [1.], [5.], {'mode': 'train', 'eps': 0.0})
    >>> dx, dgamma, dbeta = spatial_batchnorm_backward([[[[1., 2.]]]], cache)
    >>> dgamma.tolist(), dbeta.tolist()
    ([1.0], [3.0])
    """
    return backward_by_batch(
        "spatial_batchnorm_backward", dout, cache, _batchnorm_backward_settled, reference.spatial_batchnorm_backward,
        lambda kernels: (kernels.spatial.spatial_batchnorm_backward, kernels.spatial.spatial_batchnorm_backward_test))


def spatial_groupnorm_forward(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, G: int, gn_param: Params,
) -> tuple[Array, Cache]:
    """Group normalization, forward: the channels of an image in G groups, each with its own statistics.

    ``out = gamma * (x - mean) / sqrt(var + eps) + beta``; mean and var are taken over the
    C / G channels and the pixels of a group, in one image, so training and testing are alike.

    Parameters
    ----------
    x : array, (N, C, H, W)
    gamma, beta : array, (C,) or (1, C, 1, 1)
        Scale and shift.
    G : int
        Number of groups, a divisor of C.
    gn_param : dict
        ``eps``, default 1e-5.

    Returns
    -------
    out : array, (N, C, H, W)
        float32 when all inputs are float32, else float64.
    cache : tuple
        For `spatial_groupnorm_backward`.

    Raises
    ------
    ValueError
        Shapes that do not fit, G below 1 or no divisor of C, no pixels.
    TypeError
        An input is not an array of real numbers, G is not an integer.

    References
    ----------
    Wu and He, "Group Normalization", ECCV 2018, https://arxiv.org/abs/1803.08494

    Examples
    --------
    >>> x = [[[[0.]], [[2.]], [[5.]], [[9.]]]]
    >>> out, _ = spatial_groupnorm_forward(x, [1.] * 4, [0.] * 4, 2, {'eps': 0.0})
    >>> out.ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    function = "spatial_groupnorm_forward"
    _checks.dictionary(function, "gn_param", gn_param)
    eps = _checks.number(function, "gn_param", gn_param, "eps", 1e-5, low=0)
    G = _checks.integer(function, "G", G, 1)
    x_nchw, gamma, beta = _settled(function, x, gamma, beta)
    N, C, H, W = x_nchw.shape
    if C % G != 0:
        raise ValueError(f"{function}: G is {G}, which does not divide the {C} channels of x, shape {x_nchw.shape}")
    if C * H * W == 0:
        raise ValueError(f"{function}: x has shape {x_nchw.shape}, expected at least one channel and one pixel")
    kernels = _backend.kernels_of(x_nchw.dtype)
    if kernels is None:
        return reference.spatial_groupnorm_forward(x_nchw, gamma, beta, G, {"eps": eps})
    out, xhat = np.empty_like(x_nchw), np.empty_like(x_nchw)
    mean, var, inv_std = (np.empty((N, G), x_nchw.dtype) for _ in range(3))
    kernels.spatial.spatial_groupnorm_forward(
        x_nchw, gamma.reshape(C), beta.reshape(C), G, eps, out, xhat, mean, var, inv_std, _threads.effective()
    )
    return out, (G, xhat, gamma.copy(), inv_std)


def spatial_groupnorm_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Group normalization, backward, in closed form.

    With ``dxhat = dout * gamma``:
    ``dx = inv_std * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))``, the means over a group;
    ``dgamma = sum(dout * xhat)`` and ``dbeta = sum(dout)`` over images and pixels.

    Parameters
    ----------
    dout : array, (N, C, H, W)
        Upstream gradient.
    cache : tuple
        Of `spatial_groupnorm_forward`.

    Returns
    -------
    dx : array, (N, C, H, W)
    dgamma, dbeta : array, shape of gamma

    Raises
    ------
    ValueError
        dout does not have the shape of the output, or cache is not the forward pass's.
    TypeError
        dout is not an array of real numbers.

    References
    ----------
    Wu and He, "Group Normalization", ECCV 2018, https://arxiv.org/abs/1803.08494

    Examples
    --------
    >>> _, cache = spatial_groupnorm_forward([[[[0., 2.]]]], [1.], [5.], 1, {'eps': 0.0})
    >>> dx, dgamma, dbeta = spatial_groupnorm_backward([[[[1., 2.]]]], cache)
    >>> dgamma.tolist(), dbeta.tolist()
    ([1.0], [3.0])
    """
    function = "spatial_groupnorm_backward"
    G, *rest = _checks.cache_of(function, cache, 4)
    dout_nchw, xhat_nchw, gamma, inv_std_ng = _backward_settled(function, dout, *rest)
    N, C = dout_nchw.shape[:2]
    if type(G) is not int or G < 1 or C % G != 0 or inv_std_ng.shape != (N, G):
        raise ValueError(f"{function}: cache is not one that spatial_groupnorm_forward returned")
    kernels = _backend.kernels_of(dout_nchw.dtype)
    if kernels is None:
        return reference.spatial_groupnorm_backward(dout_nchw, (G, xhat_nchw, gamma, inv_std_ng))
    return backward_of(kernels.spatial.spatial_groupnorm_backward, dout_nchw, xhat_nchw, gamma, inv_std_ng)
