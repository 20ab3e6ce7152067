"""The folder of a run: config.json, best.npz, history.csv, checkpoint.npz, pictures.

config.json
    What the run was asked for (`settings`), the network's arguments (`network`), where the data came
    from and what they were (`fingerprint`), the package's version. Written first; when the run is
    finished, the accuracies are added (`results`).
best.npz
    Plain arrays, no pickles: the parameters under their own names (W1, b1, gamma1, ...), with
    batch norm running_mean1, running_var1, ..., and mean_image, in the images' shape; scale, in the
    same shape, where the features of the user's own data were divided by their deviation.
history.csv
    One number a row: iteration, epoch, metric, value. `metric` is loss or learning_rate (one row an
    iteration), train_acc, val_acc or val_loss (one row a check); `epoch` counts the epochs completed by then.
checkpoint.npz
    What `train --resume` goes on from: `Solver.save` has written it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np

from daseCV_c._files import is_special, replacing
from daseCV_c._random import Generator
from daseCV_c._types import Array, Params
from daseCV_c.cli import files, lock, own_data
from daseCV_c.cli.errors import CommandError, reason
from daseCV_c.cli.lock import locked

FORMAT = 1
DATASETS = ("digits", "cifar10", own_data.DATASET)
CONFIG, PARAMS, HISTORY = "config.json", "best.npz", "history.csv"
Row: TypeAlias = tuple[int, int, str, str]
CHECKPOINT, CURVES, FILTERS = "checkpoint.npz", "curves.png", "filters.png"
FILES = (CONFIG, PARAMS, HISTORY, CHECKPOINT, CURVES, FILTERS)


class Run(NamedTuple):
    """A trained network, and what it expects of its images."""

    folder: Path
    config: dict[str, Any]
    model: Any
    mean_image: Array  # in the shape of one image
    scale: Array | None  # in the same shape: features were divided by it; None: they were not
    fault: str | None = None  # why nothing can be predicted

    @property
    def classes(self) -> list[Any] | None:
        """The user's own labels, whole numbers or text, by class; None for the labels of digits and CIFAR-10."""
        found: list[Any] | None = self.config.get("classes")
        return found

    @property
    def own(self) -> bool:
        """Trained on a user's own file: images are given as they were there."""
        return bool(self.config["dataset"] == own_data.DATASET)


@contextlib.contextmanager
def created(out: str | None, dataset: str) -> Iterator[Path]:
    """The folder of a new run, made and locked. If nothing is in it afterwards, it goes; one that has a name stays
    after an error, to be used again."""
    try:
        folder = _fresh(Path("runs"), dataset) if out is None else Path(out)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{error.filename or out} cannot be written: {reason(error)}") from error
    stays = False
    try:
        with locked(folder):
            if any(path.name != lock.NAME for path in folder.iterdir()):
                raise CommandError(f"{folder} is not empty: choose another folder with --out, or go on with "
                                   f"--resume {shlex.quote(str(folder))}")
            yield folder
    except CommandError:
        stays = out is not None
        raise
    finally:
        if not stays:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()


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


def stay_inside(folder: Path) -> None:
    """CommandError where the files of a run are links: what is written there would replace another file."""
    for name in FILES:
        if (folder / name).is_symlink() and not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise CommandError(f"{folder / name} leads out of the folder, to {(folder / name).resolve()}: "
                               "put a file of its own there")


def build_network(network: dict[str, Any], seed: Generator | None = None) -> Any:
    """The untrained network that config.json describes, its weights from NumPy's global generator or from `seed`."""
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
            weight_scale=network["weight_scale"], dtype=np.dtype(network["dtype"]).type, seed=seed)
    return FullyConnectedNet(
        list(network["hidden_dims"]), input_dim=network["input_dim"], num_classes=network["num_classes"],
        dropout=network["dropout"], normalization=network["normalization"], reg=network["reg"],
        weight_scale=network["weight_scale"], dtype=np.dtype(network["dtype"]).type, seed=seed)


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


def write_params(folder: Path, arrays: dict[str, Any]) -> None:
    with _writing(folder / PARAMS) as file:
        np.savez(file, **arrays)


def write_history(folder: Path, history: Iterable[Row]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("iteration", "epoch", "metric", "value"))
    writer.writerows(history)
    with _writing(folder / HISTORY) as file:
        file.write(text.getvalue().encode("utf-8"))


