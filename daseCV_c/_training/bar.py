"""The bar of a training: the last line of a terminal, or one output of a notebook that changes in place."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from tqdm import tqdm

# Steps and printed lines may each make the bar new so often: together at most 10 times a second.
INTERVAL = 0.2
_BESIDE = "{percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


def in_notebook() -> bool:
    """True where the outputs go to a front end, not to a stream."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _into_a_file(stream: Any) -> bool:
    """True for files and pipes. Streams that belong to no file of the system are somebody's window."""
    if stream is None:
        return True
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return not stream.isatty()


class Bar(tqdm):  # type: ignore[misc]  # tqdm comes without types
    """A bar that says `news` beside the rate. Lines go through `say`, or they would cut it."""

    # tqdm's thread that redraws stuck bars would outlive the training.
    monitor_interval = 0

    def __init__(self, total: int, initial: int, news: Callable[[], str], **options: Any) -> None:
        self._news, self._held = news, list[str]()
        self._said = -INTERVAL
        super().__init__(total=total, initial=initial, unit="it", miniters=1, mininterval=INTERVAL,
                         dynamic_ncols=True, **options)

    @property
    def format_dict(self) -> dict[str, Any]:
        # Asked for when the bar is drawn: a step does not pay for what nobody sees.
        return {**super().format_dict, "postfix": self._news()}

    def say(self, line: str) -> None:
        """Print `line` above the bar. Of many lines a second, most wait for the bar's next change."""
        if sys.stdout is None or not sys.stdout.isatty():
            print(line)
            return
        self._held.append(line)
        now = self._time()
        if now - self._said >= INTERVAL:
            self._said = now
            self.refresh()

    def refresh(self, nolock: bool = False, lock_args: tuple[Any, ...] | None = None) -> None:
        with self.get_lock():
            self._let_out()
            self.display()

    def _let_out(self) -> None:
        lines, self._held = self._held, []
        if lines:
            self.clear(nolock=True)
            print(*lines, sep="\n", flush=True)

    def close(self) -> None:
        self._let_out()
        super().close()


class NotebookBar(Bar):
    """The same as one output. A stream would keep a piece of the bar wherever a printed line cuts it."""

    def __init__(self, total: int, initial: int, news: Callable[[], str]) -> None:
        self._output: Any = None
        super().__init__(total, initial, news, gui=True)  # gui: nothing is written to stderr
        self.refresh()

    def say(self, line: str) -> None:
        print(line)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        state = self.format_dict
        parts = {
            "text/plain": self.format_meter(**state),
            "text/html": f'<progress aria-label="training" max="{max(self.total, 1)}" value="{self.n}"></progress> '
                         f"<code>{html.escape(self.format_meter(**{**state, 'bar_format': _BESIDE}))}</code>",
        }
        if self._output is None:
            self._output = import_module("IPython.display").display(parts, raw=True, display_id=True)
        else:
            self._output.update(parts, raw=True)

    def close(self) -> None:
        if not self.disable:
            self.refresh()  # the last step, whenever the bar was drawn last
        super().close()


def open_bar(total: int, initial: int, news: Callable[[], str]) -> Bar | None:
    """A bar where somebody sees it; None where stderr is a file or a pipe."""
    if in_notebook():
        return NotebookBar(total, initial, news)
    return None if _into_a_file(sys.stderr) else Bar(total, initial, news)
