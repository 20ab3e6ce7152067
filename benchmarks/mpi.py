"""Data-parallel training over MPI: how much sooner n ranks make a step, what the parts of it cost, and a model for 64.

    python -m benchmarks.mpi [--ranks 2] [--threads 1] [--seconds 1] [--mpiexec-options "--bind-to core"]
                             [--bandwidth 3.1e9] [--latency 10e-6] [--out FOLDER]

Starts itself under the mpiexec beside this Python. Rank 0 alone and all ranks together make steps in turn, so that both
see the same machine; times are the least of many. The bandwidth in bytes a second and the latency in seconds are those
of the network that the model assumes between machines.
"""

import argparse
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import output

# hidden layers, batch, norm; of 3072 features and 10 classes, float32, Adam.
NETWORKS = {
    "3072-[100]x5-10, batch 100": ([100] * 5, 100, None),
    "3072-[100]x5-10, batch 1024": ([100] * 5, 1024, None),
    "the same with batch norm": ([100] * 5, 1024, "batchnorm"),
    "3072-[1024]x3-10, batch 256": ([1024] * 3, 256, None),
    "3072-[1024]x3-10, batch 2048": ([1024] * 3, 2048, None),
}
MODELLED = ("3072-[100]x5-10, batch 1024", "3072-[1024]x3-10, batch 2048")
SIZES = (2, 2**8, 2**12, 2**14, 2**16, 2**18, 2**20, 2**22)  # numbers of 4 bytes
RANKS = (1, 2, 4, 8, 16, 32, 64)


def least(action, seconds, fewest=5):
    """Seconds of one call: the least of as many groups of calls as fit."""
    began, best, calls, groups = time.perf_counter(), math.inf, 1, 0
    while groups < fewest or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        for _ in range(calls):
            action()
        took = time.perf_counter() - start
        best, groups = min(best, took / calls), groups + 1
        if took < 1e-3:
            calls *= 2
    return best


def together(comm, action, calls):
    """Seconds of one call that all ranks make, as the slowest sees it."""
    comm.Barrier()
    start = time.perf_counter()
    for _ in range(calls):
        action()
    return comm.allreduce((time.perf_counter() - start) / calls, op=max)


def solver_of(name, comm, count=None):
    from daseCV_c.classifiers.fc_net import FullyConnectedNet
    from daseCV_c.solver import Solver
    hidden, batch, norm = NETWORKS[name]
    np.random.seed(0)
    X, y = np.random.randn(4096, 3072).astype(np.float32), np.random.randint(0, 10, 4096)
    data = {"X_train": X, "y_train": y, "X_val": X[:100], "y_val": y[:100]}
    net = FullyConnectedNet(hidden, 3072, 10, normalization=norm, weight_scale="he")
    return Solver(net, data, update_rule="adam", optim_config={"learning_rate": 1e-4}, batch_size=count or batch,
                  verbose=False, comm=comm)


class Alone:
    """What a rank does in a step beside talking to others: a team of one."""

    size, rank = 1, 0

    def share(self, count):
        from daseCV_c._parallel.team import Share
        return Share(0, count, count)

    def shares(self, count):
        return [self.share(count)]

    def in_a_step(self):
        from contextlib import nullcontext
        return nullcontext()

    def step_begins(self, solver):
        pass

    def step_total(self, loss):
        return loss

    def add_up(self, flat):
        pass


def efficiency(comm, seconds):
    """(name, step of one rank, step of all) for each network."""
    from daseCV_c._parallel import solving
    from daseCV_c._training.signals import Asked
    for name in NETWORKS:
        alone, shared = solver_of(name, None), solver_of(name, comm)
        solving.Together(shared).begin()
        shared._team.ask(Asked())
        shared._step()
        best, began = [math.inf, math.inf], time.perf_counter()
        rounds = 0
        while comm.bcast(rounds < 3 or time.perf_counter() - began < 4 * seconds):
            rounds += 1
            if comm.rank == 0:
                best[0] = min(best[0], least(alone._step, 0, 2))
            quiet(comm)
            for _ in range(2):
                best[1] = min(best[1], together(comm, shared._step, 1))
        yield name, *best


