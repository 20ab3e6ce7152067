"""Layers that follow each other, on top of the course's own."""

from daseCV.layers import (
    affine_backward,
    affine_forward,
    batchnorm_backward,
    batchnorm_forward,
    conv_backward_naive,
    conv_forward_naive,
    layernorm_backward,
    layernorm_forward,
    max_pool_backward_naive,
    max_pool_forward_naive,
    relu_backward,
    relu_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
)


def chain(*layers):
    """The forward pass of layers, each with the arguments that it takes beside x."""
    def forward(x, *arguments):
        arguments, caches = list(arguments), []
        for layer, places in layers:
            x, cache = layer(x, *(arguments[place] for place in places))
            caches.append(cache)
        return x, caches
    return forward


def backwards(*layers):
    def backward(dout, caches):
        gradients = []
        for layer, cache in zip(layers, reversed(caches), strict=True):
            found = layer(dout, cache)
            dout, *rest = found if isinstance(found, tuple) else (found,)
            gradients = [*rest, *gradients]
        return (dout, *gradients)
    return backward


affine_relu_forward = chain((affine_forward, (0, 1)), (relu_forward, ()))
affine_relu_backward = backwards(relu_backward, affine_backward)
affine_bn_relu_forward = chain((affine_forward, (0, 1)), (batchnorm_forward, (2, 3, 4)), (relu_forward, ()))
affine_bn_relu_backward = backwards(relu_backward, batchnorm_backward, affine_backward)
affine_ln_relu_forward = chain((affine_forward, (0, 1)), (layernorm_forward, (2, 3, 4)), (relu_forward, ()))
affine_ln_relu_backward = backwards(relu_backward, layernorm_backward, affine_backward)
conv_relu_forward = chain((conv_forward_naive, (0, 1, 2)), (relu_forward, ()))
conv_relu_backward = backwards(relu_backward, conv_backward_naive)
conv_bn_relu_forward = chain((conv_forward_naive, (0, 1, 4)), (spatial_batchnorm_forward, (2, 3, 5)), (relu_forward,
                                                                                                       ()))
conv_bn_relu_backward = backwards(relu_backward, spatial_batchnorm_backward, conv_backward_naive)
conv_relu_pool_forward = chain((conv_forward_naive, (0, 1, 2)), (relu_forward, ()), (max_pool_forward_naive, (3,)))
conv_relu_pool_backward = backwards(max_pool_backward_naive, relu_backward, conv_backward_naive)
