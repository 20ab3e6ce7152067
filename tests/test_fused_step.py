"""The Solver's step in one kernel call gives what the layers and update rules give, whatever a user changes."""

import copy

import numpy as np
import pytest
from adversarial import frozen
from fusing import KINDS, alike, by_layers, data_of, net_of, record, solver_of
from stepping import ADAPTIVE, RULES, STATE_KEYS

pytestmark = pytest.mark.compiled


@pytest.fixture
def calls(monkeypatch):
    return record(monkeypatch)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("hidden", [(), (9,), (9, 17)], ids=len)
def test_a_training_is_that_of_the_layers(monkeypatch, calls, rule, kind, hidden):
    def trained():
        np.random.seed(9)
        # A larger eps of the rule: a gradient that is zero but for rounding is not blown up to a step.
        solver = solver_of(rule, net_of(kind, hidden), optim_config={"learning_rate": 1e-2} | (
            {"epsilon": 1e-3} if rule in ADAPTIVE else {}))
        solver.train()
        return solver, np.random.get_state()[1:3]

    mine, after = trained()
    assert calls == [True] * 9
    by_layers(monkeypatch)
    other, expected_after = trained()
    alike(mine, other)
    np.testing.assert_array_equal(after[0], expected_after[0])
    assert after[1] == expected_after[1]


@pytest.mark.parametrize("rule", RULES)
def test_what_the_user_gave_stays(rule, calls):
    model, config = net_of("batchnorm"), {"learning_rate": 1e-2}
    given, data = dict(model.params), data_of()
    before, before_data = frozen(given), frozen(data)
    solver = solver_of(rule, model, data, optim_config=config)
    solver.train()
    assert all(calls) and frozen(data) == before_data and config == {"learning_rate": 1e-2}
    # The rule sgd is defined to work in place.
    assert (frozen(given) == before) == (rule != "sgd")


@pytest.mark.parametrize("rule", RULES[1:])
def test_states_that_the_user_gave_stay(rule, calls):
    solver = solver_of(rule)
    given = {name: {key: np.full_like(w, 0.5) for key in STATE_KEYS[rule]} for name, w in solver.model.params.items()}
    before = frozen(given)
    for name, states in given.items():
        solver.optim_configs[name].update(states)
    solver._step()
    assert calls == [True] and frozen(given) == before
    for name, states in given.items():
        for key in states:
            assert frozen(solver.optim_configs[name][key]) != frozen(states[key])


@pytest.mark.parametrize("rule", RULES)
def test_arrays_are_kept_from_step_to_step(rule, calls):
    solver = solver_of(rule)
    solver._step()
    held = [(params, key, params[key]) for params in (solver.model.params, *solver.optim_configs.values())
            for key in params if isinstance(params[key], np.ndarray)]
    before = frozen(solver.model.params)
    solver._step()
    assert all(calls) and frozen(solver.model.params) != before
    assert all(params[key] is array for params, key, array in held)


def _replace_parameter(solver):
    solver.model.params["W1"] = solver.model.params["W1"] * 0.5


def _write_into_parameter(solver):
    solver.model.params["W2"][...] *= 0.5


def _replace_state(solver):
    for config in solver.optim_configs.values():
        config["m"] = config["m"] * 0.0


def _forget_state(solver):
    solver.optim_configs = {name: {"learning_rate": 2e-2} for name in solver.model.params}


def _one_rate(solver):
    solver.optim_configs["W1"]["learning_rate"] = 0.0


def _count_again(solver):
    solver.optim_configs["W2"]["t"] = 0


def _other_data(solver):
    solver.X_train, solver.y_train = solver.X_train[:30] + 1, solver.y_train[:30].astype(np.int32)


def _write_into_data(solver):
    solver.X_train[...] *= 2
    solver.y_train[...] = (solver.y_train + 1) % 4


def _more_reg(solver):
    solver.model.reg = 0.7


def _read_only(solver):
    for w in (*solver.model.params.values(), *(config["m"] for config in solver.optim_configs.values())):
        w.setflags(write=False)


def _other_statistics(solver):
    for entry in solver.model.bn_params:
        entry.update(eps=1e-2, momentum=0.5, running_mean=np.ones_like(entry["running_mean"]))


def _no_norm(solver):
    solver.model.normalization = None
    for i in (1, 2):
        del solver.model.params[f"gamma{i}"], solver.model.params[f"beta{i}"]


def _other_spelling(solver):
    solver.model.normalization = "batch_norm"


def _dropout(solver):
    solver.model.use_dropout, solver.model.dropout_param = True, {"p": 0.5, "mode": "test"}


def _copied(solver):
    solver.model.params = dict(copy.deepcopy(solver.model.params))


def _odd_layout(solver):
    solver.model.params["W1"] = np.asfortranarray(solver.model.params["W1"])


CHANGES = [value for name, value in sorted(globals().items()) if name.startswith("_") and callable(value)
           and getattr(value, "__module__", None) == __name__]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_changes_between_steps_are_seen(monkeypatch, change):
    def stepped():
        np.random.seed(9)
        solver = solver_of("adam", net_of("batchnorm"), optim_config={"learning_rate": 1e-2, "epsilon": 1e-3})
        for _ in range(2):
            solver._step()
        before = solver.loss_history[-1]
        change(solver)
        for _ in range(3):
            solver._step()
        assert solver.loss_history[-1] != before
        return solver

    mine = stepped()
    by_layers(monkeypatch)
    alike(mine, stepped())


def test_odd_settings_are_those_of_the_rules(monkeypatch):
    """Numbers that the kernel does not take: the rules take them, or say what is wrong."""
    for rate in (np.array(0.01), np.float32(0.01), np.float64(0.01), 1):
        both = []
        for patch in (False, True):
            with monkeypatch.context() as context:
                if patch:
                    by_layers(context)
                np.random.seed(9)
                both.append(solver_of(optim_config={"learning_rate": rate, "epsilon": 1e-3}))
                both[-1].train()
        alike(*both)
    for rate in ("a", [0.1], None, True, np.zeros(2)):
        with pytest.raises(TypeError, match=r"^adam: config\['learning_rate'\] is "):
            solver_of(optim_config={"learning_rate": rate}).train()
