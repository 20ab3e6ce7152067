"""Trials on a Dask cluster. The workers need this package, neither Optuna nor the storage nor the data's files."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import secrets
from typing import Any

from daseCV_c import get_num_threads, set_num_threads
from daseCV_c._exchange.network import library
from daseCV_c._search import trial
from daseCV_c._search.ledger import Claim
from daseCV_c._search.pools import Lost
from daseCV_c._search.trial import Outcome, Problem, Task

distributed: Any = library("search", "distributed", "scale")
_GOODBYE = 10  # seconds that workers are given to forget the data


class Data(distributed.WorkerPlugin):  # type: ignore[misc]  # distributed has no types where it is not installed
    """Brings the data to each worker once, also to those that come later, and trains with one thread there."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.name = problem, f"dasecv-search-{secrets.token_hex(8)}"
        self._threads = 0

    def setup(self, worker: Any) -> None:
        self._threads = get_num_threads()
        set_num_threads(1)

    def teardown(self, worker: Any) -> None:
        set_num_threads(self._threads)


def train(name: str, task: Task) -> Outcome:
    """Run a trial on the worker that this is called on, with the data that are there."""
    return trial.run(task, distributed.get_worker().plugins[name].problem)


class OnDask:
    """A cluster: an address, a Client or Cluster, or "local" for `jobs` processes of this machine.

    A worker may stop to answer, as a machine does that sleeps. What a trial has found stays on its worker until it is
    fetched, and fetching has no limit of time. So each outcome is fetched in the client's own thread, and nobody here
    waits for one of them: the others are handed out as they come. The scheduler gives up a worker that is silent for
    its worker-ttl, and its trials run on another.
    """

    def __init__(self, problem: Problem, where: Any, jobs: int | None, local: int) -> None:
        self._jobs, self._running = jobs, dict[concurrent.futures.Future[Outcome], tuple[Claim, Any]]()
        self._own = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.push(self._own)
            self._client = self._connected(where, local)
            self._data = Data(problem)
            try:
                self._client.register_plugin(self._data)
            except OSError as error:
                raise RuntimeError(f"search: Dask's workers cannot be given the data: {error}") from error
            undo.pop_all()

    def _connected(self, where: Any, local: int) -> Any:
        if isinstance(where, distributed.Client):
            return where
        if where == "local":
            where = self._own.enter_context(distributed.LocalCluster(
                n_workers=local, threads_per_worker=1, processes=True, dashboard_address=None))
        try:
            return self._own.enter_context(distributed.Client(where, set_as_default=False))
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"dask is {where!r}: {error}") from error

    def size(self) -> int:
        threads: int = sum(self._client.nthreads().values())
        return threads if self._jobs is None else min(threads, self._jobs)

    def submit(self, claim: Claim) -> None:
        future = self._client.submit(
            train, self._data.name, claim.task, pure=False, key=f"trial-{claim.place}-{secrets.token_hex(4)}")
        outcome = asyncio.run_coroutine_threadsafe(
            self._client.gather(future, asynchronous=True), self._client.loop.asyncio_loop)
        self._running[outcome] = claim, future

    def finished(self, seconds: float) -> list[tuple[Claim, Outcome | Lost]]:
        if self._client.status != "running":
            raise RuntimeError("the Dask cluster has gone; the same search goes on from here when there is one again")
        concurrent.futures.wait(self._running, seconds, concurrent.futures.FIRST_COMPLETED)
        found: list[tuple[Claim, Outcome | Lost]] = []
        for outcome in [outcome for outcome in self._running if outcome.done()]:
            claim, _ = self._running.pop(outcome)
            if outcome.cancelled() or isinstance(outcome.exception(), distributed.KilledWorker):
                found.append((claim, Lost("its Dask workers have died")))
            else:
                found.append((claim, outcome.result()))
        return found

    def close(self) -> None:
        with self._own, contextlib.suppress(OSError):
            for outcome, (_, future) in self._running.items():
                outcome.cancel()
                future.cancel()
            if self._client.status == "running":
                self._client.sync(self._client.scheduler.unregister_worker_plugin, name=self._data.name,
                                  callback_timeout=_GOODBYE)
