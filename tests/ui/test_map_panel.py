"""The boundary map in a notebook, with the real ipywidgets, but without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab_helpers.core import journal
from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.boundaries_watch import Glance, MapPace
from lab_helpers.ui.map_panel import MapPanel
from tests.course.map_scenes import full

QUICK = MapPace(glance=0.02, slow=600, idle=600)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no engine, and whatever machines others start meanwhile, nothing of it is seen."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    monkeypatch.setattr(Glance, "_machines", lambda _: frozenset())


@pytest.fixture
def panel(here: Place) -> Iterator[MapPanel]:
    here.state.mkdir(parents=True)
    panel = MapPanel(here, QUICK)
    yield panel
    end(panel)


def end(panel: MapPanel) -> None:
    panel.end("the test is over")
    if panel.thread:
        panel.thread.join(60)
        assert not panel.thread.is_alive()


def parts(panel: MapPanel) -> tuple[Any, ...]:
    picture, buttons, words = panel.widget.children
    pause, now, as_text, when, state = buttons.children
    return picture, pause, now, as_text, when, state, words


def seen_again(panel: MapPanel, before: str) -> None:
    wait_for(lambda: panel.text != before, "another map", timeout_s=60, interval_s=0.01)


def test_it_shows_the_picture_at_once_and_the_text_when_asked(panel: MapPanel) -> None:
    picture, _, _, as_text, when, _, words = parts(panel)
    assert panel.text.startswith("this machine · kernel 1 · ")
    assert picture.value.count('role="img"') == 3
    assert "as of" in when.value
    assert words.layout.display == "none"
    as_text.click()
    assert words.layout.display == ""
    assert panel.text.splitlines()[0] in words.value
    panel.show(full())
    assert words.layout.display == "", "another map leaves it open"
    assert "VM pinboard-vm" in words.value
    as_text.click()
    assert words.layout.display == "none"


def test_it_follows_what_happens_until_a_newer_one_does(panel: MapPanel, here: Place) -> None:
    panel.follow()
    stale = "a map of before"
    panel.text = stale
    journal.write(here.journal, "vm:pinboard-vm", "start")
    seen_again(panel, stale)

    newer = MapPanel(here, QUICK)
    newer.follow()
    assert panel.thread is not None
    panel.thread.join(60)
    assert not panel.thread.is_alive()
    *_, state, _ = parts(panel)
    assert "a newer map goes on" in state.value
    assert parts(panel)[1].layout.display == "none"
    assert newer.thread is not None
    assert newer.thread.is_alive()
    end(newer)


def test_it_pauses_and_goes_on(panel: MapPanel) -> None:
    panel.follow()
    _, pause, now, _, _, state, _ = parts(panel)
    pause.click()
    assert (pause.description, "paused" in state.value) == ("Go on", True)
    panel.text = "a map of before"
    now.click()
    seen_again(panel, "a map of before")
    panel.text = "a map of before"
    pause.click()
    assert pause.description == "Pause"
    seen_again(panel, "a map of before")


def test_a_map_that_has_ended_can_be_asked_again(panel: MapPanel) -> None:
    panel.follow()
    end(panel)
    before = panel.thread
    parts(panel)[2].click()
    assert panel.thread is not before
    assert panel.thread is not None
    assert panel.thread.is_alive()
    assert "follows what happens" in parts(panel)[5].value


def test_it_says_that_it_ended_when_nothing_happened(here: Place) -> None:
    panel = MapPanel(here, MapPace(glance=0.01, slow=600, idle=0.05))
    panel.follow()
    wait_for(lambda: "nothing has changed for a long time" in parts(panel)[5].value, "its end", timeout_s=60)
