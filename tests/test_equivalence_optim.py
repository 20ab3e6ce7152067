"""Update rules against their twins, the state included."""

import copy

import numpy as np
import pytest
from adversarial import KINDS, LAYOUTS, SPECIAL, frozen, normal, planted, small_integers
from comparing import both, close, same_form
from entries import make_call
from stepping import COUNTING
from stepping import STATE_KEYS as STATES

import daseCV_c
from daseCV_c import optim

RULES = pytest.mark.parametrize("rule", STATES)
PURE = pytest.mark.parametrize("rule", list(STATES)[1:])  # sgd works in place
SHAPES = [(0,), (1,), (), (7,), (3, 0), (5, 7), (2, 3, 4), (257, 131), (1030, 70), (3072, 17)]


def state_of(rule, shape, dtype, make=normal):
    config = {key: make(key, *shape, dtype=dtype) for key in STATES[rule]}
    for key in ("cache", "v"):
        if key in config:
            config[key] = np.abs(config[key])
    if rule in COUNTING:
        config["t"] = 4
    return config


def scales(rule, w, dw, before, after):
    """Sizes of the terms that are added in next_w and in each state."""
    w, dw = np.abs(np.asarray(w, np.float64)), np.abs(np.asarray(dw, np.float64))
    old = {key: np.abs(np.asarray(before.get(key, 0.0), np.float64)) for key in STATES[rule]}
    rate = after["learning_rate"]
    if rule == "sgd":
        return {"w": w + rate * dw}
    if rule == "sgd_momentum":
        velocity = after["momentum"] * old["velocity"] + rate * dw
        return {"w": w + velocity, "velocity": velocity}
    if rule == "nesterov":
        velocity = after["momentum"] * old["velocity"] + rate * dw
        return {"w": w + after["momentum"] * old["velocity"] + (1 + after["momentum"]) * velocity, "velocity": velocity}
    if rule in ("rmsprop", "adagrad"):
        root = np.sqrt(np.asarray(after["cache"], np.float64)) + after["epsilon"]
        return {"w": w + rate * dw / root, "cache": old["cache"] + dw**2}
    m, t = old["m"] + dw, after["t"]
    root = np.sqrt(np.asarray(after["v"], np.float64) / (1 - after["beta2"] ** t)) + after["epsilon"]
    w = w + rate * after.get("weight_decay", 0) * w
    return {"w": w + rate * m / (1 - after["beta1"] ** t) / root, "m": m, "v": old["v"] + dw**2}


def check(rule, w, dw, config=None):
    """w, the state and the settings of one step; a step is at most a few rounding errors wrong."""
    function = getattr(optim, rule)
    if rule == "sgd":
        results = []
        for backend in ("compiled", "numpy"):
            mine = copy.deepcopy(w)
            before = frozen(dw)
            with daseCV_c.use_backend(backend), np.errstate(all="ignore"):
                next_w, filled = function(mine, dw, None if config is None else dict(config))
            assert next_w is mine and frozen(dw) == before
            results.append(((next_w, filled), None))
        (new, _), (new0, _) = results
    else:
        (new, _), (new0, _) = both(function, w, dw, config)
    (next_w, config1), (next_w0, config0) = new, new0
    assert list(config1) == list(config0)
    with np.errstate(all="ignore"):
        scale = scales(rule, w, dw, config or {}, config0)
        close(next_w, next_w0, scale.pop("w"), 8, form=rule != "sgd")
        for key, value in config0.items():
            if key in STATES[rule]:
                close(config1[key], value, scale.pop(key), 8)
            else:
                assert config1[key] == value
    assert not scale


@RULES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(level, dtype, rule, shape):
    w, dw = normal("w", *shape, dtype=dtype), normal("dw", *shape, dtype=dtype)
    check(rule, w, dw)
    check(rule, w, dw, state_of(rule, shape, dtype))


@RULES
@pytest.mark.parametrize("rate", [0, 1e-10, 1e-3, 1.0, 1e3])
def test_rates(level, dtype, rule, rate):
    w, dw = normal("w", 40, 30, dtype=dtype), normal("dw", 40, 30, dtype=dtype)
    check(rule, w, dw, state_of(rule, (40, 30), dtype) | {"learning_rate": rate})


@PURE
@pytest.mark.parametrize("settings", [
    {"momentum": 0.0, "decay_rate": 0.0, "beta1": 0.0, "beta2": 0.0, "weight_decay": 0.0},
    {"momentum": 0.5, "decay_rate": 0.5, "beta1": 0.5, "beta2": 0.5, "weight_decay": 0.5},
    {"momentum": 1.0, "decay_rate": 1.0, "beta1": 0.1, "beta2": 0.1, "epsilon": 0.1, "weight_decay": 100.0},
], ids=["zero", "half", "one"])
def test_settings(level, dtype, rule, settings):
    config = state_of(rule, (40, 30), dtype) | {k: v for k, v in settings.items() if k in optim.SETTINGS[rule]}
    check(rule, normal("w", 40, 30, dtype=dtype), normal("dw", 40, 30, dtype=dtype), config)


