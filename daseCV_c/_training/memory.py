"""How much memory the process has."""

from __future__ import annotations

import math
import sys


def _status(name: str) -> float:
    """A line of Linux's account of the process, in bytes."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(name + ":"):
                    return float(line.split()[1]) * 1024
    except OSError:
        pass  # no Linux
    return math.nan


def resident() -> float:
    """Bytes in memory now; NaN where the system does not say."""
    return _status("VmRSS")


def peak() -> float:
    """The most bytes in memory so far; NaN where the system does not say."""
    found = _status("VmHWM")
    if math.isnan(found):
        try:
            import resource
        except ImportError:  # Windows
            return math.nan
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = float(most) if sys.platform == "darwin" else 1024.0 * most
    return found
