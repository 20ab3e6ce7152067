"""The experiments of docs/answers.md, on the bundled digits.

`python docs/answers/experiments.py` writes their plots beside it and prints their numbers: half a minute, with
matplotlib installed.
"""

import math
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from daseCV_c import optim
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.datasets import load_digits_images
from daseCV_c.layers import affine_forward, relu_forward
from daseCV_c.solver import Solver

HERE = Path(__file__).resolve().parent
DATA = load_digits_images(dtype=np.float64)
FIFTY = {**DATA, "X_train": DATA["X_train"][:50], "y_train": DATA["y_train"][:50]}


def pair():
    """A figure of two panels."""
    figure = Figure((8, 3), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel in panels:
        panel.grid(alpha=0.3)
    return figure, panels


def save(figure, name):
    with matplotlib.rc_context({"svg.hashsalt": "daseCV_c", "svg.fonttype": "none"}):
        figure.savefig(HERE / f"{name}.svg", metadata={"Date": None})


def net(hidden_dims, scale, **options):
    np.random.seed(231)
    return FullyConnectedNet(hidden_dims, input_dim=64, weight_scale=scale, dtype=np.float64, **options)


def initial_loss():
    """Of untrained networks, over the number of classes, the scale of the weights, and reg."""
    print("--- initial loss")
    X = DATA["X_train"][:500]
    classes = [2, 5, 10, 30, 100, 300, 1000]
    labels = np.random.RandomState(0).randint(2**31, size=len(X))
    by_classes = [net([100, 100], 1e-2, num_classes=c).loss(X, labels % c)[0] for c in classes]
    for c, loss in zip(classes, by_classes, strict=True):
        print(f"{c:>5} classes: loss {loss:.4f}, ln C {math.log(c):.4f}")
    scales = np.logspace(-3, 0, 13)
    by_scale = [net([100, 100], s).loss(X, labels % 10)[0] for s in scales]
    for s, loss in list(zip(scales, by_scale, strict=True))[::4]:
        print(f"scale {s:.0e}: loss {loss:.4f}")
    model = net([100, 100], 1e-2, reg=3.14)
    squares = sum((w**2).sum() for name, w in model.params.items() if name[0] == "W")
    print(f"reg 3.14: loss {model.loss(X, labels % 10)[0]:.4f}, half of reg times the squares {1.57 * squares:.4f}")
    figure, (left, right) = pair()
    left.semilogx(classes, np.log(classes), "-", label="ln C")
    left.semilogx(classes, by_classes, "o", label="initial loss")
    left.set(xlabel="classes C", ylabel="loss", title="Small weights (1e-2)")
    left.legend()
    right.loglog(scales, by_scale, "o-", label="initial loss")
    right.axhline(math.log(10), color="black", linestyle="--", label="ln 10")
    right.set(xlabel="scale of the weights", title="Ten classes")
    right.legend()
    save(figure, "initial-loss")


def signal(model, X):
    """The spread of the last hidden layer's units over the samples."""
    for i in range(1, model.num_layers):
        X, _ = relu_forward(affine_forward(X, model.params[f"W{i}"], model.params[f"b{i}"])[0])
    return float(X.std(axis=0).mean())


def three_and_five():
    """The best training accuracy on fifty images in 20 epochs of SGD, over the scale: the best of five rates."""
    print("--- three layers and five")
    scales = np.logspace(-2.5, 0, 11)
    rates = [1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
    found, signals, firsts = {}, {}, {}
    for hidden in ([100] * 2, [100] * 4):
        layers = len(hidden) + 1
        found[layers], signals[layers], firsts[layers] = [], [], []
        for scale in scales:
            best = 0.0
            for rate in rates:
                model = net(hidden, scale)
                solver = Solver(model, FIFTY, optim_config={"learning_rate": rate}, num_epochs=20, batch_size=25,
                                on_divergence="ignore", verbose=False)
                with np.errstate(all="ignore"):
                    solver.train()
                best = max(best, *solver.train_acc_history)
            found[layers].append(best)
            signals[layers].append(signal(net(hidden, scale), FIFTY["X_train"]))
            firsts[layers].append(net(hidden, scale).loss(FIFTY["X_train"], FIFTY["y_train"])[0])
        for scale, best, spread, first in zip(scales, found[layers], signals[layers], firsts[layers], strict=True):
            print(f"{layers} layers, scale {scale:.4f}: accuracy {best:.2f}, spread of the last hidden layer "
                  f"{spread:.2e}, initial loss {first:.3g}")
    figure, (left, right) = pair()
    for layers in found:
        left.semilogx(scales, found[layers], "o-", label=f"{layers} layers")
        right.loglog(scales, signals[layers], "o-", label=f"{layers} layers")
    left.set(xlabel="scale of the weights", ylabel="training accuracy", title="Fifty images, best of five rates")
    right.set(xlabel="scale of the weights", ylabel="spread", title="Signal in the last hidden layer")
    for panel in (left, right):
        panel.axvline(math.sqrt(2 / 100), color="black", linestyle="--", linewidth=1, label="sqrt(2 / 100)")
    right.legend()
    save(figure, "three-and-five")


def steps_of_one_weight():
    """The lengths of 3000 steps on a gradient of 30 that becomes 1 after 20 of them; learning rate 1e-2."""
    found = {}
    for name in ("adagrad", "adam"):
        w, config, lengths = np.zeros(1), {"learning_rate": 1e-2}, []
        for t in range(3000):
            before = w
            w, config = getattr(optim, name)(w, np.array([30.0 if t < 20 else 1.0]), config)
            lengths.append(float(abs(w - before)[0]))
        found[name] = lengths
    return found


def losses(rule, rate, epochs=100):
    """The mean loss of each epoch of a network whose first gradients are large."""
    model = net([100] * 3, 0.3)
    solver = Solver(model, DATA, update_rule=rule, optim_config={"learning_rate": rate}, num_epochs=epochs,
                    verbose=False)
    solver.train()
    return np.array(solver.loss_history).reshape(epochs, -1).mean(axis=1)


def adagrad_and_adam():
    print("--- AdaGrad and Adam")
    figure, (left, right) = pair()
    for name, lengths in steps_of_one_weight().items():
        left.loglog(range(1, len(lengths) + 1), lengths, label=name)
        print(f"{name}: length of step 1 {lengths[0]:.1e}, 21 {lengths[20]:.1e}, 3000 {lengths[-1]:.1e}")
    for name, rate in (("adagrad", 1e-3), ("adam", 1e-3)):
        mean = losses(name, rate)
        right.semilogy(range(1, len(mean) + 1), mean, label=name)
        print(f"{name}, rate {rate:g}: mean loss of epoch 1 {mean[0]:.3g}, 20 {mean[19]:.3g}, 100 {mean[99]:.3g}")
    left.set(xlabel="step", ylabel="length of the step", title="A gradient of 30, then of 1; rate 1e-2")
    right.set(xlabel="epoch", ylabel="mean loss", title="Four layers, scale 0.3, rate 1e-3")
    for panel in (left, right):
        panel.legend()
    save(figure, "adagrad-and-adam")


if __name__ == "__main__":
    # The Solver says of networks that learn nothing that they do not: here this is what is measured.
    warnings.filterwarnings("ignore", "Solver: after", RuntimeWarning)
    initial_loss()
    three_and_five()
    adagrad_and_adam()
