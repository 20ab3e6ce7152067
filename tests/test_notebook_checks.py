"""The checks of the notebook: its inputs, expected numbers and bounds, through the import name daseCV."""

import os

import numpy as np
import pytest

from daseCV.classifiers.fc_net import *
from daseCV.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array
from daseCV.optim import adam, rmsprop, sgd_momentum
from daseCV.solver import Solver

on_both_backends = pytest.mark.usefixtures("backend")


def relative_error(a, b):
    return np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))


def evenly(first, last, *shape):
    return np.linspace(first, last, num=int(np.prod(shape))).reshape(shape)


def layer_errors(forward, backward, inputs, upstream):
    """The error of each gradient of a layer against central differences."""
    _, cache = forward(*inputs)
    gradients = backward(upstream, cache)
    if not isinstance(gradients, tuple):
        gradients = (gradients,)
    assert len(gradients) == len(inputs)
    errors = []
    for array, gradient in zip(inputs, gradients, strict=True):
        numerical = eval_numerical_gradient_array(lambda _: forward(*inputs)[0], array, upstream)
        errors.append(relative_error(numerical, gradient))
    return errors


def network_errors(model, X, y):
    """The error of the gradient of each parameter of a network."""
    _, gradients = model.loss(X, y)
    assert gradients.keys() == model.params.keys()
    errors = {}
    for name, gradient in gradients.items():
        numerical = eval_numerical_gradient(lambda _: model.loss(X, y)[0], model.params[name], verbose=False)
        errors[name] = relative_error(numerical, gradient)
    return errors


# Layers

@on_both_backends
def test_affine_forward():
    x, w, b = evenly(-0.1, 0.5, 2, 4, 5, 6), evenly(-0.2, 0.3, 120, 3), evenly(-0.3, 0.1, 3)
    expected = np.array([[1.49834967, 1.70660132, 1.91485297], [3.25553199, 3.5141327, 3.77273342]])
    out, _ = affine_forward(x, w, b)
    error = relative_error(out, expected)
    assert error < 1e-9
    assert error == pytest.approx(9.77e-10, rel=1e-3)  # the rounding of the expected digits


@on_both_backends
def test_affine_backward():
    np.random.seed(231)
    inputs = [np.random.randn(10, 2, 3), np.random.randn(6, 5), np.random.randn(5)]
    assert max(layer_errors(affine_forward, affine_backward, inputs, np.random.randn(10, 5))) < 1e-9


@on_both_backends
def test_relu_forward():
    expected = np.array([
        [0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.04545455, 0.13636364],
        [0.22727273, 0.31818182, 0.40909091, 0.5],
    ])
    out, _ = relu_forward(evenly(-0.5, 0.5, 3, 4))
    assert relative_error(out, expected) == pytest.approx(5e-8, rel=1e-6)


@on_both_backends
def test_relu_backward():
    np.random.seed(231)
    x, upstream = np.random.randn(10, 10), np.random.randn(10, 10)
    assert max(layer_errors(relu_forward, relu_backward, [x], upstream)) < 1e-11


@on_both_backends
def test_affine_relu():
    np.random.seed(231)
    inputs = [np.random.randn(2, 3, 4), np.random.randn(12, 10), np.random.randn(10)]
    assert max(layer_errors(affine_relu_forward, affine_relu_backward, inputs, np.random.randn(2, 10))) < 1e-9


@on_both_backends
@pytest.mark.parametrize(("function", "expected", "bound"), [
    (svm_loss, 8.999602749096233, 1e-8),
    (softmax_loss, 2.302545844500738, 1e-7),
])
def test_losses(function, expected, bound):
    np.random.seed(231)
    x, y = 0.001 * np.random.randn(50, 10), np.random.randint(10, size=50)
    numerical = eval_numerical_gradient(lambda scores: function(scores, y)[0], x, verbose=False)
    loss, dx = function(x, y)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert relative_error(numerical, dx) < bound


# Networks

