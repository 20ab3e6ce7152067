"""Downloading CIFAR-10."""

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from daseCV_c import _cifar

MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
# version -> archive, its checksum, the folder in it
ARCHIVES = {
    "python": ("cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a", "cifar-10-batches-py"),
    "binary": ("cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530", "cifar-10-batches-bin"),
}
_TRIES = 4  # connections per mirror, each going on where the last was cut
_TIMEOUT = 30  # seconds without an answer
_PIECE = 1 << 16


class _Resuming:
    """A downloader for pooch that goes on with a partial file, with a progress bar."""

    def __init__(self, part, progressbar):
        self._part, self._progressbar = part, progressbar

    def __call__(self, url, output_file, pooch, check_only=False):
        import requests

        for attempt in range(_TRIES):
            try:
                self._fetch(requests, url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                if attempt == _TRIES - 1:
                    raise
        shutil.move(self._part, output_file)

    def _fetch(self, requests, url):
        from tqdm import tqdm

        have = self._part.stat().st_size if self._part.exists() else 0
        headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == 416:
                # Nothing is left to send, or the partial file is longer than the archive: the checksum tells.
                length = answer.headers.get("Content-Range", "").rpartition("/")[2]
                if length == str(have):
                    return
                self._part.unlink()
                raise requests.ConnectionError(f"{url}: the partial download does not belong to this file")
            answer.raise_for_status()
            if answer.status_code != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                have = 0  # the server sends the whole file
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length is not None else None
            with open(self._part, "ab" if have else "wb") as file, tqdm(
                total=total, initial=have, unit="B", unit_scale=True, disable=not self._progressbar,
                desc=url.rpartition("/")[2],
            ) as bar:
                for piece in answer.iter_content(_PIECE):
                    file.write(piece)
                    bar.update(len(piece))
            if total is not None and self._part.stat().st_size != total:
                raise requests.ConnectionError(f"{url}: the connection was cut")


def _complete(folder, version):
    return all((folder / name).is_file() for name in _cifar.names(version == "binary"))


def _mirrors(mirrors):
    if mirrors is None:
        mirrors = os.environ.get("DASECV_MIRRORS", "").replace(",", " ").split() or MIRRORS
    if isinstance(mirrors, str):
        mirrors = [mirrors]
    mirrors = [mirror if mirror.endswith("/") else mirror + "/" for mirror in mirrors]
    if not mirrors:
        raise ValueError("fetch_cifar10: mirrors is empty, expected at least one URL")
    return mirrors


def fetch_cifar10(dest, *, mirrors=None, version="python", known_hash=None, progressbar=True):
    """Download CIFAR-10 (163 MiB), check it and unpack it.

    A cut download goes on where it stopped, also in a later call. The folder appears under its
    name only when it is complete; one that is there already is not downloaded again.

    Parameters
    ----------
    dest : str or path
        Folder to unpack into; made if needed.
    mirrors : sequence of str, optional
        URLs of folders that hold the archive, tried in order. Default: $DASECV_MIRRORS,
        separated by spaces or commas, else the authors' page.
    version : {'python', 'binary'}
    known_hash : str, optional
        Checksum of the archive, such as 'md5:...'. Default: the published one.
    progressbar : bool

    Returns
    -------
    folder : pathlib.Path
        For `get_CIFAR10_data(data_dir=folder)`.

    Raises
    ------
    ImportError
        pooch is not installed.
    OSError
        No mirror gave the archive with that checksum; each mirror's reason is in the message.
    ValueError
        Unknown version, or no mirror given.

    References
    ----------
    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html

    Examples
    --------
    >>> fetch_cifar10('data', version='jpeg')
    Traceback (most recent call last):
    ValueError: fetch_cifar10: version is 'jpeg', expected 'python' or 'binary'
    """
    if version not in ARCHIVES:
        raise ValueError(f"fetch_cifar10: version is {version!r}, expected 'python' or 'binary'")
    archive, published, name = ARCHIVES[version]
    mirrors = _mirrors(mirrors)
    dest = Path(dest)
    folder = dest / name
    if _complete(folder, version):
        return folder
    try:
        import pooch
    except ImportError:
        raise ImportError('fetch_cifar10: pooch is missing; run: pip install "daseCV_c[data]"') from None
    dest.mkdir(parents=True, exist_ok=True)
    part = dest / f".{archive}.part"
    reasons = []
    for mirror in mirrors:
        try:
            path = Path(pooch.retrieve(mirror + archive, known_hash or published, fname=archive, path=dest,
                                       downloader=_Resuming(part, progressbar)))
            break
        # requests' errors are OSErrors; a wrong checksum is pooch's ValueError.
        except (OSError, ValueError) as error:
            reasons.append(f"{mirror}: {error}")
    else:
        raise OSError("fetch_cifar10: no mirror gave the archive\n" + "\n".join(reasons))
    _unpack(path, folder, version)
    path.unlink()
    return folder


def _unpack(path, folder, version):
    """Unpack aside, check that all files are there, then move into place."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as aside:
        try:
            with tarfile.open(path) as tar:
                tar.extractall(aside, filter="data")
        except (tarfile.TarError, EOFError, TypeError) as error:
            raise OSError(f"fetch_cifar10: {path} cannot be unpacked: {error}") from None
        unpacked = Path(aside) / folder.name
        if not _complete(unpacked, version):
            raise OSError(f"fetch_cifar10: {path} does not hold the six batches in {folder.name}")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(unpacked, folder)
