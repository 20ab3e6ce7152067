"""Trainings that draw from generators of their own, so that any number of them may run at once."""

import numpy as np
from adversarial import frozen

from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.solver import Solver


def _full(normalization, dtype):
    return FullyConnectedNet([60, 41], 48, 5, normalization=normalization, dropout=0.7, weight_scale=0.1, reg=1e-3,
                             dtype=dtype, seed=np.random.RandomState(3))


# name: (network, rule, whether the images are bytes)
KINDS = {
    "plain": (lambda: FullyConnectedNet([60, 41], 48, 5, weight_scale=0.01, seed=np.random.RandomState(3)),
              "sgd_momentum", True),
    "batchnorm": (lambda: _full("batchnorm", np.float32), "adam", False),
    "layernorm": (lambda: _full("layernorm", np.float64), "rmsprop", False),
    "cnn": (lambda: ThreeLayerConvNet((3, 4, 4), 4, 3, 21, 5, weight_scale=0.1, dtype=np.float64, seed=3),
            "adam", False),
}


def solver_of(kind, epochs=4):
    network, rule, as_bytes = KINDS[kind]
    rng = np.random.default_rng(7)
    X = rng.integers(0, 256, (120, 3, 4, 4)).astype(np.uint8) if as_bytes else rng.standard_normal((120, 3, 4, 4))
    y = rng.integers(0, 5, 120)
    return Solver(network(), {"X_train": X[:100], "y_train": y[:100], "X_val": X[100:], "y_val": y[100:]}, seed=5,
                  update_rule=rule, batch_size=20, num_epochs=epochs, num_train_samples=20, verbose=False)


def trained(kind, epochs=4):
    """All that a training leaves, to the last bit."""
    solver = solver_of(kind, epochs)
    solver.train()
    return frozen([solver.loss_history, solver.train_acc_history, solver.val_acc_history, solver.model.params,
                   getattr(solver.model, "bn_params", []), solver.model.loss(np.ones((3, 3, 4, 4)))])
