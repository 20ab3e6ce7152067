"""The tables of benchmarks/: contestants of one row compute the same thing. Nothing is timed here."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))
from benchmarks import kernel_rows, products, rows  # noqa: E402
from daseCV_c import optim  # noqa: E402

# What PyTorch draws or keeps for itself cannot be compared.
OWN = {"dropout_forward", "dropout_backward", *optim.__all__}
FACTOR = {"svm_loss": kernel_rows.CLASSES}  # PyTorch divides this loss by the number of classes


def first(value):
    """The first array of what a call returns."""
    while isinstance(value, (tuple, list)):
        # A loss comes before its gradient.
        value = value[1] if isinstance(value[0], float) else value[0]
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def result(contestant, name, dtype):
    np.random.seed(0)
    return first(kernel_rows.make(contestant, 1, [name, dtype, kernel_rows.KERNELS[name].sizes[0]])())


@pytest.mark.compiled
@pytest.mark.parametrize("name", kernel_rows.KERNELS)
def test_kernel_and_twin_compute_the_same(name, dtype):
    kind = np.dtype(dtype).name
    ours, twin = result("daseCV_c", name, kind), result("NumPy", name, kind)
    assert ours.dtype == twin.dtype == kind and ours.shape == twin.shape
    np.testing.assert_allclose(ours, twin, rtol=1e-4, atol=1e-4)
    assert np.abs(ours).max() > 0


if find_spec("torch"):
    @pytest.mark.compiled
    @pytest.mark.parametrize("name", [name for name in kernel_rows.KERNELS if name not in OWN])
    def test_pytorch_computes_the_same(name, dtype):
        kind = np.dtype(dtype).name
        ours, torchs = result("daseCV_c", name, kind), result("PyTorch", name, kind)
        assert torchs.dtype == kind and torchs.shape == ours.shape
        np.testing.assert_allclose(torchs * FACTOR.get(name, 1), ours, rtol=1e-3, atol=1e-3)


@pytest.mark.compiled
@pytest.mark.parametrize("case", rows.products()[:10], ids=str)
def test_products_are_the_same(case, dtype):
    for contestant in products.CALLS:
        products.make(contestant, 1, [np.dtype(dtype).name, *case])()
    a, b, trans_a, trans_b, out = products.arrays(dtype, *case)
    names = products.make("daseCV_c", 1, [np.dtype(dtype).name, *case]).__globals__
    eval(products.CALLS["daseCV_c"], names)
    expected = (a.T if trans_a else a) @ (b.T if trans_b else b)
    assert names["out"].shape == out.shape == expected.shape
    np.testing.assert_allclose(names["out"], expected, rtol=1e-3, atol=1e-2)


def test_products_add_up_to_the_rows():
    known = set(rows.products())
    assert len(known) == len(rows.products())
    for row in rows.ROWS.values():
        total = 0
        for k, (d, m) in enumerate(zip(row.sizes, row.sizes[1:], strict=False)):
            kinds = {kind for kind in ("forward", "dx", "dw") if (kind, row.batch, d, m) in known}
            assert {"forward", "dw"} <= kinds and ("dx" in kinds) == (k > 0)
            total += len(kinds) * row.batch * d * m
        assert total == row.multiply_adds
