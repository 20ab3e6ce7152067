"""Where trials are kept: a journal file, SQLite or PostgreSQL, each opened by Optuna."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import IO, Any

from daseCV_c._files import is_special
from daseCV_c._search.locks import FileLocks, Locks, PostgresLocks, take

KINDS = "a file name, sqlite:///FILE or postgresql://USER@HOST/DATABASE"
_TRIES, _PAUSE = 50, 0.1  # of making the tables, and seconds between two of them
_MADE = {"42P07", "42710", "23505"}  # how PostgreSQL says that a table, a type or a row is there


def opened(name: str, study: str) -> tuple[Any, Locks]:
    """Optuna's storage of this name, and the locks of those who work on it."""
    kind, separator, rest = name.partition("://")
    if not separator:
        path = _file(name)
        return _journal(path), FileLocks(path)
    dialect = kind.partition("+")[0]
    if dialect == "sqlite" and rest.startswith("/") and len(rest) > 1:
        path = _file(rest[1:].partition("?")[0])
        # Who finds it locked waits: a minute is longer than any of its transactions.
        return _tables(name, FileLocks(path), connect_args={"timeout": 60})
    if dialect == "postgresql":
        return _tables(name, PostgresLocks(name, study), pool_pre_ping=True)
    raise ValueError(f"storage is {name!r}, expected {KINDS}")


def _file(name: str) -> str:
    """The file, in a folder that is there."""
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"storage is {name!r}: " + (
            "that is a folder" if path.is_dir() else f"there is no folder {path.parent}"))
    return os.path.realpath(path)


def _tables(url: str, locks: Locks, **options: Any) -> tuple[Any, Locks]:
    try:
        with locks.exclusive():  # two that make the tables at the same time disturb each other
            return _made(url, options), locks
    except BaseException:
        locks.close()
        raise


def _made(url: str, options: dict[str, Any]) -> Any:
    """Optuna's storage, with its tables.

    Another program of Optuna, such as its dashboard, knows nothing of our locks. If it makes a table between Optuna's
    look for it and Optuna's own making of it, that fails, and the next try finds the table.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import DBAPIError
    for left in reversed(range(_TRIES)):
        try:
            return RDBStorage(url, engine_kwargs=options)
        except DBAPIError as error:
            if not left or not _was_made(error):
                raise
        time.sleep(_PAUSE)
    raise AssertionError("the last try ends the loop")


def _was_made(error: Any) -> bool:
    """True if something could not be made because it was there."""
    if type(error.orig).__module__ == "sqlite3":
        text = str(error.orig)
        return text.endswith("already exists") or text.startswith("UNIQUE constraint failed: ")
    return getattr(error.orig, "sqlstate", getattr(error.orig, "pgcode", None)) in _MADE  # psycopg's, psycopg2's


def _journal(path: str) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

    if is_special(path):
        raise ValueError(f"storage is {path!r}: that is no ordinary file, expected a journal of Optuna")
    if os.path.exists(path) and os.path.getsize(path):
        with open(path, "rb") as file:
            if file.read(1) != b"{":
                raise ValueError(f"storage is {path!r}: that file is no journal of Optuna")
    backend: BaseJournalBackend = JournalFileBackend(path, lock_obj=_JournalLock(path))
    return JournalStorage(backend)


class _JournalLock:
    """The lock under which Optuna appends to a journal.

    Optuna's own are files, which a process that is killed leaves behind; then all others wait for half a minute. This
    one is the system's, on the journal itself. A line that such a process has written in part is taken away, or the
    next one would be appended to it, and the journal could not be read any more.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        self._file = take(self._path, wait=True)
        assert self._file is not None, "it waited"
        _cut(self._file)
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _cut(file: IO[bytes], chunk: int = 4096) -> None:
    """Cut off what follows the last end of a line."""
    size = end = file.seek(0, os.SEEK_END)
    while end:
        start = max(end - chunk, 0)
        file.seek(start)
        place = file.read(end - start).rfind(b"\n")
        if place >= 0:
            end = start + place + 1
            break
        end = start
    if end < size:
        file.truncate(end)
