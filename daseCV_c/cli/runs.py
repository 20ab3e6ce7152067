"""The folder of a trained network: config.json, best.npz, history.csv, pictures.

config.json
    What the run was asked for (`settings`), the network's arguments (`network`), where the
    data came from, the package's version and the accuracies (`results`).
best.npz
    Plain arrays, no pickles: the parameters under their own names (W1, b1, gamma1, ...), with
    batch norm running_mean1, running_var1, ..., and mean_image, in the images' shape; scale, in the
    same shape, where the features of the user's own data were divided by their deviation.
history.csv
    One number a row: iteration, epoch, metric, value. `metric` is loss (one row an iteration),
    train_acc or val_acc (one row a check); `epoch` counts the epochs completed by then.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from daseCV_c._files import replacing
from daseCV_c._types import Array, Params
from daseCV_c.cli import files, own_data
from daseCV_c.cli.errors import CommandError, reason

FORMAT = 1
DATASETS = ("digits", "cifar10", own_data.DATASET)
CONFIG, PARAMS, HISTORY = "config.json", "best.npz", "history.csv"
Row: TypeAlias = tuple[int, int, str, str]
CURVES, FILTERS = "curves.png", "filters.png"


class Run(NamedTuple):
    """A trained network, and what it expects of its images."""

    folder: Path
    config: dict[str, Any]
    model: Any
    mean_image: Array  # in the shape of one image
    scale: Array | None  # in the same shape: features were divided by it; None: they were not

    @property
    def classes(self) -> list[Any] | None:
        """The user's own labels, whole numbers or text, by class; None for the labels of digits and CIFAR-10."""
        found: list[Any] | None = self.config.get("classes")
        return found

    @property
    def own(self) -> bool:
        """Trained on a user's own file: images are given as they were there."""
        return bool(self.config["dataset"] == own_data.DATASET)


def create(out: str | None, dataset: str) -> Path:
    """Make the folder of a new run, and see that it can be written to before hours are spent."""
    try:
        if out is None:
            folder = _fresh(Path("runs"), dataset)
        else:
            folder = Path(out)
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise CommandError(f"{folder} is not empty: choose another folder with --out")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(f"{error.filename or out} cannot be written: {reason(error)}") from error
    return folder


def _fresh(parent: Path, dataset: str) -> Path:
    parent.mkdir(exist_ok=True)
    n = 1
    while True:
        folder = parent / f"{dataset}-{n}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            n += 1


def discard_if_empty(folder: Path) -> None:
    """Undo `create` after a run that left nothing behind."""
    try:
        folder.rmdir()
    except OSError:
        pass


def build_network(network: dict[str, Any]) -> Any:
    """The untrained network that config.json describes."""
    from daseCV_c.classifiers.cnn import ThreeLayerConvNet
    from daseCV_c.classifiers.fc_net import FullyConnectedNet
    # Runs from before there was a choice do not name their model.
    model = network.get("model", "fc")
    if model not in ("fc", "cnn"):
        raise ValueError(f"model is {model!r}, expected 'fc' or 'cnn'")
    if network["dtype"] not in ("float32", "float64"):
        raise ValueError(f"dtype is {network['dtype']!r}, expected 'float32' or 'float64'")
    if model == "cnn":
        return ThreeLayerConvNet(
            network["input_dim"], num_filters=network["num_filters"], filter_size=network["filter_size"],
            hidden_dim=network["hidden_dim"], num_classes=network["num_classes"], reg=network["reg"],
            weight_scale=network["weight_scale"], dtype=np.dtype(network["dtype"]).type)
    return FullyConnectedNet(
        list(network["hidden_dims"]), input_dim=network["input_dim"], num_classes=network["num_classes"],
        dropout=network["dropout"], normalization=network["normalization"], reg=network["reg"],
        weight_scale=network["weight_scale"], dtype=np.dtype(network["dtype"]).type)


def _statistics(model: Any) -> list[Params]:
    """The dicts that hold batch norm's running statistics."""
    return model.bn_params if getattr(model, "normalization", None) == "batchnorm" else []


def state(model: Any, mean_image: Array, scale: Array | None = None) -> dict[str, Array]:
    """All arrays that a prediction needs, by the names used in best.npz."""
    arrays = dict(model.params)
    for i, bn_param in enumerate(_statistics(model), 1):
        arrays[f"running_mean{i}"] = bn_param["running_mean"]
        arrays[f"running_var{i}"] = bn_param["running_var"]
    arrays["mean_image"] = mean_image
    if scale is not None:
        arrays["scale"] = scale
    return arrays


def save(folder: Path, config: dict[str, Any], arrays: dict[str, Any], history: Iterable[Row]) -> None:
    try:
        with replacing(folder / PARAMS) as file:
            np.savez(file, **arrays)
        with replacing(folder / HISTORY) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(("iteration", "epoch", "metric", "value"))
            writer.writerows(history)
        document = json.dumps({"format": FORMAT, **config}, indent=2, ensure_ascii=False) + "\n"
        with replacing(folder / CONFIG) as file:
            file.write(document.encode("utf-8"))
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {reason(error)}") from error