def two_layer_net():
    """The notebook's network of fixed weights, with its images and labels."""
    model = TwoLayerNet(input_dim=5, hidden_dim=50, num_classes=7, weight_scale=1e-3)
    model.params["W1"] = evenly(-0.7, 0.3, 5, 50)
    model.params["b1"] = evenly(-0.1, 0.9, 50)
    model.params["W2"] = evenly(-0.3, 0.4, 50, 7)
    model.params["b2"] = evenly(-0.9, 0.1, 7)
    return model, evenly(-5.5, 4.5, 5, 3).T, np.array([0, 5, 1])


def test_two_layer_net_initialization():
    np.random.seed(231)
    np.random.randn(3, 5), np.random.randint(7, size=3)  # drawn before the weights, as in the notebook
    params = TwoLayerNet(input_dim=5, hidden_dim=50, num_classes=7, weight_scale=1e-3).params
    for name in ("W1", "W2"):
        assert abs(params[name].std() - 1e-3) < 1e-4
    for name in ("b1", "b2"):
        assert np.all(params[name] == 0)


@on_both_backends
def test_two_layer_net_scores():
    model, X, _ = two_layer_net()
    expected = np.array([
        [11.53165108, 12.2917344, 13.05181771, 13.81190102, 14.57198434, 15.33206765, 16.09215096],
        [12.05769098, 12.74614105, 13.43459113, 14.1230412, 14.81149128, 15.49994135, 16.18839143],
        [12.58373087, 13.20054771, 13.81736455, 14.43418138, 15.05099822, 15.66781506, 16.2846319],
    ])
    assert np.abs(model.loss(X) - expected).sum() < 1e-6


@on_both_backends
@pytest.mark.parametrize(("reg", "expected"), [(0.0, 3.4702243556), (1.0, 26.5948426952)])
def test_two_layer_net_loss(reg, expected):
    model, X, y = two_layer_net()
    model.reg = reg
    assert abs(model.loss(X, y)[0] - expected) < 1e-10


@on_both_backends
@pytest.mark.parametrize("reg", [0.0, 0.7])
def test_two_layer_net_gradients(reg):
    model, X, y = two_layer_net()
    model.reg = reg
    assert max(network_errors(model, X, y).values()) < 1e-6


@on_both_backends
@pytest.mark.parametrize(("reg", "reg_last_layer", "expected"), [
    (0, True, 2.3004790897684924),
    (3.14, True, 7.052114776533016),
    (3.14, False, 5.940411485412347),
])
def test_fully_connected_net(reg, reg_last_layer, expected):
    np.random.seed(231)
    X, y = np.random.randn(2, 15), np.random.randint(10, size=2)
    # The notebook's loop builds one network for each reg, from the same stream.
    for _ in range(1 if reg == 0 else 2):
        model = FullyConnectedNet(
            [20, 30], input_dim=15, num_classes=10, reg=reg, weight_scale=5e-2, dtype=np.float64)
    assert model.reg_last_layer is True
    model.reg_last_layer = reg_last_layer
    assert model.loss(X, y)[0] == pytest.approx(expected, rel=1e-12)
    errors = network_errors(model, X, y)
    if reg == 0:
        assert errors.pop("W2") < 5e-5  # units next to the kink of ReLU
    assert max(errors.values()) < 1e-6


# Update rules

W, DW = evenly(-0.4, 0.6, 4, 5), evenly(-0.6, 0.4, 4, 5)


