"""A boundary map that stays true: what runs is looked at again whenever it changes.

What is watched costs next to nothing: the journal, into which VMs and clusters write what happens to them, the engine's
list of what runs in it, and the processes that are new. Memory and age, which change all the time, come along with a
slow second look.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from lab_helpers.core.errors import LabError
from lab_helpers.core.settings import Place
from lab_helpers.course.boundaries_now import BoundaryMap, look
from lab_helpers.course.watching import Ended
from lab_helpers.record import cluster_events
from lab_helpers.tools.engine import find_engine

if TYPE_CHECKING:
    import docker

PATIENT_S = 8.0
"""How long a look in the background waits for what does not answer, in seconds."""
Signature = tuple[tuple[int, int], frozenset[int], frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class MapPace:
    """How a map keeps time, all in seconds."""

    glance: float = 1
    """Between two glances at what runs."""
    settling: float = 2
    """To the next look while a machine starts or a pod gets ready; twice as long each time."""
    slow: float = 30
    """Between two looks while nothing is seen to change."""
    idle: float = 1800
    """After so long without any change the map is left as it is."""


class Glance:
    """What runs, at a glance: enough to see that it is not as it was, and not what it is."""

    NO_ENGINE_S = 5
    """How long it is before an engine is looked for again, in seconds."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._guests: dict[int, bool] = {}
        self._client: docker.DockerClient | None = None
        self._open = contextlib.ExitStack()
        self._look_for_engine_at = 0.0

    def signature(self) -> Signature:
        """Two that are equal: nothing has begun or ended between them."""
        return self._journal(), self._machines(), self._containers()

    def close(self) -> None:
        """Let go of the engine."""
        self._client = None
        with contextlib.suppress(LabError):
            self._open.close()

    def _journal(self) -> tuple[int, int]:
        try:
            facts = self._place.journal.stat()
        except OSError:
            return -1, 0
        return facts.st_size, facts.st_mtime_ns

    def _machines(self) -> frozenset[int]:
        """The processes that are QEMU. A process is looked at once, when it is new."""
        now = set(psutil.pids())
        self._guests = {pid: is_qemu for pid, is_qemu in self._guests.items() if pid in now}
        for pid in now - self._guests.keys():
            try:
                self._guests[pid] = Path(psutil.Process(pid).exe()).name.startswith("qemu-system-")
            except (psutil.Error, OSError):
                self._guests[pid] = False
        return frozenset(pid for pid, is_qemu in self._guests.items() if is_qemu)

    def _containers(self) -> frozenset[tuple[str, str]]:
        """Those that run, with their state; nothing while no engine answers."""
        import docker
        import requests

        try:
            client = self._engine()
            return frozenset((row["Id"], row["State"]) for row in client.api.containers()) if client else frozenset()
        except (LabError, docker.errors.DockerException, requests.RequestException, OSError):
            self.close()
            return frozenset()

    def _engine(self) -> docker.DockerClient | None:
        if self._client is None and time.monotonic() >= self._look_for_engine_at:
            self._look_for_engine_at = time.monotonic() + self.NO_ENGINE_S
            if engine := find_engine():
                self._client = self._open.enter_context(engine.client(timeout_s=PATIENT_S))
        return self._client


class Follower:
    """Keeps a map up to date until it is stopped, or nothing changes for long. `run` is for a thread of its own."""

    def __init__(self, place: Place, show: Callable[[BoundaryMap], None], pace: MapPace | None = None) -> None:
        self._place, self._show, self._pace = place, show, pace or MapPace()
        self._glance = Glance(place)
        self._last: Signature | None = None
        self._was_there = False
        self._said = threading.Condition()
        self._stopped = self._asked = self._paused = False

    def first(self, *, patience_s: float) -> BoundaryMap:
        """A look for who waits before the screen; `run` goes on from there."""
        self._last = self._glance.signature()
        seen = look(self._place, patience_s=patience_s)
        self._was_there = self._place.state.is_dir()
        return seen

    def stop(self) -> None:
        """End it."""
        self._say(stopped=True)

    def pause(self, on: bool) -> None:
        """Leave the map as it is for now; or go on, with a look at once."""
        self._say(paused=on, asked=not on)

    def refresh(self) -> None:
        """Look now, whether something has changed or not."""
        self._say(asked=True)

    def _say(self, *, stopped: bool | None = None, paused: bool | None = None, asked: bool | None = None) -> None:
        with self._said:
            self._stopped = self._stopped if stopped is None else stopped
            self._paused = self._paused if paused is None else paused
            self._asked = self._asked if asked is None else asked
            self._said.notify_all()

    def run(self, seen: BoundaryMap) -> Ended:
        """Follow what happens from that map on, which `first` gave. Returns why it ended."""
        try:
            return self._run(seen)
        finally:
            self._glance.close()

    def _run(self, seen: BoundaryMap) -> Ended:
        changed_at = time.monotonic()
        settling = self._pace.settling
        while True:
            _record(self._place, seen)
            due = settling if seen.settling else self._pace.slow
            changed = self._wait(min(due, self._pace.slow), changed_at + self._pace.idle)
            if changed is None or (self._was_there and not self._place.state.is_dir()):  # the place was removed
                return Ended.STOPPED if self._stopped or changed is not None else Ended.IDLE
            self._last = self._glance.signature()
            seen = look(self._place, patience_s=PATIENT_S)
            self._show(seen)
            settling = self._pace.settling if changed else 2 * settling
            if changed:
                changed_at = time.monotonic()

    def _wait(self, due: float, idle_at: float) -> bool | None:
        """Until it is time for a look: True for a change (or a wish), False for a slow one, None for the end."""
        began = time.monotonic()
        while True:
            with self._said:
                if not (self._stopped or self._asked):
                    self._said.wait(None if self._paused else self._pace.glance)
                if self._stopped:
                    return None
                if self._asked:
                    self._asked = False
                    return True
                if self._paused:
                    continue
            if self._glance.signature() != self._last:
                return True
            now = time.monotonic()
            if now >= idle_at:
                return None
            if now - began >= due:
                return False


def _record(place: Place, seen: BoundaryMap) -> None:
    """See that what happens to the pods is written into the journal: nothing else tells it at a glance."""
    for cluster in seen.clusters:
        with contextlib.suppress(LabError, OSError):
            cluster_events.follow(place, cluster)
