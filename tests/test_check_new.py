"""A course folder to begin in, and `daseCV_c.use`."""

import ast
import importlib.util
import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
from commands import fails, program_environment

import daseCV_c
from daseCV_c import layers, optim, reference
from daseCV_c._coursework import running, starter
from daseCV_c._coursework.programs import execute
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


@pytest.mark.parametrize("language", starter.LANGUAGES)
def test_no_answer_is_in_what_it_writes(here, capsys, language):
    assert main(["new", "course", "--lang", language]) == 0
    capsys.readouterr()
    folder = here / "course"
    tree = ast.parse((folder / "my_layers.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    layers_to_write = {name for name in running.CASES if not any(part in name for part in ("_relu", "Net"))}
    assert {node.name for node in functions} == layers_to_write
    for node in functions:
        # A docstring, and that it is not written yet.
        assert [type(statement) for statement in node.body] == [ast.Expr, ast.Raise]
        assert isinstance(node.body[0].value, ast.Constant)
        ours = getattr(layers, node.name, None) or getattr(optim, node.name)
        plain = [p for p in inspect.signature(ours).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert [argument.arg for argument in node.args.args] == [p.name for p in plain]
    # Beside the functions there is nothing but the module's docstring and an import.
    assert [type(n) for n in tree.body if n not in functions] == [ast.Expr, ast.Import]
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*")) if path.is_file())
    answers = {line.strip() for name in reference.__all__ for line in inspect.getsource(getattr(reference,
                                                                                                name)).splitlines()}
    assert not [line for line in answers if len(line) > 12 and line in text and not line.startswith("def ")]
    assert not [sign for sign in ("@ ", ".T", "np.sum", "np.maximum", ".dot(", "keepdims", "**",
                                  "sqrt(") if sign in text]


@pytest.mark.parametrize("language", starter.LANGUAGES)
def test_every_stub_says_which_it_is_and_where(here, language):
    starter.write(here, language)
    written = vars(loaded(here / "my_layers.py"))
    for name in running.CASES:
        if name in written and "forward" in name:
            result = running.try_function(name, lambda program: execute(program, written, str(here / "my_layers.py")))
            assert (result.status, result.mistake) == ("crashed", "unfinished")
            assert f"{name} is not written yet, line " in result.hint


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
    assert "nothing is finished yet" in before[0] and before[1].startswith("(Iteration 1")
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
    assert after[0] == after[1] == "my_layers: affine_forward, affine_backward, sgd; the rest is daseCV_c's"
    assert after[2].startswith("(Iteration 1") and after[-1].startswith("(Epoch 5 / 5)")


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


def test_errors(here, capsys):
    (here / "full").mkdir()
    (here / "full" / "work.py").write_text("mine = 1\n")
    fails(capsys, ["new", "full"], "full", "no empty folder")
    fails(capsys, ["new", "full/work.py"], "no empty folder")
    fails(capsys, ["new", "other", "--lang", "fr"], "--lang")
    assert (here / "full" / "work.py").read_text() == "mine = 1\n"
    with pytest.raises(TypeError, match="use: module is a str"):
        daseCV_c.use("my_layers")
