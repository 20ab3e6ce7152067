"""What the tests of the command line share."""

import os
import re

import daseCV_c
from daseCV_c.cli.main import main


def fails(capsys, argv, *words):
    """The command gives code 2 and one line on stderr that holds `words`."""
    capsys.readouterr()
    assert main([str(part) for part in argv]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("dasecv: error: ")
    assert captured.err.count("\n") == 1 and captured.err.endswith("\n")
    for word in words:
        assert word in captured.err
    return captured


def accuracies(text):
    return {name: float(value) for name, value in re.findall(r"^(\w+) accuracy: ([\d.]+)$", text, re.M)}


def program_environment():
    """The environment of a subprocess that finds this package from any folder."""
    root = os.path.dirname(os.path.dirname(daseCV_c.__file__))
    rest = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, *rest])}
