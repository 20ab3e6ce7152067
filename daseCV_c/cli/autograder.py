"""The command `autograder`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from daseCV_c.cli.errors import CommandError, reason
from daseCV_c.cli.grade import rubric_of


def register(commands: Any) -> None:
    p = commands.add_parser(
        "autograder", help="write a rubric for Gradescope, Otter-Grader or nbgrader",
        description="Write what other graders take: an autograder.zip, tests in the OK format, a source notebook. "
                    "Without an option: autograder.zip.")
    p.add_argument("rubric", metavar="RUBRIC", help="a TOML file: docs/grade.md shows one")
    p.add_argument("--gradescope", metavar="FILE", help="the zip to upload as an autograder")
    p.add_argument("--otter", metavar="DIR", help="DIR/tests, and DIR/student/tests without the hidden cases")
    p.add_argument("--nbgrader", metavar="FILE", help="a notebook for nbgrader generate_assignment")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    from daseCV_c._coursework.grading import autograder, nbgrader, otter

    worth = rubric_of(args.rubric)
    if not (args.gradescope or args.otter or args.nbgrader):
        args.gradescope = "autograder.zip"
    kinds: list[tuple[str, Callable[[], None]]] = [
        (args.gradescope, lambda: autograder.write(args.gradescope, args.rubric)),
        (args.otter, lambda: otter.write(args.otter, worth)),
        (args.nbgrader, lambda: nbgrader.write(args.nbgrader, worth))]
    output = ""
    try:
        for output, write in kinds:
            if output:
                write()
                print(f"written: {output}")
    except OSError as error:
        raise CommandError(f"{error.filename or output} cannot be written: {reason(error)}") from error
