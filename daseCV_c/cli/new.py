"""The command `new`."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

from daseCV_c.cli.errors import CommandError, reason


def register(commands: Any) -> None:
    p = commands.add_parser("new", help="write a course folder to begin in: stubs, notebooks, a training")
    p.add_argument("folder", metavar="DIR", help="new, or empty")
    p.add_argument("--lang", choices=("en", "zh"), default="en", help="language of the texts; default: en")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    from daseCV_c._coursework import starter

    folder = Path(args.folder)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CommandError(f"{folder} is there already and is no empty folder")
        written = starter.write(folder, args.lang)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {reason(error)}") from error
    print(f"{folder}: {', '.join(written)}")
    print(f"next: cd {shlex.quote(str(folder))}, write affine_forward in my_layers.py, then")
    print("  python -m daseCV_c check my_layers.py --only affine_forward")
