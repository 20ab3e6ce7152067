"""Processes, threads, signals and imports at the same time as kernels, as often as wanted:

    python tests/concurrency_trials.py [--times 100] [NAME ...]

Each trial is a process of its own, and fails where a result differs by a bit, where it crashes and where it hangs.
`torch_workers` needs PyTorch. `test_at_the_same_time.py` runs each of the others once or a few times.
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
LIMIT = 1800  # seconds: whatever takes longer hangs

import numpy as np  # noqa: E402
from workload import daseCV_c, threads_and_work, trained, work  # noqa: E402


def program(source, *args):
    """Python of its own, with what is imported here within its reach; what it printed."""
    paths = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run([sys.executable, "-c", source, *args], capture_output=True, text=True, timeout=LIMIT,
                          check=False, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# Threads.

def entries(times):
    """Eight threads call each entry on shared inputs, on 1 to 3 kernel threads."""
    import conftest
    from at_once import CALLERS, differing
    from entries import ENTRIES

    calls = 0
    with ThreadPoolExecutor(CALLERS) as pool:
        for level in conftest.usable_levels():
            kernels = SimpleNamespace(**conftest.families_of(level))
            for entry in ENTRIES * times:
                for dtype in (np.float32, np.float64):
                    wrong = differing(pool, kernels, entry, dtype)
                    assert not wrong, f"{level} {entry} {dtype.__name__}: {wrong}"
                    calls += 3 * CALLERS
    return f"{calls} calls of {len(ENTRIES)} entries by {CALLERS} threads"


def solvers(times):
    """Eight trainings of four kinds at once."""
    from training_at_once import KINDS
    from training_at_once import trained as trained_by_a_solver

    alone = {kind: trained_by_a_solver(kind) for kind in KINDS}
    kinds = [*KINDS] * 2
    with ThreadPoolExecutor(len(kinds)) as pool:
        for _ in range(times):
            assert list(pool.map(trained_by_a_solver, kinds)) == [alone[kind] for kind in kinds]
    return f"{times * len(kinds)} trainings, {len(kinds)} at a time"


# Processes.

def _send(connection, seed):
    connection.send(threads_and_work(seed))


def processes(times):
    """Process, Pool and ProcessPoolExecutor of each start method, after parallel regions of the parent."""
    expected, count, most = [work(seed) for seed in range(4)], 0, min(2, times)
    methods = multiprocessing.get_all_start_methods()
    if times == 1 and len(methods) > 1:
        methods.remove("spawn")  # each process of it imports everything; test_concurrency.py has one, too
    for method in methods:
        context = multiprocessing.get_context(method)
        for _ in range(times):
            pairs = [context.Pipe(False) for _ in range(most)]
            children = [context.Process(target=_send, args=(sender, seed)) for seed, (_, sender) in enumerate(pairs)]
            for child in children:
                child.start()
            found = [receiver.recv() for receiver, _ in pairs]
            for child in children:
                child.join()
            assert [bits for _, bits in found] == expected[:most], method
            with ProcessPoolExecutor(most, mp_context=context) as pool:
                found += pool.map(threads_and_work, range(4))
            assert [bits for _, bits in found[most:]] == expected, method
            if times > 1:  # test_concurrency.py has this one, too
                with context.Pool(most) as pool:
                    found += pool.map(threads_and_work, range(4))
                assert [bits for _, bits in found[-4:]] == expected, method
            assert method != "fork" or {threads for threads, _ in found} == {1}
            assert work() == expected[0]
            count += most * (3 if times > 1 else 2)
    return f"{count} processes of {', '.join(methods)}"


def _ends_well(work_of_child):
    """Fork a child that does some work; whether it ended well."""
    child = os.fork()
    if child == 0:
        try:
            status = 0 if work_of_child() else 4
        except BaseException:
            status = 5
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def forks(times):
    """A thread forks while the main thread is in parallel regions; the child works, in threads too, and forks."""
    expected, statuses = [work(seed) for seed in range(3)], []

    def grandchild():
        return work(2) == expected[2]

    def child():
        with ThreadPoolExecutor(2) as pool:
            return (work() == expected[0] and list(pool.map(work, (1, 2))) == expected[1:]
                    and _ends_well(grandchild) == 0)

    forker = threading.Thread(target=lambda: statuses.extend(_ends_well(child) for _ in range(times)))
    forker.start()
    while forker.is_alive():
        assert work(1) == expected[1]
    forker.join()
    assert statuses == [0] * times, statuses
    return f"{times} children, each with a child of its own"


# Signals.

def signals(times):
    """A timer of a millisecond and SIGUSR1 to two threads in kernels; handlers compute as well."""
    expected, came = [work(seed) for seed in range(2)], {signal.SIGALRM: 0, signal.SIGUSR1: 0}
    a = np.random.default_rng(0).standard_normal((90, 90))
    from daseCV_c import layers
    product, _ = layers.affine_forward(a, a, a[0])

    def hear(number, frame):
        came[number] += 1
        if came[number] % 7 == 0:
            assert np.array_equal(layers.affine_forward(a, a, a[0])[0], product)
        if number == signal.SIGALRM and not stop.is_set():  # again: a periodic one would leave a slow machine no time
            signal.setitimer(signal.ITIMER_REAL, 0.001)

    stop, sent, found = threading.Event(), threading.Event(), []

    def compute():
        found.extend(work(1) for _ in range(times))
        sent.wait()  # no signal is sent to a thread that has ended

    def send():
        while not stop.wait(0.0005):
            heard = came[signal.SIGUSR1]
            for thread in (threading.main_thread(), other):
                signal.pthread_kill(thread.ident, signal.SIGUSR1)
            while came[signal.SIGUSR1] == heard and not stop.wait(0.0005):
                pass

    other, sender = threading.Thread(target=compute), threading.Thread(target=send)
    former = {number: signal.signal(number, hear) for number in came}
    try:
        for number in came:
            signal.siginterrupt(number, True)  # calls of the system end with EINTR
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        other.start()
        sender.start()
        for _ in range(times):
            assert work() == expected[0]
        while other.is_alive() and len(found) < times or not all(came.values()):
            assert work() == expected[0]
    finally:
        stop.set()
        sender.join()
        sent.set()
        other.join()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in former.items():
            # One may be on its way to a thread of the kernels: its former handler would end the process. Whoever
            # ignores a signal takes back those on their way.
            signal.signal(number, signal.SIG_IGN)
            signal.signal(number, handler)
    assert found == [expected[1]] * times
    return f"{sum(came.values())} signals during {2 * times} workloads"


def interrupts(times):
    """Ctrl-C at any moment of the work; then it is done anew."""
    expected, ready, rng = work(), threading.Semaphore(0), random.Random(1)

    def send():
        for _ in range(times):
            ready.acquire()
            time.sleep(rng.uniform(0, 0.03))
            os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(times):
        try:
            ready.release()
            while True:
                work()
        except KeyboardInterrupt:
            pass
        assert work() == expected
    sender.join()
    return f"{times} times KeyboardInterrupt"


WORKS_ON = """
import select, sys
from workload import work

