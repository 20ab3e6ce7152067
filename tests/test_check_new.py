"""A course folder to begin in, and `daseCV_c.use`."""

import ast
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from commands import fails, program_environment

import daseCV_c
from daseCV_c import coursework, layer_utils, layers, optim, reference
from daseCV_c._coursework import percent, room, running, starter, using
from daseCV_c._coursework.cells import definitions
from daseCV_c._coursework.programs import execute
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.cli.main import main
from daseCV_c.solver import Solver

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def ours_again():
    yield
    daseCV_c.use(None)


def loaded(path, name="my_layers"):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stubs_of(tree, owner=""):
    """The functions of a module or class, each of which is a docstring and that it is not written yet."""
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for node in found:
        assert [type(statement) for statement in node.body] == [ast.Expr, ast.Raise]
        assert isinstance(node.body[0].value, ast.Constant)
        assert ast.unparse(node.body[1]) == f"raise NotImplementedError('{owner}{node.name} is not written yet')"
    return found


def takes_the_same(node, ours):
    plain = [p for p in inspect.signature(ours).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [argument.arg for argument in node.args.args] == [p.name for p in plain]
    defaults = [p.default for p in plain if p.default is not p.empty]
    assert [eval(ast.unparse(value), {"np": np}) for value in node.args.defaults] == defaults


@pytest.fixture(params=starter.LANGUAGES)
def course(request, here, capsys):
    """(the folder that the command writes, its language)."""
    assert main(["new", "course", "--lang", request.param]) == 0
    capsys.readouterr()
    return here / "course", request.param


def test_no_answer_is_in_the_functions(course):
    tree = ast.parse((course[0] / "my_layers.py").read_text(encoding="utf-8"))
    functions = stubs_of(tree)
    assert {node.name for node in functions} == {
        name for name in running.CASES if not any(part in name for part in ("_relu", "Net"))}
    for node in functions:
        takes_the_same(node, getattr(layers, node.name, None) or getattr(optim, node.name))
    # Beside the functions there is nothing but the module's docstring and an import.
    assert [type(n) for n in tree.body if n not in functions] == [ast.Expr, ast.Import]


def test_no_answer_is_in_the_networks(course):
    tree = ast.parse((course[0] / "my_networks.py").read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert [node.name for node in classes] == ["TwoLayerNet", "FullyConnectedNet", "ThreeLayerConvNet"]
    for node in classes:
        assert [type(statement) for statement in node.body] == [ast.Expr, ast.FunctionDef, ast.FunctionDef]
        for method, name in zip(stubs_of(node, f"{node.name}."), ("__init__", "loss"), strict=True):
            assert method.name == name
            takes_the_same(method, getattr(getattr(coursework, node.name).__wrapped__, name))
    assert [ast.unparse(n) for n in tree.body[1:] if n not in classes] == [
        "import numpy as np", "from daseCV.coursework import *"]


def test_no_answer_is_in_any_file(course):
    """No line of the twins, of our networks, or of what our notebooks have as an answer."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(course[0].rglob("*")) if path.is_file()}
    sources = [getattr(reference, name) for name in reference.__all__]
    sources += [getattr(coursework, name).__wrapped__.loss for name in ("TwoLayerNet", "FullyConnectedNet")]
    answers = {line.strip() for source in sources for line in inspect.getsource(source).splitlines()}
    answers = {line for line in answers if len(line) > 16 and not line.startswith(("def ", ">>>"))}
    tagged = [cell.source for name in percent.NAMES for cell in percent.cells(name) if cell.tag == "answer"]
    assert len(tagged) > 30
    answers |= {line.strip() for source in tagged for line in source.splitlines() if len(line.strip()) > 16}
    # How trainings are written everywhere.
    answers -= {'optim_config={"learning_rate": learning_rate},', "print_every=10_000,", "num_epochs=epochs,",
                "update_rule=rule,", "input_dim=INPUT_DIM,", "np.random.seed(231)", 'if normalization == "batchnorm":'}
    for name, text in texts.items():
        if name.endswith(".ipynb"):
            text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        assert not [line for line in answers if line in text], name
        if not name.endswith(".ipynb"):
            signs = ("@ ", ".T", "np.sum", "np.maximum", ".dot(", "keepdims", "**", "sqrt(")
            assert not [sign for sign in signs if sign in text], name


_MATHEMATICS = {"dot", "matmul", "einsum", "tensordot", "sqrt", "exp", "pad", "sliding_window_view", "var", "choice"}


@pytest.mark.parametrize("name", percent.NAMES)
def test_no_answer_is_in_a_notebook(course, name):
    folder, language = course
    notebook = json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in codes)
    for cell in codes:
        text = "\n".join("" if line.startswith("%") else line for line in cell["source"].splitlines())
        for node in ast.walk(ast.parse(text)):
            assert not isinstance(node, ast.MatMult), text
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                zero = any(isinstance(a, ast.Constant) and a.value == 0 for a in node.args)
                assert called not in _MATHEMATICS and not (called == "maximum" and zero), text
    defined = {node.name for node in ast.walk(ast.parse(definitions([cell["source"] for cell in codes])))
               if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert defined and not defined & set(running.CASES)
    words = "".join(cell["source"] for cell in notebook["cells"])
    assert "**Answer" not in words and "**答" not in words
    assert sum(cell["source"] == percent._PLACE[language] for cell in notebook["cells"]) > 1


@pytest.mark.parametrize("name", percent.NAMES)
def test_a_notebook_of_a_course_is_ours_without_answers(course, name):
    folder, language = course
    made = [cell["source"] for cell in json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]]
    ours = [cell["source"] for cell in percent.notebook(name, language)["cells"]]
    tags = {cell.source: cell.tag for cell in percent.cells(name) if cell.tag}
    assert any(tags.get(source) == "answer" for source in ours)
    assert percent.notebook(name, language)["nbformat"] == 4
    assert [source for source in made if tags.get(source) != "starter" and source != percent._PLACE[language]] == [
        source for source in ours if tags.get(source) != "answer"]
    assert sum(tags.get(source) == "starter" for source in made) >= 2


@pytest.mark.parametrize("language", starter.LANGUAGES)
def test_every_stub_says_which_it_is_and_where(here, language):
    starter.write(here, language)
    for file, names in (("my_layers.py", [name for name in running.CASES if "forward" in name]),
                        ("my_networks.py", list(using.NETWORKS))):
        written, text = vars(loaded(here / file)), (here / file).read_text(encoding="utf-8")
        assert not re.search(r'"""[^"\n]+\n\s*"""\n', text), "one line of words stands on one line"
        for head, rest in re.findall(r"^( *def \w+\().*,\n( *)\w", text, re.MULTILINE):
            assert len(rest) == len(head), head
        for name in names:
            if name in written:
                result = running.try_function(name, lambda program, written=written, file=file: execute(
                    program, written, str(here / file)))
                assert (result.status, result.mistake) == ("crashed", "unfinished")
                method = ".__init__" if name in using.NETWORKS else ""
                assert f"{name}{method} is not written yet, line " in result.hint


@pytest.mark.parametrize("language", starter.LANGUAGES)
def test_the_way_of_a_student(here, language):
    """Nothing is written: all is ours. One pair is: it is used, and the Solver's first line says so."""
    starter.write(here / "course", language)
    json.loads((here / "course" / "start.ipynb").read_text(encoding="utf-8"))

    def train():
        done = subprocess.run([sys.executable, "train.py"], cwd=here / "course", env=program_environment() | {
            "PYTHONIOENCODING": "utf-8"}, capture_output=True, text=True, check=False, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    before = train()
    assert before[0] == "my_layers, my_networks: nothing is finished yet; all is daseCV_c's"
    assert "FullyConnectedNet is not written yet: __init__ in line" in before[1]
    assert before[2].startswith("(Iteration 1")
    assert before[-1] == os.path.join("output", "prediction_phase_1.zip")
    file = here / "course" / "my_layers.py"
    text = file.read_text(encoding="utf-8")
    for name, body in {
            "affine_forward": "return x.reshape(len(x), -1) @ w + b, (x, w, b)",
            "affine_backward": "x, w, b = cache\n    rows = x.reshape(len(x), -1)\n"
                               "    return (dout @ w.T).reshape(x.shape), rows.T @ dout, dout.sum(axis=0)",
            "relu_forward": "return np.maximum(x, 0), x", "sgd": "config = config or {'learning_rate': 0.01}\n"
            "    return w - config['learning_rate'] * dw, config"}.items():
        text = text.replace(f'raise NotImplementedError("{name} is not written yet")', body)
    file.write_text(text, encoding="utf-8")
    after = train()
    # relu_forward waits for its other half.
    assert after[0] == after[2] == "my_layers: affine_forward, affine_backward, sgd; the rest is daseCV_c's"
    assert after[3].startswith("(Iteration 1") and after[-2].startswith("(Epoch 5 / 5)")


def test_functions_are_used_and_given_back():
    mine, calls = type(sys)("mine"), []

    def counted(name):
        def function(*arguments):
            calls.append(name)
            return getattr(reference, name)(*arguments)
        return function

    for name in ("affine_forward", "affine_backward", "adam"):
        setattr(mine, name, counted(name))
    data = {key: value for key, value in zip(("X_train", "y_train", "X_val", "y_val"), 2 * (
        np.random.randn(8, 4), np.arange(8) % 3), strict=True)}

    def train():
        Solver(FullyConnectedNet([5], 4, 3), data, update_rule="adam", batch_size=4, num_epochs=1,
               verbose=False).train()

    daseCV_c.use(mine)
    train()
    assert set(calls) == {"affine_forward", "affine_backward", "adam"}
    daseCV_c.use(None)
    calls.clear()
    train()
    assert calls == []


def test_a_module_that_was_loaded_again(capsys):
    mine = type(sys)("mine")
    mine.relu_forward = lambda x: (np.maximum(x, 0), x)
    daseCV_c.use(mine)
    assert capsys.readouterr().out == "mine: nothing is finished yet; all is daseCV_c's\n"
    mine.relu_backward = lambda dout, cache: dout * (cache > 0)
    mine.softmax_loss = layers.softmax_loss  # ours
    daseCV_c.use(mine)
    assert capsys.readouterr().out == "mine: relu_forward, relu_backward; the rest is daseCV_c's\n"


def test_what_is_finished_meanwhile_is_noticed_by_the_solver(capsys):
    mine = type(sys)("mine")
    exec("def sgd(w, dw, config=None):\n    raise NotImplementedError('sgd is not written yet')\n", vars(mine))
    daseCV_c.use(mine)
    mine.sgd = lambda w, dw, config: (w - 0.1 * dw, config)
    capsys.readouterr()
    Solver(FullyConnectedNet([5], 4, 3), dict.fromkeys(("X_train", "X_val"), np.ones((4, 4))) | dict.fromkeys(
        ("y_train", "y_val"), np.zeros(4, int)), batch_size=4, num_epochs=1).train()
    assert capsys.readouterr().out.startswith("mine: sgd; the rest is daseCV_c's\n")


def test_an_error_of_ones_own_is_not_unfinished():
    """NotImplementedError for a mode that somebody does without is no stub."""
    def forward(x, mode):
        if mode != "train":
            raise NotImplementedError("test mode")
        return x

    def stub(x):
        raise NotImplementedError("forward is not written yet")

    def begun(x):
        out = 2 * x
        raise NotImplementedError("forward is not written yet")
        return out

    assert [using.unfinished(function) for function in (forward, stub, begun)] == [False, True, True]


def test_sandwiches_are_made_of_finished_functions():
    calls = []

    def counted(name):
        def function(*arguments):
            calls.append(name)
            return getattr(reference, name)(*arguments)
        return function

    mine = type(sys)("mine")
    for name in ("affine_{}", "relu_{}", "conv_{}_fast", "spatial_batchnorm_{}"):
        for way in ("forward", "backward"):
            setattr(mine, name.format(way), counted(name.format(way)))
    rows, x, w, b = np.random.randn(2, 12), np.random.randn(2, 3, 4, 4), np.random.randn(2, 3, 3, 3), np.random.randn(2)
    conv, one = {"stride": 1, "pad": 1}, np.ones(5)
    sandwiches = {
        "affine_relu": (rows, np.random.randn(12, 5), one),
        "affine_bn_relu": (rows, np.random.randn(12, 5), one, one, one, {"mode": "train"}),
        "conv_relu": (x, w, b, conv), "conv_bn_relu": (x, w, b, b, b, conv, {"mode": "train"}),
        "conv_relu_pool": (x, w, b, conv, {"pool_height": 2, "pool_width": 2, "stride": 2})}
    for used in (False, True):
        if used:
            daseCV_c.use(mine)
        for name, arguments in sandwiches.items():
            calls.clear()
            forward = getattr(coursework, f"{name}_forward")  # as the notebooks call it, by names
            out, cache = forward(**dict(zip(inspect.signature(forward).parameters, arguments, strict=True)))
            dout = np.random.randn(*out.shape)
            found = (out, *getattr(coursework, f"{name}_backward")(dout, cache))
            right, its_cache = getattr(layer_utils, f"{name}_forward")(*arguments)
            right = (right, *getattr(layer_utils, f"{name}_backward")(dout, its_cache))
            for a, other in zip(found, right, strict=True):
                np.testing.assert_allclose(a, other, rtol=1e-10, atol=1e-12)
            # Their parts, there and back; batch norm of rows and pooling are ours.
            parts = [part for part in name.replace("conv_bn", "conv_sb").split("_") if part not in ("bn", "pool")]
            assert len(calls) == (2 * len(parts) if used else 0), (name, calls)


def test_loops_over_pixels_train_no_network(capsys):
    """A student's finished `_naive` functions made a training take hours: they are used by their names alone."""
    calls = []

    def slow(name):
        def function(*arguments):
            calls.append(name)
            return getattr(reference, name)(*arguments)
        return function

    mine = type(sys)("mine")
    for kind in ("conv_{}_naive", "max_pool_{}_naive"):
        for way in ("forward", "backward"):
            setattr(mine, kind.format(way), slow(kind.format(way)))
    x, w, b = np.random.randn(4, 1, 4, 4), np.random.randn(2, 1, 3, 3), np.zeros(2)
    conv, pool = {"stride": 1, "pad": 1}, {"pool_height": 2, "pool_width": 2, "stride": 2}

    def train():
        np.random.seed(231)
        model = ThreeLayerConvNet((1, 4, 4), 2, 3, 5, 3, dtype=np.float64)
        Solver(model, {"X_train": x, "y_train": np.arange(4) % 3, "X_val": x, "y_val": np.arange(4) % 3}, batch_size=2,
               num_epochs=1).train()
        return model.params

    ours = train()
    capsys.readouterr()
    daseCV_c.use(mine)
    said = ("mine: conv_forward_naive, conv_backward_naive, max_pool_forward_naive, max_pool_backward_naive; the rest "
            "is daseCV_c's (networks convolve and pool with conv_*_fast and max_pool_*_fast, not with the _naive "
            "ones)\n")
    assert capsys.readouterr().out == said
    assert all(np.array_equal(value, ours[name]) for name, value in train().items())  # the same kernels, to the bit
    assert capsys.readouterr().out.startswith(said)
    out, cache = coursework.conv_relu_pool_forward(x, w, b, conv, pool)
    coursework.conv_relu_pool_backward(np.ones_like(out), cache)
    assert calls == []
    out, cache = coursework.conv_forward_naive(x, w, b, conv)
    coursework.conv_backward_naive(out, cache)
    out, cache = coursework.max_pool_forward_naive(out, pool)
    coursework.max_pool_backward_naive(out, cache)
    assert calls == ["conv_forward_naive", "conv_backward_naive", "max_pool_forward_naive", "max_pool_backward_naive"]
    for way in ("forward", "backward"):  # fast ones of their own are used
        setattr(mine, f"conv_{way}_fast", lambda *arguments, way=way: slow(f"conv_{way}_fast")(*arguments))
    calls.clear()
    train()
    assert set(calls) == {"conv_forward_fast", "conv_backward_fast"}


def test_networks_are_used_where_they_are_finished(here, capsys):
    """Each call looks again, and says of a network that is not finished which methods are not, and where."""
    starter.write(here, "en")
    mine = loaded(here / "my_networks.py", "my_networks")
    daseCV_c.use(mine)
    capsys.readouterr()
    assert type(coursework.TwoLayerNet(4, 3, 2)).__module__ == "daseCV_c.classifiers.fc_net"
    lines = (here / "my_networks.py").read_text().splitlines()
    first = next(i for i, line in enumerate(lines, 1) if "def __init__" in line)
    second = next(i for i, line in enumerate(lines, 1) if "def loss" in line)
    assert capsys.readouterr().out == (f"TwoLayerNet is not written yet: __init__ in line {first}, loss in line "
                                       f"{second} of my_networks.py. daseCV_c's is used\n")
    coursework.TwoLayerNet(4, 3, 2)
    assert capsys.readouterr().out == ""  # not twice in a cell
    mine.TwoLayerNet.__init__ = lambda self, *sizes: None
    using._said.clear()
    coursework.TwoLayerNet(4, 3, 2)
    assert capsys.readouterr().out == (f"TwoLayerNet is not written yet: loss in line {second} of my_networks.py. "
                                       "daseCV_c's is used\n")
    mine.TwoLayerNet.loss = lambda self, X, y=None: 3
    assert type(coursework.TwoLayerNet(4, 3, 2)) is mine.TwoLayerNet
    daseCV_c.use(mine)
    assert capsys.readouterr().out == "my_networks: TwoLayerNet; the rest is daseCV_c's\n"
    daseCV_c.use(None)
    assert type(coursework.TwoLayerNet(4, 3, 2)).__module__ == "daseCV_c.classifiers.fc_net"


def test_another_copy_of_the_package_is_ours_too(here, monkeypatch):
    """An older wheel, say, which the student's process finds first: its layers are not the student's."""
    copy = type(sys)("daseCV_c.copied")
    copy.__file__ = str(here / "installed" / "daseCV_c" / "copied.py")
    monkeypatch.setitem(sys.modules, "daseCV_c.copied", copy)
    exec("def sgd(w, dw, config=None): pass", vars(copy))
    assert room.theirs(vars(copy), ["sgd"], str(here / "work")) == []
    assert room.theirs(vars(copy), ["sgd"], str(here / "installed")) == ["sgd"]


@pytest.mark.parametrize("name", ["a course", "作业 1", "deep/er/still"])
def test_folders_with_any_name(here, capsys, name):
    assert main(["new", name]) == 0
    said = capsys.readouterr().out
    assert f"cd {name}," in said or f"cd '{name}'," in said
    assert main(["check", f"{name}/my_layers.py", "--only", "sgd"]) == 1
    assert "sgd is not written yet, line " in " ".join(capsys.readouterr().out.split())


def test_nothing_is_left_of_a_folder_that_cannot_be_written(here, capsys, monkeypatch):
    texts = starter.files("en")
    monkeypatch.setattr(starter, "files", lambda language: texts | {"x" * 300: "a name that no file can have"})
    fails(capsys, ["new", "one/two"], "one/two cannot be written", "name too long")
    assert list(here.iterdir()) == []
    (here / "file").touch()
    fails(capsys, ["new", "file/below"], "file/below")
    assert [path.name for path in here.iterdir()] == ["file"]


def test_errors(here, capsys):
    (here / "full").mkdir()
    (here / "full" / "work.py").write_text("mine = 1\n")
    fails(capsys, ["new", "full"], "full", "no empty folder")
    fails(capsys, ["new", "full/work.py"], "no empty folder")
    fails(capsys, ["new", "other", "--lang", "fr"], "--lang")
    assert (here / "full" / "work.py").read_text() == "mine = 1\n"
    with pytest.raises(TypeError, match="use: module is a str"):
        daseCV_c.use("my_layers")
