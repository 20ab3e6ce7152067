"""What the commands' parsers share: the parser itself, and the types of their options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NoReturn

from daseCV_c.cli.errors import CommandError


class Parser(argparse.ArgumentParser):
    """Leaves the message about a wrong argument to `main`."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(message)


def number(kind: type[float], accept: Callable[[float], object], expected: str) -> Callable[[str], float]:
    """An argparse type: a number of `kind` for which `accept` holds."""
    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        # A range, not math.isfinite: that fails on integers beyond a float.
        if not -math.inf < value < math.inf or not accept(value):
            raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
        return value
    return convert


count = number(int, lambda v: 1 <= v <= 10**9, "an integer from 1 to 10**9")
odd = number(int, lambda v: 1 <= v < 10**9 and v % 2, "an odd integer from 1 to 10**9")
rate = number(float, lambda v: v > 0, "a positive number")
not_negative = number(float, lambda v: v >= 0, "a number that is not negative")
keep = number(float, lambda v: 0 < v <= 1, "a probability above 0, at most 1")
seed = number(int, lambda v: 0 <= v < 2**32, "an integer from 0 to 2**32 - 1")
threads = number(int, lambda v: 1 <= v <= 1024, "an integer from 1 to 1024")


def scale(text: str) -> float | str:
    """An argparse type: a deviation, or the name of a rule for it."""
    if text in ("he", "glorot"):
        return text
    return number(float, lambda v: v > 0, "a positive number, he or glorot")(text)


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=threads, metavar="N", default=None, help="threads of the kernels")


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="folder written by train")
