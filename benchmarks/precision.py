"""What bfloat16 products cost in accuracy and save in time: the same trainings in both precisions.

    python -m benchmarks.precision [--data CIFAR_FOLDER] [--hidden 256 256] [--seeds 0 1 2] [--out FOLDER]

Trains on the bundled digits, or with --data on CIFAR-10. Prints a table and, with --out, writes
precision.json and precision.png. Seeds give the yardstick: how far two float32 trainings differ.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

import daseCV_c
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.cli.data import load_dataset
from daseCV_c.cli.recipes import settings
from daseCV_c.solver import Solver

PRECISIONS = ("highest", "bfloat16")


def train(data, recipe, precision, seed):
    """One training: its curves, its accuracies, the seconds it took."""
    np.random.seed(seed)
    model = FullyConnectedNet(
        recipe["hidden"], input_dim=data["X_train"][0].size, normalization=recipe["norm"], reg=recipe["reg"],
        weight_scale=recipe["weight_scale"], dtype=np.float32)
    solver = Solver(
        model, data, update_rule=recipe["update_rule"], optim_config={"learning_rate": recipe["lr"]},
        lr_decay=recipe["lr_decay"], batch_size=recipe["batch_size"], num_epochs=recipe["epochs"], verbose=False)
    with daseCV_c.set_matmul_precision(precision):
        start = time.perf_counter()
        solver.train()
        seconds = time.perf_counter() - start
        test = solver.check_accuracy(data["X_test"], data["y_test"])
    return {
        "precision": precision, "seed": seed, "seconds": seconds, "best_val_acc": float(solver.best_val_acc),
        "test_acc": float(test), "loss": [float(x) for x in solver.loss_history],
        "val_acc": [float(x) for x in solver.val_acc_history],
    }


def smooth(values, width):
    """The mean of each `width` neighbours."""
    return np.convolve(values, np.full(width, 1 / width), "valid")


def report(runs):
    print(f"{'precision':<12}{'seed':>5}{'last loss':>11}{'best val':>10}{'test':>8}{'seconds':>9}")
    for run in runs:
        print(f"{run['precision']:<12}{run['seed']:>5}{np.mean(run['loss'][-20:]):>11.4f}"
              f"{run['best_val_acc']:>10.4f}{run['test_acc']:>8.4f}{run['seconds']:>9.1f}")
    for name in PRECISIONS:
        tests = [run["test_acc"] for run in runs if run["precision"] == name]
        spread = f" +- {statistics.stdev(tests):.4f}" if len(tests) > 1 else ""
        print(f"{name}: test accuracy {statistics.mean(tests):.4f}{spread} over {len(tests)} seeds")


def chart(runs, title, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for run in runs:
        color = f"C{PRECISIONS.index(run['precision'])}"
        line = "-" if run["precision"] == "highest" else "--"
        label = run["precision"] if run["seed"] == runs[0]["seed"] else None
        width = max(1, len(run["loss"]) // 50)
        loss = smooth(run["loss"], width)
        left.plot(np.arange(len(loss)) + width, loss, line, color=color, linewidth=1.2, label=label)
        right.plot(run["val_acc"], line, color=color, linewidth=1.2, label=label)
    left.set(xlabel="iteration", ylabel="training loss, running mean", yscale="log")
    right.set(xlabel="epoch", ylabel="validation accuracy")
    left.legend()
    right.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder that holds CIFAR-10; default: the bundled digits")
    parser.add_argument("--hidden", nargs="+", type=int, default=[256, 256])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="folder for precision.json and precision.png")
    args = parser.parse_args(argv)
    dataset = "cifar10" if args.data else "digits"
    given = {"dataset": dataset, "hidden": args.hidden} | ({"epochs": args.epochs} if args.epochs else {})
    recipe = settings(given)
    data, _ = load_dataset(dataset, args.data, np.float32)
    runs = [train(data, recipe, precision, seed) for seed in args.seeds for precision in PRECISIONS]
    report(runs)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "precision.json").write_text(json.dumps({"recipe": recipe, "runs": runs}, indent=1) + "\n")
        title = f"{dataset}, {'-'.join(map(str, args.hidden))}, {recipe['norm']}, {recipe['update_rule']}"
        chart(runs, title, args.out / "precision.png")


if __name__ == "__main__":
    main()
