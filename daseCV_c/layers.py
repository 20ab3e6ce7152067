"""Layers as forward/backward pairs, and losses: the names that a notebook imports.

A forward function returns ``(out, cache)``; its backward function takes the upstream
gradient and that cache.
"""

from daseCV_c._layers.activation import relu_backward, relu_forward
from daseCV_c._layers.affine import affine_backward, affine_forward
from daseCV_c._layers.conv import conv_backward_naive, conv_forward_naive
from daseCV_c._layers.dropout import dropout_backward, dropout_forward
from daseCV_c._layers.losses import softmax_loss, svm_loss
from daseCV_c._layers.normalization import (
    batchnorm_backward,
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
)
from daseCV_c._layers.pool import max_pool_backward_naive, max_pool_forward_naive
from daseCV_c._layers.spatial import (
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
    spatial_groupnorm_backward,
    spatial_groupnorm_forward,
)

__all__ = [
    "affine_backward",
    "affine_forward",
    "batchnorm_backward",
    "batchnorm_backward_alt",
    "batchnorm_forward",
    "conv_backward_naive",
    "conv_forward_naive",
    "dropout_backward",
    "dropout_forward",
    "layernorm_backward",
    "layernorm_forward",
    "max_pool_backward_naive",
    "max_pool_forward_naive",
    "relu_backward",
    "relu_forward",
    "softmax_loss",
    "spatial_batchnorm_backward",
    "spatial_batchnorm_forward",
    "spatial_groupnorm_backward",
    "spatial_groupnorm_forward",
    "svm_loss",
]
