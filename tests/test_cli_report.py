"""The report: what it shows, that nothing in it runs or comes from elsewhere, and that it fits a phone."""

import base64
import html.parser
import json
import re
import shutil
import sys

import numpy as np
import pytest
from browser import look_at
from commands import fails

from daseCV_c.cli.main import main
from daseCV_c.cli.report import draw, side_by_side
from daseCV_c.cli.report.collect import Column

pytestmark = pytest.mark.once

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2", reason="jinja2 is not installed: there are no reports")

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs, the second with a name that wants to be markup."""
    top = tmp_path_factory.mktemp("runs")
    names = [top / "first", top / "<script>alert(1)<"]
    for name, more in zip(names, ([], ["--model", "cnn", "--filters", "4"]), strict=True):
        assert main(["train", "--hidden", "10", "--epochs", "2", *more, "--out", str(name)]) == 0
    return names


def report(here, *folders):
    assert main(["report", *map(str, folders), "-o", str(here / "report.html")]) == 0
    return (here / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(folders, tmp_path_factory):
    return report(tmp_path_factory.mktemp("report"), *folders)


class Elements(html.parser.HTMLParser):
    """Every element with its attributes, and the text of each."""

    EMPTY = {"meta", "img", "path", "use"}

    def __init__(self, page):
        super().__init__()
        self.found, self.open = [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        element = (tag, dict(attributes), [])
        self.found.append(element)
        if tag not in self.EMPTY:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, text in self.open:
            text.append(data)

    def all(self, *tags):
        return [(attributes, "".join(text).strip()) for tag, attributes, text in self.found if tag in tags]


@pytest.fixture(scope="module")
def elements(page):
    return Elements(page)


# ---- nothing from elsewhere, nothing that runs

def test_nothing_comes_from_elsewhere(page, elements):
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|//[a-z]|@import|<link|<script|<iframe|<object|xlink", text)
    for _, attributes, _ in elements.found:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert value.startswith(("data:image/png;base64,", "#")), value
    assert all(target.startswith("#panel") for target in re.findall(r"url\((.*?)\)", page))
    ids = [attributes["id"] for _, attributes, _ in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes, _ in elements.found:
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids


def test_names_are_shown_not_obeyed(elements):
    assert "first, <script>alert(1)<" in elements.all("title")[0][1]
    assert not elements.all("script")


@pytest.fixture(scope="module")
def hostile(folders, tmp_path_factory):
    """The report of a run whose file says more than its network's settings."""
    here = tmp_path_factory.mktemp("hostile")
    shutil.copytree(folders[0], here / "run")
    config = json.loads((here / "run" / "config.json").read_text())
    config["settings"] |= {HOSTILE: HOSTILE, "hidden": [HOSTILE]}
    config["version"] = HOSTILE
    (here / "run" / "config.json").write_text(json.dumps(config))
    return report(here, here / "run")


def test_settings_are_shown_not_obeyed(hostile):
    found = Elements(hostile)
    assert not found.all("script")
    assert HOSTILE in [text for _, text in found.all("td")] and HOSTILE in [text for _, text in found.all("th")]


# ---- what is shown

def test_the_numbers_are_the_runs_own(folders, page, elements):
    tables = [text for _, text in elements.all("table")]
    for folder in folders:
        results = json.loads((folder / "config.json").read_text())["results"]
        assert f"{100 * results['test_acc']:.2f}\N{NO-BREAK SPACE}%" in tables[0]
    assert len(tables) == 5  # results, classes, two confusion matrices, settings
    matrices = re.findall(r'<table class="confusion">.*?</table>', page, re.S)
    for folder, matrix in zip(folders, matrices, strict=True):
        counts = np.array(re.findall(r"<td[^>]*>(\d+)</td>", matrix), int).reshape(10, 10)
        results = json.loads((folder / "config.json").read_text())["results"]
        assert np.trace(counts) / counts.sum() == pytest.approx(results["test_acc"])


def test_mistakes_are_the_surest_first(elements):
    captions = [text for _, text in elements.all("figcaption") if "taken for" in text]
    shares = [[float(re.search(r"([\d.]+)\s%", text)[1])] for text in captions]
    assert 12 <= len(captions) <= 24
    first = np.ravel(shares[:12])
    assert np.all(np.diff(first) <= 0)
    for text in captions:
        true, taken = re.search(r"is (\d), taken for (\d)", text).groups()
        assert true != taken


def test_images_are_images(elements):
    for attributes, _ in elements.all("img"):
        data = base64.b64decode(attributes["src"].split(",")[1])
        assert data.startswith(b"\x89PNG")
        assert int.from_bytes(data[16:20], "big") == int(attributes["width"])
        assert int.from_bytes(data[20:24], "big") == int(attributes["height"])
        assert attributes["alt"].strip()


def test_rows_side_by_side():
    assert side_by_side([{"a": "1", "b": "2"}, {"b": "3", "c": "4"}]) == [
        ("a", ["1", "\N{EN DASH}"]), ("b", ["2", "3"]), ("c", ["\N{EN DASH}", "4"])]


