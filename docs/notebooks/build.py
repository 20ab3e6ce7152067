"""Write the notebooks of both languages from their sources, executed on the bundled digits.

`python docs/notebooks/build.py [NAME ...]`, with the kernels built in place, after `pip install ".[notebook]"`.

The sources are `daseCV_c/_coursework/notebooks/NAME.py`: the package has them, because `python -m daseCV_c new` writes
the same notebooks for students, without outputs and answers. `daseCV_c/_coursework/percent.py` says what is in one.
"""

import argparse
import os
import sys
import tempfile
import uuid
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.localinterfaces import localhost
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from traitlets import default

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
from daseCV_c._coursework import percent  # noqa: E402

NAMES = percent.NAMES
LANGUAGES = {"en": HERE, "zh": HERE / "zh"}


class OwnKernel(AsyncKernelManager):
    """A kernel of the running interpreter, whatever kernels are installed.

    Where there are sockets with names it has some: a port that is free when the kernel is told of it may be taken by
    another program before the kernel is there.
    """

    @default("transport")
    def _transport(self):
        return "ipc" if os.name == "posix" else "tcp"

    @default("ip")
    def _ip(self):
        return os.path.join(tempfile.gettempdir(), f"kernel-{uuid.uuid4()}") if os.name == "posix" else localhost()

    @property
    def kernel_spec(self):
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python 3",
            language="python",
        )


def notebooks(name):
    """The notebooks of a source, not executed: {'en': notebook, 'zh': notebook}."""
    return {language: nbformat.from_dict(percent.notebook(name, language)) for language in LANGUAGES}


def execute(notebook, folder, environment):
    """Run a notebook with `folder` as its current one."""
    client = NotebookClient(notebook, kernel_manager_class=OwnKernel, startup_timeout=600,
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
