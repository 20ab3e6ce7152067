"""The same images in another order of memory: the same step, the same bits, and one copy at most."""

import numpy as np
import pytest
from fusing import record

from daseCV_c import _checks
from daseCV_c._step import fully_connected as _engine
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.solver import Solver

ORDERS = {
    "pixels first": lambda X: np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "Fortran": np.asfortranarray,
    "reversed": lambda X: X[::-1, :, ::-1].copy()[::-1, :, ::-1],
    "strided": lambda X: np.repeat(X, 2, axis=3)[..., ::2],
    "byte-swapped": lambda X: X.astype(X.dtype.newbyteorder("S")),
    "misaligned": lambda X: np.frombuffer(b"x" + X.tobytes(), X.dtype, offset=1).reshape(X.shape),
}
NETWORKS = {
    "two layers": lambda dtype: TwoLayerNet(48, 9, 4, weight_scale=0.2),
    "plain": lambda dtype: FullyConnectedNet([9, 7], 48, 4, weight_scale=0.2, dtype=dtype),
    "batch norm": lambda dtype: FullyConnectedNet([9, 7], 48, 4, dropout=0.7, normalization="batchnorm", dtype=dtype),
    "layer norm": lambda dtype: FullyConnectedNet([9], 48, 4, normalization="layernorm", reg=0.1, dtype=dtype),
    "convolution": lambda dtype: ThreeLayerConvNet((3, 4, 4), 5, 3, 6, 4, weight_scale=0.2, dtype=dtype),
}
Y = np.arange(50) % 4
EACH = [pytest.mark.parametrize("order", ORDERS), pytest.mark.parametrize("network", NETWORKS),
        pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64], ids=lambda t: t.__name__)]


def each(test):
    for mark in EACH:
        test = mark(test)
    return test


def images(kind):
    rng = np.random.default_rng(6)
    X = rng.integers(0, 256, (50, 3, 4, 4), np.uint8)
    return X if kind is np.uint8 else (X / 255 - 0.5).astype(kind)


def bits(*held):
    """The bytes of arrays, numbers and dicts of arrays."""
    return [[name, np.asarray(value).tobytes()] for part in held
            for name, value in (part.items() if isinstance(part, dict) else enumerate(part))]


@pytest.mark.filterwarnings("ignore:Solver. after [23] epochs")  # it has learnt nothing by then
@each
def test_training(level, monkeypatch, dtype, order, network, kind):
    taken = record(monkeypatch)
    X = images(kind)

    def trained(X_train, X_val):
        np.random.seed(7)
        data = {"X_train": X_train, "y_train": Y, "X_val": X_val, "y_val": Y, "mean_image": X.mean(axis=0)}
        solver = Solver(NETWORKS[network](dtype), data, update_rule="adam", num_epochs=2, batch_size=10, verbose=False,
                        optim_config={"learning_rate": 1e-2})
        solver.train()
        return bits(solver.loss_history, solver.val_acc_history, solver.train_acc_history, solver.model.params,
                    *solver.best_bn_params)

    expected = trained(X, X)
    other = ORDERS[order](X)
    before = other.tobytes()
    assert trained(other, other) == expected
    assert taken == [True] * 20 and other.tobytes() == before


@each
def test_loss(backend, dtype, order, network, kind):
    X = images(kind)
    found = []
    for batch in (X, ORDERS[order](X)):
        np.random.seed(8)
        net = NETWORKS[network](dtype)
        np.random.seed(9)
        loss, grads = net.loss(batch, Y)
        found.append(bits([loss, net.loss(batch)], grads))
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore:Solver. after [23] epochs")  # it has learnt nothing by then
@pytest.mark.parametrize("network", NETWORKS)
def test_images_are_copied_once(level, monkeypatch, network):
    """Not at each step, and not at all where they lie as the kernel takes them."""
    copied, settle = [], _checks.settle

    def counting(array, dtype):
        settled = settle(array, dtype)
        copied.append(settled is not array and array.shape == (50, 3, 4, 4))
        return settled

    monkeypatch.setattr(_checks, "settle", counting)
    X = images(np.float32)
    for X_train, copies in ((X, 0), (ORDERS["pixels first"](X), 1)):
        copied.clear()
        data = {"X_train": X_train, "y_train": Y, "X_val": X[:5], "y_val": Y[:5]}
        net = NETWORKS[network](np.float32)
        Solver(net, data, num_epochs=3, batch_size=10, num_train_samples=5, verbose=False).train()
        assert sum(copied) == copies


def test_a_large_batch_is_not_copied_for_nothing(level, monkeypatch):
    """What the kernel does not take for its size is left to the layers as it is."""
    seen, rows = [], _engine._rows
    monkeypatch.setattr(_engine, "_rows", lambda X: seen.append(X.shape) or rows(X))
    net = TwoLayerNet(2, 3, 2)
    for n in (4096, 4097):
        net.loss(np.asfortranarray(np.ones((n, 2))), np.zeros(n, np.int64))
    assert seen == [(4096, 2)]
