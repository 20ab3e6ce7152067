"""Arbitrary calls of the public functions: valid ones, and ones that are broken in one place.

A call is drawn as a tree of plain values, in which `Made` stands for an array, so that each backend gets arguments of
its own, built from the same tree.
"""

import functools
import math
import warnings
from dataclasses import dataclass, field

import numpy as np
from adversarial import LAYOUTS, SPECIAL, arrays_in, frozen, planted
from hypothesis import strategies as st

import daseCV_c
from daseCV_c import data_utils, fast_layers, im2col, im2col_cython, layer_utils, optim

FUNCTIONS = {name: getattr(module, name) for module in (layer_utils, fast_layers, im2col, im2col_cython, optim)
             for name in module.__all__} | {"gather_batch": data_utils.gather_batch}
ERRORS = (TypeError, ValueError, IndexError)


def _overlapping(x):
    """Rows that lie on top of each other."""
    if x.ndim == 0 or x.size == 0:
        return x
    held = np.resize(x, x.shape[0] + math.prod(x.shape[1:]))
    strides = tuple(x.itemsize * math.prod(x.shape[k + 1:]) if k else x.itemsize for k in range(x.ndim))
    return np.lib.stride_tricks.as_strided(held, x.shape, strides, writeable=False)


def _repeated(x):
    """One row again and again: a stride of zero."""
    return np.broadcast_to(x[:1], x.shape) if x.ndim and x.size else x


ARRANGED = LAYOUTS | {"overlapping": _overlapping, "repeated": _repeated}
TYPES = ("<f4", "<f8", "<f2", ">f4", ">f8", "<i8", ">i4", "|i1", "|u1", "<u8", "|b1")
CONTENTS = ("integers", "normal", "small", "large", *SPECIAL, "largest")


@dataclass(frozen=True)
class Made:
    """An array to be built."""

    shape: tuple
    dtype: str = "<f8"
    content: str = "normal"
    layout: str = "c"
    seed: int = 0

    def build(self):
        held = self._numbers().copy()
        return ARRANGED[self.layout](held) if self.shape else held

    @functools.lru_cache(maxsize=32)  # noqa: B019  a call is built for each backend
    def _numbers(self):
        rng = np.random.default_rng([self.seed, *self.shape])
        dtype = np.dtype(self.dtype)
        if dtype.kind != "f" or self.content == "integers":
            low = 0 if dtype.kind in "ub" else -8
            found = rng.integers(low, 9, self.shape).astype(dtype)
        else:
            found = rng.standard_normal(self.shape) * {"small": 1e-3, "large": 1e3}.get(self.content, 1)
            found = np.asarray(found).astype(dtype.newbyteorder("="))
            if self.content == "largest":
                found = np.copysign(np.finfo(found.dtype).max, found)
            elif self.content in SPECIAL:
                found = planted(found, self.content, self.seed)
            with np.errstate(over="ignore"):
                found = found.astype(dtype)
        return np.asarray(found)


@dataclass(frozen=True)
class Labels:
    """Whole numbers below a bound."""

    count: int
    bound: int
    dtype: str
    seed: int

    def build(self):
        return np.random.default_rng(self.seed).integers(0, max(self.bound, 1), self.count).astype(self.dtype)


@dataclass(frozen=True)
class Odd:
    """What is no array of numbers, or no number."""

    kind: str

    def build(self):
        return ODD[self.kind]()


class _NoArray:
    def __array__(self, dtype=None, copy=None):
        raise ValueError("no array")


