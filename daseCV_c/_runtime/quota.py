"""How many processors the control groups of this process grant it."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path


@cache
def _mounts(root: str) -> list[tuple[str, str, str]]:
    """(controllers, the group at the mount's top, folder) of each control-group tree; version 2 has no names."""
    found = []
    for line in Path(root, "proc/self/mountinfo").read_text().splitlines():
        place, _, kind = line.partition(" - ")
        top, folder = place.split()[3:5]
        folder = folder.replace("\\040", " ")
        if kind.startswith("cgroup2 "):
            found.append(("", top, folder))
        elif kind.startswith("cgroup "):
            found.append((kind.split()[-1], top, folder))
    return found


def _share(folder: Path) -> float:
    """Processors that one group grants: its quota of time over the period."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf  # "max", -1, or a group without the file, as the outermost one is


def granted(root: str = "/") -> int | None:
    """The least that the process's group and those around it grant, rounded up; None without a quota.

    Each group limits all groups inside it. `root` is the folder that has proc and the mounts.
    """
    least = math.inf
    try:
        groups = [line.split(":", 2)[1:] for line in Path(root, "proc/self/cgroup").read_text().splitlines()]
        mounts = _mounts(root)
    except OSError:
        return None
    for controllers, path in groups:
        for names, top, folder in mounts:
            if not (controllers == names == "" or all("cpu" in text.split(",") for text in (controllers, names))):
                continue
            outermost = Path(root, folder.lstrip("/"))
            # A container may see its own group at the mount's top, whatever the path says.
            group = outermost / Path(path).relative_to(top) if Path(path).is_relative_to(top) else outermost
            while True:
                least = min(least, _share(group))
                if group == outermost:
                    break
                group = group.parent
    return None if least == math.inf else max(1, math.ceil(least))
