"""`show_config`: what was built, what this machine offers, what is in use."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import precision as _precision
from daseCV_c._runtime import threads as _threads
from daseCV_c._version import __version__


def show_config(mode: str = "print") -> dict[str, Any] | None:
    """Print, or return, how the package was built and what it uses now.

    Parameters
    ----------
    mode : {'print', 'dict'}
        ``'dict'`` returns the facts instead of printing them.

    Returns
    -------
    facts : dict or None
        None where they are printed.

    Raises
    ------
    ValueError
        Unknown mode.

    Examples
    --------
    >>> import daseCV_c
    >>> daseCV_c.show_config('dict')['backend'] in ('compiled', 'numpy')
    True
    """
    if mode not in ("print", "dict"):
        raise ValueError(f"show_config: mode is {mode!r}, expected 'print' or 'dict'")
    runtime = _backend.runtime
    facts = {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "backend": _backend.get_backend(),
        "levels built": _backend._built_levels(),
        "level in use": _backend.level,
        "level of this CPU": runtime.cpu_level() if runtime else None,
        "openmp": (runtime.openmp_version() or None) if runtime else None,
        "threads": _threads.get_num_threads(),
        "matmul precision": _precision.get_matmul_precision(),
        "bfloat16 products": _precision.availability(),
    }
    if mode == "dict":
        return facts
    for name, value in facts.items():
        if isinstance(value, list):
            value = ", ".join(value) or "none"
        print(f"{name + ':':<19}{'none' if value is None else value}")
    return None
