"""FullyConnectedNet with a loss other than softmax, and with weights of the samples."""

import numpy as np
import pytest
from adversarial import frozen, rng_of
from comparing import close

import daseCV_c
from daseCV_c._checks import LOSSES
from daseCV_c._step.fully_connected import FusedStep
from daseCV_c._step.passes import train_batches
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.gradient_check import eval_numerical_gradient
from daseCV_c.models import load_model, save_model
from daseCV_c.solver import Solver

OTHERS = LOSSES[1:]
KINDS = {"plain": {}, "batch norm": {"normalization": "batchnorm"}, "layer norm": {"normalization": "layernorm"},
         "dropout": {"dropout": 0.7, "seed": 3}}


def net_of(loss, outputs=3, dtype=np.float64, hidden=(8, 7), **more):
    np.random.seed(4)
    return FullyConnectedNet(hidden, 6, outputs, reg=0.1, weight_scale=0.5, dtype=dtype, loss=loss, **more)


def data_of(loss, outputs=3, n=9):
    rng = rng_of("data", loss, n)
    shape = n, outputs
    y = {"softmax": lambda: rng.integers(0, outputs, n), "logistic": lambda: rng.integers(0, 2, shape),
         "squared": lambda: rng.standard_normal(shape), "poisson": lambda: rng.poisson(1.0, shape)}[loss]()
    return rng.standard_normal((n, 6)), y, rng.uniform(0.2, 2, n)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_by_kernel_and_by_layers(level, dtype, loss, kind):
    X, y, weight = data_of(loss)
    (value, grads), (expected, wanted) = (backend_loss(name, net_of(loss, dtype=dtype, **KINDS[kind]), X, y, weight)
                                          for name in ("compiled", "numpy"))
    close(value, expected, abs(expected) + 1, 200, form=False, working=dtype)
    assert grads.keys() == wanted.keys()
    for name, grad in grads.items():
        close(grad, wanted[name], np.abs(wanted[name]).max() + 1, 500)


@pytest.mark.compiled
@pytest.mark.parametrize("loss", LOSSES)
def test_losses_without_weights_by_kernel_and_by_layers(dtype, loss):
    X, y, _ = data_of(loss)
    found, expected = (backend_loss(name, net_of(loss, dtype=dtype), X, y)[0] for name in ("compiled", "numpy"))
    close(found, expected, abs(expected) + 1, 200, form=False, working=dtype)


def backend_loss(backend, net, X, y, weight=None):
    with daseCV_c.use_backend(backend):
        return net.loss(X, y, sample_weight=weight)


