"""ThreeLayerConvNet: loss, gradients, training, dtype, and what a user may change."""

import pickle

import numpy as np
import pytest
from adversarial import frozen

import daseCV_c
from daseCV_c import fast_layers, layer_utils, layers, reference
from daseCV_c._layers import sandwich
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.data_utils import load_models
from daseCV_c.datasets import load_digits_images
from daseCV_c.gradient_check import eval_numerical_gradient
from daseCV_c.solver import Solver


def small(dtype=np.float64, **more):
    arguments = {"input_dim": (3, 6, 8), "num_filters": 4, "filter_size": 3, "hidden_dim": 7, "num_classes": 5,
                 "weight_scale": 0.3, "dtype": dtype}
    return ThreeLayerConvNet(**arguments | more)


def batch(n=4, shape=(3, 6, 8), classes=5):
    return np.random.randn(n, *shape), np.arange(n) % classes


def test_first_loss(backend):
    """Near log(10) without a penalty, larger with one."""
    net = ThreeLayerConvNet()
    X, y = np.random.randn(50, 3, 32, 32), np.random.randint(10, size=50)
    loss, _ = net.loss(X, y)
    assert abs(loss - np.log(10)) < 1e-3
    net.reg = 0.5
    assert net.loss(X, y)[0] > loss + 0.01


def test_defaults_and_draws():
    np.random.seed(3)
    net = ThreeLayerConvNet()
    np.random.seed(3)
    for name, shape in (("W1", (32, 3, 7, 7)), ("W2", (32 * 16 * 16, 100)), ("W3", (100, 10))):
        np.testing.assert_array_equal(net.params[name], (1e-3 * np.random.randn(*shape)).astype(np.float32))
    assert {name: p.shape for name, p in net.params.items() if name[0] == "b"} == {
        "b1": (32,), "b2": (100,), "b3": (10,)}
    assert not any(net.params[b].any() for b in ("b1", "b2", "b3"))
    assert (net.dtype, net.reg) == (np.float32, 0.0)


@pytest.mark.parametrize("reg", [0.0, 0.7])
@pytest.mark.parametrize("shape", [(3, 6, 8), (2, 5, 7)], ids=str)
def test_gradients(backend, reg, shape):
    net = small(input_dim=shape, reg=reg)
    X, y = batch(shape=shape)
    for name in net.params:  # away from the flat start: every parameter has a say
        net.params[name] = net.params[name] + 0.1 * np.random.randn(*net.params[name].shape)
    _, grads = net.loss(X, y)
    assert set(grads) == set(net.params)
    for name, grad in grads.items():
        numerical = eval_numerical_gradient(lambda _: net.loss(X, y)[0], net.params[name], verbose=False, h=1e-6)
        np.testing.assert_allclose(grad, numerical, rtol=1e-5, atol=5e-8, err_msg=name)
        assert np.abs(grad).max() > 1e-3


def test_loss_is_made_of_the_layers(backend):
    net, (X, y) = small(reg=0.3), batch()
    p = net.params
    out = np.maximum(reference.conv_forward_naive(X, p["W1"], p["b1"], {"stride": 1, "pad": 1})[0], 0)
    out = out.reshape(4, 4, 3, 2, 4, 2).max(axis=(3, 5)).reshape(4, -1)
    scores = np.maximum(out @ p["W2"] + p["b2"], 0) @ p["W3"] + p["b3"]
    np.testing.assert_allclose(net.loss(X), scores, rtol=1e-12, atol=1e-12)
    expected = reference.softmax_loss(scores, y)[0] + 0.15 * sum((p[w] ** 2).sum() for w in ("W1", "W2", "W3"))
    assert net.loss(X, y)[0] == pytest.approx(expected, rel=1e-12)


def digits(n):
    data = load_digits_images()
    X = data["X_train"].astype(np.float32)
    X = (X - X.mean()) / X.std()
    return X[:n], data["y_train"][:n], X[n:2 * n], data["y_train"][n:2 * n]


