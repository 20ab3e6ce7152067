"""Named settings of `train`. Options given on the command line win over these.

`dropout` is the probability of keeping a unit; `lr` is multiplied by `lr_decay` after each epoch.
"""

RECIPES = {
    "digits": {
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
}

# The recipe that fills in what the command line leaves open.
DEFAULT_FOR_DATASET = {"digits": "digits", "cifar10": "cifar10"}


def settings(given: dict, recipe: str | None = None) -> dict:
    """The settings of one training run: the recipe's, with those `given` on top."""
    if recipe is None:
        recipe = DEFAULT_FOR_DATASET[given.get("dataset", "digits")]
    return {**RECIPES[recipe], **given}
