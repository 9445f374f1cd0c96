"""Checks that react by themselves: a task is looked at again when the learner's world has changed.

What is watched costs next to nothing: the journal, into which VMs, containers and clusters write what happens to them,
and the files of the lab's work folder. What leaves no trace there (a service inside of a guest) is seen by a slow
second look.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lab_helpers.core.settings import Place
from lab_helpers.course.verdict import Outcome, Verdict

Signature = tuple[tuple[str, int, int], ...]
_SKIP = frozenset({".ipynb_checkpoints", "__pycache__"})


@dataclass(frozen=True)
class Pace:
    """How a watch keeps time, all in seconds."""

    glance: float = 1
    """Between two glances at the journal and the files."""
    settle: float = 1.5
    """How long after a check its own traces (what it tried in a container) may still arrive."""
    slow: float = 60
    """Between two checks while nothing is seen to change."""
    idle: float = 1800
    """After so long without any change the watch ends by itself."""


PACE = Pace()


class Ended(StrEnum):
    """Why a watch ended."""

    PASSED = "the task passed"
    IDLE = "nothing has changed for a long time"
    STOPPED = "it was stopped"


def watch(look: Callable[[], Verdict], place: Place, lab: str, stop: threading.Event, pace: Pace = PACE) -> Ended:
    """Look, then once more whenever the world changes, until it PASSED, `stop` is set, or nothing changes for long."""
    changed_at = time.monotonic()
    while True:
        before = files(place, lab)
        if look().outcome is Outcome.PASSED:
            return Ended.PASSED
        if stop.wait(pace.settle):
            return Ended.STOPPED
        # What the check itself does may end up in the journal, but never in the learner's files.
        happened, looked_at = _facts(place.journal), time.monotonic()
        while files(place, lab) == before and _facts(place.journal) == happened:
            if time.monotonic() - changed_at > pace.idle:
                return Ended.IDLE
            if time.monotonic() - looked_at > pace.slow:
                break
            if stop.wait(pace.glance):
                return Ended.STOPPED
        else:
            changed_at = time.monotonic()


def files(place: Place, lab: str) -> Signature:
    """The files of the lab's work folder at a glance: path, size and time of change. Notebooks save themselves: no."""
    found = []
    for folder, names, here in os.walk(place.work / lab):
        names[:] = [name for name in names if name not in _SKIP]
        found += [_facts(Path(folder, name)) for name in here if not name.endswith(".ipynb")]
    return tuple(sorted(found))


def _facts(path: Path) -> tuple[str, int, int]:
    try:
        facts = path.stat()
    except OSError:
        return str(path), -1, 0
    return str(path), facts.st_size, facts.st_mtime_ns
