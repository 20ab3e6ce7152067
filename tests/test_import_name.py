"""The course's import name: `daseCV.x` is the module `daseCV_c.x`, and there is a file that an editor can read."""

import ast
import importlib
import warnings
from pathlib import Path

import pytest

import daseCV
import daseCV_c
from daseCV_c._course import names

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
    taken = ["from daseCV_c._course.names import take as _take", "_take(__name__)"]  # for those who run it
    first, *others = map(ast.unparse, statements)
    assert first == "import daseCV_c as _whole"  # else two threads that import both names could wait for each other
    assert sorted(others) == sorted(wanted + taken)


def test_the_package_imports_no_public_module_of_its_own(script):
    """A thread that imports one waits for the package; that must not wait for it in turn."""
    said = script("import sys, daseCV_c\nprint(*(n for n in sys.modules if n.startswith('daseCV_c.')))\n").split()
    assert "daseCV_c._course.names" in said and not [name for name in said if not name.startswith("daseCV_c._")]


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


# A folder of that name beside the notebook

MINE = "def affine_forward(x, w, b):\n    return x.reshape(len(x), -1) @ w + b, (x, w, b)\n"


@pytest.fixture
def folder(tmp_path):
    def make(name="daseCV", init=True, **modules):
        for module, text in ({"__init__": ""} if init else {} | modules).items() | modules.items():
            path = tmp_path / name / (module.replace(".", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / name
    return make


@pytest.mark.once
@pytest.mark.parametrize("init", [True, False], ids=["package", "no __init__.py"])
def test_a_folder_of_the_course_comes_first(script, folder, init):
    """Its modules are taken, and those that it lacks are ours."""
    folder(init=init, layers="mine = True\n")
    script("import daseCV_c\n"
           "import daseCV.layers, daseCV_c.layers, daseCV.optim, daseCV_c.optim\n"
           "from daseCV import layers, solver\n"
           "assert daseCV.layers.mine and daseCV.layers is layers is not daseCV_c.layers\n"
           "assert daseCV.optim is daseCV_c.optim and solver is daseCV_c.solver\n"
           "from daseCV.classifiers.fc_net import *\n"
           "assert FullyConnectedNet.__module__ == 'daseCV_c.classifiers.fc_net'\n")


@pytest.mark.once
def test_a_folder_that_imports_ours(script, folder):
    """No other import of ours is needed."""
    folder(layers=f"from daseCV_c.layers import *\n{MINE}")
    script("from daseCV.layers import *\n"
           "from daseCV.classifiers.fc_net import *\n"
           "import daseCV.layers, daseCV_c.layers\n"
           "assert relu_forward is daseCV_c.layers.relu_forward\n"
           "assert daseCV.layers.affine_forward is not daseCV_c.layers.affine_forward\n")


@pytest.mark.once
def test_our_networks_compute_with_its_layers(script, folder):
    layers = folder(layers=MINE.replace("return", "calls.append(1); return") + "calls = []\n") / "layers.py"
    printed = script(
        "import numpy as np, daseCV_c\n"
        "from daseCV.classifiers.fc_net import TwoLayerNet\n"
        "from daseCV.solver import Solver\n"
        "import daseCV.layers\n"
        "calls, X, y = daseCV.layers.calls, np.ones((4, 3)), np.array([0, 1, 0, 1])\n"
        "model = TwoLayerNet(3, 2, 2)\n"
        "model.loss(X); assert len(calls) == 2\n"
        "model.loss(X, y); assert len(calls) == 4\n"
        "data = dict(X_train=X, y_train=y, X_val=X, y_val=y)\n"
        "Solver(model, data, batch_size=2, num_epochs=1, verbose=False).train()\n"
        "assert len(calls) > 8\n")
    assert printed == f"daseCV: affine_forward of {layers} in use\n"


@pytest.mark.once
def test_loops_over_pixels_of_a_folder_train_no_network(script, folder):
    """As in the course, whose network calls the fast functions: the folder's `_naive` ones are used by their names."""
    loops = "def conv_{0}_naive(*arguments):\n    raise SystemExit('hours')\n"
    layers = folder(layers=MINE + "".join(map(loops.format, ("forward", "backward")))) / "layers.py"
    printed = script(
        "import numpy as np, daseCV_c\n"
        "from daseCV.classifiers.cnn import ThreeLayerConvNet\n"
        "import daseCV.layers, daseCV.layer_utils\n"
        "ThreeLayerConvNet((1, 4, 4), 2, 3, 5, 3).loss(np.ones((2, 1, 4, 4)), np.array([0, 1]))\n"
        "try:\n"
        "    daseCV.layers.conv_forward_naive()\n"
        "except SystemExit as error:\n"
        "    assert str(error) == 'hours'\n"
        "else:\n"
        "    raise AssertionError\n")
    assert printed == f"daseCV: affine_forward of {layers} in use\n"


@pytest.mark.once
def test_our_solver_takes_its_rules(script, folder):
    optim = folder(optim="def sgd(w, dw, config=None):\n    return w - w, config\n") / "optim.py"
    printed = script(
        "import numpy as np, daseCV_c\n"
        "from daseCV.classifiers.fc_net import TwoLayerNet\n"
        "from daseCV.solver import Solver\n"
        "X, y = np.ones((4, 3)), np.array([0, 1, 0, 1])\n"
        "data = dict(X_train=X, y_train=y, X_val=X, y_val=y)\n"
        "solver = Solver(TwoLayerNet(3, 2, 2), data, batch_size=4, num_epochs=1, verbose=False)\n"
        "solver.train()\n"
        "assert not any(w.any() for w in solver.model.params.values())\n"
        "Solver(TwoLayerNet(3, 2, 2), data, update_rule='adam', batch_size=4, num_epochs=1, verbose=False).train()\n")
    assert printed == f"daseCV: sgd of {optim} in use\n"


@pytest.mark.once
def test_a_folder_with_classifiers_of_its_own(script, folder):
    folder(**{"classifiers.__init__": "", "classifiers.fc_net": "mine = True\n"})
    script("import daseCV_c\n"
           "from daseCV.classifiers import fc_net, cnn\n"
           "from daseCV.layers import affine_forward\n"
           "assert fc_net.mine and cnn.__name__ == 'daseCV_c.classifiers.cnn'\n")


@pytest.mark.once
@pytest.mark.parametrize("init", [True, False], ids=["package", "no __init__.py"])
def test_editable_installs_give_the_same_modules(script, folder, init):
    """Their finder, the last one, gives files of the clone for names that a folder of somebody else's lacks."""
    layers = folder(init=init, layers=MINE) / "layers.py"
    printed = script(
        "import importlib.util, os, sys, numpy\n"  # it may lie beside an installed package
        "clone = os.environ['PYTHONPATH'].split(os.pathsep)[0]\n"
        "sys.path.remove(clone)\n"
        "class Finder:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name.partition('.')[0] not in ('daseCV', 'daseCV_c'):\n"
        "            return None\n"
        "        base = os.path.join(clone, *name.split('.'))\n"
        "        for path in (os.path.join(base, '__init__.py'), base + '.py'):\n"
        "            if os.path.exists(path):\n"
        "                return importlib.util.spec_from_file_location(name, path)\n"
        "sys.meta_path.append(Finder)\n"
        "from daseCV.classifiers.fc_net import *\n"
        "import daseCV.classifiers.fc_net, daseCV.optim, daseCV.layers, daseCV_c.classifiers.fc_net\n"
        "assert daseCV.classifiers.fc_net is daseCV_c.classifiers.fc_net\n"
        "assert daseCV.classifiers is daseCV_c.classifiers and daseCV.optim is daseCV_c.optim\n"
        "assert daseCV.layers is not daseCV_c.layers\n")
    assert printed == f"daseCV: affine_forward of {layers} in use\n"


@pytest.mark.once
def test_a_folder_of_data_is_no_package(script, folder, tmp_path):
    (folder(init=False, **{"notes.x": ""}) / "datasets" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "cs231n" / "datasets").mkdir(parents=True)
    script("import daseCV_c\n"
           "daseCV_c.alias('cs231n')\n"
           "import cs231n.datasets, daseCV.datasets\n"
           "assert cs231n.datasets is daseCV.datasets is daseCV_c.datasets\n")


def test_a_folder_that_was_looked_into_is_closed(tmp_path):
    for name in ("layers.py", "optim.py"):
        (tmp_path / name).touch()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert names._holds_modules(str(tmp_path))
    assert seen == []


# Other names

@pytest.mark.once
def test_another_name(script):
    printed = script(
        "import importlib, daseCV_c\n"
        "daseCV_c.alias('cs231n')\n"
        "from cs231n.classifiers.fc_net import *\n"
        "from cs231n.classifiers.cnn import *\n"
        "from cs231n.data_utils import get_CIFAR10_data\n"
        "from cs231n.fast_layers import conv_forward_fast\n"
        "from cs231n.vis_utils import visualize_grid\n"
        "import cs231n.layers, daseCV_c.layers, cs231n.classifiers.fc_net\n"
        "from cs231n import layer_utils\n"
        "assert cs231n.layers is daseCV_c.layers and layer_utils is daseCV_c.layer_utils\n"
        "assert importlib.reload(cs231n.layers) is daseCV_c.layers and importlib.reload(cs231n) is cs231n\n"
        "assert cs231n.layers.__spec__.name == 'daseCV_c.layers'\n"
        "assert cs231n.show_config is daseCV_c.show_config and 'layers' in dir(cs231n)\n"
        "try:\n"
        "    import cs231n.nothing\n"
        "except ModuleNotFoundError as error:\n"
        "    assert error.name == 'cs231n.nothing'\n")
    assert printed == "cs231n: daseCV_c\n"


@pytest.mark.once
def test_not_without_being_asked(script):
    script("import daseCV_c, daseCV, importlib.util\nassert importlib.util.find_spec('cs231n') is None\n")


@pytest.mark.once
def test_a_folder_of_another_name(script, folder):
    path = folder("cs231n", layers="mine = True\n")
    printed = script("import daseCV_c\n"
                     "daseCV_c.alias('cs231n')\n"
                     "import cs231n.layers, cs231n.solver\n"
                     "assert cs231n.layers.mine and cs231n.solver is daseCV_c.solver\n")
    assert printed == f"cs231n: the modules in {path}; those that it lacks from daseCV_c\n"


@pytest.mark.parametrize(("name", "error", "words"), [
    ("numpy", ValueError, "numpy is a module of its own, .*numpy.*, and stays it"), ("sys", ValueError, "built-in"),
    ("__main__", ValueError, "of its own"), ("daseCV_c", ValueError, "can be imported"),
    ("a.b", ValueError, "can be imported"), (3, TypeError, "expected a text")])
def test_names_that_are_taken(name, error, words):
    with pytest.raises(error, match=words):
        daseCV_c.alias(name)
