"""The course's import name: `from daseCV.layers import *` gives daseCV_c.

`daseCV.x` is the very module `daseCV_c.x`, never a second copy: `daseCV_c._course.names` gives it. The files beside
this one are for editors and type checkers, which look for files; Python does not run them. Where there is a folder
`daseCV/` on the import path, its modules come first, and those that it lacks are ours.
"""

import functools
import os

from daseCV_c import *
from daseCV_c import __all__, __version__  # noqa: F401
from daseCV_c._course import names as _names

# A folder without __init__.py is not what Python takes for the package, but its modules are somebody's work.
__path__ = [*_names.folders_beside("daseCV"), os.path.dirname(os.path.abspath(__file__))]
_names.install("daseCV")
__getattr__ = functools.partial(_names.attribute, "daseCV")


def __dir__() -> list[str]:
    import daseCV_c
    return dir(daseCV_c)
