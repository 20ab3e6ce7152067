"""The command `check`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from daseCV_c.cli import options
from daseCV_c.cli.errors import CommandError, reason


def register(commands: Any) -> None:
    p = commands.add_parser("check", help="hold your own layers, rules and networks against the right ones")
    p.add_argument("file", metavar="FILE", help="a .py file, or a notebook: the functions that its cells define")
    p.add_argument("--only", action="append", default=[], metavar="NAME", help="this function alone; may be repeated")
    p.add_argument("--json", action="store_true", help="print results for programs")
    p.add_argument("--seconds", type=options.rate, default=20.0, metavar="S", help="time for one call; default: 20")
    p.add_argument("--no-bubblewrap", action="store_true", help="limits alone, also where bubblewrap is installed")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> int:
    from daseCV_c._coursework import running, table
    from daseCV_c._coursework.isolation import Limits

    only = [name for names in args.only for name in names.split(",") if name]
    for name in only:
        if name not in running.CASES:
            raise CommandError(f"no function of the course is called {name!r}; there are {', '.join(running.CASES)}")
    try:
        report = running.check(args.file, only, Limits(call=args.seconds), False if args.no_bubblewrap else None)
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(f"{args.file} cannot be read: {reason(error)}") from error
    print(table.as_json(report) if args.json else table.as_text(report, args.file))
    return 0 if report.passed else 1
