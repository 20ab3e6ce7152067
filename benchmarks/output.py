"""What the benchmarks share in printing and writing."""

import json
import os
import platform


def machine():
    """The CPU's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            name = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": name, "cores": cores, "python": platform.python_version()}


def save(folder, name, results, draw=None):
    """Write <name>.json and, with `draw(results, path)`, <name>.png."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine(), "results": results}, indent=1)
    (folder / f"{name}.json").write_text(text + "\n")
    if draw is not None:
        draw(results, folder / f"{name}.png")


def table(header, rows):
    """Print columns, the first to the left, the others to the right."""
    lines = [[str(cell) for cell in line] for line in (header, *rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join([line[0].ljust(widths[0]), *cells]).rstrip())


def microseconds(value, ours=None):
    """A time, with its ratio to ours in brackets; a dash where there is none."""
    if value is None:
        return "-"
    text = f"{value:.1f}" if value < 100 else f"{value:.0f}"
    return text if ours is None else f"{text} ({value / ours:.2f})"
