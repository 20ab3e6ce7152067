"""Loading the kernels: whatever keeps them from it, the twins work and one warning names the cause and the remedy."""

import json
import re
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from daseCV_c._compiled import sources
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime.kernels import FAMILIES, Kernels, specialised

BROKEN = """
import sys, warnings
import importlib.abc
class Broken(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith("daseCV_c._compiled.") and name.endswith({ending!r}):
            raise {error}
sys.meta_path.insert(0, Broken())
"""
TWINS_WORK = """
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    import daseCV_c
    from daseCV_c.layers import affine_forward, relu_forward
    assert affine_forward([[1., 2.]], [[3.], [4.]], [5.])[0].tolist() == [[16.0]]
assert daseCV_c.get_backend() == "numpy" and daseCV_c.show_config("dict")["level in use"] is None
assert len(seen) == 1 and seen[0].category is RuntimeWarning, seen
try:
    daseCV_c.use_backend("compiled")
except RuntimeError as error:
    assert "the compiled kernels are not built; run: " in str(error)
else:
    raise AssertionError("half of a build is used")
print(seen[0].message)
"""


@pytest.mark.compiled
@pytest.mark.parametrize("ending", [".runtime", ".networks", ".images"])
@pytest.mark.parametrize(("error", "words"), [
    ("ModuleNotFoundError('No module of this name')", "are missing (No module of this name)"),
    ("ImportError('libgomp.so.1: cannot open shared object file')", "cannot be loaded (libgomp.so.1: cannot open"),
    ("AttributeError('no such function')", "cannot be loaded (no such function)"),
    ("ValueError('numpy.dtype size changed')", "cannot be loaded (numpy.dtype size changed)"),
], ids=["missing", "library", "attribute", "size"])
def test_a_module_that_cannot_be_loaded(script, ending, error, words):
    said = script(BROKEN.format(ending=ending, error=error) + TWINS_WORK)
    assert words in said and "Build them with: " in said and "\n" not in said.strip()


def test_an_old_numpy_is_named_and_not_the_build(script):
    said = script("import warnings, numpy\nnumpy.__version__ = '1.26.4'\n" + TWINS_WORK)
    assert "they are built for NumPy 2, and this is NumPy 1.26.4" in said
    assert "python -m pip install 'numpy>=2'" in said and "Build them" not in said


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """The package lies in a folder without setup.py; its installer left `origin`, or nothing."""
    def put(origin):
        monkeypatch.setattr(_backend, "__file__", str(tmp_path / "site" / "daseCV_c" / "_runtime" / "backend.py"))

        def distribution(name):
            if origin is None:
                raise metadata.PackageNotFoundError(name)
            return type("Distribution", (), {"read_text": lambda self, file: origin and json.dumps(origin)})()

        monkeypatch.setattr(metadata, "distribution", distribution)
    return put


@pytest.mark.parametrize(("origin", "source"), [
    (None, "daseCV_c"),
    ({}, "daseCV_c"),
    ({"url": "file:///home/me/my%20clone", "dir_info": {}}, "file:///home/me/my%20clone"),
    ({"url": "https://example.org/it.git", "vcs_info": {"vcs": "git"}}, "git+https://example.org/it.git"),
], ids=["copied", "index", "folder", "repository"])
def test_an_installed_package_is_built_by_pip(installed, origin, source):
    installed(origin)
    command = _backend.build_command()
    assert command.startswith("python -m pip install --force-reinstall ") and command.split()[-1] == source


def test_a_clone_is_built_in_place(monkeypatch, tmp_path):
    clone = tmp_path / "a clone"
    clone.mkdir()
    (clone / "setup.py").touch()
    monkeypatch.setattr(_backend, "__file__", str(clone / "daseCV_c" / "_runtime" / "backend.py"))
    assert _backend.build_command() == f"cd '{clone.resolve()}' && python setup.py build_ext --inplace"
    monkeypatch.chdir(clone)
    assert _backend.build_command() == "python setup.py build_ext --inplace"


SRC = Path(__file__).resolve().parents[1] / "src"


@pytest.mark.tree
def test_each_family_is_in_one_module():
    families = [family for module in sources.MODULES.values() for family in module]
    assert sorted([*families, "runtime"]) == sorted(path.stem for path in SRC.glob("*.pyx"))
    assert set(families) == set(FAMILIES)


CIMPORT = re.compile(r"^from ([\w.]+) cimport (\([^)]+\)|.+)", re.MULTILINE)
# A definition at the left margin; a constant of an enum, or a function of a header, in a block that begins there.
DEFINITION = re.compile(r"(?:cdef|cpdef|def|class|ctypedef)\b[^(=:]*?(\w+) ?[(=:]|cdef [^(=]*?(\w+)$|(\w+) = ")
IN_BLOCK = re.compile(r" {4}(?!enum|ctypedef)(?:[^(#]*?(\w+)\(|(\w+))")


def module_level_names(family):
    """{name: where it is from} of what a family's file defines or cimports."""
    text = (SRC / f"{family}.pyx").read_text()
    found = {name.split()[-1]: origin for origin, names in CIMPORT.findall(text)
             for name in names.strip("()").split(",") if name.strip()}
    block = False
    for line in text.splitlines():
        if line[:1].strip():
            block = line.startswith(("cdef enum", "cdef extern"))
        name = (IN_BLOCK if block else DEFINITION).match(line)
        if name and not line.startswith(("cdef enum", "cdef extern")):
            found[next(filter(None, name.groups()))] = family
    return found


@pytest.mark.tree
@pytest.mark.parametrize("module", sources.MODULES)
def test_no_two_families_of_a_module_share_a_name(module):
    """The later one would be in force in both, and Cython says nothing of it."""
    origins = {}
    for family in sources.MODULES[module]:
        for name, origin in module_level_names(family).items():
            assert origins.setdefault(name, origin) == origin, f"{name}: {origins[name]} and {origin}"
    assert len(origins) > 10


def test_each_dtype_has_the_entries_of_its_own(kernels):
    found = specialised(vars(kernels))
    assert set(found) == {np.dtype(np.float32), np.dtype(np.float64)}
    for dtype, c_type in ((np.float32, "float"), (np.float64, "double")):
        of_dtype = found[np.dtype(dtype)]
        assert isinstance(of_dtype, Kernels)
        for family in vars(kernels):
            entries, module = getattr(of_dtype, family), getattr(kernels, family)
            for name, value in vars(module).items():
                if not name.startswith("_"):
                    signatures = getattr(value, "__signatures__", {})
                    assert getattr(entries, name) is signatures.get(c_type, value)


def test_kernels_of_follows_the_backend_and_the_dtype(backend):
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        assert (_backend.kernels_of(dtype) is None) == (backend == "numpy")
    assert _backend.kernels_of(np.dtype(np.float16)) is None
