"""SECURITY.md names tests that are there."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.once


def test_every_line_of_the_threat_model_names_tests_that_exist():
    document = HERE.parent / "SECURITY.md"
    rows = [line for line in document.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    path = None
    for row in rows:
        named = re.findall(r"`(test_\w+\.py)?(?:::(\w+))?`", row.split("|")[4])
        assert named, row
        for file, test in named:
            path = HERE / file if file else path
            assert re.search(rf"^def {test}\(", path.read_text(encoding="utf-8"), re.M) if test else path.is_file(), row