def history_rows(solver: Any, per_epoch: int) -> Iterator[Row]:
    """The rows of history.csv, in the order in which the numbers came about."""
    iterations = len(solver.loss_history)
    checks = sorted({1, iterations, *range(per_epoch, iterations + 1, per_epoch)})
    accuracies = dict(zip(checks, zip(solver.train_acc_history, solver.val_acc_history, strict=True),
                          strict=True))
    for t, loss in enumerate(solver.loss_history, 1):
        yield t, t // per_epoch, "loss", repr(float(loss))
        if t in accuracies:
            yield t, t // per_epoch, "train_acc", repr(float(accuracies[t][0]))
            yield t, t // per_epoch, "val_acc", repr(float(accuracies[t][1]))


def load(folder: str) -> Run:
    """The network of a run, and what belongs to it; CommandError for a run that cannot be trusted."""
    path = Path(folder)
    if not path.is_dir():
        raise CommandError(f"there is no run {path}")
    config = read_config(path / CONFIG)
    arrays = _read_arrays(path / PARAMS)
    try:
        model = build_network(config["network"])
    except (KeyError, TypeError, ValueError) as error:
        raise CommandError(f"{path / CONFIG} does not describe a network: {reason(error)}") from error
    mean_image = arrays.pop("mean_image", None)
    wanted = config["network"]["input_dim"]
    if mean_image is None or (mean_image.size != wanted if isinstance(wanted, int) else
                              mean_image.shape != tuple(wanted)):
        raise CommandError(f"{path / PARAMS} has no mean image of the network's input size")
    _check_values(path / PARAMS, "mean_image", mean_image)
    scale = arrays.pop("scale", None)
    if scale is not None:
        if scale.shape != mean_image.shape:
            raise CommandError(f"{path / PARAMS}: scale has shape {scale.shape}, expected {mean_image.shape}")
        _check_values(path / PARAMS, "scale", scale, low=np.nextafter(0, 1))
    _fill(model, arrays, path / PARAMS)
    try:
        # Some arguments are looked at only when they are used.
        scores = model.loss(np.zeros((1, *mean_image.shape), model.dtype))
    except (TypeError, ValueError) as error:
        raise CommandError(f"{path / CONFIG} does not describe a network: {reason(error)}") from error
    if config.get("classes") is not None and len(config["classes"]) != scores.shape[1]:
        raise CommandError(f"{path / CONFIG} names {len(config['classes'])} classes for {scores.shape[1]} scores")
    return Run(path, config, model, mean_image, scale)


def read_config(path: Path) -> dict[str, Any]:
    """config.json, with what the commands need."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(f"{path} cannot be read: {reason(error)}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CommandError(f"{path} is not of format {FORMAT}")
    if not isinstance(config.get("network"), dict) or config.get("dataset") not in DATASETS:
        raise CommandError(f"{path} lacks its network or its dataset")
    if not isinstance(config.get("data"), (str, type(None))):
        raise CommandError(f"{path}: data is {config['data']!r}, expected the name of a folder or file")
    for name in ("label", "label_column"):
        if not isinstance(config.get(name), (str, type(None))):
            raise CommandError(f"{path}: {name} is {config[name]!r}, expected the name of a column")
    for name, kinds in (("classes", ({int}, {str})), ("columns", ({str},))):
        found = config.get(name)
        if found is not None and not (isinstance(found, list) and {type(value) for value in found} in kinds
                                      and len(set(found)) == len(found)):
            raise CommandError(f"{path}: {name} is not a list of different names")
    if config["dataset"] == own_data.DATASET and (config.get("classes") is None or config.get("data") is None):
        raise CommandError(f"{path} lacks the classes or the file of its data")
    return config


def _read_arrays(path: Path) -> dict[str, Array]:
    if files.kind(str(path)) != "npz":
        raise CommandError(f"{path} cannot be read: it is not an archive of arrays")
    return files.arrays(str(path))


def _check_values(path: Path, name: str, array: Array, low: float = -np.inf) -> None:
    """Of a network that diverged, or a file that was altered, nothing may be predicted."""
    if array.dtype.kind != "f":
        raise CommandError(f"{path}: {name} is {array.dtype}, expected real numbers")
    if not np.isfinite(array).all():
        raise CommandError(f"{path}: {name} holds values that are not finite")
    if not (array >= low).all():
        raise CommandError(f"{path}: {name} holds {array.min()}, expected at least {low:g}")


def _fill(model: Any, arrays: dict[str, Array], path: Path) -> None:
    wanted = {name: value.shape for name, value in model.params.items()}
    for i in range(1, len(_statistics(model)) + 1):
        wanted[f"running_mean{i}"] = wanted[f"running_var{i}"] = wanted[f"gamma{i}"]
    for name, shape in wanted.items():
        if name not in arrays:
            raise CommandError(f"{path} lacks {name}")
        if arrays[name].shape != shape or arrays[name].dtype.kind != "f":
            raise CommandError(f"{path}: {name} is {arrays[name].dtype} of shape {arrays[name].shape}, "
                               f"expected real numbers of shape {shape}")
        _check_values(path, name, arrays[name], low=0 if name.startswith("running_var") else -np.inf)
    for name in model.params:
        model.params[name] = arrays[name].astype(model.dtype, copy=False)
    for i, bn_param in enumerate(_statistics(model), 1):
        bn_param["running_mean"] = arrays[f"running_mean{i}"].astype(model.dtype, copy=False)
        bn_param["running_var"] = arrays[f"running_var{i}"].astype(model.dtype, copy=False)
