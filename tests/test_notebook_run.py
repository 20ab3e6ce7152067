"""The notebooks run from top to bottom, and the copies that readers see are executed ones, of one source."""

import importlib.util
import os
import re
from pathlib import Path

import nbformat
import pytest

import daseCV
from daseCV_c._coursework import percent
from daseCV_c._runtime import backend as _backend

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
SPEC = importlib.util.spec_from_file_location("build_notebooks", FOLDER / "build.py")
build = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build)
OwnKernel = build.OwnKernel
COPIES = [(name, language) for name in build.NAMES for language in build.LANGUAGES]
# CIFAR-10 only where it is; the digits come with the package.
SOURCES = ["digits", *(["cifar10"] if os.environ.get("DASECV_DATA") else [])]
# A piece of the code of each cell that draws, and the number of its plots.
PLOTS = {
    "FullyConnectedNets": {
        "left.plot(solver.loss_history": 1,
        "learn_by_heart(\n    [100, 100],": 1,
        "learn_by_heart(\n    [100, 100, 100, 100],": 1,
        'for rule in ("sgd", "sgd_momentum"):': 1,
        '{"adam": 1e-3, "rmsprop": 1e-4}': 1,
    },
    "BatchNormalization": {
        "plot_runs(runs)\nfor label": 1, '"Best validation accuracy"': 1,
        'by_batch_size("batchnorm")': 1, 'by_batch_size("layernorm")': 1,
    },
    "Dropout": {'title in zip(panels, ["Training accuracy"': 1},
    "ConvolutionalNetworks": {
        '"horizontal edges"': 1, "Training loss on a hundred images": 1, "visualize_grid(model": 1,
    },
}


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cell, kind):
    return [output for output in cell.outputs if output.output_type == kind]


def printed(notebook):
    streams = [output for cell in code_cells(notebook) for output in outputs(cell, "stream")]
    return "".join(output.text for output in streams if output.name == "stdout")


def assert_complete(notebook, name):
    """No cell failed or complained, the cells ran in order, and every plot is there."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert not outputs(cell, "error")
        assert not [output for output in outputs(cell, "stream") if output.name == "stderr"]
    drawn = {}
    for cell in cells:
        pictures = [output for output in outputs(cell, "display_data") if "image/png" in output.data]
        if pictures:
            drawn[cell.source] = len(pictures)
    assert len(drawn) == len(PLOTS[name])
    for piece, count in PLOTS[name].items():
        assert [number for source, number in drawn.items() if piece in source] == [count]


def committed(name, language):
    return nbformat.read(build.LANGUAGES[language] / f"{name}.ipynb", as_version=4)


@pytest.mark.notebook
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", build.NAMES)
def test_runs_from_top_to_bottom(name, source, tmp_path):
    """The other language has the same code."""
    notebook = committed(name, "en")
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    root = str(Path(daseCV.__file__).parents[1])
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *inherited])}
    environment.pop("MPLBACKEND", None)  # the kernel's own draws into the notebook
    if _backend.runtime is None:
        environment["PYTHONWARNINGS"] = "ignore:daseCV_c"  # the one on missing kernels
    if source == "digits":
        environment.pop("DASECV_DATA", None)
    else:
        environment["DASECV_DATA"] = os.path.abspath(environment["DASECV_DATA"])

    build.execute(notebook, tmp_path, environment)

    assert_complete(notebook, name)
    size = {"digits": "1, 8, 8", "cifar10": "3, 32, 32"}[source]
    assert re.search(rf"train: images \(\d+, {size}\)", printed(notebook))
    assert list(tmp_path.iterdir()) == []  # the leaderboard's files went elsewhere


@pytest.mark.parametrize("name", build.NAMES)
def test_both_languages_are_what_the_source_gives(name):
    for language, made in build.notebooks(name).items():
        copy, made = ([(c.cell_type, c.id, c.source) for c in notebook.cells]
                      for notebook in (committed(name, language), made))
        assert copy == made


@pytest.mark.once
@pytest.mark.parametrize("name", [*build.NAMES, "common"])
def test_a_source_is_read_as_jupytext_reads_it(name):
    jupytext = pytest.importorskip("jupytext", reason="jupytext is missing: pip install '.[test]'")
    theirs = jupytext.read(percent.FOLDER / f"{name}.py", fmt="py:percent").cells
    ours = percent.read((percent.FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    assert [(cell.kind, cell.source, cell.language, [cell.tag] if cell.tag else []) for cell in ours] == [
        (cell.cell_type, cell.source, cell.metadata.get("lang"), cell.metadata.get("tags", [])) for cell in theirs]


@pytest.mark.once
def test_a_source_without_the_other_language(tmp_path, monkeypatch):
    monkeypatch.setattr(percent, "FOLDER", tmp_path)
    pair = '# %% [markdown] lang="en"\n# one\n\n# %% [markdown] lang="zh"{}\n# two\n'
    for text in (pair.format("")[:30], pair.format(' tags=["answer"]'), "# %% [text]\n# one\n"):
        (tmp_path / "name.py").write_text(text)
        with pytest.raises(ValueError, match="expected pairs of en and zh|cannot begin with"):
            percent.cells("name")
    (tmp_path / "name.py").write_text(pair.format(""))
    assert [cell.source for cell in percent.cells("name")] == ["one", "two"]


@pytest.mark.parametrize("name", build.NAMES)
def test_both_languages_have_one_code(name):
    first, second = (code_cells(committed(name, language)) for language in build.LANGUAGES)
    assert first == second  # with outputs
    texts = [[c.source for c in committed(name, language).cells if c.cell_type == "markdown"]
             for language in build.LANGUAGES]
    assert len(texts[0]) == len(texts[1]) and all(a != b for a, b in zip(*texts, strict=True))
    chinese = re.compile("[\u4e00-\u9fff]")
    assert not any(map(chinese.search, texts[0])) and all(map(chinese.search, texts[1]))


@pytest.mark.parametrize(("name", "language"), COPIES)
def test_committed_copy_is_executed(name, language):
    copy = committed(name, language)
    nbformat.validate(copy)
    assert_complete(copy, name)
    # Cells that only define or only draw are silent; every check and every training run prints.
    silent = [cell.source for cell in code_cells(copy) if not cell.outputs]
    assert [source.splitlines()[0] for source in silent] == (
        ["import time"] if name == "ConvolutionalNetworks" else [])
    assert printed(copy).startswith("daseCV_c ")


@pytest.mark.parametrize(("name", "language"), COPIES)
def test_committed_copy_used_the_digits(name, language):
    assert re.search(r"train: images \(\d+, 1, 8, 8\)", printed(committed(name, language)))


@pytest.mark.parametrize(("name", "language"), COPIES)
def test_committed_copy_names_no_machine(name, language):
    copy = committed(name, language)
    assert (build.LANGUAGES[language] / f"{name}.ipynb").stat().st_size < 1_000_000
    sources = "".join(cell.source for cell in copy.cells)
    for text in (sources, printed(copy)):
        assert not re.search(r"/(home|root|tmp|Users|usr)\b|[A-Z]:\\", text)
    assert set(copy.metadata) <= {"kernelspec", "language_info"}
    assert copy.metadata.kernelspec == {
        "display_name": "Python 3", "language": "python", "name": "python3",
    }
