"""Each wrong implementation is recognised by its own hint, and each formula of a mistake stands for that one alone."""

import importlib

import numpy as np
import pytest
from mistakes import WRONG

from daseCV_c._coursework import mistakes, networks, running
from daseCV_c._coursework.cases import twins
from daseCV_c._coursework.programs import execute
from daseCV_c.classifiers import cnn, fc_net

pytestmark = pytest.mark.once

for family in ("dense", "norms", "images", "losses_and_rules", "networks"):
    importlib.import_module(f"mistakes.{family}")


def tried(function, made):
    """The verdict on one function among right ones."""
    functions = twins() | {function: made}
    return running.try_function(function, lambda program: execute(program, functions))


@pytest.mark.parametrize(("function", "mistake", "status", "made"), WRONG,
                         ids=[f"{function}-{mistake}" for function, mistake, _, _ in WRONG])
def test_a_mistake_is_recognised(function, mistake, status, made):
    result = tried(function, made)
    assert (result.mistake, result.status) == (mistake, status), result.hint
    assert result.hint


def test_there_are_enough_of_every_family():
    assert len({mistake for _, mistake, _, _ in WRONG}) >= 100
    assert {function for function, *_ in WRONG} >= set(running.CASES) - {
        "affine_relu_backward", "affine_ln_relu_forward", "conv_relu_forward", "conv_relu_backward",
        "conv_bn_relu_forward",
        "conv_bn_relu_backward", "conv_relu_pool_backward"}


def test_every_formula_stands_for_its_own_mistake():
    book = [(mistake, function) for mistake in mistakes.book() if mistake.make for function in mistake.functions]
    found = [(tried(function, mistake.make(function)[function]).mistake, function) for mistake, function in book]
    assert found == [(mistake.name, function) for mistake, function in book]


def test_every_mistake_has_a_hint_and_a_name_of_its_own():
    names = [(mistake.name, function) for mistake in mistakes.book() for function in mistake.functions]
    assert len(names) == len(set(names)) and len(mistakes.book()) >= 40
    assert all(mistake.says.endswith((".", "?")) for mistake in mistakes.book())


@pytest.mark.parametrize("name", networks.__all__)
def test_the_networks_held_against_are_those_of_the_package(name):
    ours = getattr(fc_net, name, None) or getattr(cnn, name)
    for case in running.cases_of(name, 3):
        if case.judge == "twin":
            answers = execute(case.program, {name: ours})
            assert [fault for fault in running.JUDGES[case.judge](case, answers)] == []


@pytest.mark.parametrize("name", [name for name in running.CASES if "backward" in name])
def test_gradient_checks_can_tell(name):
    """The twin's gradients pass the check in random directions, which a wrong forward pass makes the judge."""
    from daseCV_c._coursework import judging
    for case in running.cases_of(name, 0):
        for gradient, of in case.gradients.items():
            if f"plus_{of}" not in case.right or case.judge in ("ties", "dropout_backward"):
                continue
            inputs = case.program["inputs"]
            slope = np.sum((case.right[f"plus_{of}"] - case.right[f"minus_{of}"]) * inputs["dout"]) / (2 * judging.STEP)
            assert abs(slope - np.sum(case.right[gradient] * inputs[f"direction_{of}"])) < 1e-4 * max(1, abs(slope))


def test_a_backward_pass_is_not_blamed_for_the_forward_pass():
    right = twins()
    double = right | {"affine_forward": lambda x, w, b: (2 * right["affine_forward"](x, w, b)[0], (x, w, b)),
                      "affine_backward": lambda dout, cache: right["affine_backward"](2 * dout, cache)}
    result = running.try_function("affine_backward", lambda program: execute(program, double))
    assert result.status == "passed" and "forward pass, which is not right" in result.hint
    result = running.try_function("affine_backward", lambda program: execute(
        program, double | {"affine_backward": lambda dout, cache: right["affine_backward"](3 * dout, cache)}))
    assert result.status == "failed" and "mend that first" in result.hint


def test_no_seed_alarms_about_the_right_ones():
    for seed in range(1, 6):
        for name in running.CASES:
            assert running.try_function(name, lambda program: execute(program, twins()), seed).status == "passed"


def test_an_exception_in_every_case_is_no_mistake_about_some_shapes():
    def affine_forward(x, w, b):
        raise ValueError("not today")

    result = tried("affine_forward", affine_forward)
    assert (result.status, result.mistake) == ("crashed", None) and "ValueError: not today" in result.hint
