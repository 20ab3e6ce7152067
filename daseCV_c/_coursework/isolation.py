"""A clean room for code that nobody has read: a process of its own, with limits, that is told no answers.

What it has everywhere but on Windows are limits of processor time, memory, processes, files and their size (rlimits);
on every system limits of time and output. Where bubblewrap is installed the process also sees nothing of the machine
but Python, this package and the folders it is given, all of them read-only, has no network, and its own process ids.
`Room.walls` says which of it there is. docs/check.md says what is not defended.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from daseCV_c._coursework import wire

PACKAGE = Path(__file__).resolve().parents[1]
_ANSWER = 256 << 20  # bytes of one answer


@dataclass(frozen=True)
class Limits:
    """What a process may use. Times are in seconds, sizes in bytes."""

    start: float = 60.0
    """Until Python and NumPy are there, and until a file is imported."""
    call: float = 20.0
    """One request, by the clock."""
    processor: int = 300
    """All requests together, by the processor's time."""
    memory: int = 4 << 30
    """Address space of each process."""
    processes: int = 32
    """Processes and threads."""
    files: int = 64
    """Open files."""
    file_size: int = 8 << 20
    """A file it writes, and all files together behind bubblewrap."""
    output: int = 1 << 20
    """What it prints."""
    user: int | None = None
    """Who runs it where bubblewrap does not: `stranger()`, or whoever started this."""


class Ended(Exception):
    """The process is no more. `kind` says why: timeout, crashed, output, processes, processor or forged."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@functools.cache
def bubblewrap() -> tuple[str | None, str]:
    """The path of a bubblewrap that works here, or None and why there is none."""
    path = shutil.which("bwrap")
    if path is None:
        return None, "bubblewrap is not installed"
    try:
        done = subprocess.run([path, *_WALLS, *_readable([]), "--", sys.executable, "-I", "-c", ""],
                              capture_output=True, text=True, timeout=60, check=False, env=_environment())
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"bubblewrap does not start: {error}"
    if done.returncode:
        return None, f"bubblewrap does not work here: {' '.join(done.stderr.split())[:200]}"
    return path, ""


@functools.cache
def stranger() -> int | None:
    """A user who owns nothing here and may run Python and this package, or None: root alone can choose who runs what.

    Processes that grade side by side take different ones, so that their rooms cannot reach each other.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    import pwd

    user = 60_100 + os.getpid() % 1000  # nobody's range on the usual systems
    with contextlib.suppress(KeyError):
        pwd.getpwuid(user)
        return None
    command = [sys.executable, "-I", "-B", "-c", "import sys, numpy; open(sys.argv[1]).close()",
               str(PACKAGE / "_coursework" / "room.py")]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=_environment(), cwd="/",
                              user=user, group=user, extra_groups=[])
    except (OSError, subprocess.SubprocessError):
        return None
    return user if done.returncode == 0 else None


_WALLS = ("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "room")


def _readable(folders: Sequence[str | Path], tmp: int = 1 << 20) -> list[str]:
    """bubblewrap's words for what the process sees: Python, the package, `folders`, an empty /tmp of `tmp` bytes."""
    words = ["--proc", "/proc", "--dev", "/dev", "--size", str(tmp), "--tmpfs", "/tmp"]
    python = [sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable)),
              *(path for path in sys.path if "-packages" in path)]
    system = ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives", "/sys/devices/system/cpu"]
    # daseCV is beside daseCV_c. Both by themselves: a clone may hold what a student must not read.
    package = [PACKAGE, PACKAGE.parent / "daseCV"]
    for path in dict.fromkeys(os.path.abspath(path) for path in [*system, *python, *package, *folders]):
        if os.path.exists(path) and path not in ("/", os.path.expanduser("~")):
            words += ["--ro-bind", path, path]
    return words


