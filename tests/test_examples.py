"""The examples of every docstring."""

import doctest
import importlib
import pkgutil

import pytest

import daseCV_c

MODULES = [module.name for module in pkgutil.walk_packages(daseCV_c.__path__, "daseCV_c.")
           if not module.name.endswith("__main__") and "._compiled." not in module.name
           and "._exchange." not in module.name  # they need libraries, and test_exchange_*.py run them
           and not module.name.endswith("._search.on_dask")  # it needs Dask, and has none
           and (".sklearn." not in module.name or module.name.endswith("._usage"))]  # and test_sklearn_*.py these


# The examples of the perceptrons say that the kernels have trained them.
OF_KERNELS = ("daseCV_c.sklearn",)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.compiled if name in OF_KERNELS else ()) for name in MODULES])
def test_examples(backend, here, monkeypatch, name):
    monkeypatch.delenv("DASECV_DATA", raising=False)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_examples_are_found():
    found = [test for name in MODULES for test in doctest.DocTestFinder().find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in found) > 60
