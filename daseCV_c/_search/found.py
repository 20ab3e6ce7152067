"""What a search has found: a table, a CSV, a picture, and any of its trials trained again."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from daseCV_c import plots
from daseCV_c._files import replacing
from daseCV_c._search import trial as _trial
from daseCV_c._search.ledger import Ledger
from daseCV_c._search.trial import Problem

_COLUMNS = ("trial", "state", "val_acc", "epochs", "seconds")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a search."""

    number: int  # its place in the search, from 0
    state: str  # complete, pruned or failed
    val_acc: float  # the best of its epochs; NaN where no parameters were finite, or it failed
    params: dict[str, Any]  # what was chosen for it
    settings: dict[str, Any]  # all of train's settings
    checks: list[float]  # the validation accuracy after each epoch
    seconds: float
    ended: str  # why before the end
    sha256: str  # of the parameters that val_acc belongs to
    kernels: str
    line: str | None  # the command that trains it again; None for data that no command can name


class Found:
    """The finished trials of a search.

    Attributes
    ----------
    trials : list of Trial
        By number.
    best : Trial
        The complete one with the highest validation accuracy; of equal ones the first.
    study : optuna.study.Study
        The same trials as Optuna keeps them.
    """

    def __init__(self, ledger: Ledger, problem: Problem) -> None:
        self.study, self._problem = ledger.study, problem
        self._distributions = ledger.space.distributions()
        self.trials = [_of(ledger, kept) for kept in ledger.results()]

    @property
    def best(self) -> Trial:
        whole = [trial for trial in self.trials if trial.state == "complete"]
        if not whole:
            why = next((f": {trial.ended}" for trial in self.trials if trial.ended), "")
            raise ValueError(f"search: no trial was completed{why}")
        return max(whole, key=lambda trial: (trial.val_acc, -trial.number))

    def train(self, number: int | None = None) -> Any:
        """Train a trial again, by default the best; the Solver, whose model has the same parameters to the last bit.

        A pruned trial is trained to its end.
        """
        trial = self.best if number is None else next(trial for trial in self.trials if trial.number == number)
        solver = _trial.solver_of(trial.settings, self._problem)
        solver.train()
        return solver

    def table(self, rows: int | None = None) -> str:
        """The trials in columns, the best first; all, or so many."""
        ranked = sorted(self.trials, key=lambda trial: (-np.nan_to_num(trial.val_acc, nan=-1), trial.number))
        lines = [[*_COLUMNS, *self._distributions], *(
            [f"{value:.4g}" if isinstance(value, float) else str(value) for value in self._row(trial)]
            for trial in ranked[:rows])]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True))
                         for line in lines)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """One line a trial, in their order; floats with all their digits."""
        with replacing(path) as file, io.TextIOWrapper(
                file, encoding="utf-8", errors="surrogateescape", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow([*_COLUMNS, *self._distributions, "seed", "ended", "sha256", "kernels", "line"])
            for trial in self.trials:
                row = [repr(value) if isinstance(value, float) else value for value in self._row(trial)]
                writer.writerow([*row, trial.settings["seed"], trial.ended, trial.sha256, trial.kernels, trial.line])

    def _row(self, trial: Trial) -> list[Any]:
        return [trial.number, trial.state, trial.val_acc, len(trial.checks), trial.seconds,
                *(trial.params[name] for name in self._distributions)]

    def plot(self, *, figure: Any = None) -> tuple[Any, ...]:
        """Draw the validation accuracy over each parameter, trial by trial; pruned trials are hollow.

        Parameters
        ----------
        figure : matplotlib.figure.Figure, optional
            By default one of pyplot's.

        Returns
        -------
        axes : tuple of matplotlib.axes.Axes

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        across = min(len(self._distributions), 3)
        down = math.ceil(len(self._distributions) / across)
        figure = plots._figure("plot", figure, (3.4 * across, 2.8 * down))
        axes = figure.subplots(down, across, sharey=True, squeeze=False)
        for place, (name, distribution) in zip(axes.flat, self._distributions.items(), strict=False):
            self._draw(place, name, distribution)
        for place in axes.flat[len(self._distributions):]:
            place.set_visible(False)
        for row in axes:
            row[0].set_ylabel("validation accuracy")
        plots.legend_above(axes.flat[0])
        return tuple(axes.flat[:len(self._distributions)])

    def _draw(self, axes: Any, name: str, distribution: Any) -> None:
        choices = getattr(distribution, "choices", None)
        for state, how in (("pruned", {"facecolors": "none", "edgecolors": plots.COLOURS[6]}),
                           ("complete", {"color": plots.COLOURS[0]})):
            of_state = [trial for trial in self.trials if trial.state == state]
            if of_state:
                axes.scatter([trial.params[name] if choices is None else choices.index(trial.params[name])
                              for trial in of_state], [trial.val_acc for trial in of_state], s=16, label=state, **how)
        if choices is not None:
            axes.set_xticks(range(len(choices)), list(map(str, choices)))
            axes.margins(x=0.2)
        elif distribution.log:
            axes.set_xscale("log")
        axes.set_title(name, loc="left", fontsize="medium")
        axes.grid(True, alpha=0.3)


def _of(ledger: Ledger, kept: Any) -> Trial:
    notes = kept.user_attrs
    found = notes.get("found", {})
    state = kept.state.name.lower()
    return Trial(
        number=notes["place"], state="failed" if state == "fail" else state,
        val_acc=math.nan if kept.value is None else kept.value, params=kept.params,
        settings={**ledger.space.settings(kept.params), "seed": notes["seed"]},
        checks=list(kept.intermediate_values.values()), seconds=found.get("seconds", 0.0),
        ended=notes.get("failed", found.get("ended", "")), sha256=found.get("sha256", ""),
        kernels=found.get("kernels", ""), line=found.get("line"))


def save_plot(found: Found, path: Path) -> bool:
    """Draw into a file; False without matplotlib."""
    from daseCV_c.cli.plots import save
    wide = min(len(found._distributions), 3)
    down = math.ceil(len(found._distributions) / wide)
    return save(path, (3.4 * wide, 2.8 * down), lambda figure: found.plot(figure=figure))
