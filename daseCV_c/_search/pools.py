"""Where trials run: what the process that leads knows of it."""

from __future__ import annotations

import os
from typing import NamedTuple, Protocol

from daseCV_c._runtime import quota
from daseCV_c._search.ledger import Claim
from daseCV_c._search.trial import Outcome


class Lost(NamedTuple):
    """The process that ran a trial has died."""

    why: str


class Pool(Protocol):
    """Processes that train, one thread each."""

    def size(self) -> int:
        """How many trials run at a time."""

    def submit(self, claim: Claim) -> None:
        """Run it, as soon as a process is free."""

    def finished(self, seconds: float) -> list[tuple[Claim, Outcome | Lost]]:
        """What has ended; waits for it so long at most."""

    def close(self) -> None:
        """End what is running."""


def processors() -> int:
    """How many this process may use, by its affinity and its control group's quota."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, quota.granted() or usable)
