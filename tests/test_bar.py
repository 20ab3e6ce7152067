"""The bar of a training: what a terminal shows, what a notebook keeps, and that a file gets nothing of it."""

import io
import sys
import threading

import pytest

from daseCV_c._training import bar as bars

pytestmark = pytest.mark.once


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self):
        return True

    def screen(self):
        """The lines as they stand: what comes after a carriage return covers what was there."""
        lines = []
        for line in self.getvalue().split("\n"):
            shown = ""
            for piece in line.split("\r"):
                shown = piece + shown[len(piece):]
            lines.append(shown.rstrip())
        return lines


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("tqdm.std.time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch):
    """Call it in the test itself: pytest puts streams of its own in place before that."""
    def start():
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        return stream
    return start


def train(bar, clock, steps, seconds, line_every=1):
    """Steps of so many seconds each, with printed lines between them."""
    for t in range(steps):
        clock.now += seconds
        bar.update()
        if t % line_every == 0:
            bar.say(f"line {t}")
    bar.close()


def test_lines_stand_whole_above_the_bar(terminal, clock):
    seen = terminal()
    train(bars.open_bar(40, 0, lambda: "loss 2.3"), clock, 40, 0.01, line_every=3)
    lines = [line for line in seen.screen() if line]
    assert lines[:-1] == [f"line {t}" for t in range(0, 40, 3)]
    assert "40/40" in lines[-1] and "it/s" in lines[-1] and "loss 2.3" in lines[-1]


@pytest.mark.parametrize("seconds", [0.001, 0.03, 0.15])
def test_at_most_ten_updates_a_second(terminal, clock, monkeypatch, seconds):
    terminal()
    drawn = []
    monkeypatch.setattr(bars.Bar, "display", lambda self, *args, **more: drawn.append(clock.now))
    bar = bars.open_bar(1000, 0, lambda: "")
    train(bar, clock, 1000, seconds)
    busy = max(sum(1 for later in drawn if start <= later < start + 1) for start in drawn)
    assert busy <= 11  # ten, and the last one of all


def test_lines_of_slow_steps_do_not_wait(terminal, clock):
    seen = terminal()
    bar = bars.open_bar(3, 0, lambda: "")
    for t in range(3):
        clock.now += 5
        bar.update()
        bar.say(f"line {t}")
        assert f"line {t}" in seen.screen()
    bar.close()


def test_lines_that_wait_come_out_when_the_bar_is_left(terminal, clock):
    seen = terminal()
    bar = bars.open_bar(3, 0, lambda: "")
    for t in range(3):
        bar.say(f"line {t}")
    bar.close()
    assert [line for line in seen.screen() if line.startswith("line")] == ["line 0", "line 1", "line 2"]


def test_goes_on_from_where_a_training_was(terminal, clock):
    seen = terminal()
    train(bars.open_bar(10, 6, lambda: ""), clock, 4, 1.0)
    assert "10/10" in seen.screen()[-2]


def test_lines_for_a_file_do_not_touch_the_bar(monkeypatch, clock):
    seen, file = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", seen)
    monkeypatch.setattr(sys, "stdout", file)
    train(bars.open_bar(5, 0, lambda: ""), clock, 5, 0.01)
    assert file.getvalue() == "".join(f"line {t}\n" for t in range(5))
    assert "line" not in seen.getvalue()


def test_silent_where_output_is_a_file(tmp_path, monkeypatch):
    with open(tmp_path / "log", "w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        assert bars.open_bar(5, 0, lambda: "") is None
    monkeypatch.setattr(sys, "stderr", None)  # as for a program without a console
    assert bars.open_bar(5, 0, lambda: "") is None


def test_no_thread_stays(terminal, clock):
    terminal()
    before = set(threading.enumerate())
    train(bars.open_bar(5, 0, lambda: ""), clock, 5, 1.0)
    assert set(threading.enumerate()) <= before


def test_a_notebook_keeps_one_output(monkeypatch, capsys, clock):
    outputs = []

    class Output:
        def update(self, parts, raw):
            outputs[0] = parts

    def display(parts, raw, display_id):
        outputs.append(parts)
        return Output()

    monkeypatch.setattr(bars, "in_notebook", lambda: True)
    pytest.importorskip("IPython", reason="IPython is not installed, which a notebook brings")
    monkeypatch.setattr("IPython.display.display", display)
    train(bars.open_bar(20, 0, lambda: "loss <2>"), clock, 20, 0.05)
    out, err = capsys.readouterr()
    assert out == "".join(f"line {t}\n" for t in range(20)) and err == ""
    assert len(outputs) == 1
    assert "20/20" in outputs[0]["text/plain"] and "loss <2>" in outputs[0]["text/plain"]
    assert 'value="20"' in outputs[0]["text/html"] and "loss &lt;2&gt;" in outputs[0]["text/html"]
