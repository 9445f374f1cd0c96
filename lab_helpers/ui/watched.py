"""A verdict panel that follows the learner's world in the background, one for each task."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lab_helpers.course.verdict import Outcome, Verdict
from lab_helpers.course.watching import watch
from lab_helpers.ui.checks import ask_check

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.declare import Lab
    from lab_helpers.ui.panel import VerdictPanel

_running: dict[str, threading.Event] = {}
"""The watches of this kernel: task -> what stops it."""


def follow(place: Place, lab: Lab, panel: VerdictPanel) -> threading.Thread:
    """Keep the panel up to date until its task passes. An older watch of the same task ends."""
    if older := _running.get(panel.task):
        older.set()
    stop = _running[panel.task] = threading.Event()

    def look() -> Verdict:
        verdict = panel.ask(ask_check, asked=False)
        return verdict or Verdict(lab=lab.name, task=panel.task, outcome=Outcome.BROKEN)

    def run() -> None:
        try:
            watch(look, place, lab.name, stop)
        finally:
            if _running[panel.task] is stop:  # and not a newer one's
                panel.watched(None)

    panel.watched(stop.set)
    thread = threading.Thread(target=run, name=f"watch {panel.task}", daemon=True)
    thread.start()
    return thread
