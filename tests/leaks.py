"""Memory after a tenth of the repeats of something, and after all of them:

    python tests/leaks.py [--share 1.0] [NAME ...]

Each is a process of its own. RSS is what the process holds in memory, by /proc/self/smaps_rollup; `held` is what Python
and the C library have given out and not got back, in bytes for each repeat. `test_leaks.py` asks for the latter alone.
"""

import argparse
import ctypes
import gc
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import numpy as np  # noqa: E402

import daseCV_c  # noqa: E402
from daseCV_c import fast_layers, layer_utils, layers, models, optim  # noqa: E402
from daseCV_c._runtime import backend as _backend  # noqa: E402
from daseCV_c._runtime import precision as _precision  # noqa: E402
from daseCV_c._training.clipping import global_norm  # noqa: E402
from daseCV_c.callbacks import Callback  # noqa: E402
from daseCV_c.classifiers.cnn import ThreeLayerConvNet  # noqa: E402
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet  # noqa: E402
from daseCV_c.solver import Solver  # noqa: E402

rng = np.random.default_rng(0)
IMAGES = rng.standard_normal((2000, 3, 8, 8))
LABELS = rng.integers(0, 10, 2000)
DATA = {"X_train": IMAGES, "y_train": LABELS, "X_val": IMAGES[:40], "y_val": LABELS[:40]}


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks",
                                                     "fsmblks", "uordblks", "fordblks", "keepcost")]


def held():
    """(blocks of Python's allocator, bytes of the C library's) that are in use."""
    gc.collect()
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    now = mallinfo()
    return sys.getallocatedblocks(), now.uordblks + now.hblkhd


