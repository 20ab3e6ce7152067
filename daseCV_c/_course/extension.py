"""``%load_ext daseCV_c``."""

from __future__ import annotations

from typing import Any

from daseCV_c._course import names
from daseCV_c._coursework import magic
from daseCV_c._runtime.config import show_config


def load(ipython: object) -> None:
    """Print what is in use, make `daseCV` and, where no folder is called so, `cs231n` import names; `%dasecv_check`."""
    magic.register(ipython)
    facts: dict[str, Any] = show_config("dict") or {}
    if facts["backend"] == "compiled":
        kernels = f"kernels of level {facts['level in use']}"
    else:
        kernels = "the NumPy twins" + ("" if facts["level in use"] else ": no kernels are built")
    print(f"daseCV_c {facts['version']}: {kernels}, {facts['threads']} threads")
    for name in ("daseCV", "cs231n"):
        beside = names.folders_beside(name)
        if name == "daseCV" or not beside:
            names.alias(name)
        else:
            print(f"{name}: {names.describe(name)}; daseCV_c.alias({name!r}) adds what they lack")
