"""A map that follows what happens: it looks again for a change or a wish, and ends by itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab_helpers.core import journal
from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.boundaries_now import BoundaryMap
from lab_helpers.course.boundaries_watch import Follower, Glance, MapPace
from lab_helpers.course.watching import Ended

QUICK = MapPace(glance=0.02, settling=600, slow=600, idle=600)


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machines others start meanwhile, this test sees no change in it."""
    monkeypatch.setattr(Glance, "_machines", lambda _: frozenset())


class Followed:
    """A map that is followed in a thread of its own; each look is counted."""

    def __init__(self, place: Place, pace: MapPace = QUICK) -> None:
        self.shown: list[BoundaryMap] = []
        self.ended: Ended | None = None
        self.follower = Follower(place, self.shown.append, pace)
        first = self.follower.first(patience_s=60)
        self.thread = threading.Thread(target=self._run, args=(first,), daemon=True)
        self.thread.start()

    def _run(self, first: BoundaryMap) -> None:
        self.ended = self.follower.run(first)

    def wait_for_looks(self, looks: int) -> None:
        self.wait(lambda: len(self.shown) == looks)

    def wait(self, probe: Callable[[], bool]) -> None:
        wait_for(probe, "the map", timeout_s=60, interval_s=0.01)


@pytest.fixture
def followed(here: Place, quiet: None) -> Iterator[Followed]:
    here.state.mkdir(parents=True)
    one = Followed(here)
    yield one
    one.follower.stop()
    one.thread.join(60)
    assert not one.thread.is_alive()


def test_an_event_in_the_journal_makes_it_look_again(followed: Followed, here: Place) -> None:
    for looks in (1, 2):
        journal.write(here.journal, "vm:pinboard-vm", "start")
        followed.wait_for_looks(looks)


def test_a_wish_makes_it_look_also_while_it_is_paused(followed: Followed, here: Place) -> None:
    followed.follower.pause(True)
    followed.follower.refresh()
    followed.wait_for_looks(1)
    journal.write(here.journal, "vm:pinboard-vm", "start")
    followed.thread.join(0.5)
    assert len(followed.shown) == 1, "paused"
    followed.follower.pause(False)
    followed.wait_for_looks(2)


def test_it_ends_when_it_is_told_to(followed: Followed) -> None:
    followed.follower.stop()
    followed.wait(lambda: followed.ended is Ended.STOPPED)
    assert followed.shown == []


def test_it_ends_with_the_place(followed: Followed, here: Place) -> None:
    shutil.rmtree(here.state)
    followed.follower.refresh()
    followed.wait(lambda: followed.ended is Ended.STOPPED)
    assert not here.state.exists(), "nothing is written there any more"


def test_it_ends_when_nothing_changes_for_long(here: Place, quiet: None) -> None:
    followed = Followed(here, MapPace(glance=0.01, slow=600, idle=0.1))
    followed.wait(lambda: followed.ended is Ended.IDLE)
    assert followed.shown == []


def test_a_slow_second_look_brings_memory_and_age_along(here: Place) -> None:
    followed = Followed(here, MapPace(glance=0.01, slow=0.05, idle=600))
    followed.wait(lambda: len(followed.shown) >= 2)
    followed.follower.stop()
    followed.thread.join(60)


def test_a_machine_that_begins_or_ends_is_seen_at_a_glance(here: Place, tmp_path: Path) -> None:
    program = tmp_path / "qemu-system-test"  # the real program is told by its file, whatever it calls itself
    shutil.copy(shutil.which("sleep") or "", program)
    glance = Glance(here)
    glance.signature()
    with subprocess.Popen([program, "600"]) as machine:
        wait_for(lambda: machine.pid in glance.signature()[1], "the machine to be seen", timeout_s=60)
        machine.kill()
    assert machine.pid not in glance.signature()[1]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert other.pid not in glance.signature()[1]
    glance.close()
