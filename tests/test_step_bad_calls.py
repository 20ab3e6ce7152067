"""Wrong calls of the entry train_step: an error, nothing changed, and never a crash."""

from collections import OrderedDict

import numpy as np
import pytest
from adversarial import frozen
from stepping import RULES, STATE_KEYS, Step
from test_bad_kernel_calls import _wrong_arrays

pytestmark = pytest.mark.compiled
ERRORS = (ValueError, TypeError, IndexError, KeyError)
LAYER = ("weights", "bias", "gamma", "beta", "weights_by", "bias_by", "gamma_by", "beta_by", "reg", "statistics",
         "dropout")


def step_of(rule=None, norm="batchnorm", dtype=np.float64, **more):
    return Step(6, (5, 4, 3), dtype, norm, 0.6, reg=0.1, source=np.float32, mean=True, index=True, rule=rule, **more)


def refused(kernels, args, label):
    before = frozen(args)
    with pytest.raises(ERRORS):
        kernels.step.train_step(*args, 1)
        pytest.fail(f"train_step took {label}")
    assert frozen(args) == before, label


def changed(args, layer, field, value):
    """args with another value in one field of one layer."""
    given = list(args[4][layer])
    given[LAYER.index(field)] = value
    return [*args[:4], [*args[4][:layer], tuple(given), *args[4][layer + 1:]], *args[5:]]


def parts(args, layer, field):
    return args[4][layer][LAYER.index(field)]


def swapped(group, place, value):
    return (*group[:place], value, *group[place + 1:])


@pytest.mark.parametrize("norm", [None, "batchnorm", "layernorm"])
@pytest.mark.parametrize("rule", [None, *RULES])
def test_wrong_parameters(kernels, dtype, rule, norm):
    written = (1,) if rule is None else range(1 + len(STATE_KEYS[rule]))
    step = step_of(rule, norm, dtype)
    for layer in (0, 1):
        for field in ("weights", "bias", "gamma", "beta"):
            if parts(step.args(), layer, field) is None:
                continue
            for place in sorted({0, *written}):
                array = parts(step.args(), layer, field)[place]
                for label, wrong in _wrong_arrays(array, place in written):
                    args = step.args()
                    group = swapped(parts(args, layer, field), place, wrong)
                    refused(kernels, changed(args, layer, field, group), (layer, field, place, label))


@pytest.mark.parametrize("rule", [None, *RULES])
def test_wrong_groups(kernels, rule):
    """What is not a tuple of three, or not there at all."""
    step = step_of(rule)
    for field in ("weights", "bias", "gamma", "beta"):
        args = step.args()
        group = parts(args, 0, field)
        for wrong in (None, (), group[:1], group[:2], (*group, None), list(group), (None,) * 3, 3, group[0], (3, 3, 3)):
            refused(kernels, changed(args, 0, field, wrong), (field, wrong))
        if rule is not None:
            for wrong in (None, (), (0.1,), (0.1,) * 5, (0.1,) * 7, ("a",) * 6, [0.1] * 6):
                refused(kernels, changed(args, 0, f"{field}_by", wrong), (field, "by", wrong))
    for wrong in ("a", None, (), np.ones(2)):
        refused(kernels, changed(step.args(), 0, "reg", wrong), ("reg", wrong))


def test_wrong_statistics_and_dropout(kernels, dtype):
    step = step_of(None, "batchnorm", dtype)
    for place in range(4):
        array = parts(step.args(), 0, "statistics")[place]
        for label, wrong in _wrong_arrays(array, place > 1):
            args = step.args()
            refused(kernels, changed(args, 0, "statistics", swapped(parts(args, 0, "statistics"), place, wrong)),
                    (place, label))
    args = step.args()
    for wrong in (None, (), parts(args, 0, "statistics")[:5], (None,) * 6):
        refused(kernels, changed(args, 0, "statistics", wrong), wrong)
    uniform, keep = parts(args, 0, "dropout")
    for label, wrong in _wrong_arrays(uniform, False):
        refused(kernels, changed(args, 0, "dropout", (wrong, keep)), label)
    for wrong in ((), (uniform,), (uniform, 0.0), (uniform, -0.1), (uniform, 1.1), (uniform, np.nan), (uniform, "a"),
                  (None, keep), 3):
        refused(kernels, changed(args, 0, "dropout", wrong), wrong)


