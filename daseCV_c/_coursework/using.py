"""`daseCV_c.use`: a student's finished functions and networks in the places of ours."""

from __future__ import annotations

import dis
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]
NETWORKS = {"TwoLayerNet": "fc_net", "FullyConnectedNet": "fc_net", "ThreeLayerConvNet": "cnn"}
_used: dict[str, ModuleType] = {}
_held: dict[str, ModuleType] = {}
"""For each module that is used, one that has what is finished of it, and nothing else."""
_said: dict[str, int | None] = {}
"""For each network that is not written yet the cell of the notebook that was told so."""
_NAIVE = " (networks convolve and pool with conv_*_fast and max_pool_*_fast, not with the _naive ones)"
_BACKWARDS = {"batchnorm_forward": ("batchnorm_backward", "batchnorm_backward_alt")}


def use(*modules: ModuleType | None) -> None:
    """Let networks and Solver compute with the functions of a module, where it has them, and print which.

    Taken are layers, losses and update rules under the course's names. A function that does nothing but raise
    NotImplementedError is not written yet: ours stays in its place. So does a forward pass whose backward
    pass is not written, and the other way round: what one keeps, only the other understands. Networks, such as
    ``TwoLayerNet``, are taken where `daseCV_c.coursework` is asked for them. As in the course, networks and
    sandwiches convolve and pool with ``conv_*_fast`` and ``max_pool_*_fast``: a finished ``_naive`` function is
    used where `daseCV_c.coursework` is asked for it by that name, and nowhere else. The first line that a Solver
    prints says whose functions are in use.

    Parameters
    ----------
    *modules : modules, or None
        What was finished meanwhile is noticed when a Solver begins. None takes ours again.

    Raises
    ------
    TypeError
        One is no module.

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

    for module in modules:
        if module is not None and not isinstance(module, ModuleType):
            raise TypeError(f"use: module is a {type(module).__name__}, expected a module, as after import my_layers")
    if None in modules:
        for held in _held.values():
            for preferred in (chosen._preferred, checks._preferred):
                if held in preferred:
                    preferred.remove(held)
        _held.clear()
        _used.clear()
        _said.clear()
    given = [module for module in modules if module is not None]
    for module in given:
        name = module.__name__
        _used[name] = module
        held = _held.setdefault(name, ModuleType(name))
        chosen.prefer(held)
        checks.prefer(held)
    if given:
        print(line() or f"{', '.join(m.__name__ for m in given)}: nothing is finished yet; all is daseCV_c's")


def refresh() -> None:
    """Look again at what is finished: modules are changed, and loaded again, while a notebook runs."""
    for name, held in _held.items():
        found = {"__name__": name, **_finished(_used[name], _names())}
        if vars(held) != found:
            vars(held).clear()
            vars(held).update(found)


@functools.cache
def _names() -> tuple[str, ...]:
    from daseCV_c import optim
    from daseCV_c._coursework import stubs
    from daseCV_c._layers import chosen
    return tuple(dict.fromkeys((*stubs.NAMES, *chosen._OURS, *optim.__all__)))


def _finished(module: ModuleType, names: tuple[str, ...]) -> dict[str, Any]:
    """The functions of the course that are written in a module, and whose other half is; networks that are."""
    found = {name: value for name in names if callable(value := getattr(module, name, None))
             and not _is_ours(value) and not unfinished(value)}
    whole = {}
    for name, function in found.items():
        other = name.removesuffix("_alt")
        halves = _BACKWARDS.get(name, (name.replace("_forward", "_backward"),)) if "_forward" in name else (
            other.replace("_backward", "_forward"),)
        if any(half in found for half in halves):
            whole[name] = function
    for name in NETWORKS:
        net = getattr(module, name, None)
        if isinstance(net, type) and not net.__module__.startswith("daseCV_c.") and not unwritten(net):
            whole[name] = net
    return whole


def _is_ours(value: Any) -> bool:
    code = getattr(value, "__code__", None)
    return code is not None and _in_package(code.co_filename)


@functools.cache
def _in_package(file: str) -> bool:
    return _PACKAGE in Path(os.path.abspath(file)).parents


def unfinished(value: Any) -> bool:
    """Whether a function says itself that it is not written yet, whatever it is called with."""
    return isinstance(value, FunctionType) and "NotImplementedError" in value.__code__.co_names and _never_returns(
        value.__code__)


@functools.cache
def _never_returns(code: CodeType) -> bool:
    return not any(step.opname.startswith(("RETURN", "YIELD")) for step in dis.get_instructions(code))


def unwritten(net: type) -> list[FunctionType]:
    """The methods of a class that are not written yet."""
    return [method for method in vars(net).values() if unfinished(method)]


def function(name: str, ours: Callable[..., Any]) -> Callable[..., Any]:
    """The student's layer or loss where it is finished, else ours."""
    refresh()
    return next((vars(held)[name] for held in _held.values() if name in vars(held)), ours)


def network(name: str, ours: type) -> type:
    """The student's network where it is finished, else ours, and then a line about it, once in a cell of a notebook."""
    refresh()
    for held in _held.values():
        if name in vars(held):
            return vars(held)[name]  # type: ignore[no-any-return]
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    cell = None if shell is None else shell.execution_count
    for module in _used.values():
        methods = unwritten(net) if isinstance(net := getattr(module, name, None), type) else []
        if methods and _said.get(name, -1) != cell:
            _said[name] = cell
            where = ", ".join(f"{method.__name__} in line {method.__code__.co_firstlineno}" for method in methods)
            file = os.path.basename(methods[0].__code__.co_filename)
            print(f"{name} is not written yet: {where} of {file}. daseCV_c's is used")
    return ours


def line() -> str:
    """Whose functions are in use; empty where all are ours."""
    refresh()
    theirs = {name: [key for key in vars(held) if not key.startswith("__")] for name, held in _held.items()}
    used = [f"{name}: {', '.join(names)}" for name, names in theirs.items() if names]
    naive = any(key.endswith("_naive") for names in theirs.values() for key in names)
    return f"{'; '.join(used)}; the rest is daseCV_c's{_NAIVE if naive else ''}" if used else ""
