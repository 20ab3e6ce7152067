"""What other systems lack, played here: docs/install.md has the table. Training gives the same bits all the same."""

from concurrent.futures import Future

import pytest

from daseCV_c._coursework.grading import schedule

pytestmark = pytest.mark.once
# Windows has no fork, no affinity, no control groups, none of these modules; a C long has 32 bits, and NumPy's legacy
# generator draws such integers.
WINDOWS = """
import os, sys
for name in ("fork", "forkpty", "register_at_fork", "sched_getaffinity", "sched_setaffinity", "getuid", "geteuid"):
    delattr(os, name)
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
import signal
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGXCPU", "pthread_sigmask", "pthread_kill", "setitimer"):
    delattr(signal, name)
import numpy as np

def narrow(draw):
    def drawn(*args, **kwargs):
        numbers = draw(*args, **kwargs)
        is_long = getattr(numbers, "dtype", None) == np.int64 and "dtype" not in kwargs
        return numbers.astype(np.int32) if is_long else numbers
    return drawn

for name in ("randint", "choice", "permutation"):
    setattr(np.random, name, narrow(getattr(np.random, name)))
narrowed = np.random.randint(0, 5, 3).dtype == np.int32
"""
# There a run is locked by another module than elsewhere: here it locks by flock, at the place that it is told.
MSVCRT = """
import fcntl, os, subprocess, sys, types # subprocess asks for that module itself

def locking(number, mode, count):
    assert (os.lseek(number, 0, os.SEEK_CUR), mode, count) == (1 << 30, msvcrt.LK_NBLCK, 1)
    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)

msvcrt = sys.modules["msvcrt"] = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK, msvcrt.locking = 2, locking
"""
TRAINING = """
import hashlib
import numpy as np
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.layers import softmax_loss
from daseCV_c.solver import Solver

found = hashlib.sha256()
np.random.seed(231)
random = np.random.RandomState(0)
X, y = random.randn(40, 1, 8, 8), random.randint(0, 10, 40)
for labels in (y, y.astype(np.int32)):
    data = {"X_train": X, "y_train": labels, "X_val": X[:10], "y_val": labels[:10]}
    for model in (FullyConnectedNet([10], input_dim=64, normalization="batchnorm", dropout=0.5),
                  ThreeLayerConvNet(input_dim=(1, 8, 8), num_filters=4, filter_size=3, hidden_dim=5)):
        solver = Solver(model, data, update_rule="adam", num_epochs=2, batch_size=10, verbose=False,
                        checkpoint_name="run")
        solver.train()
        found.update(np.array(solver.loss_history).tobytes())
        for name in sorted(model.params):
            found.update(model.params[name].tobytes())
        found.update(np.array(softmax_loss(X[:, 0, 0, :], labels % 8)[0]).tobytes())
print(found.hexdigest())
"""


def test_without_fork_affinity_and_with_a_long_of_32_bits(script):
    assert script(WINDOWS + "np.random.seed(231)\nassert narrowed\n" + TRAINING) == script(TRAINING)


def test_every_module_is_imported_there(script):
    """What needs a library that is not here says so by its name."""
    assert script(MSVCRT + WINDOWS + """
import importlib, pkgutil
import daseCV_c
sys.platform, here = "win32", sys.platform
import daseCV_c.cli.lock
sys.platform = here
import daseCV
found = lacking = 0
for package in (daseCV_c, daseCV):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name.endswith(".__main__") or "._compiled." in module.name or ".notebooks." in module.name:
            continue
        try:
            importlib.import_module(module.name)
            found += 1
        except ImportError as error:
            missing = error.__cause__ or error
            assert missing.name.split(".")[0] not in sys.stdlib_module_names, (module.name, missing)
            lacking += 1
print(found > 150, lacking < 40)
""") == "True True\n"


def test_a_run_is_locked_there(script):
    """An open file cannot be removed on Windows: the lock's file is closed before."""
    assert script(MSVCRT + WINDOWS + """
import pathlib
from daseCV_c.cli import errors
import datetime, socket
sys.platform = "win32"
from daseCV_c.cli.lock import locked
remove = pathlib.Path.unlink

def removed(path):
    assert not any(os.path.realpath(link) == str(path.resolve()) for link in pathlib.Path("/proc/self/fd").iterdir())
    remove(path)

pathlib.Path.unlink = removed
with locked(pathlib.Path(".")):
    try:
        with locked(pathlib.Path(".")):
            print("twice")
    except errors.CommandError as error:
        print(str(error).startswith(f". is in use: process {os.getpid()} on "))
print(pathlib.Path(".lock").exists())
with locked(pathlib.Path(".")):
    print(pathlib.Path(".lock").exists())
""") == "True\nFalse\nTrue\n"


def test_where_nothing_can_be_built_there_is_no_warning(script):
    """A browser's Python has the twins alone, and a warning there would ask for what cannot be done."""
    assert script("""
import sys, warnings
import numpy
sys.platform = "emscripten"
sys.modules["daseCV_c._compiled.runtime"] = None
warnings.simplefilter("error")
import daseCV_c
from daseCV_c.layers import affine_forward
assert daseCV_c.get_backend() == "numpy"
print(affine_forward([[1., 2.]], [[3.], [4.]], [5.])[0].tolist())
""") == "[[16.0]]\n"


def test_grading_starts_no_more_processes_than_windows_waits_for(monkeypatch):
    asked = []

    class Pool:
        def __init__(self, max_workers, context, begin):
            asked.append(max_workers)

        def submit(self, work, name):
            future = Future()
            future.set_result(name)
            return future

        def shutdown(self, wait, cancel_futures):
            pass

    monkeypatch.setattr(schedule, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(schedule.sys, "platform", "win32")
    names = [str(i) for i in range(100)]
    found = dict(schedule._pool(None, [(name, (name,)) for name in names], 64))
    assert asked == [61] and found == dict(zip(names, names, strict=True))


def test_a_run_where_there_is_nothing_to_lock_with(script):
    """As in Pyodide 0.27."""
    words = script("import pathlib, sys\nsys.modules['fcntl'] = None\nfrom daseCV_c.cli.lock import locked\n"
                   "with locked(pathlib.Path('.')):\n    print(pathlib.Path('.lock').exists())\n"
                   "print(pathlib.Path('.lock').exists())\n")
    assert words.split() == ["True", "False"]
