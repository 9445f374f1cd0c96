"""For the boundary map: the guests that run, `lab vm`'s and plain QEMU's, and what their kernels say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import psutil

from lab_helpers.boundaries.guest import Guest, running_guests
from lab_helpers.boundaries.vm import READY_S, all_vms
from lab_helpers.core.asking import Asked
from lab_helpers.core.settings import Place

ASK = "cat /proc/sys/kernel/random/boot_id && uname -r"
QEMU_DEFAULT_MIB = 128
"""What QEMU gives a guest when nobody says how much."""
_UNITS = {"M": 1, "G": 1024, "T": 1024**2, "K": 1 / 1024}


@dataclass(frozen=True)
class SeenGuest:
    """One running guest. Without a boot id nobody inside of it answered, and `note` says what is known instead."""

    name: str
    detail: str
    started: float
    memory_mib: int | None
    """What its QEMU takes from the host."""
    memory_of_mib: int
    """What the guest was given."""
    boot_id: str = ""
    release: str = ""
    note: str = ""


@dataclass(frozen=True)
class SeenGuests:
    """All guests of a place."""

    running: tuple[SeenGuest, ...] = ()
    off: tuple[str, ...] = ()
    """The VMs that are there and do not run."""
    troubles: tuple[str, ...] = ()


def see_guests(place: Place, until: float) -> SeenGuests:
    """Look at the guests, the oldest first, and ask each one; no answer is waited for longer than that time (of
    time.monotonic)."""
    guests = sorted(running_guests(place), key=lambda guest: guest.process.started)
    patience = max(until - time.monotonic(), 0.1)
    asked = [(guest, Asked(partial(_ask, guest, patience))) for guest in guests]
    disks = {guest.disk for guest in guests}
    off = tuple(vm.name for vm in all_vms(place) if vm.disk.resolve() not in disks)
    seen = tuple(one for guest, answer in asked if (one := _seen(guest, answer.answer(until))))
    return SeenGuests(seen, off)


def _ask(guest: Guest, patience_s: float) -> tuple[str, str]:
    """The boot id and the release of its kernel. Raises LabError when nobody answers."""
    boot_id, release = guest.shell(ASK, timeout_s=patience_s).split()
    return boot_id, release


def _seen(guest: Guest, answer: tuple[str, str] | None) -> SeenGuest | None:
    try:
        memory = psutil.Process(guest.process.pid).memory_info().rss >> 20
    except psutil.Error:
        return None  # it ended at this moment
    boot_id, release = answer or ("", "")
    return SeenGuest(
        name=guest.name or f"process {guest.process.pid}",
        detail="" if guest.managed else "started with plain QEMU",
        started=guest.process.started,
        memory_mib=memory,
        memory_of_mib=assigned_mib(guest.argv),
        boot_id=boot_id,
        release=release,
        note="" if boot_id else _silence(guest),
    )


def _silence(guest: Guest) -> str:
    """Why nobody in the guest answers, in words."""
    status = guest.status()
    if status not in ("running", "prelaunch", "inmigrate"):
        return status
    young = time.time() - guest.process.started < READY_S
    return "starting: its kernel does not answer yet" if young else "its kernel does not answer"


def assigned_mib(argv: Sequence[str]) -> int:
    """The memory that a QEMU command gives its guest, in MiB (`-m 512`, `-m 1G`, `-m size=2G,slots=2`)."""
    given = QEMU_DEFAULT_MIB
    for option, value in pairwise(argv):
        if option in ("-m", "--m"):
            fields = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
            size = fields.get("size", value.split(",")[0]).upper().removesuffix("B")
            number, unit = (size[:-1], size[-1]) if size[-1:] in _UNITS else (size, "M")
            try:
                given = int(float(number) * _UNITS[unit])
            except ValueError:  # a QEMU that runs has understood it; we have not
                continue
    return given
