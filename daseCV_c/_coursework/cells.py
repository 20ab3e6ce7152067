"""The functions that the cells of a notebook define, as one program without the rest of what the cells do."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from pathlib import Path

_VALUES = (ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.UnaryOp, ast.BinOp, ast.List, ast.Tuple, ast.Dict,
           ast.Set, ast.Lambda, ast.Load, ast.operator, ast.unaryop, ast.Slice, ast.arguments, ast.arg)


def definitions(cells: Iterable[str]) -> str:
    r"""Imports, functions, classes and plain constants, in the order of the cells. Trainings and plots are left out.

    A library that is not there is left out as well: what needs it says so when it is called.

    Examples
    --------
    >>> print(definitions(["%matplotlib inline\nimport math\nx = f(3)",
    ...                    "scale = 2\ndef f(y):\n    return scale * y"]))
    try:
        import math
    except ImportError:
        pass
    scale = 2
    def f(y):
        return scale * y
    """
    kept = []
    for cell in cells:
        lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in cell.splitlines()]
        try:
            found = ast.parse("\n".join(lines)).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in found:
            text = _text_of(lines, node)
            if isinstance(node, ast.Import | ast.ImportFrom):
                kept.append(f"try:\n    {ast.unparse(node)}\nexcept ImportError:\n    pass")
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                decorators = [f"@{ast.unparse(decorator)}" for decorator in node.decorator_list]
                kept.append("\n".join([*decorators, text]))
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and all(
                    isinstance(part, _VALUES) for part in ast.walk(node.value)):
                kept.append(text)
    return "\n".join(kept)


def _text_of(lines: list[str], node: ast.stmt) -> str:
    """What a statement is written as. `ast.get_source_segment` splits the whole cell for each, and indents what
    comes after a semicolon."""
    held = [line.encode() for line in lines[node.lineno - 1:node.end_lineno]]
    held[-1] = held[-1][:node.end_col_offset]
    held[0] = held[0][node.col_offset:]
    return b"\n".join(held).decode()


def notebook_cells(file: str | Path) -> list[str]:
    """The code cells of an .ipynb file; ValueError where it is none."""
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))["cells"]
        sources = [cell["source"] for cell in found if cell["cell_type"] == "code"]
        return ["".join(source) for source in sources]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no notebook: {error}") from error
