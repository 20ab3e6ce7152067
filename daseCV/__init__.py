"""The course's import name: `from daseCV.layers import *` gives daseCV_c.

`daseCV.x` is the very module `daseCV_c.x`, never a second copy: the finder below gives it. The files beside this one
are for editors and type checkers, which look for files; Python does not run them. A folder `daseCV/` of the course's
own comes before this one on the import path and wins.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import daseCV_c
from daseCV_c import *
from daseCV_c import __all__, __version__  # noqa: F401


class _Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `daseCV.x` by importing `daseCV_c.x`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        # Only for this shim: a local package named daseCV has its own path and its own modules.
        if not fullname.startswith("daseCV.") or getattr(sys.modules.get("daseCV"), "_alias", None) is not self:
            return None
        real = "daseCV_c" + fullname[len("daseCV"):]
        try:
            if importlib.util.find_spec(real) is None:
                return None
        except ModuleNotFoundError:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module("daseCV_c" + spec.name[len("daseCV"):])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just put the alias's spec on the shared module: put its own back.
        alias = module.__spec__
        assert alias is not None
        module.__spec__ = alias.loader_state


_alias = _Alias()
sys.meta_path.insert(0, _alias)


def __getattr__(name: str) -> Any:
    return getattr(daseCV_c, name)


def __dir__() -> list[str]:
    return dir(daseCV_c)
