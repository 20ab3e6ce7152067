"""Valid files of every kind, changed at some places: they are read, or refused by an error of the reader's own."""

import os

import fuzz_readers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.once
FUZZ = settings(max_examples=int(os.environ.get("DASECV_FUZZ_EXAMPLES", 15)), deadline=None, database=None,
                derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def changes(draw, seeds):
    """A seed with a few bytes changed, added, cut or repeated."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        kind = draw(st.sampled_from(("byte", "number", "cut", "insert", "drop", "repeat")))
        if kind == "byte":
            content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1:]
        elif kind == "number":
            value = draw(st.sampled_from((0, 1, 127, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1))).to_bytes(8, "little")
            width = draw(st.sampled_from((2, 4, 8)))
            content = content[:at] + value[:width] + content[at + width:]
        elif kind == "cut":
            content = content[:at]
        else:
            piece = draw(st.binary(max_size=6)) if kind == "insert" else content[at:at + draw(st.integers(1, 40))]
            rest = content[at:] if kind != "drop" else content[at + len(piece):]
            content = content[:at] + (b"" if kind == "drop" else piece) + rest
    return content


@pytest.mark.parametrize("name", fuzz_readers.TARGETS)
def test_a_file_that_was_changed(name, tmp_path):
    seeds = fuzz_readers.SEEDS[name]()
    assert all(fuzz_readers.attempt(name, content, tmp_path) for content in seeds)

    @FUZZ
    @given(changes(seeds))
    def check(content):
        fuzz_readers.attempt(name, content, tmp_path)

    check()
    assert list(tmp_path.iterdir()) == []
