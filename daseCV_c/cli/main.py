"""One parser for all commands, and one place where errors become exit codes."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from daseCV_c._version import __version__
from daseCV_c.cli import (
    autograder,
    bench,
    check,
    evaluate,
    fetch,
    grade,
    leaderboard,
    lr_find,
    new,
    predict,
    report,
    search,
    show,
    streams,
    submit,
    train,
)
from daseCV_c.cli.errors import CommandError, Stopped, reason
from daseCV_c.cli.options import Parser

# In the order of --help. Each module has a `register(commands)` that adds its own parser.
COMMANDS = (
    train,
    lr_find,
    search,
    evaluate,
    predict,
    submit,
    report,
    fetch,
    new,
    check,
    grade,
    autograder,
    leaderboard,
    bench,
    show,
)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="dasecv", description="Train and use the networks of daseCV_c.")
    parser.add_argument("--version", action="version", version=f"dasecv {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.register(commands)
    parser.set_defaults(run=lambda args: parser.print_help())
    return parser


@contextlib.contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Warnings without the place in a program, above the progress bar."""
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        from tqdm import tqdm
        tqdm.write(f"dasecv: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _random_state() -> Iterator[None]:
    """The generator that commands seed is the process's, which is not always theirs."""
    before = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(before)


def _fail(message: str) -> int:
    print(f"dasecv: error: {message}", file=sys.stderr)
    return 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for an error, 130 after Ctrl-C, 143 after SIGTERM.

    `check` gives 1 where it has found a fault.
    """
    with streams.opened(), _warnings_in_a_line(), _random_state():
        code = _run(argv)
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            streams.drop(sys.stdout)
            return code or 1
        except CommandError as error:  # standard output takes no more
            streams.drop(sys.stdout)
            return code or _fail(reason(error))
        return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
        return args.run(args) or 0
    except CommandError as error:
        return _fail(reason(error))
    except MemoryError as error:
        return _fail(f"out of memory: {reason(error)}")
    except Stopped as stop:
        if str(stop):
            print(f"dasecv: {stop}", file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        print("dasecv: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has left.
        streams.drop(sys.stdout)
        return 1
    except OSError as error:
        return _fail(_named(error))
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else 0


def _named(error: OSError) -> str:
    """What no command has expected, such as a working folder that somebody has removed."""
    try:
        os.getcwd()
    except OSError as gone:
        return f"the working folder cannot be used: {reason(gone)}"
    return reason(error) if error.filename is None else f"{os.fsdecode(error.filename)}: {reason(error)}"
