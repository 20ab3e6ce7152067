"""Named settings of `train`. Options given on the command line win over these.

`dropout` is the probability of keeping a unit; `lr` is multiplied by `lr_decay` after each epoch.
The model `fc` is a FullyConnectedNet, `cnn` a ThreeLayerConvNet with one hidden layer.
"""

from __future__ import annotations

from typing import Any

from daseCV_c.cli.errors import CommandError

# Off in all of them; `train --help` says what each takes.
OPTIONAL = {"schedule": None, "early_stopping": None, "clip_norm": None, "average": None}
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {
        "model": "fc",
        "dataset": "digits",
        "hidden": [100, 100],
        "norm": "batchnorm",
        "dropout": 1.0,
        "reg": 0.0,
        "weight_scale": 5e-2,
        "update_rule": "adam",
        "lr": 2e-3,
        "lr_decay": 0.95,
        "batch_size": 50,
        "epochs": 20,
        "seed": 231,
        "dtype": "float32",
    },
    "cifar10": {
        "model": "fc",
        "dataset": "cifar10",
        "hidden": [100, 100],
        "norm": "batchnorm",
        "dropout": 1.0,
        "reg": 1e-3,
        "weight_scale": 2e-2,
        "update_rule": "adam",
        "lr": 1e-3,
        "lr_decay": 0.9,
        "batch_size": 200,
        "epochs": 10,
        "seed": 231,
        "dtype": "float32",
    },
    "best-cifar10": {
        "model": "fc",
        "dataset": "cifar10",
        "hidden": [1024, 512],
        "norm": "batchnorm",
        "dropout": 0.6,
        "reg": 0.0,
        "weight_scale": 2e-2,
        "update_rule": "adam",
        "lr": 1e-3,
        "lr_decay": 0.9,
        "batch_size": 256,
        "epochs": 22,
        "seed": 231,
        "dtype": "float32",
    },
    "file": {
        "model": "fc",
        "dataset": "file",
        "hidden": [100, 100],
        "norm": "batchnorm",
        "dropout": 1.0,
        "reg": 0.0,
        "weight_scale": "he",
        "update_rule": "adam",
        "lr": 2e-3,
        "lr_decay": 0.95,
        "batch_size": 32,
        "epochs": 50,
        "seed": 231,
        "dtype": "float32",
    },
    "cnn-digits": {
        "model": "cnn",
        "dataset": "digits",
        "filters": 32,
        "filter_size": 5,
        "hidden": [100],
        "reg": 1e-3,
        "weight_scale": 5e-2,
        "update_rule": "adam",
        "lr": 2e-3,
        "lr_decay": 0.95,
        "batch_size": 50,
        "epochs": 15,
        "seed": 231,
        "dtype": "float32",
    },
    "cnn-file": {
        "model": "cnn",
        "dataset": "file",
        "filters": 32,
        "filter_size": 3,
        "hidden": [100],
        "reg": 1e-3,
        "weight_scale": "he",
        "update_rule": "adam",
        "lr": 1e-3,
        "lr_decay": 0.95,
        "batch_size": 50,
        "epochs": 20,
        "seed": 231,
        "dtype": "float32",
    },
    "cnn-cifar10": {
        "model": "cnn",
        "dataset": "cifar10",
        "filters": 32,
        "filter_size": 7,
        "hidden": [500],
        "reg": 1e-3,
        "weight_scale": 1e-3,
        "update_rule": "adam",
        "lr": 5e-4,
        "lr_decay": 0.9,
        "batch_size": 50,
        "epochs": 5,
        "seed": 231,
        "dtype": "float32",
    },
}
for _recipe in RECIPES.values():
    _recipe.update(OPTIONAL)

# The recipe that fills in what the command line leaves open, by model and data set.
DEFAULT_FOR = {
    "fc": {"digits": "digits", "cifar10": "cifar10", "file": "file"},
    "cnn": {"digits": "cnn-digits", "cifar10": "cnn-cifar10", "file": "cnn-file"},
}
SETTINGS = {name for recipe in RECIPES.values() for name in recipe}


def settings(given: dict[str, Any], recipe: str | None = None) -> dict[str, Any]:
    """The settings of one training run: the recipe's, with those `given` on top."""
    if recipe is None:
        recipe = DEFAULT_FOR[given.get("model", "fc")][given.get("dataset", "digits")]
    model = RECIPES[recipe]["model"]
    if given.get("model", model) != model:
        raise CommandError(f"--recipe {recipe} is one for --model {model}")
    for name in given:
        if name not in RECIPES[recipe]:
            raise CommandError(f"--{name.replace('_', '-')} does not apply to --model {model}")
    if model == "cnn" and len(given.get("hidden", [0])) != 1:
        raise CommandError(f"--hidden: the cnn has one hidden layer, not {len(given['hidden'])}")
    chosen = {**RECIPES[recipe], **given}
    if chosen["schedule"] is not None:
        if given.get("lr_decay", 1.0) != 1.0:
            raise CommandError("--lr-decay stands beside --schedule, expected one of the two")
        chosen["lr_decay"] = 1.0
    return chosen
