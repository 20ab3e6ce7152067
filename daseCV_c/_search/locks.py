"""Who is at work on a storage: locks that the system, or the database, takes from a process that has died.

Each process that leads a search holds a lock of its own as long as it lives. So others know at once that the trials of
a killed one are nobody's any more; no clock is asked. One lock more is held while a trial is claimed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from daseCV_c.cli import lock

_PAUSE = 0.005  # seconds between two tries


class Locks(Protocol):
    """`owner` names this process among those that work on the storage."""

    owner: str

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """One process at a time is in this block."""

    def alive(self, owner: str) -> bool:
        """True while the process that has this name runs."""

    def close(self) -> None:
        """This process does not lead any more."""


def new_owner() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def take(path: str | os.PathLike[str], wait: bool) -> IO[bytes] | None:
    """The file, made if need be, open and locked; None where another process has the lock and nobody is to wait."""
    file = open(path, "a+b", buffering=0)
    try:
        while True:
            try:
                lock.take(file)
                return file
            except OSError as error:
                if error.errno not in lock.HELD:
                    raise
            if not wait:
                file.close()
                return None
            time.sleep(_PAUSE)
    except BaseException:
        file.close()
        raise


class FileLocks:
    """Locks on files beside the one that holds the trials."""

    def __init__(self, path: str) -> None:
        self._path, self.owner = path, new_owner()
        held = take(self._file_of(self.owner), wait=True)
        assert held is not None, "it waited"
        self._held = held

    def _file_of(self, owner: str) -> Path:
        return Path(f"{self._path}.{owner}.alive")

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        file = take(f"{self._path}.claim", wait=True)
        assert file is not None, "it waited"
        with file:
            yield

    def alive(self, owner: str) -> bool:
        path = self._file_of(owner)
        if owner == self.owner:
            return True
        if not path.exists():
            return False
        file = take(path, wait=False)
        if file is None:
            return True
        file.close()
        path.unlink(missing_ok=True)
        return False

    def close(self) -> None:
        self._held.close()
        self._file_of(self.owner).unlink(missing_ok=True)


class PostgresLocks:
    """Advisory locks of PostgreSQL: a server's session has them, and it ends with the process that opened it."""

    def __init__(self, url: str, name: str) -> None:
        import sqlalchemy
        self._text = sqlalchemy.text
        self.owner, self._study = new_owner(), _number(name)
        self._engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
        self._session = self._engine.connect()
        self._ask("pg_advisory_lock", _number(self.owner))

    def _ask(self, function: str, key: int) -> Any:
        statement = self._text(f"SELECT {function}(:study, :key)")
        return self._session.execute(statement, {"study": self._study, "key": key}).scalar()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        self._ask("pg_advisory_lock", 0)
        try:
            yield
        finally:
            self._ask("pg_advisory_unlock", 0)

    def alive(self, owner: str) -> bool:
        if owner == self.owner:
            return True
        taken = self._ask("pg_try_advisory_lock", _number(owner))
        if taken:
            self._ask("pg_advisory_unlock", _number(owner))
        return not taken

    def close(self) -> None:
        self._session.close()
        self._engine.dispose()


def _number(text: str) -> int:
    """A key of 32 bits with a sign, never 0, which is the key of `exclusive`."""
    return (zlib.crc32(text.encode("utf-8")) - 2**31) or 1
