"""Kernel entries are called by the layers alone, but a wrong call must not crash the process."""

import numpy as np
import pytest
from adversarial import frozen
from entries import ENTRIES, make_call


def _misaligned(array):
    held = np.zeros(array.nbytes + 16, np.uint8)
    odd = np.ndarray(array.shape, array.dtype, buffer=held, offset=8 - held.ctypes.data % 8 + 1)
    odd[...] = array
    return odd


def _refused(call, kernels):
    before = frozen(call.args)
    with pytest.raises(ValueError):
        call(kernels, 1)
    assert frozen(call.args) == before


def _wrong_arrays(array, out):
    """(label, an array that the entry must refuse in place of `array`)."""
    yield "list", array.tolist()
    yield "dtype", array.astype(np.int32)
    yield "complex", array.astype(complex)
    if array.dtype.kind == "f":
        yield "other float", array.astype(np.float32 if array.dtype == np.float64 else np.float64)
        yield "float16", array.astype(np.float16)
    if array.itemsize > 1:
        yield "byte order", array.astype(array.dtype.newbyteorder())
        yield "misaligned", _misaligned(array)
    yield "longer", np.concatenate([array, array[:1]])
    yield "shorter", array[1:].copy()
    yield "empty", array[:0].copy()
    for axis in range(1, array.ndim):
        yield f"twice as long along axis {axis}", np.concatenate([array, array], axis=axis)
        if array.shape[axis] > 1:
            yield f"cut along axis {axis}", np.ascontiguousarray(array.take([0], axis=axis))
    wide = np.concatenate([array, array], axis=-1)
    yield "strided", wide[..., ::2]
    if array.ndim == 2:
        yield "fortran", np.asfortranarray(array)
    if out:
        fixed = array.copy()
        fixed.setflags(write=False)
        yield "read-only", fixed


# Any number of images; a batch of either float dtype, whatever the images are; parameters likewise. One array alone has
# the size and the float dtype that it has.
LEGAL = {("batch.gather", 0, "longer"), ("batch.gather", 0, "shorter"), ("batch.gather", 3, "other float"),
         ("step.train_step", 0, "longer"), ("step.train_step", 0, "shorter"), ("step.train_step", 0, "other float"),
         # Rows of a pass, in as many batches; and one number, of which any stride is none.
         ("step.train_batches", 1, "longer"), ("step.train_batches", 1, "shorter"),
         ("step.train_batches", 13, "strided"),
         # Six channels make three groups, and six, and one.
         ("spatial.spatial_groupnorm_backward", 3, "twice as long along axis 1"),
         ("spatial.spatial_groupnorm_backward", 3, "cut along axis 1"),
         *(("optim.sum_of_squares", 0, label) for label in ("longer", "shorter", "empty", "other float"))}
MAY_BE_NONE = {("batch.gather", 2), ("step.train_step", 1), ("step.train_step", 2),  # no index, no mean
               ("step.train_batches", 1), ("step.train_batches", 3), ("step.train_batches", 13)}


@pytest.mark.parametrize("entry", ENTRIES)
def test_entries_refuse_wrong_arrays(kernels, dtype, entry):
    for position in make_call(entry, dtype).arrays():
        call = make_call(entry, dtype)
        for label, wrong in _wrong_arrays(call.args[position], position in call.outs):
            if (entry, position, label) in LEGAL:
                continue
            changed = make_call(entry, dtype)
            changed.args[position] = wrong
            before = frozen(changed.args)
            with pytest.raises((ValueError, TypeError, IndexError)):
                changed(kernels, 1)
                pytest.fail(f"{entry} took argument {position}: {label}")
            assert frozen(changed.args) == before, (position, label)


@pytest.mark.parametrize("entry", ENTRIES)
def test_entries_refuse_none(kernels, entry):
    for position in make_call(entry, np.float64).arrays():
        if (entry, position) in MAY_BE_NONE:
            continue
        call = make_call(entry, np.float64)
        call.args[position] = None
        with pytest.raises(TypeError):
            call(kernels, 1)


