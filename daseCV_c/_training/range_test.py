"""The learning rate range test: one short training in which the rate rises until the loss explodes."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np

from daseCV_c import _checks
from daseCV_c._types import Array

_KEPT = 0.9  # of the smoothed loss from step to step
_EXPLODED = 4.0  # times the lowest smoothed loss: what comes after tells nothing
# Settings of the Solver that would take the rate out of the test's hands, or have no meaning in it.
_NOT_FOR_IT = ("schedule", "lr_decay", "early_stopping", "average", "num_epochs", "callbacks", "checkpoint_name",
               "checkpoint_path", "on_divergence")


@dataclasses.dataclass(frozen=True)
class RangeTest:
    """What `lr_range_test` found, step by step.

    Attributes
    ----------
    rates, losses, smoothed : array of float64, (steps,)
        The rate of each step, the loss of its batch before the step, and a moving average of the losses.
    suggestion : float or None
        The rate where the loss falls fastest: the difference between its means over a tenth of the steps before
        and after is lowest. None where it never fell.
    exploded : bool
        The loss grew beyond four times its lowest, or was not finite any more, before the highest rate.

    Examples
    --------
    >>> import numpy as np
    >>> RangeTest(np.array([0.1]), np.array([2.3]), np.array([2.3]), None, False).suggestion is None
    True
    """

    rates: Array
    losses: Array
    smoothed: Array
    suggestion: float | None
    exploded: bool


def _steepest(rates: Array, losses: Array, smoothed: Array, steps: int) -> float | None:
    """The rate at which the loss falls fastest against the rate's logarithm, before the smoothed loss is lowest.

    A fall is that between the means of a tenth of all steps before a rate and after it: losses of single
    batches say little, and the moving average comes late.
    """
    width, end = max(steps // 10, 3), int(np.argmin(smoothed)) + 1
    sums = np.cumsum(np.concatenate([[0.0], np.minimum(losses[:end], _EXPLODED * smoothed.min())]))
    if end < 2 * width:
        return None
    means = (sums[width:] - sums[:-width]) / width
    falls = means[width:] - means[:-width]
    lowest = int(np.argmin(falls))
    return float(rates[width + lowest]) if falls[lowest] < 0 else None


def lr_range_test(
    model: Any, data: dict[str, Any], *, lowest: float = 1e-6, highest: float = 10.0, steps: int = 100, **settings: Any,
) -> RangeTest:
    """Train a copy of a model with a rate that rises from step to step, to see which rates it bears.

    Step i of n has the rate ``lowest * (highest / lowest)**(i / (n - 1))``. The test ends early when
    the smoothed loss has grown beyond four times its lowest, or is not finite any more. The model and
    NumPy's random state stay as they were.

    Parameters
    ----------
    model, data
        As the Solver takes them; the model must bear ``copy.deepcopy``.
    lowest, highest : float
        The first and the last rate.
    steps : int
        At least 10.
    **settings
        Of the Solver: update_rule, optim_config, batch_size, clip_norm.

    Returns
    -------
    result : RangeTest

    Raises
    ------
    ValueError
        A number makes no sense, a setting has no place in the test, or the loss of the first batch is not finite.
    TypeError
        A number is none.

    References
    ----------
    Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3,
    https://arxiv.org/abs/1506.01186. Rates that rise exponentially, and the end at four times the lowest
    loss, are fastai's.

    Examples
    --------
    >>> import numpy as np
    >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
    >>> np.random.seed(0)
    >>> X, y = np.random.randn(200, 4), np.arange(200) % 2
    >>> X[:, 0] += 4 * y
    >>> found = lr_range_test(TwoLayerNet(4, 20, 2, weight_scale=0.1), {'X_train': X, 'y_train': y, 'X_val': X,
    ...                       'y_val': y}, lowest=1e-3, highest=1e3, batch_size=50)
    >>> 1e-2 < found.suggestion < 10
    True
    """
    from daseCV_c.solver import Solver  # which offers the schedules, and so this test

    function = "lr_range_test"
    lowest = _checks.real_number(function, "lowest", lowest)
    highest = _checks.real_number(function, "highest", highest)
    if not 0 < lowest < highest < math.inf:
        raise ValueError(f"{function}: the rates go from {lowest!r} to {highest!r}, expected 0 < lowest < highest")
    steps = _checks.integer(function, "steps", steps, 10)
    for name in settings:
        if name in _NOT_FOR_IT:
            raise ValueError(f"{function}: {name} has no place in this test")
    rates = np.geomspace(lowest, highest, steps)
    random_state = np.random.get_state()
    try:
        # Together: a generator that both have stays one. What is not finite ends the test, not with an error.
        model, settings = copy.deepcopy((model, settings))
        solver = Solver(model, data, **{"verbose": False, "on_divergence": "ignore"} | settings)
        losses, smoothed, exploded = _climb(solver, rates)
    finally:
        np.random.set_state(random_state)
    found = rates[:len(losses)], np.array(losses), np.array(smoothed)
    return RangeTest(*found, _steepest(*found, steps), exploded)


def _climb(solver: Any, rates: Array) -> tuple[list[float], list[float], bool]:
    """Losses and smoothed losses of the steps with finite ones, and whether the rates ended early."""
    losses: list[float] = []
    smoothed: list[float] = []
    mean = 0.0
    for i, rate in enumerate(rates):
        for config in solver.optim_configs.values():
            config["learning_rate"] = float(rate)
        with np.errstate(all="ignore"):  # that numbers become too large is what the test is for
            solver._step()
        loss = float(solver.loss_history[-1])
        if not math.isfinite(loss):
            if not losses:
                raise ValueError(f"lr_range_test: the loss of the first batch is {loss}, before any step")
            return losses, smoothed, True
        mean = _KEPT * mean + (1 - _KEPT) * loss
        losses.append(loss)
        smoothed.append(mean / (1 - _KEPT ** (i + 1)))  # as Adam corrects its averages for their start at zero
        if smoothed[-1] > _EXPLODED * min(smoothed):
            return losses, smoothed, True
    return losses, smoothed, False
