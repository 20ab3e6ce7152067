"""The Solver's step for ThreeLayerConvNet: the numbers of the layers, updated in place."""

import warnings

import numpy as np
import pytest
from adversarial import frozen, normal
from stepping import RULES

import daseCV_c
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.solver import Solver

SHAPE = (2, 9, 10)  # an odd height: the last row is left out by the pooling


class Layers(Solver):
    """A Solver that draws its batches itself, so that the layers do the work."""

    def _batch(self, index):
        return super()._batch(index)


def net_of(dtype=np.float64, shape=SHAPE, **more):
    np.random.seed(3)
    arguments = {"num_filters": 5, "filter_size": 3, "hidden_dim": 19, "num_classes": 7, "weight_scale": 0.2,
                 "reg": 0.02, "dtype": dtype}
    return ThreeLayerConvNet(shape, **arguments | more)


def data_of(shape=SHAPE, n=40, classes=7, pixels=False):
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((n, *shape)), rng.integers(0, classes, n)
    if not pixels:
        return {"X_train": X, "y_train": y, "X_val": X[:9], "y_val": y[:9]}
    X = (40 * X + 128).clip(0, 255).astype(np.uint8)
    return {"X_train": X, "y_train": y, "X_val": X[:9], "y_val": y[:9], "mean_image": X.mean(axis=0) + 1 / 3}


def trained(net, data, kind=Solver, rule="adam", batch=13, epochs=4):
    np.random.seed(8)
    solver = kind(net, data, update_rule=rule, optim_config={"learning_rate": 2e-3}, batch_size=batch,
                  num_epochs=epochs, lr_decay=0.9, verbose=False)
    solver.train()
    return solver


def in_place(solver):
    """The last step updated the step's own arrays."""
    held = solver._fused._arrays
    return bool(held) and all(config.get(key) is held[name][k]
                              for name, config in solver.optim_configs.items()
                              for k, key in enumerate(("m", "v"), 1))


@pytest.mark.compiled
@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_the_numbers_of_the_layers(level, dtype, rule, pixels):
    data = data_of(pixels=pixels)
    data_before = frozen(data)
    found, expected = (trained(net_of(dtype), data, kind, rule) for kind in (Solver, Layers))
    assert found._fused._arrays and not expected._fused._arrays
    limit = 1e-12 if dtype is np.float64 else 3e-5
    np.testing.assert_allclose(found.loss_history, expected.loss_history, rtol=limit)
    assert found.val_acc_history == expected.val_acc_history
    for name, value in expected.model.params.items():
        np.testing.assert_allclose(found.model.params[name], value, rtol=0, atol=10 * limit)
        one, other = found.optim_configs[name], expected.optim_configs[name]
        assert one.keys() == other.keys()
        for key in other:
            np.testing.assert_allclose(one[key], other[key], rtol=100 * limit, atol=10 * limit)
    assert found.loss_history[-1] != found.loss_history[0]
    assert frozen(data) == data_before


@pytest.mark.compiled
def test_same_bits_for_any_number_of_threads(level, dtype):
    shape, ends = (3, 20, 24), set()
    for threads in (1, 2, 3):
        with daseCV_c.num_threads(threads):
            solver = trained(net_of(dtype, shape, num_filters=16, hidden_dim=70), data_of(shape), batch=30)
        assert in_place(solver)
        ends.add(str(frozen([solver.loss_history, solver.model.params])))
    assert len(ends) == 1


@pytest.mark.compiled
def test_the_users_arrays_stay_as_they_were(level, dtype):
    net = net_of(dtype)
    own = dict(net.params)
    before = frozen(own)
    solver = trained(net, data_of())
    assert in_place(solver) and frozen(own) == before
    kept = frozen(solver.best_params)
    solver._step()
    assert frozen(solver.best_params) == kept


