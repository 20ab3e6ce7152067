"""Each wrong implementation is recognised by its own hint, and each formula of a mistake stands for that one alone."""

import importlib
import inspect

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


class OfAnOlderEdition:
    """A network of an edition that knew no layer norm, with biases that are rows."""

    def __init__(self, hidden_dims, input_dim=3072, num_classes=10, dropout=0, use_batchnorm=False, reg=0.0,
                 weight_scale=1e-2, dtype=np.float32, seed=None):
        self.net = networks.FullyConnectedNet(hidden_dims, input_dim, num_classes, dropout or 1,
                                              "batchnorm" if use_batchnorm else None, reg, weight_scale, dtype, seed)
        self.params = {name: value if name.startswith("W") else value[None] for name, value in self.net.params.items()}

    def loss(self, X, y=None):
        self.net.params = {name: np.atleast_2d(value) if name.startswith("W") else value.reshape(-1)
                           for name, value in self.params.items()}
        return self.net.loss(X, y)


def test_a_network_of_an_edition_without_layer_norm_is_not_blamed_for_it():
    result = tried("FullyConnectedNet", OfAnOlderEdition)
    assert (result.status, result.mistake) == ("passed", "net-older-edition")
    assert result.hint.startswith("Right, but layer normalization was not tried. It takes use_batchnorm")
    # A grade is of what this course asks for.
    assert [name for name, right in result.parts if not right] == ["layernorm"]


def test_its_other_mistakes_are_recognised():
    class WithoutDropout(OfAnOlderEdition):
        def __init__(self, *args, dropout=0, **kwargs):
            super().__init__(*args, **kwargs)
    WithoutDropout.__init__.__signature__ = inspect.signature(OfAnOlderEdition.__init__)
    result = tried("FullyConnectedNet", WithoutDropout)
    assert (result.status, result.mistake) == ("failed", "net-dropout-missing")


@pytest.mark.parametrize("name", ["TwoLayerNet", "ThreeLayerConvNet"])
def test_biases_that_are_rows_are_a_remark(name):
    """(1, H) in place of (H,): the course's own affine layers and update rules take them."""
    ours = getattr(networks, name)

    class Rows(ours):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.params["b2"] = self.params["b2"][None]

    result = tried(name, Rows)
    assert (result.status, result.mistake) == ("passed", "keeps-an-axis")
    assert "params['b2'] has shape (1, " in result.hint


def test_a_function_that_needs_one_that_is_not_there():
    functions = twins().copy()
    del functions["relu_forward"]
    result = running.try_function("relu_backward", lambda program: execute(program, functions))
    assert (result.status, result.mistake) == ("failed", None)
    assert result.hint == "relu_forward, which it needs, fails first: the file does not define it."


def test_a_stub_that_keeps_running_statistics_is_not_written_yet():
    """The course's own lines around what is to be written put zeros into bn_param."""
    def batchnorm_forward(x, gamma, beta, bn_param):
        out, cache = None, None
        bn_param["running_mean"] = bn_param.get("running_mean", np.zeros(x.shape[1]))
        bn_param["running_var"] = bn_param.get("running_var", np.zeros(x.shape[1]))
        return out, cache

    result = tried("batchnorm_forward", batchnorm_forward)
    assert (result.status, result.mistake) == ("failed", "unfinished")


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
