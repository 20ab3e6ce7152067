"""Reading CIFAR-10 (49,000 / 1,000 / 1,000 images): this package beside the plain NumPy way.

    python -m benchmarks.load [--data FOLDER] [--rounds 3] [--out FOLDER]

Each reading has a process of its own. Time and memory start after the imports; the memory is the
growth of the largest resident set, over the size of the result. --data: as get_CIFAR10_data's
data_dir. The files are read once before, so that all find them in the system's cache.
"""

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import arena, output

DTYPES = ("float64", "float32", "uint8")
WAYS = ("daseCV_c", "plain")


def dasecv(folder, dtype):
    from daseCV_c.data_utils import get_CIFAR10_data

    return get_CIFAR10_data(data_dir=folder, dtype=dtype)


def _plain_batch(path, dtype):
    with open(path, "rb") as file:
        batch = pickle.load(file, encoding="latin1")
    X = batch["data"].reshape(10000, 3, 32, 32).transpose(0, 2, 3, 1)
    return X if dtype == "uint8" else X.astype("float"), np.array(batch["labels"])


def plain(folder, dtype):
    """As the course's users read it; uint8 keeps the pixels and only takes the mean."""
    parts = [_plain_batch(folder / f"data_batch_{k}", dtype) for k in range(1, 6)]
    X, y = np.concatenate([X for X, _ in parts]), np.concatenate([y for _, y in parts])
    del parts
    X_test, y_test = _plain_batch(folder / "test_batch", dtype)
    X_val, y_val = X[49000:50000], y[49000:50000]
    X_train, y_train = X[:49000], y[:49000]
    X_test, y_test = X_test[:1000], y_test[:1000]
    mean = np.mean(X_train, axis=0)
    if dtype != "uint8":
        X_train -= mean
        X_val -= mean
        X_test -= mean
    images = [X.transpose(0, 3, 1, 2).copy() for X in (X_train, X_val, X_test)]
    if dtype == "float32":
        images = [X.astype(np.float32) for X in images]
    data = {"X_train": images[0], "y_train": y_train, "X_val": images[1], "y_val": y_val, "X_test": images[2],
            "y_test": y_test}
    return data if dtype != "uint8" else {**data, "mean_image": mean.transpose(2, 0, 1)}


def resident(peak):
    """Bytes of memory that are resident now, or were at most."""
    try:
        # ru_maxrss begins with the size of the process that started this one.
        with open("/proc/self/status") as file:
            found = dict(line.split(":", 1) for line in file)
        return int(found["VmHWM" if peak else "VmRSS"].split()[0]) * 1024
    except (OSError, KeyError):
        import resource

        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size if sys.platform == "darwin" else size * 1024


def worker(way, dtype, folder):
    """One reading; prints seconds, bytes and a check sum."""
    folder = Path(folder)
    if way == "daseCV_c":
        import daseCV_c.data_utils  # noqa: F401
    before, start = resident(peak=False), time.perf_counter()
    data = dasecv(folder, dtype) if way == "daseCV_c" else plain(folder, dtype)
    seconds = time.perf_counter() - start
    grown = resident(peak=True) - before
    size = sum(array.nbytes for array in data.values())
    total = float(sum(array.sum(dtype=np.float64) for key, array in data.items() if key != "X_test"))
    total += float(np.abs(data["X_test"]).sum(dtype=np.float64))
    print(json.dumps({"seconds": seconds, "peak": grown, "result": size, "sum": total}))


def find(folder):
    """The folder that holds the pickled batches."""
    from daseCV_c.datasets.cifar_files import find_batches

    paths = find_batches("benchmarks.load", folder)
    if paths[0].suffix:
        raise SystemExit(f"{paths[0].parent} holds the binary version, expected the pickled one")
    for path in paths:
        path.read_bytes()
    return paths[0].parent.resolve()


def measure(folder, dtypes, rounds, threads):
    results = []
    for dtype in dtypes:
        found = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.load", "--worker", way, dtype, str(folder)], check=True,
                    env=arena.environment(threads), stdout=subprocess.PIPE, text=True)
                found[way].append(json.loads(done.stdout))
        sums = {round(one["sum"], -3) for runs in found.values() for one in runs}
        if len(sums) != 1:
            raise SystemExit(f"{dtype}: the two ways do not read the same numbers: {sums}")
        for way, runs in found.items():
            results.append({"dtype": dtype, "way": way, "seconds": statistics.median(r["seconds"] for r in runs),
                            "peak": statistics.median(r["peak"] for r in runs), "result": runs[0]["result"]})
    return results


def report(results):
    seconds = {(r["dtype"], r["way"]): r["seconds"] for r in results}
    output.table(
        ["dtype", "way", "seconds", "of the plain way", "result MB", "peak MB", "peak / result"],
        [[r["dtype"], r["way"], f"{r['seconds']:.3f}", f"{r['seconds'] / seconds[r['dtype'], 'plain']:.2f}",
          f"{r['result'] / 1e6:.0f}", f"{r['peak'] / 1e6:.0f}", f"{r['peak'] / r['result']:.2f}"] for r in results])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("DASECV_DATA"), help="default: $DASECV_DATA")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder for load.json")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        return worker(*args.worker)
    results = measure(find(args.data), args.dtypes, args.rounds, args.threads)
    report(results)
    if args.out:
        output.save(args.out, "load", results)
    return None


if __name__ == "__main__":
    main()
