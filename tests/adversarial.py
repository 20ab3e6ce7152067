"""Arrays that careless code gets wrong: layouts, values, dtypes; and copies that show what was changed."""

import zlib

import numpy as np

DTYPES = (np.float32, np.float64)


def rng_of(*key):
    """A generator that depends on the key alone."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def normal(key, *shape, dtype=np.float64):
    return rng_of(key, shape).standard_normal(shape).astype(dtype)


def small_integers(key, *shape, dtype=np.float64):
    """Sums of their products are exact, so any order of addition gives the same bits."""
    return rng_of(key, shape).integers(-8, 9, shape).astype(dtype)


def _fortran(x):
    return np.asfortranarray(x)


def _strided(x):
    big = np.full([2 * s + 1 for s in x.shape], 77, x.dtype)
    view = big[tuple(slice(1, None, 2) for _ in x.shape)]
    view[...] = x
    return view


def _reversed(x):
    back = (slice(None, None, -1),) * x.ndim
    return x[back].copy()[back]


def _read_only(x):
    x = x.copy()
    x.setflags(write=False)
    return x


def _byte_swapped(x):
    return x.astype(x.dtype.newbyteorder())


def _misaligned(x):
    held = np.zeros(x.nbytes + 8, np.uint8)
    start = next(k for k in range(8) if (held.ctypes.data + k) % x.itemsize == 1 % x.itemsize)
    view = np.ndarray(x.shape, x.dtype, buffer=held, offset=start)
    view[...] = x
    return view


# Each takes a C-contiguous array and returns one of the same values.
LAYOUTS = {
    "c": np.copy,
    "fortran": _fortran,
    "strided": _strided,
    "reversed": _reversed,
    "read_only": _read_only,
    "byte_swapped": _byte_swapped,
    "misaligned": _misaligned,
}

# Each takes an array of small integers and returns one of another kind; all of them count as float64.
KINDS = {
    "int64": lambda x: x.astype(np.int64),
    "int8": lambda x: x.astype(np.int8),
    "uint8": lambda x: np.abs(x).astype(np.uint8),
    "bool": lambda x: x > 0,
    "float16": lambda x: x.astype(np.float16),
    "list": lambda x: x.tolist(),
}


def special_values(dtype):
    """NaN, infinities, zeros of both signs, denormals, the largest and the smallest numbers."""
    info = np.finfo(dtype)
    return {
        "nan": [np.nan],
        "inf": [np.inf],
        "minus_inf": [-np.inf],
        "mixed": [np.nan, np.inf, -np.inf, 0.0, -0.0],
        "zeros": [0.0, -0.0],
        "denormal": [info.smallest_subnormal, -3 * info.smallest_subnormal, info.smallest_normal / 2],
    }


SPECIAL = tuple(special_values(np.float64))


def planted(x, kind, key="planted"):
    """x with special values at a few places, so that most rows and columns stay ordinary."""
    x = x.copy()
    if x.size:
        values = special_values(x.dtype)[kind]
        places = rng_of(key, kind, x.shape).integers(0, x.size, 3 * len(values))
        x.reshape(-1)[places] = np.resize(np.array(values, x.dtype), places.size)
    return x


def filled(x, kind):
    """An array of special values alone."""
    return np.resize(np.array(special_values(x.dtype)[kind], x.dtype), x.shape)


def frozen(value):
    """The value to the last bit, nested containers included."""
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.str, value.shape, value.strides, value.flags.writeable, value.tobytes())
    if isinstance(value, dict):
        return ("dict", tuple((key, frozen(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, tuple(frozen(item) for item in value))
    return (type(value).__name__, repr(value))


def arrays_in(value):
    """Every array in nested containers."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [array for item in value for array in arrays_in(item)]
    return []
