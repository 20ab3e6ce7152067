"""Layers that often follow each other, as one forward/backward pair each.

A function that begins with an underscore serves the networks: its forward pass shares the output
with the cache, since the network leaves it unchanged, and its backward pass leaves out the gradient
of x, with None in its place, where `need_dx` is false. The source of a pair stands with its forward
pass.
"""

from collections.abc import Callable
from typing import Any

from daseCV_c._checks import cache_of
from daseCV_c._layers.activation import relu_backward, relu_forward
from daseCV_c._layers.affine import _affine_backward, _affine_relu, affine_forward
from daseCV_c._layers.conv import _conv, _conv_backward, conv_forward_fast
from daseCV_c._layers.normalization import (
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
)
from daseCV_c._layers.pool import max_pool_backward_fast, max_pool_forward_fast
from daseCV_c._layers.spatial import spatial_batchnorm_backward, spatial_batchnorm_forward
from daseCV_c._types import Array, ArrayLike, Cache, Params


def _own_cache(out: Array, cache: Any) -> tuple[Array, Cache]:
    """The same with a copy of the output in the cache: the caller may change it before the backward pass."""
    layer_cache, relu_cache, *rest = cache
    return out, (layer_cache, relu_cache.copy(), *rest)


def _normalized_forward(
    layer: tuple[Array, Cache], normalize: Callable[[ArrayLike, ArrayLike, ArrayLike, Params], tuple[Array, Cache]],
    gamma: ArrayLike, beta: ArrayLike, param: Params,
) -> tuple[Array, Cache]:
    """ReLU of the normalized output of a layer, whose (out, cache) is given."""
    out, layer_cache = layer
    out, norm_cache = normalize(out, gamma, beta, param)
    out, relu_cache = relu_forward(out)
    return out, (layer_cache, norm_cache, relu_cache)


def _normalized_backward(
    function: str, dout: ArrayLike, cache: Any,
    normalize_backward: Callable[[ArrayLike, Cache], tuple[Array, Array, Array]],
    layer_backward: Callable[[ArrayLike, Cache, bool], tuple[Any, Array, Array]], need_dx: bool,
) -> tuple[Any, Array, Array, Array, Array]:
    layer_cache, norm_cache, relu_cache = cache_of(function, cache, 3)
    da, dgamma, dbeta = normalize_backward(relu_backward(dout, relu_cache), norm_cache)
    return (*layer_backward(da, layer_cache, need_dx), dgamma, dbeta)


def _affine_relu_forward(x: ArrayLike, w: ArrayLike, b: ArrayLike) -> tuple[Array, Cache]:
    out = _affine_relu("affine_relu_forward", x, w, b)
    # The output is positive exactly where the pre-activation is, so it serves as ReLU's cache.
    return out, ((x, w, b), out)


def affine_relu_forward(x: ArrayLike, w: ArrayLike, b: ArrayLike) -> tuple[Array, Cache]:
    """Affine layer and ReLU: ``out = max(x @ w + b, 0)``, in one pass over the output.

    Parameters
    ----------
    x : array, (N, d_1, ..., d_k)
    w : array, (D, M)
    b : array, (M,)

    Returns
    -------
    out : array, (N, M)
    cache : tuple, for `affine_relu_backward`

    Raises
    ------
    ValueError, TypeError
        As `affine_forward`.

    References
    ----------
    CS231n, "Neural Networks Part 1", https://cs231n.github.io/neural-networks-1/

    Examples
    --------
    >>> affine_relu_forward([[1., -2.]], [[1., 0.], [0., 3.]], [10., 1.])[0].tolist()
    [[11.0, 0.0]]
    """
    return _own_cache(*_affine_relu_forward(x, w, b))


def _affine_relu_backward(dout: ArrayLike, cache: Any, need_dx: bool = True) -> tuple[Any, Array, Array]:
    fc_cache, relu_cache = cache_of("affine_relu_backward", cache, 2)
    return _affine_backward(relu_backward(dout, relu_cache), fc_cache, need_dx)