@pytest.mark.parametrize("entry", ["losses.svm_loss", "losses.softmax_loss", "batch.gather"])
@pytest.mark.parametrize("bad", [-1, 5, 6, 2**62, -(2**63)])
def test_entries_refuse_indices_out_of_range(kernels, dtype, entry, bad):
    call = make_call(entry, dtype, n=5, d=5)
    call.args[1][-1] = bad
    before = frozen(call.args)
    with pytest.raises((ValueError, IndexError)):
        call(kernels, 1)
    assert frozen(call.args) == before


@pytest.mark.parametrize("entry", ENTRIES)
def test_entries_take_any_number_of_threads(kernels, entry):
    expected = make_call(entry, np.float64)
    expected(kernels, 1)
    for threads in (-3, 0, 1, 64):
        call = make_call(entry, np.float64)
        call(kernels, threads)
        assert frozen(call.results()) == frozen(expected.results())


@pytest.mark.parametrize("keep", [0, -0.5, 1.5, np.nan])
def test_dropout_refuses_what_is_no_probability(kernels, dtype, keep):
    call = make_call("dropout.dropout_forward", dtype)
    call.args[2] = keep
    _refused(call, kernels)


@pytest.mark.parametrize("entry", ["losses.svm_loss", "losses.softmax_loss"])
@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_losses_refuse_no_samples_and_no_classes(kernels, dtype, entry, shape):
    call = make_call(entry, dtype)
    call.args[:] = np.zeros(shape, dtype), np.zeros(shape[0], np.int64), np.zeros(shape, dtype)
    _refused(call, kernels)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_the_convolution_refuses_images_without_pixels(kernels, dtype, shape):
    """Padded, they would be large enough for the filter."""
    call = make_call("conv.conv_forward", dtype)
    out = np.zeros((1, 1, *(size + 1 for size in shape)), dtype)
    call.args[:4] = np.zeros((1, 1, *shape), dtype), np.ones((1, 1, 2, 2), dtype), np.zeros(1, dtype), out
    _refused(call, kernels)


@pytest.mark.parametrize("shape", [(2, 8), (8, 2), (2, 9), (9, 2), (0, 2), (2, 0)])
def test_the_convolution_refuses_filters_that_do_not_fit(kernels, dtype, shape):
    """On 5 x 5 pixels with pad 1."""
    call = make_call("conv.conv_forward", dtype)
    out = np.zeros((1, 1, *(max(0, 8 - size) for size in shape)), dtype)
    call.args[:4] = np.zeros((1, 1, 5, 5), dtype), np.ones((1, 1, *shape), dtype), np.zeros(1, dtype), out
    _refused(call, kernels)


@pytest.mark.parametrize("size", [1, 3])
def test_gather_refuses_misaligned_images_and_indices(kernels, dtype, size):
    images, index = np.ones((size, size), dtype), np.zeros(size, np.int64)
    for first, second in ((_misaligned(images), index), (images, _misaligned(index))):
        call = make_call("batch.gather", dtype)
        call.args[:] = first, second, None, np.zeros((size, size), dtype)
        _refused(call, kernels)


@pytest.mark.parametrize("groups", [-1, 0, 4, 7])
def test_groupnorm_refuses_groups_that_do_not_fit(kernels, dtype, groups):
    """Six channels. The statistics have room for so many groups."""
    call = make_call("spatial.spatial_groupnorm_forward", dtype)
    call.args[3] = groups
    call.args[7:] = (np.zeros((len(call.args[0]), max(groups, 0)), dtype) for _ in range(3))
    _refused(call, kernels)


def test_no_images_leave_the_filters_gradient_zero(kernels, dtype):
    call = make_call("conv.conv_backward_dw", dtype)
    call.args[0], call.args[1] = call.args[0][:0].copy(), call.args[1][:0].copy()
    call(kernels, 1)
    assert not any(out.any() for out in call.results())
