"""The process that runs a student's code. Started by its path, it imports nothing of the package by itself.

It sets its limits, takes the pipes to the checker away from standard input and output, loads the files it is told to
and runs programs with what they define. It is told no right answer, and judges nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import os
import signal
import sys
from importlib.machinery import SourceFileLoader
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))


def _beside(name: str) -> Any:
    """A module of this folder, without the package it is in."""
    spec = importlib.util.spec_from_file_location(f"_dasecv_{name}", os.path.join(HERE, f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def limit(limits: dict[str, int]) -> list[str]:
    """Set the limits that this system knows, for good, and return their names."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    kept = []
    for name, value in limits.items():
        number = getattr(resource, f"RLIMIT_{name}", None)
        if number is None:
            continue
        hard = resource.getrlimit(number)[1]
        if name == "CPU":  # what the start has taken is no request's: on a slow machine it is seconds
            usage = resource.getrusage(resource.RUSAGE_SELF)
            value += math.ceil(usage.ru_utime + usage.ru_stime)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # The first of the two ends of processor time is SIGXCPU, which says what it is; SIGKILL, the second, does not.
        most = value + 2 if name == "CPU" and (hard == resource.RLIM_INFINITY or hard >= value + 2) else value
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some
            resource.setrlimit(number, (value, most))
            kept.append(name)
    return kept


_TAKEN = sys.stdlib_module_names | {"daseCV", "daseCV_c", "numpy", "test", "tqdm"}


def load(file: str, paths: list[str], package: str) -> dict[str, Any]:
    """Import `file` as a module of `package`. Of `paths` the first comes first on the import path, the rest last.

    Where a file of that folder is called as a module of Python's or NumPy itself, it comes last as well.
    """
    hides = any(entry.removesuffix(".py") in _TAKEN for entry in os.listdir(paths[0]) if entry.endswith(".py"))
    first = [] if hides else paths[:1]
    sys.path[:] = [*first, *(path for path in sys.path if path not in paths), *(p for p in paths if p not in first)]
    importlib.invalidate_caches()
    older_name(file)
    if package:
        importlib.import_module(package)
    module = ".".join(filter(None, (package, module_name(file))))
    spec = importlib.util.spec_from_file_location(module, file, loader=SourceFileLoader(module, file))
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[module] = found
    spec.loader.exec_module(found)
    return vars(found)


def module_name(file: str) -> str:
    """The name of a file as a module: another one where it is no name, as that of my-layers.py, or is taken."""
    stem = os.path.splitext(os.path.basename(file))[0]
    plain = "".join(letter if letter.isalnum() else "_" for letter in stem)
    free = stem.isidentifier() and stem not in _TAKEN and stem not in sys.modules
    return stem if free else f"student_{plain}"


def theirs(namespace: dict[str, Any], known: list[str], folder: str = os.curdir) -> list[str]:
    """The known names that the student's file, or one in its folder, defines: what it imports from us is not theirs.

    Nor is what comes from another copy of this package, which may be installed beside the one that checks.
    """
    found = []
    for name in known:
        module = str(getattr(namespace.get(name), "__module__", None))
        path = os.path.abspath(getattr(sys.modules.get(module), "__file__", None) or "")
        copy = module.startswith("daseCV_c.") and not path.startswith(os.path.join(os.path.abspath(folder), ""))
        if callable(namespace.get(name)) and not copy and not path.startswith(os.path.dirname(HERE) + os.sep):
            found.append(name)
    return found


def older_name(file: str) -> None:
    """`cs231n` is `daseCV` for a file that says so where no folder of that name is."""
    with open(file, "rb") as text:
        if b"cs231n" not in text.read():
            return
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        if importlib.util.find_spec("cs231n") is None:
            package = importlib.import_module("daseCV_c")
            package.alias("cs231n")


def serve(requests: Any, answers: Any) -> None:
    wire, programs = _beside("wire"), _beside("programs")

    def send(value: Any) -> None:
        answers.write(wire.encode(value))
        answers.flush()

    hello = wire.read(requests.read, 1 << 30)
    send({"limits": limit(hello["limits"])})
    namespace: dict[str, Any] = {}
    file = ""
    while True:
        try:
            request = wire.read(requests.read, 1 << 30)
        except EOFError:
            return
        if "load" in request:
            file = request["load"]
            try:
                namespace = load(file, request["paths"], request["package"])
                send({"found": theirs(namespace, request["known"], request["paths"][0]), "error": None})
            except BaseException as error:
                send({"found": [], "error": programs.explain(error, file)})
        else:
            send(programs.execute(request, namespace, file))


def main() -> None:
    # The pipes under numbers that print() and input() do not use.
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the checker's, which ends this process
    serve(requests, answers)
    os._exit(0)  # whatever threads and exit handlers the student's code has left


if __name__ == "__main__":
    main()