def write_config(folder: Path, config: dict[str, Any]) -> None:
    document = json.dumps({"format": FORMAT, **config}, indent=2, ensure_ascii=False) + "\n"
    with _writing(folder / CONFIG) as file:
        # The name of a data file need be no UTF-8: then JSON has \\udcff for such a byte.
        file.write(document.encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    try:
        with replacing(path, durable=True) as file:
            yield file
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {reason(error)}") from error


def history_rows(solver: Any, per_epoch: int) -> Iterator[Row]:
    """The rows of history.csv, in the order in which the numbers came about."""
    checks = sorted({1, *range(per_epoch, len(solver.loss_history) + 1, per_epoch)})
    # After a loss that is no number its check is missing.
    found = dict(zip(checks, zip(solver.train_acc_history, solver.val_acc_history, solver.val_loss_history,
                                 strict=True), strict=False))
    for t, (loss, rate) in enumerate(zip(solver.loss_history, solver.learning_rate_history, strict=False), 1):
        epoch = t // per_epoch
        yield t, epoch, "loss", repr(float(loss))
        yield t, epoch, "learning_rate", repr(float(rate))
        for metric, value in zip(("train_acc", "val_acc", "val_loss"), found.get(t, ()), strict=False):
            yield t, epoch, metric, repr(float(value))


def load(folder: str, strict: bool = True) -> Run:
    """The network of a run, and what belongs to it.

    Of a network that diverged, or a file that was altered, nothing may be predicted: CommandError, or `fault` in a
    run that is not loaded `strict`.
    """
    path = Path(folder)
    if not path.is_dir():
        raise CommandError(f"there is no run {path}")
    config = read_config(path / CONFIG)
    if not (path / PARAMS).exists():
        raise CommandError(f"{path} has no {PARAMS} yet: its training goes on with train --resume {path}")
    arrays = _read_arrays(path / PARAMS)
    try:
        _fits(config["network"], sum(array.size for array in arrays.values()))
        model = build_network(config["network"])
    except (KeyError, TypeError, ValueError) as error:
        raise CommandError(f"{path / CONFIG} does not describe a network: {reason(error)}") from error
    mean_image = arrays.pop("mean_image", None)
    wanted = config["network"]["input_dim"]
    if mean_image is None or (mean_image.size != wanted if isinstance(wanted, int) else
                              mean_image.shape != tuple(wanted)):
        raise CommandError(f"{path / PARAMS} has no mean image of the network's input size")
    scale = arrays.pop("scale", None)
    if scale is not None and scale.shape != mean_image.shape:
        raise CommandError(f"{path / PARAMS}: scale has shape {scale.shape}, expected {mean_image.shape}")
    fault = None
    for name, array in {**arrays, "mean_image": mean_image, **({} if scale is None else {"scale": scale})}.items():
        if array.dtype.kind != "f":
            raise CommandError(f"{path / PARAMS}: {name} is {array.dtype}, expected real numbers")
        fault = fault or _fault(name, array)
    if fault is not None:
        fault = f"{path / PARAMS}: {fault}"
        if strict:
            raise CommandError(fault)
    _fill(model, arrays, path / PARAMS)
    try:
        # Some arguments are looked at only when they are used. What is not finite has been spoken of.
        with np.errstate(all="ignore"):
            scores = model.loss(np.zeros((1, *mean_image.shape), model.dtype))
    except (TypeError, ValueError) as error:
        raise CommandError(f"{path / CONFIG} does not describe a network: {reason(error)}") from error
    if config.get("classes") is not None and len(config["classes"]) != scores.shape[1]:
        raise CommandError(f"{path / CONFIG} names {len(config['classes'])} classes for {scores.shape[1]} scores")
    return Run(path, config, model, mean_image, scale, fault)


def _fits(network: dict[str, Any], held: int) -> None:
    """ValueError for a network of more numbers than the run holds, before memory is taken for them."""
    size, classes, asked = network["input_dim"], network["num_classes"], 0
    if network.get("model", "fc") == "cnn":
        filters, hidden, (channels, height, width) = network["num_filters"], [network["hidden_dim"]], size
        size = filters * (height // 2) * (width // 2)
        asked = filters * channels * network["filter_size"] ** 2
    else:
        hidden = network["hidden_dims"]
    widths = [size, *hidden, classes]
    if not all(type(width) is int and 0 < width < 2**31 for width in widths) or type(asked) is not int:
        raise ValueError(f"its layers have the sizes {str(widths)[:100]}, expected positive integers")
    asked += sum(fan_in * fan_out for fan_in, fan_out in zip(widths, widths[1:], strict=False))
    if asked > held:
        raise ValueError(f"its network has more numbers than {PARAMS}")


def read_config(path: Path) -> dict[str, Any]:
    """config.json, with what the commands need."""
    if is_special(path):
        raise CommandError(f"{path} is no ordinary file")
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


def _fault(name: str, array: Array) -> str | None:
    if not np.isfinite(array).all():
        return f"{name} holds values that are not finite"
    if name.startswith("running_var") and (array < 0).any():
        return f"{name} holds {array.min()}, expected variances"
    if name == "scale" and (array <= 0).any():
        return f"{name} holds {array.min()}, expected deviations"
    return None


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
    for name in model.params:
        model.params[name] = arrays[name].astype(model.dtype, copy=False)
    for i, bn_param in enumerate(_statistics(model), 1):
        bn_param["running_mean"] = arrays[f"running_mean{i}"].astype(model.dtype, copy=False)
        bn_param["running_var"] = arrays[f"running_var{i}"].astype(model.dtype, copy=False)
