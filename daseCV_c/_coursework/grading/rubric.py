"""The rubric: a TOML file that says which functions a question asks for, and what they are worth."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from daseCV_c._coursework.isolation import Limits
from daseCV_c._coursework.running import CASES
from daseCV_c._files import is_special

PARTIAL = ("cases", "functions", "none")


class RubricError(ValueError):
    """What is wrong with a rubric, and where."""


@dataclass(frozen=True)
class Question:
    """Some functions, and what they are worth together."""

    title: str
    functions: tuple[str, ...]
    points: Fraction
    partial: str = "cases"
    """cases: the share of right cases counts; functions: whole functions count; none: all of them or nothing."""
    hints: bool = True
    seconds: float = 10.0
    """For one call, by the clock."""
    memory: int = 4096
    """Address space in MB."""

    def limits(self) -> Limits:
        return Limits(call=self.seconds, memory=self.memory << 20)


@dataclass(frozen=True)
class Rubric:
    title: str
    seeds: tuple[int, ...]
    """What the hidden cases are made from."""
    questions: tuple[Question, ...]

    @property
    def points(self) -> Fraction:
        return sum((question.points for question in self.questions), Fraction())


def load(file: str | Path) -> Rubric:
    """The rubric in `file`. RubricError names what is wrong, OSError says that it cannot be read."""
    if is_special(file):
        raise RubricError(f"{file} is no ordinary file, expected TOML")
    try:
        found = tomllib.loads(Path(file).read_bytes().decode("utf-8"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RubricError(f"{file} is no TOML: {error}") from error
    try:
        return _rubric(found)
    except RubricError as error:
        raise RubricError(f"{file}: {error}") from None


def _rubric(found: Mapping[str, Any]) -> Rubric:
    _known("the rubric", found, ("title", "seeds", "limits", "question"))
    title = _text("title", found.get("title", "Grades"))
    seeds = found.get("seeds")
    if not (isinstance(seeds, list) and 1 <= len(seeds) <= 20 and len(set(seeds)) == len(seeds)
            and all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds)):
        raise RubricError(f"seeds is {seeds!r}, expected one to twenty different whole numbers from 0 to 2147483647, "
                          "which the hidden cases are made from, such as seeds = [48151, 62342]")
    limits = found.get("limits", {})
    if not isinstance(limits, dict):
        raise RubricError("limits is no table; write [limits] and below it seconds = 10")
    _known("[limits]", limits, ("seconds", "memory"))
    entries = found.get("question")
    if not (isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)):
        raise RubricError("there is no question; write [[question]] and below it title, functions and points")
    questions = tuple(_question(number, limits | entry) for number, entry in enumerate(entries, 1))
    for what, names in (("question", [question.title for question in questions]),
                        ("function", [name for question in questions for name in question.functions])):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise RubricError(f"the {what} {twice!r} is there twice")
    return Rubric(title, tuple(seeds), questions)


def _question(number: int, entry: Mapping[str, Any]) -> Question:
    where = f"question {number}"
    _known(where, entry, ("title", "functions", "points", "partial", "hints", "seconds", "memory"))
    functions = entry.get("functions")
    if not (isinstance(functions, list) and functions):
        raise RubricError(f'{where}: functions is {functions!r}, expected names such as ["affine_forward"]')
    for name in functions:
        if name not in CASES:
            raise RubricError(f"{where}: no function of the course is called {name!r}; there are {', '.join(CASES)}")
    partial, hints = entry.get("partial", "cases"), entry.get("hints", True)
    if partial not in PARTIAL:
        raise RubricError(f"{where}: partial is {partial!r}, expected one of {', '.join(PARTIAL)}")
    if type(hints) is not bool:
        raise RubricError(f"{where}: hints is {hints!r}, expected true or false")
    points = _number(f"{where}: points", entry.get("points"), lambda points: 0 <= points <= 10_000)
    return Question(
        _text(f"{where}: title", entry.get("title", " and ".join(functions))), tuple(functions), Fraction(points),
        partial, hints,
        float(_number(f"{where}: seconds", entry.get("seconds", 10), lambda seconds: 0 < seconds <= 3600)),
        int(_number(f"{where}: memory", entry.get("memory", 4096), lambda size: 256 <= size <= 1 << 20)))


def _known(where: str, found: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in found:
        if name not in names:
            raise RubricError(f"{where} has {name!r}, which means nothing; there are {', '.join(names)}")


def _text(name: str, value: Any) -> str:
    if not (isinstance(value, str) and value.strip()):
        raise RubricError(f"{name} is {value!r}, expected a text")
    return value.strip()


def _number(name: str, value: Any, fits: Callable[[Any], bool]) -> Any:
    if type(value) not in (int, Decimal) or not Decimal(value).is_finite() or not fits(value):
        ranges = {"points": "0 to 10000", "seconds": "0 to 3600", "memory": "256 to 1048576 MB"}
        raise RubricError(f"{name} is {value}, expected a number from {ranges[name.rpartition(' ')[2]]}")
    return value
