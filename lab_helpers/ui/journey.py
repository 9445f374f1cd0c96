"""A journey of the time machine as one sees it: its end in words, and in a notebook a panel that starts and stops it.

It runs as a process of its own, `python -P -m lab_helpers.ui.journey LAB TASK [--before]`, because the kernel that
shows the panel lives in the world that changes. The process says what it does on its stdout, a JSON object a line:
{"progress": {...}}, {"note": "..."}, and as its last {"arrival": {...}} or {"error": "..."}.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from html import escape
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any

from lab_helpers.core.errors import ExitCode
from lab_helpers.core.events import Event, Note, Progress
from lab_helpers.ui.text import Line, harmless, plain

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.declare import Lab
    from lab_helpers.course.time_machine import Arrival

STOP_S = 5
"""How long a journey that is told to stop may take to clear away, in seconds; then it is killed."""
BEFORE, AFTER = "before", "after"


def arrival_lines(arrival: Arrival) -> list[Line]:
    """Where we are now, how we came there, and where the learner's own things are."""
    number = arrival.lab.split("-")[0]
    where = f"as the task {arrival.task} begins" if arrival.before else f"after the task {arrival.task}"
    ways = {
        "saved": "brought back from a saved state",
        "solved": "the solution ran up to there",
        "fresh": "that is the lab's beginning",
    }
    lines = [
        Line(f"{arrival.lab} is now as it is {where}.", "head"),
        Line(f"{ways[arrival.way]} ({arrival.seconds:.1f} s)", label="how", indent=2),
    ]
    if arrival.kept:
        lines.append(Line(arrival.kept, label="your files", indent=2))
    if not arrival.right:
        said = arrival.verdict.reason or f"its check says {arrival.verdict.outcome}"
        lines.append(Line(f"{said}: `lab check {number} {arrival.task}` tells more", "unmet", "but", 2))
    return lines


# -- the process ------------------------------------------------------------------------------------------------------


def main(words: Sequence[str]) -> int:
    """Make the journey, saying what happens as JSON lines. Returns the exit code, as `lab goto` has it."""
    from lab_helpers.core.settings import place
    from lab_helpers.course.time_machine import goto
    from lab_helpers.ui.failures import named

    signal.signal(signal.SIGINT, signal.default_int_handler)  # who started us may have it ignored

    def say(**what: object) -> None:
        print(json.dumps(what), flush=True)  # noqa: T201 - whoever follows reads this

    def tell(event: Event) -> None:
        say(**({"note": event.text} if isinstance(event, Note) else {"progress": asdict(event)}))

    lab, task, *options = words
    try:
        arrival = goto(place(), lab, task, before="--before" in options, tell=tell)
    except KeyboardInterrupt:
        say(error="Stopped. Start it again to arrive.")
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, the learner gets a sentence
        shown = named(error)
        say(error=str(shown))
        return shown.exit_code
    say(arrival=arrival.model_dump(mode="json"), text=plain(arrival_lines(arrival)))
    return arrival.exit_code


