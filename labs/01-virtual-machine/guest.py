"""The learner's guest: how the checks of this lab find it, and what helps when it is not there."""

from __future__ import annotations

from dataclasses import dataclass

from lab_helpers.boundaries.guest import Guest
from lab_helpers.course.world import World, need_qemu

from .names import CPUS, MEMORY_MIB, VM

NO_GUEST_HINTS = {
    "no-vm": (
        f"There is no VM `{VM}` yet. `lab vm --help` shows what there is.",
        f"First make it: `!lab vm create {VM} --memory {MEMORY_MIB} --cpus {CPUS}`. Then start it.",
    ),
    "off": (f"The VM `{VM}` is there, but it is off.", f"Start it: `!lab vm start {VM}`"),
    "paused": (
        f"`{VM}` is paused: QEMU holds its processors still. Starting it lets it go on.",
        f"`!lab vm start {VM}`",
    ),
    "silent": (
        "A QEMU runs, but nobody in its guest answers yet. Does it still boot, or has it no way in?",
        f"Look at its console with `!lab vm console {VM}`. A QEMU command of your own needs a guest agent port or a "
        f"forward to the guest's port 22: `!lab vm start {VM} --print` shows both.",
    ),
}


@dataclass(frozen=True)
class Found:
    """The learner's guest, or why there is none to look into."""

    guest: Guest | None
    saw: str
    state: str


def find_guest(world: World) -> Found:
    """The guest `pinboard-vm`, running and answering. BLOCKED where there is no QEMU at all."""
    guest = world.guest(VM)
    if guest is None:
        need_qemu()
        made = [vm.name for vm in world.vms()]
        others = [other.name or f"process {other.process.pid}" for other in world.guests()]
        if VM in made:
            return Found(None, f"a VM {VM} that is off", "off")
        return Found(None, f"no guest of that name; running here: {', '.join(others) or 'none'}", "no-vm")
    if guest.status() == "paused":
        return Found(None, f"{VM} is paused", "paused")
    if silence := guest.silence():
        return Found(
            None, f"QEMU runs as process {guest.process.pid}, but its guest does not answer: {silence}", "silent"
        )
    return Found(guest, f"{guest.name or 'a guest'} runs as process {guest.process.pid} and answers", "")
