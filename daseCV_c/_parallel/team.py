"""The ranks that train one network together."""

from __future__ import annotations

import contextlib
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from daseCV_c._parallel import saving
from daseCV_c._parallel.errors import PeerError, TeamError
from daseCV_c._parallel.exchange import Exchange
from daseCV_c._step import whole
from daseCV_c._training.divergence import DivergenceError
from daseCV_c._training.signals import Asked
from daseCV_c._types import Array

_PATIENCE = 0.03  # seconds that a rank asked to end waits for the others before it saves what it has


class Share(NamedTuple):
    """The samples start <= i < stop of `whole` are one rank's."""

    start: int
    stop: int
    whole: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def weight(self) -> float:
        """What the mean over the share counts in the mean over all."""
        return (self.stop - self.start) / self.whole


class Team(Exchange):
    """What a Solver with `comm` asks the other ranks."""

    def __init__(self, comm: Any) -> None:
        super().__init__(comm)
        self.listened: frozenset[str] = frozenset()  # events that rank 0's callbacks wait for
        self.rescue: Callable[[], None] | None = None  # saves the last whole step, on rank 0
        self.agreed = Asked()  # the signal that all know of
        self._asked = Asked()
        self._since: float | None = None
        self._before_step: Callable[[], None] | None = None

    def __reduce__(self) -> Any:
        raise TypeError("a Solver with comm= belongs to its process: it cannot be copied or pickled. Solver.save "
                        "writes what another one goes on from")

    def shares(self, count: int) -> list[Share]:
        """Who has which of `count` samples: as equal as can be."""
        ends = [count * rank // self.size for rank in range(self.size + 1)]
        return [Share(start, stop, count) for start, stop in zip(ends, ends[1:], strict=False)]

    def share(self, count: int) -> Share:
        return self.shares(count)[self.rank]

    # Signals.

    def ask(self, asked: Asked) -> Asked:
        """From now on the signals in `asked` are told the others; the returned one has those that all know of."""
        self._asked, self.agreed, self._since = asked, Asked(), None
        self.while_waiting = self._asked_while_waiting
        return self.agreed

    def step_begins(self, solver: Any) -> None:
        """Before random numbers are drawn."""
        self._before_step = None
        if self.rank == 0 and solver.checkpoint_path is not None:
            self._before_step = saving.saver_of_now(solver)

    @contextlib.contextmanager
    def in_a_step(self) -> Iterator[None]:
        """In this block nothing of the model has changed yet."""
        self.rescue = self._before_step
        try:
            yield
        finally:
            self.rescue = None

    def _asked_while_waiting(self) -> None:
        """A rank that was asked to end and waits for one that does not come, which may have died, saves."""
        if self._asked.signal and self.rescue is not None:
            now = time.monotonic()
            self._since = self._since or now
            if now - self._since > _PATIENCE:
                rescue, self.rescue = self.rescue, None
                rescue()

    def step_total(self, loss: float) -> float:
        """The sum of the ranks' parts of the loss. All hear of a signal that one of them was asked to end by."""
        word = self.gather(np.array([loss, self._asked.signal], np.float64))
        self.agreed.signal = self.agreed.signal or int(word[:, 1].max())
        total = 0.0
        for part in word[:, 0]:
            total += float(part)
        return total

    def any(self, flag: bool) -> bool:
        """Whether one of the ranks says so."""
        return bool(self.gather(np.array([flag], np.uint8)).any())

    # Failing.

    def failed(self, error: BaseException) -> None:
        """Tell the others of an error that this rank alone knows of."""
        if not known_to_all(error):
            self.tell_failure(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)

    def same(self, model: Any, random: Array) -> None:
        """TeamError if parameters, states of layers or random numbers differ between ranks."""
        held = dict(model.params)
        for i, entry in enumerate(whole.layer_dicts(model)):
            held |= {f"{key} (layer {i + 1})": value for key, value in entry.items() if isinstance(value, np.ndarray)}
        held["the generator of random numbers"] = random
        sums = self.gather(np.array([zlib.crc32(np.ascontiguousarray(value).view(np.uint8).data)
                                     for value in held.values()], np.int64))
        for rank, theirs in enumerate(sums):
            different = [name for name, equal in zip(held, theirs == sums[0], strict=True) if not equal]
            if different:
                raise TeamError(
                    f"Solver: {different[0]} of rank {rank} differs from that of rank 0. Every rank must do the same: "
                    "a callback must not change the model or draw random numbers, and a model of your own must not "
                    "draw them in its loss, nor keep statistics of its batches")


def known_to_all(error: BaseException) -> bool:
    """An error that every rank raises, or that another one has told of."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (PeerError, TeamError, DivergenceError)):
            return True
        seen = seen.__cause__
    return False


_KEYVAL: int | None = None  # under which a communicator keeps its team


def team_of(comm: Any) -> Team | None:
    """The team of a communicator, made at the first call, which all ranks make; None for a single rank."""
    global _KEYVAL
    mpi = sys.modules.get("mpi4py.MPI")  # whoever has a communicator has imported it
    if mpi is None or not isinstance(comm, mpi.Intracomm):
        raise TypeError(f"Solver: comm is a {type(comm).__name__}, expected an intracommunicator of mpi4py, such as "
                        "MPI.COMM_WORLD")
    if comm.size == 1:
        return None
    if _KEYVAL is None:
        _KEYVAL = int(type(comm).Create_keyval())
    team: Team | None = comm.Get_attr(_KEYVAL)
    if team is None or team.broken:
        team = Team(comm)
        comm.Set_attr(_KEYVAL, team)
    return team