def _environment(home: str = "/tmp") -> dict[str, str]:
    """Nothing of the caller's, who may keep passwords there."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TZ", "DASECV_ISA",
                                                "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return kept | one | {"PYTHONDONTWRITEBYTECODE": "1", "HOME": home, "TMPDIR": home, "MPLCONFIGDIR": home,
                         "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8:backslashreplace"}


def _descendants(pid: int) -> list[int]:
    """The processes that came from `pid`, itself among them, where /proc tells it."""
    found: list[int] = []
    waiting = [pid]
    while waiting and len(found) < 10_000:
        found.append(waiting.pop())
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{found[-1]}/task"):
                waiting += map(int, Path(f"/proc/{found[-1]}/task/{task}/children").read_text().split())
    return found


def _tasks_of_user(user: int) -> int:
    """Processes and threads of a user: the limit of them counts those outside as well."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*/task"):
        with contextlib.suppress(OSError):
            if entry.stat().st_uid == user:
                count += len(os.listdir(entry))
    return count


@dataclass
class Room:
    """One process that runs a student's code, and the messages to and from it.

    `folders` are what it may read. `isolate`: True takes bubblewrap or fails, False leaves it,
    None takes it where it is.
    """

    folders: Sequence[str | Path] = ()
    limits: Limits = field(default_factory=Limits)
    isolate: bool | None = None

    def __enter__(self) -> Room:
        wrap, why = (None, "bubblewrap was not asked for") if self.isolate is False else bubblewrap()
        if self.isolate and wrap is None:
            raise RuntimeError(f"a room behind bubblewrap was asked for, but {why}")
        script = [sys.executable, "-I", "-B", "-u", str(PACKAGE / "_coursework" / "room.py")]
        command = script if wrap is None else [
            wrap, *_WALLS, *_readable(self.folders, self.limits.file_size), "--chdir", "/tmp", "--", *script]
        limits = self.limits
        other = limits.user if wrap is None else None
        rlimits = {"CPU": limits.processor, "AS": limits.memory, "NOFILE": limits.files, "FSIZE": limits.file_size,
                   "CORE": 0}
        if os.path.isdir("/proc/self/task"):
            rlimits["NPROC"] = _tasks_of_user(os.getuid() if other is None else other) + limits.processes
        self._ended: Ended | None = None
        self._printed, self._kept = 0, bytearray()
        self._answers: queue.Queue[Any] = queue.Queue()
        self._scratch = tempfile.mkdtemp(prefix="dasecv-room-")
        whose: dict[str, Any] = {}
        if other is not None:
            os.chown(self._scratch, other, other)
            whose = {"user": other, "group": other, "extra_groups": []}
        self._process = subprocess.Popen(
            command, **whose, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=_environment(self._scratch if wrap is None else "/tmp"), cwd=self._scratch, start_new_session=True)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._listen)]
        for thread in self._threads:
            thread.start()
        try:
            kept = self.ask({"limits": rlimits}, limits.start)["limits"]
        except BaseException:
            self.close()
            raise
        self.walls = _walls(wrap is not None, why, list(kept), other is not None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def ask(self, request: Any, seconds: float | None = None) -> Any:
        """The answer to one request. `Ended` where there is none, and for every request after that."""
        if self._ended is not None:
            raise self._ended
        seconds = self.limits.call if seconds is None else seconds
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended, which the answer tells
            self._process.stdin.write(wire.encode(request))
            self._process.stdin.flush()
        end = time.monotonic() + seconds
        while True:
            try:
                answer = self._answers.get(timeout=0.05)
                break
            except queue.Empty:
                fault = self._fault(time.monotonic() > end, seconds)
                if fault is not None:
                    self._ended = fault
                    self.close()
                    raise fault from None
        if not isinstance(answer, Ended) or answer.kind == "forged":
            # What many processes answer at once may come before the next look at them, and in one heap.
            answer = self._crowd() or self._refused(answer) or answer
        if isinstance(answer, Ended):
            self._ended = answer
            self.close()
            raise answer
        return answer

    def load(self, file: str | Path, known: Sequence[str]) -> Any:
        """Import a file. The answer has the names of `known` that it defines, `found`, and what went wrong, `error`."""
        path = Path(file).resolve()
        top, package = path.parent, ""
        while (top / "__init__.py").exists() and top.name.isidentifier() and top != top.parent:
            top, package = top.parent, f"{top.name}.{package}".rstrip(".")
        paths = [str(top), str(path.parent), str(PACKAGE.parent)]
        request = {"load": str(path), "paths": paths, "package": package, "known": list(known)}
        return self.ask(request, self.limits.start)

    def _fault(self, late: bool, seconds: float) -> Ended | None:
        """What is wrong with a process that is still at it."""
        if self._printed > self.limits.output:
            return self._too_much()
        return self._crowd() or (Ended("timeout", f"no answer within {seconds:g} seconds") if late else None)

    def _crowd(self) -> Ended | None:
        return self._too_many() if len(_descendants(self._process.pid)) > self.limits.processes else None

    def _refused(self, answer: Any) -> Ended | None:
        """The system's own limit may be met before that many are counted: then fork raises what nothing else does."""
        error = answer.get("error") if isinstance(answer, dict) else None
        return self._too_many() if isinstance(error, dict) and error.get("type") == "BlockingIOError" else None

    def _too_many(self) -> Ended:
        return Ended("processes", f"it started more than {self.limits.processes} processes")

    def _too_much(self) -> Ended:
        return Ended("output", f"it printed more than {self.limits.output / (1 << 20):g} MB")

    def _read(self) -> None:
        """Hand the answers over, and last of all why there are no more."""
        assert self._process.stdout is not None
        take = self._process.stdout.read1  # type: ignore[attr-defined]
        try:
            while True:
                self._answers.put(wire.read(take, _ANSWER))
        except wire.WireError as error:
            self._answers.put(Ended("forged", f"what came back is no answer: {error}"))
        except (EOFError, OSError, ValueError):
            self._answers.put(self._end())

    def _end(self) -> Ended:
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            return Ended("crashed", "it closed the pipe to the checker")
        code = code - 128 if code > 128 else -code if code < 0 else 0  # bubblewrap, and a shell, add 128
        if self._printed > self.limits.output:
            return self._too_much()
        if code == getattr(signal, "SIGXCPU", -1):
            return Ended("processor", f"it used more than {self.limits.processor} seconds of the processor")
        if code:
            with contextlib.suppress(ValueError):
                return Ended("crashed", f"the process was ended by {signal.Signals(code).name}")
        return Ended("crashed", f"the process ended by itself, with exit code {self._process.returncode}")

    def _listen(self) -> None:
        """Keep the beginning of what is printed, and count the rest."""
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while part := self._process.stderr.read1(1 << 16):  # type: ignore[attr-defined]
                self._printed += len(part)
                self._kept += part[:max(0, 4096 - len(self._kept))]
                if self._printed > self.limits.output:
                    self._kill()
                    return

    def printed(self) -> str:
        """The beginning of what it has printed."""
        return self._kept.decode("utf-8", "replace")

    def _kill(self) -> None:
        family = _descendants(self._process.pid) if self._process.poll() is None else []
        with contextlib.suppress(OSError, AttributeError):  # ended already; Windows knows no groups
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in family[1:]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """End the process and all that it has started."""
        self._kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(5)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _walls(wrapped: bool, why: str, limits: list[str], other: bool) -> str:
    """What keeps the student's code in, in a sentence."""
    names = {"CPU": "processor time", "AS": "memory", "NPROC": "processes", "NOFILE": "open files",
             "FSIZE": "file size", "CORE": ""}
    held = ", ".join(filter(None, ["time", "output", *(names[name] for name in limits if name in names)]))
    if wrapped:
        return f"behind bubblewrap: no network, nothing to write to but an empty /tmp; limits of {held}"
    if other:
        return f"as another user, with limits of {held}: {why}, so what all may read, and the network, are in its reach"
    return f"with limits of {held} alone: {why}, so files and the network are within its reach"
