"""The autograder.zip that is uploaded to Gradescope.

Gradescope unpacks it into /autograder/source and runs setup.sh once, as root. For each student it runs
/autograder/run_autograder, with what was handed in under /autograder/submission, and reads
/autograder/results/results.json. https://gradescope-autograders.readthedocs.io, "Autograder Specifications".
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from daseCV_c._coursework.isolation import PACKAGE
from daseCV_c._files import replacing

_KINDS = {".py", ".npz", ".j2", ".typed"}
_WHEN = (1980, 1, 1, 0, 0, 0)  # the same rubric gives the same bytes


def write(output: str | Path, rubric: str | Path) -> None:
    """The zip: two scripts, the rubric, and this package without its kernels, which grading does not need."""
    here = files(__package__).joinpath("gradescope")
    with replacing(output) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("setup.sh", "run_autograder"):
            _add(archive, name, here.joinpath(name).read_bytes(), 0o755)
        _add(archive, "rubric.toml", Path(rubric).read_bytes(), 0o600)
        for path, name in _package():
            _add(archive, name, path.read_bytes(), 0o644)


def _package() -> Iterator[tuple[Path, str]]:
    for top in (PACKAGE, PACKAGE.parent / "daseCV"):
        for path in sorted(top.rglob("*")):
            if path.is_file() and path.suffix in _KINDS:
                yield path, f"package/{path.relative_to(PACKAGE.parent).as_posix()}"


def _add(archive: zipfile.ZipFile, name: str, data: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name, _WHEN)
    entry.create_system = 3  # the mode is one of Unix, wherever this is written
    entry.external_attr = (0o100000 | mode) << 16
    archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
