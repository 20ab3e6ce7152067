"""Hold the stubs of the compiled modules, daseCV_c/_compiled/*.pyi, against what is built: `python .ci/stubs.py`.

One stub describes a module of every level, so the level in use stands in for all.
"""

import importlib
import sys
from pathlib import Path

from mypy import stubtest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from daseCV_c._compiled.sources import modules_of  # noqa: E402
from daseCV_c._runtime import backend  # noqa: E402

if backend.level is None:
    sys.exit(f"the compiled kernels are not built; run: {backend.build_command()}")
PACKAGE = "daseCV_c._compiled"
names = [f"{PACKAGE}.runtime"]
for module in modules_of(backend.level):
    names.append(f"{PACKAGE}.{module}")
    sys.modules[names[-1]] = importlib.import_module(f"{PACKAGE}.{backend.level}.{module}")
for name in names:
    vars(importlib.import_module(name)).pop("__test__", None)  # Cython's own, for doctest
sys.exit(stubtest.test_stubs(stubtest.parse_options(
    ["--concise", "--mypy-config-file", str(ROOT / "pyproject.toml"), *names])))
