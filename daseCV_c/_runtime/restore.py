"""What a setting of the process returns, so that it can be undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self


class Restore:
    """A context manager that need not be used: leaving the `with` block puts the former setting back."""

    def __init__(self, put_back: Callable[[str], None], former: str) -> None:
        self._put_back, self._former = put_back, former

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._put_back(self._former)
