"""The average of parameters: against sums in float64, in place of the model's own for a while, and in a checkpoint."""

import math

import numpy as np
import pytest
from adversarial import frozen, rng_of
from fusing import net_of, record, solver_of

from daseCV_c._step.fully_connected import FusedStep
from daseCV_c._training import averaging
from daseCV_c._training.averaging import Averaging
from daseCV_c._training.weights import Weights
from daseCV_c.callbacks import Callback


class Model:
    """Parameters in small and large arrays, and batch norm's statistics."""

    def __init__(self, dtype=np.float64):
        self.dtype, self.bn_params = dtype, [{"mode": "train"}, {"mode": "train"}]
        self.params = {}
        self.move(0)

    def move(self, t):
        rng = rng_of("move", t)
        shapes = {"W1": (80, 70), "b1": (70,), "W2": (70, 3), "b2": (3,)}
        self.params.update({name: rng.standard_normal(shape).astype(self.dtype) for name, shape in shapes.items()})
        for entry in self.bn_params:
            entry.update(running_mean=rng.standard_normal(70).astype(self.dtype),
                         running_var=rng.random(70).astype(self.dtype))

    def numbers(self):
        statistics = [entry[key] for entry in self.bn_params for key in ("running_mean", "running_var")]
        return [*self.params.values(), *statistics]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """W1 is cut into blocks; some small arrays share one, others do not fit."""
    monkeypatch.setattr(averaging, "_BLOCK", 250)


def averaged(average, model):
    with average.applied(model):
        return [array.copy() for array in model.numbers()]


def weighted(history, weights):
    return [sum(w * x.astype(np.float64) for w, x in zip(weights, arrays, strict=True)) / sum(weights)
            for arrays in zip(*history, strict=True)]


def close(found, expected, dtype):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_decay_weighs_each_step_by_its_age(decay, dtype):
    model, average, history = Model(dtype), Averaging({"decay": decay}), []
    for t in range(20):
        model.move(t)
        history.append([array.copy() for array in model.numbers()])
        average.after_step(model)
        average.after_epoch(model, 0)
        weights = [decay ** (t - i) if t > i else 1.0 for i in range(t + 1)]
        close(averaged(average, model), weighted(history, weights), dtype)


def test_last_is_the_mean_of_the_last_epochs(dtype):
    model, average, history = Model(dtype), Averaging({"last": 3}), []
    for epoch in range(8):
        model.move(epoch)
        average.after_step(model)
        average.after_epoch(model, 7 - epoch)
        history.append([array.copy() for array in model.numbers()])
        last = history[5:] or history[-1:]
        close(averaged(average, model), weighted(last, [1] * len(last)), dtype)
    # Two more epochs: the last three are others now.
    for epoch in (8, 9):
        model.move(epoch)
        average.after_epoch(model, 9 - epoch)
        history.append([array.copy() for array in model.numbers()])
    close(averaged(average, model), weighted(history[8:], [1, 1]), dtype)


def test_the_model_has_the_average_for_a_while():
    model, average = Model(), Averaging({"decay": 0.5})
    with average.applied(model):
        assert all(array is own for array, own in zip(model.numbers(), model.numbers(), strict=True))
    average.after_step(model)
    model.move(1)
    average.after_step(model)
    own, values = model.numbers(), [array.copy() for array in model.numbers()]
    with pytest.raises(KeyError, match="within"), average.applied(model):
        assert not any(np.shares_memory(array, mine) for array, mine in zip(model.numbers(), own, strict=True))
        raise KeyError("within")
    assert all(a is b for a, b in zip(model.numbers(), own, strict=True))
    assert all((a == b).all() for a, b in zip(own, values, strict=True))


@pytest.mark.parametrize("settings", [{"decay": 0.9}, {"last": 6}])
def test_it_goes_on_from_its_state(settings, dtype):
    def run(average, times, model):
        for t in times:
            model.move(t)
            average.after_step(model)
            average.after_epoch(model, 7 - t)

    whole, model = Averaging(settings), Model(dtype)
    run(whole, range(8), model)
    expected = averaged(whole, model)
    for split in range(1, 8):
        first, second, model = Averaging(settings), Averaging(settings), Model(dtype)
        run(first, range(split), model)
        state = first.state()
        second.load_state({"count": state["count"], "means": [array.copy() for array in state["means"]]})
        run(second, range(split, 8), model)
        for a, b in zip(averaged(second, model), expected, strict=True):
            assert a.tobytes() == b.tobytes()


def test_a_state_that_is_none_changes_nothing():
    average = Averaging({"decay": 0.9})
    average.after_step(Model())
    before = frozen(average.state())
    for state in ({}, {"count": -1, "means": []}, {"count": 1, "means": [1.0]}, {"count": 1, "means": {}},
                  {"count": 1, "means": [np.arange(3)]}):
        with pytest.raises((TypeError, ValueError), match="state"):
            average.load_state(state)
        assert frozen(average.state()) == before


def test_a_changed_network_begins_anew():
    model, average = Model(), Averaging({"decay": 0.9})
    average.after_step(model)
    model.params["W2"] = np.ones((70, 4))
    model.params["more"] = np.arange(3)  # integers are left alone
    with average.applied(model):
        pass
    average.after_step(model)
    assert average.count == 1
    with average.applied(model):
        assert (model.params["W2"] == 1).all() and model.params["more"].dtype.kind == "i"


