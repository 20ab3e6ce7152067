"""Standard output and error of a command: closed, full, or unable to show a letter."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from daseCV_c.cli.errors import CommandError, reason


class OutputError(CommandError):
    """Standard output takes no more. No OSError: it is none of the files that a command writes."""


class _Out:
    """Standard output, whose errors are told from those of files."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> Any:
        return self._tried(self._stream.write, text)

    def flush(self) -> None:
        self._tried(self._stream.flush)

    def _tried(self, do: Callable[..., Any], *given: str) -> Any:
        try:
            return do(*given)
        except BrokenPipeError:  # whoever read it has left, which is no fault
            raise
        except OSError as error:
            raise OutputError(f"standard output cannot be written: {reason(error)}") from error


class _Err(_Out):
    """Standard error. What it does not take can be told to nobody, and ends nothing."""

    def _tried(self, do: Callable[..., Any], *given: str) -> Any:
        try:
            return do(*given)
        except OSError:
            drop(self._stream)


def drop(stream: Any) -> None:
    """What `stream` still holds goes nowhere: Python would complain again when it flushes it at exit."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@contextlib.contextmanager
def opened() -> Iterator[None]:
    """Standard streams that can be written and closed ones that nobody reads, in the place of the process's own.

    What the terminal cannot show is printed as \\u4f5c, and ends no training.
    """
    before = sys.stdin, sys.stdout, sys.stderr
    letters = [(stream, stream.errors) for stream in before[1:] if isinstance(stream, io.TextIOWrapper)]
    with contextlib.ExitStack() as stack:
        # In this order: a file that is opened gets the number of the stream that is closed.
        sys.stdin, out, err = (stack.enter_context(open(os.devnull, mode)) if stream is None else stream
                               for stream, mode in zip(before, "rww", strict=True))
        sys.stdout, sys.stderr = _Out(out), _Err(err)
        try:
            for stream, _ in letters:
                stream.reconfigure(errors="backslashreplace")
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = before
            for stream, errors in letters:
                with contextlib.suppress(ValueError):  # closed
                    stream.reconfigure(errors=errors)
