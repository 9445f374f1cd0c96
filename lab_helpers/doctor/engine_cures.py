"""Cures for the container engine: start it, let it start privileged containers, let its programs watch enough files.

Each looks first whether it is still needed, so that it may be applied twice and after a kill at any moment.
"""

from __future__ import annotations

from lab_helpers.core.errors import LabError, MachineError
from lab_helpers.core.events import Note, Tell, silent
from lab_helpers.core.processes import find_program, run
from lab_helpers.core.settings import Place
from lab_helpers.doctor import engine, packages
from lab_helpers.doctor.report import Finding
from lab_helpers.images import runtime_shim
from lab_helpers.tools import apt, dockerd


def plan_engine(place: Place, finding: Finding) -> str:
    """What `start_engine` would do."""
    del finding
    if engine.look().engine:
        return ""  # only the docker command is missing, and that is a package
    daemon = dockerd.chosen(place)
    return "start the container engine, and put a small program in front of runc if this host needs it" + (
        "" if daemon == dockerd.SYSTEM else f": {daemon.socket}"
    )


def start_engine(place: Place, finding: Finding, tell: Tell = silent) -> None:
    """See that the engine runs, that it starts privileged containers, and that the docker command is here.

    Raises MachineError (ENGINE) when it does not start.
    """
    if engine.look().engine is None:
        way = dockerd.start(place, dockerd.chosen(place), tell)
        if way:
            tell(Note(f"The container engine was started {way}."))
        engine.forget()
    if find_program("docker") is None and apt.candidates(["docker-cli"]):
        packages.install(place, ["docker-cli"], finding=finding.id, tell=tell)
    allow_privileged(place, finding, tell)


def plan_privileged(place: Place, finding: Finding) -> str:
    """What `allow_privileged` would do."""
    del finding
    lacking = ", ".join(engine.what_it_lacks(place))
    return f"put a small program in front of runc, since this host lacks {lacking}" if lacking else ""


def allow_privileged(place: Place, finding: Finding, tell: Tell = silent) -> None:
    """Let the engine start privileged containers, where it does not and this host's capabilities are the reason."""
    del finding
    seen = engine.look()
    if seen.engine and seen.facts and engine.what_it_lacks(place):
        tried = engine.try_container(privileged=True)
        if tried and not tried.ok:
            runtime_shim.put_in_front(place, dockerd.chosen(place), tell)
            engine.forget()


def plan_inotify(place: Place, finding: Finding) -> str:
    """What `raise_inotify` would do."""
    del place
    return f"let programs in containers watch more files, until the machine restarts: {finding.advice}"


def raise_inotify(place: Place, finding: Finding, tell: Tell = silent) -> None:
    """Raise the kernel's limits to what kind recommends, until the machine restarts; no limit is lowered."""
    del place, tell
    for name, value in engine.WANTED.items():
        if int(finding.facts.get(name) or 0) < value:
            run(apt.as_root(["sysctl", "-w", f"fs.inotify.{name}={value}"]))


def retire(place: Place, tell: Tell = silent) -> list[str]:
    """For `lab uninstall`: end the engine that we started, and undo what we told it. Returns what is left, and why.

    An engine with containers in it is somebody's, and goes on.
    """
    daemon = dockerd.chosen(place)
    ours, in_front = dockerd.started_by_us(place), runtime_shim.was_put_by(place, daemon)
    if ours is None and not in_front:
        dockerd.forget(place)
        return []
    if daemon.process() and (held := _containers(daemon)):
        return [f"the container engine goes on: there are containers in it ({', '.join(held)})"]
    try:
        if ours:
            dockerd.stop(place)
            tell(Note("The container engine that setup had started has ended. Its images stay in its own folder."))
        if in_front:
            runtime_shim.take_away(daemon)
    except LabError as error:
        return [f"the container engine: {error.what} {error.why}"]
    dockerd.forget(place)
    return []


def _containers(daemon: dockerd.Daemon) -> list[str]:
    """The names of all containers there, running or not; of an engine that does not let us ask, its address."""
    from lab_helpers.tools.engine import Engine

    try:
        with Engine(daemon.address, "", plain=False).client() as client:
            return [str(container.name) for container in client.containers.list(all=True, ignore_removed=True)]
    except MachineError:
        return [f"nobody but root may look into {daemon.socket}"]
