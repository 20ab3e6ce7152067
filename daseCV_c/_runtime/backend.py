"""Which implementation runs: the compiled kernels of one instruction-set level, or the NumPy twins."""

from __future__ import annotations

import importlib
import os
import warnings
from types import SimpleNamespace

LEVELS = ("base", "v3", "v4")
FAMILIES = (
    "affine", "affine_bf16", "activation", "normalization", "dropout", "losses", "optim", "batch", "step",
    "im2col", "pool", "spatial", "conv",
)
BACKENDS = ("compiled", "numpy")
BUILD_COMMAND = "python setup.py build_ext --inplace"


def _load_runtime():
    """Import the runtime module with waiting OpenMP threads put to sleep.

    libgomp and libomp read these variables once, when they are loaded. A pool that spins
    while idle takes the cores away from NumPy's BLAS. Afterwards the environment is put back,
    so that nothing leaks into child processes; what the user has set is left alone.
    """
    quiet = {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
    if any(name in os.environ for name in (*quiet, "OMP_WAIT_POLICY")):
        return importlib.import_module("daseCV_c._compiled.runtime")
    os.environ.update(quiet)
    try:
        return importlib.import_module("daseCV_c._compiled.runtime")
    finally:
        for name in quiet:
            del os.environ[name]


def _built_levels() -> list[str]:
    """Levels that have a folder with modules, lowest first."""
    from daseCV_c import _compiled

    found = []
    for level in LEVELS:
        for root in _compiled.__path__:
            folder = os.path.join(root, level)
            if os.path.isdir(folder) and any(n.startswith("affine.") for n in os.listdir(folder)):
                found.append(level)
                break
    return found


def _choose_level(cpu_level: str, built: list[str]) -> str:
    usable = [level for level in built if LEVELS.index(level) <= LEVELS.index(cpu_level)]
    asked = os.environ.get("DASECV_ISA", "").strip()
    if asked:
        if asked not in LEVELS:
            raise ImportError(f"daseCV_c: DASECV_ISA is {asked!r}, expected one of {', '.join(LEVELS)}")
        if asked not in usable:
            raise ImportError(
                f"daseCV_c: DASECV_ISA asks for level {asked!r}, but this CPU supports up to "
                f"{cpu_level!r} and the levels built are {', '.join(built) or 'none'}"
            )
        return asked
    if not usable:
        raise ModuleNotFoundError("no kernels were built for a level that this CPU supports")
    return usable[-1]


def _load():
    """Return (runtime, kernels, level); all None when no extension is built."""
    try:
        runtime = _load_runtime()
        level = _choose_level(runtime.cpu_level(), _built_levels())
        modules = {name: importlib.import_module(f"daseCV_c._compiled.{level}.{name}") for name in FAMILIES}
    except ModuleNotFoundError as error:
        warnings.warn(
            f"daseCV_c: the compiled kernels are missing ({error}), so the slower NumPy twins are used. "
            f"Build them with: {BUILD_COMMAND}",
            RuntimeWarning,
            stacklevel=3,
        )
        return None, None, None
    return runtime, SimpleNamespace(**modules), level


runtime, _kernels, level = _load()
_active = "compiled" if _kernels is not None else "numpy"


def kernels():
    """The compiled modules, or None while the twins are in use."""
    return _kernels if _active == "compiled" else None


class _Restore:
    """Returned by `use_backend`: leaving the `with` block puts the former backend back."""

    def __init__(self, former: str):
        self._former = former

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        global _active
        _active = self._former


def use_backend(name: str) -> _Restore:
    """Choose the implementation for the whole process: ``'compiled'`` or ``'numpy'``.

    Works as a call, which stays in force, and as a context manager, which puts the former
    choice back.

    Parameters
    ----------
    name : {'compiled', 'numpy'}

    Raises
    ------
    ValueError
        Unknown name.
    RuntimeError
        ``'compiled'`` was asked for but the extension is not built.

    Examples
    --------
    >>> import daseCV_c
    >>> with daseCV_c.use_backend('numpy'):
    ...     daseCV_c.get_backend()
    'numpy'
    """
    global _active
    if name not in BACKENDS:
        raise ValueError(f"use_backend: name is {name!r}, expected one of {', '.join(map(repr, BACKENDS))}")
    if name == "compiled" and _kernels is None:
        raise RuntimeError(f"use_backend: the compiled kernels are not built; run: {BUILD_COMMAND}")
    former, _active = _active, name
    return _Restore(former)


def get_backend() -> str:
    """Return ``'compiled'`` or ``'numpy'``: the implementation that the layers call now.

    Examples
    --------
    >>> import daseCV_c
    >>> daseCV_c.get_backend() in ('compiled', 'numpy')
    True
    """
    return _active
