"""The command `fetch-cifar10`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from daseCV_c.cli.errors import CommandError


def register(commands: Any) -> None:
    p = commands.add_parser("fetch-cifar10", help="download CIFAR-10 into a folder",
                            description="Download CIFAR-10 (163 MB), check it and unpack it into DIR, unless it is "
                                        "there. An interrupted download goes on where it stopped.")
    p.add_argument("folder", metavar="DIR", help="folder to hold it; train --dataset cifar10 --data DIR reads it")
    p.add_argument("--mirror", action="append", metavar="URL", dest="mirrors",
                   help="address to download from, in place of the official one; several are tried in turn")
    p.add_argument("--binary", action="store_true", help="the binary version, which holds the same images")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    from daseCV_c.datasets import fetch_cifar10
    try:
        found = fetch_cifar10(args.folder, mirrors=args.mirrors, version="binary" if args.binary else "python",
                              progressbar=sys.stderr.isatty())
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    print(f"CIFAR-10 is in {found}")
