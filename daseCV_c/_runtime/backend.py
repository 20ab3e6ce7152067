"""Which implementation runs: the compiled kernels of one instruction-set level, or the NumPy twins."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import sys
import warnings
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from daseCV_c import _compiled
from daseCV_c._runtime.kernels import Kernels, families_of, specialised
from daseCV_c._runtime.restore import Restore

LEVELS = ("base", "v3", "v4")
BACKENDS = ("compiled", "numpy")


class LevelError(ImportError):
    """DASECV_ISA asks for what cannot be had."""


def build_command() -> str:
    """What builds the kernels of this very package: in a clone in place, elsewhere by pip."""
    root = Path(__file__).resolve().parents[2]
    if (root / "setup.py").is_file():
        command = "python setup.py build_ext --inplace"
        return command if root == Path.cwd() else f"cd {shlex.quote(str(root))} && {command}"
    try:
        # Where pip took the package from, if that was a folder or a repository and not an index.
        origin = json.loads(metadata.distribution("daseCV_c").read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:
        origin = {}
    source = origin.get("url", "daseCV_c")
    if "vcs_info" in origin:
        source = f"{origin['vcs_info']['vcs']}+{source}"
    return f"python -m pip install --force-reinstall --no-deps --no-cache-dir {shlex.quote(source)}"


def _load_runtime() -> ModuleType:
    """Import the runtime module with waiting OpenMP threads put to sleep.

    libgomp reads its variable when it is loaded, libomp at its first call, which the module makes
    while it is imported. A pool that spins while idle takes the cores away from NumPy's BLAS.
    Afterwards the environment is put back, so that nothing leaks into child processes; what the
    user has set is left alone.
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
    found = []
    for level in LEVELS:
        for root in _compiled.__path__:
            folder = os.path.join(root, level)
            if os.path.isdir(folder) and any(n.startswith("networks.") for n in os.listdir(folder)):
                found.append(level)
                break
    return found


def _choose_level(cpu_level: str, built: list[str]) -> str:
    usable = [level for level in built if LEVELS.index(level) <= LEVELS.index(cpu_level)]
    asked = os.environ.get("DASECV_ISA", "").strip()
    if asked:
        if asked not in LEVELS:
            raise LevelError(f"daseCV_c: DASECV_ISA is {asked!r}, expected one of {', '.join(LEVELS)}")
        if asked not in usable:
            raise LevelError(
                f"daseCV_c: DASECV_ISA asks for level {asked!r}, but this CPU supports up to "
                f"{cpu_level!r} and the levels built are {', '.join(built) or 'none'}"
            )
        return asked
    if not usable:
        raise ModuleNotFoundError("no kernels were built for a level that this CPU supports")
    return usable[-1]


def _load() -> tuple[Any, dict[np.dtype[Any], Kernels] | None, str | None]:
    """Return (runtime, kernels by dtype, level); all None, with one warning, where they cannot be loaded.

    All modules of a level or none: half of a build is not used.
    """
    remedy = ""
    try:
        if int(np.__version__.split(".")[0]) < 2:
            remedy = "Bring NumPy up to date with: python -m pip install 'numpy>=2'"
            raise ImportError(f"they are built for NumPy 2, and this is NumPy {np.__version__}")
        runtime = _load_runtime()
        level = _choose_level(runtime.cpu_level(), _built_levels())
        return runtime, specialised(families_of(level)), level
    except LevelError:
        raise
    except Exception as error:  # a module of another platform, NumPy or compiler may raise anything
        if sys.platform in ("emscripten", "wasi"):
            return None, None, None  # in a browser nothing can be built: there is nothing to do about it
        state = "are missing" if isinstance(error, ModuleNotFoundError) else "cannot be loaded"
        cause = f"those in {_compiled.unfit} were built from other sources" if _compiled.unfit else error
        warnings.warn(
            f"daseCV_c: the compiled kernels {state} ({cause}), so the slower NumPy twins are used. "
            f"{remedy or f'Build them with: {build_command()}'}",
            RuntimeWarning,
            stacklevel=3,
        )
        return None, None, None


runtime, _kernels, level = _load()
_active = "compiled" if _kernels is not None else "numpy"


def kernels_of(dtype: np.dtype[Any]) -> Kernels | None:
    """The compiled entries for arrays of `dtype`; None while the twins are in use, and for other dtypes."""
    return _kernels.get(dtype) if _active == "compiled" and _kernels is not None else None


def _use(name: str) -> None:
    global _active
    _active = name


def use_backend(name: str) -> Restore:
    """Choose the implementation for the whole process: ``'compiled'`` or ``'numpy'``.

    Works as a call, which stays in force, and as a context manager, which puts the former
    choice back.

    Parameters
    ----------
    name : {'compiled', 'numpy'}

    Returns
    -------
    restore : context manager
        Leaving it puts the former choice back.

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
    if name not in BACKENDS:
        raise ValueError(f"use_backend: name is {name!r}, expected one of {', '.join(map(repr, BACKENDS))}")
    if name == "compiled" and _kernels is None:
        raise RuntimeError(f"use_backend: the compiled kernels are not built; run: {build_command()}")
    former = _active
    _use(name)
    return Restore(_use, former)


def get_backend() -> str:
    """Return ``'compiled'`` or ``'numpy'``: the implementation that the layers call now.

    Returns
    -------
    name : {'compiled', 'numpy'}

    Examples
    --------
    >>> import daseCV_c
    >>> daseCV_c.get_backend() in ('compiled', 'numpy')
    True
    """
    return _active
