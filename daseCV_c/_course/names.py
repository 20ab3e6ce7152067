"""The course's import names for the package's modules: `daseCV.layers`, `cs231n.layers`.

``daseCV.layers`` is the very module ``daseCV_c.layers``, never a second copy. Where there is a folder of that name
beside the notebook, its modules come first, and what it lacks is ours.
"""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from daseCV_c._shadowed import working_folder

_PACKAGE = __name__.partition(".")[0]
_OURS = Path(__file__).resolve().parents[1]
_SHIM = _OURS.parent / "daseCV"  # files for editors
# Modules of ours, and those of a folder that they take functions from.
_USERS = {"classifiers": ("layer_utils", "fast_layers", "layers"), "solver": ("optim",)}


def _is_ours(folder: str) -> bool:
    path = Path(folder).resolve()
    return any(path == ours or ours in path.parents for ours in (_OURS, _SHIM))


def _holds_modules(folder: str) -> bool:
    """Whether Python files lie in a folder: one of data alone is no package."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.endswith(".py") for entry in entries)
    except OSError:
        return False


def folders_beside(name: str) -> list[str]:
    """Folders `name` with Python files on the import path that are not the package's own, the first one first."""
    found: list[str] = []
    for entry in sys.path:
        folder = os.path.join(entry or working_folder() or os.curdir, name)
        if folder not in found and _holds_modules(folder) and not _is_ours(folder):
            found.append(folder)
    return found


def _theirs(fullname: str, path: Iterable[str] | None) -> ModuleSpec | None:
    """The module of a folder that is not ours, if it has one of that name."""
    folders = [folder for folder in path or () if not _is_ours(folder)]
    spec = PathFinder.find_spec(fullname, folders) if folders else None
    if spec is None or spec.loader is not None:
        return spec
    # A folder without __init__.py: a package if there is something in it.
    return spec if any(map(_holds_modules, spec.submodule_search_locations or ())) else None


class _Names(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `name.x` as `daseCV_c.x` for each of the names, and a name itself where no folder has it."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        name, dot, rest = fullname.partition(".")
        if name not in self.names:
            return None
        if not dot:
            return None if name == "daseCV" else self._top(name)
        theirs = _theirs(fullname, path)
        if theirs is not None:
            return theirs
        try:
            if importlib.util.find_spec(f"{_PACKAGE}.{rest}") is None:
                return None
        except ModuleNotFoundError:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def _top(self, name: str) -> ModuleSpec | None:
        if any(os.path.isfile(os.path.join(folder, "__init__.py")) for folder in folders_beside(name)):
            return None
        spec = ModuleSpec(name, self, is_package=True)
        spec.submodule_search_locations = folders_beside(name)
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        _, dot, rest = spec.name.partition(".")
        if not dot:
            return None
        module = importlib.import_module(f"{_PACKAGE}.{rest}")
        spec.loader_state = module.__spec__
        _use_theirs(spec.name.partition(".")[0], rest)
        return module

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        if "." in spec.name:
            # The import system has just put the alias's spec on the shared module: put its own back.
            module.__spec__ = spec.loader_state
            return
        package = sys.modules[_PACKAGE]
        vars(module).update(__doc__=package.__doc__, __all__=package.__all__, __version__=package.__version__,
                            __getattr__=functools.partial(attribute, spec.name), __dir__=package.__dir__)


_finder = _Names()


def attribute(name: str, wanted: str) -> Any:
    """What a package of another name gives for an attribute that it has not: ours, but its own modules."""
    found = getattr(sys.modules[_PACKAGE], wanted)
    return importlib.import_module(f"{name}.{wanted}") if isinstance(found, ModuleType) else found


def _use_theirs(name: str, rest: str) -> None:
    """Let networks of ours compute with the layers of a folder that has some, and the Solver with its update rules."""
    wanted = next((modules for ours, modules in _USERS.items() if rest.partition(".")[0] == ours), ())
    for own in wanted:
        if _theirs(f"{name}.{own}", sys.modules[name].__path__) is None:
            continue
        module = importlib.import_module(f"{name}.{own}")
        if own == "optim":
            from daseCV_c._training import checks
            used = checks.prefer(module)
        else:
            from daseCV_c._layers import chosen
            used = chosen.prefer(module)
        if used:
            print(f"{name}: {', '.join(used)} of {module.__file__} in use")


def take(name: str) -> None:
    """Put our module in the place of the file for editors that is just being run.

    The finder of an editable install runs those where the folder before ours is somebody else's.
    """
    name, _, rest = name.partition(".")
    sys.modules[f"{name}.{rest}"] = importlib.import_module(f"{_PACKAGE}.{rest}")
    _use_theirs(name, rest)


def install(name: str) -> None:
    """Let `name.x` be found. Ahead of the finders of editable installs, which would give a copy of the module."""
    _finder.names.add(name)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def alias(name: str) -> None:
    """Make `name` another import name of this package, as `daseCV` is, and print what it stands for.

    ``name.layers`` is then the module ``daseCV_c.layers``. Where a folder of that name with Python files is on the
    import path, as beside the notebook, its modules come first, and those that it lacks are ours.

    Parameters
    ----------
    name : str
        Such as ``'cs231n'``, the name in the original course.

    Raises
    ------
    TypeError, ValueError
        `name` is no name, or is that of a module that is no folder of a course.

    Examples
    --------
    >>> import daseCV_c
    >>> daseCV_c.alias('cs231n_of_another_year')
    cs231n_of_another_year: daseCV_c
    >>> import cs231n_of_another_year.layers, daseCV_c.layers
    >>> cs231n_of_another_year.layers is daseCV_c.layers
    True
    """
    if not isinstance(name, str):
        raise TypeError(f"alias: name is {name!r}, expected a text")
    if not name.isidentifier() or name == _PACKAGE:
        raise ValueError(f"alias: name is {name!r}, expected a name that can be imported, such as 'cs231n'")
    if name not in _finder.names:
        spec = importlib.util.find_spec(name) if name not in sys.modules else sys.modules[name].__spec__
        folders = list(spec.submodule_search_locations or ()) if spec else []
        if name in sys.modules and spec is None or spec is not None and not _is_a_course(name, folders):
            raise ValueError(f"alias: {name} is a module of its own, {getattr(spec, 'origin', None)}, and stays it")
    install(name)
    print(f"{name}: {describe(name)}")


def _is_a_course(name: str, folders: list[str]) -> bool:
    """Whether folders are of somebody's work, or of data alone, and not of what is installed."""
    installed = any(part in ("site-packages", "dist-packages") for folder in folders for part in Path(folder).parts)
    beside = set(map(os.path.realpath, folders_beside(name)))
    return bool(folders) and not installed and all(
        os.path.realpath(folder) in beside or not _holds_modules(folder) for folder in folders)


def describe(name: str) -> str:
    """Whose the modules of an import name are."""
    folders = folders_beside(name)
    if not folders:
        return _PACKAGE
    what = f"the modules in {', '.join(folders)}"
    return f"{what}; those that it lacks from {_PACKAGE}" if name in _finder.names else what

