"""Trains networks of each kind by the fused step on several threads, for ThreadSanitizer, however small the work is.

With kernels by Clang, whose OpenMP tells the sanitizer of its regions: `.ci/sanitize step` builds and runs it.
"""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from training_at_once import KINDS, trained  # noqa: E402

import daseCV_c  # noqa: E402
from daseCV_c._runtime import backend  # noqa: E402
from daseCV_c._runtime.kernels import families_of  # noqa: E402

for module in families_of(backend.level).values():
    module.share_from(2e6)  # work that would not pay, too

for kind in KINDS:
    found = []
    for threads in (1, 2, 3, 4):
        with daseCV_c.num_threads(threads):
            found.append(trained(kind))
    assert all(one == found[0] for one in found), kind
print(f"{len(KINDS)} kinds of networks, 20 steps each on 1 to 4 threads: the same bits")
