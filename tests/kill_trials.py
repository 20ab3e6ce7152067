"""Trainings that are killed at any time, and resumed until they end, against trainings that never were.

    python tests/kill_trials.py --kills 40 --seed 1

A trial is one of the networks (no normalization, batch norm, layer norm, each with and without dropout, and
the convolutional one) with one of the update rules. It trains in a process of its own, which writes a
checkpoint after each step to a slow file system, and gets SIGKILL: every other time while a
checkpoint is being written, where the process stops itself, else at any time. One that is to be killed
does not end by itself. The next process goes on from what it finds. In the end all parameters, states
and histories are those of an undisturbed training, to the last bit.

`test_kills.py` runs a few of them. It needs nothing but the package.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RULES = ("sgd", "sgd_momentum", "rmsprop", "adam", "adagrad")
NETWORKS = [*itertools.product((None, "batchnorm", "layernorm"), (1.0, 0.7)), ("conv", 1.0)]
TRIALS = [(rule, *network) for network in NETWORKS for rule in RULES]
CHECKPOINT, RESULT, STEPS_AN_EPOCH, EPOCHS = "checkpoint.npz", "result.json", 5, 5
UNDISTURBED = "undisturbed"
COMPARED = ("loss_history", "train_acc_history", "val_acc_history", "val_loss_history", "learning_rate_history",
            "epoch", "best_params", "best_bn_params", "best_val_acc", "best_val_loss", "optim_configs")


# The process that trains.

def stop() -> None:
    """This process does nothing more before somebody sends it a signal."""
    os.kill(os.getpid(), signal.SIGSTOP)


class SlowFile:
    """A file on a slow file system: 4 KiB at a time, each of them seen by everybody, and a pause. After part `last` of
    them the process stops."""

    def __init__(self, file: Any, last: int | None) -> None:
        self._file, self._last = file, last
        self._parts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> SlowFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, part: Any) -> int:
        for start in range(0, len(part), 4096):
            self._file.write(part[start:start + 4096])
            self._file.flush()
            time.sleep(0.0005)
            self._parts += 1
            if self._parts == self._last:
                stop()
        return len(part)


def digest(value: Any) -> str:
    """Of arrays and numbers in lists and dicts, to the last bit."""
    found = hashlib.sha256()

    def add(each: Any) -> None:
        if isinstance(each, dict):
            for key in sorted(each):
                found.update(str(key).encode())
                add(each[key])
        elif isinstance(each, (list, tuple)):
            for part in each:
                add(part)
        else:
            array = np.asarray(each)
            found.update(f"{array.dtype} {array.shape}".encode())
            found.update(array.tobytes())

    add(value)
    return found.hexdigest()


def data_of(images: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    X, y = rng.standard_normal((500, *((2, 6, 6) if images else (24,)))), rng.integers(0, 5, 500)
    return {"X_train": X[:400], "y_train": y[:400], "X_val": X[400:], "y_val": y[400:]}


def train(folder: Path, trial: tuple[str, str | None, float], doomed: bool, draft: int, last: int) -> None:
    """Begin, or go on from the checkpoint in `folder`; write the result when the training has ended.

    A process that is doomed stops in draft `draft` of a checkpoint, if there is one of that number, or at the end.
    """
    from daseCV_c import _files
    from daseCV_c.classifiers.cnn import ThreeLayerConvNet
    from daseCV_c.classifiers.fc_net import FullyConnectedNet
    from daseCV_c.solver import Solver

    drafts = itertools.count(1)
    _files.open = lambda *args: SlowFile(  # type: ignore[attr-defined]
        open(*args), last if doomed and next(drafts) == draft else None)
    rule, network, keep = trial
    np.random.seed(11)
    model: Any
    if network == "conv":
        model = ThreeLayerConvNet((2, 6, 6), 3, 3, 16, 5, weight_scale=0.3)
    else:
        model = FullyConnectedNet([20, 16], 24, 5, dropout=keep, normalization=network, weight_scale=0.3)
    data = data_of(network == "conv")
    if (folder / CHECKPOINT).exists():
        solver = Solver.resume(folder / CHECKPOINT, model, data)
    else:
        solver = Solver(model, data, update_rule=rule, batch_size=400 // STEPS_AN_EPOCH, num_epochs=EPOCHS,
                        lr_decay=0.9, num_train_samples=100, verbose=False,
                        checkpoint_path=None if folder.name == UNDISTURBED else folder / CHECKPOINT,
                        checkpoint_every=0)
    solver.train()
    if doomed:
        stop()
    result = {name: digest(getattr(solver, name)) for name in COMPARED}
    result |= {"params": digest(model.params), "bn_params": digest(getattr(model, "bn_params", [])),
               "random": digest(np.random.get_state()[1:])}
    (folder / RESULT).write_text(json.dumps(result))


# The process that kills.

def _start(folder: Path, trial: tuple[str, str | None, float], doomed: bool = False, draft: int = 0,
           last: int = 0) -> subprocess.Popen[bytes]:
    fate = json.dumps([trial, doomed, draft, last])
    return subprocess.Popen([sys.executable, __file__, "--child", str(folder), fate])


def _drafts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part"))


def _kill(folder: Path, trial: tuple[str, str | None, float], writing: bool, rng: random.Random) -> bool:
    """Go on with the training and kill it; whether it was writing a checkpoint then."""
    process = _start(folder, trial, True, rng.randint(1, 6) if writing else 0, rng.randint(1, 60))
    if writing:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    else:
        while not (folder / CHECKPOINT).exists() and process.poll() is None and rng.random() < 0.99:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.4))
    assert process.poll() is None, f"{trial}: the training has failed"
    process.kill()
    process.wait()
    return bool(_drafts(folder))


def run(trial: tuple[str, str | None, float], kills: int, rng: random.Random, parent: Path) -> int:
    """One trial: how many of the kills came while a checkpoint was written; AssertionError if it does not end as it
    would have ended undisturbed."""
    alone, folder = parent / UNDISTURBED, parent / "killed"
    for each in (alone, folder):
        each.mkdir(parents=True)
    undisturbed = _start(alone, trial)
    writing = sum(_kill(folder, trial, (i + kills) % 2 == 0, rng) for i in range(kills))
    assert not (folder / RESULT).exists()
    assert _start(folder, trial).wait() == 0, f"{trial}: the resumed training has failed"
    assert undisturbed.wait() == 0, f"{trial}: the training has failed"
    expected, found = (json.loads((each / RESULT).read_text()) for each in (alone, folder))
    different = [name for name in expected if expected[name] != found[name]]
    assert not different, f"{trial}: after {kills} kills other {', '.join(different)}"
    assert not _drafts(folder), f"{trial}: a draft was left"
    return writing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        trial, *fate = json.loads(args.child[1])
        train(Path(args.child[0]), tuple(trial), *fate)
        return
    rng = random.Random(args.seed)
    trials, count, killed, writing = rng.sample(TRIALS, len(TRIALS)), 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        while killed < args.kills:
            trial, kills = trials[count % len(trials)], rng.randint(1, 3)
            found = run(trial, kills, rng, Path(folder) / str(count))
            count, killed, writing = count + 1, killed + kills, writing + found
            print(f"{trial}: {kills} kills, {found} of them while it wrote a checkpoint; equal", flush=True)
    print(f"{count} trainings, {killed} kills, {writing} while a checkpoint was written: all equal")


if __name__ == "__main__":
    main()