@RULES
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("position", ["w", "dw", "state"])
def test_layouts(level, dtype, rule, layout, position):
    if rule == "sgd" and (position == "state" or (position == "w" and layout == "read_only")):
        position, layout = "dw", "strided"
    shape = (9, 5, 3)
    args = {"w": normal("w", *shape, dtype=dtype), "dw": normal("dw", *shape, dtype=dtype)}
    state = state_of(rule, shape, dtype)
    if position == "state":
        state |= {key: LAYOUTS[layout](state[key]) for key in STATES[rule]}
    else:
        args[position] = LAYOUTS[layout](args[position])
    check(rule, args["w"], args["dw"], state)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "read_only"])
def test_sgd_writes_into_w_whatever_its_layout(backend, dtype, layout):
    w = LAYOUTS[layout](normal("w", 9, 5, dtype=dtype))
    dw = normal("dw", 9, 5, dtype=dtype)
    expected = np.array(w, dtype) - dtype(0.5) * dw
    next_w, _ = optim.sgd(w, dw, {"learning_rate": 0.5})
    assert next_w is w
    close(np.array(w, dtype), expected, 4, 1)


@PURE
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", range(2))
def test_kinds(level, dtype, rule, kind, position):
    args = [small_integers("w", 9, 5, dtype=dtype), small_integers("dw", 9, 5, dtype=dtype)]
    args[position] = KINDS[kind](args[position])
    check(rule, *args)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_gradient_for_sgd(level, dtype, kind):
    check("sgd", small_integers("w", 9, 5, dtype=dtype), KINDS[kind](small_integers("dw", 9, 5)))


@PURE
@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32")], ids="-".join)
@pytest.mark.parametrize("state", [np.float32, np.float64], ids=lambda d: d.__name__)
def test_mixed_dtypes(level, rule, dtypes, state):
    check(rule, normal("w", 9, 5, dtype=dtypes[0]), normal("dw", 9, 5, dtype=dtypes[1]), state_of(rule, (9, 5), state))


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32")], ids="-".join)
def test_mixed_dtypes_for_sgd(level, dtypes):
    check("sgd", normal("w", 9, 5, dtype=dtypes[0]), normal("dw", 9, 5, dtype=dtypes[1]))


@RULES
@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("position", ["w", "dw", "state"])
def test_special_values(level, dtype, rule, kind, position):
    args = {"w": normal("w", 37, 19, dtype=dtype), "dw": normal("dw", 37, 19, dtype=dtype)}
    state = state_of(rule, (37, 19), dtype)
    if position == "state":
        state |= {key: planted(state[key], kind) for key in STATES[rule]}
    else:
        args[position] = planted(args[position], kind)
    check(rule, args["w"], args["dw"], state)


@RULES
@pytest.mark.parametrize("rate", [1e-3, 0.3])
def test_ten_steps(level, rule, rate):
    """Each backend goes on from its own state."""
    ends = []
    for backend in ("compiled", "numpy"):
        w, config = normal("w", 30, 20), {"learning_rate": rate}
        with daseCV_c.use_backend(backend):
            for step in range(10):
                w, config = getattr(optim, rule)(w, normal(step, 30, 20), config)
        ends.append((w, config))
    (w, config), (w0, config0) = ends
    close(w, w0, 10, 100)
    for key in STATES[rule]:
        close(config[key], config0[key], 10, 100)
    assert config.get("t") == config0.get("t") == (10 if rule in COUNTING else None)


@PURE
def test_old_state_and_weights_stay(backend, dtype, rule):
    w, dw = normal("w", 6, 5, dtype=dtype), normal("dw", 6, 5, dtype=dtype)
    config = state_of(rule, (6, 5), dtype)
    old = {key: config[key] for key in STATES[rule]}
    before = frozen([w, dw, old])
    next_w, returned = getattr(optim, rule)(w, dw, config)
    assert frozen([w, dw, old]) == before
    assert returned is config and next_w is not w
    for key in STATES[rule]:
        assert config[key] is not old[key] and not np.shares_memory(config[key], old[key])
        assert not np.shares_memory(config[key], next_w)


@RULES
def test_first_state_has_the_dtype_of_w(backend, dtype, rule):
    _, config = getattr(optim, rule)(normal("w", 6, 5, dtype=dtype), normal("dw", 6, 5, dtype=dtype))
    for key in STATES[rule]:
        assert config[key].dtype == dtype


