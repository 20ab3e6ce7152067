"""The command `leaderboard`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from daseCV_c.cli import options
from daseCV_c.cli.errors import CommandError, reason


def register(commands: Any) -> None:
    p = commands.add_parser(
        "leaderboard", help="rank a folder of prediction_phase_N.zip",
        description="Score the predictions of each student. The same accuracy is ranked by the time of the file.")
    p.add_argument("folder", metavar="SUBMISSIONS", help="NAME/prediction_phase_N.zip or NAME_prediction_phase_N.zip")
    p.add_argument("--labels", required=True, metavar="FILE", help="the right classes: a .npy file of whole numbers")
    p.add_argument("--phase", type=options.count, default=1, metavar="N", help="default: 1")
    p.add_argument("--classes", type=options.count, metavar="N", help="default: one more than the largest label")
    p.add_argument("-o", "--output", default="leaderboard.csv", metavar="FILE", help="default: leaderboard.csv")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    from daseCV_c._coursework.grading import board, tables

    try:
        labels = board.load_labels(args.labels)
    except (OSError, ValueError) as error:
        raise CommandError(f"{args.labels} cannot be read as labels: {reason(error)}") from error
    classes = args.classes or int(labels.max()) + 1
    if classes <= labels.max():
        raise CommandError(f"--classes is {classes}, but there are labels up to {labels.max()}")
    try:
        entries = board.score_all(args.folder, labels, classes, args.phase)
    except OSError as error:
        raise CommandError(f"{args.folder} cannot be read: {reason(error)}") from error
    if not entries:
        raise CommandError(f"there is no prediction_phase_{args.phase}.zip in {args.folder}")
    rows = board.rows(entries)
    try:
        tables.write_csv(args.output, rows)
    except OSError as error:
        raise CommandError(f"{args.output} cannot be written: {reason(error)}") from error
    for row in rows[1:]:
        print(tables.plain("  ".join(str(value) for value in row if value != "")))
