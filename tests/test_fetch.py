"""Downloading CIFAR-10, from a server on this machine."""

import hashlib
import http.server
import io
import socket
import sys
import tarfile
import threading

import pytest

from daseCV_c.datasets import cifar, fetch_cifar10

NAMES = {version: entry[2] for version, entry in cifar._VERSIONS.items()}
FOLDERS = {version: entry[1] for version, entry in cifar._VERSIONS.items()}


def make_archive(version="python", members=None):
    """A tar.gz with small files under the names of the batches, large enough to be cut in two."""
    if members is None:
        members = {f"{FOLDERS[version]}/{name}": hashlib.sha512(name.encode()).digest() * 500
                   for name in NAMES[version]}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=0) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = len(content)
            tar.addfile(info, None if content is None else io.BytesIO(content))
    return buffer.getvalue()


def md5(content):
    return "md5:" + hashlib.md5(content).hexdigest()


class Server:
    """Serves one archive; `cuts` are the answers that break off after so many bytes."""

    def __init__(self, content, cuts=(), ranges=True, status=200):
        self.content, self.cuts, self.ranges, self.status = content, list(cuts), ranges, status
        self.asked = []  # (path, Range) of each request
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                outer.answer(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/kriz/"

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.asked.append((handler.path, wanted))
        handler.close_connection = True
        body, status, extra = self.content, self.status, {}
        if status != 200:
            body = b"no"
        elif wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                status, body, extra = 416, b"", {"Content-Range": f"bytes */{len(body)}"}
            else:
                status = 206
                extra = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
                body = body[start:]
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **extra}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body[:self.cuts.pop(0)] if self.cuts else body)

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *exc_info):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(autouse=True)
def no_mirrors_of_the_user(monkeypatch):
    monkeypatch.delenv("DASECV_MIRRORS", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def fetch(dest, server, **options):
    options = {"known_hash": md5(server.content), "progressbar": False, "mirrors": [server.url]} | options
    return fetch_cifar10(dest, **options)


def check(folder, dest, version="python"):
    assert folder == dest / FOLDERS[version]
    for name in NAMES[version]:
        assert (folder / name).read_bytes() == hashlib.sha512(name.encode()).digest() * 500
    assert [path.name for path in dest.iterdir()] == [FOLDERS[version]]  # nothing else is left behind


@pytest.mark.parametrize("version", ["python", "binary"])
def test_success(tmp_path, version, capfd):
    with Server(make_archive(version)) as server:
        check(fetch(tmp_path / "new", server, version=version), tmp_path / "new", version)
        assert server.asked == [(f"/kriz/cifar-10-{version}.tar.gz", None)]
        capfd.readouterr()
        check(fetch(tmp_path / "new", server, version=version), tmp_path / "new", version)
        assert len(server.asked) == 1  # what is there is not downloaded again
    assert "CIFAR-10" not in capfd.readouterr().err


def test_progress_bar(tmp_path, capfd):
    with Server(make_archive()) as server:
        fetch(tmp_path, server, progressbar=True)
    error = capfd.readouterr().err
    assert "CIFAR-10" in error and "100%" in error


def test_cut_connection_is_resumed_at_once(tmp_path):
    with Server(make_archive(), cuts=[49_152 + 99, 16_384]) as server:
        check(fetch(tmp_path, server), tmp_path)
        assert [wanted for _, wanted in server.asked] == [None, "bytes=49152-", "bytes=65536-"]


def test_interrupted_download_is_resumed_by_the_next_call(tmp_path):
    with Server(make_archive(), cuts=[49_152, 0, 0]) as server:
        with pytest.raises(OSError, match="no mirror gave cifar-10-python.tar.gz"):
            fetch(tmp_path, server)
        assert not (tmp_path / FOLDERS["python"]).exists()
        (part,) = (tmp_path / ".download").iterdir()
        assert part.suffix == ".part" and part.stat().st_size == 49_152
        check(fetch(tmp_path, server), tmp_path)
        assert server.asked[-1][1] == "bytes=49152-"


def test_part_that_is_whole_needs_no_more_bytes(tmp_path):
    with Server(make_archive()) as server:
        part = tmp_path / ".download" / f"cifar-10-python.tar.gz.{md5(server.content)[4:16]}.part"
        part.parent.mkdir()
        part.write_bytes(server.content)
        check(fetch(tmp_path, server), tmp_path)
        assert len(server.asked) == 1


@pytest.mark.parametrize("size", [50_000, 10_000_000])
def test_part_of_something_else_is_thrown_away(tmp_path, size):
    with Server(make_archive()) as server:
        part = tmp_path / ".download" / f"cifar-10-python.tar.gz.{md5(server.content)[4:16]}.part"
        part.parent.mkdir()
        part.write_bytes(b"?" * size)
        check(fetch(tmp_path, server), tmp_path)
        assert server.asked[-1][1] is None


def test_server_without_ranges_starts_over(tmp_path):
    with Server(make_archive(), cuts=[49_152], ranges=False) as server:
        check(fetch(tmp_path, server), tmp_path)
        assert [wanted for _, wanted in server.asked] == [None, "bytes=49152-"]


def test_wrong_md5(tmp_path):
    with Server(make_archive()) as server:
        with pytest.raises(OSError, match=f"(?s){server.url}.*hash"):
            fetch(tmp_path, server, known_hash="md5:" + "0" * 32)
    assert not (tmp_path / FOLDERS["python"]).exists()
    assert list((tmp_path / ".download").iterdir()) == []


def test_bare_md5_and_official_default(tmp_path):
    with Server(make_archive()) as server:
        with pytest.raises(OSError, match="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"):
            fetch(tmp_path, server, known_hash=None)
        check(fetch(tmp_path, server, known_hash=md5(server.content)[4:]), tmp_path)


@pytest.mark.parametrize("bad", [{"status": 404}, {"content": b"not the archive"}, {"cuts": [32_768, 0, 0]}],
                         ids=["404", "wrong file", "cut"])
def test_second_mirror(tmp_path, bad, monkeypatch):
    content = make_archive()
    with Server(**{"content": content, **bad}) as first, Server(content) as second:
        monkeypatch.setenv("DASECV_MIRRORS", f"{first.url} {second.url}cifar-10-python.tar.gz")
        check(fetch_cifar10(tmp_path, known_hash=md5(content), progressbar=False), tmp_path)
        assert first.asked
        # What the first mirror gave is kept.
        assert [wanted for _, wanted in second.asked] == ["bytes=32768-" if "cuts" in bad else None]


def test_dead_mirror_is_named(tmp_path):
    with socket.socket() as held:  # nobody listens, and no other program gets the port
        held.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{held.getsockname()[1]}/kriz/"
        with pytest.raises(OSError, match=f"(?s){closed}.*refused"):
            fetch_cifar10(tmp_path, mirrors=closed, progressbar=False)


@pytest.mark.parametrize(("members", "message"), [
    ({"../evil": b"x"}, "cannot be unpacked"),
    ({"cifar-10-batches-py": None}, "cannot be unpacked"),
    ({"cifar-10-batches-py/data_batch_1": b"x"}, "has no cifar-10-batches-py/data_batch_2"),
], ids=["outside", "link", "incomplete"])
def test_bad_archive_leaves_nothing(tmp_path, members, message):
    dest = tmp_path / "dest"
    with Server(make_archive(members=members)) as server:
        with pytest.raises(ValueError, match=message):
            fetch(dest, server)
    assert [path.name for path in tmp_path.iterdir()] == ["dest"]
    assert [path.name for path in dest.iterdir()] == [".download"]


def test_not_an_archive(tmp_path):
    with Server(b"plain text") as server:
        with pytest.raises(ValueError, match="cannot be unpacked"):
            fetch(tmp_path, server)
    assert not (tmp_path / FOLDERS["python"]).exists()


def test_incomplete_folder_is_left_alone(tmp_path):
    folder = tmp_path / FOLDERS["python"]
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="data_batch_2"):
        fetch_cifar10(tmp_path)
    assert (folder / "data_batch_1").read_bytes() == b"mine"


@pytest.mark.parametrize(("options", "message"), [
    ({"version": "matlab"}, "version is 'matlab'"),
    ({"mirrors": []}, "mirrors is empty"),
    ({"mirrors": ["file:///tmp"]}, "https://"),
])
def test_bad_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        fetch_cifar10(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_without_pooch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pip install "daseCV_c\[data\]"'):
        fetch_cifar10(tmp_path)
