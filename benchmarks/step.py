"""One training step, this package beside every peer that is installed.

    python -m benchmarks.step [--rows A B C E D] [--threads 1 2] [--bfloat16] [--out FOLDER]

Prints a table and, with --out, writes step.json and step.png. The limit of a row is its
multiply-adds at the speed of the best large matrix product seen in the same run. With
--bfloat16 the steps with bfloat16 products run beside, where there are any.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import arena, output
from benchmarks.contestants import BFLOAT16, CONTESTANTS
from benchmarks.rows import ROWS

ALL = {**CONTESTANTS, **BFLOAT16}

SIDE = 1536  # of the large product


def large_product(library, dtype):
    """A step that is one large product, for the limit."""
    rng = np.random.RandomState(0)
    a, b = (rng.randn(SIDE, SIDE).astype(dtype) for _ in range(2))
    if library == "torch":
        import torch

        a, b = torch.from_numpy(a), torch.from_numpy(b)
        return lambda: a @ b
    if library == "numpy":
        return lambda: a @ b
    from daseCV_c.layers import affine_forward

    bias = np.zeros(SIDE, dtype)
    return lambda: affine_forward(a, b, bias)


def peak(dtype, threads, rounds, seconds):
    """Multiply-adds per microsecond of the best large product."""
    names = ["daseCV_c", "numpy"] + (["torch"] if arena.installed(["torch"]) else [])
    workers = {name: arena.Worker("benchmarks.step", ["--product", name, dtype], threads) for name in names}
    best = min(arena.interleave(workers, rounds, seconds).values())
    for worker in workers.values():
        worker.close()
    return SIDE**3 / best


def measure(label, threads, rounds, seconds, names):
    """One row at one thread count."""
    row, workers = ROWS[label], {}
    for name in names:
        if arena.installed(ALL[name][1]):
            worker = arena.Worker("benchmarks.step", ["--contestant", name, label, threads], threads)
            if worker.reason is None:
                workers[name] = worker
            else:
                worker.close()
    times = arena.interleave(workers, rounds, seconds)
    for worker in workers.values():
        worker.close()
    limit = row.multiply_adds / peak(row.dtype, threads, 3, seconds)
    ours = times["daseCV_c"]
    peers = {name: t for name, t in times.items() if name in CONTESTANTS and name != "daseCV_c"}
    fastest = min(peers, key=peers.get, default=None)
    return {
        "row": label, "title": row.title, "threads": threads, "microseconds": times, "limit": limit,
        "share_of_limit": limit / ours, "ratio": {k: t / ours for k, t in times.items() if k != "daseCV_c"},
        "fastest_peer": fastest, "ratio_to_fastest_peer": peers[fastest] / ours if peers else None,
    }


def report(results):
    names = [name for name in ALL if any(name in r["microseconds"] for r in results)]
    rows = []
    for r in results:
        times, ours = r["microseconds"], r["microseconds"]["daseCV_c"]
        fastest = f"{r['ratio_to_fastest_peer']:.2f} {r['fastest_peer']}" if r["fastest_peer"] else "-"
        rows.append([r["row"], r["threads"], f"{r['limit']:.0f}", output.microseconds(ours),
                     *(output.microseconds(times.get(name), ours) for name in names[1:]), fastest,
                     f"{r['share_of_limit']:.0%}"])
    output.table(["row", "threads", "limit", *names, "fastest peer", "share"], rows)
    print("microseconds a step; in brackets the ratio to daseCV_c; share: limit / daseCV_c")
    for label in dict.fromkeys(r["row"] for r in results):
        ours = {r["threads"]: r["microseconds"]["daseCV_c"] for r in results if r["row"] == label}
        gains = "".join(f"; {n} threads are {ours[1] / t:.2f} times as fast as 1"
                        for n, t in ours.items() if n > 1 and 1 in ours)
        print(f"  {label}: {ROWS[label].title}{gains}")


def chart(results, path):
    from matplotlib.figure import Figure

    names = [name for name in ALL if any(name in r["microseconds"] for r in results)]
    figure = Figure(figsize=(1.6 + 1.3 * len(results), 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        heights = [r["microseconds"].get(name, np.nan) / r["limit"] for r in results]
        axes.bar(np.arange(len(results)) + k * width, heights, width, label=name)
    axes.axhline(1, color="black", linewidth=1)
    axes.set_xticks(np.arange(len(results)) + 0.4 - width / 2,
                    [f"{r['row']}, {r['threads']} thread{'s' * (r['threads'] > 1)}" for r in results])
    axes.set_ylabel("time of a step / limit")
    # A slow peer would press the others flat.
    shown = sorted(t / r["limit"] for r in results for t in r["microseconds"].values())
    axes.set_ylim(0, min(shown[-1], 8) * 1.05)
    figure.legend(ncols=4, fontsize="small", loc="outside upper center")
    figure.savefig(path, dpi=120)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, help="these contestants beside daseCV_c")
    parser.add_argument("--bfloat16", action="store_true", help="also with bfloat16 products")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one turn of a contestant")
    parser.add_argument("--out", type=Path, help="folder for step.json and step.png")
    parser.add_argument("--contestant", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--product", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.contestant:
        name, label, threads = args.contestant
        return arena.serve(partial(ALL[name][0], ROWS[label], int(threads)))
    if args.product:
        return arena.serve(partial(large_product, *args.product))
    names = ["daseCV_c", *args.only] if args.only else list(CONTESTANTS)
    names = list(dict.fromkeys(names + (list(BFLOAT16) if args.bfloat16 else [])))
    results = [measure(label, threads, args.rounds, args.seconds, names)
               for label in args.rows for threads in args.threads]
    report(results)
    if args.out:
        output.save(args.out, "step", results, chart)
    return None


if __name__ == "__main__":
    main()
