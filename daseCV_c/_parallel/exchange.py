"""Sums over all ranks in the order of the ranks, and rows collected from all.

The order in which ``MPI_Allreduce`` adds is its own, and may be another one on another day. Here data are moved by
MPI and added by NumPy: rank 0's + rank 1's + ..., each element by itself, so that the bits do not depend on how they
were moved.

Waiting goes through one place. A rank that waits spins for a moment, then lets others have the processor. It hears
of a rank that has failed, and Python runs its signal handlers, which it does not do within a call of MPI.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from daseCV_c._parallel.errors import PeerError
from daseCV_c._types import Array

# Up to here each rank sends all of its numbers to all; beyond, each adds up a part and sends it on: less is moved, but
# it takes two messages one after the other. `python -m benchmarks.mpi` shows both.
SMALL = 2**16  # bytes
_SPINS = 2000  # questions to MPI before the processor is given away: a millisecond or less
_PAUSE = 2e-5  # seconds
_LONGEST = 2**30  # bytes of one message: MPI counts in int
_FAILED, _PART, _SUM, _ROWS = 1, 2, 3, 4  # tags
_NOTICE = 2000  # bytes


class Exchange:
    """Numbers between the ranks of a communicator of mpi4py.

    `while_waiting` is called again and again while a rank waits for long.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI
        self._mpi, self.comm = MPI, comm
        self.rank, self.size = int(comm.rank), int(comm.size)
        # Of its own: messages of the user's are never mistaken for ours.
        self._data, self._notices = comm.Dup(), comm.Dup()
        self._rooms: dict[tuple[Any, ...], Array] = {}
        self._sent: list[Any] = []  # notices on their way
        self.broken = False
        self.while_waiting: Callable[[], None] | None = None

    # Waiting.

    def _wait(self, *requests: Any) -> None:
        done, asked = self._mpi.Request.Testall, list(requests)
        spins = 0
        while not done(asked):
            spins += 1
            if spins < _SPINS:
                continue
            if spins % 16 == 0:
                self.listen()
                if self.while_waiting is not None:
                    self.while_waiting()
            if spins < 2 * _SPINS:
                os.sched_yield() if hasattr(os, "sched_yield") else time.sleep(0)
            else:
                time.sleep(_PAUSE)

    def listen(self) -> None:
        """PeerError if a rank has said that it failed."""
        status = self._mpi.Status()
        if self._notices.Iprobe(tag=_FAILED, status=status):
            text = np.empty(status.Get_count(self._mpi.BYTE), np.uint8)
            self._notices.Recv([text, self._mpi.BYTE], status.source, _FAILED)
            self.broken = True
            raise PeerError(f"rank {status.source} has failed: {text.tobytes().decode('utf-8', 'replace')}")

    def tell_failure(self, text: str) -> None:
        """Tell all others that this rank goes no further. They hear of it where they wait."""
        if self.broken:
            return
        self.broken = True
        notice = np.frombuffer(text.encode("utf-8", "replace")[:_NOTICE], np.uint8)
        self._sent = [notice, *(self._notices.Isend([notice, self._mpi.BYTE], rank, _FAILED)
                                for rank in range(self.size) if rank != self.rank)]

    # Moving.

    def _room(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array that the next exchange of its kind writes over."""
        key = (shape, np.dtype(dtype).str)
        if key not in self._rooms:
            if len(self._rooms) > 64:
                self._rooms.clear()
            self._rooms[key] = np.empty(shape, dtype)
        room: Array = self._rooms[key]
        return room

    @staticmethod
    def _bytes(array: Array) -> Array:
        flat: Array = array.reshape(-1).view(np.uint8)
        return flat

    def gather(self, numbers: Array) -> Array:
        """The arrays of all ranks, (ranks, ...); all have one shape. Valid until the next call."""
        numbers = np.ascontiguousarray(numbers)
        found = self._room((self.size, *numbers.shape), numbers.dtype)
        mpi = self._mpi.BYTE
        self._wait(self._data.Iallgather([self._bytes(numbers), mpi], [self._bytes(found), mpi]))
        return found

    def total(self, numbers: Array) -> Array:
        """The sum over all ranks, in their order. A new array."""
        first, *others = self.gather(numbers)
        total: Array = first.copy()
        for other in others:
            total += other
        return total

    def add_up(self, flat: Array) -> None:
        """Replace the numbers of a contiguous vector by their sums over all ranks, in the order of the ranks."""
        if flat.nbytes <= SMALL:
            self.add_up_small(flat)
        else:
            self.add_up_large(flat)

    def add_up_small(self, flat: Array) -> None:
        first, second, *others = self.gather(flat)
        np.add(first, second, out=flat)
        for other in others:
            np.add(flat, other, out=flat)

    def add_up_large(self, flat: Array) -> None:
        """Each rank adds up one part of all vectors, and sends it to all."""
        bounds = [flat.size * rank // self.size for rank in range(self.size + 1)]
        parts = [flat[start:stop] for start, stop in zip(bounds, bounds[1:], strict=False)]
        own = parts[self.rank]
        room = self._room((self.size, -(-flat.size // self.size)), flat.dtype)[:, :own.size]
        theirs = [own if rank == self.rank else room[rank] for rank in range(self.size)]
        self._swap(parts, theirs, _PART)
        total = theirs[0]
        for part in theirs[1:]:
            # Where the own part has been added, the sum can lie in its place.
            total = np.add(total, part, out=own if part is own else total)
        self._swap([own] * self.size, parts, _SUM)

    def _swap(self, sent: Sequence[Array], received: Sequence[Array], tag: int) -> None:
        """sent[r] goes to rank r, what rank r sends comes into received[r]. What is one's own stays."""
        requests = []
        # Rank r begins with r + 1, so that not all send to the same one at first.
        for step in range(1, self.size):
            came, goes = (self.rank - step) % self.size, (self.rank + step) % self.size
            for start in range(0, max(received[came].nbytes, sent[goes].nbytes), _LONGEST):
                part = slice(start, start + _LONGEST)
                for array, rank, move in ((received[came], came, self._data.Irecv),
                                          (sent[goes], goes, self._data.Isend)):
                    if array.nbytes > start:
                        requests.append(move([self._bytes(array)[part], self._mpi.BYTE], rank, tag))
        self._wait(*requests)

    def rows(self, own: Array, counts: Sequence[int]) -> Array:
        """The rows of all ranks, one rank's below the other's, of which rank r has counts[r]. A new array."""
        found = np.empty((sum(counts), *own.shape[1:]), own.dtype)
        ends = np.cumsum([0, *counts])
        parts = [found[start:stop] for start, stop in zip(ends, ends[1:], strict=False)]
        parts[self.rank][...] = own
        self._swap([np.ascontiguousarray(own)] * self.size, parts, _ROWS)
        return found

    def texts(self, own: bytes) -> list[bytes]:
        """What each rank has said."""
        counts = [int(n) for n in self.gather(np.array([len(own)], np.int64))[:, 0]]
        whole = self.rows(np.frombuffer(own, np.uint8), counts).tobytes()
        ends = np.cumsum([0, *counts])
        return [whole[start:stop] for start, stop in zip(ends, ends[1:], strict=False)]

    def from_first(self, data: bytes | None) -> bytes:
        """What rank 0 gives; the others give None."""
        said = np.frombuffer(data or b"", np.uint8)
        count = int(self.gather(np.array([said.size], np.int64))[0, 0])
        found = said if self.rank == 0 else np.empty(count, np.uint8)
        requests = []
        for start in range(0, count, _LONGEST):
            requests.append(self._data.Ibcast([found[start:start + _LONGEST].copy() if self.rank == 0 else
                                               found[start:start + _LONGEST], self._mpi.BYTE], 0))
        self._wait(*requests)
        return found.tobytes()
