"""The notebook runs from top to bottom, and the copy that readers see is an executed one."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

import daseCV
from daseCV_c._runtime import backend as _backend

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "notebooks" / "FullyConnectedNets.ipynb"
# CIFAR-10 only where it is; the digits come with the package.
SOURCES = ["digits", *(["cifar10"] if os.environ.get("DASECV_DATA") else [])]
# A piece of the code of each cell that draws, and the number of its plots.
PLOTS = {
    "left.plot(solver.loss_history": 1,
    "learn_by_heart(\n    [100, 100],": 1,
    "learn_by_heart(\n    [100, 100, 100, 100],": 1,
    'for rule in ("sgd", "sgd_momentum"):': 1,
    '{"adam": 1e-3, "rmsprop": 1e-4}': 1,
}


class OwnKernel(AsyncKernelManager):
    """A kernel of the running interpreter, whatever kernels are installed."""

    @property
    def kernel_spec(self):
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python 3",
            language="python",
        )


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cell, kind):
    return [output for output in cell.outputs if output.output_type == kind]


def printed(notebook):
    streams = [output for cell in code_cells(notebook) for output in outputs(cell, "stream")]
    return "".join(output.text for output in streams if output.name == "stdout")


def assert_complete(notebook):
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
    assert len(drawn) == len(PLOTS)
    for piece, count in PLOTS.items():
        assert [number for source, number in drawn.items() if piece in source] == [count]


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.mark.notebook
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("source", SOURCES)
def test_runs_from_top_to_bottom(source, tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
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

    client = NotebookClient(
        notebook,
        kernel_manager_class=OwnKernel,
        resources={"metadata": {"path": str(tmp_path)}},
        timeout=1200,
    )
    client.execute(env=environment)

    assert_complete(notebook)
    size = {"digits": "1, 8, 8", "cifar10": "3, 32, 32"}[source]
    assert re.search(rf"train: images \(\d+, {size}\)", printed(notebook))
    assert list(tmp_path.iterdir()) == []  # the leaderboard's files went elsewhere


def test_committed_copy_is_executed(committed):
    nbformat.validate(committed)
    assert_complete(committed)
    # Cells that only define or only draw are silent; every check and every training run prints.
    silent = [cell.source for cell in code_cells(committed) if not cell.outputs]
    assert [source.splitlines()[0] for source in silent] == ["import os"]


def test_committed_copy_used_the_digits(committed):
    assert re.search(r"train: images \(\d+, 1, 8, 8\)", printed(committed))


def test_committed_copy_names_no_machine(committed):
    assert NOTEBOOK.stat().st_size < 1_000_000
    sources = "".join(cell.source for cell in committed.cells)
    for text in (sources, printed(committed)):
        assert not re.search(r"/(home|root|tmp|Users|usr)\b|[A-Z]:\\", text)
    assert set(committed.metadata) <= {"kernelspec", "language_info"}
    assert committed.metadata.kernelspec == {
        "display_name": "Python 3", "language": "python", "name": "python3",
    }
