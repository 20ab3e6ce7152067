"""Many Python threads in one compiled entry at once, on the same inputs: the bits of one alone, inputs unchanged."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from at_once import CALLERS, differing
from entries import ENTRIES

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def callers():
    with ThreadPoolExecutor(CALLERS) as pool:
        yield pool


@pytest.mark.parametrize("entry", ENTRIES)
def test_eight_callers_of_one_entry(callers, kernels, dtype, entry):
    assert not differing(callers, kernels, entry, dtype)

