"""How many threads a kernel may use."""

from __future__ import annotations

import operator
from typing import Self, SupportsIndex

import numpy as np

from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import quota as _quota

_requested: int | None = None
_runtime = _backend.runtime
if _runtime is not None:
    _runtime.watch_quota(_quota.granted)


def effective() -> int:
    """Threads for the next kernel. Each small call asks, so a change of affinity may be seen milliseconds later."""
    return 1 if _runtime is None else _runtime.threads_for(_requested)


def get_num_threads() -> int:
    """Return the number of threads that kernels use now.

    The default follows ``OMP_NUM_THREADS`` and threadpoolctl, and is never more than the processors that
    CPU affinity and the control group's quota grant. Kernels follow a change of affinity within milliseconds and
    one of the quota within a second. It is 1 in a forked child and in a build without OpenMP.

    Returns
    -------
    n : int

    Examples
    --------
    >>> import daseCV_c
    >>> daseCV_c.get_num_threads() >= 1
    True
    """
    return 1 if _runtime is None else _runtime.threads_for(_requested, True)


def _checked(function: str, n: SupportsIndex) -> int:
    try:
        if isinstance(n, (bool, np.bool_)):
            raise TypeError
        value = operator.index(n)
    except TypeError:
        raise TypeError(f"{function}: n is {n!r}, expected a positive integer") from None
    if not 1 <= value <= 1024:
        raise ValueError(f"{function}: n is {value}, expected 1 to 1024")
    return value


def set_num_threads(n: int) -> None:
    """Set the number of threads that kernels use, for the whole process, also above the number of processors.

    Results do not depend on it: every thread count gives the same bits.

    Parameters
    ----------
    n : int
        1 to 1024. A forked child uses 1 whatever is set.

    Raises
    ------
    TypeError, ValueError
        `n` is not an integer, or out of range.

    Examples
    --------
    >>> import daseCV_c
    >>> with daseCV_c.num_threads(1):
    ...     daseCV_c.get_num_threads()
    1
    """
    global _requested
    _requested = _checked("set_num_threads", n)


class num_threads:
    """Context manager: `n` threads inside the block, the former setting after it.

    Parameters
    ----------
    n : int
        1 to 1024, as of `set_num_threads`, for the whole process.

    Raises
    ------
    TypeError, ValueError
        `n` is not an integer, or out of range.

    Examples
    --------
    >>> import daseCV_c
    >>> with daseCV_c.num_threads(1):
    ...     daseCV_c.get_num_threads()
    1
    """

    def __init__(self, n: int) -> None:
        self._n = _checked("num_threads", n)
        self._former: list[int | None] = []

    def __enter__(self) -> Self:
        global _requested
        self._former.append(_requested)
        _requested = self._n
        return self

    def __exit__(self, *exc_info: object) -> None:
        global _requested
        _requested = self._former.pop()
