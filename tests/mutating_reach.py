"""A plugin of pytest, of mutate_kernels.py: which mutants each test reaches; or a server that tries mutants.

MUTANT_REACH: a file for what is found, a line a test. MUTANT_SERVER: whether a server is wanted. The modules note in
shared memory, the file that MUTANT_SEEN names, which mutants they came past: so do the processes that a test starts.
"""

import json
import mmap
import os
import signal
import time

import pytest

SIZE = 1 << 16  # as in mutant.h
REACH = os.environ.get("MUTANT_REACH")
_found, _failed = {}, []
if os.environ.get("MUTANT_SERVER"):
    # pytest captures what goes through the usual descriptors.
    QUESTIONS, ANSWERS = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")

if REACH:
    REACH += "." + os.environ.get("PYTEST_XDIST_WORKER", "main")
    with open(REACH + ".seen", "w+b") as _file:  # before the modules are loaded
        _file.truncate(SIZE)
        _seen = mmap.mmap(_file.fileno(), SIZE)
    os.environ["MUTANT_SEEN"] = REACH + ".seen"
    _lines = open(REACH, "w")


def _taken():
    """The numbers of the mutants that were reached since the last time."""
    numbers = [i for i, byte in enumerate(_seen[:]) if byte]
    _seen[:] = bytes(SIZE)
    return numbers


def _write(name, seconds, outcome, numbers):
    _lines.write(json.dumps([name, round(seconds, 3), outcome, numbers]) + "\n")
    _lines.flush()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if not REACH:
        return (yield)
    if not _found:
        _write("import", 0, "passed", _taken())
    _found[item.nodeid] = "passed"
    began = time.perf_counter()
    try:
        return (yield)
    finally:
        _write(item.nodeid, time.perf_counter() - began, _found[item.nodeid], _taken())


def pytest_runtest_logreport(report):
    if report.failed:
        _failed.append(report.nodeid)
    if REACH and report.nodeid in _found and not report.passed:
        _found[report.nodeid] = report.outcome


# A server: the tests are collected once; each mutant gets a child, which is like a process of its own.


def pytest_runtestloop(session):
    if not os.environ.get("MUTANT_SERVER"):
        return None
    items = {item.nodeid: item for item in session.items}
    threads = len(os.listdir("/proc/self/task"))
    print(json.dumps({"items": len(items), "threads": threads}), file=ANSWERS, flush=True)
    for line in QUESTIONS:
        number, names, limit = json.loads(line)
        print(json.dumps(_tried(number, [items[name] for name in names], limit)), file=ANSWERS, flush=True)
    return True


def _tried(number, items, limit):
    """(exit status, minus a signal's number, or None where it ran out of time; the test that failed)"""
    os.environ["MUTANT"] = str(number)
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.close(ours)
        _run(items, theirs)
    os.close(theirs)
    until, status = time.monotonic() + limit, None
    while status is None and time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done == 0:
            status = None
            time.sleep(0.01)
    try:
        os.killpg(child, signal.SIGKILL)  # and what its tests have started
    except ProcessLookupError:
        pass
    if status is None:
        os.waitpid(child, 0)
    with os.fdopen(ours) as pipe:
        failed = pipe.read() if status is not None else ""
    return None if status is None else os.waitstatus_to_exitcode(status), failed


def _run(items, pipe):
    """In the child: the tests one after the other, until one fails."""
    status = 2
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if _failed:
                os.write(pipe, _failed[0].encode())
                break
        status = 1 if _failed else 0
    finally:
        os._exit(status)
