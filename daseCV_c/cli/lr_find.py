"""The command `lr-find`: a learning rate to begin with, found by a range test."""

from __future__ import annotations

import argparse
import csv
import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from daseCV_c import num_threads
from daseCV_c._files import replacing
from daseCV_c.cli import options, plots, runs, train, training
from daseCV_c.cli.errors import CommandError, reason
from daseCV_c.schedules import RangeTest, lr_range_test

SHOWN = 20  # rows of the table that are printed


def register(commands: Any) -> None:
    p = commands.add_parser(
        "lr-find", help="look for a learning rate before training",
        description="Train a copy of the network for some steps with a rate that rises from --min to --max. Prints "
                    "the rate at which the loss fell fastest, and writes rates and losses into a table and a picture. "
                    "The other options are those of train; what they say of the learning rate and of the length "
                    "of the training is for train alone.")
    train.add_settings(p)
    options.add_threads(p)
    p.add_argument("--min", dest="lowest", type=options.rate, default=1e-6, metavar="RATE", help="default: 1e-6")
    p.add_argument("--max", dest="highest", type=options.rate, default=10.0, metavar="RATE", help="default: 10")
    p.add_argument("--steps", type=options.count, default=100, metavar="N", help="at least 10; default: 100")
    p.add_argument("-o", "--output", default="lr-find.csv", metavar="FILE",
                   help="the table; the picture is named alike, with .png (default: lr-find.csv)")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    plan = train.plan_of(args)
    chosen = plan.settings
    table = Path(args.output)
    picture = table.with_suffix(".png")
    if picture == table:
        raise CommandError(f"-o {table}: that is where the picture goes, expected another name, such as lr-find.csv")
    if not table.parent.is_dir():
        raise CommandError(f"-o {table} cannot be written: there is no folder {table.parent}")
    if not args.lowest < args.highest or args.steps < 10:
        raise CommandError("--min, --max, --steps: expected min below max, and at least 10 steps")
    with num_threads(args.threads) if args.threads else nullcontext():
        data = training.load_data(plan)
        np.random.seed(chosen["seed"])
        model = runs.build_network(training.network_of(chosen, data))
        try:
            found = lr_range_test(
                model, data, lowest=args.lowest, highest=args.highest, steps=args.steps,
                update_rule=chosen["update_rule"], batch_size=chosen["batch_size"], clip_norm=chosen["clip_norm"])
        except ValueError as error:  # numbers that no rate makes good
            raise CommandError(reason(error)) from error
    _show(found)
    try:
        _write(found, table)
        drawn = plots.save_range_test(found, picture)
    except OSError as error:
        raise CommandError(f"{error.filename or table} cannot be written: {reason(error)}") from error
    print(f"table in {table}" + (f", picture in {picture}" if drawn else " (no picture: matplotlib is not installed)"))


def _show(found: RangeTest) -> None:
    print(f"{'rate':>10}{'loss':>12}{'smoothed':>12}")
    for i in sorted({round(i) for i in np.linspace(0, len(found.rates) - 1, SHOWN)}):
        print(f"{found.rates[i]:>10.2e}{found.losses[i]:>12.6g}{found.smoothed[i]:>12.6g}")
    if found.exploded:
        print(f"the loss grew too large at a rate of {found.rates[-1]:.2e}: the test ended there")
    if found.suggestion is None:
        print("no suggestion: the loss never fell; try other rates with --min and --max, or another network")
    else:
        print(f"the loss fell fastest at a learning rate of {found.suggestion:.2e}: try --lr {found.suggestion:.1e}")


def _write(found: RangeTest, path: Path) -> None:
    with replacing(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("learning_rate", "loss", "smoothed_loss"))
        writer.writerows(zip(*(map(repr, map(float, column)) for column in (found.rates, found.losses, found.smoothed)),
                             strict=True))