@pytest.mark.compiled
def test_what_is_changed_between_steps_counts(level):
    """Parameters, state, settings and a batch of another size."""
    losses = []
    for kind in (Solver, Layers):
        solver = trained(net_of(), data_of(), kind, epochs=1)
        np.random.seed(4)
        solver.model.params["W2"] = solver.model.params["W2"] * 1.5
        solver.optim_configs["b3"]["m"] = np.ones(7)
        solver.optim_configs["W1"]["learning_rate"] = 0.1
        solver._step()
        solver.batch_size = 17
        solver.model.reg = 0.5
        solver._step()
        solver.batch_size = 4
        solver._step()
        losses.append(solver.loss_history)
        assert in_place(solver) == (kind is Solver)
    np.testing.assert_allclose(*losses, rtol=1e-12)


def _oblong(net):
    net.params["W1"] = normal("oblong", 5, 2, 1, 1, dtype=np.float64)
    net.params["W1"] = np.concatenate([net.params["W1"]] * 3, axis=3)


def _strided(net):
    net.params["W2"] = np.repeat(net.params["W2"], 2, axis=1)[:, ::2]


def _single(net):
    net.params["b2"] = net.params["b2"].astype(np.float32)


@pytest.mark.compiled
@pytest.mark.parametrize("change", [_strided, _single], ids=lambda f: f.__name__)
def test_other_arrays_are_left_to_the_layers(level, change):
    nets = [net_of(), net_of()]
    for net in nets:
        change(net)
    losses = [trained(net, data_of(), kind, epochs=1).loss_history for net, kind in zip(nets, (Solver, Layers),
                                                                                     strict=True)]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def _reshaped(w):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy 2.5
        w.shape = (w.size,) if w.ndim > 1 else (1, w.size)


def _retyped(dtype):
    def change(w):
        w.dtype = dtype
    change.__name__ = str(dtype)
    return change


@pytest.mark.compiled
@pytest.mark.parametrize("clip", [None, 5.0])
@pytest.mark.parametrize("name", ["W1", "b1", "W3"])
@pytest.mark.parametrize("change", [
    _reshaped, *map(_retyped, ["i8", "V8", ">f8", "M8[s]", [("a", "f4"), ("b", "f4")]])], ids=lambda f: f.__name__)
def test_what_is_changed_in_place_between_steps_is_named(level, change, name, clip):
    """The arrays are the very ones of the step before, and no longer what they were."""
    solver = Solver(net_of(), data_of(), update_rule="adam", batch_size=13, clip_norm=clip, verbose=False)
    solver._step()
    change(solver.model.params[name])
    others = {key: w.copy() for key, w in solver.model.params.items() if key != name}
    with pytest.raises((TypeError, ValueError), match=r"^(Solver: [Wb]1 has .*, expected|train_step: weights )"):
        solver._step()
    assert len(solver.loss_history) == 1
    assert all(np.array_equal(w, solver.model.params[key]) for key, w in others.items())


@pytest.mark.parametrize(("name", "said"), [
    ("W1", "W1 has shape .*, expected 4 dimensions"), ("W2", "W2 has shape .*, expected 2 dimensions"),
    ("W3", "the last weight matrix has shape .*, expected 2 dimensions")])
def test_parameters_of_another_shape_are_named(backend, name, said):
    net, data = net_of(), data_of()
    net.params[name] = net.params[name].reshape(-1)
    with pytest.raises(ValueError, match=f"^ThreeLayerConvNet.loss: {said}"):
        net.loss(data["X_val"], data["y_val"])


@pytest.mark.compiled
def test_a_loss_of_ones_own_is_asked(level):
    class Own(ThreeLayerConvNet):
        def loss(self, X, y=None):
            found = super().loss(X, y)
            return found if y is None else (found[0] + 100, found[1])

    np.random.seed(3)
    solver = trained(Own(SHAPE, 5, 3, 19, 7), data_of(), epochs=1)
    assert min(solver.loss_history) > 100 and not solver._fused._arrays


