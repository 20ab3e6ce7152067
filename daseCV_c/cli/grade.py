"""The command `grade`."""

from __future__ import annotations

import importlib
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daseCV_c.cli import options
from daseCV_c.cli.errors import CommandError, reason

if TYPE_CHECKING:
    from daseCV_c._coursework.grading.marking import Grade
    from daseCV_c._coursework.grading.rubric import Rubric


def register(commands: Any) -> None:
    p = commands.add_parser(
        "grade", help="grade a folder of submissions by a rubric",
        description="Grade every file, folder, zip and notebook in a folder, each in a process of its own. A run that "
                    "was ended goes on with the same command.")
    p.add_argument("folder", metavar="SUBMISSIONS", help="a folder with one entry for each student")
    p.add_argument("--rubric", required=True, metavar="FILE", help="a TOML file: docs/grade.md shows one")
    p.add_argument("-o", "--output", default="grades.csv", metavar="FILE", help="default: grades.csv")
    p.add_argument("--html", metavar="FILE", help="one page: a table, and what each student got and why")
    p.add_argument("--junit", metavar="FILE", help="JUnit XML")
    p.add_argument("--gradescope", metavar="DIR", help="Gradescope's results.json, in a folder for each student")
    p.add_argument("--likeness", metavar="FILE", help="CSV: which submissions are alike in structure; in --html too")
    p.add_argument("--starter", metavar="PATH", help="file or folder that all were given: --likeness leaves it out")
    p.add_argument("--one", action="store_true", help="SUBMISSIONS is the work of one student")
    p.add_argument("--jobs", type=options.count, metavar="N", help="at a time; default: one for each processor")
    p.add_argument("--no-bubblewrap", action="store_true",
                   help="limits alone: what is graded can then read and write files, and use the network")
    p.set_defaults(run=_run)


def _run(args: Namespace) -> None:
    from daseCV_c._coursework.grading import likeness, page, schedule, tables
    from daseCV_c._coursework.isolation import bubblewrap

    for module, wanted in (("jinja2", args.html), ("junitparser", args.junit)):
        if wanted:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise CommandError(f'grade needs {module} for that ({reason(error)}): pip install "daseCV_c[grade]"'
                                   ) from error
    worth = rubric_of(args.rubric)
    path, why = bubblewrap()
    if path is None and not args.no_bubblewrap:
        raise CommandError(f"grade runs unknown code behind bubblewrap, but {why}; --no-bubblewrap does without, and "
                           "leaves files and the network within its reach")
    if args.starter and not args.likeness:
        raise CommandError("--starter is what --likeness leaves out; give both")
    try:
        jobs, others = _jobs(args)
        starters = likeness.given(args.starter) if args.likeness else set()
    except OSError as error:
        raise CommandError(f"{error.filename or args.folder} cannot be read: {reason(error)}") from error
    if not jobs:
        raise CommandError(f"there is no .py, .ipynb, .zip and no folder in {args.folder}")
    for name in others:
        print(f"passed over: {tables.plain(name)}")
    state = schedule.state_file(args.output)

    def done(grade: Grade) -> None:
        # One without a key is no grade of what was handed in: whoever grades has to know.
        why = "" if grade.key else f". {grade.notes[0]}"
        print(tables.plain(f"{grade.name}: {grade.points:g} of {grade.of:g}{why}"), flush=True)

    def not_compared(name: str, said: str, detail: str) -> dict[int, str]:
        print(tables.plain(f"{name} is not in {args.likeness}. {said} {detail}"))
        return {}

    try:
        grades = schedule.grade_all(
            jobs, worth, state, not args.no_bubblewrap, args.jobs or schedule.processors(), done)
        alike = None
        if args.likeness:
            found = schedule.each(likeness.fingerprints, [(name, (name, path)) for name, path in jobs],
                                  args.jobs or schedule.processors(), not_compared)
            alike = likeness.pairs(dict(found), starters)
            tables.write_csv(args.likeness, likeness.rows(alike))
        tables.write_csv(args.output, tables.rows(grades, worth))
        if args.html:
            page.write_page(args.html, grades, worth, alike)
        if args.junit:
            tables.write_junit(args.junit, grades, worth)
        if args.gradescope:
            tables.write_gradescope(args.gradescope, grades, worth)
        Path(state).unlink()
    except OSError as error:
        raise CommandError(f"{getattr(error, 'filename', None) or args.output} cannot be written: {reason(error)}"
                           ) from error
    print(f"{len(grades)} grades in {args.output}")


def rubric_of(file: str) -> Rubric:
    """The rubric in a file; CommandError where it is none."""
    from daseCV_c._coursework.grading import rubric

    try:
        return rubric.load(file)
    except rubric.RubricError as error:
        raise CommandError(reason(error)) from error
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {reason(error)}") from error


def _jobs(args: Namespace) -> tuple[list[tuple[str, Path]], list[str]]:
    """The name and place of each submission, and what is none."""
    from daseCV_c._coursework.grading import reading

    if args.one:
        path = Path(args.folder).resolve(strict=True)
        return [(path.stem if path.is_file() else path.name, path)], []
    return reading.submissions(args.folder)