@on_both_backends
def test_sgd_momentum():
    config = {"learning_rate": 1e-3, "velocity": evenly(0.6, 0.9, 4, 5)}
    next_w, _ = sgd_momentum(W.copy(), DW, config=config)
    expected_w = np.array([
        [0.1406, 0.20738947, 0.27417895, 0.34096842, 0.40775789],
        [0.47454737, 0.54133684, 0.60812632, 0.67491579, 0.74170526],
        [0.80849474, 0.87528421, 0.94207368, 1.00886316, 1.07565263],
        [1.14244211, 1.20923158, 1.27602105, 1.34281053, 1.4096],
    ])
    expected_velocity = np.array([
        [0.5406, 0.55475789, 0.56891579, 0.58307368, 0.59723158],
        [0.61138947, 0.62554737, 0.63970526, 0.65386316, 0.66802105],
        [0.68217895, 0.69633684, 0.71049474, 0.72465263, 0.73881053],
        [0.75296842, 0.76712632, 0.78128421, 0.79544211, 0.8096],
    ])
    assert relative_error(next_w, expected_w) < 1e-8
    assert relative_error(config["velocity"], expected_velocity) < 1e-8


@on_both_backends
def test_rmsprop():
    config = {"learning_rate": 1e-2, "cache": evenly(0.6, 0.9, 4, 5)}
    next_w, _ = rmsprop(W.copy(), DW, config=config)
    expected_w = np.array([
        [-0.39223849, -0.34037513, -0.28849239, -0.23659121, -0.18467247],
        [-0.132737, -0.08078555, -0.02881884, 0.02316247, 0.07515774],
        [0.12716641, 0.17918792, 0.23122175, 0.28326742, 0.33532447],
        [0.38739248, 0.43947102, 0.49155973, 0.54365823, 0.59576619],
    ])
    expected_cache = np.array([
        [0.5976, 0.6126277, 0.6277108, 0.64284931, 0.65804321],
        [0.67329252, 0.68859723, 0.70395734, 0.71937285, 0.73484377],
        [0.75037008, 0.7659518, 0.78158892, 0.79728144, 0.81302936],
        [0.82883269, 0.84469141, 0.86060554, 0.87657507, 0.8926],
    ])
    assert relative_error(next_w, expected_w) < 1e-6
    assert relative_error(config["cache"], expected_cache) < 1e-8


@on_both_backends
def test_adam():
    config = {"learning_rate": 1e-2, "m": evenly(0.6, 0.9, 4, 5), "v": evenly(0.7, 0.5, 4, 5), "t": 5}
    next_w, _ = adam(W.copy(), DW, config=config)
    expected_w = np.array([
        [-0.40094747, -0.34836187, -0.29577703, -0.24319299, -0.19060977],
        [-0.1380274, -0.08544591, -0.03286534, 0.01971428, 0.0722929],
        [0.1248705, 0.17744702, 0.23002243, 0.28259667, 0.33516969],
        [0.38774145, 0.44031188, 0.49288093, 0.54544852, 0.59801459],
    ])
    expected_v = np.array([
        [0.69966, 0.68908382, 0.67851319, 0.66794809, 0.65738853],
        [0.64683452, 0.63628604, 0.6257431, 0.61520571, 0.60467385],
        [0.59414753, 0.58362676, 0.57311152, 0.56260183, 0.55209767],
        [0.54159906, 0.53110598, 0.52061845, 0.51013645, 0.49966],
    ])
    expected_m = np.array([
        [0.48, 0.49947368, 0.51894737, 0.53842105, 0.55789474],
        [0.57736842, 0.59684211, 0.61631579, 0.63578947, 0.65526316],
        [0.67473684, 0.69421053, 0.71368421, 0.73315789, 0.75263158],
        [0.77210526, 0.79157895, 0.81105263, 0.83052632, 0.85],
    ])
    assert relative_error(next_w, expected_w) < 1e-6
    assert relative_error(config["v"], expected_v) < 1e-8
    assert relative_error(config["m"], expected_m) < 1e-8
    assert config["t"] == 6


# Training: CIFAR-10 where it is, else the digits of the package.

ON_CIFAR = bool(os.environ.get("DASECV_DATA"))


@pytest.fixture(scope="module")
def images():
    if ON_CIFAR:
        from daseCV.data_utils import get_CIFAR10_data
        return get_CIFAR10_data(num_training=4000, num_validation=200, num_test=100, dtype=np.float32)
    from daseCV.datasets import load_digits_images
    return load_digits_images(dtype=np.float32)