def test_wrong_batches(kernels, dtype):
    step = step_of(None, "batchnorm", dtype)
    legal = {(0, "longer"), (0, "other float")}
    for place in range(4):
        for label, wrong in _wrong_arrays(step.args()[place], False):
            args = step.args()
            args[place] = wrong
            if (place, label) not in legal:
                refused(kernels, args, (place, label))
    for place, bad in ((1, -1), (1, 9), (1, 2**62), (1, -(2**63)), (3, -1), (3, 3), (3, 2**62), (3, -(2**63))):
        args = step.args()
        args[place] = args[place].copy()
        args[place][-1] = bad
        refused(kernels, args, (place, bad))
    for place, wrong in ((0, None), (3, None), (4, None), (4, ()), (4, []), (4, tuple(step.args()[4])), (4, [None] * 2),
                         (4, [()] * 2), (4, [list(layer) for layer in step.args()[4]]),
                         (4, [layer[:10] for layer in step.args()[4]]),
                         (5, "adagrad"), (5, 1), (5, []), (6, "batch_norm"), (6, 1), (6, []),
                         (0, np.zeros((9, 0), np.float32)), (0, np.zeros((0, 5), np.float32))):
        args = step.args()
        args[place] = wrong
        refused(kernels, args, (place, str(wrong)[:40]))


def test_layers_that_do_not_fit_each_other(kernels):
    step = step_of()
    args = step.args()
    refused(kernels, [*args[:4], args[4][::-1], *args[5:]], "layers in reverse")
    refused(kernels, [*args[:4], [args[4][0], args[4][0], args[4][1]], *args[5:]], "a layer twice")
    # The classes are those of the last layer: labels that fit the hidden one do not fit it.
    args[3] = np.full(6, 3)
    refused(kernels, args, "a label of the hidden layer")


@pytest.mark.parametrize("threads", [-3, 0, 1, 3, 64])
def test_any_number_of_threads_is_taken(kernels, threads):
    step = Step(300, (200, 100, 10))
    expected = frozen(list(step.run(kernels, 1)))
    assert frozen(list(step.run(kernels, threads))) == expected


def test_a_label_that_is_no_class_has_an_error_of_its_own(kernels):
    for wrong in (3, -1, 2**62, -(2**63)):
        args = step_of().args()
        args[3] = np.array([0, 1, 2, 0, 1, wrong])
        with pytest.raises(kernels.step.LabelError, match=f"train_step: y holds the label {wrong}, but there are 3"):
            kernels.step.train_step(*args, 1)


class Text(str):
    pass


def test_plain_dict(kernels):
    plain = kernels.step.plain_dict
    assert plain({}) and plain({"a": 1, "b": Text("c")})
    for other in (None, 3, [], OrderedDict(a=1), {Text("a"): 1}, {"a": 1, 2: 3}):
        assert not plain(other)


def _noted(kernels, **wrong):
    """A step with dicts to change, a list for the loss and a parameter in front; one of the arguments is wrong."""
    step = Step(6, (5, 3), rule="adam")
    args = step.args()
    w, grad, decay, m, v = (np.full((2, 3), 1.0 + k) for k in range(5))
    numbers, notes, losses = (0.1, 0.9, 0.999, 1e-8, 0.0, 0), {"old": 1}, []
    given = {
        "changes": [(notes, "old", 2), (notes, "new", 3)], "losses": losses, "penalty": 0.5, "calls": [],
        "front": [((w, m, v), grad, decay, numbers)],
    } | wrong
    held = [args, w, m, v, notes, losses]
    before = frozen(held)
    return lambda: kernels.step.train_step(*args, 1, **given), held, before


