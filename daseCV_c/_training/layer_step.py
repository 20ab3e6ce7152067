"""A training step with the model's own `loss`, and the update rule parameter by parameter."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from daseCV_c._step import whole
from daseCV_c._training import checks
from daseCV_c._types import Array


def by_layers(solver: Any, index: Array) -> None:
    """One batch: loss, gradients, update. What interrupts it leaves everything as before, or a step further."""
    back = _back(solver)
    undo = whole.in_one_call(back)
    try:
        params, configs = solver.model.params, solver.optim_configs
        loss, grads = checks.loss_and_grads(solver.model, solver._found(index))
        if solver._clip is not None:
            grads = solver._clip(params, grads, loss, solver.loss_history)
        for name, w in params.items():
            found = solver._rule(w, grads[name], configs[name])
            params[name], configs[name] = checks.updated(solver.update_rule, name, w, found)
        whole.commit(partial(solver.loss_history.append, loss), back.clear)
    except BaseException:
        # One call, and nothing before it that could be interrupted.
        whole.exhaust(undo)
        raise


def _back(solver: Any) -> list[whole.Action]:
    """Actions that undo what a step by layers may have done."""
    params, configs = solver.model.params, solver.optim_configs
    entries = [entry for entry in configs.values() if isinstance(entry, dict)]
    mine = solver._own_rule()
    # Rules of the package put new arrays in the place of old ones, but for sgd.
    changed = [] if mine and solver.update_rule != "sgd" else list(params.values())
    if not mine:
        changed += [value for entry in entries for value in entry.values()]
    back = [action for held in (params, configs, *entries, *whole.layer_dicts(solver.model))
            for action in whole.restoring(held)]
    return back + whole.refilling(array for array in changed if isinstance(array, np.ndarray))
