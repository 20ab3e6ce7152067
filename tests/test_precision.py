"""bfloat16 matrix products: how they are chosen everywhere, what they compute where the CPU has them."""

import itertools
import os
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from adversarial import SPECIAL, filled, frozen, normal, planted, small_integers
from bf16_kernels import INSTRUCTIONS, V4, where_available
from comparing import added, close, product_scale, same_bits, same_values

import daseCV_c
from daseCV_c import layer_utils
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.datasets import load_digits_images
from daseCV_c.layers import affine_backward, affine_forward
from daseCV_c.reference import affine_bf16 as twin
from daseCV_c.solver import Solver

# The rounding.

@pytest.mark.parametrize(("bits", "rounded"), [
    (0x3F800000, 0x3F800000), (0x3F808000, 0x3F800000), (0x3F808001, 0x3F810000), (0x3F807FFF, 0x3F800000),
    (0x3F818000, 0x3F820000), (0xBF818000, 0xBF820000), (0x3FFF8000, 0x40000000), (0x00000000, 0x00000000),
    (0x80000000, 0x80000000), (0x7F7F7FFF, 0x7F7F0000), (0x7F7F8000, 0x7F800000), (0xFF7FFFFF, 0xFF800000),
    (0x7F800000, 0x7F800000), (0xFF800000, 0xFF800000), (0x007FFFFF, 0x00000000), (0x80000001, 0x80000000),
    (0x00800000, 0x00800000),
], ids=hex)
def test_rounding_of_the_twin(bits, rounded):
    result = twin.round_to_bfloat16(np.array([bits], np.uint32).view(np.float32))
    assert result.dtype == np.float32 and hex(result.view(np.uint32)[0]) == hex(rounded)


def test_the_twin_keeps_nan():
    nans = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0xFF80FFFF, 0x7FC00000], np.uint32).view(np.float32)
    assert np.isnan(twin.round_to_bfloat16(nans)).all()


if find_spec("torch"):
    def test_rounding_is_torchs(script):
        script("import numpy as np, torch\nfrom daseCV_c.reference.affine_bf16 import round_to_bfloat16\n"
               "bits = np.random.default_rng(0).integers(0, 2**32, 100000, dtype=np.uint32)\n"
               "x = bits.view(np.float32)\nx = x[~(np.abs(x) < np.finfo(np.float32).smallest_normal)]\n"
               "np.testing.assert_array_equal(round_to_bfloat16(x), torch.from_numpy(x).bfloat16().float().numpy())\n")


def any_bits(n):
    """float32 numbers of every kind, ties and the ends of the range among them."""
    bits = np.random.default_rng(3).integers(0, 2**32, n, dtype=np.uint32)
    bits[::3] = bits[::3] & 0xFFFF0000 | 0x8000
    return bits.view(np.float32)


@where_available
@pytest.mark.parametrize("n", [1, 15, 33, 5000])
@pytest.mark.parametrize("trans", [False, True])
def test_each_factor_is_rounded_to_nearest_even(n, trans):
    """A product with 1 alone shows the rounded number itself."""
    x, one = any_bits(n), np.ones((1, 1), np.float32)
    column, row = np.empty((n, 1), np.float32), np.empty((1, n), np.float32)
    V4.affine_bf16.matmul(x.reshape((1, n) if trans else (n, 1)), one, column, trans, False, 1)
    V4.affine_bf16.matmul(one, x.reshape((n, 1) if trans else (1, n)), row, False, trans, 1)
    np.testing.assert_array_equal(column[:, 0], twin.round_to_bfloat16(x))
    np.testing.assert_array_equal(row[0], twin.round_to_bfloat16(x))


# The products.

SIZES = [
    (0, 3, 2), (3, 0, 2), (3, 2, 0), (0, 0, 0), (1, 1, 1), (1, 2, 3), (5, 7, 3), (12, 32, 2), (13, 33, 257),
    (11, 16, 31), (65, 129, 70), (257, 10, 131), (1, 300, 64), (300, 1, 64), (24, 64, 512), (25, 17, 513),
    (70, 515, 1031), (531, 47, 33), (277, 1070, 1057),
]


