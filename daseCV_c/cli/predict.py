"""The command `predict`."""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from typing import Any

import numpy as np

from daseCV_c._files import replacing
from daseCV_c.cli import files, own_data, runs
from daseCV_c.cli.classify import add_images, predictions
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
    """Write the predicted classes into `output`: (N,), int64 or the user's own labels."""
    run = runs.load(folder)
    found = own_data.decode(predictions(run, images, raw), run.classes)
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
    print(f"{len(found)} predictions in {output}")