@pytest.mark.parametrize(("change", "data", "message"), [
    (None, data_of((2, 9, 14)), "X of shape .* features after pooling"),
    (None, data_of((3, 9, 10)), "X has 3 channels"),
    (None, data_of((180,)), "X has 2 dimensions"), (None, data_of(classes=9), "y_train holds"),
    (_oblong, data_of(), "w has filters|features|shape"),
])
def test_errors_are_those_of_the_layers(backend, change, data, message):
    net = net_of()
    if change:
        change(net)
    before = frozen(net.params)
    with pytest.raises(ValueError, match=message):
        trained(net, data)
    assert frozen(net.params) == before


# ---- the kernels behind it

def _layers(dtype, features=37, hidden=21, classes=5):
    """What train_step takes with rule None, and the gradients it fills."""
    w = [normal("w2", features, hidden, dtype=dtype), normal("b2", hidden, dtype=dtype),
         normal("w3", hidden, classes, dtype=dtype), normal("b3", classes, dtype=dtype)]
    grads = [np.empty_like(a) for a in w]
    pairs = [(a, g, None) for a, g in zip(w, grads, strict=True)]
    rows = [(pairs[k], pairs[k + 1], *[None] * 6, 0.3, None, None) for k in (0, 2)]
    return w, grads, rows


@pytest.mark.parametrize(("n", "features", "hidden"), [(1, 1, 1), (9, 37, 21), (50, 530, 300), (300, 33, 270)])
def test_gradient_of_the_input(kernels, dtype, n, features, hidden):
    (w2, b2, w3, b3), grads, rows = _layers(dtype, features, hidden)
    x, y = np.maximum(normal("x", n, features, dtype=dtype), 0), np.arange(n) % 5
    with daseCV_c.use_backend("numpy"):
        from daseCV_c import layers
        double = [a.astype(np.float64) for a in (x, w2, b2, w3, b3)]
        h, cache2 = layers.affine_forward(*double[:3])
        scores, cache3 = layers.affine_forward(np.maximum(h, 0), *double[3:])
        loss, dout = layers.softmax_loss(scores, y)
        dout = layers.affine_backward(dout, cache3)[0] * (h > 0)
        expected = layers.affine_backward(dout, cache2)[0] * (x > 0)
    found = set()
    for threads in (1, 2, 3):
        dx = np.full_like(x, np.nan)
        total = kernels.step.train_step(x, None, None, y, rows, None, None, threads, dx_nd=dx)
        assert total == pytest.approx(loss + 0.15 * ((w2.astype(float) ** 2).sum() + (w3.astype(float) ** 2).sum()),
                                      rel=1e-5)
        limit = 1e-12 if dtype is np.float64 else 1e-5
        np.testing.assert_allclose(dx, expected, rtol=0, atol=limit * max(1, np.abs(expected).max()))
        assert not dx[x == 0].any()
        found.add(dx.tobytes() + b"".join(g.tobytes() for g in grads))
    assert len(found) == 1
    without = [g.copy() for g in grads]
    kernels.step.train_step(x, None, None, y, rows, None, None, 1)
    assert frozen(grads) == frozen(without), "asking for dx changed the other gradients"


def test_gradient_of_the_input_is_refused_where_it_makes_no_sense(kernels, dtype):
    _, _, rows = _layers(dtype)
    x, y = normal("x", 6, 37, dtype=dtype), np.arange(6) % 5
    other = np.float32 if dtype is np.float64 else np.float64
    fixed = np.empty_like(x)
    fixed.setflags(write=False)
    step = kernels.step.train_step
    for images, index, mean, dx in (
            (x, np.arange(6), None, x.copy()), (x, None, np.zeros(37), x.copy()),
            (x.astype(other), None, None, x.copy()),
            (x, None, None, x[:5].copy()), (x, None, None, x.astype(other)), (x, None, None, fixed),
            (x, None, None, x.T.copy().T)):
        with pytest.raises((ValueError, TypeError), match="dx"):
            step(images, index, mean, y, rows, None, None, 1, dx_nd=dx)
