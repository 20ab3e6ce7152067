"""`python -m daseCV_c` in a folder that has a `random.py` or `numpy.py`: these are not what the package means by that.

Python puts the working folder first on the import path. Imported before everything else, so it imports next to nothing.
"""

import os
import sys

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def hidden(folder: str) -> list[str]:
    """The modules of Python's, or that the package needs, that a file of a folder would hide."""
    wanted = sys.stdlib_module_names | {"numpy", "test", "tqdm"}
    try:
        return sorted(name for entry in os.listdir(folder) if entry.endswith(".py") and (name := entry[:-3]) in wanted)
    except OSError:
        return []


def working_folder() -> str | None:
    """Where Python was started; None where somebody has removed that folder."""
    try:
        return os.getcwd()
    except OSError:
        return None


if sys.argv[:1] == ["-m"] and sys.path[:1] == [working_folder()] and sys.path[0] != _HERE and hidden(sys.path[0]):
    del sys.path[0]
