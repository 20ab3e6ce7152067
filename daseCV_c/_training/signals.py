"""Ctrl-C and SIGTERM while a training runs: the first asks it to end, a second ends it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# What Python or the system does where nobody has said otherwise.
_USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Asked:
    """`signal` is the number of the first signal, or 0."""

    signal = 0


@contextlib.contextmanager
def deferred() -> Iterator[Asked]:
    """In this block the first SIGINT or SIGTERM is only noted; the next one does what it does elsewhere.

    Handlers are the main thread's to set, and those that somebody has put there stay: then, and in
    other threads, nothing is changed. Afterwards the handlers are as before.
    """
    asked, former = Asked(), {}

    def note(number: int, frame: FrameType | None) -> None:
        if not asked.signal:
            asked.signal = number
            return
        if number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    if threading.current_thread() is threading.main_thread():
        for number, usual in _USUAL.items():
            if signal.getsignal(number) is usual:
                former[number] = usual
    try:
        for number in former:
            signal.signal(number, note)
        yield asked
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def stopped(number: int, message: str) -> BaseException:
    """What train() raises after a signal: it ends a program as the signal would, but lets it clean up."""
    if number == signal.SIGINT:
        return KeyboardInterrupt(message)
    error = SystemExit(128 + number)
    error.add_note(message)
    return error
