"""Layers that often follow each other, in plain NumPy."""

from typing import Any

from daseCV_c._types import Array, ArrayLike, Cache, Params

from .activation import relu_backward, relu_forward
from .affine import affine_backward, affine_forward
from .conv import conv_backward_fast, conv_forward_fast
from .normalization import batchnorm_backward_alt, batchnorm_forward, layernorm_backward, layernorm_forward


def affine_relu_forward(x: ArrayLike, w: ArrayLike, b: ArrayLike) -> tuple[Array, Cache]:
    """affine - ReLU."""
    a, fc_cache = affine_forward(x, w, b)
    out, relu_cache = relu_forward(a)
    return out, (fc_cache, relu_cache)


def affine_relu_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients of affine - ReLU: dx, dw, db."""
    fc_cache, relu_cache = cache
    return affine_backward(relu_backward(dout, relu_cache), fc_cache)


def affine_bn_relu_forward(
    x: ArrayLike, w: ArrayLike, b: ArrayLike, gamma: ArrayLike, beta: ArrayLike, bn_param: Params,
) -> tuple[Array, Cache]:
    """affine - batch norm - ReLU."""
    a, fc_cache = affine_forward(x, w, b)
    a, bn_cache = batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(a)
    return out, (fc_cache, bn_cache, relu_cache)


def affine_bn_relu_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients of affine - batch norm - ReLU: dx, dw, db, dgamma, dbeta."""
    fc_cache, bn_cache, relu_cache = cache
    da, dgamma, dbeta = batchnorm_backward_alt(relu_backward(dout, relu_cache), bn_cache)
    return (*affine_backward(da, fc_cache), dgamma, dbeta)


def affine_ln_relu_forward(
    x: ArrayLike, w: ArrayLike, b: ArrayLike, gamma: ArrayLike, beta: ArrayLike, ln_param: Params,
) -> tuple[Array, Cache]:
    """affine - layer norm - ReLU."""
    a, fc_cache = affine_forward(x, w, b)
    a, ln_cache = layernorm_forward(a, gamma, beta, ln_param)
    out, relu_cache = relu_forward(a)
    return out, (fc_cache, ln_cache, relu_cache)


def affine_ln_relu_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients of affine - layer norm - ReLU: dx, dw, db, dgamma, dbeta."""
    fc_cache, ln_cache, relu_cache = cache
    da, dgamma, dbeta = layernorm_backward(relu_backward(dout, relu_cache), ln_cache)
    return (*affine_backward(da, fc_cache), dgamma, dbeta)


def conv_relu_forward(x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params) -> tuple[Array, Cache]:
    """convolution - ReLU."""
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    out, relu_cache = relu_forward(a)
    return out, (conv_cache, relu_cache)


def conv_relu_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients of convolution - ReLU: dx, dw, db."""
    conv_cache, relu_cache = cache
    return conv_backward_fast(relu_backward(dout, relu_cache), conv_cache)


def conv_bn_relu_forward(
    x: ArrayLike, w: ArrayLike, b: ArrayLike, gamma: ArrayLike, beta: ArrayLike, conv_param: Params, bn_param: Params,
) -> tuple[Array, Cache]:
    """convolution - spatial batch norm - ReLU."""
    from .spatial import spatial_batchnorm_forward

    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    a, bn_cache = spatial_batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(a)
    return out, (conv_cache, bn_cache, relu_cache)


def conv_bn_relu_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients of convolution - spatial batch norm - ReLU: dx, dw, db, dgamma, dbeta."""
    from .spatial import spatial_batchnorm_backward

    conv_cache, bn_cache, relu_cache = cache
    da, dgamma, dbeta = spatial_batchnorm_backward(relu_backward(dout, relu_cache), bn_cache)
    return (*conv_backward_fast(da, conv_cache), dgamma, dbeta)


def conv_relu_pool_forward(
    x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params, pool_param: Params,
) -> tuple[Array, Cache]:
    """convolution - ReLU - max pooling."""
    from .pool import max_pool_forward_fast

    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    a, relu_cache = relu_forward(a)
    out, pool_cache = max_pool_forward_fast(a, pool_param)
    return out, (conv_cache, relu_cache, pool_cache)


def conv_relu_pool_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients of convolution - ReLU - max pooling: dx, dw, db."""
    from .pool import max_pool_backward_fast

    conv_cache, relu_cache, pool_cache = cache
    da = relu_backward(max_pool_backward_fast(dout, pool_cache), relu_cache)
    return conv_backward_fast(da, conv_cache)
