"""The kernel of a training step against the twins: networks of many shapes, batches of many kinds."""

import itertools

import numpy as np
import pytest
from adversarial import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stepping import RULES, STATE_KEYS, Step, settings_of

from daseCV_c import optim

pytestmark = pytest.mark.compiled
NORMS = (None, "batchnorm", "layernorm")
WIDTHS = st.one_of(st.integers(1, 80), st.sampled_from([15, 16, 17, 31, 32, 33, 47, 48, 64, 96, 128, 300]))
OPTIONS = {"deadline": None, "derandomize": True, "database": None,
           "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@st.composite
def steps(draw, rules=(None,)):
    depth = draw(st.integers(1, 5))
    features = draw(st.one_of(st.integers(1, 200), st.sampled_from([1023, 1024, 1040, 3072, 3100])))
    n = draw(st.one_of(st.integers(1, 60), st.sampled_from([64, 100, 255, 256, 257, 513, 600])))
    source = draw(st.sampled_from([np.uint8, np.float32, np.float64]))
    return Step(
        n, (features, *(draw(WIDTHS) for _ in range(depth))), draw(st.sampled_from([np.float32, np.float64])),
        norm=draw(st.sampled_from(NORMS)), keep=draw(st.sampled_from([None, 0.5, 0.8])),
        reg=draw(st.sampled_from([0.0, 0.3])), source=source, mean=draw(st.booleans()), index=draw(st.booleans()),
        rule=draw(st.sampled_from(rules)),
    )


@settings(max_examples=100, **OPTIONS)
@given(step=steps())
def test_gradients_of_random_networks(kernels, step):
    step.check(kernels)


def bits(step, kernels, threads):
    return frozen(list(step.run(kernels, threads)))


@settings(max_examples=40, **OPTIONS)
@given(step=steps(rules=(None, *RULES)))
def test_any_number_of_threads(kernels, step):
    alone = bits(step, kernels, 1)
    for threads in (2, 3, 5, 16):
        assert bits(step, kernels, threads) == alone, threads


# Shapes at which the step takes another way: the first product split or not, a layer shared out by
# columns or by samples, one block of samples or several; and a share that is smaller than a panel.
SHAPES = [
    (100, (3072, 100, 10)), (600, (3072, 100, 10)), (600, (3072, 110, 10)), (257, (1024, 33, 5)),
    (520, (48, 1030, 10)), (520, (32, 1024, 96, 3)), (1100, (1023, 40, 2)), (3, (1500, 700, 900, 10)),
    (64, (3072, 10)),
]


@pytest.mark.parametrize(("n", "widths"), SHAPES, ids=str)
def test_other_ways(kernels, dtype, n, widths):
    for norm, keep in ((None, None), ("batchnorm", 0.7), ("layernorm", None), (None, 0.7)):
        Step(n, widths, dtype, norm, keep, reg=0.1, rule=None, source=np.float32).check(kernels, 20000.0)
        step = Step(n, widths, dtype, norm, keep, reg=0.1, rule="adam", source=np.uint8, mean=True, index=True)
        assert len({bits(step, kernels, threads) for threads in (1, 2, 3, 5, 8, 12, 16)}) == 1, (norm, keep)


def test_squares_are_added_in_one_order(kernels, dtype):
    """The penalty is nearly the whole loss, and two threads share out the two tiles of one panel."""
    for n, m in itertools.product(range(300, 306), (98, 100, 110)):
        step = Step(n, (16, m, 10), dtype, reg=1e4, rule="sgd")
        assert len({bits(step, kernels, threads) for threads in (1, 2, 3)}) == 1, (n, m)


@pytest.mark.parametrize("rule", RULES)
def test_updates_are_those_of_the_rules(level, kernels, dtype, rule):
    """The update inside the step gives the bits of the update rule called with the stored gradient."""
    shapes = [(37, (50, 33, 17, 5)), (100, (1030, 48, 10)), (600, (20, 31, 16, 15))]
    for (n, widths), norm, reg in itertools.product(shapes, (None, "batchnorm"), (0.0, 0.3)):
        stored = Step(n, widths, dtype, norm, reg=reg)
        loss, grads, found = stored.run(kernels)
        step = Step(n, widths, dtype, norm, reg=reg, rule=rule)
        step.params = stored.params
        step_loss, arrays, step_found = step.run(kernels)
        assert step_loss == loss and frozen(step_found) == frozen(found)
        for name, (w, grad, _) in grads.items():
            config = settings_of(rule) | dict(zip(STATE_KEYS[rule], step.states[name], strict=True))
            next_w, config = getattr(optim, rule)(w.copy(), grad, config)
            for mine, expected in zip(arrays[name], (next_w, *map(config.get, STATE_KEYS[rule])), strict=False):
                np.testing.assert_array_equal(mine, expected, err_msg=name)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("place", ["image", "W1", "W2", "b2"])
def test_special_values(kernels, dtype, place, value, norm):
    """NaN and infinities come out where they come out of the twins; also of columns that fill no vector."""
    step = Step(21, (40, 19, 34, 5), dtype, norm)
    if place == "image":
        step.images[7, 3] = value
    else:
        step.params[place].flat[33 if place == "W2" else 5] = value
    with np.errstate(all="ignore"):
        loss, grads, _, found = step.twin()
    for threads in (1, 2):
        mine_loss, arrays, mine_found = step.run(kernels, threads)
        assert np.isnan(mine_loss) == np.isnan(loss)
        for name, expected in grads.items():
            np.testing.assert_array_equal(np.isnan(arrays[name][1]), np.isnan(expected), err_msg=name)
        for mine, others in zip(mine_found, found, strict=True):
            np.testing.assert_array_equal(np.isnan(mine[0]), np.isnan(others[0]))


@pytest.mark.parametrize("threads", [1, 3, 16])
@pytest.mark.parametrize("keep", [None, 0.5])
@pytest.mark.parametrize("norm", NORMS)
def test_scratch_of_another_step_changes_nothing(kernels, dtype, norm, keep, threads):
    """What an earlier step left in memory, NaN among it, is not read: not behind ends, and by no thread too early."""
    step = Step(33, (50, 21, 37, 5), dtype, norm, keep, reg=0.1)
    alone = bits(step, kernels, 1)
    for other in (Step(33, (50, 21, 37, 5), dtype, norm, keep), Step(40, (60, 40, 64, 9), dtype)):
        other.images[...] = np.nan
        other.run(kernels, threads)
        assert bits(step, kernels, threads) == alone
