"""The commands where standard streams are closed or full, and where the working folder is gone."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import fails, program_environment

from daseCV_c.cli.main import main

pytestmark = pytest.mark.once

SHORT = ["train", "--hidden", "5", "--epochs", "1", "--out", "run"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="of Unix")


class Full(io.StringIO):
    """What takes no more."""

    def write(self, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def program(words, before="", after=""):
    """The command in a process of its own, started by a shell: exit code, output, errors."""
    done = subprocess.run(["sh", "-c", f'{before} exec "$0" -m daseCV_c {words} {after}', sys.executable],
                          capture_output=True, text=True, check=False, env=program_environment())
    return done.returncode, done.stdout, done.stderr


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("closed", [("stdout",), ("stderr",), ("stdin", "stdout", "stderr")])
def test_closed_streams_are_for_nobody(here, monkeypatch, closed):
    for name in closed:
        monkeypatch.setattr(sys, name, None)
    assert main(SHORT) == 0 and Path("run/best.npz").exists()
    assert main(["evaluate", "run"]) == 0 and main(["config"]) == 0 and main(["--help"]) == 0
    assert main(["evaluate", "none"]) == 2 and main(["no-command"]) == 2
    assert all(getattr(sys, name) is None for name in closed)


@posix
def test_streams_that_the_shell_has_closed(here):
    assert program("config", after=">&- 2>&- <&-") == (0, "", "")
    code, out, said = program("config", after="2>&-")
    assert code == 0 and out.startswith("version:") and said == ""
    assert program("evaluate none", after="2>&-") == (2, "", "")


@pytest.mark.parametrize("words", [["config"], ["--help"], ["--version"], SHORT])
def test_output_that_takes_no_more(here, capsys, monkeypatch, words):
    monkeypatch.setattr(sys, "stdout", Full())
    assert main(words) == 2
    assert capsys.readouterr().err == (
        f"dasecv: error: standard output cannot be written: {os.strerror(errno.ENOSPC)}\n")
    if words is SHORT:  # what was trained until then is there
        assert Path("run/checkpoint.npz").exists()
        monkeypatch.undo()
        monkeypatch.chdir(here)
        assert main(["train", "--resume", "run"]) == 0


@pytest.mark.usefixtures("no_pictures")
def test_errors_that_nobody_takes_change_no_exit_code(here, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Full())
    assert main(["evaluate", "none"]) == 2
    assert main(SHORT) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_what_python_still_holds_at_exit_is_no_second_error(here):
    said = f"dasecv: error: standard output cannot be written: {os.strerror(errno.ENOSPC)}\n"
    assert program("config", after=">/dev/full") == (2, "", said)
    assert program("evaluate none", after="2>/dev/full") == (2, "", "")


@posix
def test_a_working_folder_that_is_gone(here, capsys, monkeypatch):
    gone = here / "gone"
    gone.mkdir()
    code, out, said = program("config", before=f"cd '{gone}' && rmdir '{gone}' &&")
    assert code == 0 and out.startswith("version:") and said == ""
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    fails(capsys, SHORT, "run cannot be written")
    for words in (["check", "x.py"], ["new", "x"], ["predict", "run", "x.npy"], ["report", "run"]):
        fails(capsys, words)
    assert main(["config"]) == 0


def test_an_error_of_the_system_that_nobody_has_expected(capsys, monkeypatch):
    def refuse():
        raise OSError(errno.EIO, "broken", "a file")

    monkeypatch.setattr("daseCV_c.show_config", refuse)
    fails(capsys, ["config"], "a file: broken")