def test_what_a_step_changes_beside_its_arrays(kernels):
    call, (_, w, m, v, notes, losses), _ = _noted(kernels)
    plain = Step(6, (5, 3), rule="adam").run(kernels)[0]
    loss = call()
    assert loss == plain + 0.5 and losses == [loss] and notes == {"old": 2, "new": 3}
    grad = 5.0  # with its decay
    np.testing.assert_allclose(m, 0.9 * 4 + 0.1 * grad)
    np.testing.assert_allclose(v, 0.999 * 5 + 0.001 * grad**2)
    np.testing.assert_allclose(w, 1 - 0.1 * m / (np.sqrt(v) + 1e-8))


class Odd(dict):
    pass


@pytest.mark.parametrize("wrong", [
    {"changes": [({}, "a", 1), ({}, Text("b"), 2)]}, {"changes": [({}, "a", 1), (Odd(), "b", 2)]},
    {"changes": [({}, "a", 1), ({}, "b")]}, {"changes": [3]}, {"changes": ()}, {"losses": ()}, {"penalty": "much"},
    {"calls": ()}, {"front": [()]}, {"front": [((np.ones(3), None, None), np.ones(3), None, (0.1, 0, 0, 0, 0))]},
    {"front": [((np.ones(3), np.ones(3), np.ones(3)), np.ones(4), None, (0.1, 0, 0, 0, 0))]},
    {"front": [((np.ones(3), np.ones(3), np.ones(3)), np.ones(3), np.ones(2), (0.1, 0, 0, 0, 0))]},
    {"front": [((np.ones(3), np.ones(3), np.ones(3)), np.ones(3, np.float32), None, (0.1, 0, 0, 0, 0))]},
    {"front": [((np.ones(3), np.ones(3), np.ones(3)), np.ones(3), None, (0.1, 0))]},
], ids=str)
def test_wrong_notes_change_nothing(kernels, wrong):
    call, held, before = _noted(kernels, **wrong)
    with pytest.raises(ERRORS):
        call()
    assert frozen(held) == before
    if wrong.get("changes") and isinstance(wrong["changes"][0], tuple):
        assert wrong["changes"][0][0] == {}, "a key that was put in is taken out again"


def test_settings_of(kernels):
    """None unless everything is what it was; nothing that is given can make it read beyond what is there."""
    w, b, m, v = (np.ones(3) for _ in range(4))
    params, arrays = {"W": w, "b": b}, {"W": (w, m, None), "b": (b, v, None)}
    configs = {"W": {"velocity": m, "rate": 1.0}, "b": {"velocity": v, "rate": 1}}
    asked = (("velocity",), ("rate",))
    assert kernels.step.settings_of(params, configs, arrays, *asked) == (1.0,)
    other = dict(configs, b={"velocity": v, "rate": 2})
    assert kernels.step.settings_of(params, other, arrays, *asked) == {"W": (1.0,), "b": (2,)}
    for now, by, held in (
            (dict(params, W=w.copy()), configs, arrays), ({"W": w}, configs, arrays),
            ({"W": w, "c": b}, configs, arrays), (params, {"W": configs["W"]}, arrays),
            (params, dict(configs, b=None), arrays), (params, dict(configs, b={"velocity": v}), arrays),
            (params, dict(configs, b={"velocity": v.copy(), "rate": 1}), arrays)):
        assert kernels.step.settings_of(now, by, held, *asked) is None
    for held in ((), (w,), w, 3, "ab"):
        try:
            assert not kernels.step.settings_of(params, configs, dict(arrays, W=held), *asked)
        except ERRORS:
            pass
    for place in range(5):
        args = [params, configs, arrays, *asked]
        for wrong in (None, 3, [1]):
            args[place] = wrong
            with pytest.raises(ERRORS):
                kernels.step.settings_of(*args)
    v.setflags(write=False)
    assert kernels.step.settings_of(params, configs, arrays, *asked) is None
