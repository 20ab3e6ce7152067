"""Grading all submissions, several at a time, in processes of their own. A run that was killed goes on."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from daseCV_c._coursework.grading import marking
from daseCV_c._coursework.grading.marking import Grade
from daseCV_c._coursework.grading.reading import is_the_machines
from daseCV_c._coursework.grading.rubric import Rubric
from daseCV_c._coursework.grading.tables import plain

Job = tuple[str, Path]
Task = tuple[str, tuple[Any, ...]]
"""A name, and what the work on it is given."""
Found = TypeVar("Found")


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def state_file(output: str | Path) -> Path:
    """Where the grades of a run are kept until it has ended."""
    return Path(output).with_name(Path(output).name + ".state")


def grade_all(jobs: Sequence[Job], rubric: Rubric, state: Path, isolate: bool | None, at_once: int,
              done: Callable[[Grade], None]) -> list[Grade]:
    """The grades in the order of `jobs`. Each is written into `state` as it ends, and found there by the next run."""
    known = _known(state)
    grades: dict[str, Grade] = {}
    with open(state, "ab") as file:
        file.write(b"\n")  # what a killed run has begun to write ends here
        for grade in _graded(jobs, rubric, isolate, at_once, known):
            grades[grade.name] = grade
            file.write(json.dumps(grade.as_dict()).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            done(grade)
    return [grades[name] for name, _ in jobs]


def _known(state: Path) -> dict[str, dict[str, Any]]:
    """The grades of an earlier run by name. Half a line, as a killed run leaves it, is none."""
    known: dict[str, dict[str, Any]] = {}
    if not state.exists():
        return known
    for line in state.read_bytes().splitlines():
        try:
            found = json.loads(line)
            known[Grade.of_dict(found).name] = found
        except (ValueError, TypeError, KeyError):
            continue
    return known


def _graded(jobs: Sequence[Job], rubric: Rubric, isolate: bool | None, at_once: int,
            known: dict[str, dict[str, Any]]) -> Iterator[Grade]:
    def lost(name: str, said: str, detail: str) -> Grade:
        return marking.failed(name, rubric, said, detail)

    tasks = [(name, (name, path, rubric, isolate, known.get(name))) for name, path in jobs]
    for _, grade in each(marking.mark, tasks, at_once, lost):
        yield grade


@dataclass(frozen=True)
class _Lost:
    """In place of what work on one submission has found: why it has found nothing."""

    said: str
    detail: str = ""
    """What the error says, which may tell of a hidden case: not for the student."""


def each(work: Callable[..., Found], tasks: Sequence[Task], at_once: int,
         lost: Callable[[str, str, str], Found]) -> Iterator[tuple[str, Found]]:
    """What `work` returns for each task, as it ends, and what `lost` makes of one that raised or ended its process.

    Whatever a submission brings about is its own: the others are worked on. A full disk is nobody's, and is raised.
    """
    for name, found in _all(functools.partial(_tried, work), tasks, at_once):
        yield name, lost(name, found.said, found.detail) if isinstance(found, _Lost) else found


def _tried(work: Callable[..., Found], *given: Any) -> Found | _Lost:
    """In the process that works: not every exception could be told to the one that waits."""
    try:
        return work(*given)
    except Exception as error:
        if is_the_machines(error):
            raise
        return _Lost(f"It could not be graded: {type(error).__name__}", plain(str(error)[:300]))


def _all(work: Callable[..., Found], tasks: Sequence[Task], at_once: int) -> Iterator[tuple[str, Found | _Lost]]:
    left = dict(tasks)
    try:
        for name, found in _pool(work, tasks, at_once):
            del left[name]
            yield name, found
    except BrokenProcessPool:
        # A submission has ended the process that reads it. Each that is left gets one for itself, to see which it was.
        for task in list(left.items()):
            try:
                yield from _pool(work, [task], 1)
            except BrokenProcessPool:
                yield task[0], _Lost("It ended the process that grades it")


def _pool(work: Callable[..., Found], tasks: Sequence[Task], at_once: int) -> Iterator[tuple[str, Found]]:
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of the kernels' pool
    at_once = min(at_once, 61) if sys.platform == "win32" else at_once  # it waits for no more at once
    pool = ProcessPoolExecutor(max(1, min(at_once, len(tasks))), context, _begin)
    try:
        waiting = {pool.submit(work, *given): name for name, given in tasks}
        for future in as_completed(waiting):
            yield waiting[future], future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """End this process when the one that started it has been killed: its rooms end with it.

    What it writes are copies of submissions; the user that runs them may be another, and must read them.
    """
    os.umask(0o022)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
