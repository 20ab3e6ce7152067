"""The callback that writes event files for TensorBoard."""

from __future__ import annotations

import os
import time
from typing import Any

from daseCV_c import _checks

SECONDS = 2.0  # from one flush to the next: tensorboardX waits for the disk then

class TensorBoard:
    """Event files that ``tensorboard --logdir FOLDER`` shows while training runs.

    loss/train at every `every`-th iteration; accuracy/train, accuracy/val, loss/val and
    learning_rate at each check. A training that goes on hides what was written after the point
    where it goes on.

    Parameters
    ----------
    folder : str or path
        One a run; TensorBoard draws the folders below its logdir as one curve each.
    every : int
        A point costs about 0.03 ms.

    Raises
    ------
    ImportError
        tensorboardX is missing.
    ValueError, TypeError
        `every` is not a positive integer.

    References
    ----------
    TensorBoard, https://www.tensorflow.org/tensorboard

    Examples
    --------
    >>> TensorBoard('runs/adam', every=0)
    Traceback (most recent call last):
    ...
    ValueError: TensorBoard: every is 0, expected a positive integer
    """

    def __init__(self, folder: str | os.PathLike[str], every: int = 10) -> None:
        self.folder = os.fspath(folder)
        self.every = _checks.integer("TensorBoard", "every", every, 1)
        self._file: Any = None
        self._flushed = 0.0
        try:
            # Now, not when training begins: it takes seconds where torch is installed, which it looks for.
            # Not its SummaryWriter: that hands each number to another thread through a pipe.
            from tensorboardX import event_file_writer
            from tensorboardX.proto import event_pb2, summary_pb2
        except ImportError as error:
            raise ImportError('TensorBoard writes with tensorboardX: pip install "daseCV_c[tensorboard]"') from error
        self._open, self._events, self._summaries = event_file_writer.EventsWriter, event_pb2, summary_pb2

    def on_train_begin(self, solver: Any) -> None:
        os.makedirs(self.folder, exist_ok=True)
        # Its name has seconds in it. What goes on within the same one must not write over what was there, and must come
        # after it in the order of names, in which TensorBoard reads.
        self._file = self._open(os.path.join(self.folder, "events"), f".{time.time_ns()}")
        done = len(solver.loss_history)
        if done:
            start = self._events.SessionLog(status=self._events.SessionLog.START)
            self._file.write_event(self._events.Event(step=done + 1, wall_time=time.time(), session_log=start))
        self._flushed = time.monotonic()

    def on_step_end(self, solver: Any) -> None:
        t = len(solver.loss_history)
        if t % self.every == 0:
            self._write(t, {"loss/train": solver.loss_history[-1]})

    def on_check(self, solver: Any) -> None:
        self._write(len(solver.loss_history), {
            "accuracy/train": solver.train_acc_history[-1], "accuracy/val": solver.val_acc_history[-1],
            "loss/val": solver.val_loss_history[-1], "learning_rate": solver.learning_rate_history[-1]})

    def on_train_end(self, solver: Any) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _write(self, step: int, numbers: dict[str, float]) -> None:
        values = [self._summaries.Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._file.write_event(self._events.Event(
            step=step, wall_time=time.time(), summary=self._summaries.Summary(value=values)))
        if time.monotonic() - self._flushed >= SECONDS:
            self._file.flush()
            self._flushed = time.monotonic()
