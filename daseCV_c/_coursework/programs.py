"""Small programs of calls, run with a student's functions there and with the twins' here, word by word alike.

A program is a dict: `inputs` are named values, `steps` are calls `[to, function, arguments, keywords]`,
`give` names what
is returned. Arguments and keywords are names of values; `to` names the results. A function is a name of the
namespace, or `net.loss`: a method of a value. Four more functions are the interpreter's own: `=` and `.` set
and read attributes of an object, `copy` keeps a value as it is by then, `seed` sets NumPy's generator.

This file imports no other of the package: the student's process loads it by its path.
"""

from __future__ import annotations

import copy
import inspect
import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np

Program = dict[str, Any]
Answers = dict[str, Any]


class Misfit(Exception):
    """A function returned something else than so and so many values."""


class OtherEdition(Exception):
    """A class is asked for what its edition of the course has not."""


class Unfinished(Misfit):
    """A function returned nothing."""


def execute(program: Program, functions: Mapping[str, Any], file: str | None = None) -> Answers:
    """The values that the program gives, and under "error" what ended it before its time."""
    values = copy.deepcopy(program["inputs"])
    answers: Answers = {}
    called = ""
    before = np.random.get_state()
    np.random.seed(program.get("seed", 231))
    try:
        for step in program["steps"]:
            called = step[1]
            _step(step, functions, values)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # also SystemExit: students' code may call exit()
        answers["error"] = explain(error, file) | {"in": called}
    finally:
        np.random.set_state(before)
    # What was there before the error is compared too.
    answers.update((name, copy.deepcopy(values[name])) for name in program["give"] if name in values)
    return answers


def _step(step: list[Any], functions: Mapping[str, Any], values: dict[str, Any]) -> None:
    to, name, arguments, keywords = step
    given = [values[argument] for argument in arguments]
    named = {key: values[value] for key, value in keywords.items()}
    if name == "seed":
        np.random.seed(given[0])
        return
    if name == "=":
        _assign(*given)
        return
    if name == "copy":
        values[to] = copy.deepcopy(given[0])
        return
    if name == ".":
        values[to] = copy.deepcopy(getattr(given[0], given[1]))
        return
    thing, dot, method = name.partition(".")
    if not dot and name not in functions:
        raise Misfit("the file does not define it")
    function = getattr(values[thing], method) if dot else functions[name]
    if inspect.isclass(function):
        named = offered(function, named)
    with np.errstate(all="ignore"):
        result = function(*given, **named)
    if isinstance(to, str):
        values[to] = result
        return
    if result is None:
        raise Unfinished(f"{name} returned None, expected {len(to)} values")
    if not isinstance(result, tuple | list) or len(result) != len(to):
        came = f"{len(result)} values" if isinstance(result, tuple | list) else f"one {type(result).__name__}"
        raise Misfit(f"{name} returned {came}, expected {len(to)} values")
    values.update(zip(to, result, strict=True))


def _assign(thing: Any, attribute: str, value: Any) -> None:
    """thing.attribute = value; a dict's entries are replaced one by one, so that the dict stays the object's own."""
    old = getattr(thing, attribute, None)
    if isinstance(old, dict) and isinstance(value, dict):
        old.update(value)
    else:
        setattr(thing, attribute, value)


def offered(cls: type, named: dict[str, Any]) -> dict[str, Any]:
    """The keywords in the words of the edition of the course that the class was written for."""
    taken = inspect.signature(cls).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return named
    named = dict(named)
    if "dropout_keep_ratio" in named and "dropout_keep_ratio" not in taken:
        named["dropout"] = named.pop("dropout_keep_ratio")
    if "normalization" in named and "normalization" not in taken and "use_batchnorm" in taken:
        kind = named.pop("normalization")
        if kind == "layernorm":
            raise OtherEdition(f"{cls.__name__} takes use_batchnorm, and knows no layer normalization")
        named["use_batchnorm"] = kind == "batchnorm"
    return named


def explain(error: BaseException, file: str | None) -> dict[str, Any]:
    """What an exception says, and the line of the student's file where it arose."""
    line = 0
    for frame in traceback.extract_tb(error.__traceback__):
        if file is not None and frame.filename == file:
            line = frame.lineno or 0
    if isinstance(error, SyntaxError) and error.filename == file:
        line = error.lineno or 0
    try:
        text = " ".join(str(error).split())[:300]
    except Exception:  # an exception of the student's own may not even have a text
        text = ""
    return {"type": type(error).__name__[:80], "message": text, "line": line}
