"""docs/reference has every public name, and every public name says what it has to."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import daseCV_c
from daseCV_c.callbacks import Callback

pytestmark = pytest.mark.once
PAGES = Path(__file__).resolve().parents[1] / "docs" / "reference"
# The homes of what `datasets` and the commands show, and the twins, which twins.md lists as a whole.
INSIDE = ("daseCV_c.cli", "daseCV_c.datasets.", "daseCV_c.reference")
# They need scikit-learn, and test_sklearn_*.py try them.
ELSEWHERE = {"FullyConnectedClassifier", "FullyConnectedRegressor", "MLPClassifier", "MLPRegressor"}


def modules():
    """The public modules."""
    found = [daseCV_c]
    for module in pkgutil.walk_packages(daseCV_c.__path__, "daseCV_c."):
        if not re.search(r"\._", module.name) and not module.name.startswith(INSIDE):
            found.append(importlib.import_module(module.name))
    return found


def public(module):
    """The names of a module: those of __all__, or what it defines."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [name for name, value in vars(module).items()
                 if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__]
    return [name for name in names if not name.startswith("__")]


def documented():
    """The names that the lists of docs/reference hold: {'layers.affine_forward', ...}."""
    found = set()
    for page in PAGES.glob("*.md"):
        module = listing = None
        for line in page.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"\.\. (?:current)?module:: (\S+)", line):
                module = match[1]
            listing = line.startswith(".. autosummary::") or (listing and not line.startswith("```"))
            if listing and (match := re.fullmatch(r"   (\w+)", line)):
                found.add(f"{module}.{match[1]}")
    return found


DOCUMENTED = documented()
NAMES = sorted(name for name in DOCUMENTED if name.split(".")[-1] not in ELSEWHERE)


def found(name):
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_every_public_name_has_a_page(module):
    there = {id(found(name)) for name in NAMES}
    for name in public(module):
        full = f"{module.__name__}.{name}"
        # What notebooks expect in a second module too is documented in its first.
        assert full in DOCUMENTED or id(found(full)) in there, f"docs/reference has no entry for {full}"


def test_every_page_has_a_name():
    assert len(NAMES) > 100
    assert [name for name in NAMES if not callable(found(name))] == []


def methods(cls):
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        value = getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(value) and value.__module__.startswith("daseCV_c"):
            yield value


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_says_what_is_needed(name):
    thing = found(name)
    text = inspect.cleandoc(thing.__doc__)

    def has(section):
        return f"\n{section}\n---" in text
    if name.endswith("load_ipython_extension"):  # IPython calls it
        return
    assert has("Examples")
    if inspect.isclass(thing):
        for method in methods(thing):
            # What Callback and the schedules say of a method holds wherever it is.
            assert inspect.getdoc(getattr(thing, method.__name__)) or hasattr(Callback, method.__name__) \
                or method.__name__ in ("state", "load_state"), method
        return
    signature = inspect.signature(thing)
    if signature.parameters:
        assert has("Parameters") and (has("Raises") or name.endswith("sklearn.usage"))  # which raises nothing
    if signature.return_annotation not in (None, "None"):
        assert has("Returns") or has("Yields")
