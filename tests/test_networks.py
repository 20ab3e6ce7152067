"""TwoLayerNet and FullyConnectedNet: the course's figures, gradients, and what a user may change."""

import numpy as np
import pytest
from adversarial import frozen

from daseCV_c import layer_utils, layers, reference
from daseCV_c._layers import chosen, sandwich
from daseCV_c.classifiers import fc_net
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.gradient_check import eval_numerical_gradient


def rel_error(x, y):
    return np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y)))


def course_net(reg):
    """The network and batch of the course's first check; the generator was seeded with 231."""
    X = np.random.randn(2, 15)
    y = np.random.randint(10, size=(2,))
    return FullyConnectedNet([20, 30], input_dim=15, reg=reg, weight_scale=5e-2, dtype=np.float64), X, y


def batch(n=6, d=12, classes=4):
    return np.random.randn(n, d), np.arange(n) % classes


NETS = {
    "plain": {},
    "batchnorm": {"normalization": "batchnorm"},
    "layernorm": {"normalization": "layernorm"},
    "dropout": {"dropout": 0.6, "seed": 5},
    "batchnorm_dropout": {"normalization": "batchnorm", "dropout": 0.6, "seed": 5},
}


def net_of(kind, dtype=np.float64, **more):
    return FullyConnectedNet(
        [9, 7], input_dim=12, num_classes=4, weight_scale=0.3, dtype=dtype, **NETS[kind], **more)


# The course's figures.

def test_two_layer_scores_and_losses(backend):
    N, D, H, C = 3, 5, 50, 7
    net = TwoLayerNet(input_dim=D, hidden_dim=H, num_classes=C)
    net.params["W1"] = np.linspace(-0.7, 0.3, num=D * H).reshape(D, H)
    net.params["b1"] = np.linspace(-0.1, 0.9, num=H)
    net.params["W2"] = np.linspace(-0.3, 0.4, num=H * C).reshape(H, C)
    net.params["b2"] = np.linspace(-0.9, 0.1, num=C)
    X = np.linspace(-5.5, 4.5, num=N * D).reshape(D, N).T
    scores = net.loss(X)
    np.testing.assert_allclose(scores[:, 0], [11.53165108, 12.05769098, 12.58373087], atol=1e-8)
    np.testing.assert_allclose(scores[:, -1], [16.09215096, 16.18839143, 16.2846319], atol=1e-7)
    y = np.asarray([0, 5, 1])
    assert abs(net.loss(X, y)[0] - 3.4702243556) < 1e-10
    net.reg = 1.0
    assert abs(net.loss(X, y)[0] - 26.5948426952) < 1e-10


@pytest.mark.parametrize(("reg", "last", "expected"), [
    (0, True, 2.3004790897684924),
    (0, False, 2.3004790897684924),
    (3.14, True, 7.052114776533016),
    (3.14, False, 5.940411485412347),
])
def test_first_loss(backend, reg, last, expected):
    np.random.seed(231)
    net, X, y = course_net(0)
    # The course makes one network per reg, and so draws once more for the second.
    if reg:
        net = FullyConnectedNet([20, 30], input_dim=15, reg=reg, weight_scale=5e-2, dtype=np.float64)
    assert net.reg_last_layer is True
    net.reg_last_layer = last
    assert net.loss(X, y)[0] == pytest.approx(expected, rel=1e-13)


def test_draws_are_the_courses():
    np.random.seed(3)
    net = FullyConnectedNet([5, 6], input_dim=4, num_classes=3, weight_scale=0.2)
    np.random.seed(3)
    for i, shape in enumerate([(4, 5), (5, 6), (6, 3)], 1):
        np.testing.assert_array_equal(net.params[f"W{i}"], (0.2 * np.random.randn(*shape)).astype(np.float32))
        assert not net.params[f"b{i}"].any()
    np.random.seed(3)
    two = TwoLayerNet(4, 5, 3, weight_scale=0.2)
    np.random.seed(3)
    np.testing.assert_array_equal(two.params["W1"], 0.2 * np.random.randn(4, 5))
    np.testing.assert_array_equal(two.params["W2"], 0.2 * np.random.randn(5, 3))


# Gradients.