@pytest.mark.compiled
def test_overfits_a_hundred_digits():
    with daseCV_c.use_backend("compiled"):
        X, y, X_val, y_val = digits(100)
        net = ThreeLayerConvNet(X.shape[1:], num_filters=8, filter_size=3, hidden_dim=50, weight_scale=5e-2)
        solver = Solver(net, {"X_train": X, "y_train": y, "X_val": X_val, "y_val": y_val}, update_rule="adam",
                        optim_config={"learning_rate": 5e-3}, num_epochs=40, batch_size=25, verbose=False)
        solver.train()
    assert solver.train_acc_history[-1] >= 0.99
    assert solver.loss_history[-1] < 0.1 * solver.loss_history[0]
    assert solver.best_val_acc > 0.5


def test_both_backends_train_alike():
    X, y, X_val, y_val = digits(60)
    histories = []
    for backend in ("compiled", "numpy") if daseCV_c.get_backend() == "compiled" else ("numpy", "numpy"):
        np.random.seed(7)
        with daseCV_c.use_backend(backend):
            net = ThreeLayerConvNet(X.shape[1:], 4, 3, 20, weight_scale=5e-2, dtype=np.float64)
            solver = Solver(net, {"X_train": X, "y_train": y, "X_val": X_val, "y_val": y_val}, num_epochs=2,
                            batch_size=20, verbose=False)
            solver.train()
        histories.append(solver.loss_history)
    np.testing.assert_allclose(*histories, rtol=1e-9)


@pytest.mark.compiled
def test_same_bits_for_any_number_of_threads(dtype):
    net = ThreeLayerConvNet((3, 20, 24), 16, 5, 30, weight_scale=0.1, dtype=dtype, reg=0.1)
    X, y = np.random.randn(30, 3, 20, 24), np.arange(30) % 10
    ends = set()
    for threads in (1, 2, 3):
        with daseCV_c.use_backend("compiled"), daseCV_c.num_threads(threads):
            ends.add(str(frozen(net.loss(X, y))))
    assert len(ends) == 1


def test_dtype(backend, dtype):
    net, (X, y) = small(dtype, reg=np.float64(0.5)), batch()
    loss, grads = net.loss(X, y)
    assert isinstance(loss, float)
    assert {g.dtype for g in grads.values()} == {p.dtype for p in net.params.values()} == {np.dtype(dtype)}
    assert net.loss(X).dtype == dtype
    pixels = np.random.randint(0, 256, X.shape).astype(np.uint8)
    np.testing.assert_array_equal(net.loss(pixels), net.loss(pixels.astype(dtype)))


def test_results_belong_to_the_caller(backend):
    net, (X, y) = small(reg=0.1), batch()
    kept = frozen([X, y, net.params])
    scores, (_, grads) = net.loss(X), net.loss(X, y)
    held = frozen([scores, grads])
    net.loss(-X, y)
    assert frozen([scores, grads]) == held, "a later call wrote into an earlier result"
    for grad in grads.values():
        grad[...] = np.nan
    assert frozen([X, y, net.params]) == kept, "the call changed its inputs, or a gradient shares their memory"


def test_two_networks_do_not_disturb_each_other(backend):
    one, other = small(), small(num_filters=6)
    X, y = batch()
    alone = frozen([one.loss(X, y), other.loss(X[:2], y[:2])])
    first = one.loss(X, y)
    second = other.loss(X[:2], y[:2])
    one.loss(X + 1, y)
    assert frozen([first, second]) == alone


