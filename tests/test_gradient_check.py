"""Numerical gradients: right numbers, and x put back to the last bit whatever happens."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from adversarial import LAYOUTS, frozen

from daseCV_c.gradient_check import (
    eval_numerical_gradient,
    eval_numerical_gradient_array,
    eval_numerical_gradient_blobs,
    eval_numerical_gradient_net,
    grad_check_sparse,
)

WRITEABLE = [name for name in LAYOUTS if name != "read_only"]


def test_layouts_are_named_as_expected():
    assert len(WRITEABLE) == len(LAYOUTS) - 1 >= 4


@pytest.mark.parametrize("layout", WRITEABLE)
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 1, 3), (0,), (0, 3)], ids=str)
def test_gradient_of_a_number(shape, layout):
    x = np.random.randn(*shape) if shape else np.array(0.7)
    if shape:
        x = LAYOUTS[layout](x)
    before = frozen(x)
    grad = eval_numerical_gradient(lambda x: np.sum(x ** 3), x, verbose=False)
    assert frozen(x) == before
    assert grad.shape == x.shape
    np.testing.assert_allclose(grad, 3 * x ** 2, atol=1e-8)


@pytest.mark.parametrize("layout", WRITEABLE)
def test_gradient_of_an_array(layout):
    x = LAYOUTS[layout](np.random.randn(2, 3))
    before = x.copy()
    w, df = np.random.randn(3, 4), np.random.randn(2, 4)
    grad = eval_numerical_gradient_array(lambda x: np.tanh(x @ w), x, df)
    np.testing.assert_allclose(grad, (df * (1 - np.tanh(before @ w) ** 2)) @ w.T, atol=1e-8)
    np.testing.assert_array_equal(x, before)


def test_function_may_return_its_argument():
    x, df = np.random.randn(2, 3), np.random.randn(2, 3)
    np.testing.assert_allclose(eval_numerical_gradient_array(lambda x: x, x, df), df, atol=1e-9)


def test_h_is_the_step():
    # The centred difference of x**3 is 3 x**2 + h**2.
    x = np.array([1.0])
    assert eval_numerical_gradient(lambda x: x[0] ** 3, x, verbose=False, h=0.5) == pytest.approx(3.25)
    assert eval_numerical_gradient_array(lambda x: x ** 3, x, np.ones(1), h=0.5) == pytest.approx(3.25)


def test_float32():
    x = np.array([0.5, -2.0], np.float32)
    grad = eval_numerical_gradient(lambda x: np.sum(x.astype(np.float64) ** 2), x, verbose=False, h=1e-2)
    assert grad.dtype == np.float32
    np.testing.assert_allclose(grad, [1.0, -4.0], rtol=1e-3)


def test_verbose_prints_each_element(capsys):
    eval_numerical_gradient(lambda x: 2 * x.sum(), np.zeros((1, 2)))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(") ")[0] for line in lines] == ["(0, 0", "(0, 1"]
    assert all(float(line.split(") ")[1]) == pytest.approx(2) for line in lines)
    eval_numerical_gradient(lambda x: 2 * x.sum(), np.zeros((1, 2)), verbose=False)
    assert capsys.readouterr().out == ""


def blobs():
    a = SimpleNamespace(vals=np.random.randn(2, 3), diffs=np.zeros((2, 3)))
    b = SimpleNamespace(vals=np.random.randn(3, 2), diffs=np.zeros((3, 2)))
    out = SimpleNamespace(vals=np.zeros((2, 2)), diffs=np.random.randn(2, 2))
    return a, b, out


def test_blobs():
    a, b, out = blobs()
    before = frozen([a.vals, b.vals, out.diffs])

    def product(a, b, out):
        out.vals[...] = a.vals @ b.vals

    da, db = eval_numerical_gradient_blobs(product, (a, b), out)
    np.testing.assert_allclose(da, out.diffs @ b.vals.T, atol=1e-9)
    np.testing.assert_allclose(db, a.vals.T @ out.diffs, atol=1e-9)
    assert frozen([a.vals, b.vals, out.diffs]) == before


def test_net():
    a, b, out = blobs()

    def forward():
        out.vals[...] = a.vals @ b.vals

    da, db = eval_numerical_gradient_net(SimpleNamespace(forward=forward), (a, b), out)
    np.testing.assert_allclose(da, out.diffs @ b.vals.T, atol=1e-9)
    np.testing.assert_allclose(db, a.vals.T @ out.diffs, atol=1e-9)


def sparse_errors(capsys, gradient, checks=7):
    x = np.random.randn(3, 4)
    before = frozen(x)
    grad_check_sparse(lambda x: np.sum(np.sin(x)), x, gradient(x), num_checks=checks)
    assert frozen(x) == before
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == checks
    number = r"-?\d+\.\d{6}"
    pattern = rf"numerical: {number} analytic: {number}, relative error: (\d\.\d{{6}}e[+-]\d\d)"
    return [float(re.fullmatch(pattern, line).group(1)) for line in lines]


def test_sparse_tells_right_from_wrong(capsys):
    assert max(sparse_errors(capsys, np.cos)) < 1e-6
    assert min(sparse_errors(capsys, lambda x: np.cos(x) * 1.5)) == pytest.approx(0.2, rel=1e-3)


def test_sparse_with_gradients_of_zero(capsys):
    grad_check_sparse(lambda x: 0.0, np.ones(2), np.zeros(2), num_checks=1)
    assert capsys.readouterr().out == (
        "numerical: 0.000000 analytic: 0.000000, relative error: 0.000000e+00\n")


def failing(x):
    if x.flat[2] != 0.25:
        raise ZeroDivisionError
    return x.sum()


def failing_array(x):
    failing(x)
    return x


@pytest.mark.parametrize("call", [
    lambda x: eval_numerical_gradient(failing, x, verbose=False),
    lambda x: eval_numerical_gradient_array(failing_array, x, np.ones(3)),
    lambda x: grad_check_sparse(failing, x, np.ones(3), num_checks=200),
    lambda x: eval_numerical_gradient_blobs(
        lambda blob, out: failing(blob.vals), [SimpleNamespace(vals=x, diffs=x)],
        SimpleNamespace(vals=np.zeros(1), diffs=np.ones(1))),
], ids=["number", "array", "sparse", "blobs"])
def test_put_back_after_an_error(call):
    x = np.full(3, 0.25)
    with pytest.raises(ZeroDivisionError):
        call(x)
    np.testing.assert_array_equal(x, 0.25)


CALLS = {
    "eval_numerical_gradient": lambda x: eval_numerical_gradient(np.sum, x, verbose=False),
    "eval_numerical_gradient_array": lambda x: eval_numerical_gradient_array(np.copy, x, np.ones(2)),
    "grad_check_sparse": lambda x: grad_check_sparse(np.sum, x, np.ones(2)),
    "eval_numerical_gradient_blobs": lambda x: eval_numerical_gradient_blobs(
        lambda *blobs: None, [SimpleNamespace(vals=x, diffs=np.zeros(2))],
        SimpleNamespace(vals=np.zeros(1), diffs=np.ones(1))),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(("x", "what"), [
    (np.array([1, 2]), r"an array of int\d\d"), ([1.0, 2.0], "a list"),
    (np.array([True, False]), "an array of bool"),
    (np.array(["a", "b"]), "an array of <U1"), (np.ones(2, complex), "an array of complex128"),
], ids=["int", "list", "bool", "text", "complex"])
def test_x_of_no_floats(name, x, what):
    with pytest.raises(TypeError, match=f"{name}: .*is {what}, expected an ndarray of floats"):
        CALLS[name](x)


@pytest.mark.parametrize("name", CALLS)
def test_x_read_only(name):
    x = np.ones(2)
    x.setflags(write=False)
    with pytest.raises(ValueError, match=f"{name}: .*is read-only"):
        CALLS[name](x)


@pytest.mark.parametrize("shape", [(3,), (1,), (), (2, 1)])
def test_sparse_shape(shape):
    with pytest.raises(ValueError, match=rf"analytic_grad has shape {re.escape(str(shape))}, but x has shape \(2,\)"):
        grad_check_sparse(np.sum, np.ones(2), np.ones(shape))
