"""Writes down what the container engine says: containers that are made, start, die, are killed for memory or removed.

It is one background job for each place: `python -m lab_helpers.record.engine_events SINCE`. When the engine goes away,
it waits for it, and asks for what happened meanwhile: the engine remembers its last 256 events as long as it runs.
Events: https://docs.docker.com/reference/cli/docker/system/events/
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lab_helpers.core import journal
from lab_helpers.core.errors import LabError, MachineError
from lab_helpers.core.processes import ProcessId
from lab_helpers.core.settings import Place, place
from lab_helpers.core.store import Record, now
from lab_helpers.core.waiting import wait_for
from lab_helpers.record import jobs
from lab_helpers.tools.engine import Engine, find_engine, need_engine

JOB = "recorder-engine"
BY = "engine"
MEMORY = 256
"""How many events the engine remembers."""
GONE = "engine-gone"
"""The kind of what is written when the engine does not speak any more. By then it has stopped its containers."""
KINDS = {
    "container": (
        *("create", "start", "die", "oom", "kill", "stop", "restart", "pause", "unpause", "rename", "update"),
        *("destroy", "health_status"),
    ),
    "image": ("import", "load", "pull", "tag", "untag", "delete"),
    "network": ("create", "connect", "disconnect", "destroy"),
    "volume": ("create", "mount", "unmount", "destroy"),
}
"""What is written down; an `exec` in a container, which every health check is, would fill the journal."""


def follow(place: Place) -> ProcessId:
    """See that the engine's events are written into the journal, from now on or from the last one that is there."""
    argv = [sys.executable, "-P", "-m", "lab_helpers.record.engine_events", repr(now())]
    return jobs.start(place, JOB, argv)


def record(place: Place, since: float) -> None:
    """Write the engine's events into the journal until the place is gone: all since the last one that is there, or
    since that time (seconds since the epoch) where there is none yet.
    """
    while place.state.is_dir():
        try:
            engine = wait_for(find_engine, "an engine", timeout_s=math.inf, interval_s=1)
            for event in missed(journal.read(place.journal), since):
                journal.write(place.journal, **event)
            last = _last(journal.read(place.journal), since)
            for event in _events(engine, last + 1):
                _write(place, event)
                last = int(event["timeNano"])
            journal.write(place.journal, "engine", GONE, by=BY, at_ns=max(last, int(now() * 1e9)))
        except MachineError:
            continue  # it went away while it was asked


def _last(known: Iterable[Record], since: float) -> int:
    return max((event["at_ns"] for event in known if event.get("by") == BY), default=int(since * 1e9))


def missed(known: Sequence[Record], since: float = 0) -> list[Record]:
    """The engine's events that are not among these records of the journal: nobody may have followed it for a while.

    Without such records, those since that time. An engine that does not remember the last one has been started anew:
    then its going away, at an unknown time, comes first (`implied`). Raises MachineError (ENGINE).
    """
    last = _last(known, since)
    with need_engine().client(timeout_s=20) as client:
        remembered = list(client.events(since=1, until=f"{now():.3f}", decode=True))
    found = [record for event in remembered if int(event["timeNano"]) > last and (record := _record(event))]
    theirs = [event for event in known if event.get("by") == BY]
    anew = bool(theirs) and theirs[-1]["kind"] != GONE and len(remembered) < MEMORY
    if anew and not any(int(event["timeNano"]) <= last for event in remembered):
        found.insert(0, {"source": "engine", "kind": GONE, "by": BY, "at_ns": last + 1, "implied": True})
    return found


def _events(engine: Engine, since_ns: int) -> Iterator[dict[str, Any]]:
    """Its events from then on, until it goes away."""
    import requests

    with engine.client() as client:
        try:
            yield from client.events(since=f"{since_ns // 10**9}.{since_ns % 10**9:09d}", decode=True)
        except requests.RequestException:
            return


def _write(place: Place, event: dict[str, Any]) -> None:
    if record := _record(event):
        journal.write(place.journal, **record)


def _record(event: dict[str, Any]) -> Record | None:
    """An event as the journal has it; None for one that it does not have."""
    kind, _, more = str(event.get("Action", "")).partition(":")
    what = str(event.get("Type"))
    if kind not in KINDS.get(what, ()):
        return None
    actor = event.get("Actor") or {}
    given = actor.get("Attributes") or {}
    facts: Record = {"id": actor.get("ID", ""), "at_ns": int(event["timeNano"])}
    facts |= {key: given[key] for key in ("image", "signal", "container", "oldName") if key in given}
    if "exitCode" in given:
        facts["exit_code"] = int(given["exitCode"])
    if more:
        facts["status"] = more.strip()
    name = given.get("name") or actor.get("ID", "")
    return {"source": f"{what}:{name}", "kind": kind, "by": BY, **facts}


if __name__ == "__main__":
    try:
        record(place(), float(sys.argv[1]))
    except LabError as error:
        sys.exit(str(error))
