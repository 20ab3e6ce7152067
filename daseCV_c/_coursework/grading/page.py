"""Grades as one page for people."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from daseCV_c._coursework.grading.likeness import Pair
from daseCV_c._coursework.grading.marking import Grade
from daseCV_c._coursework.grading.rubric import Rubric
from daseCV_c._files import replacing
from daseCV_c._version import __version__

_LISTED = 30  # pairs of submissions; the CSV file has all


def write_page(output: str | Path, grades: Sequence[Grade], rubric: Rubric,
               alike: Sequence[Pair] | None = None) -> None:
    """A table of all, the pairs that are most alike, and a section for each submission. All text is escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    page = template.render(grades=grades, rubric=rubric, version=__version__, alike=alike, listed=_LISTED,
                           places={grade.name: place for place, grade in enumerate(grades, 1)})
    with replacing(output) as file:
        file.write(page.encode("utf-8", "replace"))
