"""Pickles written opcode by opcode, and objects that pickle as calls."""

import struct


def py2_text(text):
    return b"U" + bytes([len(text)]) + text.encode()


def py2_int(n):
    return b"K" + bytes([n]) if n < 256 else b"M" + struct.pack("<H", n)


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def touch(path):
    """Creates a file if a pickle manages to call it."""
    open(path, "w").close()