class Follower:
    """A process that says JSON lines, followed from another one. It is waited for, and not the end of what it says:
    something that it started may hold its output open for ever.
    """

    def __init__(self, argv: Sequence[str], env: dict[str, str] | None = None) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as we follow
        self._read = 0
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=None if env is None else {**os.environ, **env},
        )
        self._told_at: float | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def lines(self, interval_s: float = 0.1) -> Iterator[dict[str, Any]]:
        """What it says, until it has ended; an empty one when it has said nothing new for `interval_s` seconds."""
        while True:
            ended = self._process.poll() is not None
            yield from self._new_lines()
            if ended:
                break
            if self._told_at and time.monotonic() - self._told_at > STOP_S:
                self._end_session()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(interval_s)
            yield {}
        self._end_session()
        self._said.close()

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        size = os.fstat(self._said.fileno()).st_size
        whole = os.pread(self._said.fileno(), size - self._read, self._read)
        whole = whole[: whole.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict):
                    yield said

    @property
    def stopping(self) -> bool:
        """It was told to stop."""
        return self._told_at is not None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.returncode

    def stop(self) -> None:
        """Let it stop as after Ctrl-C. Who goes on is killed after STOP_S seconds, with all of its session."""
        if self._process.poll() is None:
            self._told_at = time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)

    def _end_session(self) -> None:
        """What it leaves in its session; what is meant to stay (a VM, a recorder) has one of its own."""
        for pid in _in_session(self._process.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _in_session(session: int) -> list[int]:
    import psutil

    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getsid(pid) == session:
                found.append(pid)
    return found


def journey_command(lab: str, task: str, *, before: bool) -> list[str]:
    """What runs a journey in a process of its own."""
    return [sys.executable, "-P", "-m", "lab_helpers.ui.journey", lab, task, *(["--before"] if before else [])]


# -- the panel --------------------------------------------------------------------------------------------------------


class JourneyPanel:
    """`Take me to: before/after [task]`, a button that starts the journey, one line of progress, one that stops it."""

    def __init__(
        self, place: Place, lab: Lab, task: str, *, before: bool, start: Callable[..., Follower] | None = None
    ) -> None:
        widgets = import_module("ipywidgets")
        self._place, self._lab = place, lab
        self._start = start or (lambda name, **when: Follower(journey_command(lab.name, name, **when), place.env()))
        self._follower: Follower | None = None
        self._when = widgets.Dropdown(
            options=[BEFORE, AFTER],
            value=BEFORE if before else AFTER,
            description="Take me to:",
            layout=widgets.Layout(width="auto"),
        )
        titles = [(f"{each.id}: {each.title}", each.id) for each in lab.tasks.values()]
        self._task = widgets.Dropdown(options=titles, value=task, layout=widgets.Layout(width="auto", flex="1 1 12em"))
        self._task.tooltip = "the task"
        self._go = widgets.Button(description="Go there", icon="history")
        self._stop = widgets.Button(description="Stop", icon="stop")
        self._stop.layout.display = "none"
        self._line = widgets.HTML()
        self._go.on_click(lambda _: self.go())
        self._stop.on_click(lambda _: self.stop())
        row = widgets.HBox([self._when, self._task, self._go, self._stop], layout=widgets.Layout(flex_flow="row wrap"))
        self.widget = widgets.VBox([row, self._line], layout=widgets.Layout(max_width="52rem"))
        number = lab.name.split("-")[0]
        self.text = (
            f"Take me to: {self._when.value} {task} ({lab.tasks[task].title})\n"
            f"The button starts it; in a terminal: lab goto {number} {task}{' --before' if before else ''}"
        )
        self._show("Your notebook stays as it is. Other files of yours are kept aside.")

    def go(self) -> threading.Thread | None:
        """Start the journey that is chosen, and follow it in the background. One at a time."""
        if self._follower is not None:
            return None
        self._busy(True)
        self._show("Setting out ...")
        try:
            self._follower = self._start(self._task.value, before=self._when.value == BEFORE)
        except OSError as error:
            self._busy(False)
            self._show(f"It could not be started: {error}")
            return None
        thread = threading.Thread(target=self._follow, args=(self._follower,), name="journey", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Stop the journey that is under way."""
        if self._follower is not None:
            self._show("Stopping ...")
            self._follower.stop()

    def _follow(self, follower: Follower) -> None:
        notes: list[str] = []
        current: Progress | None = None
        since = time.monotonic()
        end = ""
        for said in follower.lines():
            if "note" in said:
                notes.append(str(said["note"]))
            elif "progress" in said:
                new = Progress(**said["progress"])
                since = since if current and current.what == new.what else time.monotonic()
                current = new
            elif "error" in said or "text" in said:
                end = str(said.get("text") or said["error"])
            if current and not end and not follower.stopping:
                self._show("\n".join([*notes, progress_text(current, time.monotonic() - since)]))
        self._follower = None
        self._busy(False)
        self._show("\n".join([*notes, end or f"The journey ended without a word (exit code {follower.code})."]))

    def _busy(self, busy: bool) -> None:
        self._go.disabled = self._when.disabled = self._task.disabled = busy
        self._stop.layout.display = "" if busy else "none"

    def _show(self, text: str) -> None:
        shown = escape(harmless(text, limit=4000))
        html = f'<div role="status" style="white-space: pre-wrap; line-height: 1.5">{shown}</div>'
        if self._line.value != html:
            self._line.value = html


def progress_text(event: Progress, spent_s: float) -> str:
    """One line: what, how far, how long still."""
    from lab_helpers.ui.terminal import duration

    parts = [event.what]
    if event.total:
        parts.append(f"{event.done:g} of {event.total:g} {event.unit}".strip())
    elif event.typical_s and spent_s < event.typical_s:
        parts.append(f"about {duration(max(event.typical_s - spent_s, 1))} left")
    elif spent_s > 2:
        parts.append(f"{duration(spent_s)} so far")
    return " · ".join(parts)


if __name__ == "__main__":
    from lab_helpers.ui.failures import safe_streams

    safe_streams()
    sys.exit(main(sys.argv[1:]))
