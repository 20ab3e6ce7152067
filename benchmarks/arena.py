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
# Left to itself, NumPy's BLAS chooses the kernels and blocks that suit this CPU.
BLAS_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def environment(threads):
    """The variables of a worker process."""
    kept = {name: value for name, value in os.environ.items() if name not in BLAS_VARIABLES}
    return kept | dict.fromkeys(THREAD_VARIABLES, str(threads))


class Worker:
    """A process that runs steps on demand. `module` must call `serve` or `serve_cases`."""

    def __init__(self, module, arguments, threads):
        cores = sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else None

        def pin():
            if cores:
                os.sched_setaffinity(0, cores)

        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)], env=environment(threads), text=True,
            preexec_fn=pin, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        self.reason = json.loads(self._process.stdout.readline() or '"the process ended"')

    def run(self, seconds):
        """Median microseconds of a step, over about `seconds`."""
        return self._ask(seconds)

    def run_case(self, case, seconds):
        """The same for one of the cases of a worker that serves several; None if it has no such case."""
        return self._ask([case, seconds])

    def _ask(self, request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker of {self._module} ended with status {self._process.wait()}")
        return json.loads(line)

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def measure(step, seconds):
    """Median microseconds of `step`, called for about `seconds` and at least three times."""
    until, times = time.perf_counter() + seconds, []
    while time.perf_counter() < until or len(times) < 3:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def warm_up(step, seconds=1.0):
    started = time.perf_counter()
    step()
    while time.perf_counter() - started < seconds:
        step()


def serve(make):
    """A worker's side: say whether the step could be made, then answer requests until stdin ends."""
    try:
        step = make()
        warm_up(step)
    except (ImportError, NotImplementedError) as error:
        print(json.dumps(f"{type(error).__name__}: {error}"), flush=True)
        return
    print(json.dumps(None), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(step, json.loads(line))), flush=True)


def serve_cases(make):
    """As `serve`, for a worker with many steps: `make(case)` gives one, or None."""
    print(json.dumps(None), flush=True)
    case, step = None, None
    for line in sys.stdin:
        asked, seconds = json.loads(line)
        if asked != case:
            case, step = asked, make(asked)
            if step is not None:
                warm_up(step, 0.05)
        print(json.dumps(None if step is None else measure(step, seconds)), flush=True)


# Threads of NumPy's BLAS spin for about 107 ms after their last product, on a core that is the next one's.
REST = 0.13


def interleave(workers, rounds, seconds):
    """{name: median over the rounds}, the contestants taking turns A B C A B C."""
    times = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            time.sleep(REST)
            times[name].append(worker.run(seconds))
    return {name: statistics.median(values) for name, values in times.items()}


def interleave_case(workers, case, rounds, seconds):
    """The same for one case of workers that serve several; without those that have no such case."""
    times = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            time.sleep(REST)
            time_of_step = worker.run_case(case, seconds)
            if time_of_step is not None:
                times[name].append(time_of_step)
    return {name: statistics.median(values) for name, values in times.items() if values}


def installed(modules):
    return all(find_spec(module) for module in modules)
