"""Sandwich layers: several layers that often follow each other, as one forward/backward pair."""

from daseCV_c import layers
from daseCV_c._checks import cache_of
from daseCV_c._layers.affine import _affine_backward, _affine_relu
from daseCV_c._layers.conv_sandwich import (
    conv_bn_relu_backward,
    conv_bn_relu_forward,
    conv_relu_backward,
    conv_relu_forward,
    conv_relu_pool_backward,
    conv_relu_pool_forward,
)
from daseCV_c.layers import *  # noqa: F403  a notebook that imports this module has the layers too
from daseCV_c.layers import (
    affine_forward,
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
    relu_backward,
    relu_forward,
)

__all__ = [
    *layers.__all__,
    "affine_bn_relu_backward",
    "affine_bn_relu_forward",
    "affine_ln_relu_backward",
    "affine_ln_relu_forward",
    "affine_relu_backward",
    "affine_relu_forward",
    "conv_bn_relu_backward",
    "conv_bn_relu_forward",
    "conv_relu_backward",
    "conv_relu_forward",
    "conv_relu_pool_backward",
    "conv_relu_pool_forward",
]


def affine_relu_forward(x, w, b):
    """Affine layer and ReLU: ``out = max(x @ w + b, 0)``, in one pass over the output.

    Parameters
    ----------
    x : array, (N, d_1, ..., d_k)
    w : array, (D, M)
    b : array, (M,)

    Returns
    -------
    out : array, (N, M)
    cache : tuple
        For `affine_relu_backward`.

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
    out, cache = _affine_relu_forward(x, w, b)
    fc_cache, relu_cache = cache
    # A copy: the caller may change the output before the backward pass.
    return out, (fc_cache, relu_cache.copy())


def _affine_relu_forward(x, w, b):
    """`affine_relu_forward` whose cache shares the output, for callers that leave it unchanged."""
    out = _affine_relu("affine_relu_forward", x, w, b)
    # The output is positive exactly where the pre-activation is, so it serves as ReLU's cache.
    return out, ((x, w, b), out)


def _affine_relu_backward(dout, cache, need_dx=True):
    """`affine_relu_backward`, with None for dx where it is not needed."""
    fc_cache, relu_cache = cache_of("affine_relu_backward", cache, 2)
    return _affine_backward(relu_backward(dout, relu_cache), fc_cache, need_dx)


def affine_relu_backward(dout, cache):
    """Gradients of `affine_relu_forward`.

    Parameters
    ----------
    dout : array, (N, M)
        Upstream gradient.
    cache : tuple
        Of `affine_relu_forward`.

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


def affine_bn_relu_forward(x, w, b, gamma, beta, bn_param):
    """Affine layer, batch normalization, ReLU.

    Parameters
    ----------
    x : array, (N, d_1, ..., d_k)
    w : array, (D, M)
    b, gamma, beta : array, (M,)
    bn_param : dict
        As in `batchnorm_forward`; its running statistics are replaced.

    Returns
    -------
    out : array, (N, M)
    cache : tuple
        For `affine_bn_relu_backward`.

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
    a, fc_cache = affine_forward(x, w, b)
    a, bn_cache = batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(a)
    return out, (fc_cache, bn_cache, relu_cache)


def _affine_bn_relu_backward(dout, cache, need_dx=True):
    """`affine_bn_relu_backward`, with None for dx where it is not needed."""
    fc_cache, bn_cache, relu_cache = cache_of("affine_bn_relu_backward", cache, 3)
    da, dgamma, dbeta = batchnorm_backward_alt(relu_backward(dout, relu_cache), bn_cache)
    return (*_affine_backward(da, fc_cache, need_dx), dgamma, dbeta)


def affine_bn_relu_backward(dout, cache):
    """Gradients of `affine_bn_relu_forward`.

    Parameters
    ----------
    dout : array, (N, M)
        Upstream gradient.
    cache : tuple
        Of `affine_bn_relu_forward`.

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


def affine_ln_relu_forward(x, w, b, gamma, beta, ln_param):
    """Affine layer, layer normalization, ReLU.

    Parameters
    ----------
    x : array, (N, d_1, ..., d_k)
    w : array, (D, M)
    b, gamma, beta : array, (M,)
    ln_param : dict
        As in `layernorm_forward`.

    Returns
    -------
    out : array, (N, M)
    cache : tuple
        For `affine_ln_relu_backward`.

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
    a, fc_cache = affine_forward(x, w, b)
    a, ln_cache = layernorm_forward(a, gamma, beta, ln_param)
    out, relu_cache = relu_forward(a)
    return out, (fc_cache, ln_cache, relu_cache)


def _affine_ln_relu_backward(dout, cache, need_dx=True):
    """`affine_ln_relu_backward`, with None for dx where it is not needed."""
    fc_cache, ln_cache, relu_cache = cache_of("affine_ln_relu_backward", cache, 3)
    da, dgamma, dbeta = layernorm_backward(relu_backward(dout, relu_cache), ln_cache)
    return (*_affine_backward(da, fc_cache, need_dx), dgamma, dbeta)


def affine_ln_relu_backward(dout, cache):
    """Gradients of `affine_ln_relu_forward`.

    Parameters
    ----------
    dout : array, (N, M)
        Upstream gradient.
    cache : tuple
        Of `affine_ln_relu_forward`.

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
