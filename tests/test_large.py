"""More than 2^31 elements, of which only the last are ever written: they take no memory. large.py has the rest."""

import runpy
from pathlib import Path

import pytest

pytestmark = [pytest.mark.compiled, pytest.mark.once]
LARGE = Path(__file__).with_name("large.py")


@pytest.mark.parametrize("check", ["gather", "gather_rows_that_lie_a_step_apart", "training_from_many_images"])
def test_beyond_an_int(check):
    assert runpy.run_path(str(LARGE))[check]()
