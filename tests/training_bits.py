"""Trains 16 small networks and prints a digest of what each ended with. Machines that print the same compute alike.

`DASECV_ISA=base python tests/training_bits.py`; the last line is the C library's exp(-0.6), of which glibc has two.
"""

import hashlib
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from daseCV_c._runtime import backend  # noqa: E402
from daseCV_c.classifiers.fc_net import FullyConnectedNet  # noqa: E402
from daseCV_c.datasets import load_digits_images  # noqa: E402
from daseCV_c.solver import Solver  # noqa: E402

data = {name: array[:300] for name, array in load_digits_images().items()}
for dtype in (np.float32, np.float64):
    for rule in ("sgd", "sgd_momentum", "rmsprop", "adam"):
        for normalization in (None, "batchnorm"):
            model = FullyConnectedNet([32], input_dim=64, weight_scale="he", dtype=dtype, normalization=normalization,
                                      seed=np.random.RandomState(0))
            Solver(model, data, update_rule=rule, num_epochs=2, seed=1, verbose=False).train()
            digest = hashlib.sha256(b"".join(model.params[name].tobytes() for name in sorted(model.params)))
            print(digest.hexdigest()[:16], dtype.__name__, rule, normalization)
print(f"level {backend.level}, exp(-0.6) = {math.exp(-0.6).hex()}")
