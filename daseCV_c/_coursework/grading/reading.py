"""What a student has handed in: the Python files and notebooks in a file, a folder or a zip, and nothing else.

Nothing that is read here is trusted. Links, devices and paths that leave the folder are left out and said so; sizes
are counted while bytes come, whatever the zip says about itself.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from daseCV_c._coursework.cells import definitions, notebook_cells
from daseCV_c._coursework.running import written_in

KINDS = (".py", ".ipynb", ".zip")
# What a zip that is damaged, or packed in a way that is not known, raises.
BAD_ZIP = (zipfile.BadZipFile, ValueError, RuntimeError, EOFError, zlib.error)
_LARGEST = {".py": 1 << 20, ".ipynb": 32 << 20, ".zip": 256 << 20}
_TOTAL = 64 << 20  # bytes of all that is kept
_ENTRIES = 20_000  # of a zip or folder
_KEPT = 1_000
_MACHINES = {errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EAGAIN, errno.ENOMEM,
             getattr(errno, "EDQUOT", errno.ENOSPC)}
_PASSED_OVER = {"__pycache__", "__MACOSX", "site-packages", "node_modules", "build", "venv"}
# In which file of the course a function is looked for first.
_FIRST = ("layers.py", "layer_utils.py", "optim.py", "fc_net.py", "cnn.py")
# What the collecting scripts leave out, and the files that they do not imports.
_COURSE = ("layers", "layer_utils", "optim", "fast_layers", "im2col", "solver", "gradient_check", "vis_utils",
           "data_utils")


@dataclass
class Submission:
    """The files of one student by their paths, and what was left out."""

    name: str
    files: dict[tuple[str, ...], bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if len(self.notes) < 20:
            self.notes.append("".join(letter if letter.isprintable() else "?" for letter in text[:300]))


def is_the_machines(error: Exception) -> bool:
    """Whether an error, such as that of a full disk, is none of the submission that happens to meet it."""
    return isinstance(error, OSError) and error.errno in _MACHINES


class _Full(Exception):
    """More than anybody hands in."""


def submissions(folder: str | Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """The name and place of each submission in `folder`, sorted by name, and the entries that are none."""
    found: list[tuple[str, Path]] = []
    others: list[str] = []
    for path in sorted(Path(folder).iterdir(), key=lambda path: os.fsencode(path.name)):
        if path.name.startswith(".") or path.name in _PASSED_OVER:
            continue
        if path.is_symlink() or not (path.is_dir() or path.is_file() and path.suffix.lower() in KINDS):
            others.append(path.name)
        else:
            found.append((path.name if path.is_dir() else path.stem, path))
    names = [name for name, _ in found]
    return [(path.name if names.count(name) > 1 else name, path) for name, path in found], others


def read(name: str, path: Path) -> Submission:
    """Everything in `path` that may hold functions."""
    submission = Submission(name)
    try:
        if path.is_dir():
            _folder(submission, path)
        elif path.suffix.lower() == ".zip":
            with opened(path) as file:
                _zip(submission, file, (), path.name)
        else:
            with opened(path) as file:
                _keep(submission, (path.name,), file)
    except _Full as error:
        submission.files.clear()
        submission.note(str(error))
    except OSError as error:
        if is_the_machines(error):
            raise
        submission.note(f"{path.name} cannot be read: {error.strerror or error}")
    if not submission.files and not submission.notes:
        submission.note("there is no Python file and no notebook in it")
    return submission


def opened(path: Path) -> IO[bytes]:
    """An ordinary file, and never what a link leads to."""
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
                     | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{path.name} is no ordinary file")
    return os.fdopen(number, "rb")


def _folder(submission: Submission, top: Path) -> None:
    count = 0
    for folder, folders, files in os.walk(top):
        for name in [name for name in folders if (Path(folder) / name).is_symlink()]:
            submission.note(f"left out: {(Path(folder) / name).relative_to(top)} is a link")
        folders[:] = sorted(name for name in folders if not _passed_over(name)
                            and not (Path(folder) / name).is_symlink())
        for name in sorted(files):
            count += 1
            if count > _ENTRIES:
                raise _Full(f"it has more than {_ENTRIES} files")
            path = Path(folder) / name
            where = path.relative_to(top)
            if path.suffix.lower() not in KINDS or _passed_over(name):
                continue
            if path.is_symlink() or not path.is_file():
                submission.note(f"left out: {where} is a link or a device")
                continue
            with opened(path) as file:
                if path.suffix.lower() == ".zip":
                    _zip(submission, file, where.parts[:-1], str(where))
                else:
                    _keep(submission, where.parts, file)


def _zip(submission: Submission, file: IO[bytes], above: tuple[str, ...], called: str) -> None:
    """What is in a zip; the zips in it are not opened."""
    if os.fstat(file.fileno()).st_size > _LARGEST[".zip"]:
        raise _Full(f"{called} has more than {_LARGEST['.zip'] >> 20} MB")
    try:
        archive = zipfile.ZipFile(file)
    except BAD_ZIP as error:
        submission.note(f"{called} is no zip that can be read: {error}")
        return
    with archive:
        entries = archive.infolist()
        if len(entries) > _ENTRIES:
            raise _Full(f"{called} has more than {_ENTRIES} files")
        for entry in entries:
            parts = tuple(part for part in entry.filename.replace("\\", "/").split("/") if part not in ("", "."))
            kind = os.path.splitext(entry.filename)[1].lower()
            mode = entry.external_attr >> 16
            if ".." in parts or entry.filename.startswith(("/", "\\")) or ":" in entry.filename:
                submission.note(f"left out: {entry.filename} leaves the folder")
            elif entry.compress_type == zipfile.ZIP_LZMA:  # it takes memory by a number in the file
                submission.note(f"left out: {entry.filename} is packed with LZMA")
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                submission.note(f"left out: {entry.filename} is a link or a device")
            elif not entry.filename.endswith("/") and kind in (".py", ".ipynb") and not any(map(_passed_over, parts)):
                try:
                    with archive.open(entry) as part:
                        _keep(submission, above + parts, part)
                except (*BAD_ZIP, OSError) as error:
                    submission.note(f"left out: {entry.filename} cannot be read: {error}")


def _keep(submission: Submission, parts: tuple[str, ...], file: IO[bytes]) -> None:
    kind = os.path.splitext(parts[-1])[1].lower()
    data = file.read(_LARGEST[kind] + 1)
    if len(data) > _LARGEST[kind]:
        submission.note(f"left out: {'/'.join(parts)} has more than {_LARGEST[kind] >> 20} MB")
    elif parts in submission.files:
        submission.note(f"left out: {'/'.join(parts)} is there twice")
    elif len(submission.files) >= _KEPT or sum(map(len, submission.files.values())) + len(data) > _TOTAL:
        raise _Full(f"it has more than {_KEPT} Python files, or more than {_TOTAL >> 20} MB of them")
    else:
        submission.files[parts] = data


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name in _PASSED_OVER


def lay_out(submission: Submission, folder: Path) -> None:
    """Write the files into `folder`. What a package of the course lacks there is ours."""
    for parts, data in submission.files.items():
        path = folder.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as file:
                file.write(data)
        except (OSError, ValueError) as error:
            if is_the_machines(error):
                raise
            submission.note(f"left out: {'/'.join(parts)} cannot be written: {getattr(error, 'strerror', '') or error}")
    for package in [path for name in ("daseCV", "cs231n") for path in folder.rglob(name) if path.is_dir()]:
        for name in ("__init__", "classifiers/__init__"):
            if (package / name).parent.is_dir():
                (package / f"{name}.py").touch()
        for name in _COURSE:
            if not (package / f"{name}.py").exists() and not (package / name).exists():
                (package / f"{name}.py").write_text(f"from daseCV_c.{name} import *\n", encoding="utf-8")


def written(submission: Submission, folder: Path) -> Iterator[tuple[Path, list[str], str]]:
    """The files that can be tried, those of the course first: each with what it defines, and what the student calls it.

    A notebook becomes a file of what its cells define.
    """
    def order(parts: tuple[str, ...]) -> tuple[bool, int, int, tuple[str, ...]]:
        return (parts[-1].endswith("ipynb"), _FIRST.index(parts[-1]) if parts[-1] in _FIRST else len(_FIRST),
                len(parts), parts)

    for number, parts in enumerate(sorted(submission.files, key=order)):
        called = "/".join(parts)
        try:
            path = _program(folder.joinpath(*parts), number)
            names = [] if path is None else written_in(path)[0]
        except OSError as error:  # as where a folder of that name is in the way
            if is_the_machines(error):
                raise
            submission.note(f"left out: {called} cannot be tried: {error.strerror or error}")
        except (ValueError, RecursionError, MemoryError) as error:
            submission.note(f"{called} is no notebook that can be read: {type(error).__name__}")
        else:
            if path is not None and names:
                yield path, names, called


def _program(path: Path, number: int) -> Path | None:
    """The file, or one of what a notebook defines, under the name of a module; None where none was laid out."""
    if not path.is_file():
        return None
    if path.suffix.lower() == ".ipynb":
        text = definitions(notebook_cells(path))
        path = path.with_name(f"notebook_{number}.py")
        path.write_text(text, encoding="utf-8", errors="replace")
        return path
    return path if re.fullmatch(r"\w+\.py", path.name) else path.rename(path.with_name(f"file_{number}.py"))