def affine_relu_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients of `affine_relu_forward`.

    ``da = dout * (a > 0)`` of ``a = x @ w + b``, then ``dx = da @ w.T``, ``dw = x.T @ da``, ``db = da.sum(0)``.

    Parameters
    ----------
    dout : array, (N, M)
    cache : tuple, of `affine_relu_forward`

    Returns
    -------
    dx, dw, db : array
        In the shapes of x, w and b.

    Raises
    ------
    ValueError, TypeError
        As `relu_backward` and `affine_backward`.

    References
    ----------
    CS231n, "Backpropagation, Intuitions", https://cs231n.github.io/optimization-2/

    Examples
    --------
    >>> _, cache = affine_relu_forward([[1., -2.]], [[1., 0.], [0., 3.]], [10., 1.])
    >>> affine_relu_backward([[1., 1.]], cache)[2].tolist()
    [1.0, 0.0]
    """
    return _affine_relu_backward(dout, cache)


def affine_bn_relu_forward(
    x: ArrayLike, w: ArrayLike, b: ArrayLike, gamma: ArrayLike, beta: ArrayLike, bn_param: Params,
) -> tuple[Array, Cache]:
    """Affine layer, batch normalization, ReLU: ``out = max(batchnorm(x @ w + b), 0)``.

    Parameters
    ----------
    x, w, b : array
        As in `affine_forward`.
    gamma, beta : array, (M,)
    bn_param : dict
        As in `batchnorm_forward`; its running statistics are replaced.

    Returns
    -------
    out : array, (N, M)
    cache : tuple, for `affine_bn_relu_backward`

    Raises
    ------
    ValueError, TypeError
        As `affine_forward` and `batchnorm_forward`.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015, https://arxiv.org/abs/1502.03167

    Examples
    --------
    >>> param = {'mode': 'train', 'eps': 0.0}
    >>> affine_bn_relu_forward([[0.], [2.]], [[1.]], [0.], [1.], [0.], param)[0].tolist()
    [[0.0], [1.0]]
    """
    return _normalized_forward(affine_forward(x, w, b), batchnorm_forward, gamma, beta, bn_param)


def _affine_bn_relu_backward(
    dout: ArrayLike, cache: Any, need_dx: bool = True,
) -> tuple[Any, Array, Array, Array, Array]:
    return _normalized_backward(
        "affine_bn_relu_backward", dout, cache, batchnorm_backward_alt, _affine_backward, need_dx)


def affine_bn_relu_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients of `affine_bn_relu_forward`.

    ``dx, dw, db = affine_backward(da)`` with ``da, dgamma, dbeta = batchnorm_backward(relu_backward(dout))``.

    Parameters
    ----------
    dout : array, (N, M)
    cache : tuple, of `affine_bn_relu_forward`

    Returns
    -------
    dx, dw, db, dgamma, dbeta : array
        In the shapes of x, w, b, gamma and beta.

    Raises
    ------
    ValueError, TypeError
        As the three layers' backward functions.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015, https://arxiv.org/abs/1502.03167

    Examples
    --------
    >>> param = {'mode': 'train', 'eps': 0.0}
    >>> _, cache = affine_bn_relu_forward([[0.], [2.]], [[1.]], [0.], [1.], [0.], param)
    >>> affine_bn_relu_backward([[3.], [5.]], cache)[4].tolist()
    [5.0]
    """
    return _affine_bn_relu_backward(dout, cache)


def affine_ln_relu_forward(
    x: ArrayLike, w: ArrayLike, b: ArrayLike, gamma: ArrayLike, beta: ArrayLike, ln_param: Params,
) -> tuple[Array, Cache]:
    """Affine layer, layer normalization, ReLU: ``out = max(layernorm(x @ w + b), 0)``.

    Parameters
    ----------
    x, w, b : array
        As in `affine_forward`.
    gamma, beta : array, (M,)
    ln_param : dict
        As in `layernorm_forward`.

    Returns
    -------
    out : array, (N, M)
    cache : tuple, for `affine_ln_relu_backward`

    Raises
    ------
    ValueError, TypeError
        As `affine_forward` and `layernorm_forward`.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450

    Examples
    --------
    >>> affine_ln_relu_forward([[0., 2.]], [[1., 0.], [0., 1.]], [0., 0.], [1., 1.], [0., 0.],
    ...                        {'eps': 0.0})[0].tolist()
    [[0.0, 1.0]]
    """
    return _normalized_forward(affine_forward(x, w, b), layernorm_forward, gamma, beta, ln_param)


def _affine_ln_relu_backward(
    dout: ArrayLike, cache: Any, need_dx: bool = True,
) -> tuple[Any, Array, Array, Array, Array]:
    return _normalized_backward(
        "affine_ln_relu_backward", dout, cache, layernorm_backward, _affine_backward, need_dx)


