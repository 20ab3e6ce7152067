"""Cases of the networks. They run with parameters of ours, put into the student's network by their names."""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c._coursework import networks
from daseCV_c._coursework.cases import Case, Cases

FULL, TWO, CONV = "FullyConnectedNet", "TwoLayerNet", "ThreeLayerConvNet"


def _case(name: str, cls: str, arguments: dict[str, Any], X: Any, y: Any, random: Any,
          rounds: int = 1) -> Case:
    """A network with weights of ours: `rounds` losses with labels, then scores without."""
    plain = {key: value for key, value in arguments.items() if key != "dtype"}
    net = getattr(networks, cls)(**plain) if cls == TWO else getattr(networks, cls)(**plain, dtype=np.float64)
    inputs: dict[str, Any] = {"X": X, "y": y, "attribute": "params", "params": {
        key: (1.5 + 0.3 * random.rand(*value.shape) if key.startswith("gamma") else
              random.randn(*value.shape) * (0.5 if value.ndim > 1 else 0.3)) for key, value in net.params.items()}}
    inputs |= {f"_{key}": value for key, value in arguments.items()}
    steps: list[Any] = [["net", cls, [], {key: f"_{key}" for key in arguments}], [None, "=", ["net", "attribute",
                                                                                              "params"], {}],
                        *([[["loss", "grads"], "net.loss", ["X", "y"], {}]] * rounds),
                        ["scores", "net.loss", ["X"], {}]]
    # Every array of the gradients is compared by its name.
    compare = ("loss", *(f"grads.{key}" for key in sorted(net.params)), "scores")
    return Case(name, {"inputs": inputs, "steps": steps, "give": ["loss", "grads", "scores", "X", "y"]}, compare,
                ("X", "y"))


def _initial(cls: str, arguments: dict[str, Any]) -> Case:
    inputs = {"attribute": "params"} | {f"_{key}": value for key, value in arguments.items()}
    steps = [["net", cls, [], {key: f"_{key}" for key in arguments}], ["initial", ".", ["net", "attribute"], {}]]
    return Case("its initial parameters", {"inputs": inputs, "steps": steps, "give": ["initial"]}, ("initial",),
                judge="initial")


def _dropout(random: Any, normalization: str | None) -> Case:
    """Dropout that shows: all of a hidden layer is positive, so that zeros in a gradient are units left out."""
    arguments = {"hidden_dims": [24, 24, 24], "input_dim": 5, "num_classes": 3, "dropout_keep_ratio": 0.5,
                 "normalization": normalization, "reg": 0.0, "dtype": "float64"}
    net = networks.FullyConnectedNet([24, 24, 24], 5, 3, dtype=np.float64)
    params = {key: 0.05 + 0.3 * random.rand(*value.shape) for key, value in net.params.items()}
    params["W4"] = random.randn(24, 3)
    way = {key: random.randn(*value.shape) for key, value in params.items()}
    inputs: dict[str, Any] = {"X": random.rand(1, 5) + 0.5, "y": np.array([1]), "attribute": "params", "params": params,
                              "seed": 11, "way": way}
    inputs |= {side: {key: value + sign * way[key] for key, value in params.items()}
               for side, sign in (("plus", 1e-5), ("minus", -1e-5))}
    inputs |= {f"_{key}": value for key, value in arguments.items()}
    steps: list[Any] = [["net", FULL, [], {key: f"_{key}" for key in arguments}]]
    for side, loss, grads in (("plus", "above", "_"), ("minus", "below", "_"), ("params", "loss", "grads")):
        steps += [[None, "=", ["net", "attribute", side], {}], [None, "seed", ["seed"], {}],
                  [[loss, grads], "net.loss", ["X", "y"], {}]]
    steps += [["scores", "net.loss", ["X"], {}], ["again", "net.loss", ["X"], {}]]
    return Case("dropout, one sample", {"inputs": inputs, "steps": steps, "give": [
        "loss", "grads", "scores", "again", "above", "below"]}, ("loss", "grads", "scores"), judge="dropout_network")


def fully_connected(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 50)
    cases = []
    for name, hidden, reg, normalization, shape, rounds in (
            ("two hidden layers, no penalty", [6, 5], 0.0, None, (4, 7), 1),
            ("with a penalty", [6, 5], 0.7, None, (4, 7), 1),
            ("images, one hidden layer", [5], 0.3, None, (3, 2, 3, 2), 1),
            ("three hidden layers, one sample", [4, 5, 4], 0.0, None, (1, 6), 1),
            ("batchnorm, trained twice", [6, 6], 0.0, "batchnorm", (5, 7), 2),
            ("batchnorm with a penalty", [5, 5], 0.7, "batchnorm", (5, 6), 1),
            ("layernorm", [6, 5], 0.4, "layernorm", (4, 7), 1)):
        arguments = {"hidden_dims": hidden, "input_dim": int(np.prod(shape[1:])), "num_classes": 4,
                     "normalization": normalization, "reg": reg, "dtype": "float64"}
        cases.append(_case(name, FULL, arguments, random.randn(*shape), random.randint(0, 4, shape[0]), random,
                           rounds=rounds))
    cases.append(_dropout(random, None))
    for normalization in (None, "batchnorm"):
        cases.append(_initial(FULL, {"hidden_dims": [60, 50], "input_dim": 40, "num_classes": 30, "weight_scale": 0.05,
                                     "normalization": normalization, "dtype": "float32"}))
    return cases


def two_layer(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 51)
    cases = []
    for name, shape, reg in (("no penalty", (4, 6), 0.0), ("with a penalty", (5, 6), 0.7), ("images", (3, 2, 3, 2),
                                                                                            0.2),
                             ("one sample", (1, 5), 0.0)):
        arguments = {"input_dim": int(np.prod(shape[1:])), "hidden_dim": 7, "num_classes": 4, "reg": reg}
        cases.append(_case(name, TWO, arguments, random.randn(*shape), random.randint(0, 4, shape[0]), random))
    return [*cases, _initial(TWO, {"input_dim": 60, "hidden_dim": 50, "num_classes": 40, "weight_scale": 0.05})]


def three_layer_conv(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 52)
    cases = []
    for name, n, image, size, reg in (("no penalty", 2, (3, 4, 4), 3, 0.0), ("with a penalty", 3, (2, 6, 6), 3, 0.6),
                                      ("filters of 5 x 5, images of 4 x 6", 1, (1, 4, 6), 5, 0.0)):
        arguments = {"input_dim": image, "num_filters": 3, "filter_size": size, "hidden_dim": 6, "num_classes": 4,
                     "reg": reg, "dtype": "float64"}
        cases.append(_case(name, CONV, arguments, random.randn(n, *image), random.randint(0, 4, n), random))
    return [*cases, _initial(CONV, {"input_dim": (3, 8, 8), "num_filters": 30, "filter_size": 5, "hidden_dim": 40,
                                    "num_classes": 30, "weight_scale": 0.05, "dtype": "float32"})]


CASES: dict[str, Cases] = {FULL: fully_connected, TWO: two_layer, CONV: three_layer_conv}
