"""Every public function with arbitrary arguments: kernels and twins give the same, or the same kind of error."""

import os
import signal
import warnings

import fuzz_trials
import numpy as np
import pytest
from adversarial import frozen
from fuzzing import ERRORS, FUNCTIONS, ODD, Drawing, Odd, calls, compare, realized
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daseCV_c import gradient_check, vis_utils

FUZZ = settings(max_examples=int(os.environ.get("DASECV_FUZZ_EXAMPLES", 8)), deadline=None, database=None,
                derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.compiled
@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_arguments(name):
    @FUZZ
    @given(calls(name))
    def check(call):
        compare(call)

    check()


@pytest.mark.compiled
@pytest.mark.once
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("ended, told", [
    (lambda: os.kill(os.getpid(), signal.SIGKILL), "exit status -9"), (lambda: 1 // 0, "ZeroDivisionError")])
def test_a_long_run_tells_what_it_tried(monkeypatch, ended, told):
    """One of its examples crashes or raises what it should not: its number and its call are told."""
    def sgd(w, dw, config=None):
        if np.ndim(w) == 3:
            ended()
        return w, config or {}

    monkeypatch.setitem(FUNCTIONS, "sgd", sgd)
    results, wrong = fuzz_trials.in_its_own_process("sgd", 0, range(60))
    assert results > 0 or told.startswith("exit")
    number = next(k for k in range(60) if len(fuzz_trials.example("sgd", 0, k).args[0].shape) == 3)
    assert wrong[0].startswith(f"sgd, example {number}: ") and told in wrong[0]
    assert wrong[0].endswith(repr(fuzz_trials.example("sgd", 0, number)))


@st.composite
def drawn(draw, *shapes):
    """An array of one of the shapes, or something odd."""
    d = Drawing(lambda values: draw(st.sampled_from(values)))
    return d.array(*d.of(*shapes)) if d.of(True, True, False) else Odd(d.of(*ODD))


IMAGES = drawn((1, 2, 2, 3), (3, 4, 5, 1), (0, 2, 2, 3), (5, 1, 1, 3), (2, 3), (4, 4, 3), ())


def unchanged(function, *args, **options):
    """The result, or None for an error of a kind that is documented; the arguments stay as they were."""
    before = frozen(args)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **options)
    except ERRORS:
        return None
    finally:
        assert frozen(args) == before


@FUZZ
@given(IMAGES, st.sampled_from((0, 1, 3, -1, 2**70, 1.5, None, "x")), st.sampled_from((255.0, 1, 0, -1.0)))
def test_any_images(images, padding, ubound):
    X = realized(images)
    grids = unchanged(vis_utils.visualize_grid, X, padding=padding, ubound=ubound), unchanged(vis_utils.vis_grid, X)
    for found in grids:
        assert found is None or found.ndim == 3 and found.dtype == np.float64
    unchanged(vis_utils.vis_nn, [[X, X], [X, X]])
    unchanged(vis_utils.vis_nn, X)


@FUZZ
@given(drawn((), (3,), (2, 2), (0, 4)), st.sampled_from((1e-5, 1e-2, 0.0, -1e-3)))
def test_any_numbers_probed(array, h):
    """What is probed in place is put back, to the last bit."""
    x = realized(array)
    if isinstance(x, np.ndarray) and x.dtype == np.longdouble and x.dtype.itemsize > 8:
        return  # some of its bytes belong to no number, and are not put back
    unchanged(gradient_check.eval_numerical_gradient, lambda x: np.sum(x), x, verbose=False, h=h)
    df = np.ones(x.shape) if isinstance(x, np.ndarray) else 1.0
    unchanged(gradient_check.eval_numerical_gradient_array, lambda x: 2 * x, x, df, h=h)