def test_gradient_of_the_images_is_left_out(backend, monkeypatch):
    real, found = sandwich._conv_backward, []

    def recording(*args, **kwargs):
        found.append(real(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(sandwich, "_conv_backward", recording)
    small().loss(*batch())
    assert len(found) == 1 and found[0][0] is None and found[0][1] is not None


def test_replaced_parameters(backend):
    """Filters of another size and a penalty may be put in between calls."""
    net, (X, y) = small(), batch()
    plain = net.loss(X, y)[0]
    net.reg = 2
    squares = sum((net.params[w] ** 2).sum() for w in ("W1", "W2", "W3"))
    assert net.loss(X, y)[0] - plain == pytest.approx(squares)
    net.params["W1"] = np.zeros((4, 3, 5, 5))
    net.params["b3"] = np.arange(5.0)
    net.params["W3"] = np.zeros((7, 5))
    np.testing.assert_array_equal(net.loss(X), np.tile(np.arange(5.0), (4, 1)))


def test_pickles(backend, tmp_path):
    net, (X, y) = small(reg=0.1), batch(8)
    again = pickle.loads(pickle.dumps(net))
    assert frozen(again.loss(X, y)) == frozen(net.loss(X, y))
    data = {"X_train": X, "y_train": y, "X_val": X, "y_val": y}
    Solver(net, data, num_epochs=1, batch_size=4, verbose=False, checkpoint_name=str(tmp_path / "conv")).train()
    (tmp_path / "conv.pkl").write_bytes(pickle.dumps({"model": net}))
    models = load_models(tmp_path)
    assert set(models) == {"conv.pkl", "conv_epoch_0.npz", "conv_epoch_1.npz"}
    for found in models.values():
        assert type(found) is ThreeLayerConvNet and vars(found).keys() == vars(net).keys()
    np.testing.assert_array_equal(models["conv.pkl"].loss(X), net.loss(X))


def test_errors_of_loss(backend):
    net, name = small(), "ThreeLayerConvNet.loss"
    X, y = batch()
    before = frozen(net.params)
    with pytest.raises(ValueError, match=rf"{name}: X has 2 dimensions"):
        net.loss(X.reshape(4, -1))
    with pytest.raises(ValueError, match=rf"{name}: X has 2 channels .*W1 has 3"):
        net.loss(X[:, :2])
    with pytest.raises(ValueError, match=rf"{name}: X of shape .*36 features.*W2 has 48 rows"):
        net.loss(X[:, :, :, :6])
    with pytest.raises(TypeError, match=name):
        net.loss(np.full(X.shape, "a"))
    with pytest.raises(ValueError, match=rf"{name}.*y has shape \(3,\), expected \(4,\)"):
        net.loss(X, y[:3])
    with pytest.raises(ValueError, match=rf"{name}.*label 5"):
        net.loss(X, y + 2)
    with pytest.raises(TypeError, match=rf"{name}.*y has dtype float64"):
        net.loss(X, y * 1.0)
    with pytest.raises(ValueError, match=rf"{name}.*at least one sample"):
        net.loss(X[:0], y[:0])
    assert frozen(net.params) == before


@pytest.mark.parametrize(("arguments", "message"), [
    ({"input_dim": 3 * 32 * 32}, "input_dim is 3072"), ({"input_dim": (3, 32)}, "input_dim"),
    ({"input_dim": (3, 0, 32)}, "input_dim"), ({"input_dim": (3, 32.0, 32)}, "input_dim"),
    ({"input_dim": (3, 1, 8)}, "input_dim.*at least 2"), ({"input_dim": "332"}, "input_dim"),
    ({"num_filters": 0}, "num_filters is 0"), ({"filter_size": 4}, "filter_size is 4, expected an odd"),
    ({"filter_size": -1}, "filter_size"), ({"hidden_dim": 1.5}, "hidden_dim"), ({"num_classes": True}, "num_classes"),
    ({"dtype": np.float16}, "float16"), ({"reg": np.nan}, "reg is nan"),
])
def test_errors_of_the_constructor(arguments, message):
    state = np.random.get_state()[2]
    with pytest.raises(ValueError, match=f"ThreeLayerConvNet: .*{message}"):
        ThreeLayerConvNet(**arguments)
    with pytest.raises(TypeError, match="weight_scale is 'small', expected a number"):
        ThreeLayerConvNet(weight_scale="small")
    assert np.random.get_state()[2] == state, "numbers were drawn before the arguments were checked"


def test_star_import_brings_the_layers():
    names = {}
    exec("from daseCV_c.classifiers.cnn import *", names)
    for name in ("ThreeLayerConvNet", *layers.__all__, *layer_utils.__all__, *fast_layers.__all__):
        assert name in names, name
    assert not any(name.startswith("_") and not name.startswith("__") for name in names)