def test_many_classes_are_listed_by_their_confusions():
    counts = np.eye(40, dtype=np.int64) * 5
    counts[3, 7], counts[9, 1] = 2, 4
    run = Column("r", 0, {}, {}, {}, classes=[f"c{k}" for k in range(40)], counts=counts)
    assert not run.is_table()
    assert run.confusions() == [("c9", "c1", 4), ("c3", "c7", 2)]


# ---- for every reader

def test_made_for_a_screen_reader(page, elements):
    assert elements.all("html")[0][0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _, _ in elements.found if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert len(elements.all("main")) == len(elements.all("nav")) == 1
    assert len(elements.all("caption")) == len(elements.all("table"))
    for attributes, text in elements.all("th"):
        assert attributes["scope"] in ("col", "row") and text
    for tag, attributes, _ in elements.found:
        if attributes.get("role") in ("img", "region"):
            assert attributes["aria-label"].strip()
        if tag == "svg":
            assert attributes["aria-hidden"] == "true"
    labels = [attributes["aria-label"] for _, attributes, _ in elements.found if attributes.get("role") == "img"]
    assert all(re.search(r"first: begins at [\d.]+, ends at [\d.]+", label) for label in labels)


def luminance(colour):
    parts = [int(colour[k:k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("rates", [(0.002, 0.00195, 0.0018), (1.25e-5, 1.2e-5, 1.1e-5), (1, 0.5, 0.1)], ids=str)
def test_no_number_of_an_axis_is_cut_off(monkeypatch, rates):
    monkeypatch.setattr(draw, "_svg", lambda save, name: save.__self__)
    figure = draw._panel([{"learning_rate": (np.arange(3), np.array(rates))}], "learning_rate", 0)
    figure.draw_without_rendering()
    outside = figure.axes[0].get_tightbbox()
    assert outside.x0 >= 0 and outside.y0 >= 0
    assert outside.x1 <= figure.bbox.width and outside.y1 <= figure.bbox.height


def test_contrast_in_both_schemes(page):
    """WCAG 2.2: 4.5 for text, 3 for lines that mean something."""
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", rule)) for rule in re.findall(r":root \{(.*?)\}", page, re.S))
    assert set(light) == set(dark)
    for colours in (light, dark):
        for ground in ("paper", "shade"):
            assert contrast(colours["ink"], colours[ground]) > 7
            assert contrast(colours["muted"], colours[ground]) > 4.5
        assert contrast(colours["ink"], colours["right"]) > 4.5
        assert contrast(colours["ink"], colours["wrong"]) > 4.5
        assert all(contrast(colours[f"run{k}"], colours["paper"]) > 3 for k in range(7))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(page, hostile, scheme):
    frames = [(page, 400), (page, 1400), (hostile, 400)]
    for (text, width), seen in zip(frames, look_at(frames, scheme), strict=True):
        assert seen["title"] == "Training report: " + ("run" if text is hostile else "first, <script>alert(1)<")
        assert seen["width"] <= width  # nothing sticks out
        assert seen["scripts"] == seen["handlers"] == seen["small"] == 0
        assert seen["fetched"] == []
        assert seen["images"] and all(size > 0 and alt for size, alt in seen["images"])
        ground, ink = (sum(map(int, re.findall(r"\d+", seen[name])[:3])) for name in ("background", "colour"))
        assert (ground > 700 and ink < 150) if scheme == "light" else (ground < 100 and ink > 600)


# ---- errors

def test_images_that_are_gone(folders, here, monkeypatch):
    from daseCV_c.cli.errors import CommandError

    def gone(*arguments):
        raise CommandError("CIFAR-10: there is no folder <b>")

    monkeypatch.setattr("daseCV_c.cli.report.collect.dataset_of", gone)
    found = Elements(report(here, folders[0]))
    notes = [text for _, text in found.all("p")]
    assert any("There are no predictions: CIFAR-10: there is no folder <b>" in note for note in notes)
    assert len(found.all("svg")) >= 3


def test_a_run_that_diverged_is_shown_beside_another(folders, here):
    shutil.copytree(folders[0], here / "run")
    with np.load(here / "run" / "best.npz") as arrays:
        np.savez(here / "run" / "best.npz", **{**arrays, "W1": np.full_like(arrays["W1"], np.nan)})
    with open(here / "run" / "history.csv", "a") as history:
        history.write("51,2,loss,inf\n52,2,loss,nan\n")
    found = Elements(report(here, "run", folders[0]))
    assert any("run: There are no predictions: " in text and "W1" in text for _, text in found.all("p"))
    assert len(found.all("table")) == 4  # one confusion matrix


@pytest.mark.parametrize("name", ["jinja2", "matplotlib"])
def test_what_is_missing_is_named(folders, here, capsys, monkeypatch, name):
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    fails(capsys, ["report", folders[0]], 'pip install "daseCV_c[report]"')
    assert not (here / "report.html").exists()


def test_what_cannot_be_shown_is_an_error(folders, here, capsys):
    fails(capsys, ["report", "absent"], "there is no run absent")
    fails(capsys, ["report", folders[0], "-o", "absent/r.html"], "absent/r.html cannot be written")
    shutil.copytree(folders[0], here / "run")
    (here / "run" / "history.csv").write_text("what?")
    fails(capsys, ["report", "run"], "history.csv")
