"""Writing files whole."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
from collections.abc import Iterator
from typing import BinaryIO


def is_special(path: str | os.PathLike[str]) -> bool:
    """Whether it is a pipe, a device or a socket, at which who reads may wait for ever, or find no end."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], durable: bool = False) -> Iterator[BinaryIO]:
    """A file to write into, which becomes `path` when the block ends, with the mode that the umask leaves.

    Where the block raises, `path` stays as it was: nobody ever finds half a file there. What is no
    ordinary file, such as a pipe, is written to directly. `durable`: it is on the disk before `path`
    is replaced, and its name is when the block has ended, so that a crash of the machine loses neither.
    """
    path = os.path.realpath(path)  # a link stays, and what it leads to is replaced
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            yield file
        return
    folder, name = os.path.split(path)
    draft = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
    try:
        with open(draft, "xb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        if isinstance(error, OSError) and error.errno and error.filename in (None, draft):
            error.filename = path  # nobody knows the draft by its name
            if error.filename2 is not None:
                del error.filename2
        raise
    if durable and hasattr(os, "O_DIRECTORY"):  # other systems open no folder
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(held)
        finally:
            os.close(held)


def remove_drafts(path: str | os.PathLike[str]) -> None:
    """Remove what `replacing(path)` left when its process was killed. Nobody else may be writing `path`."""
    folder, name = os.path.split(os.path.realpath(path))
    for draft in glob.glob(os.path.join(glob.escape(folder), f".{glob.escape(name)}.{'[0-9a-f]' * 8}.part")):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