def affine_ln_relu_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients of `affine_ln_relu_forward`.

    ``dx, dw, db = affine_backward(da)`` with ``da, dgamma, dbeta = layernorm_backward(relu_backward(dout))``.

    Parameters
    ----------
    dout : array, (N, M)
    cache : tuple, of `affine_ln_relu_forward`

    Returns
    -------
    dx, dw, db, dgamma, dbeta : array
        In the shapes of x, w, b, gamma and beta.

    Raises
    ------
    ValueError, TypeError
        As the three layers' backward functions.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450

    Examples
    --------
    >>> _, cache = affine_ln_relu_forward([[0., 2.]], [[1., 0.], [0., 1.]], [0., 0.], [1., 1.],
    ...                                   [0., 0.], {'eps': 0.0})
    >>> affine_ln_relu_backward([[3., 5.]], cache)[4].tolist()
    [0.0, 5.0]
    """
    return _affine_ln_relu_backward(dout, cache)


def _conv_relu_forward(x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params) -> tuple[Array, Cache]:
    out = _conv("conv_relu_forward", x, w, b, conv_param, relu=True)
    # The output is positive exactly where the pre-activation is, so it serves as ReLU's cache.
    return out, ((x, w, b, conv_param), out)


def conv_relu_forward(x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params) -> tuple[Array, Cache]:
    """Convolution and ReLU: ``out = max(conv(x, w) + b, 0)``, in one pass over the output.

    Parameters
    ----------
    x : array, (N, C, H, W)
    w : array, (F, C, HH, WW)
    b : array, (F,)
    conv_param : dict
        ``stride`` and ``pad``, as in `conv_forward_fast`.

    Returns
    -------
    out : array, (N, F, H', W')
    cache : tuple, for `conv_relu_backward`

    Raises
    ------
    ValueError, TypeError
        As `conv_forward_fast`.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/

    Examples
    --------
    >>> x, w = [[[[1., 2.]]]], [[[[1.]]], [[[-1.]]]]
    >>> conv_relu_forward(x, w, [0., 1.], {'stride': 1, 'pad': 0})[0].tolist()
    [[[[1.0, 2.0]], [[0.0, 0.0]]]]
    """
    return _own_cache(*_conv_relu_forward(x, w, b, conv_param))


def _conv_relu_backward(dout: ArrayLike, cache: Any, need_dx: bool = True) -> tuple[Any, Array, Array]:
    conv_cache, relu_cache = cache_of("conv_relu_backward", cache, 2)
    return _conv_backward(relu_backward(dout, relu_cache), conv_cache, need_dx)


def conv_relu_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients of `conv_relu_forward`.

    ``dx, dw, db = conv_backward(relu_backward(dout))``.

    Parameters
    ----------
    dout : array, (N, F, H', W')
    cache : tuple, of `conv_relu_forward`

    Returns
    -------
    dx, dw, db : array
        In the shapes of x, w and b.

    Raises
    ------
    ValueError, TypeError
        As `relu_backward` and `conv_backward_fast`.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/

    Examples
    --------
    >>> x, w = [[[[1., 2.]]]], [[[[1.]]], [[[-1.]]]]
    >>> _, cache = conv_relu_forward(x, w, [0., 1.], {'stride': 1, 'pad': 0})
    >>> conv_relu_backward([[[[1., 1.]], [[1., 1.]]]], cache)[2].tolist()
    [2.0, 0.0]
    """
    return _conv_relu_backward(dout, cache)


def conv_bn_relu_forward(
    x: ArrayLike, w: ArrayLike, b: ArrayLike, gamma: ArrayLike, beta: ArrayLike, conv_param: Params, bn_param: Params,
) -> tuple[Array, Cache]:
    """Convolution, spatial batch normalization, ReLU: ``out = max(batchnorm(conv(x, w) + b), 0)``.

    Parameters
    ----------
    x : array, (N, C, H, W)
    w : array, (F, C, HH, WW)
    b, gamma, beta : array, (F,)
    conv_param : dict
        ``stride`` and ``pad``, as in `conv_forward_fast`.
    bn_param : dict
        As in `spatial_batchnorm_forward`; its running statistics are replaced.

    Returns
    -------
    out : array, (N, F, H', W')
    cache : tuple, for `conv_bn_relu_backward`

    Raises
    ------
    ValueError, TypeError
        As `conv_forward_fast` and `spatial_batchnorm_forward`.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015, https://arxiv.org/abs/1502.03167

    Examples
    --------
    >>> param = {'mode': 'train', 'eps': 0.0}
    >>> conv_bn_relu_forward([[[[0., 2.]]]], [[[[1.]]]], [0.], [1.], [0.], {'stride': 1, 'pad': 0},
    ...                      param)[0].tolist()
    [[[[0.0, 1.0]]]]
    """
    return _normalized_forward(conv_forward_fast(x, w, b, conv_param), spatial_batchnorm_forward, gamma, beta, bn_param)


