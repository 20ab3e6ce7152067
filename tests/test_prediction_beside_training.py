"""A prediction changes nothing in the model: another thread may predict while it trains."""

import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from adversarial import arrays_in, frozen

from daseCV_c._runtime import backend as _backend
from daseCV_c._step import fully_connected as _engine
from daseCV_c.callbacks import Callback
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.solver import Solver


def full(normalization, dtype=np.float64):
    return FullyConnectedNet([9, 7], 32, 3, normalization=normalization, dropout=0.6, weight_scale=0.3, dtype=dtype,
                             seed=np.random.RandomState(3))


NETS = {
    "two layers": lambda: TwoLayerNet(32, 9, 3, weight_scale=0.3, seed=3),
    "plain": lambda: full(None), "batchnorm": lambda: full("batchnorm"),
    "batchnorm, single": lambda: full("batchnorm", np.float32), "layernorm": lambda: full("layernorm"),
    "cnn": lambda: ThreeLayerConvNet((2, 4, 4), 3, 3, 7, 3, weight_scale=0.3, seed=3),
}
each_net = pytest.mark.parametrize("kind", NETS)
PREDICTIONS = {"predict": lambda net, X: net.predict(X), "predict_proba": lambda net, X: net.predict_proba(X),
               "loss": lambda net, X: net.loss(X)}


def images(n=30):
    return np.random.RandomState(0).randn(n, 2, 4, 4)


def state(net):
    return frozen({name: value for name, value in vars(net).items() if name != "dropout_param"}), frozen(
        {name: value.get_state() if name == "generator" else value
         for name, value in getattr(net, "dropout_param", {}).items()})


@each_net
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_model_stays_as_it_was(backend, kind, prediction):
    net, X = NETS[kind](), images()
    net.loss(X, np.arange(30) % 3)
    before, random = state(net), frozen(np.random.get_state())
    PREDICTIONS[prediction](net, X)
    assert state(net) == before and frozen(np.random.get_state()) == random


@pytest.mark.compiled
def test_the_first_step_shows_no_numbers_that_nobody_wrote(monkeypatch):
    """The running mean and variance get their place in bn_params before it; another thread may predict from them."""
    net, looked = full("batchnorm"), []
    kernels, empty = _backend.kernels_of(np.dtype(np.float64)), np.empty

    class Watched:
        def __getattr__(self, name):
            return getattr(kernels.step, name)

        def train_step(self, *given, **named):
            arrays = arrays_in([value for _, _, value in given[10]])
            assert all(np.isfinite(array).all() for array in arrays)
            looked.append(len(arrays))
            return kernels.step.train_step(*given, **named)

    monkeypatch.setattr(_engine._backend, "kernels_of", lambda dtype: SimpleNamespace(step=Watched()))
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float: np.full(shape, np.nan, dtype))
    found = _engine.gradients(net, images(), np.arange(30) % 3)
    monkeypatch.setattr(np, "empty", empty)
    assert found is not None and looked == [4]


def trained(kind, beside=None):
    """(what a training leaves, its network), with `beside(network)` called again and again by another thread."""
    net, X, y = NETS[kind](), images(), np.arange(30) % 3
    found, stop, another = [], threading.Event(), threading.Event()

    class Turns(Callback):
        """No step before the other thread has predicted once more."""

        def on_step_end(self, solver):
            another.clear()
            while not stop.is_set() and not another.wait(0.1):
                pass

    def look():
        try:
            while not stop.is_set():
                found.append(beside(net))
                another.set()
        finally:
            stop.set()
            another.set()

    solver = Solver(net, {"X_train": X, "y_train": y, "X_val": X[:9], "y_val": y[:9]}, update_rule="adam", seed=5,
                    num_epochs=6, batch_size=6, verbose=False, callbacks=[] if beside is None else [Turns()])

    thread, interval = threading.Thread(target=look), sys.getswitchinterval()
    if beside is not None:
        thread.start()
        another.wait()
    try:
        sys.setswitchinterval(1e-5)  # threads take turns within a step
        solver.train()
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        if beside is not None:
            thread.join()
    return (solver.loss_history, solver.train_acc_history, solver.val_acc_history, state(net)), found


@each_net
def test_a_training_is_not_disturbed(backend, kind):
    X = images(4)

    def look(net):
        return net.predict(X), net.predict_proba(X), net.loss(X)

    alone, _ = trained(kind)
    beside, found = trained(kind, look)
    assert beside == alone, "to the last bit"
    assert len(found) > len(beside[0]), "at least one prediction for each step"
    for classes, probabilities, scores in found:
        assert classes.shape == (4,) and set(classes) <= {0, 1, 2}
        assert probabilities.shape == scores.shape == (4, 3)
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
        assert np.isfinite(scores).all()
