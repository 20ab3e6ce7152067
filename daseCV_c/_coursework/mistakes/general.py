"""Mistakes that any function may have."""

from __future__ import annotations

from daseCV_c._coursework.mistakes import Book

BOOK = Book()

BOOK.seen("unfinished", "*", "This is not written yet: it returns None or says so.", "")
BOOK.seen("changes-its-input", "*",
          "An array that was passed in is changed in place. The caller still needs it, and so does the backward pass.",
          "a function gives a new array, f: x -> out, and leaves x as it is")
BOOK.seen("asks-for-input", "*", "It waits for somebody to type, with input(). Take that out.", "")
BOOK.seen("ends-the-program", "*", "It ends the whole program, with exit() or the like. Take that out.", "")
BOOK.seen("too-much-memory", "*", "It asks for more memory than it may have. How large are the arrays that it makes?",
          "")
BOOK.seen("keeps-an-axis", "*",
          "An axis of length 1 has stayed. It does no harm as long as it is only added and multiplied.",
          "dL/dp has the shape of p")
BOOK.seen("truncated", "*", "Fractions are lost: the result is put into an array of integers.",
          "np.zeros_like(x) is an array of integers where x is one")
