"""Small trainings, in one kernel call per step or by the layers, and what it means that two are alike."""

import numpy as np

from daseCV_c._step import fully_connected as _engine
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.solver import Solver

KINDS = {
    "plain": {}, "batchnorm": {"normalization": "batchnorm"}, "layernorm": {"normalization": "layernorm"},
    "dropout": {"dropout": 0.7, "normalization": "batchnorm"}, "reg": {"reg": 0.1, "dropout": 0.6, "seed": 3},
}


def data_of(dtype=np.float64, n=60, d=12, classes=4):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((n + 20, d)).astype(dtype)
    y = np.argmax(X[:, :classes], axis=1)
    return {"X_train": X[:n], "y_train": y[:n], "X_val": X[n:], "y_val": y[n:]}


def net_of(kind="plain", hidden=(9, 17), dtype=np.float64):
    np.random.seed(4)
    return FullyConnectedNet(list(hidden), input_dim=12, num_classes=4, weight_scale=0.3, dtype=dtype, **KINDS[kind])


def solver_of(rule="adam", model=None, data=None, **more):
    options = {"optim_config": {"learning_rate": 1e-2}, "num_epochs": 3, "batch_size": 20, "lr_decay": 0.5} | more
    model = net_of() if model is None else model
    return Solver(model, data_of() if data is None else data, update_rule=rule, verbose=False, **options)


def record(monkeypatch):
    """A list that gets one entry per step of a Solver: whether the kernel took it."""
    taken, call = [], _engine.FusedStep.__call__

    def recording(self, *args):
        loss = call(self, *args)
        taken.append(loss is not None)
        return loss

    monkeypatch.setattr(_engine.FusedStep, "__call__", recording)
    return taken


def by_layers(monkeypatch):
    monkeypatch.setattr(_engine.FusedStep, "__call__", lambda *args: None)
    monkeypatch.setattr(_engine, "gradients", lambda *args: None)


def alike(mine, other, atol=1e-9):
    """The state of two Solvers: losses, accuracies, parameters, statistics and configurations."""
    np.testing.assert_allclose(mine.loss_history, other.loss_history, rtol=0, atol=atol)
    assert mine.train_acc_history == other.train_acc_history
    assert mine.val_acc_history == other.val_acc_history
    assert list(mine.model.params) == list(other.model.params)
    for name, w in other.model.params.items():
        np.testing.assert_allclose(mine.model.params[name], w, rtol=0, atol=atol, err_msg=name)
        one, two = mine.optim_configs[name], other.optim_configs[name]
        assert list(one) == list(two)
        for key in two:
            np.testing.assert_allclose(one[key], two[key], rtol=0, atol=atol, err_msg=(name, key))
    for one, two in zip(mine.model.bn_params, other.model.bn_params, strict=True):
        assert list(one) == list(two)
        for key in {"running_mean", "running_var"} & set(two):
            np.testing.assert_allclose(one[key], two[key], rtol=0, atol=atol)
    assert mine.model.dropout_param == other.model.dropout_param
