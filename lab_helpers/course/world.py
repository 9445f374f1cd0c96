"""What checks and near misses look at and act on: the host, the guests, the learner's files. Never the notebook."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_helpers.boundaries import cluster, engine_objects
from lab_helpers.boundaries.guest import Guest, running_guest, running_guests
from lab_helpers.boundaries.vm import Vm, all_vms, write_ssh_config
from lab_helpers.core import host
from lab_helpers.core.errors import LabError
from lab_helpers.core.events import Tell, silent
from lab_helpers.core.processes import need_program
from lab_helpers.core.settings import Place
from lab_helpers.core.store import remove_halves
from lab_helpers.course import saved_states, saved_world
from lab_helpers.images.guest_image import guest_image
from lab_helpers.record import engine_events, jobs, recorder
from lab_helpers.tools import qemu, ssh
from lab_helpers.tools.qemu import Forward

if TYPE_CHECKING:
    from lab_helpers.course.declare import Lab
    from lab_helpers.doctor import Report


@dataclass(frozen=True)
class Answer:
    """What came back from an address. status 0: nobody answered, and `text` says why."""

    status: int
    text: str

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON, or None when it is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


@dataclass(frozen=True)
class World:
    """One place as it is now. Nothing is remembered between two questions."""

    place: Place
    lab: str

    @property
    def work(self) -> Path:
        """The learner's folder for this lab."""
        return self.place.work / self.lab

    # -- the host -----------------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """What the doctor finds on this machine now."""
        from lab_helpers.doctor import examine

        return examine(self.place)

    def host_boot_id(self) -> str:
        return host.boot_id()

    def host_sysctl(self, path: str) -> str | None:
        return host.sysctl(path)

    def get(self, url: str, *, timeout_s: float = 3) -> Answer:
        """GET an address of this machine."""
        return self._request("GET", url, None, timeout_s)

    def post(self, url: str, body: dict[str, Any], *, timeout_s: float = 5) -> Answer:
        return self._request("POST", url, body, timeout_s)

    def delete(self, url: str, *, timeout_s: float = 5) -> Answer:
        return self._request("DELETE", url, None, timeout_s)

    def _request(self, method: str, url: str, body: dict[str, Any] | None, timeout_s: float) -> Answer:
        import httpx

        try:
            # No certificates are looked up: it is this machine, over plain HTTP.
            with httpx.Client(timeout=timeout_s, trust_env=False, verify=False) as client:  # noqa: S501
                reply = client.request(method, url, json=body)
        except httpx.HTTPError as error:
            return Answer(0, str(error) or type(error).__name__)
        return Answer(reply.status_code, reply.text)

    # -- guests -------------------------------------------------------------------------------------------------------

    def guests(self) -> list[Guest]:
        """Every guest of this place that runs, started with `lab vm` or with plain QEMU."""
        return running_guests(self.place)

    def guest(self, name: str) -> Guest | None:
        """The running guest of that name; else one that plain QEMU runs without a name."""
        return running_guest(self.place, name)

    def running(self, name: str) -> Guest:
        """The running guest of that name. Raises LabError when there is none."""
        return Vm.load(self.place, name).running()

    def vms(self) -> list[Vm]:
        return all_vms(self.place)

    def make_vm(
        self, name: str, *, memory_mib: int, cpus: int, forwards: tuple[Forward, ...] = (), tell: Tell = silent
    ) -> Vm:
        """Make a VM and start it."""
        vm = Vm.create(
            self.place, name, guest_image(self.place, tell), memory_mib=memory_mib, cpus=cpus, forwards=forwards
        )
        self.start_vm(vm, tell)
        return vm

    def start_vm(self, vm: Vm, tell: Tell = silent) -> Guest:
        """Start a VM, and see that what happens to it is recorded."""
        guest = vm.start(tell)
        recorder.follow(self.place, vm.name)
        return guest

    # -- what a place holds, and getting rid of it --------------------------------------------------------------------

    def begin(self, lab: Lab | None = None) -> None:
        """Remember what the engine holds before this place makes anything in it: that is somebody else's.

        A lab that uses the engine also has what happens in it written down from now on.
        """
        engine_objects.record_baseline(self.place)
        if lab and lab.needs_engine:
            engine_events.follow(self.place)

    def taken(self, lab: Lab) -> list[str]:
        """What is in the engine already under a name of the course, and was there before this place."""
        return [*cluster.taken(self.place), *engine_objects.taken(self.place)] if lab.needs_engine else []

    def others(self) -> list[str]:
        """What appeared in the engine since this place began, and is not the course's."""
        return [*cluster.others(self.place), *engine_objects.others(self.place)]

    def reset(self, lab: Lab) -> list[str]:
        """Remove what the steps of a lab make outside of its folder. Returns what was removed."""
        removed = self._remove_from_engine(clusters=lab.clusters, containers=lab.containers)
        return removed + self.reset_vms(lab.vms)

    def reset_vms(self, names: tuple[str, ...]) -> list[str]:
        """Remove these VMs, and every guest that plain QEMU runs from the lab's folder. Returns what was removed."""
        removed = self.remove_vms(names)
        for guest in self.guests():
            if not guest.managed and guest.folder.is_relative_to(self.work.resolve()):
                removed.append(self._end(guest))
        return removed

    def remove_vms(self, names: tuple[str, ...]) -> list[str]:
        """Remove the VMs of these names, those that plain QEMU runs included. Returns what was removed."""
        removed = [self._end(guest) for guest in self.guests() if not guest.managed and guest.name in names]
        for name in names:
            if (self.place.vms / name).exists():
                self._remove_vm(name)
                removed.append(f"the VM {name}")
        return removed

    def clean(self) -> list[str]:
        """Remove every guest, cluster, container, job, login and socket of this place. Returns what was removed."""
        states = saved_states.remove_all(self.place)
        self.forget_saved()
        removed = [f"{states} saved state{'s' * (states > 1)}"] * bool(states)
        removed += self._remove_from_engine(clusters=None, containers=True)
        removed += self.remove_vms(tuple(path.name for path in sorted(self.place.vms.glob("*")) if path.is_dir()))
        removed += [self._end(guest) for guest in self.guests()]
        for name in jobs.running(self.place):
            jobs.stop(self.place, name)
            removed.append(f"the background job {name}")
        for path in self._sockets():
            if path.is_socket() and path.parent.name == "ssh":
                ssh.hang_up_socket(path)
            path.unlink(missing_ok=True)
        for folder in (self.place.sockets / "ssh", self.place.sockets):
            with contextlib.suppress(OSError):
                folder.rmdir()
        remove_halves(self.place.state)
        return removed

    # -- states to go back to: course.time_machine decides when --------------------------------------------------------

    def saved_key(self, lab: Lab) -> str:
        """What a saved world of the lab depends on, besides the lesson."""
        return saved_world.key(self.place, lab)

    def save(self, lab: Lab, folder: Path, name: str) -> None:
        """Keep what the lab's steps made outside of its folder, as it is now. Raises LabError."""
        saved_world.save(self.place, lab, folder, name)

    def cannot_bring(self, lab: Lab, folder: Path) -> str:
        """Why what was saved cannot be brought back; empty when it can. Nothing is changed."""
        return saved_world.missing(self.place, lab, folder)

    def bring(self, lab: Lab, folder: Path, tell: Tell = silent) -> None:
        """Bring back what was saved, in place of what is there now. Clusters stay, what is in them goes."""
        self._remove_from_engine(clusters=(), containers=lab.containers)
        self.reset_vms(lab.vms)
        saved_world.bring(self.place, lab, folder, tell)

    def forget_saved(self) -> None:
        """Let go of what was kept outside of the saved states' folders and belongs to none of them any more."""
        saved_world.sweep(self.place)

    def leftovers(self) -> list[str]:
        """Everything that runs or lies here because of a lab; empty after `clean`."""
        return [
            *(f"VM process {g.process.pid} ({g.name or 'plain QEMU'})" for g in self.guests()),
            *(f"VM folder {path.name}" for path in sorted(self.place.vms.glob("*")) if path.is_dir()),
            *cluster.leftovers(self.place),
            *engine_objects.leftovers(self.place),
            *(f"background job {name}" for name in jobs.running(self.place)),
            *(f"socket {path}" for path in self._sockets()),
        ]

    def _remove_from_engine(self, *, clusters: tuple[str, ...] | None, containers: bool) -> list[str]:
        """Remove these clusters (None: all of this place) and, if so wished, its containers, images and volumes."""
        removed = cluster.remove_all(self.place, clusters) if clusters != () else []
        return removed + (engine_objects.remove_all(self.place) if containers else [])

    def _sockets(self) -> list[Path]:
        return [path for path in sorted(self.place.sockets.glob("**/*")) if not path.is_dir()]

    @staticmethod
    def _end(guest: Guest) -> str:
        guest.process.end()
        return f"the plain QEMU guest {guest.name or guest.process.pid}"

    def _remove_vm(self, name: str) -> None:
        jobs.stop(self.place, recorder.job_name(name))
        try:
            Vm.load(self.place, name).remove()
        except LabError:  # a folder that a killed `create` left, or whose record is damaged
            shutil.rmtree(self.place.vms / name, ignore_errors=True)
            write_ssh_config(self.place)


def need_qemu() -> None:
    """Raises MachineError, which makes a verdict BLOCKED, where there is no QEMU."""
    need_program(qemu.program(qemu.host_arch()), "QEMU")


def world_for(place: Place, lab: str) -> World:
    """The world that the checks of a lab look at."""
    return World(place=place, lab=lab)
