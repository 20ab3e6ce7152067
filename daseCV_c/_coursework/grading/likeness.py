"""Which submissions are alike in structure, as a list for people to look at.

Each function becomes the list of its syntax, without its own names, comments and texts. Of every stretch of SPAN
pieces the hash is taken, and of WINDOW hashes in a row the smallest is kept: winnowing, by which two functions that
share SPAN + WINDOW - 1 pieces in a row share a hash (Schleimer, Wilkerson, Aiken, 2003). What the starter holds, and
what many have written, says nothing and is left out.
"""

from __future__ import annotations

import ast
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daseCV_c._coursework import starter, stubs
from daseCV_c._coursework.cells import definitions, notebook_cells
from daseCV_c._coursework.grading.reading import Submission, read

SPAN = 16
WINDOW = 8
_FEWEST = 8  # hashes that must be shared: fewer are chance
_COMMON = 4  # what more submissions hold than the n-th part of all is how one writes it

Prints = dict[int, str]
"""Hashes, each with the function that holds it."""


@dataclass(frozen=True)
class Pair:
    """Two submissions, how much of the smaller one is in the other, and the functions that it lies in."""

    first: str
    second: str
    likeness: float
    shared: int
    of_first: int
    of_second: int
    functions: tuple[str, ...]


def fingerprints(name: str, path: Path) -> Prints:
    """The hashes of everything in a submission."""
    return _prints(read(name, path))


def given(path: str | Path | None = None) -> set[int]:
    """The hashes of what students were given: the stubs of `new`, and what lies at `path`, or OSError."""
    found: set[int] = set()
    for language in starter.LANGUAGES:
        found |= set(_of_text(stubs.functions(language))) | set(_of_text(stubs.networks(language)))
    if path is not None:
        Path(path).stat()
        found |= set(_prints(read("starter", Path(path))))
    return found


def pairs(prints: Mapping[str, Prints], starters: set[int]) -> list[Pair]:
    """Every two submissions that share something, those most alike first."""
    counts = Counter(one for found in prints.values() for one in found)
    most = max(3, len(prints) // _COMMON)
    left = {name: {one: where for one, where in found.items() if one not in starters and counts[one] <= most}
            for name, found in prints.items()}
    names = sorted(left)
    found = []
    for place, first in enumerate(names):
        for second in names[place + 1:]:
            shared = left[first].keys() & left[second].keys()
            if len(shared) >= _FEWEST:
                where = Counter(left[first][one] for one in shared)
                found.append(Pair(first, second, len(shared) / min(len(left[first]), len(left[second])), len(shared),
                                  len(left[first]), len(left[second]),
                                  tuple(sorted(where, key=lambda function: (-where[function], function))[:8])))
    return sorted(found, key=lambda pair: (-pair.likeness, -pair.shared, pair.first, pair.second))


def rows(found: Sequence[Pair]) -> list[list[Any]]:
    """The table of the CSV file."""
    head = ["first", "second", "likeness", "shared", "of first", "of second", "functions"]
    return [head, *([pair.first, pair.second, round(pair.likeness, 3), pair.shared, pair.of_first, pair.of_second,
                     " ".join(pair.functions)] for pair in found)]


def _prints(submission: Submission) -> Prints:
    found: Prints = {}
    for parts, data in sorted(submission.files.items()):
        for one, where in _of_text(_text(parts[-1], data)).items():
            found.setdefault(one, where)
    return found


def _text(name: str, data: bytes) -> str:
    if not name.lower().endswith(".ipynb"):
        return data.decode("utf-8", "replace")
    with tempfile.TemporaryDirectory(prefix="dasecv-grade-") as folder:
        path = Path(folder) / "notebook.ipynb"
        path.write_bytes(data)
        try:
            return definitions(notebook_cells(path))
        except (ValueError, RecursionError, MemoryError):
            return ""


def _of_text(text: str) -> Prints:
    found: Prints = {}
    try:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                for one in _winnow(list(_pieces(node))):
                    found.setdefault(one, node.name)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass  # what Python cannot read is like nothing
    return found


def _pieces(node: ast.AST) -> Iterator[str]:
    """The syntax of a function from its first statement on. A function in a function is a piece of its own."""
    body = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.FunctionDef):
        body = [part for part in node.body if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))]
    for part in body:
        if isinstance(part, ast.expr_context | ast.FunctionDef):
            continue
        yield _piece(part)
        if not isinstance(part, ast.Constant):
            yield from _pieces(part)


def _piece(node: ast.AST) -> str:
    """What a node is called. Names of attributes and keywords stay, for they are NumPy's; so do numbers."""
    kind = type(node).__name__
    if isinstance(node, ast.Attribute):
        return f"{kind} {node.attr}"
    if isinstance(node, ast.keyword):
        return f"{kind} {node.arg}"
    if isinstance(node, ast.Constant):
        return f"{kind} {type(node.value).__name__ if isinstance(node.value, str | bytes) else node.value!r}"
    return kind


def _winnow(pieces: list[str]) -> set[int]:
    hashes = [int.from_bytes(hashlib.blake2b("\n".join(pieces[at:at + SPAN]).encode("utf-8", "replace"),
                                             digest_size=8).digest(), "big")
              for at in range(len(pieces) - SPAN + 1)]
    if not hashes:
        return set()
    return {min(hashes[at:at + WINDOW]) for at in range(max(1, len(hashes) - WINDOW + 1))}
