"""Forks, threads and pools around the kernels: each in a process of its own, a hang is a failure."""

import multiprocessing
import os
from pathlib import Path

import pytest

import daseCV_c

pytestmark = pytest.mark.compiled

# A workload that starts parallel regions in every family, and its result to the last bit.
WORK = Path(__file__).with_name("workload.py").read_text()

FORK = WORK + '''
daseCV_c.set_num_threads(2)
threads, expected = daseCV_c.get_num_threads(), work()
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    status = 3
    try:
        text = f"{daseCV_c.get_num_threads()} {work()}"
        daseCV_c.set_num_threads(2)
        text += f" {daseCV_c.get_num_threads()} {work()}"
        os.write(writer, text.encode())
        status = 0
    finally:
        os._exit(status)
os.close(writer)
said = os.fdopen(reader).read().split()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert said == ["1", expected, "1", expected], (said, expected)
assert daseCV_c.get_num_threads() == threads and work() == expected
'''

# Each entry is asked for three threads, in a child of a process without threads, and of one that has some.
ENTRIES_IN_A_CHILD = f'''
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import conftest  # small work is shared out, too
from adversarial import frozen
from each_entry import calls, kernels


def work(threads):
    made = list(calls(((40, 33, 17),)))
    for call in made:
        call(kernels, threads)
    return [frozen(call.results()) for call in made]


def child_works():
    child = os.fork()
    if child == 0:
        try:
            status = 0 if work(3) == expected else 4
            if sys.platform == "linux" and len(os.listdir("/proc/self/task")) != 1:
                status = 5
        except BaseException:
            status = 6
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


expected = work(1)
child_works()
assert work(3) == expected
child_works()
'''

PYTHON_THREADS = WORK + '''
import threading

daseCV_c.set_num_threads(2)
expected = [work(seed) for seed in range(6)]
found = [[] for _ in range(6)]
start = threading.Barrier(6)


def repeat(k):
    start.wait()
    for _ in range(5):
        found[k].append(work(k))


threads = [threading.Thread(target=repeat, args=(k,)) for k in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert found == [[one] * 5 for one in expected]
'''

POOL = WORK + '''
import multiprocessing


if __name__ == "__main__":
    daseCV_c.set_num_threads(2)
    expected = [work(seed) for seed in range(4)]
    method = METHOD
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(threads_and_work, range(4))
    assert [bits for _, bits in found] == expected
    if method == "fork":
        assert {threads for threads, _ in found} == {1}
    assert work() == expected[0]
'''

JOBLIB = '''
import joblib
from helper import daseCV_c, threads_and_work, work

if __name__ == "__main__":
    daseCV_c.set_num_threads(2)
    expected = [work(seed) for seed in range(4)]
    found = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(threads_and_work)(seed) for seed in range(4))
    assert [bits for _, bits in found] == expected
    assert work() == expected[0]
'''

BLAS = WORK + '''
daseCV_c.set_num_threads(2)
rng = np.random.default_rng(3)
a, b = rng.standard_normal((200, 200)), rng.standard_normal((200, 200))
expected, product = work(), a @ b
for _ in range(10):
    assert work() == expected
    assert np.allclose(a @ b, product)
'''

# Others hold every processor, as the threads of a BLAS do for a while.
HELD = """
import importlib, os, subprocess, sys, time
import numpy as np
from daseCV_c._runtime import backend as _backend

matmul = importlib.import_module(f"daseCV_c._compiled.{_backend.level}.networks").matmul
rng = np.random.default_rng(5)
cases = []
for dtype in (np.float32, np.float64):
    for trans_a, trans_b in ((False, False), (True, False), (False, True)):
        m, n, k = 150, 210, 333
        a = rng.standard_normal((k, m) if trans_a else (m, k)).astype(dtype)
        b = rng.standard_normal((n, k) if trans_b else (k, n)).astype(dtype)
        expected = np.empty((m, n), dtype)
        matmul(a, b, expected, trans_a, trans_b, 1)
        cases.append((a, b, trans_a, trans_b, expected))
holders = [subprocess.Popen([sys.executable, "-c", "print(flush=True)\\nwhile True: pass"], stdout=subprocess.PIPE)
           for _ in range(os.cpu_count())]
try:
    assert all(holder.stdout.readline() for holder in holders)
    until, rounds = time.monotonic() + 1, 0
    while rounds < 5 or time.monotonic() < until:
        rounds += 1
        for a, b, trans_a, trans_b, expected in cases:
            for threads in (2, 3, 12):
                out = np.full_like(expected, np.nan)
                matmul(a, b, out, trans_a, trans_b, threads)
                assert np.array_equal(out, expected), (a.dtype, trans_a, trans_b, threads)
finally:
    for holder in holders:
        holder.kill()
"""