@pytest.mark.compiled
@pytest.mark.parametrize("loss", LOSSES)
def test_the_kernel_takes_them(level, loss, monkeypatch):
    monkeypatch.setattr("daseCV_c.classifiers.fc_net._output_loss", None)
    X, y, weight = data_of(loss)
    net_of(loss, normalization="batchnorm").loss(X, y, sample_weight=weight)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_against_differences(backend, loss):
    X, y, weight = data_of(loss)
    net = net_of(loss, normalization="layernorm", hidden=(4,))
    _, grads = net.loss(X, y, sample_weight=weight)
    for name, grad in grads.items():
        numeric = eval_numerical_gradient(lambda _: net.loss(X, y, sample_weight=weight)[0], net.params[name],
                                          verbose=False)
        np.testing.assert_allclose(grad, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_count_samples(backend, loss):
    """A whole weight is that sample so many times; the same weight for all changes nothing."""
    X, y, _ = data_of(loss)
    times = np.array([1, 0, 2, 3, 1, 1, 0, 4, 1])
    many, grads = net_of(loss).loss(X.repeat(times, axis=0), y.repeat(times, axis=0))
    weighted, others = net_of(loss).loss(X, y, sample_weight=times)
    assert weighted == pytest.approx(many, rel=1e-12)
    alike = net_of(loss).loss(X, y, sample_weight=np.full(9, 0.25))[0]
    assert alike == pytest.approx(net_of(loss).loss(X, y)[0], rel=1e-12)
    for name, grad in grads.items():
        np.testing.assert_allclose(others[name], grad, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("kind", ["plain", "batch norm"])
@pytest.mark.parametrize("loss", LOSSES)
def test_fused_step_with_weights(level, loss, kind):
    """The step that draws and updates is the loss, its gradients, and the rule."""
    X, y, weight = data_of(loss, n=30)
    index, net, other = rng_of("index").integers(0, 30, 10), net_of(loss, **KINDS[kind]), net_of(loss, **KINDS[kind])
    configs = {name: {"learning_rate": 0.1, "momentum": 0.9} for name in net.params}
    found = FusedStep("sgd_momentum")(net, configs, X, y, index, sample_weight=weight)
    expected, grads = other.loss(X[index], y[index], sample_weight=weight[index])
    assert found == expected
    for name, w in other.params.items():
        np.testing.assert_allclose(net.params[name], w - 0.1 * grads[name], rtol=1e-12, atol=1e-14)


@pytest.mark.compiled
def test_fused_step_leaves_what_is_wrong_to_the_layers(level):
    X, y, weight = data_of("poisson")
    net, index = net_of("poisson"), np.arange(4)
    configs = {name: {"learning_rate": 0.1} for name in net.params}
    before = frozen(net.params)
    for wrong, weights in ((y - 10, weight), (y[:, :2], weight), (y[:, 0], None), (y, weight * 0)):
        assert FusedStep("sgd")(net, configs, X, wrong, index, sample_weight=weights) is None
    assert frozen(net.params) == before


@pytest.mark.parametrize("loss", OTHERS)
def test_a_step_is_that_of_a_pass(backend, loss):
    """Both entries of the kernel: the gradient is one, but the squared loss is printed as a mean over the outputs."""
    X, y, weight = data_of(loss)
    net = net_of(loss)
    net.reg = 0
    value, grads = net.loss(X, y, sample_weight=weight)
    parameters = [[net.params[f"{kind}{i}"].copy() for i in (1, 2, 3)] for kind in "Wb"]
    (printed,) = train_batches(X, y.astype(float), None, 9, *parameters, [()] * 6, activation="relu", loss=loss,
                               rule="sgd", numbers={"learning_rate": 1.0}, alpha=0.0, t=0, sample_weight=weight)
    assert printed == pytest.approx(value / (3 if loss == "squared" else 1), rel=1e-12)
    for i in (1, 2, 3):
        np.testing.assert_allclose(net.params[f"W{i}"] - parameters[0][i - 1], grads[f"W{i}"], rtol=1e-9, atol=1e-13)


# Prediction and files.

def test_predictions_of_each_loss(backend):
    X = data_of("squared")[0]
    for loss, output in (("logistic", lambda s: 1 / (1 + np.exp(-s))), ("squared", lambda s: s), ("poisson", np.exp)):
        for outputs in (1, 3):
            net = net_of(loss, outputs)
            scores = net.loss(X)
            assert scores.shape == (9, outputs)
            found = net.predict(X)
            assert found.shape == ((9,) if outputs == 1 else (9, 3))
            if loss == "logistic":
                assert found.dtype == np.int64
                np.testing.assert_array_equal(found.reshape(9, -1), scores > 0)
                np.testing.assert_allclose(net.predict_proba(X), output(scores), rtol=1e-13)
                continue
            np.testing.assert_allclose(found.reshape(9, -1), output(scores), rtol=1e-13)
            with pytest.raises(ValueError, match=f"predict_proba: the loss is '{loss}'"):
                net.predict_proba(X)


@pytest.mark.once
@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_file_of_a_network_keeps_its_loss(tmp_path, loss, suffix):
    net, X = net_of(loss), data_of(loss)[0]
    save_model(net, tmp_path / f"net.{suffix}")
    again = load_model(tmp_path / f"net.{suffix}")
    assert again.loss_function == loss
    assert frozen(again.predict(X)) == frozen(net.predict(X))
    other = net_of("squared")
    assert other.load(tmp_path / f"net.{suffix}")
    assert other.loss_function == loss


@pytest.mark.once
def test_an_unknown_loss_in_a_file(tmp_path, monkeypatch):
    net = net_of("squared")
    net.loss_function = "hinge"
    with pytest.raises(ValueError, match=r"save_model: loss is 'hinge', expected one of 'softmax'"):
        save_model(net, tmp_path / "net.npz")


# Wrong calls.

@pytest.mark.parametrize(("loss", "y", "words"), [
    ("squared", np.zeros((9, 2)), r"y has shape \(9, 2\), expected \(9, 3\)"),
    ("squared", np.zeros(9), r"y has shape \(9,\), expected \(9, 3\)"),
    ("squared", np.full((9, 3), np.nan), "y holds a NaN or an infinity"),
    ("logistic", np.full((9, 3), 1.5), "y holds 1.5, expected numbers from 0 to 1"),
    ("logistic", np.linspace(0.5, 2, 27).reshape(9, 3), "y holds 2.0, expected numbers from 0 to 1"),
    ("logistic", np.full((9, 3), -1), "y holds -1, expected numbers from 0 to 1"),
    ("poisson", np.full((9, 3), -0.5), "y holds -0.5, expected no negative number"),
    ("softmax", np.full(9, 3), "y holds the label 3"),
])
def test_wrong_targets(backend, loss, y, words):
    net = net_of(loss, normalization="batchnorm")
    before = frozen([net.params, net.bn_params])
    with pytest.raises(ValueError, match=rf"FullyConnectedNet\.loss: {words}"):
        net.loss(data_of(loss)[0], y, sample_weight=np.ones(9))
    assert frozen([net.params, net.bn_params]) == before


@pytest.mark.parametrize(("weight", "words"), [
    (np.ones(8), r"sample_weight has shape \(8,\), expected \(9,\)"), (np.zeros(9), "sample_weight sums to 0"),
    (np.full(9, np.inf), "sample_weight sums to inf"), (np.full((9, 1), 1.0), "sample_weight has shape"),
])
def test_wrong_weights(backend, weight, words):
    X, y, _ = data_of("softmax")
    with pytest.raises(ValueError, match=rf"FullyConnectedNet\.loss: {words}"):
        net_of("softmax").loss(X, y, sample_weight=weight)


def test_wrong_words(backend):
    with pytest.raises(ValueError, match="FullyConnectedNet: loss is 'hinge', expected one of 'softmax'"):
        net_of("hinge")
    with pytest.raises(ValueError, match=r"expected \(0, 3\)|no samples"):
        net_of("squared").loss(np.zeros((0, 6)), np.zeros((0, 3)))


def test_a_solver_counts_classes(backend):
    X, y, _ = data_of("logistic", 1)
    solver = Solver(net_of("logistic", 1), {"X_train": X, "y_train": y[:, 0], "X_val": X, "y_val": y[:, 0]},
                    verbose=False)
    with pytest.raises(ValueError, match="check_accuracy: the network's loss is 'logistic'"):
        solver.check_accuracy(X, y[:, 0])


