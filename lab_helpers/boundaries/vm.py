"""Virtual machines of this checkout: made from the course's disk, kept in a folder each, run by QEMU.

A VM is its folder: vm.json (what it is), disk.qcow2 (what it wrote), console.log, qemu.log. Whether it runs is asked of
the machine and not remembered, so a VM outlives the process that started it and is found again.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lab_helpers.boundaries.guest import Guest, endpoint, running_guests
from lab_helpers.core import journal
from lab_helpers.core.errors import LabError, MachineError, ToolError, UsageError
from lab_helpers.core.events import Progress, Tell, silent
from lab_helpers.core.host import boot_id
from lab_helpers.core.ports import free_port, is_free
from lab_helpers.core.processes import pasteable, run, start_detached
from lab_helpers.core.settings import Place
from lab_helpers.core.store import locked, write_atomic
from lab_helpers.core.waiting import wait_for
from lab_helpers.images.guest_image import GuestImage
from lab_helpers.tools import qemu, ssh
from lab_helpers.tools.guest_agent import GuestAgentError
from lab_helpers.tools.kvm import probe_accelerator
from lab_helpers.tools.qemu import Forward
from lab_helpers.tools.qmp import Qmp

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
READY_S = 180
"""How long a boot may take, in seconds: ten times what emulation needs on a slow laptop."""
MEMORY_MIB = (256, 65536)
CPUS = (1, 64)


class Record(BaseModel):
    """What vm.json says."""

    model_config = ConfigDict(frozen=True)

    name: str
    arch: str
    image: str
    memory_mib: int = Field(ge=MEMORY_MIB[0], le=MEMORY_MIB[1])
    cpus: int = Field(ge=CPUS[0], le=CPUS[1])
    ssh_port: int
    forwards: tuple[Forward, ...] = ()
    created: float


class Vm:
    """One VM of this place. Make one with `Vm.create`, find one with `Vm.load`."""

    def __init__(self, place: Place, record: Record) -> None:
        self.place = place
        self.record = record

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def folder(self) -> Path:
        return self.place.vms / self.name

    @property
    def disk(self) -> Path:
        return self.folder / "disk.qcow2"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @classmethod
    def create(
        cls,
        place: Place,
        name: str,
        image: GuestImage,
        *,
        memory_mib: int,
        cpus: int,
        forwards: tuple[Forward, ...] = (),
    ) -> Vm:
        """Make a VM with a disk of its own; it does not run yet. Raises UsageError for a name that is taken or odd."""
        check_request(name, memory_mib, cpus)
        with locked(place.state / "vms.lock"):
            if (place.vms / name / "vm.json").exists():
                raise UsageError(
                    f"There is a VM {name} already.", do=f"start it: lab vm start {name}; or: lab vm remove {name}"
                )
            ssh.make_key(place.state / "keys" / "id_ed25519", "vm-to-kubernetes")
            record = Record(
                name=name,
                arch=image.arch,
                image=image.key,
                memory_mib=memory_mib,
                cpus=cpus,
                ssh_port=free_port({vm.record.ssh_port for vm in all_vms(place)}),
                forwards=forwards,
                created=time.time(),
            )
            vm = cls(place, record)
            shutil.rmtree(vm.folder, ignore_errors=True)  # what a killed `create` left: it has no vm.json yet
            vm.folder.mkdir(parents=True)
            qemu.create_overlay(vm.disk, image.disk)
            vm._save()
            write_ssh_config(place)
        journal.write(place.journal, f"vm:{name}", "create", memory_mib=memory_mib, cpus=cpus)
        return vm

    @classmethod
    def load(cls, place: Place, name: str) -> Vm:
        """Find a VM by its name. Raises UsageError with the names that there are."""
        path = place.vms / name / "vm.json"
        if not NAME.fullmatch(name) or not path.exists():
            names = ", ".join(vm.name for vm in all_vms(place)) or "none yet"
            raise UsageError(
                f"There is no VM {name!r} here.", why=f"VMs here: {names}", do="make one: lab vm create NAME"
            )
        try:
            return cls(place, Record.model_validate_json(path.read_text()))
        except ValueError as error:
            raise LabError(
                f"The record of the VM {name} cannot be read.", why=str(error), do=f"lab vm remove {name}"
            ) from None

    def guest(self) -> Guest | None:
        """The running guest, or None while the VM is off."""
        return next((guest for guest in running_guests(self.place) if guest.disk == self.disk.resolve()), None)

    def running(self) -> Guest:
        """The running guest. Raises LabError while the VM is off."""
        guest = self.guest()
        if guest is None:
            raise LabError(f"The VM {self.name} is off.", do=f"start it: lab vm start {self.name}")
        return guest

    def endpoint(self) -> ssh.Endpoint:
        return endpoint(self.place, self.name, self.record.ssh_port)

    # -- start and stop -----------------------------------------------------------------------------------------------

    def command(self, saved_state: str = "", incoming: Path | None = None) -> list[str]:
        """The QEMU command that starts it."""
        image = self.place.images / self.record.image
        if not (image / "vmlinuz").exists():
            raise MachineError(
                f"The disk that {self.name} builds upon is not here any more.",
                finding="GUEST-IMAGE",
                why=f"the image {self.record.image} was removed from the cache",
                do=f"lab vm remove {self.name}, then make it again",
            )
        sockets = self.place.sockets
        key = self.place.state / "keys" / "id_ed25519.pub"
        return qemu.command(
            qemu.Machine(
                name=self.name,
                arch=self.record.arch,
                accelerator=probe_accelerator(),
                memory_mib=self.record.memory_mib,
                cpus=self.record.cpus,
                kernel=image / "vmlinuz",
                initrd=image / "initrd.img",
                append=f"systemd.hostname={self.name} {ssh.credential(key)}",
                disk=self.disk,
                console=self.console,
                qmp=sockets / f"{self.name}.qmp",
                events=sockets / f"{self.name}.events",
                agent=sockets / f"{self.name}.agent",
                forwards=(Forward(self.record.ssh_port, 22), *self.record.forwards),
                saved_state=saved_state,
                incoming=incoming,
            )
        )

    def start(self, tell: Tell = silent, *, saved_state: str = "", incoming: Path | None = None) -> Guest:
        """Start it and wait until it has booted. A VM that runs already is left as it is (a paused one goes on).

        `incoming`: the state of a saved machine, which goes on instead of booting. Ctrl-C during a boot that was begun
        here pulls the plug. Raises WaitTimeoutError when it does not boot, QemuEndedError at once when its QEMU ends
        meanwhile.
        """
        guest, ours = self.guest(), False
        if guest is None:
            guest, ours = self._launch(saved_state, incoming)
            journal.write(self.place.journal, f"vm:{self.name}", "start", pid=guest.process.pid, boot=boot_id())
        elif guest.qmp and guest.status() == "paused":
            guest.qmp.execute("cont")
        began = time.monotonic()

        def waiting() -> None:
            tell(Progress(f"{self.name} boots", time.monotonic() - began, typical_s=10, unit="s"))

        try:
            guest.wait_until_ready(timeout_s=READY_S, log=self.console, waiting=waiting)
        except KeyboardInterrupt:
            if ours:
                guest.process.end()  # QEMU closes the disk at SIGTERM
                journal.write(self.place.journal, f"vm:{self.name}", "interrupt")
            raise
        return guest

    def _launch(self, saved_state: str, incoming: Path | None) -> tuple[Guest, bool]:
        """Run its QEMU. False: somebody else did so at the same time."""
        _make_private(self.place.sockets)
        with locked(self.folder / "start.lock"):
            if guest := self.guest():
                return guest, False
            taken = [forward for forward in self.record.forwards if not is_free(forward.host, forward.host_port)]
            if taken:
                raise LabError(
                    f"{self.name} cannot listen on {taken[0].host}:{taken[0].host_port}: another program does already.",
                    do=f"end that program (ss -ltnp 'sport = :{taken[0].host_port}' shows it), then start again",
                )
            if not is_free("127.0.0.1", self.record.ssh_port):
                self._change(ssh_port=free_port({vm.record.ssh_port for vm in all_vms(self.place)}))
            log = self.folder / "qemu.log"
            argv = self.command(saved_state, incoming)
            _, process = start_detached(argv, log=log, cwd=self.folder)

            def up() -> Guest | int | None:
                if (code := process.poll()) is not None:
                    return code
                guest = self.guest()
                if guest is None or guest.qmp is None or not guest.qmp.path.exists():
                    return None
                status = guest.qmp.execute("query-status")["status"]
                if status == "inmigrate":
                    return None
                if incoming:  # it was saved while it stood still
                    guest.qmp.execute("cont")
                return guest

            limit_s = 120 if incoming else 20
            try:
                result = wait_for(up, "QEMU to answer", timeout_s=limit_s, interval_s=0.02, hint=pasteable(argv))
            except BaseException:
                process.kill()
                process.wait()
                raise
            if isinstance(result, Guest):
                return result, True
            raise MachineError(
                f"QEMU ended at once (exit code {result}).",
                finding="QEMU",
                why=" | ".join(log.read_text(errors="replace").strip().splitlines()[-4:]),
                do=f"try the command yourself: {pasteable(argv)}",
            )

    def stop(self, tell: Tell = silent, *, force: bool = False, timeout_s: float = 60) -> None:
        """Shut the guest down, as its power button would; with `force`, or after `timeout_s` seconds, pull the plug."""
        guest = self.guest()
        if guest is None:
            return
        ssh.hang_up(self.endpoint())
        if not force:
            began = time.monotonic()

            def gone() -> bool:
                tell(Progress(f"{self.name} shuts down", time.monotonic() - began, typical_s=4, unit="s"))
                return not guest.process.alive()

            with contextlib.suppress(LabError):
                if guest.status() == "paused" and guest.qmp:
                    guest.qmp.execute("cont")
                _power_off(guest)
                wait_for(gone, f"{self.name} to shut down", timeout_s=timeout_s)
        if guest.process.alive() and guest.qmp:
            with contextlib.suppress(LabError):
                guest.qmp.execute("quit", timeout_s=3)
                wait_for(lambda: not guest.process.alive(), "QEMU to quit", timeout_s=5)
        guest.process.end()
        journal.write(self.place.journal, f"vm:{self.name}", "stop", force=force)

    def remove(self) -> None:
        """Stop it at once and delete it, its disk and its snapshots."""
        self.stop(force=True)
        for kind in ("qmp", "events", "agent", "qmp.lock", "agent.lock"):
            (self.place.sockets / f"{self.name}.{kind}").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        write_ssh_config(self.place)
        journal.write(self.place.journal, f"vm:{self.name}", "remove")

    # -- ports, files --------------------------------------------------------------------------------------------------

    def forward(self, new: Forward) -> None:
        """Let a port of the host lead into the guest, now and at each later start. Set already is fine."""
        guest = self.guest()
        in_force = guest.forwards() if guest else self.record.forwards
        if any((old.host, old.host_port) == (new.host, new.host_port) and old != new for old in in_force):
            raise UsageError(f"{self.name} has a forward from {new.host}:{new.host_port} already.")
        if guest and new not in in_force:
            said = _monitor(guest).human(f"hostfwd_add net0 {new.rule()}").strip()
            if said:
                raise LabError(
                    f"QEMU could not listen on {new.host}:{new.host_port}.",
                    why=said,
                    do="another program may listen there: choose another port",
                )
        if new not in self.record.forwards:
            self._change(forwards=(*self.record.forwards, new))

    def drop_forward(self, old: Forward) -> None:
        """Take a forward away, now and at each later start."""
        guest = self.guest()
        if guest and old in guest.forwards():
            _monitor(guest).human(f"hostfwd_remove net0 tcp:{old.host}:{old.host_port}")
        self._change(forwards=tuple(forward for forward in self.record.forwards if forward != old))

    def copy(self, source: Path, target: str) -> None:
        """Copy a file or folder of the host into the guest. Raises ToolError."""
        if not source.exists():
            raise UsageError(f"There is no file or folder {source}.")
        self.running()
        at = self.endpoint()
        options = at.argv()[1:-1]
        run(["scp", "-q", "-r", *options, source, f"{at.alias}:{target}"], timeout_s=300)

    # -- its record -------------------------------------------------------------------------------------------------

    def _change(self, **fields: object) -> None:
        self.record = self.record.model_copy(update=fields)
        self._save()
        write_ssh_config(self.place)

    def _save(self) -> None:
        write_atomic(self.folder / "vm.json", self.record.model_dump_json(indent=2))


def check_request(name: str, memory_mib: int, cpus: int) -> None:
    """Raises UsageError for a VM that cannot be."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a VM's name.",
            why="it becomes a host name: small letters, digits and hyphens, a letter first, 31 at most",
        )
    for value, (low, high), what in ((memory_mib, MEMORY_MIB, "MiB of memory"), (cpus, CPUS, "CPUs")):
        if not low <= value <= high:
            raise UsageError(f"A VM cannot have {value} {what}.", do=f"choose from {low} to {high}")


