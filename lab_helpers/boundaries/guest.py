"""A guest that runs right now, as its process shows it: whoever started it, with `lab vm` or with plain QEMU.

A guest belongs to the course when its disk descends from a course image, and to this checkout when its disk is in the
checkout's own folders or it was started from there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from lab_helpers.core.errors import LabError
from lab_helpers.core.processes import Completed, ProcessId
from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import pace, wait_for
from lab_helpers.tools import qemu, ssh
from lab_helpers.tools.guest_agent import GuestAgent, GuestAgentError
from lab_helpers.tools.qemu import Forward
from lab_helpers.tools.qmp import Qmp

AGENT_S = 60
"""How long a guest that starts is given until its agent answers, in seconds, before it is looked into in other ways."""


class QemuEndedError(LabError):
    """A guest's QEMU ended while somebody waited for the guest."""


@dataclass(frozen=True)
class Guest:
    """A running guest and the ways to look into it. Paths on its command line are taken from its own working folder."""

    name: str
    process: ProcessId
    argv: tuple[str, ...]
    folder: Path
    disk: Path
    qmp: Qmp | None
    agent: GuestAgent | None
    ssh: ssh.Endpoint | None
    managed: bool
    """Made by `lab vm`."""

    def run(
        self, argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 30, check: bool = True
    ) -> Completed:
        """Run a program in the guest: through its agent, else over SSH. Raises ToolError or GuestAgentError."""
        if self.agent and self.agent.path.exists():
            try:
                return self.agent.run(argv, stdin=stdin, timeout_s=timeout_s, check=check)
            except GuestAgentError:
                if self.ssh is None:
                    raise
        if self.ssh:
            return ssh.run_in(self.ssh, argv, stdin=stdin, timeout_s=timeout_s, check=check)
        raise GuestAgentError(
            f"The guest {self.name or self.process.pid} runs, but there is no way to look inside.",
            why="its QEMU command has neither a guest agent port nor a forward to the guest's port 22",
            do="see `lab vm start NAME --print` for a command that has both",
        )

    def shell(self, script: str, *, timeout_s: float = 30, check: bool = True) -> str:
        """Run a script with the guest's sh and return what it printed."""
        return self.run(["/bin/sh", "-c", script], timeout_s=timeout_s, check=check).out

    def silence(self) -> str:
        """Empty when somebody inside of the guest answers; else why nobody does."""
        try:
            self.run(["true"], timeout_s=10)
        except LabError as error:
            return f"{error.what} {error.why}".strip()
        return ""

    def status(self) -> str:
        """QEMU's word for what the guest does: running, paused, ..., or "running" when QEMU cannot be asked."""
        if self.qmp is None or not self.qmp.path.exists():
            return "running"
        try:
            return str(self.qmp.execute("query-status", timeout_s=3)["status"])
        except LabError:  # somebody else talks to it, or it ends just now
            return "running"

    def forwards(self) -> tuple[Forward, ...]:
        """The forwards in force; those that were added or taken away later count too where QEMU can be asked."""
        if self.qmp and self.qmp.path.exists():
            with contextlib.suppress(LabError):
                return qemu.read_forwards(self.qmp.human("info usernet"))
        return qemu.read_command(self.argv).forwards

    def wait_until_ready(
        self, *, timeout_s: float, log: Path | None = None, waiting: Callable[[], None] = lambda: None
    ) -> None:
        """Wait until the guest has started all that it starts by itself; `waiting` is called at each look.

        The agent is asked first: while it does not answer, an SSH server does not either, and a connection to it would
        hang. A guest whose agent stays silent for AGENT_S seconds, or that has none, is looked into over SSH.
        Raises WaitTimeoutError; QemuEndedError at once when its QEMU ends meanwhile.
        """
        began = time.monotonic()
        agent = self.agent if self.agent and self.agent.path.exists() else None
        answers = False

        def looked() -> bool:
            nonlocal answers
            waiting()
            if not self.process.alive():
                return True
            if agent and not answers and time.monotonic() - began < AGENT_S:
                agent.ping()  # raises while it is silent
                answers = True
            state = self.run(["systemctl", "is-active", "multi-user.target"], timeout_s=5, check=False).out.strip()
            if state != "active":
                raise LabError(f"the guest's own services are still starting ({state or 'no answer'})")
            return True

        wait_for(
            looked,
            f"{self.name} to have started",
            timeout_s=timeout_s,
            interval_s=pace,
            log=(lambda: log.read_text(errors="replace")) if log else None,
            hint=f"look at its console: lab vm console {self.name}",
        )
        self.must_run()

    def must_run(self) -> None:
        """Raises QemuEndedError when its QEMU has ended."""
        if not self.process.alive():
            raise QemuEndedError(f"The QEMU of {self.name} has ended.", do=f"start it again: lab vm start {self.name}")


