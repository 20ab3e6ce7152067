"""A network as JSON and arrays, and back: what model files and checkpoints hold of it.

`describe` gives a document of plain values (class, dimensions, settings) and the arrays under the
names that they have in the network: W1, b1, gamma1, ..., running_mean1, running_var1, mean_image.
`rebuild` holds one against the other before it makes anything, so that a document from an unknown
hand gives a network that works, or an error. It draws no random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from daseCV_c import _checks
from daseCV_c._network import Network
from daseCV_c._types import Array
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet, _normalization

CLASSES: dict[str, type[Network]] = {
    network.__name__: network for network in (TwoLayerNet, FullyConnectedNet, ThreeLayerConvNet)}
_BN_SETTINGS = ("eps", "momentum")
_STATISTICS = ("running_mean", "running_var")


def is_own(model: object) -> bool:
    """Whether a document can say what the model computes: one of the package's own, as it is."""
    return type(model) in CLASSES.values() and "loss" not in vars(model)


def _finite(function: str, name: str, value: Any) -> float:
    number = _checks.real_number(function, name, value)
    if math.isinf(number):
        raise ValueError(f"{function}: {name} is {number}, expected a finite number")
    return number


def _size(function: str, name: str, value: Any) -> int:
    return _checks.integer(function, name, value, 1, 2**31 - 1, ValueError)


