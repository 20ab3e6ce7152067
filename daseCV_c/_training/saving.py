"""When a checkpoint is written."""

from __future__ import annotations

import errno
import math
import os
import tempfile
import time
from typing import Any

from daseCV_c._files import remove_drafts
from daseCV_c._training import divergence

_SOONEST = 1.0  # seconds between two checkpoints at the ends of epochs: some epochs last milliseconds


def check_folder(name: str, path: Any) -> None:
    """See that a file can be made where the Solver's argument `name` says, before hours are spent."""
    if path is None:
        return
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"Solver: {name} is {path!r}, expected the name of a file")
    folder = os.path.dirname(os.fspath(path)) or os.curdir
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, f"Solver: {name} is in a folder that does not exist", os.fspath(folder))
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(error.errno, f"Solver: {name} is in a folder that cannot be written to "
                                       f"({os.strerror(error.errno or 0)})", os.fspath(folder)) from None


class Saver:
    """Writes one Solver's checkpoints: at the end of epochs, now and then in between, and at the end.

    To `path`, over the one before; by `name`, one for each check, as in the course.
    """

    def __init__(self, solver: Any) -> None:
        self._solver, self._path, self._name = solver, solver.checkpoint_path, solver.checkpoint_name
        self.timed = self._path is not None
        self._next = self._soonest = -math.inf
        self._saved_at = -1
        if self.timed:
            remove_drafts(self._path)

    def name_of_check(self) -> str:
        return f"{self._name}_epoch_{self._solver.epoch}.npz"

    def _save(self, path: Any) -> None:
        if self._solver.on_divergence == "stop" and divergence.not_finite(self._solver.model.params):
            return  # the loss will say so in a step or two: the last good checkpoint is kept
        self._solver.save(path)
        self._saved_at = self._solver.iteration
        now = time.monotonic()
        self._next, self._soonest = now + self._solver.checkpoint_every, now + _SOONEST

    def after_a_check(self) -> None:
        if self._name is not None:
            remove_drafts(self.name_of_check())
            self._solver.save(self.name_of_check())
        if self.timed and time.monotonic() >= self._soonest:
            self._save(self._path)

    def in_between(self) -> None:
        if time.monotonic() >= self._next:
            self._save(self._path)

    def at_the_end(self, interrupted: bool) -> str | None:
        """The checkpoint that a stopped run goes on from, if there is a place for one."""
        if self.timed:
            if self._saved_at != self._solver.iteration:
                self._save(self._path)
            return str(os.fspath(self._path)) if os.path.exists(self._path) else None
        if self._name is None or not interrupted:
            return None
        path = f"{self._name}_interrupted.npz"
        self._solver.save(path)
        return path
