"""What a Solver with `comm` does otherwise than one alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from daseCV_c._parallel.errors import TeamError
from daseCV_c._parallel.team import Team, team_of
from daseCV_c._step import prediction as _prediction
from daseCV_c._training.options import DEFAULTS
from daseCV_c._training.signals import Asked
from daseCV_c._types import Array

# What only the first rank does.
_SPEAKING: dict[str, Any] = {"verbose": False, "progress": False, "callbacks": (), "checkpoint_name": None,
                             "checkpoint_path": None}


def joined(options: dict[str, Any]) -> Team | None:
    """The team of the Solver's `options`, in which all ranks but the first become silent; None for a single rank."""
    team = team_of(options["comm"])
    if team is not None:
        size = options.get("batch_size", DEFAULTS["batch_size"])
        if isinstance(size, int) and size < team.size:
            raise TeamError(f"Solver: batch_size is {size} for {team.size} ranks, expected at least a sample for each")
        if team.rank:
            options.update(_SPEAKING)
    return team


def scores(solver: Any, X: Array, mean: Array | None, batch_size: int) -> Array:
    """The scores of all samples, of which each rank computes a part."""
    team, model = solver._team, solver.model
    share, name = team.share(len(X)), f"{type(model).__name__}.loss"
    own = [_prediction.scores(model, model._samples(name, X[start:min(start + batch_size, share.stop)]), mean)
           for start in range(share.start, share.stop, batch_size)]
    found: Array = team.rows(np.concatenate(own), [each.stop - each.start for each in team.shares(len(X))])
    return found


class Together:
    """What `Run` asks where several ranks train: see its methods. Everything is agreed on by messages."""

    def __init__(self, solver: Any) -> None:
        self._solver, self._team = solver, solver._team

    def begin(self) -> None:
        """See that the ranks fit together, and give all of them the first one's state."""
        from daseCV_c._parallel import agreement
        if self._team.broken:
            raise TeamError("Solver.train: a rank has failed before: make a Solver with a new communicator")
        agreement.begin(self._solver)

    def ask(self, asked: Asked) -> Asked:
        found: Asked = self._team.ask(asked)
        return found

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """What ends this rank alone, in this block, is told the others, who wait for it."""
        try:
            yield
        except BaseException as error:
            # Ctrl-C once: all ranks have stopped together. Twice: this one has not waited for the others.
            stopped = isinstance(error, SystemExit) or isinstance(error, KeyboardInterrupt) and error.args
            if not (stopped and self._team.agreed.signal):
                self._team.failed(error)
            raise
        finally:
            self._team.while_waiting = self._team.rescue = None

    def hears(self, event: str) -> bool:
        return event in self._team.listened

    def stops(self, event: str, stop: bool) -> bool:
        """Whether rank 0's callbacks, which alone are called, want to stop after this event."""
        return self._team.any(stop) if self.hears(event) else stop

    def look(self) -> None:
        """TeamError if the ranks are no longer alike."""
        from daseCV_c._parallel import agreement
        self._team.same(self._solver.model, agreement.random_state(self._solver))

    def end(self) -> None:
        """The last step was made: hear of signals since."""
        self._team.step_total(0.0)
