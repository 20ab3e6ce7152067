"""The command `evaluate`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from daseCV_c.cli import runs
from daseCV_c.cli.classify import accuracy
from daseCV_c.cli.data import SPLITS, load_dataset
from daseCV_c.cli.options import add_run


def register(commands: Any) -> None:
    p = commands.add_parser("evaluate", help="print the accuracies of a trained network")
    add_run(p)
    p.add_argument("--data", metavar="DIR", help="folder that holds CIFAR-10")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    evaluate(args.folder, data_dir=args.data)


def evaluate(folder: str, data_dir: str | None = None) -> None:
    """Print the accuracy on each split."""
    config, model, mean_image = runs.load(folder)
    if data_dir is None:
        data_dir = config.get("data")
    data = load_dataset(config["dataset"], data_dir, mean_image)
    for split, word in zip(SPLITS, ("train", "validation", "test"), strict=True):
        print(f"{word} accuracy: {accuracy(model, data, split):.4f}")
