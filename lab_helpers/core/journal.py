"""The journal: what happened to machines, containers and clusters, in the order in which it happened.

It is append-only. Checks read it to tell, for example, a restored VM from one that was repaired by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab_helpers.core.store import AppendLog, Record, now


def write(journal: Path, source: str, kind: str, **facts: Any) -> None:
    """Add an event. source: for example "vm:pinboard-vm". kind: one word, for example "restore"."""
    AppendLog(journal).append({"time": now(), "source": source, "kind": kind, **facts})


def read(journal: Path, source: str = "") -> list[Record]:
    """All events, oldest first, or those of one source."""
    return [event for event in AppendLog(journal).read() if not source or event.get("source") == source]
