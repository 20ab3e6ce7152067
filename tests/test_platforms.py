"""What other systems lack, played here: docs/install.md has the table. Training gives the same bits all the same."""

import pytest

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
