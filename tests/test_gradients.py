"""Analytic against numerical gradients: random directions, a random upstream gradient, float64.

An upstream gradient of ones would prove nothing for batch normalization, whose dx is then zero
whatever the code does.
"""

import numpy as np
import pytest
from adversarial import normal, rng_of

from daseCV_c import layer_utils, layers
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet

STEPS = (1e-6, 1e-7, 1e-8)
DIRECTIONS = 5


def vjp_check(value, arrays, grads, key, rtol=2e-6):
    """Derivatives of value(*arrays) along random directions in all arrays at once, and in each alone."""
    for which in [range(len(arrays)), *([k] for k in range(len(arrays)))]:
        for turn in range(DIRECTIONS):
            along = [normal((key, turn, k), *a.shape) if k in which else np.zeros(a.shape)
                     for k, a in enumerate(arrays)]
            analytic = sum(np.sum(g * v) for g, v in zip(grads, along, strict=True))
            size = sum(np.linalg.norm(g) * np.linalg.norm(v) for g, v in zip(grads, along, strict=True))
            tried = []
            # A step over a kink of ReLU is cured by a shorter one, a wrong gradient by none.
            for h in STEPS:
                above, below = (value(*(a + s * v for a, v in zip(arrays, along, strict=True))) for s in (h, -h))
                tried.append((above - below) / (2 * h))
                if abs(tried[-1] - analytic) <= rtol * (size + 1e-3):
                    break
            else:
                raise AssertionError(f"arrays {list(which)}: numerical {tried}, analytic {analytic}")


def layer_check(forward, backward, arrays, key, params=(), zero=()):
    """forward takes the arrays and then the dicts; each call gets fresh dicts.

    `zero` are positions of arrays that the output does not depend on.
    """
    def call(*values):
        return forward(*values, *(dict(p) for p in params))

    out, cache = call(*arrays)
    dout = normal((key, "dout"), *out.shape)
    grads = backward(dout, cache)
    grads = grads if isinstance(grads, tuple) else (grads,)
    for k, (grad, array) in enumerate(zip(grads, arrays, strict=True)):
        assert grad.shape == array.shape
        assert (np.abs(grad).max() > 1e-3) == (k not in zero), "a gradient of zeros would agree with anything"
    vjp_check(lambda *values: np.sum(call(*values)[0] * dout), arrays, grads, key)


def away_from_zero(x):
    """Differences must not step over ReLU's kink."""
    return x + np.where(x >= 0, 0.01, -0.01)


@pytest.mark.parametrize("shape", [(4, 3), (5, 2, 3, 2), (1, 7)], ids=str)
def test_affine(backend, shape):
    d = int(np.prod(shape[1:]))
    layer_check(layers.affine_forward, layers.affine_backward,
                [normal("x", *shape), normal("w", d, 6), normal("b", 6)], "affine")


@pytest.mark.parametrize("shape", [(11,), (5, 7), (2, 3, 4)], ids=str)
def test_relu(backend, shape):
    layer_check(layers.relu_forward, layers.relu_backward, [away_from_zero(normal("x", *shape))], "relu")


@pytest.mark.parametrize("backward", [layers.batchnorm_backward, layers.batchnorm_backward_alt],
                         ids=lambda f: f.__name__)
@pytest.mark.parametrize("param", [
    {"mode": "train"}, {"mode": "train", "eps": 0.5},
    {"mode": "test", "running_mean": normal("mean", 6), "running_var": np.abs(normal("var", 6)) + 0.2},
], ids=["train", "train_eps", "test"])
def test_batchnorm(backend, backward, param):
    layer_check(layers.batchnorm_forward, backward,
                [5 * normal("x", 9, 6) + 12, normal("gamma", 6), normal("beta", 6)], "bn", [param])


@pytest.mark.parametrize("param", [{}, {"eps": 0.5}], ids=["default", "eps"])
def test_layernorm(backend, param):
    layer_check(layers.layernorm_forward, layers.layernorm_backward,
                [5 * normal("x", 5, 8) + 12, normal("gamma", 8), normal("beta", 8)], "ln", [param])


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("p", [0.25, 0.7, 1.0])
def test_dropout(backend, p, mode):
    layer_check(layers.dropout_forward, layers.dropout_backward, [normal("x", 9, 10) + 10], "dropout",
                [{"p": p, "mode": mode, "seed": 17}])


@pytest.mark.parametrize("loss", [layers.svm_loss, layers.softmax_loss], ids=lambda f: f.__name__)
def test_losses(backend, loss):
    x, y = normal("scores", 30, 7), rng_of("y").integers(0, 7, 30)
    vjp_check(lambda v: loss(v, y)[0], [x], [loss(x, y)[1]], "loss")


@pytest.mark.parametrize(("name", "params"), [
    ("affine_relu", []), ("affine_bn_relu", [{"mode": "train"}]), ("affine_ln_relu", [{}]),
    ("affine_bn_relu", [{"mode": "test", "running_mean": normal("m", 6), "running_var": np.abs(normal("v", 6)) + 1}]),
], ids=["affine_relu", "affine_bn_relu", "affine_ln_relu", "affine_bn_relu_test"])
def test_sandwich(backend, name, params):
    vectors = 1 if name == "affine_relu" else 3
    arrays = [normal("x", 7, 2, 5), normal("w", 10, 6), *(normal(k, 6) + 0.1 for k in range(vectors))]
    forward, backward = getattr(layer_utils, f"{name}_forward"), getattr(layer_utils, f"{name}_backward")
    # Batch normalization takes the mean away, and the bias with it.
    layer_check(forward, backward, arrays, name, params, zero=[2] if params == [{"mode": "train"}] else ())


def network_check(net, X, y, key):
    names = sorted(net.params)
    for name in names:
        if name[0] == "b" or name.startswith("gamma"):
            net.params[name] = net.params[name] + 0.1 * normal((key, name), *net.params[name].shape)
    loss, grads = net.loss(X, y)
    assert sorted(grads) == names
    arrays = [net.params[name].copy() for name in names]

    def value(*values):
        net.params = dict(zip(names, values, strict=True))
        return net.loss(X, y)[0]

    vjp_check(value, arrays, [grads[name] for name in names], key, rtol=5e-6)


@pytest.mark.parametrize("reg", [0.0, 0.7])
@pytest.mark.parametrize("dropout", [1, 0.6])
@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
def test_network(backend, normalization, dropout, reg):
    net = FullyConnectedNet([11, 9, 8], input_dim=12, num_classes=5, dropout=dropout, normalization=normalization,
                            reg=reg, weight_scale=0.4, dtype=np.float64, seed=3)
    X, y = normal("X", 10, 3, 4), rng_of("y").integers(0, 5, 10)
    network_check(net, X, y, ("net", normalization, dropout))


@pytest.mark.parametrize("reg", [0.0, 0.7])
def test_two_layer_net(backend, reg):
    net = TwoLayerNet(input_dim=12, hidden_dim=9, num_classes=5, weight_scale=0.4, reg=reg)
    network_check(net, normal("X", 10, 12), rng_of("y").integers(0, 5, 10), "two")
