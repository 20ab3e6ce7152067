"""All of a step or nothing of it, whatever is raised on the way.

Python runs signal handlers, and raises what another thread told it to raise, between the steps of
its own interpreter: never within one call of a function that is written in C. What belongs
together is therefore prepared as a list of actions, all of them calls of such functions, and made
by one call.
"""

from __future__ import annotations

import collections
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

Action = Callable[[], Any]

# Runs an iterator to its end within one call.
exhaust: Callable[[Iterable[Any]], object] = functools.partial(collections.deque, maxlen=0)


def in_one_call(actions: Iterable[Action]) -> Iterator[Any]:
    """The calls of `actions`, for `exhaust` to make."""
    return map(operator.call, actions)


def commit(*actions: Action) -> None:
    """Make all actions, with nothing in between."""
    exhaust(in_one_call(actions))


def restoring(mapping: dict[Any, Any]) -> list[Action]:
    """Actions that give `mapping` back the entries that it has now, and no others."""
    saved = dict(mapping)
    # Both are found when the action runs: the keys that there are by then, and the new ones among them.
    keys = itertools.chain.from_iterable(map(tuple, (mapping,)))
    new = itertools.filterfalse(saved.__contains__, keys)
    return [functools.partial(mapping.update, saved), functools.partial(exhaust, map(mapping.pop, new))]


def refilling(arrays: Iterable[np.ndarray]) -> list[Action]:
    """Actions that give `arrays` back the numbers that they hold now."""
    return [functools.partial(operator.setitem, array, ..., array.copy()) for array in arrays if array.flags.writeable]


def layer_dicts(model: Any) -> list[dict[str, Any]]:
    """The dicts that the layers of a model change as they run: those with a mode, alone or in a list."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in getattr(model, "__dict__", {}).items():
        for entry in value if isinstance(value, (list, tuple)) and name != "params" else (value,):
            if not isinstance(entry, dict):
                break
            if "mode" in entry or name in ("bn_params", "dropout_param"):
                found[id(entry)] = entry
    return list(found.values())
