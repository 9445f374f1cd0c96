"""Progress and answers where there is no terminal, and the arithmetic of what is left."""

from __future__ import annotations

import pytest

from lab_helpers.core.events import Note, Progress
from lab_helpers.ui import terminal
from lab_helpers.ui.terminal import Screen
from lab_helpers.ui.text import Line


def test_without_a_terminal_each_step_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen() as screen:
        screen.tell(Progress("fetching", 1, 10, "MB"))
        screen.tell(Progress("fetching", 9, 10, "MB"))
        screen.tell(Note("taken from the cache"))
        screen.tell(Progress("unpacking", typical_s=20))
        screen.show([Line("done", style="met")])
    out, err = capsys.readouterr()
    assert out == "done\n"
    assert err.splitlines() == ["fetching ...", "taken from the cache", "unpacking (about 20 s) ..."]


def test_nobody_is_asked_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert Screen().ask("Remove everything?") is False
    assert capsys.readouterr() == ("", "")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_what_is_left_is_worked_out_from_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(terminal, "time", clock)
    screen = Screen()
    assert screen.left() == ""
    screen.tell(Progress("fetching", 0, 100, "MB"))
    clock.now += 10
    screen.tell(Progress("fetching", 20, 100, "MB"))
    assert screen.left() == "about 40 s left"
    screen.tell(Progress("booting", typical_s=30))
    clock.now += 10
    assert screen.left() == "about 20 s left"
    clock.now += 20.5
    assert screen.left() == "about 1 s left"
    clock.now += 9.5
    assert screen.left() == "40 s, longer than usual"
    screen.tell(Progress("something"))
    clock.now += 200
    assert screen.left() == "3 min so far"
