"""What it costs that trials are chosen without the results of those before them.

    python -m benchmarks.search_ahead [--ahead 1 4 8 16 32] [--seeds 8] [--trials 40] [--jobs N]

For each number of trials that are chosen ahead: the best validation accuracy after a quarter, half and all of the
trials, as the mean over searches of different seeds with its standard error. A training is one of a small network on
an eighth of the digits, three epochs long, so that the settings matter.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import daseCV_c
from daseCV_c.datasets import load_digits_images

SPACE = {"lr": (1e-5, 1.0), "reg": (1e-6, 1.0), "hidden": (4, 64), "layers": (1, 3), "dropout": (0.3, 1.0),
         "norm": ["none", "batchnorm", "layernorm"], "update_rule": ["sgd", "sgd_momentum", "rmsprop", "adam"]}


def data() -> dict[str, Any]:
    digits = load_digits_images(dtype=np.uint8)
    return {**{name: digits[name] for name in ("X_val", "y_val", "mean_image")},
            **{name: digits[name][::8] for name in ("X_train", "y_train")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ahead", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=None)
    args = parser.parse_args()
    after = [args.trials // 4, args.trials // 2, args.trials]
    print("| ahead | " + " | ".join(f"after {count} trials" for count in after) + " |")
    print("|---" * (len(after) + 1) + "|", flush=True)
    for ahead in args.ahead:
        best = []
        for seed in range(args.seeds):
            with tempfile.TemporaryDirectory() as folder:
                found = daseCV_c.search(
                    SPACE, data=data(), storage=str(Path(folder, "journal")), trials=args.trials, ahead=ahead,
                    jobs=args.jobs, pruning="none", seed=seed, epochs=3, batch_size=20, verbose=False)
            reached = np.maximum.accumulate([np.nan_to_num(trial.val_acc) for trial in found.trials])
            best.append([reached[count - 1] for count in after])
        mean, error = np.mean(best, axis=0), np.std(best, axis=0, ddof=1) / np.sqrt(len(best))
        print(f"| {ahead} | " + " | ".join(f"{m:.4f} ± {e:.4f}" for m, e in zip(mean, error, strict=True)) + " |",
              flush=True)


if __name__ == "__main__":
    main()
