"""Where the system grants no further thread, work goes on with those there are, to the same bits."""

import sys
from pathlib import Path

import pytest
from scarce import ROOM, limited, preloaded

from daseCV_c._runtime import backend as _backend

pytestmark = [pytest.mark.compiled, pytest.mark.once,
              pytest.mark.skipif(sys.platform != "linux", reason="a library is preloaded")]

WORK = f"""
import ctypes, os, resource, sys, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
import conftest  # small work is shared out, too
import numpy as np
import daseCV_c
from adversarial import frozen, rng_of
from daseCV_c import fast_layers, layer_utils, layers
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.solver import Solver

rng = rng_of("threads")
x, dout, images = (rng.standard_normal(s) for s in ((300, 200), (300, 150), (16, 3, 20, 20)))
filters, w, labels = rng.standard_normal((4, 3, 3, 3)), rng.standard_normal((200, 150)), rng.integers(0, 150, 300)
data = {{"X_train": x, "y_train": labels % 10, "X_val": x[:50], "y_val": labels[:50] % 10}}


def work():
    np.random.seed(1)
    out, cache = layer_utils.affine_bn_relu_forward(x, w, *np.ones((3, 150)), {{"mode": "train"}})
    found = [out, layer_utils.affine_bn_relu_backward(dout, cache), layers.softmax_loss(out, labels),
             fast_layers.conv_forward_fast(images, filters, np.ones(4), {{"stride": 1, "pad": 1}})[0]]
    net = FullyConnectedNet([130, 60], input_dim=200, dtype=np.float64, normalization="batchnorm")
    solver = Solver(net, data, update_rule="adam", batch_size=100, num_epochs=1, verbose=False)
    solver.train()
    return frozen([found, solver.loss_history, net.params, net.loss(x)])


with daseCV_c.num_threads(1):
    expected = work()
daseCV_c.set_num_threads(4)
"""
SAME = """
assert work() == expected
print("same", int(next(l for l in open("/proc/self/status") if l.startswith("Threads")).split()[1]))
"""


@pytest.mark.parametrize("left", [0, 2])
def test_no_further_thread(script, tmp_path, left):
    """OpenMP's runtime would end the process."""
    limit = f"ctypes.CDLL(None).leave_threads(ctypes.c_long({left}))\n"
    said = script(WORK + limit + SAME, **preloaded(tmp_path))
    assert said.split()[0] == "same" and int(said.split()[1]) <= 1 + left


def test_a_thread_that_has_just_ended_still_counts(script, tmp_path):
    """Some threads were started to see how many can be: OpenMP may start its own when the system has let go of them."""
    limit = "system = ctypes.CDLL(None)\nsystem.linger(ctypes.c_long(3))\nsystem.leave_threads(ctypes.c_long(2))\n"
    assert script(WORK + limit + SAME, **preloaded(tmp_path)).split() == ["same", "3"]


def test_no_further_thread_by_the_limit_of_a_user(script):
    limit = """
if os.geteuid() == 0:  # whom the limit does not hold
    os.setresuid(65534, 65534, 65534)
resource.setrlimit(resource.RLIMIT_NPROC, (2, 2))
"""
    assert script(WORK + limit + SAME, OPENBLAS_NUM_THREADS="1").split()[0] == "same"


def test_threads_that_the_system_grants_later(script, tmp_path):
    """A refusal is believed for a second; then more threads come."""
    program = WORK + """
import time
few = ctypes.CDLL(None).leave_threads
few(ctypes.c_long(0))
assert work() == expected
few(ctypes.c_long(-1))
until = time.monotonic() + 600
while len(os.listdir("/proc/self/task")) < 4 and time.monotonic() < until:
    work()
""" + SAME
    assert int(script(program, **preloaded(tmp_path)).split()[1]) >= 4


LITTLE_ROOM = ROOM + """
import numpy as np
import daseCV_c
from daseCV_c.classifiers.fc_net import FullyConnectedNet

x, y = np.random.default_rng(0).standard_normal((4000, 64)), np.arange(4000) % 10
net = FullyConnectedNet([512, 512], input_dim=64, dtype=np.float64, seed=1)
with daseCV_c.num_threads(1):
    expected = net.loss(x[:100], y[:100])[0]
daseCV_c.set_num_threads(16)
former = limit(MEGABYTES * 2**20)
try:
    net.loss(x, y)
except MemoryError:
    print("no memory")
resource.setrlimit(resource.RLIMIT_AS, former)
daseCV_c.set_num_threads(4)
print(net.loss(x[:100], y[:100])[0] == expected)
"""


def in_room(script, stack, room):
    program = LITTLE_ROOM.replace("MEGABYTES", str(room))
    return limited(script(program, OMP_STACKSIZE=f"{stack}M", OPENBLAS_NUM_THREADS="1"))


@pytest.mark.parametrize("stack, room", [(8, 170), (8, 180), (16, 170), (16, 200), (1024, 2000), (2**16, 500)], ids=str)
def test_room_for_the_threads_or_for_the_numbers(script, stack, room):
    """The address space has room for 15 stacks, or for what a step computes with, and not for both; or for 15 stacks of
    the usual size, but not of the size that OpenMP's settings ask for. OpenMP's runtime would end the process. Fewer
    threads come, so that there is room for the numbers."""
    assert in_room(script, stack, room) == ["True"]


def test_too_little_room_even_so(script):
    assert in_room(script, 8, 124)[-1] == "True"


@pytest.mark.parametrize("settings, size", [
    ({}, 0), ({"OMP_STACKSIZE": "512"}, 2**19), ({"OMP_STACKSIZE": " 3 g "}, 3 * 2**30), ({"GOMP_STACKSIZE": "8B"}, 8),
    ({"OMP_STACKSIZE": "1M", "GOMP_STACKSIZE": "2M"}, 2**20),
    ({"OMP_STACKSIZE": "much", "GOMP_STACKSIZE": "2M"}, 2**21),
    ({"OMP_STACKSIZE": "-1"}, 0), ({"OMP_STACKSIZE": f"{2**62}k"}, 0), ({"OMP_STACKSIZE": ""}, 0)], ids=str)
def test_how_large_the_stacks_are_that_openmp_gives(settings, size):
    """As libgomp reads it."""
    assert _backend.runtime.stack_of_regions(settings) == size
