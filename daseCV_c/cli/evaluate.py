"""The command `evaluate`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np

from daseCV_c.cli import files, own_data, runs
from daseCV_c.cli.classify import accuracy, add_raw, predictions
from daseCV_c.cli.data import SPLITS, dataset_of, table
from daseCV_c.cli.errors import CommandError
from daseCV_c.cli.options import add_run

WORDS = dict(zip(SPLITS, ("train", "validation", "test"), strict=True))


def register(commands: Any) -> None:
    p = commands.add_parser("evaluate", help="print the accuracies of a trained network",
                            description="Print the accuracies on the data that RUN was trained on or, with --images, "
                                        "on a labelled file.")
    add_run(p)
    p.add_argument("--data", metavar="PATH", help="where CIFAR-10, or the file of RUN's data, lies now")
    p.add_argument("--images", metavar="X.npy", help="images (N, C, H, W) or rows, as predict takes them")
    p.add_argument("--labels", metavar="y.npy",
                   help="their labels (N,); also .npz with y, or .csv. Without it: those in X.npy, if that is a .csv "
                        "or .npz that holds some")
    add_raw(p)
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    if args.images is not None:
        if args.data is not None:
            raise CommandError("--data and --images exclude each other")
        evaluate_file(args.folder, args.images, args.labels, args.raw)
    elif args.labels is not None or args.raw:
        raise CommandError(f"--{'raw' if args.labels is None else 'labels'} needs --images")
    else:
        evaluate(args.folder, args.data)


def evaluate(folder: str, data_dir: str | None = None) -> None:
    """Print the accuracy on each split."""
    run = runs.load(folder)
    data = dataset_of(run, data_dir)
    for split, word in WORDS.items():
        if f"X_{split}" in data:
            print(f"{word} accuracy: {accuracy(run.model, data, split):.4f}")


def evaluate_file(folder: str, images: str, labels: str | None, raw: bool = False) -> None:
    """Print the accuracy on a user's own images and labels."""
    run = runs.load(folder)
    path = labels or images
    found = files.labels(path) if labels else _labels_beside(run, images)
    y = own_data.encode(path, found, run.classes)
    classes = predictions(run, images, raw)
    if len(y) != len(classes):
        raise CommandError(f"{images} holds {len(classes)} images, {path} {len(y)} labels")
    if not len(y):
        raise CommandError(f"{images} holds no images")
    right = int(np.sum(classes == y))
    print(f"accuracy: {right / len(y):.4f}")
    print(f"{right} of {len(y)} right")


def _labels_beside(run: runs.Run, images: str) -> Any:
    """The labels that a file of images holds itself."""
    if files.kind(images) == "npz":
        return files.label_array(images, files.array(images, ("y",)))
    if files.kind(images) == "csv":
        found = table(run, images).labels
        if found is not None:
            return files.label_array(images, np.array(found, np.str_))
    raise CommandError(f"{images} holds no labels: name them with --labels")