expected, count = work(), 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    assert work() == expected
    count += 1
print(count)
"""


def stops(times):
    """SIGSTOP and SIGCONT at any moment."""
    paths = os.pathsep.join([str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    rng = random.Random(1)
    with subprocess.Popen([sys.executable, "-c", WORKS_ON], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=os.environ | {"PYTHONPATH": paths}) as worker:
        assert worker.stdout.readline() == "ready\n"
        for _ in range(times):
            time.sleep(rng.uniform(0, 0.02))
            worker.send_signal(signal.SIGSTOP)
            time.sleep(rng.uniform(0, 0.01))
            worker.send_signal(signal.SIGCONT)
        said, _ = worker.communicate("end\n", timeout=LIMIT)
    assert worker.returncode == 0
    return f"stopped {times} times during {int(said)} workloads"


# Imports.

IMPORTS = """
import importlib, json, sys, threading
names, failed, found = json.loads(sys.argv[1]), [], []
sys.setswitchinterval(1e-6)
start = threading.Barrier(len(names))


def load(name):
    try:
        start.wait()
        for each in name.split():
            importlib.import_module(each)
        start.wait()  # the first kernel
        import numpy as np
        from daseCV_c import layers
        x = np.ones((500, 300))
        start.wait()
        out, cache = layers.affine_forward(x, x[:300], x[0])
        found.append((out.tobytes(), *(part.tobytes() for part in layers.affine_backward(out, cache))))
    except BaseException as error:
        start.abort()
        failed.append(f"{name}: {type(error).__name__}: {error}")


