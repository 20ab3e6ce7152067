"""Without scikit-learn, daseCV_c.sklearn is imported, and says what is missing when one of its classes is asked for."""

import subprocess
import sys

import pytest
from commands import program_environment

import daseCV_c.sklearn

pytestmark = pytest.mark.once


def test_without_scikit_learn():
    code = """
import sys
import daseCV_c.sklearn
assert "sklearn" not in sys.modules
sys.modules["sklearn"] = None
for name in set(daseCV_c.sklearn.__all__) - {"usage"}:
    try:
        getattr(daseCV_c.sklearn, name)
    except ImportError as error:
        assert 'pip install "daseCV_c[sklearn]"' in str(error) and name in str(error), error
    else:
        raise AssertionError(name)
"""
    run = subprocess.run([sys.executable, "-c", code], env=program_environment(), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_names():
    assert set(daseCV_c.sklearn.__all__) <= set(dir(daseCV_c.sklearn))
    with pytest.raises(AttributeError, match="module 'daseCV_c.sklearn' has no attribute 'MLP'"):
        daseCV_c.sklearn.MLP  # noqa: B018