@pytest.mark.parametrize("reg_last_layer", [True, False])
@pytest.mark.parametrize("kind", NETS)
def test_gradients(backend, kind, reg_last_layer):
    X, y = batch()
    net = net_of(kind, reg=0.7)
    net.reg_last_layer = reg_last_layer
    for name in net.params:  # away from the flat start: every parameter has a say
        net.params[name] = net.params[name] + 0.1 * np.random.randn(*net.params[name].shape)
    _, grads = net.loss(X, y)
    assert set(grads) == set(net.params)
    for name, grad in grads.items():
        numerical = eval_numerical_gradient(lambda _: net.loss(X, y)[0], net.params[name], verbose=False)
        # The bias before batch norm cancels out: its gradient is zero but for rounding.
        if "batchnorm" in kind and name in ("b1", "b2"):
            np.testing.assert_allclose(grad, 0, atol=1e-12)
            np.testing.assert_allclose(numerical, 0, atol=1e-9)
        else:
            np.testing.assert_allclose(grad, numerical, rtol=1e-5, atol=2e-8, err_msg=name)
            assert np.abs(grad).max() > 1e-3


@pytest.mark.parametrize("reg", [0.0, 0.7])
def test_two_layer_gradients(backend, reg):
    X, y = batch()
    net = TwoLayerNet(12, 9, 4, weight_scale=0.3, reg=reg)
    _, grads = net.loss(X, y)
    for name, grad in grads.items():
        numerical = eval_numerical_gradient(lambda _: net.loss(X, y)[0], net.params[name], verbose=False)
        assert rel_error(numerical, grad) < 1e-5, name