def running_guests(place: Place) -> list[Guest]:
    """All guests of this place that run, those of `lab vm` first, then the latest first."""
    guests = [guest for process in psutil.process_iter() if (guest := _read(process, place))]
    return sorted(guests, key=lambda guest: (not guest.managed, -guest.process.started))


def running_guest(place: Place, name: str) -> Guest | None:
    """The guest of that name; else one that plain QEMU runs without saying a name."""
    guests = running_guests(place)
    named = [guest for guest in guests if guest.name == name]
    return next(iter(named or [guest for guest in guests if not guest.managed and not guest.name]), None)


def endpoint(place: Place, name: str, port: int) -> ssh.Endpoint:
    """How to log in to a guest of this place whose port 22 is reached at `port`."""
    return ssh.Endpoint(
        alias=name,
        port=port,
        key=place.state / "keys" / "id_ed25519",
        known_hosts=place.vms / name / "known_hosts",
        control=place.sockets / "ssh",
    )


def _read(process: psutil.Process, place: Place) -> Guest | None:
    """The guest that a process is, or None for any other process, and for what another user or place runs."""
    try:
        # The program itself and not the name that it gives itself: a name proves nothing.
        if not Path(process.exe()).name.startswith("qemu-system-"):
            return None
        argv, folder, started = process.cmdline(), Path(process.cwd()), process.create_time()
        if not qemu.is_qemu(argv) or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except (psutil.Error, OSError):
        return None
    reading = qemu.read_command(argv)
    disks = [(folder / disk).resolve() for disk in reading.disks]
    disk = next((disk for disk in disks if _is_ours(disk, folder, place)), None)
    if disk is None:
        return None
    managed = disk.is_relative_to(place.vms.resolve())
    name = disk.relative_to(place.vms.resolve()).parts[0] if managed else reading.name
    login = next((forward.host_port for forward in reading.forwards if forward.guest_port == 22), None)
    return Guest(
        name=name,
        process=ProcessId(process.pid, started),
        argv=tuple(argv),
        folder=folder,
        disk=disk,
        qmp=Qmp(folder / reading.qmp) if reading.qmp else None,
        agent=GuestAgent(folder / reading.agent) if reading.agent else None,
        ssh=endpoint(place, name or f"pid-{process.pid}", login) if login else None,
        managed=managed,
    )


def _is_ours(disk: Path, folder: Path, place: Place) -> bool:
    """True when a disk descends from a course image, and it or the folder that QEMU was started in is this place's.

    A place may lie inside of another one's checkout (`lab prove` works in such): only its own folders count, and what
    was started elsewhere in the checkout belongs to the learner's usual place.
    """
    state, folder = place.state.resolve(), folder.resolve()
    homes = (place.vms.resolve(), place.work.resolve())
    here = any(path.is_relative_to(home) for path in (disk, folder) for home in homes)
    usual = state == (place.root / ".lab").resolve()
    from_checkout = usual and folder.is_relative_to(place.root) and not folder.is_relative_to(state)
    if not disk.exists() or not (here or from_checkout):
        return False
    try:
        return any(layer.is_relative_to(place.images.resolve()) for layer in qemu.backing_chain(disk))
    except LabError:
        return False
