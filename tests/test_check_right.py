"""The self-check passes what is right, however it is written."""

import importlib.util
from pathlib import Path

import pytest

from daseCV_c._coursework import running
from daseCV_c._coursework.programs import execute

pytestmark = pytest.mark.once

FILES = sorted((Path(__file__).parent / "right").glob("*.py"))


def load(file):
    spec = importlib.util.spec_from_file_location(f"right_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def test_there_are_fifteen():
    assert len(FILES) >= 15


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("seed", [0, 12345])
def test_what_is_right_passes_whole(file, seed):
    written = load(file)
    results = [running.try_function(name, lambda program: execute(program, written), seed)
               for name in running.CASES if name in written]
    assert results
    assert [(result.function, result.status, result.mistake, result.hint) for result in results] == [
        (result.function, "passed", None, None) for result in results]
