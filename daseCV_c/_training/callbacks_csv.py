"""The callback that writes the histories as they grow."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Iterator
from typing import Any

from daseCV_c._files import replacing
from daseCV_c._training.curves import CHECKED, STEPPED

SECONDS = 1.0  # between the rows of steps that reach the file


class CSVLog:
    """The histories as a CSV file, which grows while training runs.

    One number a row, under the heading iteration, epoch, metric, value, as in the history.csv of
    ``python -m daseCV_c train``: loss and learning_rate, one row an iteration; train_acc, val_acc,
    val_loss and seconds, one row a check. A training that goes on writes what was before it
    again, so the file is whole, however it ended the last time; a file of that name is replaced.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    OSError
        The file cannot be written; raised before the first step.

    References
    ----------
    RFC 4180, "Common Format and MIME Type for Comma-Separated Values (CSV) Files".

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
    >>> from daseCV_c.solver import Solver
    >>> X, y = np.eye(4), np.arange(4)
    >>> data = {'X_train': X, 'y_train': y, 'X_val': X, 'y_val': y}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLog(os.path.join(folder, 'log.csv'))
    ...     Solver(TwoLayerNet(4, 20, 4, weight_scale=1), data, batch_size=4, verbose=False, callbacks=[log]).train()
    ...     with open(log.path) as file:
    ...         file.readline()
    'iteration,epoch,metric,value\\n'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._file: Any = None
        self._steps = self._checks = 0  # how many are in the file
        self._flushed = 0.0

    def on_train_begin(self, solver: Any) -> None:
        self._steps = self._checks = 0
        with replacing(self.path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(("iteration", "epoch", "metric", "value"))
            rows.writerows(self._new_rows(solver))
        self._file = open(self.path, "a", encoding="utf-8", newline="")
        self._flushed = time.monotonic()

    def on_step_end(self, solver: Any) -> None:
        if time.monotonic() - self._flushed >= SECONDS:
            self._write(solver)

    def on_check(self, solver: Any) -> None:
        self._write(solver)

    def on_train_end(self, solver: Any) -> None:
        if self._file is not None:
            try:
                self._write(solver)
            finally:
                self._file.close()
                self._file = None

    def _write(self, solver: Any) -> None:
        csv.writer(self._file, lineterminator="\n").writerows(self._new_rows(solver))
        self._file.flush()
        self._flushed = time.monotonic()

    def _new_rows(self, solver: Any) -> Iterator[tuple[int, int, str, str]]:
        """What the file does not have yet, in the order in which it came about."""
        per_epoch = max(len(solver.X_train) // solver.batch_size, 1)
        steps, checks = len(solver.loss_history), solver.check_iterations
        while self._steps < steps or self._checks < len(checks):
            if self._checks < len(checks) and checks[self._checks] <= self._steps:
                k, names = self._checks, list(CHECKED)
                self._checks += 1
                t = checks[k]
            else:
                k, names = self._steps, list(STEPPED)
                t = self._steps = self._steps + 1
            for name in names:
                for value in getattr(solver, f"{name}_history")[k:k + 1]:  # none, where there is none
                    yield t, t // per_epoch, name, repr(float(value))
