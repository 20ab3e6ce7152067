"""The command `train`."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from daseCV_c import get_num_threads, num_threads, optim
from daseCV_c._types import Array
from daseCV_c._version import __version__
from daseCV_c.cli import options, own_data, plots, runs
from daseCV_c.cli.classify import accuracy
from daseCV_c.cli.data import SPLITS, load_dataset
from daseCV_c.cli.errors import CommandError, reason
from daseCV_c.cli.evaluate import WORDS
from daseCV_c.cli.recipes import DEFAULT_FOR, RECIPES, SETTINGS, settings

NORMALIZATIONS = {"none": None, "batchnorm": "batchnorm", "layernorm": "layernorm"}
PRINT_EVERY = 100


def register(commands: Any) -> None:
    p = commands.add_parser(
        "train", help="train a network and keep it in a folder",
        description="Train a FullyConnectedNet or, with --model cnn, a ThreeLayerConvNet. Without options: "
                    "a batch-normed network on the bundled digits. Options win over the recipe.")
    add_settings(p)
    options.add_threads(p)
    p.add_argument("--out", metavar="RUN", default=None, help="new folder (default: runs/<dataset>-<n>)")
    p.set_defaults(run=_run)


def add_settings(p: argparse.ArgumentParser) -> None:
    """The options that say what is trained and how; `given_settings` reads them back."""
    def add(*names: str, **how: Any) -> None:
        p.add_argument(*names, default=argparse.SUPPRESS, **how)

    p.add_argument("--recipe", choices=sorted(RECIPES), default=None, help="named settings to start from")
    add("--model", choices=sorted(DEFAULT_FOR), help="default: the recipe's, else fc")
    add("--dataset", choices=sorted(DEFAULT_FOR["fc"]), help="default: digits")
    p.add_argument("--data", metavar="PATH", default=None,
                   help="folder that holds CIFAR-10; or your own data: .csv, or .npz with X and y")
    p.add_argument("--label-column", metavar="NAME", default=None,
                   help="column of a .csv that holds the labels, by name or number (default: label, else the last)")
    add("--hidden", nargs="+", type=options.count, metavar="UNITS", help="sizes of the hidden layers (cnn: one)")
    add("--filters", type=options.count, metavar="N", help="filters of the convolution (cnn)")
    add("--filter-size", type=options.odd, metavar="N", help="their height and width, odd (cnn)")
    add("--norm", choices=tuple(NORMALIZATIONS), help="(fc)")
    add("--dropout", type=options.keep, metavar="KEEP", help="probability of keeping a unit (fc)")
    add("--reg", type=options.not_negative, help="strength of the L2 penalty")
    add("--weight-scale", type=options.scale, metavar="STD",
        help="deviation of the first weights; he or glorot: as the sizes of the layers ask for")
    add("--update-rule", choices=tuple(optim.SETTINGS))
    add("--lr", type=options.rate, help="learning rate")
    add("--lr-decay", type=options.rate, metavar="FACTOR", help="multiplies the rate after each epoch")
    add("--batch-size", type=options.count, metavar="N")
    add("--epochs", type=options.count, metavar="N")
    add("--seed", type=options.seed)
    add("--dtype", choices=("float32", "float64"))


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that stood on the command line."""
    return {name: value for name, value in vars(args).items() if name in SETTINGS}


def chosen_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The recipe's settings, with those of the command line on top."""
    given = given_settings(args)
    if args.recipe is None and args.data is not None and Path(args.data).is_file():
        given = {"dataset": own_data.DATASET, **given}
    return settings(given, args.recipe)


def _run(args: argparse.Namespace) -> None:
    train(chosen_settings(args), recipe=args.recipe, data_dir=args.data, label_column=args.label_column,
          threads=args.threads, out=args.out)


def train(
    chosen: dict[str, Any], recipe: str | None = None, data_dir: str | None = None, label_column: str | None = None,
    threads: int | None = None, out: str | None = None,
) -> Path:
    """Train with the `chosen` settings; return the run's folder."""
    with num_threads(threads) if threads else nullcontext():
        data = load_data(chosen, data_dir, label_column)
        folder = runs.create(out, chosen["dataset"])
        try:
            _train_into(folder, chosen, recipe, data, data_dir, label_column)
        finally:
            runs.discard_if_empty(folder)
    return folder


