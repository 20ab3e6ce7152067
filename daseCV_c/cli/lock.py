"""One process at a time in the folder of a run.

The system holds the lock, not the file: a process that is killed leaves none behind.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from daseCV_c.cli.errors import CommandError, reason

NAME = ".lock"
HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_LARGEST = 4096  # bytes read of what a holder wrote

if sys.platform == "win32":
    import msvcrt

    def take(file: IO[bytes]) -> None:
        # Far behind the text, which the others must be able to read.
        file.seek(1 << 30)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        finally:
            file.seek(0)
else:
    try:
        import fcntl
    except ModuleNotFoundError:  # in a browser, where there is no second process either
        def take(file: IO[bytes]) -> None:
            pass
    else:
        def take(file: IO[bytes]) -> None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder is this process's alone in the block; CommandError says who else has it."""
    path = folder / NAME
    with contextlib.ExitStack() as stack:
        file = _take(path, stack)
        with contextlib.suppress(OSError):  # a full disk: the lock holds, its holder is nameless
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(),
                                   "since": datetime.datetime.now().isoformat(" ", "seconds")}).encode("ascii"))
        try:
            yield
        finally:
            if sys.platform == "win32":
                file.close()  # an open file cannot be removed there; whoever comes in between keeps it
            with contextlib.suppress(OSError):
                path.unlink()


def _take(path: Path, stack: contextlib.ExitStack) -> IO[bytes]:
    """The lock file, open and locked."""
    while True:
        try:
            # Not through a link: the folder may be a stranger's, and what the lock is written into is emptied.
            here = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
            number = os.open(path, os.O_RDWR | os.O_CREAT | here, 0o666)
        except OSError as error:
            raise CommandError(f"{path.parent} cannot be written: {reason(error)}") from error
        file: IO[bytes] = stack.enter_context(os.fdopen(number, "r+b", buffering=0))
        try:
            take(file)
        except OSError as error:
            if error.errno in HELD:
                raise CommandError(f"{path.parent} is in use: {_holder(file)}") from error
            print(f"dasecv: warning: {path.parent} cannot be locked ({reason(error)}): "
                  "see that no other process works in it", file=sys.stderr)
            return file
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        # Whoever held it has removed it in the meantime: the name leads to another file, or to none.
        file.close()


def _holder(file: IO[bytes]) -> str:
    """Who holds the lock, in words; a moment after it was taken nothing stands there yet."""
    try:
        found = json.loads(file.read(_LARGEST))
        return f"process {int(found['pid'])} on {found['host']} works in it since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process works in it"
