"""The command `report`: runs as one page that needs nothing else.

`collect` gathers what is shown of a run, `draw` makes its curves and images, `page.html.j2` is the
page. The template escapes all text; the only markup it takes as it is are the curves of `draw`.
"""

from __future__ import annotations

from argparse import Namespace
from importlib.resources import files
from pathlib import Path
from typing import Any

from daseCV_c._files import replacing
from daseCV_c._version import __version__
from daseCV_c.cli.errors import CommandError, reason


def register(commands: Any) -> None:
    p = commands.add_parser(
        "report", help="write runs as one page: curves, confusion, mistakes, weights",
        description="Write settings, curves, confusion matrix, accuracy by class, the most confident mistakes and the "
                    "first weights of runs, side by side, as one HTML file that needs nothing else.")
    p.add_argument("folders", nargs="+", metavar="RUN", help="folders written by train")
    p.add_argument("-o", "--output", metavar="FILE", default="report.html", help="default: report.html")
    p.add_argument("--data", metavar="PATH", help="where CIFAR-10, or the file of the runs' data, lies now")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    report(args.folders, args.output, args.data)


def side_by_side(columns: list[dict[str, str]]) -> list[tuple[str, list[str]]]:
    """Rows of (name, one value a column); a dash where a column lacks the name."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [column.get(name, "\N{EN DASH}") for column in columns]) for name in names]


def report(folders: list[str], output: str, data: str | None = None) -> None:
    """Write the page that shows the runs in `folders` into `output`."""
    try:
        import jinja2
        import matplotlib  # noqa: F401  # what is missing is said before anything is computed
    except ImportError as error:
        raise CommandError(
            f'report needs jinja2 and matplotlib ({reason(error)}): pip install "daseCV_c[report]"') from error
    from daseCV_c.cli.report.collect import collect, percent
    from daseCV_c.cli.report.draw import panels

    runs = [collect(folder, k, data) for k, folder in enumerate(folders)]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    tables = {"results": side_by_side([run.results for run in runs]),
              "settings": side_by_side([run.settings for run in runs]),
              "classes": side_by_side([{name: percent(right / of, 1) if of else "no samples"
                                        for name, (right, of) in run.by_class().items()} for run in runs])}
    page = template.render(runs=runs, tables=tables, panels=panels([run.curves for run in runs]), version=__version__)
    try:
        with replacing(output) as file:
            # A name that is no text, as a folder may have, is shown with question marks.
            file.write(page.encode("utf-8", "replace"))
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {reason(error)}") from error
    print(f"report in {Path(output)}")