def _shapes(document: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter, in the order in which the constructor makes them."""
    classes, shapes = document["num_classes"], {}
    if document["class"] == "ThreeLayerConvNet":
        filters, side, hidden = document["num_filters"], document["filter_size"], document["hidden_dim"]
        channels = document["input_dim"][0]
        return {"W1": (filters, channels, side, side), "b1": (filters,), "W2": (document["features"], hidden),
                "b2": (hidden,), "W3": (hidden, classes), "b3": (classes,)}
    sizes = [document["input_dim"], *document["hidden_dims"], classes]
    for i, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:], strict=False), 1):
        shapes.update({f"W{i}": (fan_in, fan_out), f"b{i}": (fan_out,)})
        if document["normalization"] and i < len(sizes) - 1:
            shapes.update({f"gamma{i}": (fan_out,), f"beta{i}": (fan_out,)})
    return shapes


def _parameters(function: str, document: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Array]:
    """The parameters that the document asks for, in its order; ValueError where one lacks or does not fit."""
    found = {}
    for name, shape in _shapes(document).items():
        if name not in arrays:
            raise ValueError(f"{function}: there is no parameter {name}")
        found[name] = array = _checks.as_array(function, name, arrays[name])
        if array.shape != shape:
            raise ValueError(f"{function}: {name} has shape {array.shape}, expected {shape}")
    return found


def _statistics_of(function: str, arrays: dict[str, Any], i: int, width: int) -> dict[str, Array]:
    """Running mean and variance of layer i, if they are there."""
    found = {}
    for key in _STATISTICS:
        if arrays.get(f"{key}{i}") is not None:
            found[key] = array = _checks.as_array(function, f"{key}{i}", arrays[f"{key}{i}"])
            if array.shape != (width,):
                raise ValueError(f"{function}: {key}{i} has shape {array.shape}, expected ({width},)")
    return found


def names_of_classes(function: str, names: Any, classes: int) -> list[str] | None:
    """One text for each class, or None."""
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, (Sequence, np.ndarray)) or not all(
            isinstance(name, str) for name in names):
        raise TypeError(f"{function}: class_names is {names!r}, expected a list of texts")
    if len(names) != classes:
        raise ValueError(f"{function}: class_names has {len(names)} names, but the network has {classes} classes")
    return [str(name) for name in names]


def _mean_image(function: str, given: Any, document: dict[str, Any]) -> Array | None:
    if given is None:
        return None
    mean, wanted = _checks.as_array(function, "mean_image", given), document["input_dim"]
    if isinstance(wanted, int):
        if mean.ndim and mean.size == wanted:
            return mean
        raise ValueError(f"{function}: mean_image has shape {mean.shape}, but a sample has {wanted} features")
    fits = mean.ndim == 3 and all(n in (m, None) for m, n in zip(mean.shape, wanted, strict=True))
    if fits and wanted[1] is None:  # of a network that does not know: see `_of_cnn`
        fits = document["num_filters"] * (mean.shape[1] // 2) * (mean.shape[2] // 2) == document["features"]
    if not fits:
        raise ValueError(f"{function}: mean_image has shape {mean.shape}, but an image has shape {tuple(wanted)}")
    return mean


def _matrix(function: str, params: dict[str, Any], name: str, ndim: int = 2) -> tuple[int, ...]:
    """The shape of a parameter of so many dimensions, none of them 0."""
    shape = np.shape(params[name]) if name in params else ()
    if len(shape) != ndim or 0 in shape:
        what = f"has shape {shape}" if name in params else "lacks"
        raise ValueError(f"{function}: {name} {what}, expected {ndim} dimensions")
    return shape


def _of_cnn(function: str, model: Any) -> dict[str, Any]:
    filters, channels, side, _ = _matrix(function, model.params, "W1", 4)
    features, hidden = _matrix(function, model.params, "W2")
    # A network that the course or an older version pickled knows no more of its images than W2 says.
    size = getattr(model, "input_dim", (channels, None, None))
    return {"input_dim": list(size), "num_filters": filters, "filter_size": side, "features": features,
            "hidden_dim": hidden, "num_classes": _matrix(function, model.params, "W3")[1]}


def _loss(function: str, loss: object) -> str:
    if not isinstance(loss, str) or loss not in _checks.LOSSES:
        raise ValueError(f"{function}: loss is {loss!r}, expected one of {', '.join(map(repr, _checks.LOSSES))}")
    return loss


def _of_fully_connected(function: str, model: Any) -> dict[str, Any]:
    two = type(model) is TwoLayerNet
    layers = 2 if two else _checks.integer(function, "num_layers", model.num_layers, 1)
    widths = [_matrix(function, model.params, f"W{i}") for i in range(1, layers + 1)]
    return {"input_dim": widths[0][0], "hidden_dims": [shape[1] for shape in widths[:-1]],
            "num_classes": widths[-1][1], "reg_last_layer": bool(model.reg_last_layer),
            "normalization": None if two else _normalization(function, model.normalization),
            # Files of older versions know of no other.
            **({} if model.loss_function == "softmax" else {"loss": _loss(function, model.loss_function)})}


def _of_dropout(function: str, model: Any) -> dict[str, Any] | None:
    param = getattr(model, "dropout_param", None)
    if not param:
        return None
    _checks.dictionary(function, "dropout_param", param, "p")
    kept: dict[str, Any] = {"p": _finite(function, "dropout_param['p']", param["p"]), "used": bool(model.use_dropout)}
    if param.get("seed") is not None:
        kept["seed"] = _checks.integer(function, "dropout_param['seed']", param["seed"], 0, 2**32 - 1)
    return kept


def describe(function: str, model: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """(document, arrays) of a network; the arrays are the network's own, not copies.

    Errors are in the name of `function`. TypeError for a model that is none of the package's classes.
    """
    if not is_own(model):
        raise TypeError(
            f"{function}: the model is a {type(model).__name__} with code of its own, which a file of numbers cannot "
            f"hold, expected {', '.join(CLASSES)}; numpy.savez(path, **model.params) keeps its parameters")
    params = _checks.dictionary(function, "params", model.params)
    document: dict[str, Any] = {"class": type(model).__name__, "dtype": np.dtype(model.dtype).name,
                                "reg": _finite(function, "reg", model.reg)}
    document |= (_of_cnn if type(model) is ThreeLayerConvNet else _of_fully_connected)(function, model)
    arrays = _parameters(function, document, params)
    if len(arrays) < len(params):
        unknown = ", ".join(map(repr, params.keys() - arrays.keys()))
        raise ValueError(f"{function}: params holds {unknown}, which is no parameter of this network")
    if document.get("normalization"):
        entries = model.bn_params
        if len(entries) < len(document["hidden_dims"]):
            raise ValueError(f"{function}: bn_params has {len(entries)} entries, expected one for each hidden layer")
        document["bn_params"] = []
        for i, (width, entry) in enumerate(zip(document["hidden_dims"], entries, strict=False), 1):
            document["bn_params"].append({key: _finite(function, f"bn_params[{i - 1}][{key!r}]", entry[key])
                                          for key in _BN_SETTINGS if key in entry})
            found = _statistics_of(function, {f"{key}{i}": entry.get(key) for key in _STATISTICS}, i, width)
            arrays |= {f"{key}{i}": array for key, array in found.items()}
    document["dropout"] = _of_dropout(function, model)
    document["class_names"] = names_of_classes(function, model.class_names, document["num_classes"])
    mean = _mean_image(function, model.mean_image, document)
    return document, arrays if mean is None else arrays | {"mean_image": mean}


def require_finite(function: str, arrays: dict[str, Array]) -> None:
    """ValueError where a number of the network is none."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{function}: {name} holds a NaN or an infinity: the training diverged, and what this "
                             "network predicts means nothing")


