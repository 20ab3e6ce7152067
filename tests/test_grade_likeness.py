"""Likeness of submissions: by structure, names aside, without what everybody was given."""

import csv
import json
from pathlib import Path

import pytest

from daseCV_c._coursework import stubs
from daseCV_c._coursework.grading import likeness

pytestmark = pytest.mark.once

CONV = '''
import numpy as np

def conv_forward_naive(x, w, b, conv_param):
    """Loops."""
    N, C, H, W = x.shape
    F, C, HH, WW = w.shape
    stride, pad = conv_param["stride"], conv_param["pad"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))  # zeros
    out = np.zeros((N, F, 1 + (H + 2 * pad - HH) // stride, 1 + (W + 2 * pad - WW) // stride))
    for n in range(N):
        for f in range(F):
            for i in range(out.shape[2]):
                for j in range(out.shape[3]):
                    window = padded[n, :, i * stride:i * stride + HH, j * stride:j * stride + WW]
                    out[n, f, i, j] = np.sum(window * w[f]) + b[f]
    return out, (x, w, b, conv_param)
'''
# The same by somebody who has changed names, comments, texts and lines.
RENAMED = '''
import numpy as np
def helper(q):
    return q

def conv_forward_naive(images, kernels, bias, options):
    batch, ch, high, wide = images.shape
    num, ch, kh, kw = kernels.shape
    s, p = options['stride'], options['pad']
    big = np.pad(images, ((0, 0), (0, 0), (p, p), (p, p)))
    result = np.zeros((batch, num,
                       1 + (high + 2 * p - kh) // s, 1 + (wide + 2 * p - kw) // s))
    # all places
    for a in range(batch):
        for k in range(num):
            for r in range(result.shape[2]):
                for c in range(result.shape[3]):
                    part = big[a, :, r * s:r * s + kh, c * s:c * s + kw]
                    result[a, k, r, c] = np.sum(part * kernels[k]) + bias[k]
    return result, (images, kernels, bias, options)
'''
OTHER = '''
import numpy as np

def conv_forward_naive(x, w, b, conv_param):
    s, p = conv_param["stride"], conv_param["pad"]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, [(0, 0)] * 2 + [(p, p)] * 2), w.shape[2:], (2, 3))
    return np.einsum("ncijhw,fchw->nfij", windows[:, :, ::s, ::s], w) + b[None, :, None, None], (x, w, b, conv_param)
'''


def prints(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return {name: likeness.fingerprints(name, folder / f"{name}.py") for name in texts}


def test_names_comments_and_lines_change_nothing(tmp_path):
    found = likeness.pairs(prints(tmp_path, one=CONV, two=RENAMED, three=OTHER), likeness.given())
    assert [(pair.first, pair.second, pair.likeness) for pair in found] == [("one", "two", 1.0)]
    assert found[0].functions == ("conv_forward_naive",) and found[0].shared >= 8


def test_what_was_given_says_nothing(tmp_path):
    given = stubs.functions("en")
    assert likeness.pairs(prints(tmp_path, one=given, two=stubs.functions("zh")), likeness.given()) == []
    (tmp_path / "given.py").write_text(CONV)
    given = likeness.given(tmp_path / "given.py")
    assert likeness.pairs(prints(tmp_path, one=CONV, two=RENAMED), given) == []
    with pytest.raises(OSError, match="none"):
        likeness.given(tmp_path / "none")


def test_what_many_have_written_says_nothing(tmp_path):
    many = prints(tmp_path, **{f"n{k}": CONV for k in range(4)})
    assert likeness.pairs(many, set()) == []
    assert len(likeness.pairs({name: many[name] for name in ("n0", "n1", "n2")}, set())) == 3


def test_what_python_cannot_read_is_like_nothing(tmp_path):
    deep = "def f(x):\n    return " + "(" * 500 + "x" + ")" * 500
    minus = "x = " + "-" * 50_000 + "1"
    assert not any(prints(tmp_path, broken="def f(:", deep=deep, zeros="\0", minus=minus).values())
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": CONV}]}))
    (tmp_path / "m.ipynb").write_text("[" * 100_000)
    assert likeness.fingerprints("n", tmp_path / "n.ipynb") == prints(tmp_path, one=CONV)["one"]
    assert likeness.fingerprints("m", tmp_path / "m.ipynb") == {}


def test_sixty_styles_are_told_apart(tmp_path):
    """The right solutions of the suite, which are written in different ways: none is like another by more than half."""
    for path in (Path(__file__).parent / "right").glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    found = {path.stem: likeness.fingerprints(path.stem, path) for path in tmp_path.iterdir()}
    assert max((pair.likeness for pair in likeness.pairs(found, likeness.given())), default=0) < 0.5


def test_the_command_lists_them(tmp_path, monkeypatch, capsys):
    pytest.importorskip("jinja2")
    from daseCV_c._coursework.isolation import bubblewrap
    from daseCV_c.cli.main import main

    monkeypatch.chdir(tmp_path)
    Path("S").mkdir()
    prints(Path("S"), one=CONV, two=RENAMED, three=OTHER)
    Path("rubric.toml").write_text('seeds = [1]\n[[question]]\nfunctions = ["relu_forward"]\npoints = 1\n')
    words = ["grade", "S", "--rubric", "rubric.toml", *([] if bubblewrap()[0] else ["--no-bubblewrap"])]
    assert main([*words, "--likeness", "alike.csv", "--html", "page.html"]) == 0
    with open("alike.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["first"], row["second"], row["likeness"]) for row in rows] == [("one", "two", "1.0")]
    page = Path("page.html").read_text()
    assert "no verdict" in page and '<a href="#s1">one</a>, <a href="#s3">two</a>' in page
    assert main([*words, "--html", "page.html"]) == 0 and "no verdict" not in Path("page.html").read_text()
    capsys.readouterr()
    assert main([*words, "--starter", "S"]) == 2 and "give both" in capsys.readouterr().err
    assert main([*words, "--likeness", "alike.csv", "--starter", "none"]) == 2
    assert "none cannot be read" in capsys.readouterr().err
