"""Runs contestants side by side: each in a process of its own, one at a time, in turn.

A worker process builds its step, warms it up, and then runs a number of steps whenever its
parent says so. Threads are pinned by the variables that BLAS, OpenMP and the rest read.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """A process that runs steps on demand. `module` must call `serve`."""

    def __init__(self, module, arguments, threads):
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
        cores = sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else None

        def pin():
            if cores:
                os.sched_setaffinity(0, cores)

        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)], env=environment, text=True, preexec_fn=pin,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        self.reason = json.loads(self._process.stdout.readline() or '"the process ended"')

    def run(self, seconds):
        """Median microseconds of a step, over about `seconds`."""
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def serve(make):
    """A worker's side: say whether the step could be made, then answer requests until stdin ends."""
    try:
        step = make()
        started = time.perf_counter()
        while time.perf_counter() - started < 1.0:
            step()
    except (ImportError, NotImplementedError) as error:
        print(json.dumps(f"{type(error).__name__}: {error}"), flush=True)
        return
    print(json.dumps(None), flush=True)
    for line in sys.stdin:
        until, times = time.perf_counter() + float(line), []
        while time.perf_counter() < until or len(times) < 3:
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(json.dumps(statistics.median(times) * 1e6), flush=True)


def interleave(workers, rounds, seconds):
    """{name: median over the rounds}, the contestants taking turns A B C A B C."""
    times = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            times[name].append(worker.run(seconds))
    return {name: statistics.median(values) for name, values in times.items()}


def installed(modules):
    return all(find_spec(module) for module in modules)
