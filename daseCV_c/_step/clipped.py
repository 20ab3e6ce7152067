"""The training step of the networks with the norm of all gradients clipped.

The norm is known only after the last of the gradients, which is that of the first layer: so this
step stores the gradients, measures them, and then updates the parameters, as the update rules'
own kernels do it, instead of updating each tile of a parameter while it is in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain, starmap
from operator import setitem
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from daseCV_c import optim
from daseCV_c._runtime import threads as _threads
from daseCV_c._runtime.kernels import Kernels
from daseCV_c._step import whole
from daseCV_c._step.conv_net import ConvStep
from daseCV_c._step.fully_connected import Arrays, Change, Configs, FusedStep, _aligned_copy, _run
from daseCV_c._types import Array

if TYPE_CHECKING:
    from daseCV_c._training.clipping import Clipping  # which stands above: the Solver hands one in


class _Flat(NamedTuple):
    """Arrays of every parameter, end to end in one array: a small network's are done with in one call."""

    whole: Array
    parts: dict[str, Array]

    @classmethod
    def like(cls, arrays: dict[str, Array], slot: int) -> _Flat:
        """Zeros; each part begins with a cache line. For the slots see `_aligned_copy`."""
        dtype, ends = next(iter(arrays.values())).dtype, [0]
        line = 64 // dtype.itemsize
        for array in arrays.values():
            ends.append(ends[-1] + -(-array.size // line) * line)
        flat = _aligned_copy(np.zeros(ends[-1], dtype), slot)
        return cls(flat, {name: flat[start:start + array.size].reshape(array.shape)
                          for (name, array), start in zip(arrays.items(), ends, strict=False)})


Operands: TypeAlias = tuple[Array | None, ...]  # of the kernel of the update rules, which works in place


def _operands(held: Sequence[Array | None], grad: Array) -> Operands:
    """held: a parameter and its two states."""
    w, *states = (each if each is None else each.reshape(-1) for each in held)
    return w, grad.reshape(-1), *states, w, *states


class _Kept(NamedTuple):
    """What belongs to the arrays that are updated in place."""

    arrays: Arrays
    grads: _Flat
    groups: list[Any]  # parameters and gradients layer by layer, as the training step stores them
    each: dict[str, Operands]  # of each parameter
    together: Operands | None  # of all of them, if they lie end to end


class _Clipped(FusedStep):
    """A step with clipped gradients: what the networks' kinds share."""

    def __init__(self, rule: str, clipping: Clipping) -> None:
        super().__init__(rule)
        self._clipping = clipping
        self._kept: _Kept | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_rule": self._rule, "_clipping": self._clipping}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(type(self)(state["_rule"], state["_clipping"])))

    def _take_over(self, model: Any, configs: Configs) -> Any:
        arrays: Arrays | None = super()._take_over(model, configs)
        if arrays is None:
            return None
        params = {name: held[0] for name, held in arrays.items()}
        grads, together = _Flat.like(params, 3), None
        if self._rule != "sgd":  # which updates the very arrays of the model
            flats = [_Flat.like(params, slot) for slot in range(1 + len(optim.STATES[self._rule]))]
            for name, held in arrays.items():
                own = [each.parts[name] for each in flats]
                for array, value in zip(own, held, strict=False):
                    array[...] = value
                arrays[name] = (*own, *held[len(own):])
            together = _operands([*(each.whole for each in flats), None, None][:3], grads.whole)
        each = {name: _operands(held, grads.parts[name]) for name, held in arrays.items()}
        stored: dict[Any, Any] = {name: (held[0], grads.parts[name], None) for name, held in arrays.items()}
        groups = [tuple(map(stored.get, layer)) for layer in self._plan(model)]
        self._kept = _Kept(arrays, grads, groups, each, together)
        return arrays

    def _updates(self, kernels: Kernels, kept: _Kept, numbers: Any) -> list[whole.Action]:
        """The calls that update all parameters."""
        update: Any = kernels.optim.update
        threads = _threads.effective()
        if type(numbers) is not tuple:
            return [partial(update, self._rule, *kept.each[name], *numbers[name], threads) for name in kept.each]
        parts = kept.each.values() if kept.together is None else [kept.together]
        return [partial(update, self._rule, *operands, *numbers, threads) for operands in parts]

    def _stored(
        self, kernels: Kernels, model: Any, kept: _Kept, index: Array, mean: Array | None, y: Any,
        changes: list[Change],
    ) -> float | None:
        """The loss, with all gradients in `kept`, or None; the changes that the layers ask for are added."""
        raise NotImplementedError

    def _work(
        self, kernels: Kernels, model: Any, groups: list[Any], index: Array, mean: Array | None, y: Any,
        arrays: Arrays, numbers: Any, changes: list[Change], losses: list[float] | None,
    ) -> float | None:
        kept = self._kept
        if kept is None or kept.arrays is not arrays:
            return None
        loss = self._stored(kernels, model, kept, index, mean, y, changes)
        if loss is None:
            return None
        scale = self._clipping.scale(kept.grads.parts, loss, losses or (), kept.grads.whole)
        if scale != 1.0:
            np.multiply(kept.grads.whole, scale, out=kept.grads.whole)
        actions = self._updates(kernels, kept, numbers)
        if losses is not None:
            actions.append(partial(losses.append, loss))
        former = [mapping.get(key) for mapping, key, _ in changes]  # what goes away may run code: not within the call
        whole.exhaust(chain(starmap(setitem, changes), whole.in_one_call(actions)))
        del former
        return loss


class ClippedStep(_Clipped):
    """The Solver's step with clipped gradients: see `FusedStep`."""

    def _stored(
        self, kernels: Kernels, model: Any, kept: _Kept, index: Array, mean: Array | None, y: Any,
        changes: list[Change],
    ) -> float | None:
        return _run(kernels.step, model, kept.groups, self._rows, index, mean, y, [(None,) * 4] * len(kept.groups),
                    changes, None, None, commit=False)


class ClippedConvStep(_Clipped, ConvStep):
    """The same for ThreeLayerConvNet: see `ConvStep`."""

    def _stored(
        self, kernels: Kernels, model: Any, kept: _Kept, index: Array, mean: Array | None, y: Any,
        changes: list[Change],
    ) -> float | None:
        return self._gradients(kernels, kept.arrays, float(model.reg), kept.groups, index, mean, y, kept.grads.parts)