@where_available
@pytest.mark.parametrize(("trans_a", "trans_b"), list(itertools.product((False, True), repeat=2)))
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_product_of_rounded_factors(sizes, trans_a, trans_b):
    m, n, k = sizes
    for make in (normal, small_integers):
        a = make("a", *((k, m) if trans_a else (m, k)), dtype=np.float32)
        b = make("b", *((n, k) if trans_b else (k, n)), dtype=np.float32)
        before = frozen([a, b])
        # A frame around the output: nothing outside it may be written.
        frame = np.full((m + 2) * n, 77, np.float32)
        out = frame[n:n + m * n].reshape(m, n)
        V4.affine_bf16.matmul(a, b, out, trans_a, trans_b, 1)
        op_a, op_b = (twin.round_to_bfloat16(x.T if trans else x) for x, trans in ((a, trans_a), (b, trans_b)))
        if make is small_integers:
            same_values(out.copy(), op_a @ op_b)
        else:
            close(out, op_a.astype(np.float64) @ op_b, product_scale(op_a, op_b), added(k), form=False)
        assert (frame[:n] == 77).all() and (frame[n + m * n:] == 77).all()
        assert frozen([a, b]) == before


@where_available
@pytest.mark.parametrize(("trans_a", "trans_b"), list(itertools.product((False, True), repeat=2)))
@pytest.mark.parametrize("sizes", [(301, 257, 1501), (1030, 133, 257), (70, 1031, 600), (7, 9, 20001)], ids=str)
def test_same_bits_for_any_number_of_threads(sizes, trans_a, trans_b):
    m, n, k = sizes
    a = normal("a", *((k, m) if trans_a else (m, k)), dtype=np.float32)
    b = normal("b", *((n, k) if trans_b else (k, n)), dtype=np.float32)
    ends = set()
    for threads in (1, 2, 3, 7, -1, 0):
        out = np.full((m, n), 77, np.float32)
        V4.affine_bf16.matmul(a, b, out, trans_a, trans_b, threads)
        ends.add(out.tobytes())
    assert len(ends) == 1


if len(INSTRUCTIONS) > 1:
    @pytest.mark.compiled
    def test_each_kind_of_instructions_is_used(bfloat16):
        """Pairs are added in another order, so each kind has bits of its own."""
        x, w, b = (normal(k, *s, dtype=np.float32) for k, s in enumerate(((64, 300), (300, 50), (50,))))
        net = FullyConnectedNet([70], input_dim=300, weight_scale=0.1, dtype=np.float32)
        kinds = {}
        for kind in INSTRUCTIONS:
            V4.affine_bf16.use_amx(kind == "amx")
            kinds[kind] = affine_forward(x, w, b)[0], net.loss(x, np.arange(64) % 10)[1]["W1"]
        for one, other in zip(*kinds.values(), strict=True):
            assert not np.array_equal(one, other)
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(one).max())


@where_available
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("n", "d", "m"), [(5, 7, 3), (257, 1131, 10), (100, 301, 65), (3, 0, 4)], ids=str)
def test_bias_and_relu_are_added_in_float32(n, d, m, relu):
    x, w, b = (normal(k, *s, dtype=np.float32) for k, s in enumerate(((n, d), (d, m), (m,))))
    out = np.empty((n, m), np.float32)
    V4.affine_bf16.affine_forward(x, w, b, out, relu, 2)
    expected = twin.affine_forward(x, w, b)[0]
    x, w = twin.round_to_bfloat16(x), twin.round_to_bfloat16(w)
    close(out, np.maximum(expected, 0) if relu else expected, product_scale(x, w, b), added(d))


