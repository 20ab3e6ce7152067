"""The notebooks' sources: `notebooks/NAME.py` in the percent format, which jupytext and editors read as well.

Markdown cells are pairs, `lang="en"` and `lang="zh"`; code cells are written once. The cells of `notebooks/common.py`
take the place of the cell with the tag `common`. A cell with the tag `answer` is for readers, not for the course folder
of a student, and one with the tag `starter` the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "common")
LANGUAGES = ("en", "zh")
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"}}
_HEAD = re.compile(r'# %%(?P<markdown> \[markdown\])?(?: lang="(?P<language>\w+)")?(?: tags=\["(?P<tag>\w+)"\])?')
_PLACE = {"en": "*Your answer goes here.*", "zh": "*在这里写下你的答案。*"}


@dataclass(frozen=True)
class Cell:
    """One cell of a source."""

    kind: str
    """code or markdown."""
    source: str
    language: str | None = None
    """Of markdown."""
    tag: str | None = None


def read(text: str) -> Iterator[Cell]:
    """The cells of a text, whose magics are comments. ValueError for a head that is none."""
    parts = re.split(r"^(# %%.*)\n", text, flags=re.MULTILINE)
    for head, body in zip(parts[1::2], parts[2::2], strict=True):
        found = _HEAD.fullmatch(head)
        if found is None:
            raise ValueError(f"a cell cannot begin with {head!r}")
        markdown, language, tag = found.groups()
        lines = body.strip("\n").splitlines()
        if markdown:
            lines = [re.sub("^# ?", "", line) for line in lines]
        else:
            lines = [re.sub("^# (?=%[a-z])", "", line) for line in lines]
        yield Cell("markdown" if markdown else "code", "\n".join(lines), language, tag)


def cells(name: str) -> list[Cell]:
    """The cells of a notebook; ValueError where a markdown cell has no other language beside it."""
    found = list(read((FOLDER / f"{name}.py").read_text(encoding="utf-8")))
    texts = [cell for cell in found if cell.kind == "markdown"]
    pairs = list(zip(texts[::2], texts[1::2], strict=False))
    if len(texts) % 2 or any((a.language, b.language, a.tag) != (*LANGUAGES, b.tag) for a, b in pairs):
        raise ValueError(f"{name}: the markdown cells are in {[cell.language for cell in texts]}, expected pairs of "
                         f"{' and '.join(LANGUAGES)} with one tag")
    whole: list[Cell] = []
    for cell in found:
        whole += cells("common") if cell.tag == "common" else [cell]
    return whole


def notebook(name: str, language: str, student: bool = False) -> dict[str, Any]:
    """A notebook without outputs, in nbformat 4.5: with the answers, or with places for those of a student."""
    chosen = [cell for cell in cells(name)
              if cell.language in (None, language) and cell.tag != ("answer" if student else "starter")
              or student and cell.tag == "answer" and cell.language == language]
    place = Cell("markdown", _PLACE[language])
    return as_notebook(place if student and cell.tag == "answer" else cell for cell in chosen)


def as_notebook(cells: Iterable[Cell]) -> dict[str, Any]:
    """Cells as nbformat has them."""
    found = []
    for i, cell in enumerate(cells):
        made: dict[str, Any] = {"cell_type": cell.kind, "id": f"cell-{i:02}", "metadata": {}, "source": cell.source}
        found.append(made | {"execution_count": None, "outputs": []} if cell.kind == "code" else made)
    return {"cells": found, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
