"""Runs of `train` that are killed at any time, and resumed until they end, against runs that never were.

    python tests/kill_run_trials.py --kills 40 --seed 1

As kill_trials.py, through the command line: a trial is a network with an update rule, trained by
`python -m daseCV_c train --out RUN`, which gets SIGKILL after a time that is drawn, and goes on with
`train --resume RUN`. In the end history.csv and best.npz are byte by byte those of an undisturbed run.
`test_cli_resume.py` has a short one.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from daseCV_c import optim

TRAIN = [sys.executable, "-m", "daseCV_c", "train"]
FAST = ["--checkpoint-every", "0.02", "--threads", "1"]  # a checkpoint is being written half of the time
NETWORKS = [*(["--norm", norm, "--dropout", keep] for norm, keep in itertools.product(
    ("none", "batchnorm", "layernorm"), ("1", "0.7"))), ["--model", "cnn", "--filters", "8", "--filter-size", "3"]]
EPOCHS = {"fc": "150", "cnn": "12"}
MORE = [[], [], ["--schedule", "one_cycle", "--average", "decay=0.99"], ["--clip-norm", "1", "--early-stopping", "90"],
        ["--schedule", "plateau,patience=3", "--average", "last=5", "--dtype", "float64"]]
ATTEMPTS = 6  # kills of one run


def wait(process: subprocess.Popen[bytes], seconds: float | None) -> bool:
    """True if the command has ended by itself, as it should."""
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    assert process.returncode == 0, said.decode()
    return True


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*TRAIN, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def trial(draw: random.Random, folder: Path, kills: int) -> dict[str, int]:
    """Kill one run at most so often; counts of what happened."""
    network, rule, more = draw.choice(NETWORKS), draw.choice(list(optim.SETTINGS)), draw.choice(MORE)
    options = [*network, "--update-rule", rule, "--lr", "1e-3", "--epochs", EPOCHS["cnn" if "cnn" in network else "fc"],
               *more]
    whole, run = folder / "whole", folder / "killed"
    began = time.monotonic()
    wait(start([*options, "--threads", "1", "--out", str(whole)]), None)
    seconds = time.monotonic() - began
    command, found = [*options, "--out", str(run)], {"kills": 0, "while saving": 0, "before a checkpoint": 0}
    while found["kills"] < min(kills, ATTEMPTS):
        if wait(start([*command, *FAST]), draw.uniform(0.3, max(seconds, 1.0))):
            break
        found["kills"] += 1
        found["while saving"] += any(run.glob(".*.part"))
        found["before a checkpoint"] += not (run / "checkpoint.npz").exists()
        if (run / "config.json").exists():
            command = ["--resume", str(run)]
    else:
        wait(start([*command, *FAST]), None)
    for name in ("history.csv", "best.npz"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), f"{name} differs: train {' '.join(options)}"
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in whole.iterdir())
    print(f"{found['kills']} kills, equal: train {' '.join(options)}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw, total = random.Random(args.seed), {"kills": 0}
    folder = Path(tempfile.mkdtemp())
    try:
        while total["kills"] < args.kills:
            place = folder / str(len(list(folder.iterdir())))
            place.mkdir()
            for name, count in trial(draw, place, args.kills - total["kills"]).items():
                total[name] = total.get(name, 0) + count
    finally:
        shutil.rmtree(folder)
    print(", ".join(f"{count} {name}" for name, count in total.items()))


if __name__ == "__main__":
    main()