def trained(images, hidden_dims, rule, learning_rate, *, epochs, batch_size, **options):
    """The Solver of one training run."""
    np.random.seed(231)
    model = FullyConnectedNet(hidden_dims, input_dim=images["X_train"][0].size, **options)
    solver = Solver(
        model, images, update_rule=rule, optim_config={"learning_rate": learning_rate},
        num_epochs=epochs, batch_size=batch_size, verbose=False)
    solver.train()
    return solver


@on_both_backends
@pytest.mark.parametrize(("hidden_dims", "weight_scale", "learning_rate"), [
    ([100, 100], *((1e-2, 1e-2) if ON_CIFAR else (1e-1, 2e-2))),
    ([100] * 4, *((1e-1, 2e-3) if ON_CIFAR else (2e-1, 1e-2))),
], ids=["three layers", "five layers"])
def test_learns_fifty_images_by_heart(images, hidden_dims, weight_scale, learning_rate):
    fifty = {**images, "X_train": images["X_train"][:50], "y_train": images["y_train"][:50]}
    solver = trained(fifty, hidden_dims, "sgd", learning_rate, epochs=20, batch_size=25,
                     weight_scale=weight_scale, dtype=np.float64)
    assert len(solver.loss_history) == 40
    assert max(solver.train_acc_history) == 1.0


@pytest.mark.once
def test_order_of_the_update_rules(images):
    rates = {"sgd": 5e-3, "sgd_momentum": 5e-3, "adam": 1e-3, "rmsprop": 1e-4}
    weight_scale, epochs = (5e-2, 5) if ON_CIFAR else (1e-1, 10)
    final = {}
    for rule, rate in rates.items():
        history = trained(images, [100] * 5, rule, rate, epochs=epochs, batch_size=100,
                          weight_scale=weight_scale).loss_history
        final[rule] = np.mean(history[-20:])
    assert max(final["sgd_momentum"], final["adam"], final["rmsprop"]) < final["sgd"]


@on_both_backends
def test_best_model_in_two_stages(images):
    """The spelling 'batch_norm' trains, and a second Solver goes on where the first one stopped."""
    first = trained(images, [100, 100], "adam", 1e-3, epochs=3, batch_size=100,
                    weight_scale=1.2e-2, reg=3.7e-2, normalization="batch_norm")
    model = first.model
    second = Solver(model, images, update_rule="sgd_momentum", optim_config={"learning_rate": 1e-6},
                    num_epochs=1, batch_size=100, verbose=False)
    second.train()
    assert second.val_acc_history[0] == pytest.approx(first.best_val_acc, abs=0.02)
    predicted = np.argmax(model.loss(images["X_test"]), axis=1)
    assert np.mean(predicted == images["y_test"]) > (0.25 if ON_CIFAR else 0.8)


# The import name

def test_names_are_the_same_modules():
    import daseCV.classifiers.fc_net
    import daseCV.layers
    import daseCV_c.classifiers.fc_net
    import daseCV_c.layers
    from daseCV import layers
    assert daseCV.layers is daseCV_c.layers is layers
    assert daseCV.classifiers.fc_net is daseCV_c.classifiers.fc_net
    assert daseCV.classifiers.fc_net.FullyConnectedNet is FullyConnectedNet


def test_names_are_the_same_in_a_new_process(script):
    """Whichever of the two names comes first."""
    for first, second in [("daseCV", "daseCV_c"), ("daseCV_c", "daseCV")]:
        script(
            f"import {first}.layers, {first}.classifiers.fc_net\n"
            f"import {second}.layers, {second}.classifiers.fc_net\n"
            "assert daseCV.layers is daseCV_c.layers\n"
            "assert daseCV.classifiers.fc_net is daseCV_c.classifiers.fc_net\n"
            "from daseCV import layers\n"
            "assert layers.__spec__.name == 'daseCV_c.layers'\n"
        )
