"""An average of the parameters of several steps, which often predicts better than those of the last one.

``{'decay': d}`` weighs the parameters after the step t of T with d**(T - t); the weights sum up to 1, so that
the parameters before the first step have no part in it. ``{'last': k}`` weighs those at the ends of
the last k epochs equally.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; Izmailov et al.,
"Averaging Weights Leads to Wider Optima and Better Generalization" (SWA), UAI 2018.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from operator import setitem
from typing import Any, TypeAlias

import numpy as np

from daseCV_c import _checks
from daseCV_c._step import whole
from daseCV_c._types import Array

_BLOCK = 2**15  # numbers at a time: they stay in the cache
Place: TypeAlias = tuple[dict[str, Any], str]


def _places(model: Any) -> dict[str, Place]:
    """{name: (dict, key)} of the arrays that are averaged: the parameters, and batch norm's running statistics."""
    found = {f"params/{name}": (model.params, name) for name in model.params}
    for i, entry in enumerate(getattr(model, "bn_params", None) or []):
        found |= {f"bn_params/{i}/{key}": (entry, key) for key in ("running_mean", "running_var") if key in entry}
    return {name: (mapping, key) for name, (mapping, key) in found.items()
            if isinstance(mapping[key], np.ndarray) and mapping[key].dtype.kind == "f"}


class _Block:
    """Up to `_BLOCK` numbers of the average: a part of a large array, or several small arrays end to end."""

    def __init__(self, mean: Array) -> None:
        self.mean, self.room = mean, np.empty_like(mean)
        self.pieces: list[tuple[str, int, int, Array, Array]] = []  # name, where it begins and ends there, and here

    def add(self, name: str, begin: int, end: int, at: int) -> None:
        here = slice(at, at + end - begin)
        self.pieces.append((name, begin, end, self.mean[here], self.room[here]))

    def actions(self, arrays: dict[str, Array], weight: float) -> list[whole.Action]:
        """mean += weight * (arrays - mean)"""
        mean, room = self.mean, self.room
        differences = [partial(np.subtract, arrays[name].reshape(-1)[begin:end], here, out)
                       for name, begin, end, here, out in self.pieces]
        return [*differences, partial(np.multiply, room, weight, room), partial(np.add, mean, room, mean)]


def _laid_out(arrays: dict[str, Array]) -> tuple[dict[str, Array], list[_Block]]:
    """Copies of `arrays`, and the blocks that they lie in: a small network's average takes few calls."""
    copies: dict[str, Array] = {}
    blocks: list[_Block] = []
    small: dict[Any, list[list[str]]] = {}  # names of arrays that share a block, by dtype
    for name, array in arrays.items():
        if array.size > _BLOCK:
            copies[name] = array.copy(order="C")
            flat = copies[name].reshape(-1)
            for begin in range(0, flat.size, _BLOCK):
                blocks.append(_Block(flat[begin:begin + _BLOCK]))
                blocks[-1].add(name, begin, begin + blocks[-1].mean.size, 0)
            continue
        groups = small.setdefault(array.dtype, [[]])
        if sum(arrays[other].size for other in groups[-1]) + array.size > _BLOCK:
            groups.append([])
        groups[-1].append(name)
    for group in [group for groups in small.values() for group in groups]:
        block, at = _Block(np.concatenate([arrays[name].reshape(-1) for name in group])), 0
        for name in group:
            array = arrays[name]
            block.add(name, 0, array.size, at)
            copies[name] = block.mean[at:at + array.size].reshape(array.shape)
            at += array.size
        blocks.append(block)
    return copies, blocks


class Averaging:
    """Takes the parameters of a model one time after the other, and puts their average into it for a while."""

    def __init__(self, settings: Any, function: str = "Solver") -> None:
        given = _checks.dictionary(function, "average", settings)
        if len(given) != 1 or not {"last", "decay"} & set(given):
            raise ValueError(f"{function}: average is {given!r}, expected {{'last': epochs}} or {{'decay': number}}")
        self._last = self._decay = None
        if "last" in given:
            self._last = _checks.integer(function, "average['last']", given["last"], 1)
        else:
            self._decay = _checks.real_number(function, "average['decay']", given["decay"], 0)
            if not self._decay < 1:
                raise ValueError(f"{function}: average['decay'] is {self._decay!r}, expected a number from 0, below 1")
        self.count = 0  # of the parameters taken so far
        self._means: dict[str, Array] = {}
        self._blocks: list[_Block] = []

    def settings(self) -> dict[str, Any]:
        return {"decay": self._decay} if self._last is None else {"last": self._last}

    @property
    def begins(self) -> bool:
        """The average of the last epochs is the first one: what was best before was none."""
        return self._last is not None and self.count == 1

    def on_train_begin(self, solver: Any) -> None:
        if not solver.iteration:
            self.count = 0

    def on_step_end(self, solver: Any) -> None:
        self.after_step(solver.model)

    def after_step(self, model: Any) -> None:
        if self._decay is not None:
            self._take(model, (1 - self._decay) / (1 - self._decay ** (self.count + 1)))

    def after_epoch(self, model: Any, epochs_left: int) -> None:
        if self._last is not None:
            before = self._last - 1 - epochs_left  # epochs that belong to the last ones and are over
            if self.count > before:
                self.count = 0  # epochs were added to a training that had begun to average
            if before >= 0:
                self._take(model, 1 / (self.count + 1))

    def _take(self, model: Any, weight: float) -> None:
        """average += weight * (parameters - average), all of it or nothing."""
        arrays = {name: mapping[key] for name, (mapping, key) in _places(model).items()}
        means = self._means
        if not self.count or means.keys() != arrays.keys() or any(
                means[name].shape != array.shape or means[name].dtype != array.dtype for name, array in arrays.items()):
            # The first ones, or those of a network that was changed.
            means, blocks = _laid_out(arrays)
            vars(self).update(_means=means, _blocks=blocks, count=1)
            return
        actions = [action for block in self._blocks for action in block.actions(arrays, weight)]
        whole.commit(*actions, partial(setattr, self, "count", self.count + 1))

    @contextlib.contextmanager
    def applied(self, model: Any) -> Iterator[None]:
        """The model has the average while the block runs, once there is one, and then what it had."""
        places = _places(model)
        if not self.count or places.keys() != self._means.keys():
            yield
            return
        former = [partial(setitem, mapping, key, mapping[key]) for mapping, key in places.values()]
        try:
            whole.commit(*(partial(setitem, *places[name], mean) for name, mean in self._means.items()))
            yield
        finally:
            whole.commit(*former)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it: a number, and the arrays of the average themselves."""
        return {"count": self.count, "means": dict(self._means) if self.count else {}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, with arrays of its own."""
        count = _checks.integer("load_state", "state['count']", state.get("count"), 0)
        arrays = _checks.dictionary("load_state", "state['means']", state.get("means"))
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
                raise TypeError(f"load_state: state['means'][{name!r}] is {array!r}, expected an array of floats")
        means, blocks = _laid_out(arrays)
        vars(self).update(_means=means, _blocks=blocks, count=count)
