"""A journey in a process of its own, followed and stopped; its panel; its words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab_helpers.core.events import Progress
from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import progress
from lab_helpers.course.engine import check_task, load_lab
from lab_helpers.course.time_machine import Arrival
from lab_helpers.course.verdict import Outcome, Verdict
from lab_helpers.ui.journey import Follower, JourneyPanel, arrival_lines, progress_text
from lab_helpers.ui.text import plain

LAB = "00-start"


def follow(script: str) -> Follower:
    return Follower([sys.executable, "-c", script])


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def said(follower: Follower) -> list[dict[str, Any]]:
    return [line for line in follower.lines() if line]


# -- the process


def test_all_that_a_process_says_is_heard_and_what_is_no_json_is_passed_over() -> None:
    follower = follow(
        "print('{\"note\": \"one\"}'); print('nonsense'); print('[1]'); print('{\"note\": \"two\"}'); exit(3)"
    )
    assert said(follower) == [{"note": "one"}, {"note": "two"}]
    assert follower.code == 3


def test_a_process_that_ended_is_not_waited_for_because_a_child_holds_its_output() -> None:
    child = "import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    follower = follow(child + "print('{\"pid\": %d}' % c.pid)")
    began = time.monotonic()
    (line,) = said(follower)
    assert time.monotonic() - began < 300, "the child would have slept for 600 s"
    wait_for(lambda: not alive(line["pid"]), "the child to be ended", timeout_s=30)


def test_what_has_a_session_of_its_own_stays() -> None:
    child = "import subprocess, sys; c = subprocess.Popen(['sleep', '600'], start_new_session=True); "
    (line,) = said(follow(child + "print('{\"pid\": %d}' % c.pid)"))
    try:
        assert alive(line["pid"])
    finally:
        os.kill(line["pid"], signal.SIGKILL)


@pytest.mark.parametrize(
    ("on_interrupt", "code"), [("sys.exit(130)", 130), ("time.sleep(600)", -signal.SIGKILL)], ids=["ends", "goes on"]
)
def test_a_stop_is_a_ctrl_c_and_who_goes_on_is_killed(
    monkeypatch: pytest.MonkeyPatch, on_interrupt: str, code: int
) -> None:
    monkeypatch.setattr("lab_helpers.ui.journey.STOP_S", 0.5)
    follower = follow(f"""
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
print('{{"note": "ready"}}', flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    {on_interrupt}
""")
    for line in follower.lines():
        if line.get("note") == "ready":
            follower.stop()
    assert follower.code == code
    assert not alive(follower.pid)


# -- the panel


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(root=CHECKOUT, home=tmp_path / "home", state=tmp_path / "state", work=tmp_path / "state" / "work")


def shown(panel: JourneyPanel) -> str:
    return str(panel._line.value)


def test_the_panel_shows_where_it_leads_and_says_the_same_as_text(place: Place) -> None:
    panel = JourneyPanel(place, load_lab(place, LAB), "first-check", before=True)
    assert panel.text == (
        "Take me to: before first-check (Put your name on your desk)\n"
        "The button starts it; in a terminal: lab goto 00 first-check --before"
    )
    assert (panel._when.value, panel._task.value) == ("before", "first-check")
    assert panel._stop.layout.display == "none"
    assert 'role="status"' in shown(panel)


def test_the_panel_follows_one_journey_shows_its_end_and_escapes_what_comes_from_outside(place: Place) -> None:
    asked: list[tuple[str, bool]] = []
    script = """
import json, sys, time
print(json.dumps({"progress": {"what": "solving <b>", "done": 1, "total": 4, "unit": "cells"}}), flush=True)
sys.stdin.readline()
time.sleep(0.5)
print(json.dumps({"note": "What you wrote is kept in <i>."}))
print(json.dumps({"arrival": {}, "text": "We are <there>."}))
"""

    def start(task: str, *, before: bool) -> Follower:
        asked.append((task, before))
        return follow(script)

    panel = JourneyPanel(place, load_lab(place, LAB), "machine", before=False, start=start)
    thread = panel.go()
    assert thread
    assert panel.go() is None, "one at a time"
    assert panel._go.disabled
    assert panel._stop.layout.display == ""
    thread.join(60)
    assert asked == [("machine", False)]
    assert not panel._go.disabled
    assert panel._stop.layout.display == "none"
    assert "What you wrote is kept in &lt;i&gt;.\nWe are &lt;there&gt;." in shown(panel)
    again = panel.go()
    assert again
    panel.stop()
    again.join(60)
    assert not panel._go.disabled


def test_a_journey_that_says_nothing_or_cannot_begin_is_told(place: Place) -> None:
    def cannot(*_: object, **__: object) -> Follower:
        raise OSError("no memory")

    panel = JourneyPanel(place, load_lab(place, LAB), "machine", before=False, start=lambda *_, **__: follow("exit(7)"))
    thread = panel.go()
    assert thread
    thread.join(60)
    assert "exit code 7" in shown(panel)
    panel = JourneyPanel(place, load_lab(place, LAB), "machine", before=False, start=cannot)
    assert panel.go() is None
    assert "no memory" in shown(panel)
    assert not panel._go.disabled


@pytest.mark.live
def test_a_real_journey_from_the_panel_changes_the_files_and_not_the_progress(place: Place) -> None:
    work = place.work / LAB
    work.mkdir(parents=True)
    (work / "machine.txt").write_text("what I wrote")
    panel = JourneyPanel(place, load_lab(place, LAB), "first-check", before=False)
    thread = panel.go()
    assert thread
    thread.join(300)
    assert f"{LAB} is now as it is after the task first-check." in shown(panel)
    assert "What you wrote is kept in" in shown(panel)
    assert check_task(place, LAB, "first-check", record=False).passed
    assert [path.read_text() for path in (place.work / ".kept").rglob("machine.txt")] == ["what I wrote"]
    assert progress.read(place).labs == {}

    argv = [sys.executable, "-P", "-m", "lab_helpers.cli", "goto", "00", "machine", "--before", "--json"]
    environment = {**os.environ, **place.env()}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    arrival = json.loads(done.stdout)
    assert (arrival["way"], arrival["right"], arrival["verdict"]["outcome"]) == ("fresh", True, "NOT_YET")
    assert (work / "machine.txt").read_text() == (CHECKOUT / "labs" / LAB / "files" / "machine.txt").read_text()


# -- the words


def test_an_arrival_in_words() -> None:
    verdict = Verdict(lab=LAB, task="machine", outcome=Outcome.PASSED, criteria=())
    arrival = Arrival(lab=LAB, task="machine", before=False, way="saved", seconds=1.234, kept="/k", verdict=verdict)
    assert plain(arrival_lines(arrival)) == (
        "00-start is now as it is after the task machine.\n"
        "  how            brought back from a saved state (1.2 s)\n"
        "  your files     /k"
    )
    begins = arrival.model_copy(update={"before": True, "kept": "", "way": "solved"})
    text = plain(arrival_lines(begins))
    assert "as the task machine begins" in text
    assert "its check says PASSED" in text
    assert begins.exit_code == 1


@pytest.mark.parametrize(
    ("event", "spent", "text"),
    [
        (Progress("solving", 1, 4, "cells"), 3, "solving · 1 of 4 cells"),
        (Progress("back", typical_s=3), 1, "back · about 2 s left"),
        (Progress("back", typical_s=3), 9, "back · 9 s so far"),
        (Progress("back"), 0, "back"),
    ],
)
def test_progress_in_one_line(event: Progress, spent: float, text: str) -> None:
    assert progress_text(event, spent) == text
