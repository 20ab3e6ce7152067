"""The command `bench`: the compiled kernels beside their NumPy twins on this machine."""

from __future__ import annotations

import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from daseCV_c import get_num_threads, layers, num_threads, optim, use_backend
from daseCV_c._runtime import backend as _backend
from daseCV_c._types import Array
from daseCV_c.cli import options
from daseCV_c.cli.errors import CommandError

BATCH, FEATURES, UNITS, CLASSES, IMAGES = 200, 3072, 100, 10, 1000
ROUNDS = 3

BATCHNORM = {"normalization": "batchnorm"}
# Name of the network, arguments of FullyConnectedNet (None: TwoLayerNet), update rule, batch.
NETWORKS: tuple[tuple[str, dict[str, Any] | None, str, int], ...] = (
    ("3072-100-10 float64 sgd", None, "sgd", 100),
    ("3072-100-100-10 float32 batch norm adam", {"hidden_dims": [100] * 2, **BATCHNORM}, "adam", 200),
    ("3072-[100]x5-10 float32 adam", {"hidden_dims": [100] * 5}, "adam", 100),
    ("3072-[1024]x3-10 float32 batch norm adam", {"hidden_dims": [1024] * 3, **BATCHNORM}, "adam", 256),
)


def register(commands: Any) -> None:
    p = commands.add_parser("bench", help="time the compiled kernels beside the NumPy twins",
                            description="Time some layers and one training step of some networks, compiled and "
                                        "with the NumPy twins, in turn. Takes some seconds.")
    options.add_threads(p)
    p.add_argument("--seconds", type=options.rate, default=0.15, metavar="S",
                   help="spent on each number; default: 0.15")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    bench(threads=args.threads, seconds=args.seconds)


def _layer_calls() -> dict[str, Callable[[], object]]:
    """{what is called: a function that calls it}, float32."""
    rng = np.random.RandomState(0)
    x, hidden, scores, w, dout = (rng.randn(*shape).astype(np.float32) for shape in (
        (BATCH, FEATURES), (BATCH, UNITS), (BATCH, CLASSES), (FEATURES, UNITS), (BATCH, UNITS)))
    b, gamma, beta = np.zeros(UNITS, np.float32), np.ones(UNITS, np.float32), np.zeros(UNITS, np.float32)
    labels, dw = rng.randint(0, CLASSES, BATCH), np.ones_like(w)
    config: dict[str, Any] = {}
    # Twins and kernels take each other's caches and states.
    _, normalized = layers.batchnorm_forward(hidden, gamma, beta, {"mode": "train"})
    return {
        f"affine_forward {BATCH}x{FEATURES}x{UNITS}": lambda: layers.affine_forward(x, w, b),
        f"affine_backward {BATCH}x{FEATURES}x{UNITS}": lambda: layers.affine_backward(dout, (x, w, b)),
        f"relu_forward {BATCH}x{UNITS}": lambda: layers.relu_forward(hidden),
        f"batchnorm_forward {BATCH}x{UNITS}":
            lambda: layers.batchnorm_forward(hidden, gamma, beta, {"mode": "train"}),
        f"batchnorm_backward {BATCH}x{UNITS}": lambda: layers.batchnorm_backward(dout, normalized),
        f"softmax_loss {BATCH}x{CLASSES}": lambda: layers.softmax_loss(scores, labels),
        f"adam {FEATURES}x{UNITS}": lambda: optim.adam(w, dw, config),
    }


def _step(
    arguments: dict[str, Any] | None, rule: str, batch: int, images: Array, labels: Array,
) -> Callable[[], object]:
    """The training step of a Solver with a network of its own."""
    from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
    from daseCV_c.solver import Solver

    model = TwoLayerNet() if arguments is None else FullyConnectedNet(**arguments)
    images = images.astype(model.dtype)
    data = {"X_train": images, "y_train": labels, "X_val": images[:1], "y_val": labels[:1]}
    solver = Solver(model, data, update_rule=rule, optim_config={"learning_rate": 1e-4}, batch_size=batch,
                    verbose=False)
    return solver._step


def _measure(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """{backend: median microseconds}, the backends taking turns; a backend has a call of its own."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call_round in range(ROUNDS + 1):
        for name, call in calls.items():
            with use_backend(name):
                found: list[float] = []
                until = time.perf_counter() + seconds / ROUNDS
                while not found or time.perf_counter() < until:
                    start = time.perf_counter()
                    call()
                    found.append(time.perf_counter() - start)
                    if not call_round:
                        break
            if call_round:  # the first call of all only warms up
                times[name] += found
    return {name: statistics.median(found) * 1e6 for name, found in times.items()}


def _line(name: str, times: Mapping[str, float]) -> None:
    compiled, twin = times["compiled"], times["numpy"]
    print(f"{name:<52}{compiled:>12.1f}{twin:>12.1f}{twin / compiled:>8.2f}", flush=True)


def bench(threads: int | None = None, seconds: float = 0.15) -> None:
    """Print microseconds of the compiled kernels and of the twins, and their ratio."""
    if _backend._kernels is None:
        raise CommandError(f"bench: the compiled kernels are not built; run: {_backend.build_command()}")
    with num_threads(threads) if threads else nullcontext():
        count = get_num_threads()
        print(f"level {_backend.level}, {count} thread{'s' * (count != 1)}; NumPy uses the threads of its own BLAS")
        print(f"{'microseconds':<52}{'compiled':>12}{'NumPy':>12}{'ratio':>8}")
        for name, call in _layer_calls().items():
            _line(name, _measure(dict.fromkeys(_backend.BACKENDS, call), seconds))
        rng = np.random.RandomState(0)
        images, labels = rng.randint(0, 256, (IMAGES, FEATURES)) - 127.5, rng.randint(0, CLASSES, IMAGES)
        print("one training step")
        for name, arguments, rule, batch in NETWORKS:
            steps = {backend: _step(arguments, rule, batch, images, labels) for backend in _backend.BACKENDS}
            _line(f"{name} batch {batch}", _measure(steps, seconds))