@pytest.mark.parametrize(("rule", "defaults"), [
    ("sgd", {"learning_rate": 1e-2}),
    ("sgd_momentum", {"learning_rate": 1e-2, "momentum": 0.9}),
    ("nesterov", {"learning_rate": 1e-2, "momentum": 0.9}),
    ("rmsprop", {"learning_rate": 1e-2, "decay_rate": 0.99, "epsilon": 1e-8}),
    ("adagrad", {"learning_rate": 1e-2, "epsilon": 1e-8}),
    ("adam", {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "t": 1}),
    ("adamw", {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 1e-2, "t": 1}),
])
def test_defaults(backend, rule, defaults):
    _, config = getattr(optim, rule)(np.ones(3), np.ones(3))
    assert {key: value for key, value in config.items() if key not in STATES[rule]} == defaults


@PURE
def test_integers_throughout_count_as_float64(backend, rule):
    results = []
    for dtype in (np.int64, np.float64):
        config = state_of(rule, (5, 3), dtype, make=small_integers) | {"learning_rate": 0.1}
        w, dw = (small_integers(name, 5, 3, dtype=dtype) for name in ("w", "dw"))
        results.append(getattr(optim, rule)(w, dw, config))
    assert frozen(results[0]) == frozen(results[1])
    assert results[0][0].dtype == np.float64


@pytest.mark.parametrize("rule", COUNTING)
def test_the_largest_count_of_steps(backend, rule):
    step, w = getattr(optim, rule), np.ones(2)
    assert step(w, w, {"t": 2**31 - 2})[1]["t"] == 2**31 - 1
    for t in (2**31 - 1, 2.0**31 - 1, 2**32):
        with pytest.raises(ValueError, match=rf"{rule}: config\['t'\] is {float(t)!r}, expected the number of steps"):
            step(w, w, {"t": t})


@pytest.mark.parametrize("rule", COUNTING)
def test_a_beta_whose_power_no_float_holds(backend, rule):
    """It is infinite, so what is divided by it vanishes."""
    config = {"beta1": 2.0**31, "t": 1000, "weight_decay": 0.0}
    with np.errstate(over="ignore"):
        w, config = getattr(optim, rule)(np.ones(3), np.ones(3), config)
    assert w.tolist() == [1, 1, 1] and config["t"] == 1001


@RULES
def test_entries_work_in_place(kernels, dtype, rule):
    """The next arrays may be the old ones."""
    apart, inside = make_call(f"optim.{rule}", dtype, 61, 7), make_call(f"optim.{rule}", dtype, 61, 7)
    for out, old in ((5, 1), (6, 3), (7, 4)):
        inside.args[out] = inside.args[old]
    apart(kernels, 1)
    inside(kernels, 1)
    for one, other in zip(apart.results(), inside.results(), strict=True):
        same_form(one, other)
        np.testing.assert_array_equal(one, other)


def test_the_entry_refuses_an_unknown_rule(kernels):
    call = make_call("optim.adam", np.float64)
    for wrong in ("lion", "store", "STORE", ""):
        call.args[0] = wrong
        with pytest.raises(ValueError, match=f"rule is '{wrong}', expected one of sgd, "):
            call(kernels, 1)


def test_nesterov_is_the_momentum_that_looks_ahead():
    """The same as Nesterov's own equations, with the gradient taken at the point ahead of the parameter."""
    slope = normal("slope", 7, 7)
    slope = slope @ slope.T / 7 + np.eye(7)
    ahead, config = normal("w", 7), {"learning_rate": 0.05, "momentum": 0.8}
    theta, v = ahead.copy(), np.zeros(7)
    for _ in range(20):
        ahead, config = optim.nesterov(ahead, slope @ ahead, config)
        v = 0.8 * v - 0.05 * slope @ (theta + 0.8 * v)
        theta = theta + v
        np.testing.assert_allclose(ahead, theta + 0.8 * v, rtol=0, atol=1e-12)


def test_adamw_shrinks_and_takes_the_step_of_adam():
    w, dw = normal("w", 40, 30), normal("dw", 40, 30)
    state = state_of("adam", (40, 30), np.float64)
    settings = {"learning_rate": 0.1, "weight_decay": 0.2}
    step = optim.adam(w, dw, dict(state, learning_rate=0.1))[0] - w
    next_w, config = optim.adamw(w, dw, state | settings)
    np.testing.assert_allclose(next_w, w * (1 - 0.1 * 0.2) + step, rtol=0, atol=1e-14)
    # The moments know nothing of the decay.
    other = optim.adamw(w * 3, dw, state | settings)[1]
    np.testing.assert_array_equal(config["m"], other["m"])
    np.testing.assert_array_equal(config["v"], other["v"])
