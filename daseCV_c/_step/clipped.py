"""The training step of the fully-connected networks with the norm of all gradients clipped.

The norm is known only after the last of the gradients, which is that of the first layer: so this
step stores the gradients, measures them, and then updates the parameters, as the update rules'
own kernels do it, instead of updating each tile of a parameter while it is in the cache.
"""

from __future__ import annotations

from functools import partial
from operator import setitem
from typing import Any

import numpy as np

from daseCV_c._runtime import threads as _threads
from daseCV_c._runtime.kernels import Kernels
from daseCV_c._step import whole
from daseCV_c._step.fully_connected import Arrays, Change, FusedStep, _names, _run
from daseCV_c._training.clipping import Clipping
from daseCV_c._types import Array


def _flat(array: Array | None) -> Array | None:
    return None if array is None else array.reshape(-1)


class ClippedStep(FusedStep):
    """The Solver's step with clipped gradients: see `FusedStep`."""

    def __init__(self, rule: str, clipping: Clipping) -> None:
        super().__init__(rule)
        self._clipping = clipping
        self._grads: dict[str, Array] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_rule": self._rule, "_clipping": self._clipping}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(type(self)(state["_rule"], state["_clipping"])))

    def _kept(self, arrays: Arrays) -> dict[str, Array]:
        """Arrays for the gradients, which the next step writes over."""
        grads = self._grads
        if grads.keys() != arrays.keys() or any(
                grads[name].shape != held[0].shape or grads[name].dtype != held[0].dtype
                for name, held in arrays.items()):
            self._grads = {name: np.empty_like(held[0]) for name, held in arrays.items()}
        return self._grads

    def _work(
        self, kernels: Kernels, model: Any, groups: list[Any], index: Array, mean: Array | None, y: Any,
        arrays: Arrays, numbers: Any, changes: list[Change], losses: list[float] | None,
    ) -> float | None:
        grads, names = self._kept(arrays), _names(model)
        stored: dict[Any, Any] = {name: (held[0], grads[name], None) for name, held in arrays.items()}
        loss = _run(kernels.step, model, [tuple(map(stored.get, layer)) for layer in names], self._rows, index, mean, y,
                    [(None,) * 4] * len(names), changes, None, None, commit=False)
        if loss is None:
            return None
        scale = self._clipping.scale(grads, loss, losses or ())
        if scale != 1.0:
            for grad in grads.values():
                np.multiply(grad, scale, out=grad)
        if type(numbers) is tuple:
            numbers = dict.fromkeys(arrays, numbers)
        threads = _threads.effective()
        update: Any = kernels.optim.update
        updates = []
        for name, held in arrays.items():
            w, *states = map(_flat, held)
            updates.append(partial(
                update, self._rule, w, _flat(grads[name]), *states, w, *states, *numbers[name], threads))
        settings = [partial(setitem, *change) for change in changes]
        former = [mapping.get(key) for mapping, key, _ in changes]  # what goes away may run code: not within the call
        whole.commit(*updates, *settings, *([] if losses is None else [partial(losses.append, loss)]))
        del former
        return loss
