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
from typing import Any, NamedTuple

import numpy as np

from daseCV_c import _checks
from daseCV_c._step import whole
from daseCV_c._types import Array

_BLOCK = 2**16  # numbers at a time: they stay in the cache


def _arrays_of(model: Any) -> list[tuple[dict[str, Any], str, Array]]:
    """(dict, key, array) of what is averaged: the parameters, and batch norm's running statistics."""
    params, entries = model.params, getattr(model, "bn_params", None) or ()
    found = [(params, key, array) for key, array in params.items()]
    found += [(entry, key, entry[key]) for entry in entries for key in ("running_mean", "running_var") if key in entry]
    return [place for place in found if isinstance(place[2], np.ndarray) and place[2].dtype.kind == "f"]


class _Block(NamedTuple):
    """Up to `_BLOCK` numbers of the average: a part of one large array, or several small arrays end to end."""

    mean: Array
    room: Array
    members: list[int]  # which arrays
    part: slice | None  # of the large one

    def actions(self, flat: list[Array], weight: float) -> list[whole.Action]:
        """mean += weight * (arrays - mean)"""
        mean, room = self.mean, self.room
        first: list[whole.Action] = []
        if self.part is None:
            first, now = [partial(np.concatenate, [flat[i] for i in self.members], out=room)], room
        else:
            now = flat[self.members[0]][self.part]
        return [*first, partial(np.subtract, now, mean, room), partial(np.multiply, room, weight, room),
                partial(np.add, mean, room, mean)]


def _laid_out(arrays: list[Array]) -> tuple[list[Array], list[_Block]]:
    """Copies of `arrays`, and the blocks that they lie in: a small network's average takes few calls."""
    copies: list[Any] = [None] * len(arrays)
    blocks: list[_Block] = []
    small: dict[Any, list[list[int]]] = {}  # arrays that share a block, by dtype
    for i, array in enumerate(arrays):
        if array.size > _BLOCK:
            copies[i] = array.copy(order="C")
            flat = copies[i].reshape(-1)
            for begin in range(0, flat.size, _BLOCK):
                mean = flat[begin:begin + _BLOCK]
                blocks.append(_Block(mean, np.empty_like(mean), [i], slice(begin, begin + mean.size)))
            continue
        groups = small.setdefault(array.dtype, [[]])
        if sum(arrays[other].size for other in groups[-1]) + array.size > _BLOCK:
            groups.append([])
        groups[-1].append(i)
    for members in [group for groups in small.values() for group in groups if group]:
        mean, at = np.concatenate([arrays[i].reshape(-1) for i in members]), 0
        blocks.append(_Block(mean, np.empty_like(mean), members, None))
        for i in members:
            copies[i] = mean[at:at + arrays[i].size].reshape(arrays[i].shape)
            at += arrays[i].size
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
        self._means: list[Array] = []
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

    def _fits(self, arrays: list[Array]) -> bool:
        """The average is one of arrays of these shapes."""
        return self.count > 0 and len(arrays) == len(self._means) and all(
            mean.shape == array.shape and mean.dtype == array.dtype
            for mean, array in zip(self._means, arrays, strict=True))

    def _take(self, model: Any, weight: float) -> None:
        """average += weight * (parameters - average), all of it or nothing."""
        arrays = [array for _, _, array in _arrays_of(model)]
        if not self._fits(arrays):
            # The first ones, or those of a network that was changed.
            means, blocks = _laid_out(arrays)
            vars(self).update(_means=means, _blocks=blocks, count=1)
            return
        flat = [array.reshape(-1) for array in arrays]
        actions = [action for block in self._blocks for action in block.actions(flat, weight)]
        whole.commit(*actions, partial(setattr, self, "count", self.count + 1))

    @contextlib.contextmanager
    def applied(self, model: Any) -> Iterator[None]:
        """The model has the average while the block runs, once there is one, and then what it had."""
        places = _arrays_of(model)
        if not self._fits([array for _, _, array in places]):
            yield
            return
        former = [partial(setitem, *place) for place in places]
        try:
            whole.commit(*(partial(setitem, mapping, key, mean)
                           for (mapping, key, _), mean in zip(places, self._means, strict=True)))
            yield
        finally:
            whole.commit(*former)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it: a number, and the arrays of the average themselves."""
        return {"count": self.count, "means": list(self._means) if self.count else []}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, with arrays of its own."""
        count = _checks.integer("load_state", "state['count']", state.get("count"), 0)
        arrays = state.get("means")
        if not isinstance(arrays, list) or not all(isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in arrays):
            raise TypeError(f"load_state: state['means'] is a {type(arrays).__name__}, expected arrays")
        means, blocks = _laid_out(arrays)
        vars(self).update(_means=means, _blocks=blocks, count=count)