def _conv_bn_relu_backward(dout: ArrayLike, cache: Any, need_dx: bool = True) -> tuple[Any, Array, Array, Array, Array]:
    return _normalized_backward(
        "conv_bn_relu_backward", dout, cache, spatial_batchnorm_backward, _conv_backward, need_dx)


def conv_bn_relu_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients of `conv_bn_relu_forward`.

    ``dx, dw, db = conv_backward(da)`` with ``da, dgamma, dbeta = spatial_batchnorm_backward(relu_backward(dout))``.

    Parameters
    ----------
    dout : array, (N, F, H', W')
    cache : tuple, of `conv_bn_relu_forward`

    Returns
    -------
    dx, dw, db, dgamma, dbeta : array
        In the shapes of x, w, b, gamma and beta.

    Raises
    ------
    ValueError, TypeError
        As the three layers' backward functions.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015, https://arxiv.org/abs/1502.03167

    Examples
    --------
    >>> param = {'mode': 'train', 'eps': 0.0}
    >>> _, cache = conv_bn_relu_forward([[[[0., 2.]]]], [[[[1.]]]], [0.], [1.], [0.],
    ...                                 {'stride': 1, 'pad': 0}, param)
    >>> conv_bn_relu_backward([[[[3., 5.]]]], cache)[4].tolist()
    [5.0]
    """
    return _conv_bn_relu_backward(dout, cache)


def _conv_relu_pool_forward(
    x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params, pool_param: Params,
) -> tuple[Array, Cache]:
    a = _conv("conv_relu_pool_forward", x, w, b, conv_param, relu=True)
    out, pool_cache = max_pool_forward_fast(a, pool_param)
    # A gradient reaches the maxima alone, and a maximum passed through ReLU where it is positive.
    return out, ((x, w, b, conv_param), out, pool_cache)


def conv_relu_pool_forward(
    x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params, pool_param: Params,
) -> tuple[Array, Cache]:
    """Convolution, ReLU, max pooling: ``out = max_pool(max(conv(x, w) + b, 0))``.

    Parameters
    ----------
    x : array, (N, C, H, W)
    w : array, (F, C, HH, WW)
    b : array, (F,)
    conv_param : dict
        ``stride`` and ``pad``, as in `conv_forward_fast`.
    pool_param : dict
        ``pool_height``, ``pool_width`` and ``stride``, as in `max_pool_forward_fast`.

    Returns
    -------
    out : array, (N, F, H'', W'')
    cache : tuple, for `conv_relu_pool_backward`

    Raises
    ------
    ValueError, TypeError
        As `conv_forward_fast` and `max_pool_forward_fast`.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/

    Examples
    --------
    >>> pool = {'pool_height': 1, 'pool_width': 2, 'stride': 1}
    >>> conv_relu_pool_forward([[[[1., 2.]]]], [[[[1.]]], [[[-1.]]]], [0., 1.], {'stride': 1, 'pad': 0},
    ...                        pool)[0].tolist()
    [[[[2.0]], [[0.0]]]]
    """
    return _own_cache(*_conv_relu_pool_forward(x, w, b, conv_param, pool_param))


def _conv_relu_pool_backward(dout: ArrayLike, cache: Any, need_dx: bool = True) -> tuple[Any, Array, Array]:
    conv_cache, relu_cache, pool_cache = cache_of("conv_relu_pool_backward", cache, 3)
    da = max_pool_backward_fast(relu_backward(dout, relu_cache), pool_cache)
    return _conv_backward(da, conv_cache, need_dx)


def conv_relu_pool_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients of `conv_relu_pool_forward`.

    ``dx, dw, db = conv_backward(relu_backward(max_pool_backward(dout)))``.

    Parameters
    ----------
    dout : array, (N, F, H'', W'')
    cache : tuple, of `conv_relu_pool_forward`

    Returns
    -------
    dx, dw, db : array
        In the shapes of x, w and b.

    Raises
    ------
    ValueError, TypeError
        As the three layers' backward functions.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/

    Examples
    --------
    >>> pool = {'pool_height': 1, 'pool_width': 2, 'stride': 1}
    >>> _, cache = conv_relu_pool_forward([[[[1., 2.]]]], [[[[1.]]], [[[-1.]]]], [0., 1.],
    ...                                   {'stride': 1, 'pad': 0}, pool)
    >>> dx, dw, db = conv_relu_pool_backward([[[[3.]], [[5.]]]], cache)
    >>> dx.tolist(), db.tolist()
    ([[[[0.0, 3.0]]]], [3.0, 0.0])
    """
    return _conv_relu_pool_backward(dout, cache)
