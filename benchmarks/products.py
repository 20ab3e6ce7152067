"""The matrix product alone beside NumPy's, and both in turn in one process."""

import statistics
import sys
import time

import numpy as np

from benchmarks import arena, output
from benchmarks.rows import products

CALLS = {
    "daseCV_c": "kernels.affine.matmul(a, b, out, trans_a, trans_b, threads)",
    "NumPy": "np.matmul(A, B, out=out)",
}


def arrays(dtype, kind, n, d, m):
    """a and b as they lie in memory, whether each is used transposed, and the result."""
    rng = np.random.RandomState(0)
    x, w, dout = (rng.randn(*shape).astype(dtype) for shape in ((n, d), (d, m), (n, m)))
    a, b, trans_a, trans_b = {"forward": (x, w, False, False), "dx": (dout, w, False, True),
                              "dw": (x, dout, True, False)}[kind]
    rows, columns = a.shape[1 if trans_a else 0], b.shape[0 if trans_b else 1]
    return a, b, trans_a, trans_b, np.empty((rows, columns), dtype)


def make(contestant, threads, case):
    """The step of one case: (dtype, kind, n, d, m)."""
    a, b, trans_a, trans_b, out = arrays(*case)
    names = {"a": a, "b": b, "trans_a": trans_a, "trans_b": trans_b, "out": out, "threads": threads, "np": np,
             "A": a.T if trans_a else a, "B": b.T if trans_b else b}
    if contestant == "daseCV_c":
        from daseCV_c._runtime import backend as _backend

        names["kernels"] = _backend.kernels_of(a.dtype)
    return eval(f"lambda: {CALLS[contestant]}", names)


def compare(dtypes, threads, rounds, seconds, out):
    """Each product of the networks, beside NumPy's."""
    results = []
    for count in threads:
        workers = {name: arena.Worker("benchmarks.products", [name, count], count) for name in CALLS}
        for dtype in dtypes:
            for kind, n, d, m in products():
                times = arena.interleave_case(workers, [dtype, kind, n, d, m], rounds, seconds)
                results.append({"product": kind, "n": n, "d": d, "m": m, "dtype": dtype, "threads": count,
                                "microseconds": times, "ratio": times["NumPy"] / times["daseCV_c"]})
        for worker in workers.values():
            worker.close()
    rows = []
    for r in sorted(results, key=lambda r: (r["dtype"], r["m"], r["d"], r["n"], r["product"], r["threads"])):
        flops = 2e-3 * r["n"] * r["d"] * r["m"]
        rows.append([f"{r['product']} {r['n']}x{r['d']}x{r['m']}", r["dtype"], r["threads"],
                     *(output.microseconds(t) for t in r["microseconds"].values()),
                     *(f"{flops / t:.0f}" for t in r["microseconds"].values()),
                     f"{r['ratio']:.2f}" + (" *" if r["ratio"] < 1 else "  ")])
    output.table(["product NxDxM", "dtype", "threads", *CALLS, "GF/s", "GF/s NumPy", "ratio  "], rows)
    print("microseconds a call; ratio: NumPy / daseCV_c, * where NumPy is ahead. What is called:")
    for name, call in CALLS.items():
        print(f"  {name:<9} {call}")
    if out:
        output.save(out, "products", results, chart)


def chart(results, path):
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys((r["dtype"], r["threads"]) for r in results))
    figure = Figure(figsize=(12, 2.8 * len(groups)), layout="constrained")
    for axes, (dtype, threads) in zip(figure.subplots(len(groups), squeeze=False)[:, 0], groups, strict=True):
        chosen = [r for r in results if (r["dtype"], r["threads"]) == (dtype, threads)]
        axes.bar(range(len(chosen)), [r["ratio"] for r in chosen])
        axes.axhline(1, color="black", linewidth=1)
        axes.set_xticks(range(len(chosen)), [f"{r['product']}\n{r['n']}\nx{r['d']}\nx{r['m']}" for r in chosen],
                        fontsize="x-small")
        axes.set_title(f"{dtype}, {threads} thread{'s' * (threads > 1)}", fontsize="medium")
        axes.set_ylabel("NumPy / daseCV_c")
    figure.savefig(path, dpi=110)


def alternate(dtypes, threads, rounds, seconds, out):
    """A pair of our product and NumPy's, alternated in one process, against the two apart."""
    results = []
    worker = arena.Worker("benchmarks.products", ["alternate", threads], threads)
    for dtype in dtypes:
        for kind, n, d, m in products():
            times = {name: [] for name in (*CALLS, "alternated")}
            for _ in range(rounds):
                for name in times:
                    time.sleep(arena.REST)  # threads of NumPy's BLAS would take a core from our product alone
                    times[name].append(worker.run_case([name, dtype, kind, n, d, m], seconds))
            times = {name: statistics.median(values) for name, values in times.items()}
            apart = times["daseCV_c"] + times["NumPy"]
            results.append({"product": kind, "n": n, "d": d, "m": m, "dtype": dtype, "threads": threads,
                            "microseconds": times, "ratio": times["alternated"] / apart})
    worker.close()
    output.table(["product NxDxM", "dtype", "threads", *CALLS, "alternated", "ratio"], [
        [f"{r['product']} {r['n']}x{r['d']}x{r['m']}", r["dtype"], r["threads"],
         *(output.microseconds(t) for t in r["microseconds"].values()), f"{r['ratio']:.2f}"] for r in results])
    print("microseconds a call, and of a pair of calls in turn; ratio: the pair / the two apart")
    if out:
        output.save(out, "alternate", results)


def _alternating(threads):
    """Steps of all three kinds that stay in one process."""
    steps = {}

    def step_of(name, *case):
        if name != "alternated":
            return make(name, threads, case)
        ours, numpy = (make(each, threads, case) for each in CALLS)

        def pair():
            ours()
            numpy()
        return pair

    def made(case):
        key = tuple(case)
        if key not in steps:
            if not any(known[1:] == key[1:] for known in steps):
                steps.clear()
            steps[key] = step_of(*key)
        return steps[key]
    return made


def main():
    name, threads = sys.argv[1], int(sys.argv[2])
    if name == "alternate":
        arena.serve_cases(_alternating(threads))
    else:
        arena.serve_cases(lambda case: make(name, threads, case))


if __name__ == "__main__":
    main()
