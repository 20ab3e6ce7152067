"""How exactly float32 matrix products are computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime.kernels import Affine, AffineBf16, Kernels
from daseCV_c._runtime.restore import Restore

PRECISIONS = ("highest", "bfloat16")

_SINGLE = np.dtype(np.float32)

_active = "highest"


def _built() -> AffineBf16 | None:
    """The entries that multiply in bfloat16, of the backend and level in use; None where there are none."""
    kernels = _backend.kernels_of(_SINGLE)
    entries = None if kernels is None else kernels.affine_bf16
    return entries if entries is not None and entries.built() else None


def _obstacle() -> str | None:
    """Why bfloat16 products cannot be had now; None when they can."""
    if _backend.runtime is None:
        return f"the compiled kernels are not built; run: {_backend.build_command()}"
    if _backend.kernels_of(_SINGLE) is None:
        return "the backend is 'numpy'"
    if not _backend.runtime.has_bf16():
        return "this CPU has no AVX512_BF16 instructions"
    if _built() is None:
        if _backend.level != "v4":
            return f"the instruction-set level in use is {_backend.level!r}, and only 'v4' has them"
        return "the compiler that built the kernels has no AVX512_BF16"
    return None


def availability() -> str:
    """For `show_config`: the obstacle, or with which instructions. AMX is asked for when bfloat16 is chosen."""
    return _obstacle() or ("available, by AMX" if of_step(np.float32) == 2 else "available")


def _in_use(dtype: DTypeLike) -> AffineBf16 | None:
    """The entries that compute products of `dtype` in bfloat16 now: float32 alone, where that is chosen."""
    return None if _active == "highest" or dtype != np.float32 else _built()


def reduced(dtype: DTypeLike) -> bool:
    """Whether products of `dtype` are computed in bfloat16 now."""
    return _in_use(dtype) is not None


def of_step(dtype: DTypeLike) -> int:
    """How the training step computes products of `dtype`: 0 as they are, 1 in bfloat16, 2 in bfloat16 by AMX."""
    entries = _in_use(dtype)
    return 0 if entries is None else 2 if entries.amx() else 1


def affine_kernels(kernels: Kernels, dtype: DTypeLike) -> Affine:
    """The entries of the affine layer for arrays of `dtype`."""
    return _in_use(dtype) or kernels.affine


def _use(precision: str) -> None:
    global _active
    _active = precision


def set_matmul_precision(precision: str) -> Restore:
    """Choose how exactly the affine layers multiply float32 matrices, for the whole process.

    Works as a call, which stays in force, and as a context manager, which puts the former
    choice back. ``'highest'``, the default, computes in float32. ``'bfloat16'`` rounds the two
    factors of each product, forward and backward, to bfloat16 and adds up in float32::

        out = r(x) @ r(w) + b     dx = r(dout) @ r(w).T     dw = r(x).T @ r(dout)     db = dout.sum(0)

    The training step of the fully-connected networks computes every product of theirs so, the class
    scores among them; narrow layers gain little. r keeps 8 significant bits of the 24 (a relative
    error of at most 2**-8) and the whole range of exponents. Parameters, biases, sums, results and
    every other layer stay float32.

    float64 is never affected, and neither are the NumPy twins, should the backend change later.
    NaN and infinities pass through; a number beyond the largest bfloat16 (3.39e38) becomes
    infinite, and denormals count as zero. Results do not depend on the number of threads.

    CPUs with AMX multiply by it on Linux: several times as fast as AVX512_BF16. It adds up in
    another order, so the last bits differ from those of a CPU without. The choice asks the operating
    system for the registers, for the whole process.

    Parameters
    ----------
    precision : {'highest', 'bfloat16'}

    Returns
    -------
    context manager
        Need not be used.

    Raises
    ------
    ValueError
        Unknown name.
    RuntimeError
        ``'bfloat16'`` is not available: the CPU has no AVX512_BF16, a level below v4 is in use,
        the kernels were built without it or not at all, or the backend is 'numpy'.

    References
    ----------
    Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019,
    https://arxiv.org/abs/1905.12322

    Examples
    --------
    >>> import daseCV_c
    >>> with daseCV_c.set_matmul_precision('highest'):
    ...     daseCV_c.get_matmul_precision()
    'highest'
    """
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise ValueError(f"set_matmul_precision: precision is {precision!r}, "
                         f"expected one of {', '.join(map(repr, PRECISIONS))}")
    obstacle = _obstacle() if precision == "bfloat16" else None
    if obstacle:
        raise RuntimeError(f"set_matmul_precision: 'bfloat16' is not available: {obstacle}")
    former, entries = _active, _built()
    if precision == "bfloat16" and entries is not None:
        entries.use_amx(_backend.runtime.has_amx())
    _use(precision)
    return Restore(_use, former)


def get_matmul_precision() -> str:
    """Return ``'highest'`` or ``'bfloat16'``: how float32 matrix products are computed now.

    Returns
    -------
    precision : {'highest', 'bfloat16'}

    Examples
    --------
    >>> import daseCV_c
    >>> daseCV_c.get_matmul_precision() in ('highest', 'bfloat16')
    True
    """
    return _active
