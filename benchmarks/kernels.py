"""Each kernel beside its NumPy twin and PyTorch, from tiny to large.

    python -m benchmarks.kernels [--only KERNEL ...] [--dtypes float32 float64] [--threads 1 2] [--out FOLDER]
    python -m benchmarks.kernels --products    the matrix product alone beside NumPy's, at the networks' shapes
    python -m benchmarks.kernels --alternate   kernels and NumPy's product in turn in one process

Prints a table and, with --out, writes JSON and PNG files. benchmarks/kernel_rows.py holds what is called.
"""

import argparse
from functools import partial
from pathlib import Path

from benchmarks import arena, output, products
from benchmarks.kernel_rows import CONTESTANTS, KERNELS, make


def measure(names, dtypes, threads, rounds, seconds):
    """One result a kernel, dtype, size and thread count."""
    contestants = [name for name in CONTESTANTS if name != "PyTorch" or arena.installed(["torch"])]
    results = []
    for count in threads:
        workers = {name: arena.Worker("benchmarks.kernels", ["--contestant", name, count], count)
                   for name in contestants}
        for name in names:
            for dtype in dtypes:
                for size in KERNELS[name].sizes:
                    times = arena.interleave_case(workers, [name, dtype, size], rounds, seconds)
                    results.append({"kernel": name, "dtype": dtype, "size": size, "threads": count,
                                    "microseconds": times})
        for worker in workers.values():
            worker.close()
    return results


def report(results):
    contestants = [name for name in CONTESTANTS if any(name in r["microseconds"] for r in results)]
    rows = []
    for r in sorted(results, key=lambda r: (list(KERNELS).index(r["kernel"]), r["dtype"], r["size"], r["threads"])):
        times = r["microseconds"]
        ours = times["daseCV_c"]
        rows.append([r["kernel"], r["dtype"], "x".join(map(str, r["size"])), r["threads"], output.microseconds(ours),
                     *(output.microseconds(times.get(name), ours) for name in contestants[1:])])
    output.table(["kernel", "dtype", "size", "threads", *contestants], rows)
    print("microseconds a call; in brackets the ratio to daseCV_c. What is called:")
    for name in dict.fromkeys(r["kernel"] for r in results):
        print(f"  {name}")
        for contestant in contestants:
            print(f"    {contestant:<9} {KERNELS[name].expression(contestant)}")


def chart(results, path):
    """Time over the number of elements, one small plot a kernel."""
    from math import prod

    from matplotlib.figure import Figure

    names = list(dict.fromkeys(r["kernel"] for r in results))
    dtype = results[0]["dtype"]
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.6 * lines + 0.5), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in grid[len(names):]:
        axes.set_axis_off()
    for axes, name in zip(grid, names, strict=False):
        for k, contestant in enumerate(CONTESTANTS):
            for count, style in zip(sorted({r["threads"] for r in results}), ("-", "--", ":", "-."), strict=False):
                points = sorted((prod(r["size"]), r["microseconds"][contestant]) for r in results
                                if (r["kernel"], r["dtype"], r["threads"]) == (name, dtype, count)
                                and contestant in r["microseconds"])
                if points:
                    axes.plot(*zip(*points, strict=True), style, color=f"C{k}", marker=".",
                              label=f"{contestant}, {count} thread{'s' * (count > 1)}")
        axes.set(title=name, xscale="log", yscale="log")
        axes.title.set_fontsize("medium")
        axes.tick_params(labelsize="small")
    figure.supxlabel(f"product of the sizes ({dtype})")
    figure.supylabel("microseconds a call")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize="small")
    figure.savefig(path, dpi=110)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=KERNELS, default=list(KERNELS), metavar="KERNEL")
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "float64"))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.05, help="of one turn of a contestant")
    parser.add_argument("--out", type=Path, help="folder for the JSON and PNG files")
    parser.add_argument("--products", action="store_true")
    parser.add_argument("--alternate", action="store_true")
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.contestant:
        name, threads = args.contestant
        return arena.serve_cases(partial(make, name, int(threads)))
    both = args.dtypes or ["float32", "float64"]
    if args.products:
        return products.compare(both, args.threads, args.rounds, args.seconds, args.out)
    if args.alternate:
        return products.alternate(both, max(args.threads), args.rounds, args.seconds, args.out)
    results = measure(args.only, args.dtypes or ["float32"], args.threads, args.rounds, args.seconds)
    report(results)
    if args.out:
        output.save(args.out, "kernels", results, chart)
    return None


if __name__ == "__main__":
    main()
