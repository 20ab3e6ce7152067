"""Each public function and its twin: the same name, the same signature."""

import inspect

import pytest

from daseCV_c import data_utils, fast_layers, im2col, im2col_cython, layer_utils, layers, optim, reference

MODULES = (layers, layer_utils, optim, fast_layers, im2col, im2col_cython)
PAIRS = [(module, name) for module in MODULES for name in module.__all__] + [(data_utils, "gather_batch")]


def form(function):
    """Names, kinds and defaults of the parameters."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("module", "name"), PAIRS, ids=[name for _, name in PAIRS])
def test_signature_is_the_twins(module, name):
    assert form(getattr(module, name)) == form(getattr(reference, name))


def test_the_twins_are_complete():
    assert {name for _, name in PAIRS} == set(reference.__all__)


@pytest.mark.parametrize("module", [*MODULES, reference], ids=lambda m: m.__name__)
def test_all_holds_every_public_function(module):
    functions = {name for name, value in vars(module).items()
                 if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")}
    assert functions <= set(module.__all__)
    assert all(inspect.isfunction(getattr(module, name)) for name in module.__all__)
    assert len(module.__all__) == len(set(module.__all__))


@pytest.mark.parametrize(("module", "name"), PAIRS, ids=[name for _, name in PAIRS])
def test_docstring_of_public_function(module, name):
    docstring = inspect.cleandoc(getattr(module, name).__doc__)
    for part in ("Parameters", "Returns", "Raises", "Examples"):
        assert f"\n{part}\n---" in docstring, f"{name} has no section {part}"