def resident():
    """KiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Rss")).split()[1])


def threads():
    return len(os.listdir("/proc/self/task"))


# What is repeated.

def network(seed=0):
    return FullyConnectedNet([60, 40], 192, 10, normalization="batchnorm", dropout=0.7, reg=1e-3, weight_scale=0.05,
                             seed=np.random.RandomState(seed))


def conv_net(seed=0):
    return ThreeLayerConvNet((3, 8, 8), 4, 3, 20, 10, weight_scale=0.05, reg=1e-3, seed=seed)


def train(model, steps, at):
    """Steps of one Solver, 100 an epoch; `at(step)` after each. What it keeps of each is the loss."""
    class Each(Callback):
        def on_step_end(self, solver):
            at(solver.iteration)

    epochs = -(-steps // 100)
    Solver(model, DATA, update_rule="adam", batch_size=20, num_epochs=epochs, num_train_samples=20, seed=1,
           verbose=False, callbacks=[Each()]).train()


def a_model():
    for make in (network, conv_net):
        net = make()
        net.loss(IMAGES[:20], LABELS[:20])
        net.predict(IMAGES[:3])


def solver():
    few = DATA | {"X_train": IMAGES[:160], "y_train": LABELS[:160]}
    Solver(network(), few, update_rule="adam", batch_size=80, num_epochs=1, num_train_samples=20, seed=1,
           verbose=False).train()


def by_layers():
    """A step of the layers, one by one."""
    x, y = IMAGES[:20].reshape(20, -1), LABELS[:20]
    w, b = np.zeros((192, 10)), np.zeros(10)
    out, cache = layer_utils.affine_bn_relu_forward(x, w, b, np.ones(10), b, {"mode": "train"})
    _, dout = layers.softmax_loss(out, y)
    _, dw, *_ = layer_utils.affine_bn_relu_backward(dout, cache)
    optim.adam(w, dw)
    windows = {"stride": 1, "pad": 1}, {"pool_height": 2, "pool_width": 2, "stride": 2}
    global_norm([dw, IMAGES])
    out, cache = layer_utils.conv_relu_pool_forward(IMAGES[:3], np.ones((2, 3, 3, 3)), np.ones(2), *windows)
    layer_utils.conv_relu_pool_backward(out, cache)


def in_float32():
    """The affine layer and a step in float32, with bfloat16 products where the processor has them."""
    precision = "bfloat16" if _precision.availability().startswith("available") else "highest"
    x, w, b = IMAGES[:20].reshape(20, -1).astype(np.float32), np.ones((192, 10), np.float32), np.ones(10, np.float32)
    with daseCV_c.set_matmul_precision(precision):
        out, cache = layers.affine_forward(x, w, b)
        layers.affine_backward(out, cache)
        FullyConnectedNet([60], 192, 10, dtype=np.float32).loss(x, LABELS[:20])


def _wrong_calls():
    """Calls that raise: of layers, networks, a rule, a Solver, a file, and of compiled entries."""
    x, vector, net = np.ones((4, 5)), np.ones(5), network()
    kernels = _backend.kernels_of(x.dtype)
    calls = [
        lambda: layers.affine_forward(x, x, vector),
        lambda: layers.batchnorm_forward(x, vector, np.ones(4), {"mode": "train"}),
        lambda: layers.softmax_loss(x, np.array([0, 1, 2, 9])), lambda: layers.relu_forward("text"),
        lambda: fast_layers.conv_forward_fast(x, x, vector, {"stride": 1, "pad": 1}),
        lambda: layers.affine_backward(x, (x, x)), lambda: optim.adam(x, vector), lambda: net.loss(x, vector),
        lambda: net.loss(IMAGES[:4], np.array([0, 1, 2, 10])), lambda: FullyConnectedNet([0]),
        lambda: Solver(net, DATA, update_rule="none"), lambda: Solver(net, {"X_train": x}),
        lambda: models.load_model(Path(__file__)),
    ]
    if kernels is not None:
        calls += [
            lambda: kernels.affine.affine_forward(x, x, vector, x.copy(), True, 3),
            lambda: kernels.affine.matmul(x, x.astype(np.float32), x, False, False, 3),
            lambda: kernels.losses.softmax_loss(x, np.full(4, 7), x.copy(), 3),
            lambda: kernels.optim.update("adam", vector, vector, None, None, vector, None, None, *range(6), 3),
            lambda: kernels.step.train_step(x, None, None, np.full(4, 7), [], None, None, 3),
            lambda: kernels.step.train_step(x, np.full(3, 9), None, np.zeros(3, int), [(1,) * 11], None, None, 3),
            lambda: kernels.conv.conv_forward(x, x, vector, x, 1, 1, True, 3),
        ]
    return calls


CALLS = _wrong_calls()


def errors():
    """Each wrong call once."""
    for call in CALLS:
        try:
            call()
        except (ValueError, TypeError, OSError, IndexError):
            continue
        raise AssertionError("a wrong call raises nothing")


def thread():
    """A thread that computes on three kernel threads, and ends."""
    def compute():
        by_layers()
        network().loss(IMAGES[:100], LABELS[:100])

    each = threading.Thread(target=compute)
    each.start()
    each.join()


# name: (what is repeated, how often)
REPEATED = {"models": (a_model, 5000), "solvers": (solver, 2000), "layers": (by_layers, 10_000),
            "float32": (in_float32, 10_000), "errors": (errors, 10_000), "threads": (thread, 1000)}
STEPS = {"two layers": (lambda: TwoLayerNet(192, 50, 10, seed=0), 10_000), "batch norm, dropout": (network, 10_000),
         "convolution": (conv_net, 3000)}


def watch(name, share):
    """(repeats, RSS and threads after a tenth of them, and after all)."""
    seen = {}
    held()  # the first look brings pages of its own into memory

    def look(count):
        if count in (tenth, tenth * 10):
            seen[count] = resident(), threads(), held()

    if name in STEPS:
        make, repeats = STEPS[name]
        tenth = max(1, int(repeats * share) // 10)
        train(make(), tenth * 10, look)
    else:
        repeat, repeats = REPEATED[name]
        tenth = max(1, int(repeats * share) // 10)
        for count in range(1, tenth * 10 + 1):
            repeat()
            look(count)
    (early, early_threads, (early_blocks, early_bytes)), (late, late_threads, (blocks, size)) = (
        seen[tenth], seen[tenth * 10])
    return (f"{tenth}: {early / 1024:.1f} MB, {early_threads} threads; {tenth * 10}: {late / 1024:.1f} MB, "
            f"{late_threads} threads; {100 * (late / early - 1):+.2f} %; a repeat keeps "
            f"{(blocks - early_blocks) / (9 * tenth):.3f} blocks, {(size - early_bytes) / (9 * tenth):.1f} bytes")


def growth(repeat, warm, times):
    """(blocks, bytes) that each repeat keeps after the first ones: the least of some rounds, as caches come and go."""
    for _ in range(warm):
        repeat()
    rounds, before = [], held()
    for _ in range(2):
        for _ in range(times):
            repeat()
        after = held()
        rounds.append([(now - then) / times for now, then in zip(after, before, strict=True)])
        before = after
    return [min(each) for each in zip(*rounds, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*STEPS, *REPEATED]))
    parser.add_argument("--share", type=float, default=1.0, help="of the repeats")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    daseCV_c.set_num_threads(3)
    if args.child:
        print(watch(args.names[0], args.share))
        return
    for name in args.names or [*STEPS, *REPEATED]:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--child", name, "--share", str(args.share)]
            done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
        print(f"{name}: {done.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
