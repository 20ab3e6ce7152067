"""What the judges of a student's functions say, answer by answer."""

from types import SimpleNamespace

import numpy as np
import pytest

from daseCV_c._coursework import judging

pytestmark = pytest.mark.once


@pytest.mark.parametrize(("found", "words"), [
    ([2, 4, 6, 8], "dx is 2 times what it should be"), ([-1, -2, -3, -4], "dx is -1 times what it should be"),
    ([1, 2 + 3e-5, 3, 5], "1 of the 4 numbers of dx are wrong, the first at (3,)"),
    ([0.01, 0.0201, 0.03, 0.04], "all numbers of dx are wrong"), ([2, 3, 1, 9], "all numbers of dx are wrong"),
])
def test_what_is_said_of_wrong_numbers(found, words):
    assert judging.looks("dx", np.array(found, float), np.arange(1.0, 5.0)) == words


@pytest.mark.parametrize(("found", "right", "words"), [
    ([1, 2, 3, 4], [1, 2, 0, 0], "2 of the 4 numbers of dx are wrong, the first at (2,)"),
    ([2, 4, 6, 5], [1, 2, 3, 0], "all numbers of dx are wrong"),
    ([2, 4, 6, 0], [1, 2, 3, 0], "dx is 2 times what it should be"),
    ([1.00004, 2.00008], [1, 2], "all numbers of dx are wrong"),
    ([1.0011, 2.0022], [1, 2], "dx is 1.001 times what it should be"),
    ([0, 0], [1, 2], "all numbers of dx are wrong"), ([3, 4], [0, 0], "all numbers of dx are wrong"),
    (1.00004, 1, "dx is wrong"), (3, 1, "dx is 3 times what it should be"),
], ids=str)
def test_a_factor_is_told_where_it_explains_every_number_and_is_not_1(found, right, words):
    assert judging.looks("dx", np.array(found, float), np.array(right, float)) == words


def test_long_messages_of_errors_are_cut_after_a_sentence():
    error = {"in": "f", "type": "ValueError", "line": None, "message": "no. " + "advice " * 3}
    assert judging.raised(error) == f"f raised ValueError: {error['message']}"
    assert judging.raised(error | {"message": "no. " + "advice " * 30}) == "f raised ValueError: no"


def test_an_error_is_the_fault_of_the_first_answer_that_is_missing():
    case = SimpleNamespace(compare=("a", "b", "c"), right={"a": 1.0, "b": 2.0, "c": 3.0}, tolerance=1e-6)
    error = {"in": "f", "type": "ValueError", "line": None, "message": "no"}
    assert judging.compare(case, {"a": 1.0, "error": error})[0].key == "b"
    assert judging.compare(case, {"a": 1.0, "b": 2.0, "c": 3.0, "error": error})[0].key == ""


def test_whose_change_of_a_bias_it_may_be():
    case = SimpleNamespace(same=("b",), gradients={"db": "b"}, program={"inputs": {"b": np.ones(2)}})
    (fault,) = judging.changed(case, {"b": np.zeros(2)})
    assert fault.text == "b was changed in place, by this one or by its forward pass"


@pytest.mark.parametrize("above", [None, np.ones(1)], ids=["none", "of another shape"])
def test_a_gradient_beside_outputs_that_do_not_fit_is_none(above):
    inputs = {"dout": np.ones(2), "direction_x": np.ones(1)}
    case = SimpleNamespace(gradients={"dx": "x"}, judge="", right={"out": np.ones(2)}, tolerance=1e-6,
                           program={"inputs": inputs})
    answers = {"out": np.zeros(2), "minus_x": np.zeros(2), "dx": np.array([1 / judging.STEP])}
    assert not judging._is_gradient(case, answers | ({} if above is None else {"plus_x": above}))


def test_a_gradient_of_gamma_with_too_many_numbers():
    case = SimpleNamespace(compare=("dgamma",), right={"dgamma": np.ones((1, 2, 1, 1))}, tolerance=1e-6, gradients=None,
                           same=())
    (fault,) = judging.groupnorm(case, {"dgamma": np.ones(6)})
    assert fault.text == "dgamma has shape (6,), expected (1, 2, 1, 1)"
    assert judging.groupnorm(case, {"dgamma": np.ones(2)}) == []


@pytest.mark.parametrize(("each", "words"), [
    (1.0, "among equal maxima each gets the whole gradient"), (0.5, "what comes in at a window does not go out once")])
def test_what_is_said_of_equal_maxima(each, words):
    inputs = {"x": np.ones((1, 1, 2, 2)), "dout": np.ones((1, 1, 1, 1))}
    case = SimpleNamespace(program={"inputs": inputs}, tolerance=1e-6)
    assert [fault.text for fault in judging.ties(case, {"dx": np.full((1, 1, 2, 2), each)})] == [words]
    assert judging.ties(case, {"dx": np.full((1, 1, 2, 2), 0.25)}) == []
