"""What trial k is to try, and when it is hopeless: functions of the search's seed, of k and of earlier trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ENOUGH = 5  # whole trainings, before anything is called hopeless
PRUNINGS = ("median", "none")


def seed_of(seed: int, k: int, purpose: int) -> int:
    """32 bits for trial k: `purpose` 0 is its training, 1 the choice of its settings."""
    return int(np.random.SeedSequence([seed, k, purpose]).generate_state(1)[0])


def params(distributions: dict[str, Any], earlier: Sequence[Any], seed: int) -> dict[str, Any]:
    """The parameters that Optuna's TPE chooses after the trials `earlier`, in their order.

    Those that are still running count with their parameters: the sampler keeps away from them.
    """
    import optuna
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(earlier)
    found: dict[str, Any] = study.ask(distributions).params
    return found


def thresholds(pruning: str, earlier: Sequence[list[float]], epochs: int) -> list[float]:
    """The median, epoch by epoch, of the accuracies of whole trainings; -inf in the first quarter of the epochs."""
    if pruning == "none" or len(earlier) < ENOUGH:
        return []
    found = []
    for epoch in range(1, epochs + 1):
        there = [checks[epoch - 1] for checks in earlier if len(checks) >= epoch]
        found.append(float(np.median(there)) if there and 4 * epoch > epochs else -np.inf)
    return found
