"""Whole trainings by daseCV_c.sklearn's perceptrons and by scikit-learn's own, in turn, each in a process of its own.

    python -m benchmarks.sklearn_fit [--rows digits cancer regression images] [--hidden 100 100,100 512,256]
                                     [--threads 1 2] [--solver adam] [--dtype float64] [--rounds 5] [--quick]
                                     [--out FOLDER]

A round is one `fit` of a fixed number of epochs with scikit-learn's defaults (solver adam, batches of 200).
Prints the medians over the rounds, their ratio, and what both score on samples held out. The limit is the fit's
multiply-adds at the speed of the best large matrix product of the same run, and `at most` the ratio that a fit
of nothing but these would have. With --out, writes sklearn_fit.json.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from benchmarks import arena, output
from benchmarks.step import peak

EPOCHS = {"digits": 30, "cancer": 60, "regression": 8, "images": 2}
HIDDEN = ("100", "100,100", "512,256")
MODULES = {"scikit-learn": "sklearn.neural_network", "daseCV_c": "daseCV_c.sklearn"}


def data(row, dtype):
    """Scaled samples, their targets, and the name of the estimator."""
    rng = np.random.RandomState(0)
    kind = "MLPClassifier"
    if row == "images":
        y = rng.randint(0, 10, 10_000)
        X = rng.randn(10, 3072)[y] * 0.05 + rng.randn(10_000, 3072)
    elif row == "regression":
        # As many houses as in California's census, with as many numbers each.
        X = rng.randn(20_000, 8)
        y = X[:, 0] + np.sin(2 * X[:, 1]) * X[:, 2] + np.abs(X[:, 3]) + 0.3 * rng.randn(len(X))
        kind = "MLPRegressor"
    else:
        from sklearn import datasets

        load = {"digits": datasets.load_digits, "cancer": datasets.load_breast_cancer}[row]
        X, y = load(return_X_y=True)
        order = rng.permutation(len(X))
        X, y = X[order], y[order]
        X = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-9)
    return X.astype(dtype), y, kind


def multiply_adds(X, hidden, outputs, epochs):
    """Of a fit's products: forward, the gradients of the weights, and those of the activations."""
    widths = [X.shape[1], *map(int, hidden.split(",")), outputs]
    layers = [fan_in * fan_out for fan_in, fan_out in zip(widths, widths[1:], strict=False)]
    return epochs * (len(X) - len(X) // 5) * (3 * sum(layers) - layers[0])


def serve(name, row, hidden, solver, dtype):
    """A worker: for each line that it reads, one fit; answers seconds and score."""
    import importlib

    try:
        module = importlib.import_module(MODULES[name])
        X, y, kind = data(row, dtype)
        held_out = len(X) // 5
        mlp = getattr(module, kind)(
            hidden_layer_sizes=[int(width) for width in hidden.split(",")], solver=solver, random_state=0,
            max_iter=EPOCHS[row], n_iter_no_change=1000)
        warnings.simplefilter("ignore")  # it has not converged
        mlp.set_params(max_iter=1).fit(X[held_out:], y[held_out:]).set_params(max_iter=EPOCHS[row])
    except ImportError as error:
        print(json.dumps(str(error)), flush=True)
        return
    print(json.dumps(None), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        mlp.fit(X[held_out:], y[held_out:])
        seconds = time.perf_counter() - start
        print(json.dumps([seconds, mlp.score(X[:held_out], y[:held_out]), getattr(mlp, "trained_by_", None)]),
              flush=True)


def measure(row, hidden, threads, solver, dtype, rounds, speed):
    workers = {name: arena.Worker("benchmarks.sklearn_fit", ["--serve", name, row, hidden, solver, dtype], threads)
               for name in MODULES}
    seconds = {name: [] for name in MODULES}
    score = {}
    for _ in range(rounds):
        for name, worker in workers.items():
            if worker.reason is not None:
                raise ImportError(worker.reason)
            time.sleep(arena.REST)
            taken, score[name], by = worker.run(None)
            seconds[name].append(taken)
            assert name == "scikit-learn" or by == "kernel", by
    for worker in workers.values():
        worker.close()
    X, y, kind = data(row, dtype)
    classes = len(np.unique(y)) if kind == "MLPClassifier" else 1
    limit = multiply_adds(X, hidden, 1 if classes == 2 else classes, EPOCHS[row]) / speed / 1e3
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {"row": row, "hidden": hidden, "threads": threads, "epochs": EPOCHS[row], "solver": solver, "dtype": dtype,
            "milliseconds": {name: 1e3 * taken for name, taken in medians.items()}, "score": score,
            "limit": limit, "at_most": 1e3 * medians["scikit-learn"] / limit,
            "ratio": medians["scikit-learn"] / medians["daseCV_c"]}


def report(results):
    rows = [[r["row"], r["hidden"], r["threads"], r["epochs"], *(f"{r['milliseconds'][name]:.1f}" for name in MODULES),
             f"{r['limit']:.1f}", f"{r['ratio']:.2f}", f"{r['at_most']:.1f}",
             *(f"{r['score'][name]:.4f}" for name in MODULES)] for r in results]
    output.table(["row", "hidden", "threads", "epochs", *MODULES, "limit", "ratio", "at most", "score", "ours"], rows)
    ratios = [r["ratio"] for r in results]
    print(f"milliseconds of a fit, {results[0]['solver']}, {results[0]['dtype']}; ratio: least {min(ratios):.2f}, "
          f"median {statistics.median(ratios):.2f}; at most {min(r['at_most'] for r in results):.2f} and "
          f"{statistics.median(r['at_most'] for r in results):.2f}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=EPOCHS, default=list(EPOCHS))
    parser.add_argument("--hidden", nargs="+", default=list(HIDDEN))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--solver", choices=["adam", "sgd"], default="adam")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="the small rows, one hidden layer, one thread, 3 rounds")
    parser.add_argument("--out", type=Path, help="folder for sklearn_fit.json")
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.serve:
        return serve(*args.serve)
    if args.quick:
        args.rows, args.hidden, args.threads, args.rounds = ["digits", "cancer"], ["100"], [1], 3
    results, speeds = [], {threads: peak(args.dtype, threads, 3, 0.3) for threads in args.threads}
    for row, hidden, threads in itertools.product(args.rows, args.hidden, args.threads):
        results.append(measure(row, hidden, threads, args.solver, args.dtype, args.rounds,
                               speeds[threads]))
        print(f"{row} {hidden} on {threads}: {results[-1]['ratio']:.2f}", file=sys.stderr, flush=True)
    report(results)
    if args.out:
        output.save(args.out, "sklearn_fit", results)
    return None


if __name__ == "__main__":
    main()