@pytest.mark.parametrize("settings, error, message", [
    ({}, ValueError, "average is {}, expected {'last': epochs} or {'decay': number}"),
    ({"last": 3, "decay": 0.9}, ValueError, "expected {'last': epochs} or"),
    ({"lst": 3}, ValueError, "average is {'lst': 3}"),
    (0.99, TypeError, "average is a float, expected a dict"),
    ({"last": 0}, ValueError, r"average\['last'\] is 0"),
    ({"last": 2.5}, TypeError, r"average\['last'\] is 2.5"),
    ({"decay": 1}, ValueError, r"average\['decay'\] is 1.0, expected a number from 0, below 1"),
    ({"decay": -0.1}, ValueError, r"average\['decay'\] is -0.1"),
    ({"decay": math.nan}, ValueError, r"average\['decay'\] is nan"),
])
def test_settings_that_are_none(settings, error, message):
    with pytest.raises(error, match=message):
        Averaging(settings)


# ---- in the Solver

class Spy(Callback):
    """The parameters and statistics after each step."""

    def __init__(self):
        self.seen = []

    def on_step_end(self, solver):
        self.seen.append(Weights.of(solver.model).copy())


def train(average=None, kind="batchnorm", **options):
    solver = solver_of(model=net_of(kind), average=average, callbacks=[Spy()], num_epochs=6, **options)
    np.random.seed(1)
    solver.train()
    return solver, solver.callbacks[0].seen


@pytest.mark.parametrize("average", [{"decay": 0.9}, {"last": 3}])
def test_training_goes_on_as_it_would(backend, average):
    plain, averaged = train(), train(average)
    assert plain[0].loss_history == averaged[0].loss_history
    for one, two in zip(plain[1], averaged[1], strict=True):
        assert frozen(one) == frozen(two)


@pytest.mark.parametrize("average", [{"decay": 0.9}, {"last": 3}])
def test_what_is_checked_is_the_average_and_is_put_back(backend, average):
    solver, seen = train(average)
    checks = [1, 3, 6, 9, 12, 15, 18]
    expected = []
    for k, done in enumerate(checks):
        if "decay" in average:
            steps, weights = seen[:done], 0.9 ** np.arange(done)[::-1]
        else:
            steps = [seen[i - 1] for i in checks[4:k + 1]] or [seen[done - 1]]
            weights = np.ones(len(steps))
        mean = {name: sum(w * step.params[name] for w, step in zip(weights, steps, strict=True)) / weights.sum()
                for name in steps[0].params}
        statistics = [{key: sum(w * step.statistics[i][key] for w, step in zip(weights, steps, strict=True))
                       / weights.sum() for key in entry} for i, entry in enumerate(steps[0].statistics)]
        expected.append((mean, statistics))
    model = net_of("batchnorm")
    accuracies = []
    for mean, statistics in expected:
        Weights(mean, statistics).put_into(model)
        accuracies.append(np.mean(np.argmax(model.loss(solver.X_val), 1) == solver.y_val))
    assert solver.val_acc_history == accuracies
    best = 4 + int(np.argmax(accuracies[4:])) if "last" in average else int(np.argmax(accuracies))
    assert solver.best_val_acc == accuracies[best]
    for found in (solver.best_params, solver.model.params):
        for name, w in expected[best][0].items():
            np.testing.assert_allclose(found[name], w, rtol=0, atol=1e-12)
    for entry, found in zip(expected[best][1], solver.model.bn_params, strict=True):
        np.testing.assert_allclose(found["running_mean"], entry["running_mean"], rtol=0, atol=1e-12)


@pytest.mark.compiled
@pytest.mark.parametrize("average", [{"decay": 0.9}, {"last": 3}])
def test_the_step_stays_fused(monkeypatch, average):
    """In the very arrays that it keeps: a check has not made them anew."""
    taken, takeovers = record(monkeypatch), []
    take_over = FusedStep._take_over
    monkeypatch.setattr(FusedStep, "_take_over", lambda *args: takeovers.append(1) or take_over(*args))
    train(average)
    assert taken == [True] * 18 and len(takeovers) == 1


def test_a_stopped_training_goes_on(backend):
    for average in ({"decay": 0.9}, {"last": 3}):
        whole, _ = train(average)
        halved = solver_of(model=net_of("batchnorm"), average=average, callbacks=[Stop()], num_epochs=6)
        np.random.seed(1)
        halved.train()
        assert halved.iteration == 14
        halved.train()
        assert frozen(whole.best_params) == frozen(halved.best_params)
        assert whole.val_acc_history == halved.val_acc_history and whole.val_loss_history == halved.val_loss_history


class Stop(Callback):
    def on_step_end(self, solver):
        return solver.iteration == 14


@pytest.mark.parametrize("sizes", [(200, 40, 5), (100, 200, 40, 230, 3)], ids=str)
def test_small_arrays_share_blocks_as_far_as_they_fit(sizes):
    arrays = [np.arange(float(size)) + size for size in sizes]
    copies, blocks = averaging._laid_out(arrays)
    assert sorted(i for block in blocks for i in block.members) == list(range(len(sizes)))
    assert all(sum(sizes[i] for i in block.members) <= averaging._BLOCK for block in blocks)
    for copy, array in zip(copies, arrays, strict=True):
        np.testing.assert_array_equal(copy, array)
