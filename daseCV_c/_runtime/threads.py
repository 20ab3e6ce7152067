"""How many threads a kernel may use."""

from __future__ import annotations

import math
import operator
import os
from pathlib import Path

from daseCV_c._runtime import backend as _backend

_requested: int | None = None


def _cgroup_limit() -> int | None:
    """CPUs that the control group grants, rounded up; None where there is no quota."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text().strip()
            period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota == "max" or not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return max(1, math.ceil(int(quota) / int(period)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_limit = min(_affinity(), _cgroup_limit() or 2**31)
_runtime = _backend.runtime


def effective() -> int:
    """Threads for the next kernel: 1 in a forked child, where libgomp's threads do not exist."""
    if _runtime is None:
        return 1
    if _runtime.forked():
        return 1
    if _requested is not None:
        return _requested
    threads = _runtime.max_threads()
    # An explicit OMP_NUM_THREADS is the user's word, also above what the machine has.
    return threads if "OMP_NUM_THREADS" in os.environ else min(threads, _limit)


def get_num_threads() -> int:
    """Return the number of threads that kernels use now.

    The default follows ``OMP_NUM_THREADS``, CPU affinity, the control group's quota and
    threadpoolctl. It is 1 in a forked child and in a build without OpenMP.

    Examples
    --------
    >>> import daseCV_c
    >>> daseCV_c.get_num_threads() >= 1
    True
    """
    if _runtime is not None and _runtime.openmp_version() == 0:
        return 1
    return effective()


def _checked(function: str, n) -> int:
    try:
        if isinstance(n, bool):
            raise TypeError
        value = operator.index(n)
    except TypeError:
        raise TypeError(f"{function}: n is {n!r}, expected a positive integer") from None
    if not 1 <= value <= 1024:
        raise ValueError(f"{function}: n is {value}, expected 1 to 1024")
    return value


def set_num_threads(n: int) -> None:
    """Set the number of threads that kernels use, for the whole process.

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

    Examples
    --------
    >>> import daseCV_c
    >>> with daseCV_c.num_threads(1):
    ...     daseCV_c.get_num_threads()
    1
    """

    def __init__(self, n: int):
        self._n = _checked("num_threads", n)
        self._former: list[int | None] = []

    def __enter__(self):
        global _requested
        self._former.append(_requested)
        _requested = self._n
        return self

    def __exit__(self, *exc_info):
        global _requested
        _requested = self._former.pop()
