"""The daseCV / CS231n layers, losses, optimizers, networks and Solver as compiled kernels.

Modules carry the course's names: `layers`, `layer_utils`, `optim`, `classifiers`, `solver`,
`gradient_check`, `data_utils`, `vis_utils`; `submission` writes the leaderboard's files and
`datasets` holds images that need no download. Every function also exists as a NumPy twin in
`reference`. `search` is a function, which is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daseCV_c import _first_interpreter, _shadowed  # noqa: F401
from daseCV_c._course.names import alias
from daseCV_c._course.names import install as _install
from daseCV_c._coursework.using import use
from daseCV_c._runtime.backend import get_backend, use_backend
from daseCV_c._runtime.config import show_config
from daseCV_c._runtime.precision import get_matmul_precision, set_matmul_precision
from daseCV_c._runtime.threads import get_num_threads, num_threads, set_num_threads
from daseCV_c._version import __version__

if TYPE_CHECKING:
    from daseCV_c._search.api import search

__all__ = [
    "__version__",
    "alias",
    "get_backend",
    "get_matmul_precision",
    "get_num_threads",
    "num_threads",
    "search",
    "set_matmul_precision",
    "set_num_threads",
    "show_config",
    "use",
    "use_backend",
]

_install("daseCV")


def load_ipython_extension(ipython: object) -> None:
    """``%load_ext daseCV_c``: print what is in use, and let notebooks of every year find the course's modules."""
    from daseCV_c._course import extension
    extension.load(ipython)


def __getattr__(name: str) -> Any:
    if name == "search":
        from daseCV_c._search.api import search
        return search
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
