"""Gradients whose norm is clipped: the norm itself, and the steps that use it."""

import math
import pickle

import numpy as np
import pytest
from adversarial import rng_of
from fusing import KINDS, alike, by_layers, data_of, net_of, record, solver_of
from stepping import RULES

from daseCV_c import num_threads
from daseCV_c._training.clipping import Clipping, global_norm
from daseCV_c._training.divergence import DivergenceError
from daseCV_c.classifiers.cnn import ThreeLayerConvNet


def gradients(dtype=np.float64, scale=1.0):
    rng = rng_of("gradients")
    return [(scale * rng.standard_normal(shape)).astype(dtype) for shape in ((300, 200), (7,), (0,), (3, 2, 5, 5), ())]


def exact(arrays):
    return math.sqrt(math.fsum(float(x) ** 2 for array in arrays for x in np.asarray(array, np.float64).reshape(-1)))


def test_the_norm_is_that_of_all_numbers_together(backend, dtype):
    arrays = gradients(dtype)
    assert math.isclose(global_norm(arrays), exact(arrays), rel_tol=1e-14)
    assert global_norm([]) == 0 and global_norm([np.zeros((0, 3))]) == 0
    assert global_norm([np.array([[3.0]]), np.array([4.0])]) == 5


def test_the_norm_of_float32_is_summed_in_double(backend):
    # In float32 every number after the first would vanish, and the square of a large one is infinite.
    assert global_norm([np.array([1e4] + [1.0] * 1000, np.float32)]) == math.sqrt(1e8 + 1000)
    assert math.isclose(global_norm([np.full(4, 1e30, np.float32)]), 2e30, rel_tol=1e-6)


def test_the_norm_does_not_overflow(backend):
    assert math.isclose(global_norm(gradients(scale=1e200)), 1e200 * exact(gradients()), rel_tol=1e-14)
    assert global_norm([np.full(4, 1e308)]) == math.inf


def test_the_norm_does_not_depend_on_how_arrays_lie(backend):
    arrays = gradients()
    other = [np.asfortranarray(array)[::1].astype(array.dtype.newbyteorder()) for array in arrays]
    assert math.isclose(global_norm(other), global_norm(arrays), rel_tol=1e-14)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_shows_in_the_norm(backend, bad):
    arrays = gradients()
    arrays[3][0, 0, 0, 0] = bad
    norm = global_norm(arrays)
    assert norm == math.inf if math.isinf(bad) else math.isnan(norm)
    arrays[0][0, 0] = math.nan
    assert math.isnan(global_norm(arrays))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 4095, 4096, 4097, 50_001])
def test_the_kernel_sums_squares_in_blocks(kernels, dtype, size):
    x = rng_of(size).standard_normal(size).astype(dtype)
    x.flags.writeable = False
    found = {kernels.optim.sum_of_squares(x, threads) for threads in (1, 2, 5)}
    assert len(found) == 1 and math.isclose(found.pop(), exact([x]) ** 2, rel_tol=1e-14)
    with pytest.raises(ValueError, match="sum_of_squares: x"):
        kernels.optim.sum_of_squares(np.zeros(8 * 5 + 1, np.uint8)[1:].view(dtype), 1)


@pytest.mark.parametrize("value, error", [(0, ValueError), (-1, ValueError), (math.nan, ValueError), ("1", TypeError),
                                          (True, TypeError)])
def test_a_bound_that_is_none(value, error):
    with pytest.raises(error, match="Solver: clip_norm is"):
        Clipping(value)


# ---- the Solver's step

class Given:
    """A model with gradients that were decided before; its arrays must stay as they are."""

    def __init__(self, grads, loss=1.0):
        self.grads, self.given = {name: np.array(grad) for name, grad in grads.items()}, loss
        self.params = {name: np.zeros_like(grad) for name, grad in self.grads.items() if name != "X"}

    def loss(self, X, y=None):
        return np.zeros((len(X), 4)) if y is None else (self.given, self.grads)


@pytest.mark.parametrize("clip, scale", [(10.0, 1.0), (5.0, 1.0), (2.5, 0.5), (1e-3, 2e-4)])
def test_gradients_are_scaled_together(clip, scale):
    # X is no parameter: its gradient does not count.
    model = Given({"a": [3.0, 0.0], "b": [[4.0]], "X": [1e6]})
    solver = solver_of("sgd", model, clip_norm=clip, optim_config={"learning_rate": 1.0})
    solver._step()
    np.testing.assert_allclose(model.params["a"], [-3 * scale, 0], rtol=1e-15)
    np.testing.assert_allclose(model.params["b"], [[-4 * scale]], rtol=1e-15)
    assert model.grads["a"].tolist() == [3, 0] and model.grads["b"].tolist() == [[4]]


