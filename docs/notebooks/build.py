"""Write the notebooks of both languages from their sources, executed on the bundled digits.

`python docs/notebooks/build.py [NAME ...]`, with the kernels built in place, after `pip install ".[notebook]"`.

A source is `source/NAME.py` in jupytext's percent format. Its markdown cells are pairs, `lang="en"` and `lang="zh"`;
code cells are written once. The cells of `source/common.py` take the place of the cell with the tag `common`.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in (HERE / "source").glob("*.py") if path.stem != "common")
LANGUAGES = {"en": HERE, "zh": HERE / "zh"}


class OwnKernel(AsyncKernelManager):
    """A kernel of the running interpreter, whatever kernels are installed."""

    @property
    def kernel_spec(self):
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python 3",
            language="python",
        )


def _cells(name):
    """The cells of a source; ValueError where a markdown cell has no other language beside it."""
    import jupytext  # whoever only executes a notebook does without
    cells = jupytext.read(HERE / "source" / f"{name}.py", fmt="py:percent").cells
    languages = [cell.metadata.get("lang") for cell in cells if cell.cell_type == "markdown"]
    if languages != ["en", "zh"] * (len(languages) // 2):
        raise ValueError(f"{name}: the markdown cells are in {languages}, expected pairs of en and zh")
    found = []
    for cell in cells:
        found += _cells("common") if "common" in cell.metadata.get("tags", ()) else [cell]
    return found


def notebooks(name):
    """The notebooks of a source, not executed: {'en': notebook, 'zh': notebook}."""
    found = {}
    for language in LANGUAGES:
        notebook = nbformat.v4.new_notebook(metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"}})
        for cell in _cells(name):
            if cell.cell_type == "markdown" and cell.metadata["lang"] != language:
                continue
            make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
            notebook.cells.append(make(cell.source, id=f"cell-{len(notebook.cells):02}"))
        found[language] = notebook
    return found


def execute(notebook, folder, environment):
    """Run a notebook with `folder` as its current one."""
    client = NotebookClient(notebook, kernel_manager_class=OwnKernel, timeout=1200,
                            resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
        joined = []
        for output in cell.get("outputs", ()):  # what was printed comes in pieces
            if joined and output.output_type == joined[-1].output_type == "stream" and output.name == joined[-1].name:
                joined[-1].text += output.text
            else:
                joined.append(output)
        if cell.cell_type == "code":
            cell.outputs = joined


def write(name):
    """Execute the code once, and write it with the text of each language."""
    found = notebooks(name)
    environment = {k: v for k, v in os.environ.items() if k not in ("DASECV_DATA", "MPLBACKEND")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parents[1]), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        execute(found["en"], folder, environment)
    codes = [cell for cell in found["en"].cells if cell.cell_type == "code"]
    for language, folder in LANGUAGES.items():
        for cell, done in zip((c for c in found[language].cells if c.cell_type == "code"), codes, strict=True):
            cell.outputs, cell.execution_count = done.outputs, done.execution_count
        folder.mkdir(exist_ok=True)
        nbformat.write(found[language], folder / f"{name}.ipynb")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    for name in parser.parse_args().names or NAMES:
        write(name)
        print(f"{name}: written")


if __name__ == "__main__":
    main()
