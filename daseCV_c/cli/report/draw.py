"""Curves as SVG in the page's own colours, and images as PNG inside the page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from daseCV_c._training.curves import Curves
from daseCV_c._types import Array
from daseCV_c.plots import DASHES, TITLES, draw_checks, draw_loss

# Colours that nobody would choose stand for the page's variables until the SVG is written.
INK, LINE = "#010203", "#010204"
RUN_COLOURS = tuple(f"#01030{k}" for k in range(7))
_VARIABLES = {INK: "var(--ink)", LINE: "var(--line)",
              **{colour: f"var(--run{k})" for k, colour in enumerate(RUN_COLOURS)}}


@dataclass
class Picture:
    """A PNG as an address, and its size in pixels."""

    address: str
    width: int
    height: int


def picture(pixels: Array) -> Picture:
    """Values 0 to 1, (H, W, 1), (H, W, 3) or (H, W, 4), as a PNG."""
    from matplotlib.image import imsave

    pixels = np.clip(np.nan_to_num(pixels), 0, 1)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    file = io.BytesIO()
    imsave(file, pixels, format="png", metadata={"Software": ""})
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return Picture(f"data:image/png;base64,{data}", pixels.shape[1], pixels.shape[0])


@dataclass
class Panel:
    """One set of axes: its title, what it shows in words, and its SVG."""

    title: str
    words: list[str]
    svg: Any  # Markup: nothing in it comes from a run but numbers


def panels(runs: list[Curves]) -> list[Panel]:
    """The axes that at least one of the runs has numbers for."""
    titles = {**TITLES, "val_loss": "validation loss", "learning_rate": "learning rate"}
    found: list[Panel] = []
    for metric, title in titles.items():
        if any(len(curves.get(metric, ((), ()))[1]) for curves in runs):
            found.append(Panel(title, [_words(curves, metric) for curves in runs], _panel(runs, metric, len(found))))
    return found


def _words(curves: Curves, metric: str) -> str:
    """What a curve does, for those who do not see it."""
    values = curves.get(metric, (np.empty(0), np.empty(0)))[1]
    values = values[np.isfinite(values)]
    if not len(values):
        return "no numbers"
    return (f"begins at {values[0]:.4g}, ends at {values[-1]:.4g}, lowest {values.min():.4g}, "
            f"highest {values.max():.4g}")


def _panel(runs: list[Curves], metric: str, number: int) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 2.8))
    axes = figure.add_axes((0.13, 0.17, 0.84, 0.79))
    for k, curves in enumerate(runs):
        colour, dash = RUN_COLOURS[k % len(RUN_COLOURS)], DASHES[k % len(DASHES)]
        if metric == "loss":
            draw_loss(axes, curves, colour, "run", dash)
        else:
            draw_checks(axes, curves, metric, colour, dash=dash)
    axes.grid(True, color=LINE, linewidth=0.8)
    axes.margins(x=0.02)
    axes.set_xlabel("iteration", color=INK)
    axes.tick_params(which="both", colors=INK, labelsize="small")
    for spine in axes.spines.values():
        spine.set_edgecolor(LINE)
    axes.set_facecolor("none")
    figure.patch.set_visible(False)
    # The numbers of a small learning rate are long, or stand above the axis.
    figure.draw_without_rendering()
    box = axes.get_tightbbox() or figure.bbox  # None where nothing is drawn
    left = max(0, 0.01 - box.x0 / figure.bbox.width)
    above = max(0, box.y1 / figure.bbox.height - 0.99)
    axes.set_position((0.13 + left, 0.17, 0.84 - left, 0.79 - above))
    return _svg(figure.savefig, f"panel{number}")


def _svg(save: Callable[..., None], name: str) -> Any:
    """The figure as markup for the inside of a page: no addresses, ids of its own, the page's colours and fonts."""
    import matplotlib
    from markupsafe import Markup

    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        save(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true" focusable="false">', text,
                  count=1)
    text = text.replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ?([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return Markup(re.sub(r"\n\s*", "\n", text))
