"""docs/answers.md holds the numbers that its experiments give."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
TEXT = (DOCS / "answers.md").read_text()
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def experiments():
    spec = importlib.util.spec_from_file_location("experiments", DOCS / "answers" / "experiments.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(first):
    """The numbers of the row that begins with `first`, in each table that has one."""
    return [[float(n) for n in line.split("|")[2:-1]] for line in TEXT.splitlines() if line.startswith(f"| {first} |")]


def test_initial_loss(experiments, monkeypatch, capsys):
    pictures = []
    monkeypatch.setattr(experiments, "save", lambda figure, name: pictures.append(name))
    experiments.initial_loss()
    printed = capsys.readouterr().out
    for classes, loss, log in re.findall(r"(\d+) classes: loss ([\d.]+), ln C ([\d.]+)", printed):
        assert row(classes) in ([[float(loss), float(log)]], [])
    assert all(len(row(classes)) == 1 for classes in (2, 10, 100, 1000))
    assert "scale 1e+00: loss 2946." in printed and "it is 2946." in TEXT
    assert pictures == ["initial-loss"] and (DOCS / "answers" / "initial-loss.svg").is_file()


def test_steps(experiments):
    for name, lengths in experiments.steps_of_one_weight().items():
        label = {"adagrad": "AdaGrad", "adam": "Adam"}[name]
        assert row(label)[0] == [float(f"{lengths[step - 1]:.1e}") for step in (1, 21, 3000)]


def test_scales(experiments):
    """The signal in the last hidden layer."""
    for scale, layers, signals in ((0.010, 3, 1), (0.010, 5, 2), (0.032, 5, 2)):
        model = experiments.net([100] * (layers - 1), scale)
        (accuracies,) = row(f"{scale:.3f}")
        expected = accuracies[1 + signals]
        assert experiments.signal(model, experiments.FIFTY["X_train"]) == pytest.approx(expected, rel=0.1)
