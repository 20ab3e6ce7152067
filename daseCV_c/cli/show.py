"""The command `config`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any


def register(commands: Any) -> None:
    p = commands.add_parser("config", help="print how the package was built and what it uses")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    from daseCV_c import show_config
    show_config()
