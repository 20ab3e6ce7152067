"""The course's import name: `daseCV.x` is the module `daseCV_c.x`, and there is a file that an editor can read."""

import ast
import importlib
from pathlib import Path

import pytest

import daseCV
import daseCV_c

FOLDER = Path(daseCV.__file__).parent
OURS = Path(daseCV_c.__file__).parent
NAMES = sorted(p.stem for p in OURS.glob("*.py") if not p.name.startswith("_")) + ["classifiers", "datasets"] + [
    f"classifiers.{p.stem}" for p in (OURS / "classifiers").glob("*.py") if p.name != "__init__.py"
]


@pytest.mark.parametrize("name", NAMES)
def test_one_module_of_two_names(name):
    ours = importlib.import_module(f"daseCV_c.{name}")
    assert importlib.import_module(f"daseCV.{name}") is ours
    assert ours.__name__ == ours.__spec__.name == f"daseCV_c.{name}"


@pytest.mark.parametrize("name", NAMES)
def test_an_editor_finds_the_names(name):
    path = FOLDER / name.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring, *statements = ast.parse(path.read_text()).body
    wanted = [] if name == "classifiers" else [f"from daseCV_c.{name} import *"]  # that one has nothing but modules
    assert [ast.unparse(s) for s in statements] == wanted


def test_no_file_without_a_module():
    files = {p.relative_to(FOLDER).with_suffix("").as_posix().removesuffix("/__init__") for p in FOLDER.rglob("*.py")}
    assert files - {"__init__"} == {name.replace(".", "/") for name in NAMES}


def test_typed():
    assert (FOLDER / "py.typed").is_file()


def test_pickles_name_our_module(script):
    script("import pickle\n"
           "from daseCV.classifiers.fc_net import FullyConnectedNet\n"
           "from daseCV.optim import adam\n"
           "assert b'daseCV_c.optim' in pickle.dumps(adam) and pickle.loads(pickle.dumps(adam)) is adam\n"
           "assert FullyConnectedNet.__module__ == 'daseCV_c.classifiers.fc_net'\n")


def test_reloaded_by_the_courses_name(script):
    script("import importlib, daseCV, daseCV.layers, daseCV_c.layers\n"
           "importlib.reload(daseCV)\n"
           "assert importlib.reload(daseCV.layers) is daseCV_c.layers is daseCV.layers\n"
           "import daseCV.solver, daseCV_c.solver\n"
           "assert daseCV.solver is daseCV_c.solver\n")
