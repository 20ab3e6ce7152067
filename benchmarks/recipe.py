"""The notebook's best model from start to end, this package beside the same loop in PyTorch.

    python -m benchmarks.recipe [--data FOLDER] [--threads 1 2] [--epochs-scale 1.0] [--out FOLDER]

CIFAR-10 in float32, [100, 100] with batch norm and L2: 10 epochs of Adam, then 20 of momentum, batch 200.
Each training has a process of its own, one after the other. Reading the data and the imports are not
counted. PyTorch keeps its tensors in memory, uses fused optimizers and runs eager; both check the
accuracy on the same numbers of samples at the same moments, and keep the best parameters.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import arena, output

HIDDEN, BATCH, WEIGHT_SCALE, REG, SEED = (100, 100), 200, 1.2e-2, 3.7e-2, 231
# Update rule, its settings, epochs.
STAGES = (("adam", {"learning_rate": 1.245e-4}, 10), ("sgd_momentum", {"learning_rate": 1e-6}, 20))
TRAIN_SAMPLES, VAL_SAMPLES, SCORED = 1000, None, 100  # of an accuracy check, and samples scored at a time


def dasecv(data, stages, threads):
    """Two Solvers on one network. Returns the model's accuracy function."""
    import daseCV_c
    from daseCV_c.classifiers.fc_net import FullyConnectedNet
    from daseCV_c.solver import Solver

    daseCV_c.set_num_threads(threads)
    np.random.seed(SEED)
    start = time.perf_counter()
    model = FullyConnectedNet(HIDDEN, weight_scale=WEIGHT_SCALE, reg=REG, normalization="batch_norm")
    for rule, settings, epochs in stages:
        solver = Solver(model, data, update_rule=rule, optim_config=settings, num_epochs=epochs, batch_size=BATCH,
                        num_train_samples=TRAIN_SAMPLES, num_val_samples=VAL_SAMPLES, verbose=False)
        solver.train()
    seconds = time.perf_counter() - start
    return seconds, len(solver.loss_history), lambda split: float(
        solver.check_accuracy(data[f"X_{split}"], data[f"y_{split}"]))


def pytorch(data, stages, threads):
    """The same loop, as one writes it for PyTorch on a CPU."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    tensors = {key: torch.from_numpy(array) for key, array in data.items()}
    X_train, y_train = tensors["X_train"].flatten(1), tensors["y_train"]
    start = time.perf_counter()
    sizes = (X_train.shape[1], *HIDDEN, 10)
    modules = []
    for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
        modules += [nn.Linear(fan_in, fan_out), nn.BatchNorm1d(fan_out), nn.ReLU()]
    model = nn.Sequential(*modules[:-2])
    linear = [module for module in model if isinstance(module, nn.Linear)]
    for module in linear:
        nn.init.normal_(module.weight, std=WEIGHT_SCALE)
        nn.init.zeros_(module.bias)
    weights = [module.weight for module in linear]

    @torch.no_grad()
    def accuracy(split, samples=None):
        X, y = tensors[f"X_{split}"].flatten(1), tensors[f"y_{split}"]
        if samples is not None and len(X) > samples:
            index = torch.randint(0, len(X), (samples,))
            X, y = X[index], y[index]
        model.eval()
        right = sum((model(X[i:i + SCORED]).argmax(1) == y[i:i + SCORED]).sum().item()
                    for i in range(0, len(X), SCORED))
        model.train()
        return right / len(X)

    per_epoch = len(X_train) // BATCH
    for rule, settings, epochs in stages:
        rate = settings["learning_rate"]
        optimizer = (torch.optim.Adam(model.parameters(), rate, fused=True) if rule == "adam"
                     else torch.optim.SGD(model.parameters(), rate, momentum=0.9, fused=True))
        losses, best, best_accuracy = [], None, -1.0
        for t in range(epochs * per_epoch):
            index = torch.randint(0, len(X_train), (BATCH,))
            optimizer.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(model(X_train[index]), y_train[index])
            loss = loss + 0.5 * REG * sum(w.square().sum() for w in weights)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if t == 0 or t == epochs * per_epoch - 1 or (t + 1) % per_epoch == 0:
                accuracy("train", TRAIN_SAMPLES)
                found = accuracy("val", VAL_SAMPLES)
                if found > best_accuracy:
                    best_accuracy = found
                    best = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(best)
    seconds = time.perf_counter() - start
    return seconds, len(losses), accuracy


TRAININGS = {"daseCV_c": dasecv, "PyTorch": pytorch}


def scaled(scale):
    return [(rule, settings, max(1, round(epochs * scale))) for rule, settings, epochs in STAGES]


def worker(name, folder, threads, scale):
    """One training; prints seconds and accuracies."""
    from daseCV_c.data_utils import get_CIFAR10_data

    data = get_CIFAR10_data(data_dir=folder, dtype=np.float32)
    stages = scaled(scale)
    seconds, last_steps, accuracy = TRAININGS[name](data, stages, threads)
    print(json.dumps({
        "name": name, "threads": threads, "epochs": [epochs for *_, epochs in stages], "seconds": seconds,
        "last_steps": last_steps, "val_accuracy": accuracy("val"), "test_accuracy": accuracy("test")}))


def measure(folder, threads, scale):
    results = []
    for count in threads:
        for name in TRAININGS:
            if name == "PyTorch" and not arena.installed(["torch"]):
                continue
            cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:count])) if hasattr(
                os, "sched_getaffinity") else ""
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.recipe", "--worker", name, cores, "--data", str(folder),
                 "--threads", str(count), "--epochs-scale", str(scale)], check=True, env=arena.environment(count),
                stdout=subprocess.PIPE, text=True)
            results.append(json.loads(done.stdout))
            print(f"{name}, {count} thread{'s' * (count > 1)}: {results[-1]['seconds']:.1f} s", flush=True)
    return results


def report(results):
    ours = {r["threads"]: r["seconds"] for r in results if r["name"] == "daseCV_c"}
    output.table(["", "threads", "epochs", "seconds", "ratio", "val accuracy", "test accuracy"], [
        [r["name"], r["threads"], " + ".join(map(str, r["epochs"])), f"{r['seconds']:.1f}",
         f"{r['seconds'] / ours[r['threads']]:.2f}", f"{r['val_accuracy']:.3f}", f"{r['test_accuracy']:.3f}"]
        for r in results])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("DASECV_DATA"), help="default: $DASECV_DATA")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--epochs-scale", type=float, default=1.0, metavar="F", help="times the epochs, at least 1")
    parser.add_argument("--out", type=Path, help="folder for recipe.json")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        name, cores = args.worker
        if cores:
            os.sched_setaffinity(0, set(map(int, cores.split(","))))
        return worker(name, args.data, args.threads[0], args.epochs_scale)
    from daseCV_c.datasets.cifar_files import find_batches

    folder = find_batches("benchmarks.recipe", args.data)[0].parent.resolve()
    results = measure(folder, args.threads, args.epochs_scale)
    report(results)
    if args.out:
        output.save(args.out, "recipe", results)
    return None


if __name__ == "__main__":
    main()
