"""A separate, clean place in which a lesson is run for real, without touching the learner's VMs, work and progress.

It lies in the learner's state folder and is removed at the end, also after Ctrl-C. One that a kill left behind is
removed by the next one: only the holder of the lock has one, so every other is dead.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from lab_helpers.core.errors import LabError, WaitTimeoutError
from lab_helpers.core.events import Note, Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.core.store import locked
from lab_helpers.course.rules import Rules
from lab_helpers.course.runner import environment
from lab_helpers.course.strays import children, end, strays

PREFIX = "prove-"
WAIT_S = 3 * 3600
"""How long a second `lab prove` of the same place waits for the first, in seconds."""


@contextlib.contextmanager
def turn(place: Place, rules: Rules, tell: Tell = silent) -> Iterator[None]:
    """Be the only one that runs lessons apart in this place; what a killed one left is removed first."""
    lock = place.state / "prove.lock"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, timeout_s=0))
        except WaitTimeoutError:
            tell(Note("Another `lab prove` or `lab build --run` is at work in this place; this one waits for it."))
            stack.enter_context(locked(lock, timeout_s=WAIT_S))
        for stale in sorted(place.state.glob(PREFIX + "*")):
            if stale.is_dir():
                tell(Note(f"Removing {stale.name}, which a killed run left behind."))
                _remove(_apart(place, stale), rules, spare=children())
        yield


@contextlib.contextmanager
def separate_place(place: Place, rules: Rules) -> Iterator[Place]:
    """A clean place that shares the caches with `place`; this process lives in it as long. Take your `turn` first."""
    apart = _apart(place, place.state / f"{PREFIX}{secrets.token_hex(4)}")
    spare = children()
    apart.state.mkdir(parents=True)
    try:
        with environment(apart, rules.kernel):
            rules.world_for(apart, "").begin()
            yield apart
    finally:
        _remove(apart, rules, spare)


def _apart(place: Place, state: Path) -> Place:
    return Place(root=place.root, home=place.home, state=state, work=state / "work")


def _remove(apart: Place, rules: Rules, spare: Collection[int]) -> None:
    """Remove all that runs and lies in a separate place, and the place itself."""
    with contextlib.suppress(LabError):  # what it could not remove is ended below
        rules.world_for(apart, "").clean()
    end(strays(apart, spare=spare))
    if apart.sockets.is_dir() and apart.sockets.stat().st_uid == os.getuid():
        shutil.rmtree(apart.sockets, ignore_errors=True)
    shutil.rmtree(apart.state, ignore_errors=True)
    if apart.state.exists():
        raise LabError(f"The folder {apart.state} cannot be removed.", do=f"remove it: rm -r {apart.state}")
