"""The command `search`: good settings for `train`, found by trying many."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from daseCV_c._search import api, choice, found, space
from daseCV_c.cli import options, train
from daseCV_c.cli.errors import CommandError, Stopped, reason

SHOWN = 10  # rows of the table that are printed


def register(commands: Any) -> None:
    p = commands.add_parser(
        "search", help="look for good settings by training many networks",
        description="Train networks side by side, each on one thread, with settings that Optuna chooses. Prints the "
                    "best and the line that trains the best again; writes all into a table and a picture. The same "
                    "command goes on with a search that was stopped. Options of train fix a setting for all trials.")
    train.add_settings(p)
    p.add_argument("--over", nargs="+", metavar="NAME=WHAT", default=None,
                   help=f"what is searched: LOW:HIGH or A,B,C for each of some of {', '.join(space.TYPES)}; widths of "
                        "several layers as one choice: hidden=100x50,64 (default: lr reg hidden layers dropout norm)")
    p.add_argument("--trials", type=options.count, default=api.TRIALS, metavar="N",
                   help=f"of the whole search (default: {api.TRIALS})")
    p.add_argument("--jobs", type=options.count, default=None, metavar="N",
                   help="trainings side by side (default: as many as there are processors, or threads of the cluster)")
    p.add_argument("--storage", default=api.STORAGE, metavar="WHERE",
                   help=f"a journal file, sqlite:///FILE or postgresql://USER@HOST/DATABASE (default: {api.STORAGE})")
    p.add_argument("--study", default=api.NAME, metavar="NAME", help="name of the search in the storage")
    p.add_argument("--pruning", choices=choice.PRUNINGS, default=choice.PRUNINGS[0],
                   help="end trainings that are below the median of earlier ones (default), or none")
    p.add_argument("--ahead", type=options.count, default=None, metavar="N",
                   help="so many trials are chosen without each other's results (default: 8, or --jobs)")
    p.add_argument("--dask", default=None, metavar="ADDRESS",
                   help="run the trials on a Dask cluster, or with local on one made for this search")
    p.add_argument("-o", "--output", default="search.csv", metavar="FILE",
                   help="the table; the picture is named alike, with .png (default: search.csv)")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    table = Path(args.output)
    picture = table.with_suffix(".png")
    if picture == table:
        raise CommandError(f"-o {table}: that is where the picture goes, expected another name, such as search.csv")
    if not table.parent.is_dir():
        raise CommandError(f"-o {table} cannot be written: there is no folder {table.parent}")
    try:
        result = api.search(
            None if args.over is None else space.of_words(args.over), data=args.data, label_column=args.label_column,
            recipe=args.recipe, trials=args.trials, jobs=args.jobs, storage=args.storage, name=args.study,
            pruning=args.pruning, ahead=args.ahead, dask=args.dask, **train.given_settings(args))
        best = result.best
    except (ImportError, RuntimeError, ValueError) as error:
        raise CommandError(reason(error).removeprefix("search: ")) from error
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, KeyboardInterrupt) and not stop.args:
            raise  # a second Ctrl-C
        code = stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 130
        raise Stopped(code, "stopped; the same command goes on") from stop
    print(result.table(SHOWN))
    if len(result.trials) > SHOWN:
        print(f"... and {len(result.trials) - SHOWN} more")
    try:
        result.to_csv(table)
        drawn = found.save_plot(result, picture)
    except OSError as error:
        raise CommandError(f"{error.filename or table} cannot be written: {reason(error)}") from error
    print(f"table in {table}" + (f", picture in {picture}" if drawn else " (no picture: matplotlib is not installed)"))
    print(f"trial {best.number} is the best, with a validation accuracy of {best.val_acc:.4f}; to train it again:")
    print(best.line)
