"""The command `submit`."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import Any

from daseCV_c.cli import options, own_data, runs
from daseCV_c.cli.classify import add_images, predictions
from daseCV_c.cli.errors import CommandError, reason


def register(commands: Any) -> None:
    p = commands.add_parser("submit", help="write the leaderboard's files into output/")
    add_images(p)
    p.add_argument("--phase", type=options.count, default=1, metavar="N", help="default: 1")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    submit(args.folder, args.images, args.phase, raw=args.raw)


def submit(folder: str, images: str, phase: int, raw: bool = False) -> None:
    """Write output/phase_<n>/prediction.npy and the zip file that holds it."""
    from daseCV_c.submission import output_file, zip_fun

    run = runs.load(folder)
    found = own_data.decode(predictions(run, images, raw), run.classes)
    if found.dtype.kind not in "iu":
        raise CommandError(f"the leaderboard takes numbers, but the classes of {folder} have names")
    try:
        output_file(found, phase)
        zip_fun(phase)
    except OSError as error:
        raise CommandError(f"output cannot be written: {reason(error)}") from error
    print(os.path.join("output", f"prediction_phase_{phase}.zip"))
