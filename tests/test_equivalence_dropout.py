"""Dropout against its twin: the same random numbers, so the same bits."""

import numpy as np
import pytest
from adversarial import KINDS, LAYOUTS, SPECIAL, normal, planted, small_integers
from comparing import both_pairs, run, same_bits, same_values

from daseCV_c.layers import dropout_backward, dropout_forward

SHAPES = [(), (0,), (1,), (3, 0), (5, 7), (2, 3, 4, 5), (257, 131), (1030, 70), (2, 3072)]


def check(x, dout, **param):
    (out, grads, dicts), (out0, grads0, dicts0) = both_pairs(dropout_forward, dropout_backward, (x, param), dout)
    same_values(out, out0)
    same_values(grads[0], grads0[0])
    assert dicts == dicts0 == [param]


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(level, dtype, shape, mode):
    check(normal("x", *shape, dtype=dtype), normal("dout", *shape, dtype=dtype), p=0.6, mode=mode)


@pytest.mark.parametrize("p", [1e-12, 0.05, 1 / 3, 0.9, 1.0, 1, np.float32(0.7), np.float64(0.7)])
def test_probabilities(level, dtype, p):
    check(normal("x", 67, 31, dtype=dtype), normal("dout", 67, 31, dtype=dtype), p=p, mode="train")


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("position", range(2))
def test_layouts(level, dtype, layout, position, mode):
    args = [normal("x", 9, 5, 3, dtype=dtype), normal("dout", 9, 5, 3, dtype=dtype)]
    args[position] = LAYOUTS[layout](args[position])
    check(*args, p=0.5, mode=mode)


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", range(2))
def test_kinds(level, dtype, kind, position, mode):
    args = [small_integers("x", 9, 5, dtype=dtype), small_integers("dout", 9, 5, dtype=dtype)]
    args[position] = KINDS[kind](args[position])
    check(*args, p=0.5, mode=mode)


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_special_values(level, dtype, kind, mode):
    """0 times infinity is NaN, here as in NumPy."""
    x, dout = normal("x", 37, 19, dtype=dtype), normal("dout", 37, 19, dtype=dtype)
    check(planted(x, kind), planted(dout, kind), p=0.6, mode=mode)


def test_the_course_mask(backend, dtype):
    """mask = (rand < p) / p, drawn in the shape of x from the global generator."""
    x = normal("x", 4, 3, 2, dtype=dtype)
    out, (_, mask) = dropout_forward(x, {"p": 0.7, "mode": "train", "seed": 123})
    after = np.random.rand()
    np.random.seed(123)
    expected = ((np.random.rand(4, 3, 2) < 0.7) / 0.7).astype(dtype)
    same_bits(mask, expected)
    same_bits(out, x * expected)
    assert after == np.random.rand(), "more or fewer numbers were drawn than x has elements"


def test_without_a_seed_the_generator_goes_on(backend):
    param = {"p": 0.5, "mode": "train"}
    x = np.ones((20, 20))
    first, second = dropout_forward(x, param)[0], dropout_forward(x, param)[0]
    assert (first != second).any()


def test_testing_draws_nothing(backend):
    before = np.random.get_state()[2]
    dropout_forward(np.ones((3, 4)), {"p": 0.5, "mode": "test"})
    assert np.random.get_state()[2] == before


def test_testing_returns_a_copy(backend, dtype):
    x = normal("x", 3, 4, dtype=dtype)
    (out, cache), _ = run(backend, dropout_forward, x, {"p": 0.5, "mode": "test"})
    assert out is not x and not np.shares_memory(out, x)
    dout = normal("dout", 3, 4, dtype=dtype)
    dx = dropout_backward(dout, cache)
    assert not np.shares_memory(dx, dout)
    same_bits(dx, dout)


def test_a_later_change_of_the_parameters_does_not_reach_the_cache(backend):
    """A network switches its one dropout_param to testing between forward and backward."""
    param = {"p": 0.5, "mode": "train", "seed": 3}
    dout = normal("dout", 8, 8)
    _, cache = dropout_forward(normal("x", 8, 8), param)
    expected = dropout_backward(dout, cache)
    param.update(mode="test", p=0.9)
    same_bits(dropout_backward(dout, cache), expected)


def test_share_of_kept_units(backend):
    out, _ = dropout_forward(np.ones((500, 500)), {"p": 0.3, "mode": "train", "seed": 11})
    assert abs((out != 0).mean() - 0.3) < 0.005
    assert abs(out.mean() - 1) < 0.02


@pytest.mark.parametrize("size", [0, 1, 15, 17, 4099])
def test_entries_write_all_of_the_output_and_nothing_else(kernels, dtype, size):
    x, uniform = normal("x", size, dtype=dtype), np.random.rand(size)
    mask, frame = np.full(size + 64, 77, dtype), np.full(size + 64, 77, dtype)
    inner = slice(32, 32 + size)
    kernels.dropout.dropout_forward(x, uniform, 0.4, mask[inner], frame[inner], 1)
    same_bits(mask[inner].copy(), ((uniform < 0.4) / 0.4).astype(dtype))
    same_bits(frame[inner].copy(), x * mask[inner])
    kernels.dropout.dropout_backward(x, mask[inner].copy(), frame[inner], 1)
    same_bits(frame[inner].copy(), x * mask[inner])
    for outer in (mask, frame):
        assert (outer[:32] == 77).all() and (outer[32 + size:] == 77).all()


def test_a_uniform_number_equal_to_p_drops(kernels, dtype):
    """kept when uniform < p: with p = 0.5 a tie is possible."""
    uniform = np.resize([0.5, np.nextafter(0.5, 0), np.nextafter(0.5, 1), 0.0], 37)
    x, mask, out = np.ones(37, dtype), np.empty(37, dtype), np.empty(37, dtype)
    kernels.dropout.dropout_forward(x, uniform, 0.5, mask, out, 1)
    same_bits(mask, np.resize([0, 2, 0, 2], 37).astype(dtype))
