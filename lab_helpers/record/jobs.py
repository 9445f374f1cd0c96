"""Background jobs of a place: processes that outlive the command that started them, known by name and removable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lab_helpers.core.processes import ProcessId, start_detached
from lab_helpers.core.settings import Place
from lab_helpers.core.store import locked, write_atomic


def _folder(place: Place) -> Path:
    return place.state / "jobs"


def start(place: Place, name: str, argv: Sequence[str | Path]) -> ProcessId:
    """Start a job, unless it runs already."""
    with locked(_folder(place) / f"{name}.lock"):
        running = find(place, name)
        if running:
            return running
        log = place.state / "logs" / f"{name}.log"
        process, _ = start_detached(argv, log=log, env={"LAB_STATE": str(place.state), "LAB_HOME": str(place.home)})
        write_atomic(
            _folder(place) / f"{name}.json",
            json.dumps({"pid": process.pid, "started": process.started, "argv": [*map(str, argv)]}),
        )
        return process


def find(place: Place, name: str) -> ProcessId | None:
    """The job's process while it runs."""
    try:
        facts = json.loads((_folder(place) / f"{name}.json").read_text())
        process = ProcessId(int(facts["pid"]), float(facts["started"]))
    except (OSError, ValueError, KeyError):
        return None
    return process if process.alive() else None


def running(place: Place) -> dict[str, ProcessId]:
    """All jobs that run now, by name."""
    names = [path.stem for path in sorted(_folder(place).glob("*.json"))]
    return {name: process for name in names if (process := find(place, name))}


def stop(place: Place, name: str) -> None:
    """End a job and forget it. One that does not run is fine."""
    if process := find(place, name):
        process.end()
    for suffix in ("json", "lock"):
        (_folder(place) / f"{name}.{suffix}").unlink(missing_ok=True)
