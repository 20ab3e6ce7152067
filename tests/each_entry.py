"""Call every compiled entry on small odd sizes, with arrays that end where their memory ends: valgrind watches."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from entries import ENTRIES, make_call  # noqa: E402

from daseCV_c._runtime import backend  # noqa: E402
from daseCV_c._runtime.kernels import families_of  # noqa: E402

kernels = SimpleNamespace(**{name: importlib.import_module(f"daseCV_c._compiled.{backend.level}.{name}")
                             for name in families_of(backend.level)})
for name in vars(kernels):
    if hasattr(getattr(kernels, name), "share_from"):
        getattr(kernels, name).share_from(2e6)
calls = 0
for entry in ENTRIES:
    for dtype in (np.float32, np.float64):
        for sizes in ((6, 5, 4), (1, 1, 1), (13, 33, 17), (3, 70, 10), (40, 9, 31)):
            for threads in (1, 2):
                make_call(entry, dtype, *sizes)(kernels, threads)
                calls += 1
print(f"{calls} calls of {len(ENTRIES)} entries at level {backend.level}")