@pytest.mark.parametrize("kind", NETS)
def test_loss_is_made_of_the_layers(backend, kind):
    """The fused forward pass against the twins, layer by layer."""
    X, y = batch()
    net = net_of(kind, reg=0.3)
    np.random.seed(5)
    out = X
    for i in (1, 2):
        out = reference.affine_forward(out, net.params[f"W{i}"], net.params[f"b{i}"])[0]
        if net.normalization:
            forward = getattr(reference, f"{net.normalization}_forward")
            out = forward(out, net.params[f"gamma{i}"], net.params[f"beta{i}"], {"mode": "train"})[0]
        out = np.maximum(out, 0)
        if net.use_dropout:
            np.random.seed(5)
            out = out * (np.random.rand(*out.shape) < 0.6) / 0.6
    scores = out @ net.params["W3"] + net.params["b3"]
    expected = reference.softmax_loss(scores, y)[0]
    expected += 0.15 * sum((net.params[f"W{i}"] ** 2).sum() for i in (1, 2, 3))
    assert net.loss(X, y)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("make", [
    lambda: TwoLayerNet(12, 9, 4), lambda: net_of("plain"), lambda: net_of("batchnorm_dropout"),
    lambda: net_of("layernorm"), lambda: FullyConnectedNet([], input_dim=12, num_classes=4),
], ids=["two_layer", "plain", "batchnorm_dropout", "layernorm", "no_hidden"])
def test_gradient_of_the_images_is_left_out(backend, monkeypatch, make):
    """Only the first affine layer goes without: its dx is None. (The step's kernel has no such product.)"""
    monkeypatch.setattr(fc_net._engine, "gradients", lambda *args: None)
    real, found = sandwich._affine_backward, []

    def recording(*args, **kwargs):
        found.append(real(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(sandwich, "_affine_backward", recording)
    monkeypatch.setitem(chosen._FAST, "affine_backward", recording)
    make().loss(*batch())
    assert found[-1][0] is None
    assert all(result[0] is not None for result in found[:-1])


# dtype, dropout, normalization.

@pytest.mark.parametrize("kind", NETS)
def test_dtype(backend, dtype, kind):
    net = net_of(kind, dtype=dtype, reg=np.float64(0.5))
    X, y = batch()
    loss, grads = net.loss(X, y)
    assert isinstance(loss, float)
    assert {g.dtype for g in grads.values()} == {np.dtype(dtype)}
    assert net.loss(X).dtype == dtype
    assert {p.dtype for p in net.params.values()} == {np.dtype(dtype)}


def test_defaults():
    assert TwoLayerNet(4, 5, 3).dtype == np.float64
    net = FullyConnectedNet([5], input_dim=4, num_classes=3)
    assert (net.dtype, net.num_layers, net.use_dropout, net.normalization) == (np.float32, 2, False, None)
    assert (net.dropout_param, net.bn_params, net.reg) == ({}, [], 0.0)


@pytest.mark.parametrize(("spelling", "stored", "entries"), [
    ("batch_norm", "batchnorm", [{"mode": "train"}, {"mode": "train"}]),
    ("batchnorm", "batchnorm", [{"mode": "train"}, {"mode": "train"}]),
    ("layer_norm", "layernorm", [{}, {}]),
    ("layernorm", "layernorm", [{}, {}]),
])
def test_spelling_of_normalization(spelling, stored, entries):
    net = FullyConnectedNet([5, 6], input_dim=4, normalization=spelling)
    assert net.normalization == stored
    assert net.bn_params == entries
    assert net.bn_params[0] is not net.bn_params[1]
    assert "gamma3" not in net.params


def test_both_names_of_dropout(backend):
    X, y = batch()
    np.random.seed(1)
    one = FullyConnectedNet([9], input_dim=12, dropout=0.5, seed=7)
    np.random.seed(1)
    other = FullyConnectedNet([9], input_dim=12, dropout_keep_ratio=0.5, seed=7)
    assert one.dropout_param == other.dropout_param == {"mode": "train", "p": 0.5, "seed": 7}
    assert one.loss(X, y)[0] == other.loss(X, y)[0]
    assert FullyConnectedNet([9], input_dim=12, dropout_keep_ratio=1).use_dropout is False


def test_scores_are_those_of_test_mode(backend):
    net = net_of("batchnorm_dropout")
    X, y = batch()
    net.loss(X, y)
    assert net.dropout_param["mode"] == "train"
    assert [p["mode"] for p in net.bn_params] == ["train", "train"]
    before = frozen([net.bn_params, net.dropout_param])
    first, second = net.loss(X), net.loss(X)
    np.testing.assert_array_equal(first, second)
    assert frozen([net.bn_params, net.dropout_param]) == before, "scoring changes nothing, not even a mode"
    # A sample's score in test mode does not depend on who else is in the batch.
    np.testing.assert_allclose(net.loss(X[:1]), first[:1], rtol=1e-12)


# What a user may change between calls.

@pytest.mark.parametrize("kind", NETS)
def test_same_result_as_images_or_rows(backend, kind):
    X, y = batch()
    net = net_of(kind)
    loss, grads = net.loss(X, y)
    again, grads_again = net.loss(X.reshape(6, 3, 2, 2), y)
    assert loss == again
    assert frozen(grads) == frozen(grads_again)


@pytest.mark.parametrize("kind", NETS)
def test_results_belong_to_the_caller(backend, kind):
    X, y = batch()
    net = net_of(kind, reg=0.1)
    kept = frozen([X, y, net.params])
    scores = net.loss(X)
    _, grads = net.loss(X, y)
    held = frozen([scores, grads])
    net.loss(-X, y)
    net.loss(-X)
    assert frozen([scores, grads]) == held, "a later call wrote into an earlier result"
    assert frozen([X, y, net.params]) == kept, "the call changed its inputs"
    for grad in grads.values():
        grad[...] = np.nan
    assert frozen([X, y, net.params]) == kept, "a gradient shares memory with an input"


def test_replaced_parameters_and_attributes(backend):
    X, y = batch()
    net = net_of("plain")
    plain, plain_grads = net.loss(X, y)
    net.reg = 2
    loss, grads = net.loss(X, y)
    squares = sum((net.params[f"W{i}"] ** 2).sum() for i in (1, 2, 3))
    assert loss - plain == pytest.approx(squares)
    np.testing.assert_allclose(grads["W2"] - plain_grads["W2"], 2 * net.params["W2"], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(grads["b2"], plain_grads["b2"])
    net.params["W3"] = np.zeros_like(net.params["W3"])
    net.params["b3"] = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(net.loss(X), np.tile(net.params["b3"], (6, 1)))
    net.use_dropout, net.dropout_param = True, {"p": 0.5, "mode": "train", "seed": 1}
    assert net.loss(X, y)[0] == net.loss(X, y)[0]
    net.dtype = np.dtype("float32")
    assert np.isfinite(net.loss(X, y)[0])


def test_replaced_bn_params(backend):
    X, _ = batch()
    net = net_of("batchnorm")
    zeros, ones = np.zeros, np.ones
    net.bn_params = [{"running_mean": zeros(k), "running_var": ones(k), "eps": 0.0} for k in (9, 7)]
    plain = net_of("plain")
    plain.params = {name: p for name, p in net.params.items() if name[0] in "Wb" and name[1] != "e"}
    np.testing.assert_allclose(net.loss(X), plain.loss(X), rtol=1e-12)


# Errors.

@pytest.mark.parametrize(("make", "name"), [
    (lambda: TwoLayerNet(12, 9, 4), "TwoLayerNet"), (lambda: net_of("batchnorm"), "FullyConnectedNet"),
])
def test_errors_of_loss(backend, make, name):
    net = make()
    before = frozen(net.params)
    X, y = batch()
    with pytest.raises(ValueError, match=rf"{name}.*X has 10 features per sample .*W1 has 12 rows"):
        net.loss(np.ones((3, 10)))
    with pytest.raises(ValueError, match=rf"{name}.*X has 1 dimensions"):
        net.loss(np.ones(12))
    with pytest.raises(TypeError, match=name):
        net.loss(np.full((2, 12), "a"))
    with pytest.raises(ValueError, match=rf"{name}.*y has shape \(5,\), expected \(6,\)"):
        net.loss(X, y[:5])
    with pytest.raises(ValueError, match=rf"{name}.*label 4"):
        net.loss(X, y + 1)
    with pytest.raises(ValueError, match=rf"{name}.*label -1"):
        net.loss(X, y - 1)
    with pytest.raises(TypeError, match=rf"{name}.*y has dtype float64"):
        net.loss(X, y * 1.0)
    with pytest.raises(ValueError, match=rf"{name}.*at least one sample"):
        net.loss(X[:0], y[:0])
    assert frozen(net.params) == before
    assert all("running_mean" not in entry for entry in getattr(net, "bn_params", []))
    assert net.loss(X[:0]).shape == (0, 4)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"normalization": "groupnorm"}, "'groupnorm'.*'batchnorm'"),
    ({"normalization": ["batchnorm"]}, "normalization is"),
    ({"normalization": 0}, "normalization is"),
    ({"dropout": 1.5}, "dropout is 1.5"),
    ({"dropout": -0.1}, "dropout is -0.1"),
    ({"dropout_keep_ratio": 0}, "dropout_keep_ratio is 0"),
    ({"dropout_keep_ratio": -0.1}, "dropout_keep_ratio is -0.1"),
    ({"dtype": np.float16}, "float16"),
    ({"dtype": np.int64}, "int64"),
    ({"hidden_dims": 5}, "hidden_dims"),
    ({"hidden_dims": [5, 0]}, "hidden_dims"),
    ({"hidden_dims": [5.0]}, "hidden_dims"),
    ({"input_dim": 0}, "input_dim"),
    ({"num_classes": True}, "num_classes"),
    ({"reg": np.nan}, "reg is nan"),
])
def test_errors_of_the_constructor(arguments, message):
    state = np.random.get_state()[2]
    with pytest.raises(ValueError, match=f"FullyConnectedNet: .*{message}"):
        FullyConnectedNet(**{"hidden_dims": [5], **arguments})
    with pytest.raises(TypeError, match="weight_scale is 'small', expected a number"):
        FullyConnectedNet([5], weight_scale="small")
    assert np.random.get_state()[2] == state, "numbers were drawn before the arguments were checked"


def test_unknown_normalization_set_later():
    net = net_of("plain")
    net.normalization = "other"
    with pytest.raises(ValueError, match="normalization is 'other'"):
        net.loss(batch()[0])


def test_star_import_brings_the_layers():
    names = {}
    exec("from daseCV_c.classifiers.fc_net import *", names)
    for name in ("TwoLayerNet", "FullyConnectedNet", *layers.__all__, *layer_utils.__all__):
        assert name in names, name
    assert names["affine_forward"] is layers.affine_forward
    assert not any(name.startswith("_") and not name.startswith("__") for name in names)