def _checked(function: str, document: Any) -> dict[str, Any]:
    """The document with every value of the kind that it must be of; ValueError or TypeError."""
    found = _checks.dictionary(
        function, "the description", document, "class", "dtype", "reg", "num_classes", "input_dim")
    kind = found["class"]
    if not isinstance(kind, str) or kind not in CLASSES:
        raise ValueError(f"{function}: the description is of the class {kind!r}, expected {', '.join(CLASSES)}")
    if found["dtype"] not in ("float32", "float64"):
        raise ValueError(f"{function}: dtype is {found['dtype']!r}, expected 'float32' or 'float64'")
    checked = {"class": kind, "dtype": found["dtype"], "reg": _finite(function, "reg", found["reg"]),
               "num_classes": _size(function, "num_classes", found["num_classes"])}
    if kind == "ThreeLayerConvNet":
        keys = "num_filters", "filter_size", "hidden_dim", "features"
        _checks.dictionary(function, "the description", document, *keys)
        checked |= {key: _size(function, key, found[key]) for key in keys}
        size = found["input_dim"]
        if not isinstance(size, list) or len(size) != 3 or (size[1] is None) != (size[2] is None):
            raise ValueError(f"{function}: input_dim is {size!r}, expected [C, H, W]")
        checked["input_dim"] = tuple(None if n is None and i else _size(function, "a size in input_dim", n)
                                     for i, n in enumerate(size))
        _, height, width = checked["input_dim"]
        if height is not None and checked["num_filters"] * (height // 2) * (width // 2) != checked["features"]:
            raise ValueError(f"{function}: input_dim is {size!r}, which does not give {checked['features']} features")
        return checked
    _checks.dictionary(function, "the description", document, "hidden_dims", "normalization", "reg_last_layer")
    checked["input_dim"] = _size(function, "input_dim", found["input_dim"])
    hidden = found["hidden_dims"]
    if not isinstance(hidden, list) or kind == "TwoLayerNet" and len(hidden) != 1:
        raise ValueError(f"{function}: hidden_dims is {hidden!r}, expected a list of widths")
    checked["hidden_dims"] = [_size(function, "a width in hidden_dims", width) for width in hidden]
    checked["normalization"] = _normalization(function, found["normalization"])
    if checked["normalization"] and kind == "TwoLayerNet":
        raise ValueError(f"{function}: normalization is {checked['normalization']!r}, but a TwoLayerNet has none")
    checked["reg_last_layer"] = bool(found["reg_last_layer"])
    checked["loss"] = _loss(function, found.get("loss", "softmax"))
    if checked["loss"] != "softmax" and kind == "TwoLayerNet":
        raise ValueError(f"{function}: loss is {checked['loss']!r}, but that of a TwoLayerNet is 'softmax'")
    return checked


def _dropout(function: str, kept: Any) -> tuple[bool, dict[str, Any]]:
    """(use_dropout, dropout_param)."""
    if kept is None:
        return False, {}
    _checks.dictionary(function, "dropout", kept, "p", "used")
    p = _finite(function, "dropout['p']", kept["p"])
    if not 0 < p <= 1:
        raise ValueError(f"{function}: dropout['p'] is {p}, expected a probability in (0, 1]")
    param: dict[str, Any] = {"mode": "train", "p": p}
    if kept.get("seed") is not None:
        param["seed"] = _checks.integer(function, "dropout['seed']", kept["seed"], 0, 2**32 - 1)
    return bool(kept["used"]), param


def rebuild(function: str, document: Any, arrays: dict[str, Any]) -> Any:
    """The network that `describe` described; ValueError or TypeError, in the name of `function`, if it was none."""
    checked = _checked(function, document)
    params, hidden = _parameters(function, checked, arrays), checked.get("hidden_dims", [])
    names = names_of_classes(function, document.get("class_names"), checked["num_classes"])
    mean = _mean_image(function, arrays.get("mean_image"), checked)
    network = CLASSES[checked["class"]]
    model: Any = network.__new__(network)
    state: dict[str, Any] = {
        "params": params, "reg": checked["reg"], "dtype": np.dtype(checked["dtype"]).type,
        "input_dim": checked["input_dim"]}
    if names is not None:
        state["class_names"] = names
    if mean is not None:
        state["mean_image"] = mean
    if not checked.get("reg_last_layer", True):
        state["reg_last_layer"] = False
    if checked.get("loss", "softmax") != "softmax":
        state["loss_function"] = checked["loss"]
    if network is FullyConnectedNet:
        kept = document.get("bn_params", []) if checked["normalization"] else []
        if not isinstance(kept, list) or checked["normalization"] and len(kept) != len(hidden):
            raise ValueError(f"{function}: bn_params is not a list of one dict for each hidden layer")
        entries = []
        for i, (width, settings) in enumerate(zip(hidden, kept, strict=False), 1):
            _checks.dictionary(function, "an entry of bn_params", settings)
            entry: dict[str, Any] = {"mode": "train"} if checked["normalization"] == "batchnorm" else {}
            entry |= {key: _finite(function, f"bn_params[{i - 1}][{key!r}]", settings[key])
                      for key in _BN_SETTINGS if key in settings}
            entries.append(entry | _statistics_of(function, arrays, i, width))
        use, param = _dropout(function, document.get("dropout"))
        state |= {"normalization": checked["normalization"], "num_layers": len(hidden) + 1, "use_dropout": use,
                  "dropout_param": param, "bn_params": entries}
    vars(model).update(state)
    return model


def adopt(model: Any, other: Any) -> None:
    """Give `model` the parameters, statistics and dimensions of `other`; what training is told stays as it was."""
    told = ("reg", "reg_last_layer", "use_dropout", "dropout_param")
    vars(model).pop("loss_function", None)
    vars(model).update({name: value for name, value in vars(other).items() if name not in told})
