"""What importing this package adds to importing NumPy.

    python -m benchmarks.imports [--rounds 15] [--slowest 8] [--out FOLDER]

Each import has a process of its own, in turn; medians.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import arena, output

MODULES = ("numpy", "daseCV_c", "daseCV_c.layers", "daseCV_c.solver", "daseCV_c.classifiers.fc_net",
           "daseCV_c.data_utils")
# The interpreter's own start is not counted, NumPy's import is.
CODE = "import time; start = time.perf_counter(); import numpy, {}; print(time.perf_counter() - start)"


def measure(rounds, threads):
    times = {module: [] for module in MODULES}
    for _ in range(rounds):
        for module in MODULES:
            done = subprocess.run([sys.executable, "-c", CODE.format(module)], check=True, text=True,
                                  env=arena.environment(threads), stdout=subprocess.PIPE)
            times[module].append(float(done.stdout) * 1e3)
    medians = {module: statistics.median(values) for module, values in times.items()}
    return [{"module": module, "milliseconds": value, "added": value - medians["numpy"]}
            for module, value in medians.items()]


def slowest(module, count, threads):
    """(milliseconds without what it imports itself, name) of the modules that `module` adds to numpy."""
    def imported(code):
        done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], check=True, text=True,
                              env=arena.environment(threads), stderr=subprocess.PIPE)
        lines = [line.split(":", 1)[1].split("|") for line in done.stderr.splitlines() if "|" in line]
        return {name.strip(): int(own) / 1e3 for own, _, name in lines if own.strip().isdigit()}

    known = imported("import numpy")
    added = [(own, name) for name, own in imported(f"import numpy, {module}").items() if name not in known]
    return sorted(added, reverse=True)[:count]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--slowest", type=int, default=8, metavar="N", help="list the N slowest modules")
    parser.add_argument("--out", type=Path, help="folder for imports.json")
    args = parser.parse_args(argv)
    results = measure(args.rounds, args.threads)
    output.table(["import numpy and", "ms", "added ms"],
                 [[r["module"], f"{r['milliseconds']:.1f}", f"{r['added']:.1f}"] for r in results])
    if args.slowest:
        print("slowest modules of daseCV_c, in ms without what they import:")
        for own, name in slowest("daseCV_c", args.slowest, args.threads):
            print(f"  {own:6.1f}  {name}")
    if args.out:
        output.save(args.out, "imports", results)


if __name__ == "__main__":
    main()
