"""The drop-in perceptrons beside scikit-learn's, over a grid of settings: the worst differences of what they learn.

    python tests/sklearn_grid.py [--fits 320] [--epochs 50]

Prints a line for each dtype and loss, and how often the kernels trained and predicted, and why they did not.
"""

import argparse
import collections
import itertools
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

AXES = {
    "solver": ["adam", "sgd"], "activation": ["relu", "tanh", "logistic", "identity"], "alpha": [0.0, 1e-4, 0.3],
    "batch_size": ["auto", 17, 1000], "nesterovs_momentum": [True, False], "momentum": [0.9, 0.0],
    "early_stopping": [False, True], "warm_start": [False, True], "shuffle": [True, True, False],
    "learning_rate": ["constant", "adaptive", "invscaling"], "hidden_layer_sizes": [(12,), (9, 5)],
    "dtype": ["float64", "float64", "float64", "float32"], "weighted": [False, False, True],
    "loss": ["two classes", "classes", "labels", "squared", "squared of two", "poisson"],
}
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}


def data(loss, dtype, n=137):
    rng = np.random.RandomState(4)
    X = rng.randn(n, 7)
    scores = X[:, :4] + 0.3 * rng.randn(n, 4)
    y = {"two classes": np.where(scores[:, 0] > 0, "above", "below"), "classes": scores.argmax(axis=1),
         "labels": (scores > 0.2).astype(int), "squared": scores[:, 0] - scores[:, 1] ** 2,
         "squared of two": scores[:, :2], "poisson": rng.poisson(np.exp(scores[:, 0] / 2)).astype(float)}[loss]
    return X.astype(dtype), y.astype(dtype) if y.dtype == float else y, rng.rand(n) + 0.1


def settings(fits, weighted, seed=0):
    """So many points of the grid, drawn; each value of each axis about as often."""
    rng = np.random.RandomState(seed)
    axes = {name: [values[k % len(values)] for k in rng.permutation(fits)] for name, values in AXES.items()}
    for k in range(fits):
        point = {name: values[k] for name, values in axes.items()}
        if not weighted:
            point["weighted"] = False
            if point["loss"] == "poisson":
                point["loss"] = "squared"
        yield point


def fitted(module, point, epochs):
    point = dict(point)
    loss, dtype, weighted = (point.pop(name) for name in ("loss", "dtype", "weighted"))
    X, y, weight = data(loss, dtype)
    kind = "MLPClassifier" if loss in ("two classes", "classes", "labels") else "MLPRegressor"
    if loss == "poisson":
        point["loss"] = "poisson"
    # A float32 training may find another last epoch, by rounding: there all have the same number.
    patience = 8 if dtype == "float64" else epochs
    mlp = getattr(module, kind)(random_state=1, max_iter=epochs, learning_rate_init=0.01, n_iter_no_change=patience,
                                **point)
    more = {"sample_weight": weight} if weighted else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged
        mlp.fit(X, y, **more)
        if point["warm_start"]:
            mlp.fit(X, y, **more)
    return mlp, mlp._forward_pass_fast(X)


def compare(point, epochs):
    """The largest differences of parameters, of the losses and of the outputs."""
    import sklearn.neural_network

    import daseCV_c.sklearn

    theirs, expected = fitted(sklearn.neural_network, point, epochs)
    ours, found = fitted(daseCV_c.sklearn, point, epochs)
    assert ours.n_iter_ == theirs.n_iter_, (point, ours.n_iter_, theirs.n_iter_)
    pairs = zip(theirs.coefs_ + theirs.intercepts_, ours.coefs_ + ours.intercepts_, strict=True)
    assert all(array.dtype == point["dtype"] for array in ours.coefs_ + ours.intercepts_)
    scores = [np.abs(np.subtract(*scores)).max() for scores in [(theirs.validation_scores_, ours.validation_scores_)]
              if scores[0] is not None and point["dtype"] == "float64"]
    return (max(float(np.abs(a - b).max()) for a, b in pairs),
            float(np.abs(np.subtract(theirs.loss_curve_, ours.loss_curve_)).max()),
            float(np.abs(expected - found).max()), max(scores, default=0.0))


def main(argv=None):
    import daseCV_c.sklearn
    from daseCV_c.sklearn import _surface

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=320)
    parser.add_argument("--epochs", type=int, default=50)
    args = parser.parse_args(argv)
    daseCV_c.sklearn.usage(reset=True)
    worst, count = collections.defaultdict(lambda: (0.0,) * 4), collections.Counter()
    for point in settings(args.fits, _surface.weighted()):
        found = compare(point, args.epochs)
        key = point["dtype"], point["loss"]
        worst[key] = tuple(map(max, worst[key], found))
        count[key] += 1
        if max(found) > TOLERANCE[point["dtype"]]:
            print("beyond the tolerance:", found, point)
    print("dtype    loss             fits  coefs_   loss_curve_  outputs  validation_scores_")
    for key in sorted(worst, reverse=True):
        print(f"{key[0]:8} {key[1]:15} {count[key]:5}  {'  '.join(f'{value:.1e}' for value in worst[key])}")
    for dtype, tolerance in TOLERANCE.items():
        found = list(itertools.chain.from_iterable(values for key, values in worst.items() if key[0] == dtype))
        print(f"{dtype}: worst {max(found, default=0):.1e}, tolerance {tolerance:.0e}")
    for what, times in sorted(daseCV_c.sklearn.usage().items()):
        print(f"{times:6} {what}")


if __name__ == "__main__":
    main()
