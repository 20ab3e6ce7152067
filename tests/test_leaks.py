"""Nothing is kept from models, Solvers, errors and threads that are gone. `leaks.py` has the long runs."""

import platform
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

PROGRAM = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
import conftest  # small work is shared out to threads
import daseCV_c, leaks

daseCV_c.set_num_threads(3)
kept = {{name: leaks.growth(leaks.REPEATED[name][0], *times) for name, times in TIMES.items()}}
for name, (blocks, size) in kept.items():
    print(f"{{name}}: {{blocks:+.2f}} blocks, {{size:+.0f}} bytes")
assert all(blocks < 8 and size < 16 for blocks, size in kept.values())
until = time.monotonic() + 60
while leaks.threads() > THREADS and time.monotonic() < until:  # some have ended and are still on their way out
    time.sleep(0.01)
assert leaks.threads() <= THREADS, leaks.threads()
"""
# Solvers fill caches of Python's, where the hashes of the process lead them: up to 17 blocks for each at first,
# and for each after a hundred of them at most one or two.
TIMES = {"models": (5, 10), "solvers": (100, 10), "layers": (5, 10), "float32": (5, 10), "errors": (5, 10),
         "threads": (5, 10)}

if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
    def test_what_is_gone_keeps_nothing(script):
        """Blocks of Python's allocator and bytes of the C library's, which else hands out what it has kept itself."""
        print(script(PROGRAM.replace("TIMES", repr(TIMES)).replace("THREADS", "9"),
                     GLIBC_TUNABLES="glibc.malloc.tcache_count=0", OPENBLAS_NUM_THREADS="1"))
