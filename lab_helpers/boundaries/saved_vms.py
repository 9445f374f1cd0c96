"""VMs kept as they are, running or not, in a folder of their own, and brought back from there about as fast as a copy.

What is kept is the VM's disk (what differs from the course's) and, of one that runs, the state of its machine, memory
included, as QEMU sends it to another QEMU that takes over. It goes on with the same QEMU on the same kind of processor.
Source: https://www.qemu.org/docs/master/devel/migration/main.html
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from lab_helpers.boundaries.guest import Guest, running_guests
from lab_helpers.boundaries.vm import Record, Vm, all_vms, write_ssh_config
from lab_helpers.core import journal
from lab_helpers.core.errors import LabError
from lab_helpers.core.events import Progress, Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.tools import qemu, ssh
from lab_helpers.tools.kvm import probe_accelerator
from lab_helpers.tools.qmp import Qmp

MEMORY = "memory"
FILES = ("disk.qcow2", "known_hosts", "vm.json")
"""A folder counts as a VM once its vm.json is there: it is copied last."""
SAVE_S = 120
"""How long QEMU may take to write its memory, in seconds: a gigabyte on a slow disk."""


def machine_key(place: Place) -> str:
    """What a kept VM depends on besides its files: QEMU, the processor that it gets, and the key that it lets in."""
    key = place.state / "keys" / "id_ed25519.pub"
    ssh.make_key(key.with_suffix(""), "vm-to-kubernetes")
    accelerator = probe_accelerator()
    return "\n".join([qemu.version(), qemu.host_arch(), accelerator.name, key.read_text()])


def save(place: Place, names: Iterable[str], folder: Path) -> None:
    """Keep those of these VMs that are there in `folder`. One that runs stands still meanwhile, and goes on.

    Raises LabError for one that cannot be kept, such as one that plain QEMU runs.
    """
    names = set(names)
    if plain := [guest for guest in running_guests(place) if not guest.managed and guest.name in names]:
        raise LabError(f"{plain[0].name} was started with plain QEMU, so it cannot be saved.")
    for vm in all_vms(place):
        if vm.name in names:
            _save(vm, folder / vm.name)


def _save(vm: Vm, folder: Path) -> None:
    folder.mkdir(parents=True)
    guest = vm.guest()
    if guest is None:
        _copy(vm.folder, folder)
        return
    if guest.qmp is None:
        raise LabError(f"{vm.name} runs without a QMP socket: its memory cannot be saved.")
    guest.shell("sync")
    guest.qmp.execute("stop")
    try:
        _write_memory(guest.qmp, folder / MEMORY)
        _copy(vm.folder, folder)
    finally:
        guest.qmp.execute("cont", timeout_s=30)  # also when it was refused: the guest goes on as it was
    journal.write(vm.place.journal, f"vm:{vm.name}", "saved")


def _write_memory(qmp: Qmp, target: Path) -> None:
    qmp.execute("migrate-set-parameters", {"max-bandwidth": 2**40})  # not slower than the disk
    target.touch(mode=0o600)
    qmp.execute("migrate", {"uri": f"exec:cat > {shlex.quote(str(target))}"})

    def done() -> bool:
        status = str(qmp.execute("query-migrate").get("status"))
        if status in ("failed", "cancelled"):
            return True
        return status == "completed"

    wait_for(done, "QEMU to write the machine's memory", timeout_s=SAVE_S, interval_s=0.05)
    if (status := qmp.execute("query-migrate").get("status")) != "completed":
        raise LabError("QEMU could not write the machine's memory.", why=str(status))


def _copy(source: Path, target: Path) -> None:
    for name in FILES:
        if (source / name).exists():
            copy_file(source / name, target / name)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file; holes stay holes, and where the file system can share the blocks it does."""
    try:
        _copy_sparse(source, target)
    except OSError:  # a file system that knows no holes
        shutil.copyfile(source, target)
    target.chmod(source.stat().st_mode & 0o777)


def _copy_sparse(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("wb") as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        position = 0
        while position < size:
            try:
                begin = os.lseek(old.fileno(), position, os.SEEK_DATA)
            except OSError:  # nothing but a hole follows
                return
            position = os.lseek(old.fileno(), begin, os.SEEK_HOLE)
            _copy_range(old.fileno(), new.fileno(), begin, position - begin)


def _copy_range(old: int, new: int, begin: int, count: int) -> None:
    os.lseek(new, begin, os.SEEK_SET)
    offset = begin
    while count:
        sent = os.sendfile(new, old, offset, min(count, 2**26))
        if not sent:
            raise OSError(f"only {offset - begin} bytes could be copied")
        offset += sent
        count -= sent


def bring(place: Place, folder: Path, tell: Tell = silent) -> list[str]:
    """Bring the VMs that are kept in `folder` back; those that ran go on. None of them may be there.

    Returns their names. Raises LabError, for example where another program has taken one of its ports.
    """
    ssh.make_key(place.state / "keys" / "id_ed25519", "vm-to-kubernetes")
    names = []
    for kept in sorted(path.parent for path in folder.glob("*/vm.json")):
        tell(Progress(f"{kept.name} comes back", typical_s=2))
        vm = Vm(place, Record.model_validate_json((kept / "vm.json").read_text()))
        if (vm.folder / "vm.json").exists():
            raise LabError(f"There is a VM {vm.name} already.")
        vm.folder.mkdir(parents=True, exist_ok=True)
        _copy(kept, vm.folder)
        write_ssh_config(place)
        if (kept / MEMORY).exists():
            guest = vm.start(incoming=kept / MEMORY)
            _wake(guest)
        journal.write(place.journal, f"vm:{vm.name}", "brought-back", running=(kept / MEMORY).exists())
        names.append(vm.name)
    return names


def _wake(guest: Guest) -> None:
    """It believes that it is still then, and would draw the same random numbers as the last time."""

    def told() -> bool:
        script = f"date -s @{time.time():.3f}; cat > /dev/urandom"
        guest.run(["/bin/sh", "-c", script], stdin=secrets.token_hex(64), timeout_s=5)
        return True

    wait_for(told, f"{guest.name} to answer", timeout_s=20)
