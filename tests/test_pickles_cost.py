"""What a small pickle may cost: memory a fixed multiple of its bytes, and no work that grows faster."""

import io
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from crafting import py2_text

from daseCV_c.data_utils import BadPickleError, load_pickle
from daseCV_c.datasets import pickles

ARRAY = (b"\x80\2cnumpy.core.multiarray\n_reconstruct\nq\0" b"0cnumpy\nndarray\nK\0\x85" + py2_text("b")
         + b"\x87q\1" b"0")
UINT8 = (b"cnumpy\ndtype\n" + py2_text("u1") + b"\x85R(K\3" + py2_text("|")
         + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb")
MANY, DEEP = 20000, 20000


def doubled(levels, opcode=b"\x86"):
    """Each level holds the one below it twice."""
    puts = (b"r" + struct.pack("<I", k) for k in range(levels))
    gets = (b"j" + struct.pack("<I", k) for k in range(levels))
    return b"\x80\4)" + b"".join(put + b"0" + get + get + opcode for put, get in zip(puts, gets, strict=True))


def array_of(count, times):
    """A list of `times` arrays that share one state, of `count` bytes."""
    raw = b"T" + struct.pack("<i", count) + bytes(count)
    state = b"(K\1J" + struct.pack("<i", count) + b"\x85" + UINT8 + b"\x89" + raw + b"tq\x02" b"0"
    return ARRAY + state + b"(" + b"h\0h\1Rh\2b" * times + b"l."


def keys(written, opcode=b"u"):
    return b"\x80\4}(" + b"".join(key + b"N" for key in written) + opcode + b"."


def long_integer(n):
    raw = n.to_bytes(10, "little", signed=True)
    return b"\x8a\x0a" + raw


DEEP_KEY = doubled(60)
REFUSED = {
    "deep key": DEEP_KEY + b"q\xff}h\xffNs.", "deep item of a set": DEEP_KEY + b"q\xff\x8f(h\xff\x90.",
    "deep item of a frozenset": DEEP_KEY + b"q\xff0(h\xff\x91.",
    "frozensets in frozensets": b"\x80\4(\x91" + b"\x940(h\0h\0\x91" * 2 + b".",
    "keys with one hash": keys(long_integer(k * (2**61 - 1)) for k in range(1, MANY)),
    "floats with one hash": keys(b"G" + struct.pack(">d", k * 2.0**300) for k in range(1, MANY)),
    "a large number as key again and again": b"\x80\2\x8b" + struct.pack("<i", MANY) + b"\1" * MANY
                                             + b"q\0" b"0}(" + b"h\0N" * MANY + b"u.",
    "a wide tuple as key again and again": b"\x80\2(" + b"N" * MANY + b"tq\0" b"0}(" + b"h\0N" * MANY + b"u.",
    "a long text as key again and again": b"\x80\2X" + struct.pack("<I", MANY) + b"a" * MANY + b"q\0" b"0X"
                                          + struct.pack("<I", MANY) + b"a" * MANY + b"q\1" b"0}("
                                          + b"h\0Nh\1N" * MANY + b"u.",
    "a number of many digits": b"L" + b"9" * 10**5 + b"L\n.", "an integer of many digits": b"I" + b"9" * 10**5 + b"\n.",
    "a float of many digits": b"F" + b"9" * 10**5 + b"\n.",
    "a memo index of many digits": b"Np" + b"9" * 10**5 + b"\n.",
    "text encoded again and again": b"\x80\2c_codecs\nencode\nq\0" b"0X" + struct.pack("<I", MANY) + b"a" * MANY
                                    + py2_text("latin1") + b"\x86q\1" b"0" + b"h\0h\1R0" * MANY + b"N.",
    "arrays that share their bytes": array_of(MANY, MANY),
    "a deep shape": ARRAY + b"h\0h\1R(K\1" + doubled(60)[2:] + UINT8 + b"\x89" + py2_text("") + b"tb.",
    "a shape of many axes": ARRAY + b"h\0h\1R(K\1(" + b"K\1" * 10**4 + b"t" + UINT8 + b"\x89" + py2_text("a") + b"tb.",
    "a deep codec": b"\x80\2c_codecs\nencode\n" + py2_text("a") + doubled(60)[2:] + b"\x86R.",
    "a deep dtype": b"\x80\2cnumpy\ndtype\n" + doubled(60)[2:] + b"\x85R.",
    "a deep byte order": b"\x80\2cnumpy\ndtype\n" + py2_text("u1") + b"\x85R(K\3" + doubled(60)[2:] + b"NNNtb.",
    "a deep argument": b"\x80\2cnumpy\nndarray\n" + doubled(60)[2:] + b"\x85R.",
    "a deep state": doubled(60) + b"Nb.",
    "a deep name": b"\x80\4" + doubled(60)[2:] + b"\x8c\1a\x93.",
    "many arguments": b"\x80\2cnumpy\ndtype\n(" + b"N" * 10**4 + b"tR.",
    **{f"a length that lies, {opcode!r}": b"\x80\5" + opcode + length + b"abc" for opcode, length in {
        b"T": b"\xff\xff\xff\x7f", b"B": b"\xff" * 4, b"X": b"\xff" * 4, b"\x8b": b"\xff\xff\xff\x7f",
        b"\x8d": b"\xff\xff\xff\xff\xff\1\0\0", b"\x8e": b"\xff" * 7 + b"\x7f", b"\x96": b"\xff\xff\xff\xff\xff\1\0\0",
    }.items()},
    "a negative length": b"T\xff\xff\xff\xffabc.", "an impossible length": b"\x8e" + b"\xff" * 8 + b"a.",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_for_little(tmp_path, kind):
    content = REFUSED[kind]
    tracemalloc.start()
    try:
        with pytest.raises(BadPickleError) as caught:
            load_pickle(io.BytesIO(content))
        path = tmp_path / "crafted"
        path.write_bytes(content)
        for read in (load_pickle, lambda path: pickles.load_leaving(path, 7)):
            with pytest.raises(BadPickleError):
                read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300 * len(content) + (6 << 20)
    assert len(str(caught.value)) < 500


READ = {
    "tuples": doubled(3000) + b".", "lists": doubled(3000, b"(K\1K\2l0\x86") + b".",
    "deep lists": b"]" * DEEP + b"a" * (DEEP - 1) + b".", "deep tuples": b")" + b"\x85" * DEEP + b".",
    "deep dicts": b"}" + b"K\1}" * DEEP + b"s" * DEEP + b".",
    "sets": b"(" + b"\x8f" * 10**4 + b"l.", "a memo at its end": b"\x80\2Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.",
    "memo": b"\x80\4N" + b"\x94" * DEEP + b".", "a frame that lies": b"\x80\4\x95" + b"\xff" * 8 + b"N.",
    "arrays": array_of(5, 1), "a list many times": b"]q\0(" + b"h\0" * DEEP + b"l.",
}


@pytest.mark.parametrize("kind", READ)
def test_read_for_little(kind):
    content = READ[kind]
    tracemalloc.start()
    try:
        value = load_pickle(io.BytesIO(content))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300 * len(content) + (6 << 20)
    del value  # nothing here recurses


def test_a_dtype_that_many_entries_of_the_memo_hold():
    """All of them get the finished dtype."""
    plain = b"cnumpy\ndtype\n" + py2_text("i2") + b"\x85R" + b"".join(b"q" + bytes([k]) for k in range(200))
    state = b"(K\3" + py2_text(">") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    found = load_pickle(io.BytesIO(b"\x80\2" + plain + state + b"0(" + b"".join(
        b"h" + bytes([k]) for k in range(200)) + b"l."))
    assert found == [np.dtype(">i2")] * 200


@pytest.mark.parametrize("protocol", range(6))
def test_usual_keys_are_taken(protocol):
    value = {"a" * 2000: 1, b"b": 2, 3: 3, 1.5: 4, (0.1, "x", 2**40): 5, None: 6, True: 7, -2**31: 8, 2**60: 9,
             np.float32(7.25) if protocol > 1 else 7.25: 10}
    value |= {k / 7: k for k in range(1000)} | {f"{k:05d}": k for k in range(20000)}
    assert load_pickle(io.BytesIO(pickle.dumps(value, protocol))) == value
    if protocol > 3:
        assert load_pickle(io.BytesIO(pickle.dumps([{1, "a"}, frozenset({(1, 2)})], protocol))) == [
            {1, "a"}, frozenset({(1, 2)})]


def test_one_pickle_after_the_other():
    """The reader stops where the pickle does."""
    file = io.BytesIO(pickle.dumps([1]) + pickle.dumps({"a": 2}) + b"rest")
    assert load_pickle(file) == [1] and load_pickle(file) == {"a": 2} and file.read() == b"rest"


def test_long_strings_of_files_of_unknown_size(tmp_path):
    value = [np.arange(2 * 10**6, dtype=np.uint8), b"x" * 3_000_001, bytearray(b"y" * 1_100_000), "z" * 2_000_000]
    for protocol in (3, 5):
        content = pickle.dumps(value[:2] + (value[2:] if protocol == 5 else value[3:]), protocol)
        (tmp_path / "long").write_bytes(content)
        for found in (load_pickle(io.BytesIO(content)), load_pickle(tmp_path / "long")):
            assert np.array_equal(found[0], value[0]) and found[1] == value[1] and found[-1] == value[3]
        for cut in (100, 10**6, 4 * 10**6, len(content) - 1):
            (tmp_path / "long").write_bytes(content[:cut])
            for file in (io.BytesIO(content[:cut]), tmp_path / "long"):
                with pytest.raises(BadPickleError, match="too early"):
                    load_pickle(file)
