"""A watch looks again when the world changes, and ends by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lab_helpers.core import journal
from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.verdict import Outcome, Verdict
from lab_helpers.course.watching import Ended, Pace, files, watch
from tests.course.toy import place_at

LAB = "01-toy"
QUICK = Pace(glance=0.01, settle=0.02, slow=60, idle=60)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    here = place_at(tmp_path)
    (here.work / LAB).mkdir(parents=True)
    return here


class Watched:
    """A watch in a thread of its own; each look is counted, and says what `says` says."""

    def __init__(self, place: Place, pace: Pace = QUICK) -> None:
        self.looks = 0
        self.says = Outcome.NOT_YET
        self.stop = threading.Event()
        self.ended: Ended | None = None
        self._thread = threading.Thread(target=self._run, args=(place, pace), daemon=True)
        self._thread.start()
        self.wait(lambda: self.looks == 1)

    def _run(self, place: Place, pace: Pace) -> None:
        self.ended = watch(self._look, place, LAB, self.stop, pace)

    def _look(self) -> Verdict:
        self.looks += 1
        return Verdict(lab=LAB, task="t", outcome=self.says)

    def wait_for_looks(self, looks: int) -> None:
        self.wait(lambda: self.looks == looks)

    @staticmethod
    def wait(probe: Callable[[], bool]) -> None:
        wait_for(probe, "the watch", timeout_s=20, interval_s=0.01)


def test_a_change_of_a_file_at_any_moment_makes_it_look_again(place: Place) -> None:
    watched = Watched(place)
    for looks in (2, 3):
        (place.work / LAB / "answer").write_text("x" * looks)
        watched.wait_for_looks(looks)
    watched.says = Outcome.PASSED
    (place.work / LAB / "answer").unlink()
    watched.wait(lambda: watched.ended is Ended.PASSED)


def test_an_event_in_the_journal_makes_it_look_again(place: Place) -> None:
    watched = Watched(place)

    def looked_after_an_event() -> bool:
        journal.write(place.journal, "container:pinboard", "start")  # until one falls after the check has settled
        return watched.looks > 1

    watched.wait(looked_after_an_event)
    watched.stop.set()


def test_it_ends_when_it_is_told_to(place: Place) -> None:
    watched = Watched(place)
    watched.stop.set()
    watched.wait(lambda: watched.ended is Ended.STOPPED)
    assert watched.looks == 1, "nothing has changed"


def test_it_ends_when_nothing_changes_for_long(place: Place) -> None:
    watched = Watched(place, Pace(glance=0.01, settle=0.01, slow=60, idle=0.1))
    watched.wait(lambda: watched.ended is Ended.IDLE)
    assert watched.looks == 1


def test_a_slow_second_look_finds_what_leaves_no_trace(place: Place) -> None:
    watched = Watched(place, Pace(glance=0.01, settle=0.01, slow=0.05, idle=60))
    watched.says = Outcome.PASSED
    watched.wait(lambda: watched.ended is Ended.PASSED)


def test_saving_the_notebook_is_no_change(place: Place) -> None:
    before = files(place, LAB)
    (place.work / LAB / "lab.ipynb").write_text("{}")
    (place.work / LAB / ".ipynb_checkpoints").mkdir()
    (place.work / LAB / ".ipynb_checkpoints" / "x.txt").write_text("x")
    assert files(place, LAB) == before