@pytest.mark.compiled
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", KINDS)
def test_one_kernel_and_the_layers_make_the_same_step(monkeypatch, rule, kind, dtype):
    def train():
        solver = solver_of(rule, net_of(kind, dtype=dtype), data_of(dtype), clip_norm=0.4)
        scales, scale = [], solver._clip.scale
        monkeypatch.setattr(solver._clip, "scale", lambda *args: scales.append(scale(*args)) or scales[-1])
        with np.errstate(all="ignore"):
            solver.train()
        return solver, scales

    taken = record(monkeypatch)
    mine, scales = train()
    assert all(taken) and len(taken) == len(mine.loss_history)
    assert any(scale < 1 for scale in scales)
    by_layers(monkeypatch)
    other, expected = train()
    tight = {"rtol": 1e-9, "atol": 1e-9} if dtype == np.float64 else {"rtol": 2e-3, "atol": 2e-3}
    np.testing.assert_allclose(scales, expected, **tight)
    np.testing.assert_allclose(mine.loss_history, other.loss_history, **tight)
    for name, w in other.model.params.items():
        np.testing.assert_allclose(mine.model.params[name], w, **tight)


@pytest.mark.compiled
@pytest.mark.parametrize("kind", ["plain", "dropout"])
def test_a_norm_that_is_never_reached_changes_nothing(kind):
    plain, clipped = solver_of(model=net_of(kind)), solver_of(model=net_of(kind), clip_norm=1e9)
    for solver in (plain, clipped):
        np.random.seed(1)
        solver.train()
    alike(clipped, plain)


@pytest.mark.compiled
def test_the_bits_do_not_depend_on_threads(dtype):
    found = set()
    for threads in (1, 2, 5):
        with num_threads(threads):
            solver = solver_of(model=net_of("batchnorm", (64, 65), dtype), data=data_of(dtype), clip_norm=0.05)
            np.random.seed(1)
            solver.train()
            found.add(b"".join(w.tobytes() for w in solver.model.params.values()) + repr(solver.loss_history).encode())
    assert len(found) == 1


@pytest.mark.compiled
@pytest.mark.parametrize("rule", ["sgd", "adam"])
@pytest.mark.parametrize("reg", [0.0, 0.3])
def test_one_kernel_and_the_layers_of_a_convolutional_network(monkeypatch, rule, reg, dtype):
    def train():
        np.random.seed(2)
        data = {name: x.reshape(-1, 1, 6, 2) if name[0] == "X" else x for name, x in data_of(dtype).items()}
        model = ThreeLayerConvNet((1, 6, 2), 3, 3, 7, 4, weight_scale=0.3, reg=reg, dtype=dtype)
        solver = solver_of(rule, model, data, clip_norm=0.2)
        solver.train()
        return solver

    taken = record(monkeypatch)
    mine = train()
    assert taken == [True] * 9
    by_layers(monkeypatch)
    other = train()
    tight = {"rtol": 1e-9, "atol": 1e-9} if dtype == np.float64 else {"rtol": 2e-3, "atol": 2e-3}
    np.testing.assert_allclose(mine.loss_history, other.loss_history, **tight)
    for name, w in other.model.params.items():
        np.testing.assert_allclose(mine.model.params[name], w, **tight)


def test_a_convolutional_network_is_clipped(backend):
    def train(clip):
        np.random.seed(2)
        data = {name: x.reshape(-1, 1, 6, 2) if name[0] == "X" else x for name, x in data_of().items()}
        model = ThreeLayerConvNet((1, 6, 2), 3, 3, 7, 4, weight_scale=0.3, dtype=np.float64)
        first = {name: w.copy() for name, w in model.params.items()}
        solver = solver_of("sgd", model, data, clip_norm=clip, optim_config={"learning_rate": 1.0})
        solver._step()
        return [model.params[name] - first[name] for name in first]

    plain, clipped = train(None), train(0.01)
    assert math.isclose(global_norm(clipped), 0.01, rel_tol=1e-9)
    for a, b in zip(plain, clipped, strict=True):
        np.testing.assert_allclose(b, a * 0.01 / global_norm(plain), rtol=1e-7, atol=1e-12)


def test_a_norm_that_is_not_finite_ends_the_training_before_the_step():
    model = Given({"a": [3.0], "W2": [np.inf]})
    solver = solver_of("sgd", model, clip_norm=1.0)
    with pytest.raises(DivergenceError, match="norm of the gradients is inf after 0 steps, with a finite loss; the "
                                              "first gradient with a NaN or an infinity is that of W2"):
        solver.train()
    assert model.params["a"] == 0 and model.params["W2"] == 0
    solver = solver_of("sgd", model, clip_norm=1.0, on_divergence="ignore")
    with np.errstate(all="ignore"):
        solver.train()
    assert len(solver.loss_history) == solver.num_iterations


def test_a_loss_that_is_not_finite_is_spoken_of_first():
    solver = solver_of("sgd", Given({"a": [np.nan]}, loss=np.nan), clip_norm=1.0)
    with pytest.raises(DivergenceError, match="the loss is nan at iteration 1"):
        solver.train()


def test_a_solver_that_clips_is_pickled():
    solver = solver_of(clip_norm=0.1)
    solver._step()
    other = pickle.loads(pickle.dumps(solver))
    for one in (solver, other):
        np.random.seed(1)
        one._step()
    alike(solver, other, atol=0)


def test_the_first_gradient_that_is_not_finite_is_named():
    gradients = {"a": np.ones(2), "b": np.array([np.inf]), "c": np.array([np.nan])}
    with pytest.raises(DivergenceError, match="that of b. The parameters"):
        Clipping(1.0).scale(gradients, 0.5, [])
