"""`%dasecv_check`: the self-check on what a notebook has defined."""

from __future__ import annotations

from typing import Any


def register(ipython: Any) -> None:
    """Give IPython the magic `%dasecv_check [NAME ...]`; a NAME that ends in .py or .ipynb is a file."""
    def dasecv_check(line: str) -> None:
        """Hold the functions that this notebook defines, or those named, against the right ones."""
        print(report_on(line.replace(",", " ").split(), list(ipython.user_ns.get("In", []))))

    if ipython is not None:  # no notebook
        ipython.register_magic_function(dasecv_check, "line", "dasecv_check")


def report_on(words: list[str], cells: list[str]) -> str:
    """The table for the files among `words`, or for the cells."""
    from daseCV_c._coursework import running, table
    from daseCV_c._coursework.cells import definitions

    files = [word for word in words if word.endswith((".py", ".ipynb"))]
    only = [word for word in words if word not in files]
    unknown = [name for name in only if name not in running.CASES]
    if unknown:
        return f"%dasecv_check: no function of the course is called {unknown[0]!r}"
    if not files:
        return table.as_text(running.check_text(definitions(cells), only), "this notebook")
    return "\n\n".join(table.as_text(running.check(file, only), file) for file in files)
