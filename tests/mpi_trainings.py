"""On each rank: ``FILE [CASE...]`` makes small trainings, of every kind or those named; rank 0 writes their results."""

import sys
import zlib

import numpy as np
from mpi4py import MPI

from daseCV_c._step import fully_connected
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.datasets import load_digits_images
from daseCV_c.solver import Solver

COMM = MPI.COMM_WORLD
DATA = load_digits_images()


class Own:
    """A model of one's own: a linear one, whose loss is a mean over the samples."""

    def __init__(self):
        self.params = {"W": np.zeros((64, 10))}

    def loss(self, X, y=None):
        scores = X.reshape(len(X), -1) @ self.params["W"]
        if y is None:
            return scores
        diff = (scores - np.eye(10)[y]) / 10
        return float(np.square(diff).sum() / len(X)), {"W": X.reshape(len(X), -1).T @ diff * (0.2 / len(X))}


def fc(**more):
    return FullyConnectedNet([20, 15], 64, 10, **{"dtype": np.float64, "weight_scale": "he", "reg": 0.1} | more)


def own_rule(w, dw, config=None):
    config = {} if config is None else config
    config["steps"] = config.get("steps", 0) + 1
    return w - 0.01 * dw / config["steps"], config


def images():
    return {name: part.astype(np.float64) if name[0] == "X" else part for name, part in DATA.items()}


CASES = {
    "sgd": lambda: (fc(), {}),
    "adam, dropout": lambda: (fc(dropout=0.7), {"update_rule": "adam"}),
    "own generators": lambda: (fc(dropout=0.7, seed=np.random.RandomState(3)), {"update_rule": "adam", "seed": 4}),
    "layer norm, clipped": lambda: (fc(normalization="layernorm"), {"clip_norm": 0.1, "schedule": "cosine"}),
    "batch norm": lambda: (fc(normalization="batchnorm", dropout=0.8), {"update_rule": "sgd_momentum"}),
    "batch norm, adam": lambda: (fc(normalization="batchnorm"), {"update_rule": "adam", "average": {"decay": 0.9}}),
    "early stopping": lambda: (fc(), {"early_stopping": {"patience": 1, "min_delta": 0.9}, "num_epochs": 9}),
    "two layers": lambda: (TwoLayerNet(64, 30, 10, 0.1, 0.1), {"update_rule": "rmsprop"}),
    "convolution": lambda: (ThreeLayerConvNet((1, 8, 8), 3, 3, 15, 10, "he", 0.1, np.float64),
                            {"update_rule": "adam", "clip_norm": 1.0}),
    "own rule": lambda: (fc(normalization="batchnorm", dropout=0.8), {"update_rule": own_rule, "optim_config": {}}),
    "own model": lambda: (Own(), {"update_rule": "sgd_momentum"}),
    "float32": lambda: (fc(dtype=np.float32, dropout=0.8), {"update_rule": "adam"}),
}


def trained(name):
    # Rank 0's numbers are everybody's.
    np.random.seed(5 + COMM.rank)
    model, options = CASES[name]()
    solver = Solver(model, images(), **{"num_epochs": 2, "batch_size": 101, "num_train_samples": 500, "verbose": False,
                                        "comm": COMM} | options)
    solver.train()
    found = dict(model.params) | {"losses": solver.loss_history, "losses of checks": solver.val_loss_history,
                                  "accuracies": solver.val_acc_history + solver.train_acc_history,
                                  "drawn": (solver.generator or np.random).rand(2)}
    for i, entry in enumerate(getattr(model, "bn_params", ())):
        found |= {f"{key}{i}": entry[key] for key in ("running_mean", "running_var") if key in entry}
    found = {key: np.asarray(value) for key, value in found.items()}
    sums = COMM.allgather([zlib.crc32(value.tobytes()) for value in found.values()])
    assert sums.count(sums[0]) == COMM.size, name
    # Nobody has left the kernel where one rank alone would not.
    if fully_connected._backend.get_backend() == "compiled" and not name.startswith("own "):
        assert solver._fused._arrays, name
    return {f"{name}/{key}": value for key, value in found.items()}


if __name__ == "__main__":
    results = {}
    for case in sys.argv[2:] or CASES:
        results |= trained(case)
    if COMM.rank == 0:
        np.savez(sys.argv[1], **results)