FORK_WITH_A_THREAD_AT_WORK = WORK + '''
import threading

daseCV_c.set_num_threads(2)
expected = work()
stop = threading.Event()


def busy():
    while not stop.is_set():
        work(1)


other = threading.Thread(target=busy)
other.start()
try:
    for _ in range(5):
        child = os.fork()
        if child == 0:
            try:
                status = 0 if work() == expected else 4
            except BaseException:
                status = 5
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
finally:
    stop.set()
    other.join()
assert work() == expected
'''


SCORED_WHILE_ANOTHER_TRAINS = WORK + '''
import threading

daseCV_c.set_num_threads(2)
rng = np.random.default_rng(3)
x = rng.standard_normal((300, 200))
net = FullyConnectedNet([130, 60], input_dim=200, normalization="layernorm", dtype=np.float64)
expected, scores = trained(x, np.random.default_rng(4), 60), net.loss(x)
found = []
other = threading.Thread(target=lambda: found.extend(trained(x, np.random.default_rng(4), 60)))
other.start()
scored = 0
while other.is_alive() or not scored:
    assert np.array_equal(net.loss(x), scores)
    scored += 1
other.join()
assert len(found) == len(expected) and all(map(np.array_equal, found, expected))
'''

# More threads than the team gets: the barriers count those that came.
FEWER_THREADS = WORK + '''
daseCV_c.set_num_threads(1)
expected = work()
daseCV_c.set_num_threads(4)
assert work() == expected
'''

MORE_THREADS = FEWER_THREADS.replace("set_num_threads(4)", "set_num_threads(13)")

# An OpenMP region, another runtime's pool and the package's in one process.
NESTED = WORK + '''
from concurrent.futures import ThreadPoolExecutor

daseCV_c.set_num_threads(3)
expected = [work(seed) for seed in range(8)]
a = np.random.default_rng(0).standard_normal((400, 400))
with ThreadPoolExecutor(8) as pool:
    others = [pool.submit(np.matmul, a, a) for _ in range(20)]
    found = list(pool.map(work, range(8)))
assert found == expected
assert all(np.array_equal(others[0].result(), other.result()) for other in others)
'''


def test_scores_while_another_network_trains(script):
    script(SCORED_WHILE_ANOTHER_TRAINS)


@pytest.mark.parametrize("env", [{"OMP_THREAD_LIMIT": "1"}, {"OMP_THREAD_LIMIT": "3"}, {"OMP_DYNAMIC": "true"},
                                 {"OMP_NUM_THREADS": "1"}, {"OMP_WAIT_POLICY": "active"}, {"OMP_NESTED": "true"}],
                         ids=str)
def test_a_team_of_another_size(script, env):
    script(FEWER_THREADS, **env)


def test_more_threads_than_cores(script):
    script(MORE_THREADS)


def test_pools_inside_pools(script):
    script(NESTED)


def test_six_python_threads(script):
    script(PYTHON_THREADS)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_multiprocessing_pool(script, method):
    script(POOL.replace("METHOD", repr(method)))


def test_joblib(script, tmp_path):
    (tmp_path / "helper.py").write_text(WORK)
    script(JOBLIB, PYTHONPATH=_path(tmp_path))


def _path(folder):
    """The package's parent folder and `folder`, for the workers that joblib starts."""
    return os.pathsep.join([str(Path(daseCV_c.__file__).resolve().parents[1]), str(folder)])


def test_alternating_with_blas(script):
    script(BLAS)


def test_products_while_others_hold_the_processors(script):
    script(HELD)


BACKEND_IN_A_CHILD = WORK + '''
expected = work()
with daseCV_c.use_backend("numpy"):
    child = os.fork()
    if child == 0:
        os._exit(0 if daseCV_c.get_backend() == "numpy" and work() != "" else 4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert work() == expected
'''

if hasattr(os, "fork"):
    @pytest.mark.parametrize("source", [FORK, FORK_WITH_A_THREAD_AT_WORK, BACKEND_IN_A_CHILD, ENTRIES_IN_A_CHILD],
                             ids=["after_a_parallel_region", "while_a_kernel_runs", "with_the_other_backend",
                                  "whose_entries_are_asked_for_threads"])
    def test_fork(script, source):
        script(source)
