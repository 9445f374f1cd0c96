"""What a lab left behind that nobody listed: processes that live in a place, files that were not there before."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import psutil

from lab_helpers.core.errors import WaitTimeoutError
from lab_helpers.core.processes import ProcessId
from lab_helpers.core.settings import WRAPPERS, Place
from lab_helpers.core.waiting import wait_for

FURNITURE = (
    WRAPPERS,
    "ipython",
    "jupyter",
    "keys",
    "logs",
    "opened",
    "jobs",
    "kubeconfig",
    "ssh_config",
    "engine-baseline.json",
    "last-run.json",
)
"""What a place holds on purpose, directly in its state folder; likewise every log (*.jsonl) and lock (*.lock)."""


@dataclass(frozen=True)
class Stray:
    """A process that a lab started and that still runs."""

    process: ProcessId
    what: str


def strays(place: Place, *, spare: Collection[int] = ()) -> list[Stray]:
    """Processes whose environment says that they live in this place, and our own descendants; `spare` are pids.

    Ourselves left out. Processes of other users cannot be looked into, and are none of ours.
    """
    ours = children()
    skip = {os.getpid(), *spare}
    found = []
    for process in psutil.process_iter():
        if process.pid in skip or not (process.pid in ours or _lives_in(process, place)):
            continue
        with contextlib.suppress(psutil.Error):
            identity = ProcessId(process.pid, process.create_time())
            if identity.alive():
                found.append(Stray(identity, _describe(process)))
    return found


def children() -> set[int]:
    """The pids of all our descendants."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _lives_in(process: psutil.Process, place: Place) -> bool:
    try:
        return process.environ().get("LAB_STATE") == str(place.state)
    except (psutil.Error, OSError):
        return False


def _describe(process: psutil.Process) -> str:
    try:
        ports = [c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        command = " ".join(process.cmdline()) or process.name()
    except (psutil.Error, OSError):
        return f"process {process.pid}"
    listening = f", listening on port {', '.join(map(str, sorted(set(ports))))}" if ports else ""
    return f"process {process.pid}: {command[:120]}{listening}"


def end(found: Collection[Stray], *, grace_s: float = 2) -> None:
    """End these processes, all at once: SIGTERM, and after `grace_s` seconds SIGKILL. Returns when they are gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for stray in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if stray.process.alive():
                    os.kill(stray.process.pid, number)
        with contextlib.suppress(WaitTimeoutError):
            wait_for(lambda: not any(stray.process.alive() for stray in found), "they end", timeout_s=grace_s)
            return


Files = dict[str, tuple[int, int]]


def files_in(place: Place, lab: str) -> Files:
    """Every file that a lab could have made or changed outside of its work folder: path -> size and time of change.

    The state of the place without its furniture, and the lesson's own folder in the checkout.
    """
    found: Files = {}
    skip = {place.state / name for name in FURNITURE} | {place.work / lab, place.work / ".kept"}
    for top in (place.state, place.labs / lab):
        for folder, names, files in os.walk(top):
            here = Path(folder)
            names[:] = [n for n in names if here / n not in skip and n not in ("__pycache__", ".ipynb_checkpoints")]
            for name in files:
                path = here / name
                furniture = path in skip or (top == place.state and path.suffix in (".jsonl", ".lock"))
                if furniture:
                    continue
                with contextlib.suppress(OSError):
                    facts = path.lstat()
                    found[str(path)] = (facts.st_size, facts.st_mtime_ns)
    return found


def changed(before: Files, after: Files) -> list[str]:
    """What is new, different or gone, one line each."""
    lines = [f"new file {path}" for path in sorted(after.keys() - before.keys())]
    lines += [f"missing file {path}" for path in sorted(before.keys() - after.keys())]
    return lines + [f"changed file {path}" for path in sorted(before) if path in after and before[path] != after[path]]
