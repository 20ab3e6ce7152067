"""Pickles written opcode by opcode, and objects that pickle as calls."""

import struct


def py2_text(text):
    return b"U" + bytes([len(text)]) + text.encode()


def py2_int(n):
    return b"K" + bytes([n]) if n < 256 else b"M" + struct.pack("<H", n)


def py2_batch(pixels, labels):
    """The layout of the original files: Python 2, protocol 2."""
    array = (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + py2_text("b") + b"\x87R(K\1"
             + py2_int(len(pixels)) + py2_int(pixels.shape[1]) + b"\x86cnumpy\ndtype\n" + py2_text("u1")
             + b"K\0K\1\x87R(K\3" + py2_text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T"
             + struct.pack("<i", pixels.nbytes) + pixels.tobytes() + b"tb")
    return (b"\x80\2}(" + py2_text("batch_label") + py2_text("a batch") + py2_text("labels") + b"]("
            + b"".join(map(py2_int, labels)) + b"e" + py2_text("data") + array + b"u.")


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def touch(path):
    """Creates a file if a pickle manages to call it."""
    open(path, "w").close()
