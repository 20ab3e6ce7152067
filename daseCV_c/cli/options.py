"""What the commands' parsers share: the parser itself, and the types of their options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn

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


def pairs(text: str, first: str) -> dict[str, Any]:
    """"KEY=VALUE,KEY=VALUE" as a dict, numbers as numbers; the first may be a VALUE alone, whose key is `first`."""
    found: dict[str, Any] = {}
    for i, part in enumerate(text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            if i:
                raise argparse.ArgumentTypeError(f"{text!r}: {part!r} is not KEY=VALUE")
            key, value = first, part
        found[key.strip()] = _value(value.strip())
    return found


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def in_words(value: Any) -> list[str]:
    """The words of a command line that stand for the value of a setting."""
    if isinstance(value, dict):
        return [",".join(f"{key}={number!r}" if isinstance(number, float) else f"{key}={number}"
                         for key, number in value.items())]
    return [repr(part) if isinstance(part, float) else str(part) for part in (
        value if isinstance(value, list) else [value])]


def schedule(text: str) -> dict[str, Any]:
    """An argparse type: what `Solver(schedule=)` takes."""
    from daseCV_c.schedules import make
    found = pairs(text, "name")
    return _taken(found, lambda: make(found))


def early_stopping(text: str) -> dict[str, Any]:
    from daseCV_c._training.early_stopping import EarlyStopping
    found = pairs(text, "patience")
    return _taken(found, lambda: EarlyStopping(found))


def average(text: str) -> dict[str, Any]:
    from daseCV_c._training.averaging import Averaging
    found = pairs(text, "decay")
    return _taken(found, lambda: Averaging(found))


def _taken(found: dict[str, Any], make: Callable[[], object]) -> dict[str, Any]:
    """`found`, if the Solver can make something of it."""
    try:
        make()
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error).partition(": ")[2] or str(error)) from error
    return found


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=threads, metavar="N", default=None, help="threads of the kernels")


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="folder written by train")