@where_available
@pytest.mark.parametrize(("n", "d", "m"), [(1, 1, 1), (9, 0, 40), (65, 3, 70), (1030, 301, 133)], ids=str)
def test_db_is_that_of_the_full_precision(n, d, m):
    x, dout = normal("x", n, d, dtype=np.float32), normal("dout", n, m, dtype=np.float32)
    dw, db, db0 = np.empty((d, m), np.float32), np.empty(m, np.float32), np.empty(m, np.float32)
    V4.affine_bf16.affine_backward_dw(x, dout, dw, db, 2)
    V4.affine.affine_backward_dw(x, dout, np.empty((d, m), np.float32), db0, 2)
    same_bits(db, db0)


@where_available
@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize(("n", "d", "m"), [(6, 5, 3), (70, 37, 33)], ids=str)
def test_special_values(bfloat16, n, d, m, position, kind):
    shapes = ((n, d), (d, m), (m,), (n, m))
    for change in (planted, filled):
        args = [normal(k, *s, dtype=np.float32) for k, s in enumerate(shapes)]
        args[position] = change(args[position], kind)
        x, w, b, dout = args
        with np.errstate(all="ignore"):
            out0, (dx0, dw0, db0) = twin.affine_forward(x, w, b)[0], twin.affine_backward(dout, (x, w, b))
            out, (dx, dw, db) = affine_forward(x, w, b)[0], affine_backward(dout, (x, w, b))
            x, w, rounded = (twin.round_to_bfloat16(a) for a in (x, w, dout))
            close(out, out0, product_scale(x, w, b), added(d))
            close(dx, dx0, product_scale(rounded, w.T), added(m))
            close(dw, dw0, product_scale(x.T, rounded), added(n))
            close(db, db0, np.abs(dout.astype(np.float64)).sum(axis=0), added(n))


@where_available
def test_nan_stays_through_relu(bfloat16):
    x, w, b = (normal(k, *s, dtype=np.float32) for k, s in enumerate(((6, 5), (5, 40), (40,))))
    x[2, 1] = np.nan
    out = layer_utils.affine_relu_forward(x, w, b)[0]
    assert np.isnan(out[2]).all() and np.isfinite(out[[0, 1, 3, 4, 5]]).all()


def test_levels_without_the_kernels_refuse(kernels):
    entries = getattr(kernels, "affine_bf16", None)
    if entries is not None and not entries.built():
        x = np.ones((2, 2), np.float32)
        with pytest.raises(RuntimeError, match="^matmul: .*without bfloat16"):
            entries.matmul(x, x, np.empty_like(x), False, False, 1)
    assert entries is None or entries.built() in (True, False)


