"""Batch and group norm of images: the notebook's numbers, gradients, torch, bad input."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
from adversarial import frozen, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from daseCV_c.gradient_check import eval_numerical_gradient_array
from daseCV_c.layers import (
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
    spatial_groupnorm_backward,
    spatial_groupnorm_forward,
)

BN = spatial_batchnorm_forward, spatial_batchnorm_backward
GN = spatial_groupnorm_forward, spatial_groupnorm_backward


def groups_of(c):
    return [g for g in range(1, c + 1) if c % g == 0]


def statistics(c, dtype):
    return {"running_mean": normal("running_mean", c, dtype=dtype),
            "running_var": np.abs(normal("running_var", c, dtype=dtype)) + dtype(0.1)}


# The notebook's checks

def relative_error(a, b):
    return np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))


def spread_of(x):
    return x.mean(axis=(0, 2, 3)), x.std(axis=(0, 2, 3))


def test_notebook_batchnorm_forward(backend):
    np.random.seed(231)
    x = 4 * np.random.randn(2, 3, 4, 5) + 10
    np.testing.assert_allclose(spread_of(x), [[9.33463814, 8.90909116, 9.11056338],
                                              [3.61447857, 3.19347686, 3.5168142]], atol=1e-8)
    out, _ = spatial_batchnorm_forward(x, np.ones(3), np.zeros(3), {"mode": "train"})
    np.testing.assert_allclose(spread_of(out), [[0, 0, 0], [0.99999962, 0.99999951, 0.9999996]], atol=1e-8)
    out, _ = spatial_batchnorm_forward(x, np.asarray([3, 4, 5]), np.asarray([6, 7, 8]), {"mode": "train"})
    np.testing.assert_allclose(spread_of(out), [[6, 7, 8], [2.99999885, 3.99999804, 4.99999798]], atol=1e-8)


def test_notebook_batchnorm_testing(backend):
    np.random.seed(231)
    param, gamma, beta = {"mode": "train"}, np.ones(4), np.zeros(4)
    for _ in range(50):
        spatial_batchnorm_forward(2.3 * np.random.randn(10, 4, 11, 12) + 13, gamma, beta, param)
    param["mode"] = "test"
    out, _ = spatial_batchnorm_forward(2.3 * np.random.randn(10, 4, 11, 12) + 13, gamma, beta, param)
    np.testing.assert_allclose(spread_of(out), [[-0.08034406, 0.07562881, 0.05716371, 0.04378383],
                                                [0.96718744, 1.0299714, 1.02887624, 1.00585577]], atol=1e-8)


def gradient_errors(forward, backward, arrays, dout):
    _, cache = forward(*arrays)
    return [relative_error(eval_numerical_gradient_array(lambda _: forward(*arrays)[0], array, dout), grad)
            for array, grad in zip(arrays, backward(dout, cache), strict=True)]


def test_notebook_batchnorm_backward(backend):
    np.random.seed(231)
    arrays = [5 * np.random.randn(2, 3, 4, 5) + 12, np.random.randn(3), np.random.randn(3)]
    dout = np.random.randn(2, 3, 4, 5)
    errors = gradient_errors(lambda *a: spatial_batchnorm_forward(*a, {"mode": "train"}), BN[1], arrays, dout)
    assert errors[0] < 1e-6 and errors[1] < 1e-10 and errors[2] < 1e-10


def test_notebook_groupnorm_forward(backend):
    np.random.seed(231)
    x = 4 * np.random.randn(2, 6, 4, 5) + 10

    def groups(x):
        return x.reshape(4, -1).mean(axis=1), x.reshape(4, -1).std(axis=1)

    np.testing.assert_allclose(groups(x), [[9.72505327, 8.51114185, 8.9147544, 9.43448077],
                                           [3.67070958, 3.09892597, 4.27043622, 3.97521327]], atol=1e-8)
    out, _ = spatial_groupnorm_forward(x, np.ones((1, 6, 1, 1)), np.zeros((1, 6, 1, 1)), 2, {})
    np.testing.assert_allclose(groups(out), [[0] * 4, [0.99999963, 0.99999948, 0.99999973, 0.99999968]], atol=1e-8)


def test_notebook_groupnorm_backward(backend):
    np.random.seed(231)
    arrays = [5 * np.random.randn(2, 6, 4, 5) + 12, np.random.randn(1, 6, 1, 1), np.random.randn(1, 6, 1, 1)]
    dout = np.random.randn(2, 6, 4, 5)
    errors = gradient_errors(lambda *a: spatial_groupnorm_forward(*a, 2, {}), GN[1], arrays, dout)
    assert errors[0] < 1e-6 and errors[1] < 1e-10 and errors[2] < 1e-10


def test_gradient_after_testing(backend):
    arrays = [5 * normal("x", 2, 3, 4, 5) + 12, normal("gamma", 3), normal("beta", 3)]
    param = {"mode": "test"} | statistics(3, np.float64)
    errors = gradient_errors(lambda *a: spatial_batchnorm_forward(*a, dict(param)), BN[1], arrays,
                             normal("dout", 2, 3, 4, 5))
    assert max(errors) < 1e-6


if find_spec("torch"):
    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(st.tuples(st.integers(2, 6), st.integers(1, 8), st.integers(1, 13), st.integers(2, 13)), st.integers(0, 9))
    def test_torch(shape, which):
        import torch

        x, dout = normal("x", *shape), normal("dout", *shape)
        gamma, beta = normal("gamma", shape[1]), normal("beta", shape[1])
        groups = groups_of(shape[1])[which % len(groups_of(shape[1]))]
        for dtype, bound in ((np.float64, 1e-10), (np.float32, 1e-4)):
            ours = [a.astype(dtype) for a in (x, gamma, beta)]
            theirs = [torch.tensor(a, requires_grad=True) for a in ours]
            param = {"mode": "train"} | statistics(shape[1], dtype)
            mean, var = torch.tensor(param["running_mean"]), torch.tensor(param["running_var"])
            for norm in ("batch", "group"):
                if norm == "batch":
                    out, cache = spatial_batchnorm_forward(*ours, param)
                    backward = BN[1]
                    out0 = torch.nn.functional.batch_norm(theirs[0], mean, var, *theirs[1:], training=True)
                else:
                    out, cache = spatial_groupnorm_forward(*ours, groups, {})
                    backward = GN[1]
                    out0 = torch.nn.functional.group_norm(theirs[0], groups, *theirs[1:])
                grads = backward(dout.astype(dtype), cache)
                grads0 = torch.autograd.grad(out0, theirs, torch.tensor(dout.astype(dtype)))
                size = 1 + max(float(g.abs().max()) for g in grads0)
                for actual, expected in zip([out, *grads], [out0, *grads0], strict=True):
                    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=bound, atol=bound * size)
            np.testing.assert_allclose(param["running_mean"], mean.numpy(), rtol=bound, atol=bound)
            count = x.size / shape[1]
            biased = 0.9 * statistics(shape[1], dtype)["running_var"]
            biased = biased + (var.numpy() - biased) * (count - 1) / count  # torch corrects the batch's variance
            np.testing.assert_allclose(param["running_var"], biased, rtol=bound, atol=bound)


# Bad input

def ones(*shape):
    return np.ones(shape)


X = ones(2, 4, 3, 5)
F, B, G, GB = *BN, *GN


def train(**more):
    return {"mode": "train"} | more


BAD = [
    (F, (X, ones(4), ones(4), {}), ValueError, "mode"),
    (F, (X, ones(4), ones(4), {"mode": "eval"}), ValueError, "mode"),
    (F, (X, ones(4), ones(4), None), TypeError, "bn_param"),
    (F, (ones(2, 4), ones(4), ones(4), train()), ValueError, "x"),
    (F, (ones(2, 4, 3), ones(4), ones(4), train()), ValueError, "x"),
    (F, (ones(0, 4, 3, 5), ones(4), ones(4), train()), ValueError, "x"),
    (F, (ones(2, 4, 0, 5), ones(4), ones(4), train()), ValueError, "x"),
    (F, (X, ones(5), ones(4), train()), ValueError, "gamma"),
    (F, (X, ones(4, 1, 1), ones(4), train()), ValueError, "gamma"),
    (F, (X, ones(4), ones(1, 4), train()), ValueError, "beta"),
    (F, (X, ones(4), ones(1), train()), ValueError, "beta"),
    (F, (X.astype(complex), ones(4), ones(4), train()), TypeError, "x"),
    (F, (X, np.full(4, None), ones(4), train()), TypeError, "gamma"),
    (F, (X, ones(4), ones(4), train(running_mean=ones(3))), ValueError, "running_mean"),
    (F, (X, ones(4), ones(4), train(running_var=ones(1, 4, 1, 1))), ValueError, "running_var"),
    (F, (X, ones(4), ones(4), train(eps=-1.0)), ValueError, "eps"),
    (F, (X, ones(4), ones(4), train(momentum="a")), TypeError, "momentum"),
    (G, (X, ones(4), ones(4), 3, {}), ValueError, "G"),
    (G, (X, ones(4), ones(4), 8, {}), ValueError, "G"),
    (G, (X, ones(4), ones(4), 0, {}), ValueError, "G"),
    (G, (X, ones(4), ones(4), -2, {}), ValueError, "G"),
    (G, (X, ones(4), ones(4), 2.0, {}), TypeError, "G"),
    (G, (X, ones(4), ones(4), True, {}), TypeError, "G"),
    (G, (X, ones(4), ones(4), 2, None), TypeError, "gn_param"),
    (G, (X, ones(4), ones(4), 2, {"eps": "a"}), TypeError, "eps"),
    (G, (X, ones(3), ones(4), 2, {}), ValueError, "gamma"),
    (G, (X, ones(4), ones(4, 1, 1, 1), 2, {}), ValueError, "beta"),
    (G, (ones(2, 4), ones(4), ones(4), 2, {}), ValueError, "x"),
    (G, (ones(2, 4, 0, 5), ones(4), ones(4), 2, {}), ValueError, "x"),
    (G, (ones(2, 0, 3, 5), ones(0), ones(0), 2, {}), ValueError, "x"),
    *[(f, (d, c), e, n)
      for f, cache in ((B, F(X, ones(4), ones(4), train())[1]), (GB, G(X, ones(4), ones(4), 2, {})[1]))
      for d, c, e, n in (
          (ones(2, 4, 3, 4), cache, ValueError, "dout"), (ones(2, 4, 15), cache, ValueError, "dout"),
          (None, cache, TypeError, "dout"), (X, None, ValueError, "cache"), (X, cache[:3], ValueError, "cache"),
          (X, (7.5, *cache[1:]), ValueError, "cache"), (X, (*cache[:3], ones(3)), ValueError, "(cache|cached)"),
          (X, (*cache[:2], ones(3), cache[3]), ValueError, "cached"))],
]


@pytest.mark.parametrize(("function", "args", "error", "named"), BAD,
                         ids=[f"{k}-{case[0].__name__}-{case[3]}" for k, case in enumerate(BAD)])
def test_wrong_argument(backend, function, args, error, named):
    before = frozen(args)
    with pytest.raises(error) as caught:
        function(*args)
    message = str(caught.value)
    assert message.startswith(f"{function.__name__}: ") and re.search(rf"\b{named}\b", message), message
    assert frozen(args) == before
