"""How the cost of a training step grows with batch, width, depth and threads.

    python -m benchmarks.growth [--axes batch width depth threads] [--peer] [--out FOLDER]

One of them changes at a time; the rest stays at [1024, 1024, 1024] float32, batch norm, Adam, batch 256.
The limit is the step's multiply-adds at the speed of the best large product of the same run.
With --peer PyTorch runs beside.
"""

import argparse
import json
import os
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from benchmarks import arena, contestants, output
from benchmarks.rows import Row
from benchmarks.step import peak

BASE = Row((1024, 1024, 1024), "float32", True, "adam", 256)
AXES = {
    "batch": {n: replace(BASE, batch=n) for n in (16, 32, 64, 128, 256, 512, 1024)},
    "width": {n: replace(BASE, hidden=(n,) * 3) for n in (32, 64, 128, 256, 512, 1024, 2048)},
    "depth": {n: replace(BASE, hidden=(1024,) * n) for n in (1, 2, 3, 4, 6, 8)},
    "threads": {n: BASE for n in (1, 2, 4, 8, 16, 32)},
}
STEPS = {"daseCV_c": contestants.dasecv, "PyTorch": contestants.torch_eager}


def measure(axis, threads, names, rounds, seconds):
    """One result a point of an axis; `threads` for those axes that are not threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    results, speeds = [], {}
    for value, row in AXES[axis].items():
        count = value if axis == "threads" else threads
        if count > cores:
            continue
        if count not in speeds:
            speeds[count] = peak(row.dtype, count, 3, seconds)
        arguments = [json.dumps(asdict(row)), count]
        workers = {name: arena.Worker("benchmarks.growth", ["--contestant", name, *arguments], count)
                   for name in names}
        times = arena.interleave(workers, rounds, seconds)
        for worker in workers.values():
            worker.close()
        limit = row.multiply_adds / speeds[count]
        results.append({"axis": axis, "value": value, "title": row.title, "threads": count, "microseconds": times,
                        "multiply_adds": row.multiply_adds, "limit": limit,
                        "share_of_limit": limit / times["daseCV_c"]})
    return results


def report(results):
    names = list(results[0]["microseconds"])
    rows, before = [], {}
    for r in results:
        times = r["microseconds"]
        ours = times["daseCV_c"]
        grown = f"{ours / before[r['axis']]:.2f}" if r["axis"] in before else "-"
        before[r["axis"]] = ours
        rows.append([r["axis"], r["value"], r["threads"], f"{r['multiply_adds'] / 1e6:.0f}", output.microseconds(ours),
                     grown, *(output.microseconds(times[name], ours) for name in names[1:]),
                     f"{r['limit']:.0f}", f"{r['share_of_limit']:.0%}"])
    output.table(["axis", "value", "threads", "10^6 multiply-adds", "daseCV_c", "times the one before", *names[1:],
                  "limit", "share"], rows)
    print(f"microseconds a step; the rest stays at {BASE.title}")


def chart(results, path):
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    axes_found = list(dict.fromkeys(r["axis"] for r in results))
    figure = Figure(figsize=(3.6 * len(axes_found), 3.4), layout="constrained")
    for axes, axis in zip(figure.subplots(1, len(axes_found), squeeze=False)[0], axes_found, strict=True):
        chosen = [r for r in results if r["axis"] == axis]
        values = [r["value"] for r in chosen]
        for name in chosen[0]["microseconds"]:
            axes.plot(values, [r["microseconds"][name] / 1e3 for r in chosen], marker=".", label=name)
        axes.plot(values, [r["limit"] / 1e3 for r in chosen], "--", color="black", label="limit")
        axes.set(xscale="log", yscale="log", xlabel=axis, ylabel="milliseconds a step")
        axes.set_xticks(values, [str(v) for v in values])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--threads", type=int, default=2, help="for batch, width and depth")
    parser.add_argument("--peer", action="store_true", help="PyTorch too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one turn of a contestant")
    parser.add_argument("--out", type=Path, help="folder for growth.json and growth.png")
    parser.add_argument("--contestant", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.contestant:
        name, row, threads = args.contestant
        row = json.loads(row)
        return arena.serve(partial(STEPS[name], Row(**{**row, "hidden": tuple(row["hidden"])}), int(threads)))
    names = list(STEPS) if args.peer and arena.installed(["torch"]) else ["daseCV_c"]
    results = [result for axis in args.axes
               for result in measure(axis, args.threads, names, args.rounds, args.seconds)]
    report(results)
    if args.out:
        output.save(args.out, "growth", results, chart)
    return None


if __name__ == "__main__":
    main()
