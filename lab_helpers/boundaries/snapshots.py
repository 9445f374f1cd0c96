"""Snapshots of a VM: kept inside of its disk; those of a running VM have its memory as well."""

from __future__ import annotations

import re
import time

from lab_helpers.boundaries.guest import Guest
from lab_helpers.boundaries.vm import Vm
from lab_helpers.core import journal
from lab_helpers.core.errors import LabError, UsageError
from lab_helpers.core.events import Tell, silent
from lab_helpers.core.waiting import wait_for
from lab_helpers.tools import qemu, ssh
from lab_helpers.tools.qmp import Qmp


def tags(vm: Vm) -> list[str]:
    """The names of a VM's snapshots."""
    return [str(entry["name"]) for entry in qemu.snapshots(vm.disk)]


def save(vm: Vm, tag: str) -> None:
    """Keep the VM as it is now under `tag`: disk and, while it runs, memory. Replaces an older one of that name."""
    _check_tag(tag)
    guest = vm.guest()
    if tag in tags(vm):
        _delete(vm, tag, guest)
    if guest is None:
        qemu.snapshot(vm.disk, "-c", tag)
    else:
        disk = _disk_node(_qmp(guest))
        _qmp(guest).job("snapshot-save", f"snapshot-save-{tag}", {"tag": tag, "vmstate": disk, "devices": [disk]})
    journal.write(vm.place.journal, f"vm:{vm.name}", "snapshot", tag=tag, running=guest is not None)


def restore(vm: Vm, tag: str, tell: Tell = silent) -> None:
    """Bring the VM back to what it was at the snapshot `tag`. A snapshot of a running VM runs on afterwards.

    Raises UsageError when there is no such snapshot.
    """
    _check_tag(tag)
    entry = next((entry for entry in qemu.snapshots(vm.disk) if entry["name"] == tag), None)
    if entry is None:
        raise UsageError(f"{vm.name} has no snapshot {tag!r}.", why=f"its snapshots: {', '.join(tags(vm)) or 'none'}")
    with_memory = int(entry["vm-state-size"]) > 0
    ssh.hang_up(vm.endpoint())  # the guest of then knows nothing of the connections of now
    guest = vm.guest()
    if guest and with_memory:
        monitor = _qmp(guest)
        disk = _disk_node(monitor)
        monitor.execute("stop")
        try:
            monitor.job("snapshot-load", f"snapshot-load-{tag}", {"tag": tag, "vmstate": disk, "devices": [disk]})
        finally:
            monitor.execute("cont")  # also when it was refused: the guest goes on as it was
    else:
        vm.stop(force=True)
        guest = None
        if with_memory:
            guest = vm.start(tell, saved_state=tag)
        else:
            qemu.snapshot(vm.disk, "-a", tag)
    if guest:
        _set_clock(guest)
    journal.write(vm.place.journal, f"vm:{vm.name}", "restore", tag=tag, running=guest is not None)


def delete(vm: Vm, tag: str) -> None:
    """Forget a snapshot."""
    _check_tag(tag)
    _delete(vm, tag, vm.guest())


def _delete(vm: Vm, tag: str, guest: Guest | None) -> None:
    if guest is None:
        qemu.snapshot(vm.disk, "-d", tag)
    else:
        disk = _disk_node(_qmp(guest))
        _qmp(guest).job("snapshot-delete", f"snapshot-delete-{tag}", {"tag": tag, "devices": [disk]})


def _set_clock(guest: Guest) -> None:
    """A restored guest believes that it is still then."""

    def told() -> bool:
        guest.run(["date", "-s", f"@{time.time():.3f}"], timeout_s=5)
        return True

    wait_for(told, f"{guest.name} to answer after its restore", timeout_s=20)


def _qmp(guest: Guest) -> Qmp:
    if guest.qmp is None:
        raise LabError(f"{guest.name} runs without a QMP socket: its memory cannot be saved.")
    return guest.qmp


def _disk_node(qmp: Qmp) -> str:
    """QEMU's own name for the guest's disk."""
    blocks = qmp.execute("query-block")
    return str(next(block["inserted"]["node-name"] for block in blocks if block.get("inserted")))


def _check_tag(tag: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", tag):
        raise UsageError(f"{tag!r} cannot be a snapshot's name.", do="use letters, digits, dots and hyphens")
