"""The pool of workers and the kept scratch memory: one of each in a process, and neither changes the process."""

import os
import sys

import pytest
from scarce import library_of

from daseCV_c._runtime import backend as _backend

pytestmark = pytest.mark.compiled

# Products of two families, each large enough to be shared out.
PRODUCTS = """
import ctypes, os, struct, sys, threading
import numpy as np
import daseCV_c
from daseCV_c import fast_layers, layers

x, w, b = np.ones((500, 1000), np.float32), np.ones((1000, 600), np.float32), np.zeros(600, np.float32)
images, filters = np.ones((8, 3, 32, 32), np.float32), np.ones((32, 3, 3, 3), np.float32)


def products():
    assert layers.affine_forward(x, w, b)[0][0, 0] == 1000
    out, cache = fast_layers.conv_forward_fast(images, filters, b[:32], {"stride": 1, "pad": 1})
    fast_layers.conv_backward_fast(out, cache)


"""

SAME_THREADS = PRODUCTS + """
import subprocess, time


def scheduling():
    found = set()
    for task in map(int, os.listdir("/proc/self/task")):
        try:
            found.add((*os.sched_getaffinity(task), os.sched_getscheduler(task), os.getpriority(os.PRIO_PROCESS, task)))
        except ProcessLookupError:
            assert task != os.getpid()  # a thread that has ended since, such as one of this program's own
    return found


daseCV_c.set_num_threads(2)
before = scheduling()
# Others hold the processors, as the threads of a BLAS do for a while after a product.
holders = [subprocess.Popen([sys.executable, "-c", "print(flush=True)\\nwhile True: pass"], stdout=subprocess.PIPE)
           for _ in range(os.cpu_count())]
try:
    assert all(holder.stdout.readline() for holder in holders)
    until, rounds = time.monotonic() + 1, 0
    while rounds < 5 or time.monotonic() < until:
        rounds += 1
        caller = threading.Thread(target=lambda: [products() for _ in range(3)])
        caller.start()
        caller.join()
        assert scheduling() == before, (scheduling(), before)
finally:
    for holder in holders:
        holder.kill()
"""

# What systemd's SystemCallFilter=~@resources does: a forbidden call ends the process.
FORBIDDEN = PRODUCTS + """
def forbid(numbers):
    def instruction(code, if_so, if_not, value):
        return struct.pack("HBBI", code, if_so, if_not, value)

    program = instruction(0x20, 0, 0, 0)
    for number in numbers:
        program += instruction(0x15, 0, 1, number) + instruction(6, 0, 0, 0x80000000)
    program += instruction(6, 0, 0, 0x7FFF0000)
    libc, buffer = ctypes.CDLL(None), ctypes.create_string_buffer(program)

    class Filter(ctypes.Structure):
        _fields_ = [("count", ctypes.c_ushort), ("program", ctypes.c_void_p)]

    whole = Filter(len(program) // 8, ctypes.addressof(buffer))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(whole)) == 0


forbid([NUMBERS])
daseCV_c.set_num_threads(2)
for _ in range(30):
    products()
    x @ w
"""
# sched_setparam, sched_setscheduler, setpriority, sched_setaffinity, sched_setattr
SCHEDULER_CALLS = {"x86_64": "142, 144, 141, 203, 314", "aarch64": "118, 119, 140, 122, 274"}

ONE_POOL = PRODUCTS + """
import importlib
from daseCV_c._runtime import backend as _backend

out = np.empty((500, 600), np.float32)
levels = _backend._built_levels()
levels = levels[: levels.index(_backend.level) + 1]


def threads():
    return len(os.listdir("/proc/self/task"))


before = threads()
for level in levels:
    matmul = importlib.import_module(f"daseCV_c._compiled.{level}.networks").matmul
    for count in (2, 16, 3):
        matmul(x, w, out, False, False, count)
        assert out[0, 0] == 1000
# More would only push each other aside, whoever asked for them.
assert threads() - before <= len(os.sched_getaffinity(0)) - 1, (before, threads())
"""

