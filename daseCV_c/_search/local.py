"""Trials in processes of this machine: they are given the data once, and train one trial after the other."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import warnings
from typing import Any

from daseCV_c import set_num_threads
from daseCV_c._search import trial
from daseCV_c._search.ledger import Claim
from daseCV_c._search.pools import Lost
from daseCV_c._search.trial import Outcome, Problem

_READY = "ready"


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def serve(pipe: Any) -> None:
    """What one of the processes does: take the data, then train whatever comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the leader ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore", RuntimeWarning)  # what is wrong with a trial is in its outcome
    set_num_threads(1)
    try:
        problem: Problem = pipe.recv()
        pipe.send(_READY)
        while True:
            pipe.send(trial.run(pipe.recv(), problem))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the leader is gone, or needs this one no more


class _Worker:
    """One process. A new one takes its place when it has died."""

    def __init__(self, context: Any, number: int) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other,), name=f"dasecv-search-{number}", daemon=True)
        self.process.start()
        other.close()
        self.ready = False
        self.claim: Claim | None = None

    def send(self, what: Any) -> None:
        try:
            self.pipe.send(what)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has died: `finished` sees that

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Local:
    """As many processes as are asked for."""

    def __init__(self, problem: Problem, jobs: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._problem, self._started = problem, 0
        self._workers: list[_Worker] = []
        try:
            self._workers = [self._new() for _ in range(jobs)]
            for worker in self._workers:
                worker.send(problem)
        except BaseException:
            self.close()
            raise

    def _new(self) -> _Worker:
        self._started += 1
        return _Worker(self._context, self._started)

    def size(self) -> int:
        return len(self._workers)

    def submit(self, claim: Claim) -> None:
        worker = next(worker for worker in self._workers if worker.claim is None)
        worker.claim = claim
        worker.send(claim.task)

    def finished(self, seconds: float) -> list[tuple[Claim, Outcome | Lost]]:
        multiprocessing.connection.wait([worker.pipe for worker in self._workers], seconds)
        found: list[tuple[Claim, Outcome | Lost]] = []
        for i, worker in enumerate(self._workers):
            try:
                while worker.pipe.poll():
                    said = worker.pipe.recv()
                    if said == _READY:
                        worker.ready = True
                        continue
                    assert worker.claim is not None, "it was given a task"
                    found.append((worker.claim, said))
                    worker.claim = None
            except (EOFError, ConnectionResetError):
                found += self._replaced(i)
        return found

    def _replaced(self, i: int) -> list[tuple[Claim, Outcome | Lost]]:
        """A new process in the place of one that has died, and what the old one has left."""
        old = self._workers[i]
        old.end()
        if not old.ready:
            raise RuntimeError(
                f"a process for trials ended with code {old.process.exitcode} before it was ready: a script that calls "
                'search must do so below `if __name__ == "__main__":`, as each process imports it')
        self._workers[i] = self._new()
        self._workers[i].send(self._problem)
        return [] if old.claim is None else [(old.claim, Lost(
            f"process {old.process.pid} ended with code {old.process.exitcode}"))]

    def close(self) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []
