"""The pages of docs: their Python runs, and their links lead somewhere."""

import re
import urllib.parse
from pathlib import Path

import jupytext
import numpy as np
import pytest

import daseCV_c
from daseCV_c import layers, optim
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.datasets import load_digits_images
from daseCV_c.solver import Solver

pytestmark = pytest.mark.once
ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not {"_build", "generated"} & set(path.parts))
# Else a page with more shell than Python would be read as one of shell.
HEADER = "---\njupyter:\n  kernelspec: {name: python3, display_name: Python 3, language: python}\n---\n\n"
# They show what needs other libraries; test_{exchange,mpi,search,sklearn}_*.py try it.
OTHERS = {"exchange.md", "scale.md", "search.md", "sklearn.md"}


def blocks(page):
    """The Python of a page, block by block."""
    text = HEADER + page.read_text(encoding="utf-8")
    return [cell.source for cell in jupytext.reads(text, fmt="md").cells
            if cell.cell_type == "code" and not cell.source.startswith("%%")]


def taken_for_granted(page):
    """What the blocks of some pages use without making it."""
    if page.name == "training.md":
        for library in ("safetensors", "tensorboardX"):
            pytest.importorskip(library, reason=f"{library} is not installed, which docs/training.md shows")
        digits = load_digits_images()
        data = {name: digits[name][:100] for name in ("X_train", "y_train", "X_val", "y_val")}
        model = FullyConnectedNet([10], 64, 10, weight_scale="he")
        return {"np": np, "daseCV_c": daseCV_c, "optim": optim, "Solver": Solver, "data": data, "model": model,
                "FullyConnectedNet": FullyConnectedNet, "mean": np.zeros((1, 8, 8))}
    if page.parent.name == "notebooks":
        return {"affine_forward": layers.affine_forward}
    return {}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in OTHERS and blocks(page)],
                         ids=lambda page: str(page.relative_to(DOCS)))
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(optim, "sign_sgd", None, raising=False)  # training.md puts it there
    names = {"__name__": "page"} | taken_for_granted(page)
    for number, block in enumerate(blocks(page), 1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)


def test_pages_have_python():
    assert sum(len(blocks(page)) for page in PAGES) > 40


@pytest.mark.parametrize("page", [*PAGES, *sorted(ROOT.glob("*.md"))], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not urllib.parse.urlsplit(link).scheme and not link.startswith("#"):
            assert (page.parent / link.split("#")[0]).exists(), link
