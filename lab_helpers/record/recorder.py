"""Writes down what QEMU says about a VM: resets, shutdowns, pauses, and the jobs that save and load snapshots.

It is a background job for each VM and ends with it: `python -m lab_helpers.record.recorder VM`.
Events: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html#run-state
"""

from __future__ import annotations

import sys
from typing import Any

from lab_helpers.core import journal
from lab_helpers.core.errors import LabError
from lab_helpers.core.processes import ProcessId
from lab_helpers.core.settings import Place, place
from lab_helpers.record import jobs
from lab_helpers.tools.qmp import Qmp

KINDS = {
    "RESET": "reset",
    "SHUTDOWN": "shutdown",
    "POWERDOWN": "powerdown",
    "STOP": "pause",
    "RESUME": "resume",
    "GUEST_PANICKED": "panic",
    "JOB_STATUS_CHANGE": "job",
}


def follow(place: Place, name: str) -> ProcessId:
    """See that a recorder follows the VM `name`, which runs."""
    return jobs.start(place, job_name(name), [sys.executable, "-P", "-m", "lab_helpers.record.recorder", name])


def job_name(vm: str) -> str:
    return f"recorder-{vm}"


def record(place: Place, name: str) -> None:
    """Write the VM's events into the journal until its QEMU ends."""

    def heard(event: dict[str, Any]) -> None:
        kind = KINDS.get(str(event.get("event")))
        data = dict(event.get("data") or {})
        if kind is None or (kind == "job" and data.get("status") != "concluded"):
            return
        journal.write(place.journal, f"vm:{name}", kind, by="qemu", **data)

    Qmp(place.sockets / f"{name}.events").follow(heard)


if __name__ == "__main__":
    try:
        record(place(), sys.argv[1])
    except LabError as error:
        sys.exit(str(error))
