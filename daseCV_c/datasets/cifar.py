"""Downloading CIFAR-10."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OFFICIAL = "https://www.cs.toronto.edu/~kriz/"
_TRAIN = tuple(f"data_batch_{k}" for k in range(1, 6))
# version -> archive, folder inside it, files that must be there, hash of the archive
_VERSIONS = {
    "python": ("cifar-10-python.tar.gz", "cifar-10-batches-py", (*_TRAIN, "test_batch"),
               "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),
    "binary": ("cifar-10-binary.tar.gz", "cifar-10-batches-bin",
               tuple(f"{name}.bin" for name in (*_TRAIN, "test_batch")),
               "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
}
_TIMEOUT = (10, 60)  # seconds to connect, seconds without a byte
_IDLE_TRIES = 2  # requests in a row that bring nothing before the next mirror is asked
_CHUNK = 1 << 14  # bytes; a cut loses what has arrived of one chunk
# Neither a mirror nor an archive may fill the disk: CIFAR-10 has 170 MB, and 186 MB in 8 files when it is unpacked.
_MOST_BYTES, _MOST_UNPACKED, _MOST_MEMBERS = 1 << 30, 1 << 29, 1000


def fetch_cifar10(
    dest: str | os.PathLike[str] = "input", *, mirrors: str | Sequence[str] | None = None, version: str = "python",
    known_hash: str | None = None, progressbar: bool = True,
) -> Path:
    """Download CIFAR-10 and unpack it, unless it is there already.

    An interrupted download goes on where it stopped. The archive's hash is checked before it is
    unpacked, and the folder appears at its place only when it is complete.

    Parameters
    ----------
    dest : str or path
        The folder that will hold ``cifar-10-batches-py`` (or ``cifar-10-batches-bin``). The
        default is where `get_CIFAR10_data` looks.
    mirrors : str or list of str, optional
        Addresses to try in turn: of the archive itself (ending in ``.tar.gz``), or of the folder
        that holds it. Default: ``$DASECV_MIRRORS`` (separated by spaces or commas),
        else the official page.
    version : {'python', 'binary'}
    known_hash : str, optional
        Hash of the archive, as ``algorithm:digits``. Default: that of the official archive.
    progressbar : bool
        Show size, rate and remaining time on stderr.

    Returns
    -------
    folder : pathlib.Path
        The folder with the batch files.

    Raises
    ------
    ImportError
        pooch is not installed.
    FileExistsError
        The folder is there, but a file in it is missing.
    OSError
        No mirror gave the archive with the right hash; the message gives each one's reason.
    ValueError
        Unknown version, no mirror, or an archive without the expected files.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html

    Examples
    --------
    >>> fetch_cifar10(version='matlab')
    Traceback (most recent call last):
    ValueError: fetch_cifar10: version is 'matlab', expected 'python' or 'binary'
    """
    if version not in _VERSIONS:
        raise ValueError(f"fetch_cifar10: version is {version!r}, expected 'python' or 'binary'")
    archive, folder, names, official_hash = _VERSIONS[version]
    target = Path(dest) / folder
    if _complete(target, names):
        return target
    urls = _urls(mirrors, archive)
    known_hash = known_hash or official_hash
    if re.fullmatch("[0-9a-fA-F]{32}", known_hash):
        known_hash = f"md5:{known_hash}"
    try:
        import pooch
        import requests
    except ImportError as error:
        raise ImportError(
            f'fetch_cifar10 downloads with pooch ({error}): pip install "daseCV_c[data]"') from error

    store = Path(dest) / ".download"
    store.mkdir(parents=True, exist_ok=True)
    # The hash is part of the name: only pieces of one and the same archive are ever joined.
    part = store / f"{archive}.{known_hash.rpartition(':')[2][:12]}.part"
    reasons = []
    for url in urls:
        download = _Download(part, progressbar)
        try:
            path = _retrieve(pooch, url, known_hash, archive, store, download)
        except (OSError, ValueError, requests.RequestException) as error:
            reasons.append(f"{url}: {error}")
            continue
        _unpack(path, target, names)
        shutil.rmtree(store, ignore_errors=True)
        return target
    raise OSError(f"fetch_cifar10: no mirror gave {archive}:\n  " + "\n  ".join(reasons))


def _retrieve(pooch: Any, url: str, known_hash: str, archive: str, store: Path, download: _Download) -> Path:
    """pooch checks the hash; one more try from the start if an old piece was the fault."""
    for _ in range(2):
        try:
            return Path(pooch.retrieve(url, known_hash, fname=archive, path=store, downloader=download))
        except ValueError:
            # The downloader has given the whole file away, so no wrong piece is left.
            if not download.resumed:
                raise
    raise ValueError("the archive has a wrong hash")


def _urls(mirrors: str | Sequence[str] | None, archive: str) -> list[str]:
    if mirrors is None:
        mirrors = os.environ.get("DASECV_MIRRORS", "").replace(",", " ").split() or [OFFICIAL]
    elif isinstance(mirrors, str):
        mirrors = mirrors.split()
    urls = [url if url.endswith(".tar.gz") else f"{url.rstrip('/')}/{archive}" for url in mirrors]
    if not urls:
        raise ValueError("fetch_cifar10: mirrors is empty, expected at least one address")
    for url in urls:
        if not url.startswith(("https://", "http://")):
            raise ValueError(f"fetch_cifar10: the mirror {url!r} does not start with https:// or http://")
    return urls


def _complete(target: Path, names: Sequence[str]) -> bool:
    """True if every file is there, False if there is no such folder."""
    if not target.exists():
        return False
    missing = [name for name in names if not (target / name).is_file()]
    if missing:
        raise FileExistsError(
            f"fetch_cifar10: {target} is there, but has no {missing[0]}; move it away to download it again")
    return True


class _Download:
    """A downloader for pooch that keeps what has arrived in `part` and goes on from there."""

    def __init__(self, part: Path, progressbar: bool) -> None:
        self.part, self.progressbar = part, progressbar
        self.resumed = False

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests

        self.resumed = False
        idle = 0
        while True:
            before = self._size()
            try:
                self._get(requests, url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                # The line was cut: ask for the rest, as long as each request brings something.
                idle = 0 if self._size() > before else idle + 1
                if idle >= _IDLE_TRIES:
                    raise
        os.replace(self.part, output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _get(self, requests: Any, url: str) -> None:
        """One request: the rest of the file, or all of it from a server that cannot give a part."""
        have = self._size()
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            content_range = answer.headers.get("Content-Range", "")
            if answer.status_code == 416 and have:
                if content_range == f"bytes */{have}":
                    self.resumed = True  # all of it has arrived already
                    return
                self.part.unlink()
                raise requests.ConnectionError("what had arrived does not fit the server's file")
            answer.raise_for_status()
            if answer.status_code == 206 and not content_range.startswith(f"bytes {have}-"):
                raise requests.RequestException(f"the server answered with the wrong range {content_range!r}")
            if answer.status_code != 206:
                have = 0
            self.resumed = self.resumed or have > 0
            length = answer.headers.get("Content-Length", "")
            total = have + int(length) if length.isdigit() else None
            with open(self.part, "ab" if have else "wb") as file, self._bar(have, total) as bar:
                for chunk in answer.iter_content(_CHUNK):
                    have += len(chunk)
                    if have > _MOST_BYTES:
                        break
                    file.write(chunk)
                    bar.update(len(chunk))
        if have > _MOST_BYTES:
            self.part.unlink()
            raise requests.RequestException(f"the server sends more than {_MOST_BYTES} bytes")
        if total is not None and self._size() < total:
            raise requests.ConnectionError(f"the line was cut after {self._size()} of {total} bytes")

    def _bar(self, have: int, total: int | None) -> Any:
        from tqdm import tqdm
        return tqdm(total=total, initial=have, unit="B", unit_scale=True, unit_divisor=1024,
                    desc="CIFAR-10", disable=not self.progressbar, dynamic_ncols=True)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    """Write one file of an archive below `root`; links, devices and names that lead out of it are refused.

    tarfile's own filter for this came with Python 3.11.4.
    """
    path = (root / member.name).resolve()
    if not path.is_relative_to(root) or not (member.isfile() or member.isdir()):
        raise tarfile.TarError(f"{member.name!r} is not a file or folder of its own")
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None, "a file has contents"
    with source, open(path, "wb") as copy:
        shutil.copyfileobj(source, copy)


class _Bounded(io.RawIOBase):
    """What a compressed file holds, as far as that is allowed."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file, self._left = file, _MOST_UNPACKED

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._left:
            raise tarfile.TarError(f"it holds more than {_MOST_UNPACKED} bytes")
        data = self._file.read(size)
        self._left -= len(data)
        return data


def _unpack(archive: str | Path, target: Path, names: Sequence[str]) -> None:
    """Unpack beside `target`, check, and move into place in one step."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-", ignore_cleanup_errors=True) as temporary:
        try:
            # As a stream: a crafted size leads nowhere back, where the reading would go round in circles.
            with gzip.open(archive) as packed, tarfile.open(fileobj=_Bounded(packed), mode="r|") as tar:
                for count, member in enumerate(tar, 1):
                    if count > _MOST_MEMBERS:
                        raise tarfile.TarError(f"it holds more than {_MOST_MEMBERS} files")
                    if member.issparse():
                        raise tarfile.TarError(f"{member.name!r} is a sparse file")
                    _extract(tar, member, Path(temporary).resolve())
        except MemoryError:
            raise
        except Exception as error:  # of a damaged archive: gzip, zlib, tarfile and int raise what they like
            raise ValueError(f"fetch_cifar10: {archive} cannot be unpacked: {error}") from error
        folder = Path(temporary) / target.name
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise ValueError(f"fetch_cifar10: {archive} has no {target.name}/{missing[0]}")
        try:
            os.replace(folder, target)
        except OSError:
            # Another process may have been faster.
            if not _complete(target, names):
                raise
