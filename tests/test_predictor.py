"""A Predictor gives the network's own bits, by the parameters of the moment it was made."""

import copy
import pickle
import threading

import numpy as np
import pytest
from adversarial import frozen, normal
from test_prediction import IMAGE, KIND, conv_of, net_of

import daseCV_c
from daseCV_c._runtime import backend as _backend
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.models import Predictor
from daseCV_c.solver import Solver


@pytest.fixture
def packed_alone(monkeypatch):
    """The entry that reads the network's own arrays is not there."""
    for dtype in (np.float32, np.float64):
        monkeypatch.delattr(_backend.kernels_of(np.dtype(dtype)).predict, "scores")


def test_of_numbers_that_can_be_seen(backend):
    net = TwoLayerNet(2, 2, 2)
    net.params.update(W1=np.eye(2), b1=np.array([0., 1.]), W2=np.array([[1., 0.], [0., 2.]]), b2=np.array([0., -1.]))
    predictor = Predictor(net)
    # Hidden (3, 1) and (0, 3): scores (3, 1) and (0, 5).
    assert predictor.predict([[3., 0.], [-1., 2.]]).tolist() == [0, 1]
    np.testing.assert_allclose(predictor.predict_proba([[3., 0.]]), [[1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))]])


@pytest.mark.compiled
@KIND
# A width of one panel, several, leftover columns; one block of k and several, with rows that are a power of two apart.
@pytest.mark.parametrize("features, hidden", [(42, (37, 18)), (42, ()), (1030, (129,)), (2048, (300, 130))], ids=str)
def test_same_bits_as_the_network(level, dtype, kind, features, hidden):
    net, X = net_of(kind, dtype, hidden, features), normal("X", 300, features, dtype=dtype)
    expected, predictor = net.predict_proba(X), Predictor(net)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(_backend.kernels_of(np.dtype(dtype)).predict, "scores")
        patch.delattr(FullyConnectedNet, "_score")
        for threads in (1, 2, 5):
            with daseCV_c.num_threads(threads):
                for n in (300, 133, 32, 13, 12, 5, 1):
                    assert frozen(predictor.predict_proba(X[-n:])) == frozen(expected[-n:]), (threads, n)
                assert frozen(predictor.predict_proba(X, 17)) == frozen(expected)


def test_images_of_bytes_and_of_the_convolutional_network(backend, dtype):
    net, X = net_of(dtype=dtype), np.arange(40 * 42).reshape(40, *IMAGE).astype(np.uint8)
    net.mean_image = np.full(IMAGE, 100.5)
    assert frozen(Predictor(net).predict_proba(X)) == frozen(net.predict_proba(X))
    mean = np.zeros(IMAGE)
    assert frozen(Predictor(net).predict(X, mean_image=mean)) == frozen(net.predict(X, mean_image=mean))
    conv, images = conv_of(dtype), normal("X", 20, 2, 7, 6, dtype=dtype)
    assert frozen(Predictor(conv).predict_proba(images)) == frozen(conv.predict_proba(images))


@pytest.mark.parametrize("loss", ["logistic", "squared", "poisson"])
def test_of_each_loss(backend, loss):
    net, X = FullyConnectedNet([9], 6, 2, weight_scale=1, loss=loss), normal("X", 30, 6)
    assert frozen(Predictor(net).predict(X)) == frozen(net.predict(X))


@KIND
def test_what_happens_to_the_network_later_does_not_show(backend, kind):
    net, X, y = net_of(kind), normal("X", 60, 42), np.arange(60) % 5
    predictor, before = Predictor(net), net.predict_proba(X)
    Solver(net, {"X_train": X, "y_train": y, "X_val": X[:9], "y_val": y[:9]}, num_epochs=2, batch_size=20,
           verbose=False).train()
    for array in [*net.params.values(), *(v for e in net.bn_params for v in e.values() if isinstance(v, np.ndarray))]:
        array += 1
    assert frozen(predictor.predict_proba(X)) == frozen(before) != frozen(net.predict_proba(X))


def test_it_is_copied_and_pickled(backend):
    X = normal("X", 30, 42)
    predictor = Predictor(net_of())
    for again in (pickle.loads(pickle.dumps(predictor)), copy.deepcopy(predictor), copy.copy(predictor)):
        assert frozen(again.predict_proba(X)) == frozen(predictor.predict_proba(X))


@pytest.mark.compiled
def test_threads_share_one(packed_alone):
    X = normal("X", 64, 42)
    net = net_of()
    predictor, found = Predictor(net), []
    expected = frozen(predictor.predict_proba(X))

    def ask():
        found.extend(frozen(predictor.predict_proba(X)) for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 300


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_batch_norm_that_is_not_finite_is_the_layers(backend):
    """Folded into the product it would give NaN where it gives infinity by itself."""
    net, X = net_of(), normal("X", 9, 42)
    net.bn_params[0]["running_var"][3] = np.inf
    net.params["gamma2"][1] = np.inf
    assert frozen(Predictor(net).predict_proba(X)) == frozen(net.predict_proba(X))


def test_layers_of_ones_own_compute(backend):
    class Upside(TwoLayerNet):
        def loss(self, X, y=None):
            return -super().loss(X) if y is None else super().loss(X, y)

    net, X = Upside(42, 20, 5, weight_scale=0.3), normal("X", 30, 42)
    assert frozen(Predictor(net).predict_proba(X)) == frozen(net.predict_proba(X))


def test_what_it_says_of_other_things(backend):
    with pytest.raises(TypeError, match="Predictor: model is a dict, expected one of the package's networks"):
        Predictor({})
    with pytest.raises(ValueError, match=r"FullyConnectedNet.predict: X has"):
        Predictor(net_of()).predict(np.zeros((3, 41)))


@pytest.mark.compiled
def test_what_the_entries_say(dtype):
    kernels = _backend.kernels_of(np.dtype(dtype)).predict
    net = net_of(dtype=dtype)
    names = [("W1", "b1", "gamma1", "beta1"), ("W2", "b2", "gamma2", "beta2"), ("W3", "b3")]
    packed = kernels.pack(net.params, names, net.bn_params, "batchnorm")
    X, out = normal("X", 4, 42, dtype=dtype), np.empty((4, 5), dtype)
    for wrong, message in (
            (lambda: kernels.pack({}, [], [], None), "pack: names are empty"),
            (lambda: kernels.pack({"W1": 3}, [("W1", "b1")], None, None), "pack: weights are no matrix"),
            (lambda: kernels.pack(net.params | {"W2": net.params["W1"]}, names, net.bn_params, "batchnorm"),
             "scores: weights has shape"),
            (lambda: kernels.scores_packed(X[:, :41].copy(), None, packed, out, "softmax", 1), "images has shape"),
            (lambda: kernels.scores_packed(X, None, packed, out[:, :4].copy(), "softmax", 1), "out has shape"),
            (lambda: kernels.scores_packed(X, None, packed, np.zeros((4, 5), "i4"), "softmax", 1), "out has dtype"),
            (lambda: kernels.scores_packed(X, None, {}, out, "softmax", 1), "packed"),
            (lambda: kernels.scores_packed(X, None, type(packed)(), out, "softmax", 1), "packed holds nothing")):
        with pytest.raises((TypeError, ValueError), match=message):
            wrong()
    kernels.scores_packed(X[:0].copy(), None, packed, out[:0].copy(), "softmax", 1)
    kernels.scores_packed(X, None, packed, out, "softmax", 1)
    assert frozen(out) == frozen(net.predict_proba(X))
