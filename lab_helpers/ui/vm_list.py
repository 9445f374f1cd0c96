"""What `lab vm list --json` prints."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class VmRow(BaseModel):
    """One VM. state: QEMU's own word (running, paused, ...), or "off". A plain QEMU guest has no sizes here."""

    model_config = ConfigDict(frozen=True)

    name: str
    state: str
    pid: int | None = None
    memory_mib: int | None = None
    cpus: int | None = None
    forwards: list[str] = []
    snapshots: list[str] = []


class VmList(BaseModel):
    """All VMs of a checkout."""

    model_config = ConfigDict(frozen=True)

    vms: list[VmRow]
