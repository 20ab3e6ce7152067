"""Convolution and the layers that often follow it, as one forward/backward pair each."""

from daseCV_c._checks import cache_of
from daseCV_c._layers.activation import relu_backward, relu_forward
from daseCV_c._layers.conv import _conv, _conv_backward, conv_forward_fast


def _conv_relu_forward(x, w, b, conv_param):
    """`conv_relu_forward` whose cache shares the output, for callers that leave it unchanged."""
    out = _conv("conv_relu_forward", x, w, b, conv_param, relu=True)
    # The output is positive exactly where the pre-activation is, so it serves as ReLU's cache.
    return out, ((x, w, b, conv_param), out)


def conv_relu_forward(x, w, b, conv_param):
    """Convolution and ReLU, in one pass over the output.

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
    cache : tuple
        For `conv_relu_backward`.

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
    out, (conv_cache, relu_cache) = _conv_relu_forward(x, w, b, conv_param)
    # A copy: the caller may change the output before the backward pass.
    return out, (conv_cache, relu_cache.copy())


def _conv_relu_backward(dout, cache, need_dx=True):
    """`conv_relu_backward`, with None for dx where it is not needed."""
    conv_cache, relu_cache = cache_of("conv_relu_backward", cache, 2)
    return _conv_backward(relu_backward(dout, relu_cache), conv_cache, need_dx)


def conv_relu_backward(dout, cache):
    """Gradients of `conv_relu_forward`.

    Parameters
    ----------
    dout : array, (N, F, H', W')
        Upstream gradient.
    cache : tuple
        Of `conv_relu_forward`.

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


def conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param):
    """Convolution, spatial batch normalization, ReLU.

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
    cache : tuple
        For `conv_bn_relu_backward`.

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
    from daseCV_c.layers import spatial_batchnorm_forward

    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    a, bn_cache = spatial_batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(a)
    return out, (conv_cache, bn_cache, relu_cache)


def _conv_bn_relu_backward(dout, cache, need_dx=True):
    """`conv_bn_relu_backward`, with None for dx where it is not needed."""
    from daseCV_c.layers import spatial_batchnorm_backward

    conv_cache, bn_cache, relu_cache = cache_of("conv_bn_relu_backward", cache, 3)
    da, dgamma, dbeta = spatial_batchnorm_backward(relu_backward(dout, relu_cache), bn_cache)
    return (*_conv_backward(da, conv_cache, need_dx), dgamma, dbeta)


def conv_bn_relu_backward(dout, cache):
    """Gradients of `conv_bn_relu_forward`.

    Parameters
    ----------
    dout : array, (N, F, H', W')
        Upstream gradient.
    cache : tuple
        Of `conv_bn_relu_forward`.

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


def _conv_relu_pool_forward(x, w, b, conv_param, pool_param):
    """`conv_relu_pool_forward` whose cache shares the output, for callers that leave it unchanged."""
    from daseCV_c.fast_layers import max_pool_forward_fast

    a = _conv("conv_relu_pool_forward", x, w, b, conv_param, relu=True)
    out, pool_cache = max_pool_forward_fast(a, pool_param)
    # A gradient reaches the maxima alone, and a maximum passed through ReLU where it is positive.
    return out, ((x, w, b, conv_param), out, pool_cache)


def conv_relu_pool_forward(x, w, b, conv_param, pool_param):
    """Convolution, ReLU, max pooling.

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
    cache : tuple
        For `conv_relu_pool_backward`.

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
    out, (conv_cache, relu_cache, pool_cache) = _conv_relu_pool_forward(x, w, b, conv_param, pool_param)
    # A copy: the caller may change the output before the backward pass.
    return out, (conv_cache, relu_cache.copy(), pool_cache)


def _conv_relu_pool_backward(dout, cache, need_dx=True):
    """`conv_relu_pool_backward`, with None for dx where it is not needed."""
    from daseCV_c.fast_layers import max_pool_backward_fast

    conv_cache, relu_cache, pool_cache = cache_of("conv_relu_pool_backward", cache, 3)
    da = max_pool_backward_fast(relu_backward(dout, relu_cache), pool_cache)
    return _conv_backward(da, conv_cache, need_dx)


def conv_relu_pool_backward(dout, cache):
    """Gradients of `conv_relu_pool_forward`.

    Parameters
    ----------
    dout : array, (N, F, H'', W'')
        Upstream gradient.
    cache : tuple
        Of `conv_relu_pool_forward`.

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
