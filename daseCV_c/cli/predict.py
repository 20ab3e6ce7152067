"""The command `predict`."""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from typing import Any

import numpy as np

from daseCV_c._files import replacing
from daseCV_c.cli import files, own_data, runs
from daseCV_c.cli.classify import UNKNOWN, add_images, classify
from daseCV_c.cli.data import load_images
from daseCV_c.cli.errors import CommandError, reason


def register(commands: Any) -> None:
    p = commands.add_parser("predict", help="write the predicted classes of X.npy")
    add_images(p)
    p.add_argument("-o", "--output", metavar="FILE", default="preds.npy",
                   help="default: preds.npy; a name that ends in .csv gives a .csv")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    predict(args.folder, args.images, args.output, raw=args.raw)


def predict(folder: str, images: str, output: str, raw: bool = False) -> None:
    """Write the predicted classes into `output`: (N,), int64 or the user's own labels.

    Nobody takes for a class what is none: where there are no finite scores it says -1, or nothing in a
    run whose classes are text, and the command fails.
    """
    run = runs.load(folder, strict=False)
    if run.fault is None:
        classes = classify(run.model, load_images(run, images, raw), strict=False)
    else:
        classes = np.full(len(load_images(run, images, raw=False)), UNKNOWN)
    unknown = classes == UNKNOWN
    found = own_data.decode(classes, run.classes)
    found[unknown] = "" if found.dtype.kind == "U" else UNKNOWN
    fault = f"{int(unknown.sum())} of {len(found)} samples have no class: {run.fault or 'their scores are not finite'}"
    if unknown.any() and UNKNOWN in (run.classes or ()):
        raise CommandError(fault)
    try:
        # A file object: np.save would add .npy to a name of the user's choice.
        with replacing(output) as file:
            if output.endswith(".csv"):
                text = io.StringIO()
                csv.writer(text, lineterminator="\n").writerows([[files.LABEL], *([label] for label in found.tolist())])
                file.write(text.getvalue().encode("utf-8"))
            else:
                np.save(file, found, allow_pickle=False)
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {reason(error)}") from error
    if unknown.any():
        raise CommandError(f"{fault} (they are {'empty' if found.dtype.kind == 'U' else UNKNOWN} in {output})")
    print(f"{len(found)} predictions in {output}")
