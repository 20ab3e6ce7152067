"""Built extension modules: `runtime`, and one folder of kernels per instruction-set level.

Sources that are not built in place take the kernels of an installed copy that was built from the very same sources:
after `pip install .`, Python in the clone runs what it runs elsewhere.
"""

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from daseCV_c._compiled.sources import digest


def _has_kernels(folder: Path) -> bool:
    return any((folder / f"runtime{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)


def _installed_copies(here: Path) -> list[Path]:
    """Other folders on the import path that hold built kernels of this package."""
    folders = [Path(entry, "daseCV_c", "_compiled").resolve() for entry in sys.path]
    return [folder for folder in folders if folder != here and _has_kernels(folder)]


def _built_from(src: Path, folder: Path) -> bool:
    stamp = folder / "sources.sha256"
    return stamp.is_file() and stamp.read_text() == digest(src)


#: A copy of the package on the import path whose kernels were built from other sources than these.
unfit: str | None = None
_here = Path(__file__).resolve().parent
_src = _here.parents[1] / "src"
if not _has_kernels(_here) and _src.is_dir():
    for _folder in _installed_copies(_here):
        if _built_from(_src, _folder):
            __path__.append(str(_folder))
            break
        unfit = unfit or str(_folder.parent)
