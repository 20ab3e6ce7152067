"""`daseCV_c.use`: a student's finished functions in the places of ours."""

from __future__ import annotations

import os
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]
_held: dict[str, ModuleType] = {}
"""For each module that is used, one that has its finished functions alone."""
_BACKWARDS = {"batchnorm_forward": ("batchnorm_backward", "batchnorm_backward_alt")}


def use(module: ModuleType | None) -> None:
    """Let networks and Solver compute with the functions of a module, where it has them, and print which.

    Taken are layers,
    losses and update rules under the course's names. A function that raises NotImplementedError is not
    written yet: ours stays in its place. So does a forward pass whose backward pass is not written,
    and the other way round:
    what one keeps, only the other understands. The first line that a Solver prints says whose functions are in use.

    Parameters
    ----------
    module : module, or None
        May be given again when it was changed and loaded again. None takes ours again.

    Raises
    ------
    TypeError
        `module` is no module.

    Examples
    --------
    >>> import types, daseCV_c
    >>> mine = types.ModuleType('mine')
    >>> mine.sgd = lambda w, dw, config=None: (w - 0.1 * dw, config or {})
    >>> daseCV_c.use(mine)
    mine: sgd; the rest is daseCV_c's
    >>> daseCV_c.use(None)
    """
    from daseCV_c._layers import chosen
    from daseCV_c._training import checks

    if module is None:
        for held in _held.values():
            for preferred in (chosen._preferred, checks._preferred):
                if held in preferred:
                    preferred.remove(held)
        _held.clear()
        return
    if not isinstance(module, ModuleType):
        raise TypeError(f"use: module is a {type(module).__name__}, expected a module, as after import my_layers")
    name = module.__name__
    held = _held.setdefault(name, ModuleType(name))
    vars(held).clear()
    vars(held).update(__name__=name, **_finished(module, _names()))
    chosen.prefer(held)
    checks.prefer(held)
    print(line() or f"{name}: nothing is finished yet; all is daseCV_c's")


def _names() -> list[str]:
    from daseCV_c import optim
    from daseCV_c._layers import chosen
    return [*chosen._OURS, *optim.__all__]


def _finished(module: ModuleType, names: list[str]) -> dict[str, Any]:
    """The functions of the course that are written in a module, and whose other half is."""
    found = {name: value for name in names if callable(value := getattr(module, name, None))
             and not _is_ours(value) and not unfinished(value)}
    whole = {}
    for name, function in found.items():
        other = name.removesuffix("_alt")
        halves = _BACKWARDS.get(name, (name.replace("_forward", "_backward"),)) if "_forward" in name else (
            other.replace("_backward", "_forward"),)
        if any(half in found for half in halves):
            whole[name] = function
    return whole


def _is_ours(value: Any) -> bool:
    code = getattr(value, "__code__", None)
    return code is not None and _PACKAGE in Path(os.path.abspath(code.co_filename)).parents


def unfinished(value: Any) -> bool:
    """Whether a function says itself that it is not written yet."""
    return isinstance(value, FunctionType) and "NotImplementedError" in value.__code__.co_names


def line() -> str:
    """Whose functions are in use; empty where all are ours."""
    used = [f"{name}: {', '.join(names)}" for name, held in _held.items()
            if (names := [key for key in vars(held) if not key.startswith("__")])]
    return f"{'; '.join(used)}; the rest is daseCV_c's" if used else ""
