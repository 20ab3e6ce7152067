"""Every public function with arbitrary arguments: kernels and twins give the same, or the same kind of error."""

import os
import warnings

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


@st.composite
def drawn(draw, *shapes):
    """An array of one of the shapes, or something odd."""
    d = Drawing(draw)
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