def _wrong(array, out):
    yield array.tolist()
    yield array.astype(np.float64)
    yield array.astype(np.float16)
    yield array.astype(np.int32)
    yield array.astype(">f4")
    yield np.concatenate([array, array[:1]])
    yield array[:0].copy()
    yield np.concatenate([array, array], axis=-1)[..., ::2]
    yield array[None]
    misaligned = np.empty(array.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(array.shape)
    misaligned[...] = array
    yield misaligned
    yield None
    if out:
        yield np.broadcast_to(array, array.shape)


@where_available
def test_entries_refuse_wrong_arrays():
    x, w, b, dout = (normal(k, *s, dtype=np.float32) for k, s in enumerate(((6, 5), (5, 4), (4,), (6, 4))))
    calls = [
        ("affine_forward", [x, w, b, dout.copy(), True], 3),
        ("affine_backward_dx", [dout, w, x.copy()], 2),
        ("affine_backward_dw", [x, dout, w.copy(), b.copy()], 2),
        ("matmul", [x, w, dout.copy(), False, False], 2),
    ]
    for name, args, first_out in calls:
        for position in (k for k, a in enumerate(args) if isinstance(a, np.ndarray)):
            for wrong in _wrong(args[position], position >= first_out):
                changed = [wrong if k == position else a for k, a in enumerate(args)]
                before = frozen(changed)
                with pytest.raises((ValueError, TypeError)):
                    getattr(V4.affine_bf16, name)(*changed, 1)
                    pytest.fail(f"{name} took argument {position}: {wrong!r}")
                assert frozen(changed) == before


# The choice.

def layer_results(dtype):
    x, w, b, dout = (normal(k, *s, dtype=dtype) for k, s in enumerate(((40, 7, 9), (63, 33), (33,), (40, 33))))
    b = 60 * np.sign(b)  # far from zero: rounding switches no ReLU
    out, cache = affine_forward(x, w, b)
    relu, relu_cache = layer_utils.affine_relu_forward(x, w, b)
    return [out, *affine_backward(dout, cache), relu, *layer_utils.affine_relu_backward(dout, relu_cache)]


@where_available
def test_layers_use_it_for_float32_alone(bfloat16):
    with daseCV_c.set_matmul_precision("highest"):
        exact, double = layer_results(np.float32), layer_results(np.float64)
        with daseCV_c.set_matmul_precision("bfloat16"):
            rounded = layer_results(np.float32)
            same_bits(layer_results(np.float64), double)
        same_bits(layer_results(np.float32), exact)
    for position, (one, other) in enumerate(zip(rounded, exact, strict=True)):
        assert one.dtype == np.float32
        if position in (3, 7):  # db
            same_bits(one, other)
        else:
            assert not np.array_equal(one, other), f"result {position} is not rounded"
            assert np.linalg.norm(one - other) < 0.01 * np.linalg.norm(other)


@where_available
def test_mixed_dtypes_are_float64(bfloat16):
    x, w, b = np.ones((2, 3), np.float32), np.full((3, 2), 1 + 2.0**-20), np.zeros(2, np.float32)
    np.testing.assert_array_equal(affine_forward(x, w, b)[0], x @ w)


@where_available
def test_numpy_backend_stays_in_full_precision(bfloat16):
    with daseCV_c.use_backend("numpy"):
        held = layer_results(np.float32)
        with daseCV_c.set_matmul_precision("highest"):
            same_bits(layer_results(np.float32), held)
        assert daseCV_c.get_matmul_precision() == "bfloat16"


def test_default_is_highest(script):
    assert script("import daseCV_c; print(daseCV_c.get_matmul_precision())").split() == ["highest"]


def test_highest_is_always_there(backend):
    daseCV_c.set_matmul_precision("highest")
    assert daseCV_c.get_matmul_precision() == "highest"


@where_available
def test_call_and_context_manager(bfloat16):
    get, choose = daseCV_c.get_matmul_precision, daseCV_c.set_matmul_precision
    assert get() == "bfloat16"
    with choose("highest"):
        assert get() == "highest"
        with choose("bfloat16"):
            assert get() == "bfloat16"
        assert get() == "highest"
    assert get() == "bfloat16"
    with pytest.raises(KeyError), choose("highest"):
        raise KeyError
    assert get() == "bfloat16"
    choose("highest")
    assert get() == "highest"
    with bfloat16:  # begun when 'highest' was in force
        pass
    assert get() == "highest"


@pytest.mark.parametrize("name", ["float32", "BFLOAT16", "", "bf16", "medium", None, 1, True, ["highest"], np.float32],
                         ids=str)
def test_refused_names(name):
    with pytest.raises(ValueError, match="^set_matmul_precision: precision is .*'highest', 'bfloat16'"):
        daseCV_c.set_matmul_precision(name)
    assert daseCV_c.get_matmul_precision() == "highest"


def pretend(monkeypatch, cpu=True, built=True, level="v4", backend="compiled", runtime=True):
    entries = SimpleNamespace(affine_bf16=SimpleNamespace(built=lambda: built, use_amx=lambda on: False))
    found = SimpleNamespace(has_bf16=lambda: cpu, has_amx=lambda: False)
    monkeypatch.setattr(_backend, "runtime", found if runtime else None)
    monkeypatch.setattr(_backend, "_kernels", {np.dtype(np.float32): entries} if runtime else None)
    monkeypatch.setattr(_backend, "level", level)
    monkeypatch.setattr(_backend, "_active", backend)


@pytest.mark.parametrize(("missing", "reason"), [
    ({"cpu": False}, "this CPU has no AVX512_BF16"),
    ({"cpu": False, "built": False, "level": "v3"}, "this CPU has no AVX512_BF16"),
    ({"built": False, "level": "v3"}, "the instruction-set level in use is 'v3', and only 'v4'"),
    ({"built": False}, "the compiler that built the kernels"),
    ({"backend": "numpy"}, "the backend is 'numpy'"),
    ({"runtime": False, "backend": "numpy"}, "not built; run: .*python "),
], ids=str)
def test_not_available_says_why(monkeypatch, missing, reason):
    pretend(monkeypatch)
    with daseCV_c.set_matmul_precision("bfloat16"):
        assert daseCV_c.get_matmul_precision() == "bfloat16"
    pretend(monkeypatch, **missing)
    with pytest.raises(RuntimeError, match=f"^set_matmul_precision: 'bfloat16' is not available: .*{reason}"):
        daseCV_c.set_matmul_precision("bfloat16")
    assert daseCV_c.get_matmul_precision() == "highest"
    daseCV_c.set_matmul_precision("highest")


@pytest.mark.compiled
def test_show_config(monkeypatch, capsys):
    monkeypatch.setattr(_backend, "_active", "numpy")
    monkeypatch.setattr(_threads, "_requested", 1)
    facts = daseCV_c.show_config("dict")
    assert facts["matmul precision"] == "highest" and facts["bfloat16 products"] == "the backend is 'numpy'"
    daseCV_c.show_config()
    assert "matmul precision:  highest\nbfloat16 products: the backend is 'numpy'\n" in capsys.readouterr().out


@where_available
def test_show_config_says_by_which_instructions(bfloat16):
    facts = daseCV_c.show_config("dict")
    assert facts["matmul precision"] == "bfloat16"
    assert facts["bfloat16 products"] == ("available, by AMX" if V4.affine_bf16.amx() else "available")
    with daseCV_c.set_matmul_precision("highest"):
        assert daseCV_c.show_config("dict")["bfloat16 products"] == "available"


@where_available
def test_the_instructions_are_chosen_with_bfloat16_alone(bfloat16):
    entries, by_amx = V4.affine_bf16, _backend.runtime.has_amx()
    entries.use_amx(not by_amx)
    before = entries.amx()
    daseCV_c.set_matmul_precision("highest")
    assert entries.amx() == before
    daseCV_c.set_matmul_precision("bfloat16")
    assert entries.amx() == by_amx


if os.path.exists("/proc/cpuinfo"):
    @pytest.mark.compiled
    def test_detection_agrees_with_the_system():
        with open("/proc/cpuinfo") as file:
            listed = any("avx512_bf16" in line.split() for line in file if line.startswith("flags"))
        assert _backend.runtime.has_bf16() == (listed and _backend.runtime.cpu_level() == "v4")


# Training.

def trained(precision, threads, normalization=None):
    data = load_digits_images(dtype=np.float32)
    data = {name: part / 16 if name[0] == "X" else part for name, part in data.items()}
    np.random.seed(11)
    net = FullyConnectedNet([100, 60], input_dim=64, weight_scale=0.1, normalization=normalization, reg=1e-4)
    solver = Solver(net, data, update_rule="adam", optim_config={"learning_rate": 2e-3}, batch_size=100,
                    num_epochs=6, verbose=False)
    with daseCV_c.set_matmul_precision(precision), daseCV_c.num_threads(threads):
        solver.train()
    return solver


@where_available
@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
def test_a_network_learns_as_well(bfloat16, normalization):
    exact, rounded = trained("highest", 1, normalization), trained("bfloat16", 1, normalization)
    assert rounded.loss_history != exact.loss_history
    assert np.abs(np.subtract(rounded.loss_history, exact.loss_history)).max() < 0.1
    assert rounded.loss_history[-1] < 0.3 * rounded.loss_history[0]
    assert rounded.best_val_acc >= max(0.9, exact.best_val_acc - 0.02)
    assert rounded.model.params["W1"].dtype == np.float32
    for threads in (2, 3):
        again = trained("bfloat16", threads, normalization)
        same_bits([again.loss_history, again.model.params], [rounded.loss_history, rounded.model.params])
