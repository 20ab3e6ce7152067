"""Networks on the bundled digits, for what hands them to other libraries and back."""

import numpy as np

from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.datasets import load_digits_images

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}


def full(normalization, dtype, **more):
    net = FullyConnectedNet([20, 15], 64, 10, normalization=normalization, weight_scale="he", dtype=dtype, **more)
    for name, array in net.params.items():
        if name.startswith(("gamma", "beta", "b")):
            array += np.random.default_rng(1).normal(0, 0.2, array.shape).astype(dtype)
    if normalization:
        net.bn_params[0]["eps"] = 1e-2
    if normalization == "batchnorm":
        net.bn_params[1]["momentum"] = 0.75
    return net


def two(dtype):
    net = TwoLayerNet(64, 20, 10, weight_scale="he")
    net.dtype, net.params = dtype, {name: array.astype(dtype) for name, array in net.params.items()}
    return net


NETS = {
    "two": two,
    "plain": lambda dtype: full(None, dtype),
    "batchnorm": lambda dtype: full("batchnorm", dtype, dropout=0.75),
    "layernorm": lambda dtype: full("layernorm", dtype, dropout=0.75),
    "no hidden layer": lambda dtype: FullyConnectedNet([], 64, 10, weight_scale="he", dtype=dtype),
    "cnn": lambda dtype: ThreeLayerConvNet((1, 8, 8), 4, 3, 12, 10, weight_scale="he", dtype=dtype),
}


def digits(dtype, n=50):
    """Images, (n, 1, 8, 8), the mean subtracted, and their labels."""
    data = load_digits_images(dtype=dtype)
    return data["X_train"][:n], data["y_train"][:n]


def trained(kind, dtype):
    """A network whose statistics have moved, and images."""
    net, (X, y) = NETS[kind](dtype), digits(dtype)
    for _ in range(2):
        net.loss(X, y)
    return net, X


def agree(found, expected):
    """Equal dtypes and shapes, and numbers that differ by no more than rounding."""
    assert found.dtype == expected.dtype and found.shape == expected.shape
    error = np.abs(found - expected).max(initial=0) / max(1, np.abs(expected).max(initial=0))
    assert error <= TOLERANCE[expected.dtype], error


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
