"""One trial: a training with the settings that were chosen for it. Runs where there is neither storage nor Optuna."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np

from daseCV_c import _random, get_backend
from daseCV_c._runtime import backend
from daseCV_c._training import divergence
from daseCV_c._types import Array
from daseCV_c.cli import runs
from daseCV_c.cli.errors import reason
from daseCV_c.cli.recipes import OPTIONAL
from daseCV_c.cli.training import network_of


class Problem(NamedTuple):
    """What all trials share."""

    data: dict[str, Array]  # as Solver takes it
    shape: tuple[int, ...]  # of a sample
    classes: int


class Task(NamedTuple):
    """All that a trial depends on, beside the problem."""

    settings: dict[str, Any]
    thresholds: list[float]  # by epoch; with a lower accuracy the trial is hopeless


class Outcome(NamedTuple):
    """What a trial has found."""

    state: str  # complete, pruned (also where it diverged) or failed: what was chosen cannot be trained
    val_acc: float | None  # the best, which is that of the parameters in `sha256`; None: none were finite
    checks: list[float]  # the validation accuracy after each epoch
    ended: str  # why before the end; empty for a whole training
    seconds: float
    sha256: str  # of the parameters, as best.npz would hold them
    kernels: str


class Judge:
    """A callback: ends a training whose best validation accuracy so far is below the threshold of the epoch."""

    def __init__(self, thresholds: list[float]) -> None:
        self.thresholds, self.checks, self.hopeless = thresholds, list[float](), False

    def on_epoch_end(self, solver: Any) -> bool:
        self.checks.append(float(solver.val_acc_history[-1]))
        epoch = len(self.checks)
        self.hopeless = epoch < solver.num_epochs and epoch <= len(self.thresholds) and (
            max(self.checks) < self.thresholds[epoch - 1])
        return self.hopeless


def solver_of(settings: dict[str, Any], problem: Problem, callbacks: list[Any] | None = None) -> Any:
    """The Solver that `train` makes of the same settings, but drawing from a generator of its own.

    So trainings in the threads of one process do not disturb each other, and the process's generator stays as it is.
    """
    from daseCV_c.solver import Solver
    generator = _random.Generator(settings["seed"])
    shape = np.broadcast_to(0.0, problem.shape)
    network = network_of(settings, {"mean_image": shape, "classes": range(problem.classes)})
    return Solver(
        runs.build_network(network, generator), problem.data, update_rule=settings["update_rule"],
        optim_config={"learning_rate": settings["lr"]}, lr_decay=settings["lr_decay"],
        batch_size=settings["batch_size"], num_epochs=settings["epochs"], verbose=False, seed=generator,
        callbacks=callbacks or [], **{name: settings[name] for name in OPTIONAL})


def digest(model: Any) -> str:
    """SHA-256 of the parameters and running statistics: names, types and bytes."""
    found = hashlib.sha256()
    for name, array in sorted(runs.state(model, np.empty(0)).items()):
        if name != "mean_image":
            found.update(f"{name} {array.dtype.str} {array.shape}".encode("ascii"))
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def run(task: Task, problem: Problem) -> Outcome:
    """Train. Settings that cannot be trained are an outcome too: another try would end in the same way."""
    judge, state, ended = Judge(task.thresholds), "complete", ""
    solver: Any = None
    level = backend.level if get_backend() == "compiled" else None
    kernels = "NumPy" if level is None else f"compiled for {level}"
    try:
        solver = solver_of(task.settings, problem, [judge])
        solver.train()
        if judge.hopeless:
            state, ended = "pruned", f"pruned after epoch {len(judge.checks)}"
    except divergence.DivergenceError as error:
        state, ended = "pruned", reason(error).removeprefix("Solver.train: ")
    except (ValueError, TypeError, MemoryError) as error:
        return Outcome("failed", None, judge.checks, f"{type(error).__name__}: {reason(error)}", 0.0, "", kernels)
    if not solver._checked or divergence.not_finite(solver.best_params):
        return Outcome("pruned", None, judge.checks, ended or "no finite parameters", solver.seconds, "", kernels)
    return Outcome(
        state, float(solver.best_val_acc), judge.checks, ended, solver.seconds, digest(solver.model), kernels)