# Six callers at the same time, each with a block of 26 MB, or a small one.
KEPT = PRODUCTS + """
from daseCV_c._runtime import backend as _backend
from daseCV_c.im2col_cython import im2col_cython

kept = _backend.runtime.kept_scratch
limit = 64 * 2**20
many = np.ones((25, 16, 128, 128), np.float32)
start = threading.Barrier(6)


def work():
    for _ in range(4):
        start.wait()
        assert im2col_cython(many, 1, 1, 0, 4).all()
        products()


threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert kept() <= limit, kept()
assert im2col_cython(many, 1, 1, 0, 4).all()  # alone: before, others may have had the blocks at each look
assert 20 * 2**20 < kept() <= limit, kept()
child = os.fork() if hasattr(os, "fork") else None
if child == 0:
    at_first = kept()
    products()
    os._exit(0 if at_first == 0 and 0 < kept() <= limit else 4)
if child is not None:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


SIGNALS = """
import signal
import numpy as np
import daseCV_c
from daseCV_c import layers

rng = np.random.default_rng(0)
x, w, b = (rng.standard_normal(shape) for shape in ((700, 600), (600, 700), 700))
with daseCV_c.num_threads(1):
    expected = layers.affine_forward(x, w, b)[0]
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 3e-4, 3e-4)
with daseCV_c.num_threads(3):  # of three parts two threads do one more than the other, which waits asleep
    for _ in range(20):
        np.testing.assert_array_equal(layers.affine_forward(x, w, b)[0], expected)
signal.setitimer(signal.ITIMER_REAL, 0)
"""


ASKED = """
import os
import numpy as np
import daseCV_c
from daseCV_c import fast_layers

images, filters = np.ones((16, 3, 32, 32), np.float32), np.ones((32, 3, 3, 3), np.float32)
before = len(os.listdir("/proc/self/task"))
with daseCV_c.num_threads(2):
    out, cache = fast_layers.conv_forward_fast(images, filters, np.zeros(32, np.float32), {"stride": 1, "pad": 1})
    fast_layers.conv_backward_fast(out, cache)
assert len(os.listdir("/proc/self/task")) == before + OPENMP, os.listdir("/proc/self/task")
"""


# A worker that was woken sleeps again, and the system counts how often.
WOKEN = PRODUCTS + """
import time


def sleeps():
    total = 0
    for task in set(os.listdir("/proc/self/task")) - others:
        with open(f"/proc/self/task/{task}/status") as file:
            total += int(next(line for line in file if line.startswith("voluntary")).split()[1])
    return total


others = set(os.listdir("/proc/self/task"))
daseCV_c.set_num_threads(2)
if len(os.sched_getaffinity(0)) > 1:
    for _ in range(5):
        before = sleeps()
        layers.affine_forward(x, w, b)
        while sleeps() == before:  # without an end where nobody is woken any more
            time.sleep(1e-3)
"""


def test_who_waits_is_not_let_through_by_a_signal(script):
    script(SIGNALS)


def test_kept_scratch_of_the_whole_process(script):
    script(KEPT)


if sys.platform == "linux":
    def test_the_convolution_takes_as_many_threads_as_asked(script):
        script(ASKED.replace("OPENMP", str(int(_backend.runtime.openmp_version() > 0))))

    @pytest.mark.once
    def test_each_product_wakes_the_workers(script):
        script(WOKEN)

    def test_no_thread_is_moved_or_scheduled_otherwise(script):
        script(SAME_THREADS)

    def test_one_pool_for_all_modules(script):
        script(ONE_POOL)

    if os.uname().machine in SCHEDULER_CALLS:
        def test_a_filter_may_forbid_calls_of_the_scheduler(script):
            script(FORBIDDEN.replace("NUMBERS", SCHEDULER_CALLS[os.uname().machine]))

    # Stands in for an OpenMP that reads its settings at its first call, as LLVM's does.
    FIRST_CALL = r"""
#include <stdio.h>
#include <stdlib.h>
static int called(void)
{
    static int before = 0;
    const char *time = getenv("KMP_BLOCKTIME");
    if (!before++) puts(time ? time : "unset");
    return 1;
}
int omp_get_max_threads(void) { return called(); }
int omp_get_num_procs(void) { return called(); }
"""

    @pytest.mark.parametrize(("env", "expected"), [({}, "0"), ({"KMP_BLOCKTIME": "7"}, "7"),
                                                   ({"OMP_WAIT_POLICY": "active"}, "unset")], ids=str)
    def test_openmp_reads_its_idle_time_where_it_is_set(script, tmp_path, env, expected):
        library = library_of(FIRST_CALL, tmp_path)
        said = script("import daseCV_c\ndaseCV_c.get_num_threads()\n", LD_PRELOAD=str(library), **env)
        assert said.split() == ([expected] if _backend.runtime.openmp_version() else [])
