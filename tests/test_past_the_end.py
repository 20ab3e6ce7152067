"""No entry of the kernels reads or writes beyond its arrays: behind the last number of each lies a page that nobody may
touch."""

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.compiled

PROGRAM = """
import ctypes, faulthandler, functools, itertools, mmap, sys
from types import SimpleNamespace
import numpy as np
sys.path.insert(0, TESTS)
from adversarial import frozen, normal
from bf16_kernels import INSTRUCTIONS, V4
from entries import ENTRIES, Call, make_call
from daseCV_c._runtime import backend
from daseCV_c._runtime.kernels import families_of

faulthandler.enable()
kernels = SimpleNamespace(**families_of(backend.level))
if V4:
    kernels.affine_bf16 = V4.affine_bf16
libc = ctypes.CDLL(None, use_errno=True)


def moved(value):
    if isinstance(value, (list, tuple)):
        return type(value)(map(moved, value))
    if not isinstance(value, np.ndarray) or value.size == 0:
        return value
    size = -(-value.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    held = mmap.mmap(-1, size + mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(held))
    assert libc.mprotect(ctypes.c_void_p(start + size), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    array = np.frombuffer(held, np.uint8, value.nbytes, size - value.nbytes).view(value.dtype).reshape(value.shape)
    array[...] = value
    return array


def pooled(name, dtype, n, d, m, side, step):
    "Square windows: those of two pixels, two apart, have code of their own."
    out = n, 1, d // 2 + 1, m
    x = n, 1, *(step * (length - 1) + side for length in out[2:])
    place = np.full(out, 1, np.uint8)
    if name == "max_pool_forward":
        args = [normal(name, *x, dtype=dtype), np.zeros(out, dtype), place, side, side, step]
        return Call("pool", name, args, (1, 2))
    return Call("pool", name, [normal(name, *out, dtype=dtype), place, np.zeros(x, dtype), side, side, step], (2,))


def rounded(name, sizes, *trans):
    call = make_call(f"affine.{name}", np.float32, *sizes)
    call.family = "affine_bf16"
    if trans:
        a, b = (np.ascontiguousarray(x.T) if turned else x for x, turned in zip(call.args, trans))
        call.args = [a, b, call.args[2], *trans]
    return call


def rounded_step(by, sizes):
    call = make_call("step.train_step", np.float32, *sizes)
    call.family = "rounded_step"
    kernels.rounded_step = SimpleNamespace(train_step=functools.partial(V4.step.train_step, bf16=by))
    return call


def calls(dtype, sizes):
    for by, kind in enumerate(INSTRUCTIONS, 1) if V4 and dtype == np.float32 else ():
        V4.affine_bf16.use_amx(kind == "amx")
        for name in ("affine_forward", "affine_backward_dx", "affine_backward_dw"):
            yield f"{name} by {kind}", lambda: rounded(name, sizes)
        for trans in itertools.product((False, True), repeat=2):
            yield f"matmul {trans} by {kind}", lambda: rounded("matmul", sizes, *trans)
        yield f"train_step by {kind}", lambda: rounded_step(by, sizes)
    for entry in ENTRIES:
        yield entry, lambda: make_call(entry, dtype, *sizes)
    for name in ("max_pool_forward", "max_pool_backward"):
        for side, step in ((2, 1), (2, 2), (3, 2), (3, 3)):
            yield f"{name} {side} {step}", lambda: pooled(name, dtype, *sizes, side, step)


for dtype in (np.float32, np.float64):
    for sizes in ((6, 5, 4), (1, 1, 1), (3, 9, 2), (13, 33, 17), (3, 70, 10), (40, 9, 31)):
        for label, made in calls(dtype, sizes):
            print(label, dtype.__name__, sizes, flush=True)
            expected, call = made(), made()
            call.args = moved(call.args)
            expected(kernels, 1)
            call(kernels, 1)
            assert frozen(call.results()) == frozen(expected.results())
"""


if sys.platform == "linux":  # mprotect is called by hand
    def test_nothing_lies_behind_an_array(script):
        script(f"TESTS = {str(Path(__file__).parent)!r}\n{PROGRAM}")
