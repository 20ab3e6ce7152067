"""Call every compiled entry on small odd sizes, with arrays that end where their memory ends: valgrind watches.

`python tests/each_entry.py bits` says what each entry returns and writes, as a digest: builds can be compared.
"""

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from adversarial import frozen  # noqa: E402
from entries import ENTRIES, make_call  # noqa: E402

from daseCV_c._runtime import backend  # noqa: E402
from daseCV_c._runtime.kernels import families_of  # noqa: E402

kernels = SimpleNamespace(**families_of(backend.level))
for module in vars(kernels).values():
    module.share_from(2e6)


def calls(each_size):
    """Of every entry, in both types."""
    for entry in ENTRIES:
        for dtype in (np.float32, np.float64):
            for sizes in each_size:
                yield make_call(entry, dtype, *sizes)


if __name__ == "__main__":
    count, digests = 0, {}
    for threads in (1, 2):
        for call in calls(((6, 5, 4), (1, 1, 1), (13, 33, 17), (3, 70, 10), (40, 9, 31))):
            returned = call(kernels, threads)
            digest = digests.setdefault(f"{call.family}.{call.name}", hashlib.sha256())
            digest.update(repr(frozen([returned, *call.results()])).encode())
            count += 1
    if sys.argv[1:] == ["bits"]:
        for name, digest in digests.items():
            print(name, digest.hexdigest()[:16])
    print(f"{count} calls of {len(ENTRIES)} entries at level {backend.level}")