def all_vms(place: Place) -> list[Vm]:
    """All VMs of this place, by name. A folder whose record cannot be read is left out."""
    found = []
    for path in sorted(place.vms.glob("*/vm.json")):
        with contextlib.suppress(ValueError, OSError):
            found.append(Vm(place, Record.model_validate_json(path.read_text())))
    return found


def write_ssh_config(place: Place) -> None:
    """Make `ssh NAME` work for all VMs of this place; what is not a VM is left to the learner's own config."""
    _make_private(place.sockets)
    _make_private(place.sockets / "ssh")
    hosts = "\n".join(vm.endpoint().config() for vm in all_vms(place))
    own = "# Written by `lab vm`. Your own settings follow and hold for all other hosts.\n"
    write_atomic(place.state / "ssh_config", f"{hosts}\n{own}Match all\nInclude ~/.ssh/config\n", mode=0o600)


def _power_off(guest: Guest) -> None:
    """Ask the guest to shut down. Its answer is not waited for: it may be gone before it can give one."""
    with contextlib.suppress(ToolError, GuestAgentError):
        guest.run(["systemctl", "--no-block", "poweroff"], timeout_s=10, check=False)


def _monitor(guest: Guest) -> Qmp:
    if guest.qmp is None:
        raise LabError(f"{guest.name} runs without a QMP socket, so its ports cannot be changed while it runs.")
    return guest.qmp


def _make_private(folder: Path) -> None:
    """Make a folder that only this user can enter. Raises LabError when somebody else made one of that name."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    facts = folder.lstat()
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077 or folder.is_symlink():
        raise LabError(f"The folder {folder} is not ours alone.", do="remove it, or set TMPDIR to a folder of your own")