def load_data(chosen: dict[str, Any], path: str | None, label_column: str | None) -> dict[str, Any]:
    """The data set as the network takes it, and what else is known of it."""
    if chosen["dataset"] != own_data.DATASET:
        if label_column is not None:
            raise CommandError(f"--label-column belongs to --data FILE.csv, not to {chosen['dataset']}")
        return {"scale": None, "classes": None, "columns": None, **load_dataset(chosen["dataset"], path)}
    if path is None:
        raise CommandError(f"--dataset {own_data.DATASET} needs --data and the name of the file")
    data = own_data.load(path, label_column, chosen["dtype"])
    if chosen["model"] == "cnn" and data["X_train"].ndim != 4:
        raise CommandError(f"--model cnn needs images (N, C, H, W), {path} holds rows of {data['X_train'].shape[1]}")
    return data


def _classes(data: dict[str, Any]) -> int:
    if data["classes"] is not None:
        return len(data["classes"])
    return int(max(data[f"y_{split}"].max() for split in SPLITS)) + 1


def network_of(chosen: dict[str, Any], data: dict[str, Array]) -> dict[str, Any]:
    """The network's arguments, as config.json keeps them."""
    shape = data["mean_image"].shape
    if chosen["model"] == "cnn":
        own = {"input_dim": list(shape), "num_filters": chosen["filters"], "filter_size": chosen["filter_size"],
               "hidden_dim": chosen["hidden"][0]}
    else:
        own = {"hidden_dims": chosen["hidden"], "input_dim": int(np.prod(shape)), "dropout": chosen["dropout"],
               "normalization": NORMALIZATIONS[chosen["norm"]]}
    return {
        "model": chosen["model"], **own, "num_classes": _classes(data),
        "reg": chosen["reg"], "weight_scale": chosen["weight_scale"], "dtype": chosen["dtype"],
    }


def _pictures(folder: Path, history: list[runs.Row], model: Any) -> bool:
    """Write the run's pictures; False without matplotlib."""
    try:
        drawn = plots.save_curves(history, folder / runs.CURVES)
        if "W1" in model.params and model.params["W1"].ndim == 4:
            drawn = plots.save_filters(model.params["W1"], folder / runs.FILTERS)
    except OSError as error:
        raise CommandError(f"{error.filename or folder} cannot be written: {reason(error)}") from error
    return drawn


def _train_into(
    folder: Path, chosen: dict[str, Any], recipe: str | None, data: dict[str, Any], data_dir: str | None,
    label_column: str | None,
) -> None:
    from daseCV_c.solver import Solver

    np.random.seed(chosen["seed"])
    network = network_of(chosen, data)
    model = runs.build_network(network)
    solver = Solver(
        model, data, update_rule=chosen["update_rule"], optim_config={"learning_rate": chosen["lr"]},
        lr_decay=chosen["lr_decay"], batch_size=chosen["batch_size"], num_epochs=chosen["epochs"],
        print_every=PRINT_EVERY, progress=sys.stderr.isatty())
    solver.train()

    results = {f"{split}_acc": accuracy(model, data, split) for split in ("val", "test") if f"X_{split}" in data}
    config = {
        "version": __version__, "dataset": chosen["dataset"],
        "data": None if data_dir is None else str(Path(data_dir).resolve()),
        "recipe": recipe, "settings": chosen, "threads": get_num_threads(), "network": network,
        **({"label_column": label_column, **{name: data[name] for name in ("label", "classes", "columns")}}
           if data["classes"] is not None else {}),
        "results": results,
    }
    per_epoch = max(len(data["y_train"]) // chosen["batch_size"], 1)
    history = list(runs.history_rows(solver, per_epoch))
    runs.save(folder, config, runs.state(model, data["mean_image"], data["scale"]), history)
    drawn = _pictures(folder, history, model)
    for split, found in results.items():
        print(f"{WORDS[split.removesuffix('_acc')]} accuracy: {found:.4f}")
    print(f"saved in {folder}" + ("" if drawn else " (no pictures: matplotlib is not installed)"))
