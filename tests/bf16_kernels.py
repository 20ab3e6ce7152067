"""The modules with bfloat16 kernels where they can run, for the tests that need them."""

from types import SimpleNamespace

import pytest

from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime.kernels import families_of


def _v4():
    """The modules of level v4 where their bfloat16 kernels can run, else None."""
    if _backend.runtime is None or not _backend.runtime.has_bf16() or "v4" not in _backend._built_levels():
        return None
    modules = families_of("v4")
    return SimpleNamespace(**modules) if modules["affine_bf16"].built() else None


V4 = _v4()


def _amx():
    """Whether the kernels for AMX can run too."""
    return V4 is not None and _backend.runtime.has_amx() and (V4.affine_bf16.use_amx(True), V4.affine_bf16.amx(),
                                                              V4.affine_bf16.use_amx(False))[1]


INSTRUCTIONS = ["avx512", "amx"] if _amx() else ["avx512"]


def where_available(test):
    """A test that exists only where the kernels can run, for each kind of instructions. Goes above every other
    decorator."""
    return pytest.mark.compiled(pytest.mark.usefixtures("bf16_instructions")(test)) if V4 else None