ODD = {
    "none": lambda: None, "text": lambda: "x", "bytes": lambda: b"abc", "object": object, "number": lambda: 3,
    "float": lambda: 2.5, "nan": lambda: math.nan, "bool": lambda: True, "complex": lambda: 1j, "dict": dict,
    "empty list": list, "ragged": lambda: [[1.0], [1.0, 2.0]], "list": lambda: [1.0, 2.0], "tuple": lambda: (1, 2),
    "objects": lambda: np.array([None, 1], object), "complexes": lambda: np.ones((2, 2), complex),
    "long doubles": lambda: np.ones(3, np.longdouble), "texts": lambda: np.array(["a", "b"]),
    "dates": lambda: np.zeros(3, "M8[D]"), "records": lambda: np.zeros(2, "i4,f8"), "no axes": lambda: np.array(1.5),
    "masked": lambda: np.ma.masked_array([1.0, 2.0], [True, False]), "matrix": lambda: np.ones((2, 2)).view(np.matrix),
    "many axes": lambda: np.ones((1,) * 40), "function": lambda: len, "range": lambda: range(3),
    "set": lambda: {1, 2}, "memory": lambda: memoryview(b"abcd"), "no array": _NoArray, "generator": lambda: iter([1]),
    "-1": lambda: -1, "0": lambda: 0, "2**31": lambda: 2**31, "2**40": lambda: 2**40, "2**63": lambda: 2**63,
    "10**4000": lambda: 10**4000, "-2**63": lambda: -2**63, "int64": lambda: np.int64(1),
    "float32": lambda: np.float32(1), "inf": lambda: math.inf, "array of one": lambda: np.ones(1, np.int64),
}