def quiet(comm):
    """Wait for rank 0 and leave it the processor."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(1e-3)


def ping_pong(comm, seconds):
    """(bytes, seconds of a message there and back, halved) between the first two ranks."""
    for size in SIZES:
        data, best = np.zeros(size, np.float32), math.inf
        for _ in range(max(5, int(20 * seconds))):
            comm.Barrier()
            if comm.rank > 1:
                continue
            start, calls = time.perf_counter(), 20 if size < 2**14 else 1
            for _ in range(calls):
                for sender in (0, 1):
                    comm.Send(data, 1 - comm.rank) if comm.rank == sender else comm.Recv(data, sender)
            best = min(best, (time.perf_counter() - start) / calls / 2)
        yield 4 * size, best


def sums(comm, seconds):
    """(bytes, seconds of a sum by everything to everybody, by parts, by MPI_Allreduce)."""
    from daseCV_c._parallel.exchange import Exchange
    exchange = Exchange(comm)
    for size in SIZES:
        flat, found = np.zeros(size, np.float32), np.zeros(size, np.float32)
        best = [math.inf] * 3
        for _ in range(max(5, int(20 * seconds))):
            for i, action in enumerate((lambda flat=flat: exchange.add_up_small(flat),
                                        lambda flat=flat: exchange.add_up_large(flat),
                                        lambda flat=flat, found=found: comm.Allreduce(flat, found))):
                best[i] = min(best[i], together(comm, action, 20 if size < 2**14 else 1))
        yield 4 * size, *best


def terms(name, seconds):
    """What a step consists of on one rank: {samples: seconds of all but the update}, seconds of the update, numbers."""
    from daseCV_c import get_num_threads, optim
    from daseCV_c._parallel import step
    from daseCV_c._runtime import backend
    solver = solver_of(name, None)
    params = sum(w.size for w in solver.model.params.values())
    w, dw, m, v = (np.full(params, 0.1, np.float32) for _ in range(4))
    numbers = (*optim.NUMBERS["adam"](*(optim.SETTINGS["adam"].values())), 1)
    kernels = backend.kernels_of(np.dtype(np.float32))
    update = least(lambda: kernels.optim.update("adam", w, dw, m, v, w, m, v, *numbers, get_num_threads()), seconds)
    found, batch = {}, NETWORKS[name][1]
    for ranks in RANKS:
        one = solver_of(name, None, batch // ranks)
        one._team = Alone()
        one._fused = step.maker(one)
        one._step()
        found[batch // ranks] = max(least(one._step, seconds / 2) - update, 0.0)
    return found, update, params


def modelled(name, parts, update, params, latency, bandwidth, add):
    """Rows of the model: ranks, seconds of computing, of adding up, of the update, of a step, efficiency."""
    batch = NETWORKS[name][1]
    for ranks in RANKS:
        computing = parts[batch // ranks]
        adding = 0.0
        if ranks > 1:
            # Two exchanges of 1/ranks of the numbers with each other rank; and the loss, in log2(ranks) messages.
            adding = (2 * (ranks - 1) * latency + 2 * (ranks - 1) / ranks * 4 * params / bandwidth
                      + params * add + math.ceil(math.log2(ranks)) * latency)
        step = computing + adding + update
        yield ranks, computing, adding, update, step, (parts[batch] + update) / step / ranks


def measure(args):
    from mpi4py import MPI

    import daseCV_c
    comm = MPI.COMM_WORLD
    daseCV_c.set_num_threads(args.threads)
    say = print if comm.rank == 0 else lambda *words: None
    say(f"{MPI.Get_library_version().splitlines()[0][:40]}, {comm.size} ranks, {args.threads} thread(s) each")
    report = {"ranks": comm.size, "threads": args.threads, "steps": {}, "messages": [], "sums": [], "model": {}}
    say("\nA step, ms:                        one rank    all ranks   times   efficiency")
    for name, alone, shared in efficiency(comm, args.seconds):
        report["steps"][name] = alone, shared
        times = alone / shared
        say(f"{name:32} {1e3 * alone:10.3f} {1e3 * shared:12.3f} {times:7.2f} {times / comm.size:11.0%}")
    say("\nbytes        a message, us   GB/s | a sum, us: all to all   by parts   MPI_Allreduce")
    for (size, message), (_, small, large, theirs) in zip(ping_pong(comm, args.seconds), sums(comm, args.seconds),
                                                         strict=True):
        report["messages"].append((size, message))
        report["sums"].append((size, small, large, theirs))
        say(f"{size:<12} {1e6 * message:12.1f} {size / message / 1e9:7.2f} | {1e6 * small:21.1f} {1e6 * large:10.1f} "
            f"{1e6 * theirs:14.1f}")
    if comm.rank == 0:
        messages = report["messages"]
        here = messages[0][1], messages[-1][0] / messages[-1][1]
        a, b = np.zeros(2**20, np.float32), np.zeros(2**20, np.float32)
        add = least(lambda: np.add(a, b, out=a), args.seconds) / a.size
        mask = least(lambda: np.random.rand(10**5), args.seconds) / 10**5
        say(f"\nAn addition: {1e9 * add:.2f} ns; a number for a dropout mask: {1e9 * mask:.2f} ns")
        for name in MODELLED:
            parts, update, params = terms(name, args.seconds)
            for where, (latency, bandwidth) in (("messages as between processes here", here),
                                                ("the assumed network", (args.latency, args.bandwidth))):
                rows = list(modelled(name, parts, update, params, latency, bandwidth, add))
                report["model"][f"{name}, {where}"] = rows
                say(f"\n{name}, {params:,} parameters; {where}: {1e6 * latency:.1f} us, {bandwidth / 1e9:.1f} GB/s")
                say("ranks   computing, ms   adding up   update     step   efficiency")
                for ranks, computing, adding, updating, whole, share in rows:
                    say(f"{ranks:5} {1e3 * computing:15.3f} {1e3 * adding:11.3f} {1e3 * updating:8.3f} "
                        f"{1e3 * whole:8.3f} {share:12.0%}")
        report |= {"add": add, "mask": mask}
        if args.out is not None:
            output.save(args.out, "mpi", report)
    quiet(comm)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure, about")
    parser.add_argument("--bandwidth", type=float, default=3.1e9, help="of the assumed network; default: 25 Gbit/s")
    parser.add_argument("--latency", type=float, default=10e-6)
    parser.add_argument("--mpiexec-options", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rank:
        measure(args)
        return
    mpiexec = Path(sys.executable).parent / "mpiexec"
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    sys.exit(subprocess.run([mpiexec, *args.mpiexec_options.split(), "-n", str(args.ranks), sys.executable, "-m",
                             "benchmarks.mpi", "--rank", *sys.argv[1:]], env=environment).returncode)


if __name__ == "__main__":
    main()
