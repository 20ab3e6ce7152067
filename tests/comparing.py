"""One call on both backends, and what it means that two results are the same."""

import numpy as np
from adversarial import arrays_in, frozen

import daseCV_c


def run(backend, function, *args, check_alias=True):
    """(result, the dicts among args as the call left them); fails when an input was changed.

    Dicts are copied first, their arrays are not: state arrays belong to the inputs.
    """
    own = [dict(a) if isinstance(a, dict) else a for a in args]
    before = frozen(args)
    np.random.seed(5)
    with daseCV_c.use_backend(backend), np.errstate(all="ignore"):
        result = function(*own)
    assert frozen(args) == before, f"{function.__name__} changed an input on backend {backend}"
    if check_alias:
        with_cache = isinstance(result, tuple) and "_forward" in function.__name__
        outputs = result[0] if with_cache else result
        for output in arrays_in(outputs):
            for given in arrays_in(args):
                assert not np.shares_memory(output, given), f"{function.__name__}: an output aliases an input"
    return result, [a for a in own if isinstance(a, dict)]


def both(function, *args, **options):
    """The call on the compiled backend and on the twins: two (result, dicts)."""
    return run("compiled", function, *args, **options), run("numpy", function, *args, **options)


def pair(backend, forward, backward, args, dout):
    """(out, gradients, dicts) of a forward and a backward function, each checked for side effects."""
    (out, cache), dicts = run(backend, forward, *args)
    grads, _ = run(backend, backward, dout, cache)
    grads = grads if isinstance(grads, tuple) else (grads,)
    for output in arrays_in([out, grads]):
        for held in arrays_in(cache):
            assert not np.shares_memory(output, held), f"{forward.__name__}: an output aliases the cache"
    return out, grads, dicts


def both_pairs(forward, backward, args, dout):
    return pair("compiled", forward, backward, args, dout), pair("numpy", forward, backward, args, dout)


def same_form(actual, expected):
    assert type(actual) is type(expected)
    if isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype, (actual.dtype, expected.dtype)
        assert actual.dtype.isnative
        assert actual.shape == expected.shape, (actual.shape, expected.shape)


def same_bits(actual, expected):
    assert frozen(actual) == frozen(expected)


def same_values(actual, expected):
    """Equal numbers; NaN equals NaN, 0 equals -0."""
    same_form(actual, expected)
    np.testing.assert_array_equal(actual, expected)


def close(actual, expected, scale, factor=8.0, form=True, working=None):
    """|actual - expected| <= factor * eps * scale, and NaN and infinities in the same places.

    `scale` is the size of what was added up, in the shape of the result or broadcast to it. `working`
    is the dtype that the numbers were computed in, where it is not that of the result.
    """
    if form:
        same_form(actual, expected)
    dtype = actual.dtype if isinstance(actual, np.ndarray) else np.dtype(np.float64)
    info = np.finfo(working or dtype)
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(actual), finite)
    np.testing.assert_array_equal(np.where(finite, 0, actual), np.where(finite, 0, expected))
    scale = np.broadcast_to(np.asarray(scale, np.float64), expected.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        scale = np.where(np.isfinite(scale), scale, 0)
        bound = factor * (float(info.eps) * scale + float(info.smallest_normal))
        error = np.abs(actual - expected)
    bad = finite & ~(error <= bound)
    assert not bad.any(), (
        f"{int(bad.sum())} of {bad.size} differ, first at {tuple(np.argwhere(bad)[0])}: "
        f"{actual[bad][0]!r} against {expected[bad][0]!r}, allowed {bound[bad][0]:.3g}"
    )


def added(k):
    """How rounding grows with the number of terms: sums in blocks stay far below k."""
    return 8 + 2 * np.sqrt(k)


def product_scale(a, b, c=0.0):
    """|a| @ |b| + |c|: what a rounding error of the product is measured against."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.abs(np.asarray(a, np.float64)) @ np.abs(np.asarray(b, np.float64)) + np.abs(np.float64(c))