threads = [threading.Thread(target=load, args=(name,)) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
assert len(set(found)) == 1 and len(found) == len(names)
import daseCV_c
assert daseCV_c.get_backend() == sys.argv[2]
"""


def imports(times):
    """The first import, and the first kernel, by eight threads at once: packages, modules and compiled modules."""
    from daseCV_c._runtime.backend import get_backend, level
    names = ["daseCV_c", "daseCV", "daseCV_c.layers", "daseCV.layers", "daseCV_c.solver", "daseCV_c.classifiers.cnn",
             "daseCV.classifiers.fc_net", "daseCV_c"]
    if level is not None:  # who asks for a compiled module has imported the package
        names[7] = f"daseCV_c daseCV_c._compiled.{level}.networks daseCV_c._compiled.runtime"
    for turn in range(times):
        random.Random(turn).shuffle(names)
        program(IMPORTS, json.dumps(names), get_backend())
    return f"{times} processes, {len(names)} threads each"


# A server.

class Scores(BaseHTTPRequestHandler):
    """Answers images in NumPy's format with their scores."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        images = np.load(io.BytesIO(self.rfile.read(int(self.headers["Content-Length"]))), allow_pickle=False)
        answer = io.BytesIO()
        np.save(answer, self.server.network.loss(images))
        self.send_response(200)
        self.send_header("Content-Length", str(answer.tell()))
        self.end_headers()
        self.wfile.write(answer.getvalue())

    def setup(self):
        super().setup()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *args):
        pass


def server(times):
    """Six clients of a web server's threads, while another network trains, and then the network that answers."""
    from training_at_once import solver_of
    from training_at_once import trained as trained_by_a_solver

    solver = solver_of("batchnorm", epochs=4 * times)
    answering = ThreadingHTTPServer(("127.0.0.1", 0), Scores)
    answering.daemon_threads, answering.network = False, solver.model
    rng = np.random.default_rng(1)
    images = [rng.standard_normal((5 + 40 * k, 3, 4, 4)) for k in range(6)]
    expected = [solver.model.loss(each) for each in images]
    stop, asked = threading.Event(), []

    def client(k, same):
        question, count = io.BytesIO(), 0
        np.save(question, images[k])
        with contextlib.closing(HTTPConnection(*answering.server_address, timeout=LIMIT)) as connection:
            while not stop.is_set() or not count:
                connection.request("POST", "/", question.getvalue())
                scores = np.load(io.BytesIO(connection.getresponse().read()), allow_pickle=False)
                assert scores.shape == expected[k].shape and np.isfinite(scores).all()
                assert not same or np.array_equal(scores, expected[k]), "another answer than alone"
                count += 1
        asked.append(count)

    def beside(training, same):
        stop.clear()
        with ThreadPoolExecutor(len(images)) as pool:
            clients = [pool.submit(client, k, same) for k in range(len(images))]
            try:
                end = training()
            finally:
                stop.set()
            for each in clients:
                each.result()
        return end

    thread = threading.Thread(target=answering.serve_forever)
    thread.start()
    try:
        alone = trained_by_a_solver("layernorm", 4 * times)
        assert beside(lambda: trained_by_a_solver("layernorm", 4 * times), True) == alone
        beside(solver.train, False)
    finally:
        answering.shutdown()
        thread.join()
        answering.server_close()
    undisturbed = solver_of("batchnorm", epochs=4 * times)
    undisturbed.train()
    assert solver.loss_history == undisturbed.loss_history
    assert all(np.array_equal(w, undisturbed.model.params[name]) for name, w in solver.model.params.items())
    return f"{sum(asked)} answers to {len(images)} clients"


# Other libraries' workers.

def joblib_workers(times):
    """Each backend of joblib, after parallel regions of the parent."""
    import joblib

    expected = [work(seed) for seed in range(4)]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    for backend in ("threading", "loky", "multiprocessing"):
        for _ in range(times):
            found = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(work)(seed) for seed in range(4))
            assert found == expected, backend
    return f"{times} times each of threading, loky, multiprocessing"


def torch_workers(times):
    """DataLoader workers that compute by our kernels and by PyTorch's, which has an OpenMP runtime of its own."""
    for first in ("torch", "daseCV_c"):
        program(f"import {first}, sys; sys.argv[1:] = ['{times}']\n"
                f"import runpy; runpy.run_path({str(HERE / 'torch_loading.py')!r}, run_name='__main__')")
    return f"{times} times each of the start methods, either imported first"


TRIALS = (entries, solvers, processes, forks, signals, interrupts, stops, imports, server, joblib_workers,
          torch_workers)
assert trained  # of the workload: a child of spawn finds it here


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    named = {each.__name__: each for each in TRIALS}
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(named))
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        daseCV_c.set_num_threads(3)
        for name in args.names:
            print(f"{name}: " * (len(args.names) > 1) + named[name](args.times), flush=True)
        return 0
    failed = 0
    for name in args.names or named:
        began = time.perf_counter()
        command = [sys.executable, "-X", "faulthandler", __file__, "--child", name, "--times", str(args.times)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LIMIT * 4, check=False)
        failed += done.returncode != 0
        said = done.stdout.strip() if done.returncode == 0 else f"exit status {done.returncode}"
        print(f"{name}: {said}, {time.perf_counter() - began:.0f} s", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
