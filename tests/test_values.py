"""Values that go into a file as JSON and arrays, and come back as they were."""

import json
import math

import numpy as np
import pytest
from adversarial import frozen

from daseCV_c._training.values import pack, unpack

shared = np.arange(3.0)


@pytest.mark.parametrize("value", [
    None, True, 0, -5, 2**200, 0.1, -0.0, math.inf, -math.inf, "", "é \ud800", [], [1, [2, []]], (), (1, (2,), [3]), {},
    {"a": {"b": 1}, 3: (4,), None: 5, (1, 2): 6, 1.5: 7}, np.float32(0.1), np.int8(-3), np.bool_(True),
    np.float64("nan"),
    np.arange(6.0).reshape(2, 3)[:, ::2], np.array(3), np.zeros((0, 4), np.uint8),
    {"x/../y z": np.ones(2), "é": np.ones(2)},
    [1j * np.ones(2)], {"dict": [1], "array": "a"},
], ids=lambda value: repr(value)[:30])
def test_round_trip(value):
    arrays = {}
    packed = json.loads(json.dumps(pack(value, "name", arrays), allow_nan=False))
    assert frozen(unpack(packed, arrays)) == frozen(value)
    assert all(name.isascii() and not any(part.startswith(".") for part in name.split("/")) for name in arrays)


def test_nan():
    assert math.isnan(unpack(pack(math.nan, "x", {}), {}))


def test_one_array_in_two_places_stays_one():
    arrays = {}
    first, second = unpack(pack([shared, {"a": shared}], "x", arrays), arrays)
    assert second["a"] is first and len(arrays) == 1
    assert pack(shared, "y", arrays) == {"array": "x/0"}


def test_generators():
    random = np.random.RandomState(3)
    random.randn(3)
    arrays = {}
    again = unpack(pack({"own": random}, "x", arrays), arrays)["own"]
    assert again is not random and frozen(again.randn(5)) == frozen(random.randn(5))


class Unknown:
    pass


@pytest.mark.parametrize(("value", "what"), [
    (print, "a builtin_function_or_method"), (Unknown(), "a Unknown"), ({1, 2}, "a set"), (b"x", "a bytes"),
    (1j, "a complex"), (2**5000, "a int"), (np.array([None]), "an array of object"),
    (np.array(["x"]), "an array of <U1"),
    (np.random.default_rng(0), "a Generator"),
])
def test_what_has_no_form(value, what):
    with pytest.raises(TypeError, match=f"^name/a/1 is {what}, which a file of numbers cannot hold"):
        pack({"a": [0, value]}, "name", {})


def test_what_is_nested_without_end():
    value = []
    value.append(value)
    with pytest.raises(TypeError, match="nested too deep"):
        pack(value, "name", {})


@pytest.mark.parametrize("packed", [
    {}, {"a": 1}, {"float": "1"}, {"float": 1}, {"tuple": 1}, {"dict": [1]}, {"dict": [[1]]}, {"dict": [[[], 1]]},
    {"dict": [[{"array": "a"}, 1]]}, {"array": "b"}, {"array": []}, {"number": "a"}, {"generator": 1},
    {"array": "a", "x": 1},
], ids=str)
def test_what_pack_has_not_made(packed):
    with pytest.raises(ValueError):
        unpack(packed, {"a": np.ones(2)})


@pytest.mark.parametrize("change", [
    {"bit_generator": "PCG64"}, {"has_gauss": 2}, {"gauss": "x"}, {"state": 1}, {"state": {}},
    {"state": {"key": np.zeros(624, np.uint32), "pos": 625}}, {"state": {"key": np.zeros(624, np.uint32), "pos": -1}},
    {"state": {"key": np.zeros(623, np.uint32), "pos": 1}}, {"state": {"key": np.zeros(624, np.int32), "pos": 1}},
], ids=str)
def test_states_of_generators_that_are_none(change):
    """NumPy itself reads beyond the end of the state."""
    arrays = {}
    state = np.random.RandomState(0).get_state(legacy=False) | change
    with pytest.raises(ValueError, match="a state of a generator that is none"):
        unpack({"generator": pack(state, "x", arrays)}, arrays)
