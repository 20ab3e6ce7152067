"""The training step of ThreeLayerConvNet, this package beside PyTorch: time and memory.

    python -m benchmarks.cnn [--threads 1 2] [--only PyTorch] [--out FOLDER]

32 filters of 7 x 7, 500 hidden units, batch 50, Adam, float32, images of CIFAR-10's shape. Prints a
table and, with --out, writes cnn.json and cnn.png. The limit is the step's multiply-adds at the
speed of the best large matrix product seen in the same run. Memory is the growth of the largest
resident set from after the imports and the images, in a process that runs a few steps.
"""

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import arena, output
from benchmarks.load import resident
from benchmarks.rows import CLASSES, IMAGES
from benchmarks.step import peak

SHAPE, FILTERS, SIDE, HIDDEN, BATCH, RATE, DTYPE = (3, 32, 32), 32, 7, 500, 50, 1e-4, "float32"
POOLED = FILTERS * (SHAPE[1] // 2) * (SHAPE[2] // 2)
# The convolution forward and for dw, the affine layers forward, for dw and for dx.
MULTIPLY_ADDS = BATCH * (2 * FILTERS * int(np.prod(SHAPE)) * SIDE**2 + 3 * (POOLED * HIDDEN + HIDDEN * CLASSES))
STEPS = 5  # of the process whose memory is read


def data():
    """Images and labels of the size and kind of CIFAR-10's, the same for every contestant."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((IMAGES, *SHAPE), DTYPE), rng.integers(0, CLASSES, IMAGES)


def dasecv(threads, images, labels):
    """This package: the Solver's own step."""
    import daseCV_c
    from daseCV_c.classifiers.cnn import ThreeLayerConvNet
    from daseCV_c.solver import Solver

    daseCV_c.set_num_threads(threads)
    np.random.seed(0)
    model = ThreeLayerConvNet(SHAPE, FILTERS, SIDE, HIDDEN, CLASSES, weight_scale=1e-2, dtype=np.dtype(DTYPE))
    batches = {"X_train": images, "y_train": labels, "X_val": images[:100], "y_val": labels[:100]}
    return Solver(model, batches, update_rule="adam", optim_config={"learning_rate": RATE}, batch_size=BATCH,
                  verbose=False)._step


def numpy(threads, images, labels):
    """The course's way: this package's twins on NumPy's BLAS."""
    import daseCV_c

    daseCV_c.use_backend("numpy")
    return dasecv(threads, images, labels)


def _torch(compiled, threads, images, labels):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(SHAPE[0], FILTERS, SIDE, padding=SIDE // 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(POOLED, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    images, labels = torch.from_numpy(images), torch.from_numpy(labels)

    def loss_of(X, y):
        return nn.functional.cross_entropy(model(X), y)

    if compiled:
        loss_of = torch.compile(loss_of)

    def step():
        index = torch.randint(0, len(images), (BATCH,))
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(images[index], labels[index])
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


CONTESTANTS = {
    "daseCV_c": (dasecv, ()),
    "PyTorch": (partial(_torch, False), ("torch",)),
    "torch.compile": (partial(_torch, True), ("torch",)),
    "NumPy": (numpy, ()),
}
IMPORTS = {"daseCV_c": ("daseCV_c.solver", "daseCV_c.classifiers.cnn"), "PyTorch": ("torch",)}
IMPORTS |= {"torch.compile": IMPORTS["PyTorch"], "NumPy": IMPORTS["daseCV_c"]}


def memory(name, threads):
    """Print by how many bytes a few steps raise the largest resident set."""
    for module in IMPORTS[name]:
        __import__(module)
    images, labels = data()
    before = resident(peak=False)
    step = CONTESTANTS[name][0](threads, images, labels)
    for _ in range(STEPS):
        step()
    print(json.dumps({"grown": resident(peak=True) - before, "whole": resident(peak=True)}))


def measure(threads, names, rounds, seconds):
    """Everything at one thread count."""
    workers, bytes_of = {}, {}
    for name in names:
        if not arena.installed(CONTESTANTS[name][1]):
            continue
        done = subprocess.run([sys.executable, "-m", "benchmarks.cnn", "--memory", name, str(threads)], check=True,
                              env=arena.environment(threads), stdout=subprocess.PIPE, text=True)
        bytes_of[name] = json.loads(done.stdout.splitlines()[-1])
        workers[name] = arena.Worker("benchmarks.cnn", ["--contestant", name, threads], threads)
    times = arena.interleave(workers, rounds, seconds)
    for worker in workers.values():
        worker.close()
    limit, ours = MULTIPLY_ADDS / peak(DTYPE, threads, 3, seconds), times["daseCV_c"]
    return {"threads": threads, "microseconds": times, "limit": limit, "share_of_limit": limit / ours,
            "ratio": {name: t / ours for name, t in times.items() if name != "daseCV_c"}, "bytes": bytes_of}


def report(results):
    names = [name for name in CONTESTANTS if any(name in r["microseconds"] for r in results)]
    rows = []
    for r in results:
        times, ours = r["microseconds"], r["microseconds"]["daseCV_c"]
        rows.append([r["threads"], f"{r['limit']:.0f}", output.microseconds(ours),
                     *(output.microseconds(times.get(name), ours) for name in names[1:]), f"{r['share_of_limit']:.0%}"])
    output.table(["threads", "limit", *names, "share"], rows)
    print("microseconds a step; in brackets the ratio to daseCV_c; share: limit / daseCV_c\n")
    output.table(["threads", *names], [
        [r["threads"], *(f"{r['bytes'][name]['grown'] / 1e6:.0f} of {r['bytes'][name]['whole'] / 1e6:.0f}"
                         for name in names)] for r in results])
    print("megabytes: what a few steps add, of the whole process at its largest")


def chart(results, path):
    from matplotlib.figure import Figure

    names = list(results[0]["microseconds"])
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        at = np.arange(len(results)) + k * width
        left.bar(at, [r["microseconds"][name] / 1e3 for r in results], width, label=name)
        right.bar(at, [r["bytes"][name]["grown"] / 1e6 for r in results], width)
    for axes, label in ((left, "milliseconds a step"), (right, "megabytes added by a few steps")):
        axes.set_xticks(np.arange(len(results)) + 0.4 - width / 2,
                        [f"{r['threads']} thread{'s' * (r['threads'] > 1)}" for r in results])
        axes.set_ylabel(label)
    figure.legend(ncols=4, fontsize="small", loc="outside upper center")
    figure.savefig(path, dpi=120)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=["PyTorch", "torch.compile"],
                        help="these beside daseCV_c; the NumPy twins take seconds a step")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one turn of a contestant")
    parser.add_argument("--out", type=Path, help="folder for cnn.json and cnn.png")
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.contestant:
        name, threads = args.contestant
        return arena.serve(lambda: CONTESTANTS[name][0](int(threads), *data()))
    if args.memory:
        return memory(args.memory[0], int(args.memory[1]))
    names = [name for name in CONTESTANTS if name == "daseCV_c" or name in args.only]
    results = [measure(threads, names, args.rounds, args.seconds) for threads in args.threads]
    report(results)
    if args.out:
        output.save(args.out, "cnn", results, chart)
    return None


if __name__ == "__main__":
    main()
