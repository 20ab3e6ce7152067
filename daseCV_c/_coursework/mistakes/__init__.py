"""Mistakes that are recognised by what they compute.

A mistake is a hypothesis: "if the student's function gives what this wrong formula gives, on every case, it is that
mistake". The wrong formulas are the twins with one thing done otherwise. They run in the checker, on the programs that
the student's functions ran.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from daseCV_c._coursework import judging
from daseCV_c._coursework.cases import Case, twins
from daseCV_c._coursework.judging import Fault, flat
from daseCV_c._coursework.programs import Answers, execute

Function = Callable[..., Any]


@dataclass(frozen=True)
class Mistake:
    """A wrong formula for some functions, what is said about it, and the line of the derivation that it breaks."""

    name: str
    functions: tuple[str, ...]
    says: str
    breaks: str
    make: Callable[[str], Mapping[str, Any]] | None
    """The wrong functions by name, given the one that is looked at; None where judging finds the mistake."""

    def hint(self) -> str:
        return f"{self.says} Look at: {self.breaks}" if self.breaks else self.says


class Book:
    """The mistakes of one family."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []

    def wrong(self, name: str, functions: str, says: str, breaks: str) -> Callable[[Function], Function]:
        """Decorate the wrong version of `functions`, one or several names with spaces between."""
        def add(function: Function) -> Function:
            self.mistakes.append(Mistake(name, tuple(functions.split()), says, breaks, lambda of: {of: function}))
            return function
        return add

    def seen(self, name: str, functions: str, says: str, breaks: str) -> None:
        """A mistake that judging.py recognises by itself."""
        self.mistakes.append(Mistake(name, tuple(functions.split()), says, breaks, None))


@functools.cache
def book() -> tuple[Mistake, ...]:
    """All mistakes, the likelier ones of a function first."""
    families = ("general", "dense", "normalization", "convolution", "pooling", "losses", "optim", "sandwich",
                "networks")
    books = [importlib.import_module(f"{__name__}.{family}").BOOK for family in families]
    return tuple(mistake for book in books for mistake in book.mistakes)


def by_name(name: str, function: str) -> Mistake | None:
    return next((m for m in book() if m.name == name and (function in m.functions or "*" in m.functions)), None)


def recognise(function: str, tried: Iterable[tuple[Case, Answers, list[Fault]]]) -> Mistake | None:
    """The mistake whose formula gives these answers, the one that explains most of them first."""
    tried = list(tried)
    for _, answers, _ in tried:
        if "error" in answers and (name := judging.unfinished(answers["error"])):
            return by_name(name, function)
    wrong = {(case.name, fault.key) for case, _, faults in tried for fault in faults}
    best: tuple[int, Mistake | None] = (0, None)
    for mistake in book():
        if function in mistake.functions and mistake.make is not None:
            explained = _explained(mistake, function, tried)
            if explained is not None and (count := len(explained & wrong)) > best[0]:
                best = (count, mistake)
    if best[1] is not None:
        return best[1]
    named = (fault.mistake for _, _, faults in tried for fault in faults if fault.mistake and not fault.remark)
    return next((found for name in named if (found := by_name(name, function))), None)


def _explained(mistake: Mistake, function: str, tried: list[tuple[Case, Answers, list[Fault]]],
               ) -> set[tuple[str, str]] | None:
    """The answers that the wrong formula makes wrong, if the student's are wrong in just that way; else None."""
    explained = set()
    for case, answers, _ in tried:
        if case.judge not in ("twin", "affine", "groupnorm") or judging.ahead_is_wrong(case, answers):
            continue
        theirs = _answers(mistake, function, case)
        found, right = flat(answers), flat(case.right)
        if "error" in theirs:
            # The formula cannot be computed with these shapes; neither could the student's, whatever was raised.
            if "error" not in answers:
                return None
            explained |= {(case.name, key) for key in (*case.compare, "")}
            continue
        if "error" in answers:
            # Nothing is left in what the formula gives: to put that into an array raises.
            if not any(_empty(theirs.get(key)) > _empty(right[key]) for key in case.compare):
                return None
            explained |= {(case.name, key) for key in (*case.compare, "")}
            continue
        for key in case.compare:
            if key.startswith("config.") and _nothing(theirs.get(key)) and _nothing(found.get(key)):
                explained.add((case.name, key))
            elif key not in theirs:
                if key in found:
                    return None
                explained.add((case.name, key))
            elif _off(theirs[key], right[key], case.tolerance):
                if key not in found or _off(found[key], theirs[key], 10 * case.tolerance):
                    return None
                explained.add((case.name, key))
    return explained


_KEPT: dict[tuple[int, str, str], tuple[Case, dict[str, Any]]] = {}


def _answers(mistake: Mistake, function: str, case: Case) -> dict[str, Any]:
    key = (id(case), mistake.name, function)
    if key not in _KEPT:
        assert mistake.make is not None
        if len(_KEPT) > 4096:
            _KEPT.clear()
        _KEPT[key] = case, flat(execute(case.program, twins() | dict(mistake.make(function))))
    return _KEPT[key][1]


def _empty(value: Any) -> bool:
    array = judging.number(value)
    return array is not None and not array.size


def _nothing(value: Any) -> bool:
    """A state that was never put into config: it is not there, or still the zeros it began with."""
    array = judging.number(value)
    return value is None or (array is not None and not array.any())


def _off(found: Any, right: Any, tolerance: float) -> bool:
    a, b = judging.number(found), judging.number(right)
    if a is None or b is None:
        return not (found is None and right is None)
    error = judging.distance(found, right)
    return error is None or error > tolerance