def realized(tree):
    """The tree with its arrays built, in containers of its own."""
    if isinstance(tree, (Made, Labels, Odd)):
        return tree.build()
    if isinstance(tree, dict):
        return {key: realized(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(realized(value) for value in tree)
    return tree


@dataclass
class Call:
    """A function with a tree of arguments; of a backward function the cache is made by the `forward` call."""

    name: str
    args: list
    forward: "Call | None" = None
    broken: list = field(default_factory=list)  # [(path into the arguments, what stands there, or "absent")]
    threads: int = 1

    def build(self):
        args = realized(self.args)
        if self.forward is not None:
            with daseCV_c.use_backend("compiled"), np.errstate(all="ignore"):
                args.append(FUNCTIONS[self.forward.name](*self.forward.build())[1])
        for path, value in self.broken:
            args = _replaced(args, path, value)
        return args

    def __repr__(self):
        return f"{self.name}({self.args!r}, forward={self.forward!r}, broken={self.broken!r}, threads={self.threads})"


def _replaced(held, path, value):
    """A copy with one place changed; the path is followed as far as there is something."""
    if not path:
        return realized(value)
    if isinstance(held, dict) and held:
        keys = sorted(held, key=str)
        key = keys[path[0] % len(keys)]
        if len(path) == 1 and value == "absent":
            return {k: v for k, v in held.items() if k != key}
        return held | {key: _replaced(held[key], path[1:], value)}
    if isinstance(held, (list, tuple)) and held:
        k = path[0] % len(held)
        if len(path) == 1 and value == "absent":
            return type(held)([*held[:k], *held[k + 1:]])
        return type(held)([*held[:k], _replaced(held[k], path[1:], value), *held[k + 1:]])
    return held


class Drawing:
    """Draws the parts of one call; `pick` gives one of several values."""

    def __init__(self, pick):
        self._pick = pick
        self.seed = pick(range(2**16))
        self.alike = pick((False, True))  # arrays of one type, as they mostly are
        self.dtype = pick(("<f4", "<f8"))
        self.content = pick(CONTENTS)
        self._count = 0

    def of(self, *values):
        return self._pick(values)

    def size(self, low=0):
        """Mostly small: what does not fill a vector, and what is a little more than one."""
        return self._pick([n for n in (0, 1, 2, 3, 5, 8, 17, 33) if n >= low])

    def array(self, *shape):
        self._count += 1
        seed = self.seed + self._count
        if self.alike:
            return Made(shape, self.dtype, self.content, "c", seed)
        return Made(shape, self.of(*TYPES), self.of("normal", "integers", self.content), self.of(*ARRANGED), seed)

    def labels(self, count, bound):
        kind = self.of("<i8", "<i4", "|u1", ">i8", "<u8", "|i1")
        return Labels(count, bound + self.of(0, 0, 0, 0, 1), kind, self.seed)

    def some(self, **entries):
        """A dict of some of the entries, which are made when they are chosen."""
        return {key: make() for key, make in entries.items() if self._pick((False, True))}


def _affine(d, params=()):
    n, shape, m = d.size(), d.of((), (1,), (2,), (5,), (2, 3), (17,), (2, 2, 3)), d.size()
    if params:
        n, m, shape = max(n, 1), max(m, 1), shape or (3,)
    args = [d.array(n, *shape), d.array(math.prod(shape), m), d.array(m)]
    return args, (n, m)


def _bn_param(d, width):
    param = {"mode": d.of("train", "train", "test")}
    return param | d.some(eps=lambda: d.of(1e-5, 1e-3, 1e-8), momentum=lambda: d.of(0.9, 0.0, 1.0),
                          running_mean=lambda: d.array(width), running_var=lambda: d.array(width))


def _ln_param(d):
    return d.some(eps=lambda: d.of(1e-5, 1e-3, 1e-8))


def _rows(d):
    n, m = d.size(), d.size()
    return [d.array(n, m), d.array(m), d.array(m)], (n, m)


def _images(d):
    return d.of(0, 1, 2, 3), d.of(0, 1, 2, 4), d.of(1, 2, 3, 5, 8), d.of(1, 2, 4, 7, 9)


def _conv(d):
    n, c, h, w = _images(d)
    f, fh, fw, stride, pad = d.of(1, 2, 5, 9), d.of(1, 2, 3), d.of(1, 3, 4), d.of(1, 1, 2, 3), d.of(0, 1, 2)
    out = n, f, (h + 2 * pad - fh) // stride + 1, (w + 2 * pad - fw) // stride + 1
    return [d.array(n, c, h, w), d.array(f, c, fh, fw), d.array(f), {"stride": stride, "pad": pad}], out


def _pool_of(d, shape):
    n, c, h, w = shape
    ph, pw, stride = d.of(1, 2, 3), d.of(1, 2), d.of(1, 2, 2, 3)
    out = n, c, (h - ph) // stride + 1, (w - pw) // stride + 1
    return {"pool_height": ph, "pool_width": pw, "stride": stride}, out


def _pool(d):
    shape = _images(d)
    param, out = _pool_of(d, shape)
    return [d.array(*shape), param], out


def _pool_reshape(d):
    shape, k = _images(d), d.of(1, 2)
    shape = (*shape[:2], shape[2] // k * k, shape[3] // k * k)
    out = *shape[:2], shape[2] // k, shape[3] // k
    return [d.array(*shape), {"pool_height": k, "pool_width": k, "stride": k}], out


def _sandwich(d, *norm):
    args, out = _affine(d, norm)
    m = out[1]
    if norm:
        args += [d.array(m), d.array(m), _bn_param(d, m) if norm == ("bn",) else _ln_param(d)]
    return args, out


def _conv_bn_relu(d):
    args, out = _conv(d)
    f = out[1]
    return [*args[:3], d.array(f), d.array(f), args[3], _bn_param(d, f)], out


def _conv_relu_pool(d):
    args, out = _conv(d)
    param, out = _pool_of(d, out)
    return [*args, param], out


def _spatial(d, groups):
    n, c, h, w = shape = _images(d)
    vector = (c,) if d.of(True, False) or not groups else (1, c, 1, 1)
    args = [d.array(*shape), d.array(*vector), d.array(*vector)]
    return ([*args, d.of(1, 1, 2, 4, c or 1), _ln_param(d)] if groups else [*args, _bn_param(d, c)]), shape


def _dropout(d):
    shape = d.of((), (3,), (0, 2), (5, 7), (2, 3, 4), (40, 33))
    param = {"p": d.of(0.5, 1.0, 0.1, 0.9), "mode": d.of("train", "test"), "seed": d.of(*range(10))}
    return [d.array(*shape), param], shape


def _relu(d):
    shape = d.of((), (3,), (0, 2), (5, 7), (2, 3, 4), (40, 33))
    return [d.array(*shape)], shape


FORWARD = {
    "affine": _affine, "relu": _relu, "dropout": _dropout, "batchnorm": lambda d: _with(_rows(d), _bn_param, d),
    "layernorm": lambda d: _with(_rows(d), lambda d, _: _ln_param(d), d), "affine_relu": _sandwich,
    "affine_bn_relu": lambda d: _sandwich(d, "bn"), "affine_ln_relu": lambda d: _sandwich(d, "ln"),
    "spatial_batchnorm": lambda d: _spatial(d, False), "spatial_groupnorm": lambda d: _spatial(d, True),
    "conv_bn_relu": _conv_bn_relu, "conv_relu_pool": _conv_relu_pool, "conv_relu": _conv,
    **{f"conv_{way}": _conv for way in ("naive", "fast", "im2col", "strides")},
    **{f"max_pool_{way}": _pool for way in ("naive", "fast", "im2col")}, "max_pool_reshape": _pool_reshape,
}


def _with(rows, param, d):
    args, out = rows
    return [*args, param(d, out[1])], out


def _of_layer(name):
    """('affine', 'forward') of affine_forward; the conv and pool functions have the word in the middle."""
    if name == "batchnorm_backward_alt":
        return "batchnorm", "backward"
    for way in ("forward", "backward"):
        if f"_{way}" in name:
            return name.replace(f"_{way}", ""), way
    return None, None


def _forward_name(key):
    head, _, way = key.rpartition("_")
    return f"{head}_forward_{way}" if head in ("conv", "max_pool") and way in (
        "naive", "fast", "im2col", "strides", "reshape") else f"{key}_forward"


def _loss(d):
    n, c = d.size(1), d.size(1)
    return [d.array(n, c), d.labels(n, c)]


def _rule(d, name):
    shape = d.of((), (3,), (0,), (5, 7), (2, 3, 4), (33, 17))
    keys = optim.STATES[name]
    config = d.some(**{key: (lambda usual=usual: d.of(usual, 0.0, 0.5, usual / 10))
                       for key, usual in optim.SETTINGS[name].items()})
    config |= d.some(**{key: lambda: d.array(*shape) for key in keys})
    if name in optim.COUNTING:
        config |= d.some(t=lambda: d.of(0, 1, 5, 1000))
    return [d.array(*shape), d.array(*shape), d.of(config, config, None)]


def _window(d):
    shape = n, c, h, w = _images(d)
    fh, fw, pad, stride = d.of(1, 2, 3), d.of(1, 3), d.of(0, 1, 2), d.of(1, 2, 3)
    out = (h + 2 * pad - fh) // stride + 1, (w + 2 * pad - fw) // stride + 1
    return shape, (fh, fw, pad, stride), out


def _im2col(d, name):
    shape, numbers, (oh, ow) = _window(d)
    (n, c, h, w), (fh, fw) = shape, numbers[:2]
    cols = c * fh * fw, max(oh, 0) * max(ow, 0) * n
    return {"get_im2col_indices": lambda: [shape, *numbers], "im2col_indices": lambda: [d.array(*shape), *numbers],
            "im2col_cython": lambda: [d.array(*shape), *numbers],
            "col2im_indices": lambda: [d.array(*cols), shape, *numbers],
            "col2im_cython": lambda: [d.array(*cols), n, c, h, w, *numbers],
            "col2im_6d_cython": lambda: [d.array(c, fh, fw, n, max(oh, 0), max(ow, 0)), n, c, h, w, *numbers]}[name]()


def _gather(d):
    n, shape = d.size(1), d.of((), (3,), (2, 5), (17,))
    return [d.array(n, *shape), d.labels(d.size(), n), d.of(None, d.array(*shape)),
            d.of(None, np.float32, np.float64, "float32")]


@st.composite
def calls(draw, name):
    """A call of a public function, which hypothesis draws and, where it fails, makes simpler."""
    return drawn_call(lambda values: draw(st.sampled_from(values)), name)


def drawn_call(pick, name):
    """A call of a public function; `pick` gives one of several values."""
    d = Drawing(pick)
    key, way = _of_layer(name)
    if way == "forward":
        call = Call(name, FORWARD[key](d)[0])
    elif way == "backward":
        args, out = FORWARD[key](d)
        call = Call(name, [d.array(*(max(n, 0) for n in out))], Call(_forward_name(key), args))
    elif name.endswith("_loss"):
        call = Call(name, _loss(d))
    elif name in optim.__all__:
        call = Call(name, _rule(d, name))
    elif name == "gather_batch":
        call = Call(name, _gather(d))
    else:
        call = Call(name, _im2col(d, name))
    call.threads = d.of(1, 1, 2, 3)
    if d.of(False, True, True):
        return call
    for _ in range(d.of(1, 1, 2)):
        path = [d.of(*range(8)) for _ in range(d.of(1, 2, 2, 3))]
        value = d.of("absent", "odd", "odd", "array")
        call.broken.append((path, Odd(d.of(*ODD)) if value == "odd" else value if value == "absent" else
                            d.array(*d.of((), (0,), (1,), (2,), (3, 1), (2, 3), (1, 2, 3), (2, 1, 3, 2)))))
    return call


@dataclass
class Outcome:
    result: object
    args: list
    error: type | None
    said: str


def outcome(backend, call):
    """What the call gives or raises on a backend; an argument that it changed is an AssertionError."""
    try:
        args = call.build()
    except (*ERRORS, MemoryError) as error:  # the forward call of a cache was none
        return Outcome(None, [], type(error), "while the cache was made")
    function, before = FUNCTIONS[call.name], [frozen(arg) for arg in args]
    np.random.seed(5)
    try:
        with daseCV_c.use_backend(backend), np.errstate(all="ignore"), daseCV_c.num_threads(call.threads), \
                warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(*args)
    except ERRORS as error:
        assert [frozen(arg) for arg in args] == before, f"{call.name} changed an argument before it raised {error!r}"
        return Outcome(None, args, type(error), str(error))
    except MemoryError as error:
        return Outcome(None, args, MemoryError, str(error))
    for k, (arg, old) in enumerate(zip(args, before, strict=True)):
        # All but what the function is there to change: dicts of settings, and the weights of sgd.
        assert isinstance(arg, dict) or call.name == "sgd" and k == 0 or frozen(arg) == old, (
            f"{call.name} changed argument {k} on backend {backend}")
    return Outcome(result, args, None, "")


def _top(value):
    """The largest finite number in an array."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        return 0.0
    found = np.abs(np.asarray(value, np.float64))
    return float(found[np.isfinite(found)].max(initial=0))


EPS = {2: 2.0**-10, 4: 2.0**-23, 8: 2.0**-52}  # by the bytes of a float


class Rounding:
    """What the arguments of a call say about the rounding errors of its results."""

    def __init__(self, name, args):
        arrays = arrays_in(args)
        tops, floats = list(map(_top, arrays)), [array for array in arrays if array.dtype.kind == "f"]
        special = sum(not np.isfinite(array).all() for array in floats)
        # Infinity times a normalized number, in the gradient of a normalization, is 0 in one order of the sums, and
        # nearly 0 in the other.
        normalizes = any(part in name for part in ("norm", "_bn_", "_ln_"))
        # So is a bias less the mean of it, which is what a convolution of no channels leaves to normalize.
        centred = name == "conv_bn_relu_forward" or normalizes and name.endswith(("backward", "backward_alt"))
        alone = 0 if centred else 1
        # Which of them meet, and what overflows, depends on the order in which it is added.
        self.any_order = name not in EXACT and (special > alone or max(tops, default=0) > 1e30)
        # A seed of None is one that the system draws: no two calls agree.
        self.any_order |= any(isinstance(arg, dict) and arg.get("seed", 0) is None for arg in args)
        # Coarse: a wrong term is far beyond it.
        self.scale = math.prod(1 + top for top in tops)
        if "norm" in name or "bn" in name or "ln" in name:
            self.scale *= (1 + _top(args[0])) * 400  # at most 1 / sqrt(eps), but where eps is 1e-8
        self.eps = max((EPS.get(array.dtype.itemsize, 0) for array in floats if array.dtype.itemsize > 2), default=0)
        self.most = max((array.size for array in arrays), default=1)
        self.exact = name in EXACT

    def allowed(self, found, expected):
        eps = max(self.eps, EPS[found.dtype.itemsize])
        return 0.0 if self.exact else 64 * eps * (self.scale + _top(expected)) * (1 + math.sqrt(self.most))


def _same(rounding, one, other, path):
    """Equal results of both backends."""
    assert type(one) is type(other), f"{path} is a {type(one).__name__} and a {type(other).__name__}"
    if isinstance(other, (tuple, list)):
        assert len(one) == len(other)
        for k, (a, b) in enumerate(zip(one, other, strict=True)):
            _same(rounding, a, b, f"{path}[{k}]")
    elif isinstance(other, dict):
        assert list(one) == list(other), f"{path} has the keys {list(one)} and {list(other)}"
        for key in other:
            _same(rounding, one[key], other[key], f"{path}[{key!r}]")
    elif isinstance(other, np.ndarray) and other.dtype.kind in "biuf" or isinstance(other, float):
        a, b = np.asarray(one), np.asarray(other)
        assert (a.dtype, a.shape) == (b.dtype, b.shape), f"{path}: {a.dtype} {a.shape}, {b.dtype} {b.shape}"
        if a.dtype.kind != "f":
            np.testing.assert_array_equal(a, b, err_msg=path)
            return
        if rounding.any_order or a.tobytes() == b.tobytes():
            return
        finite = np.isfinite(b)
        if not (finite.all() and np.isfinite(a).all()):
            np.testing.assert_array_equal(np.where(finite, 0, a), np.where(finite, 0, b), err_msg=path)
        with np.errstate(all="ignore"):
            error = np.abs(a.astype(np.float64) - b.astype(np.float64))[finite].max(initial=0)
        allowed = rounding.allowed(a, b)
        assert error <= allowed, f"{path} differs by {error}, allowed {allowed}"


EXACT = {"relu_forward", "relu_backward", "dropout_forward", "dropout_backward", "get_im2col_indices", "im2col_indices",
         "im2col_cython", "gather_batch", "max_pool_forward_naive", "max_pool_forward_fast", "max_pool_forward_im2col",
         "max_pool_forward_reshape"}


def compare(call):
    """The call on both backends: equal results, or the same kind of error; returns whether there was a result."""
    mine, twins = outcome("compiled", call), outcome("numpy", call)
    assert mine.error is twins.error, (
        f"{call.name} raises {mine.error} ({mine.said}) compiled and {twins.error} ({twins.said}) in NumPy")
    if mine.error is not None:
        return False
    rounding = Rounding(call.name, call.build())
    results = [found.result for found in (mine, twins)]
    if "_forward" in call.name:  # caches are for the backward functions alone
        results = [result[0] for result in results]
    _same(rounding, *results, f"{call.name}: result")
    for k, (one, other) in enumerate(zip(mine.args, twins.args, strict=True)):
        if isinstance(other, dict):
            _same(rounding, one, other, f"{call.name}: argument {k}")
    for output in arrays_in(results[0]):
        for given in arrays_in([arg for arg in mine.args if not isinstance(arg, dict)]):
            shared = np.shares_memory(output, given)
            assert call.name == "sgd" or not shared, f"{call.name}: an output is an input"
    return True
