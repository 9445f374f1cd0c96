"""Containers and images of the course as the engine has them, whoever started them and however.

Looking is all that most callers do; the learner starts and stops containers with the docker command. A container that
vanishes while one looks is treated as gone and is no error; an engine that does is a MachineError (ENGINE).
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab_helpers.boundaries.engine_objects import SAVED, moment, sort_out
from lab_helpers.core import host
from lab_helpers.core.errors import LabError, MachineError
from lab_helpers.core.settings import Place
from lab_helpers.images.base_image import BASE
from lab_helpers.tools.engine import LABEL, Engine, need_engine

if TYPE_CHECKING:
    import docker

ANYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - read, and not listened on
"""How the engine writes "every address of the host"."""


@dataclass(frozen=True)
class Port:
    """A port of the host that leads into a container."""

    container_port: int
    address: str
    host_port: int

    @property
    def private(self) -> bool:
        """Only the host itself can reach it."""
        return self.address.startswith("127.") or self.address == "::1"

    @property
    def local(self) -> bool:
        """It answers at the host's 127.0.0.1."""
        return self.address in (*ANYWHERE, "127.0.0.1")


@dataclass(frozen=True)
class Said:
    """What a program in a container said. `code` is None when the container is gone or does not run."""

    code: int | None
    out: str = ""
    err: str = ""

    @property
    def ok(self) -> bool:
        return self.code == 0


@dataclass(frozen=True)
class Limits:
    """What the container was configured with; 0 is no limit."""

    memory_bytes: int
    reservation_bytes: int
    cpus: float
    cpu_shares: int
    processes: int


@dataclass(frozen=True)
class Image:
    """An image in the engine."""

    id: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]
    """The digests of its layers' contents (diff_ids), the lowest first."""
    created: float
    """Seconds since the epoch."""

    def builds_upon(self, other: Image) -> bool:
        """It has all layers of the other one, and more on top."""
        return len(self.layers) > len(other.layers) and self.layers[: len(other.layers)] == other.layers


@dataclass(frozen=True)
class Container:
    """A container as the engine had it a moment ago."""

    engine: Engine = field(repr=False)
    id: str
    name: str
    image: str
    """What it was started from, as it was asked for."""
    image_id: str
    status: str
    """created, running, paused, restarting, removing, exited, dead."""
    exit_code: int
    pid: int
    """Its main process where the engine runs; 0 while none runs."""
    pid_mode: str
    """Empty: it has a PID namespace of its own."""
    hostname: str
    ports: tuple[Port, ...]
    mounts: tuple[str, ...]
    """Where in the container something from outside of its image is mounted."""
    limits: Limits
    created: float
    """Seconds since the epoch."""
    labels: Mapping[str, str]

    @property
    def running(self) -> bool:
        """It runs, and is not paused."""
        return self.status == "running"

    def exec(self, argv: Sequence[str], *, timeout_s: int = 20) -> Said:
        """Run a program in it, as its own user. After `timeout_s` seconds it is killed (code 124 or 137).

        Needs the program `timeout` in the image, as every image of the course has it.
        """
        import docker

        with self.engine.client(timeout_s=timeout_s + 30) as client:
            try:
                started = client.api.exec_create(self.id, ["timeout", "-k", "1", str(timeout_s), *argv])
                out, err = client.api.exec_start(started["Id"], demux=True)
                code = client.api.exec_inspect(started["Id"])["ExitCode"]
            except docker.errors.APIError as error:
                if error.status_code in (404, 409):  # gone; not running, paused
                    return Said(None, err=str(error.explanation or error))
                raise
        return Said(code, (out or b"").decode(errors="replace"), (err or b"").decode(errors="replace"))

    def logs(self, lines: int = 5) -> str:
        """The last lines that it put out; empty when it is gone."""
        import docker

        with self.engine.client() as client:
            try:
                said: bytes = client.api.logs(self.id, tail=lines)
            except docker.errors.APIError:
                return ""
        return said.decode(errors="replace").strip()

    def changes(self) -> tuple[str, ...]:
        """The paths that differ from its image, mounts aside."""
        import docker

        with self.engine.client() as client:
            try:
                return tuple(change["Path"] for change in client.api.diff(self.id) or ())
            except docker.errors.NotFound:
                return ()

    def processes(self) -> tuple[int, ...]:
        """The pids of all its processes where the engine runs, the main one first; empty while it does not run."""
        import docker

        with self.engine.client() as client:
            try:
                table = client.api.top(self.id)
            except docker.errors.APIError:  # gone, not running; or an engine's system without `ps`
                return (self.pid,) if self.pid else ()
        column = table["Titles"].index("PID")
        pids = {int(row[column]) for row in table["Processes"] or ()}
        return (self.pid, *sorted(pids - {self.pid}))


def containers(place: Place) -> list[Container]:
    """The containers of the course that belong to this place, running and not, the newest first.

    Raises MachineError (ENGINE) when no engine answers.
    """
    engine = need_engine()
    with engine.client() as client:
        ids = [thing.id for thing in sort_out(place, client).ours if thing.sort == "container"]
        found = [_inspect(engine, client, identity) for identity in ids]
    return sorted((one for one in found if one), key=lambda one: -one.created)


def container(place: Place, name: str) -> Container | None:
    """The one of that name, or whose ID begins like that (with 12 digits at least)."""

    def meant(one: Container) -> bool:
        return one.name == name or (len(name) >= 12 and one.id.startswith(name))

    return next((one for one in containers(place) if meant(one)), None)


def start(place: Place, name: str) -> None:
    """Start a container of this place that is off; one that runs is fine. Raises LabError with what the engine says."""
    import docker

    found = container(place, name)
    if found is None:
        raise LabError(f"There is no container {name} any more.")
    with found.engine.client() as client:
        try:
            client.api.start(found.id)
        except docker.errors.APIError as error:
            said = str(error.explanation or error)
            raise LabError(f"The container {name} did not start.", why=said, do=f"docker start {name}") from None


def exit_code(identity: str) -> int:
    """How any container ended, ours or not; 0 for one that is gone or runs. Raises MachineError (ENGINE)."""
    import docker

    with need_engine().client() as client:
        try:
            return int(client.api.inspect_container(identity)["State"].get("ExitCode") or 0)
        except docker.errors.NotFound:
            return 0


def images(place: Place) -> list[Image]:
    """The images with a name that belong to this place, the newest first; those that the course gives are not."""
    engine = need_engine()
    with engine.client() as client:
        ours = [thing for thing in sort_out(place, client).ours if thing.sort == "image" and thing.names]
        found = [_image(client, thing.id) for thing in ours]
    return sorted((one for one in found if one), key=lambda one: -one.created)


def image_of(one: Container) -> Image | None:
    """The image that a container runs; None when it is gone."""
    with one.engine.client() as client:
        return _image(client, one.image_id)


def base() -> Image:
    """The course's base image. Raises MachineError (BASE-IMAGE) when the engine does not have it."""
    with need_engine().client() as client:
        found = _image(client, BASE)
    if found is None:
        raise MachineError(f"The engine does not have {BASE}.", finding="BASE-IMAGE", do="lab prepare 02")
    return found


def boot_id_of_engine() -> str:
    """The boot id of the kernel where the engine runs. On macOS and Windows that is a VM's, and a container looks.

    Raises MachineError (ENGINE, BASE-IMAGE).
    """
    import docker

    engine = need_engine()
    with engine.client() as client:
        if sys.platform == "linux" and client.info().get("KernelVersion") == platform.release():
            return host.boot_id()
        base()
        try:
            said: bytes = client.containers.run(
                BASE,
                ["cat", "/proc/sys/kernel/random/boot_id"],
                pid_mode="host",
                network_mode="none",
                remove=True,
                labels={LABEL: "look"},
            )
        except docker.errors.DockerException as error:
            raise MachineError(
                "The engine does not run a container that shares its processes.", finding="ENGINE", why=str(error)
            ) from None
    return said.decode().strip()


def _inspect(engine: Engine, client: docker.DockerClient, identity: str) -> Container | None:
    import docker

    try:
        facts: dict[str, Any] = client.api.inspect_container(identity)
    except docker.errors.NotFound:
        return None
    config, state, host_config = facts["Config"], facts["State"], facts["HostConfig"]
    return Container(
        engine=engine,
        id=facts["Id"],
        name=facts["Name"].removeprefix("/"),
        image=config["Image"],
        image_id=facts["Image"],
        status=state["Status"],
        exit_code=int(state.get("ExitCode") or 0),
        pid=int(state.get("Pid") or 0),
        pid_mode=host_config.get("PidMode") or "",
        hostname=config.get("Hostname") or "",
        ports=tuple(_ports(facts["NetworkSettings"].get("Ports") or {})),
        mounts=tuple(mount["Destination"] for mount in facts.get("Mounts") or ()),
        limits=_limits(host_config),
        created=moment(facts["Created"]),
        labels=config.get("Labels") or {},
    )


def _ports(published: Mapping[str, Any]) -> Iterable[Port]:
    """Out of {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8002"}]}; a container that does not run has none."""
    for inside, outside in published.items():
        number, _, protocol = inside.partition("/")
        if protocol == "tcp":
            for way in outside or ():
                yield Port(int(number), way["HostIp"] or "", int(way["HostPort"]))


def _limits(config: Mapping[str, Any]) -> Limits:
    quota, period = config.get("CpuQuota") or 0, config.get("CpuPeriod") or 100_000
    return Limits(
        memory_bytes=config.get("Memory") or 0,
        reservation_bytes=config.get("MemoryReservation") or 0,
        cpus=(config.get("NanoCpus") or 0) / 1e9 or max(quota, 0) / period,
        cpu_shares=config.get("CpuShares") or 0,
        processes=max(config.get("PidsLimit") or 0, 0),
    )


def _image(client: docker.DockerClient, name: str) -> Image | None:
    import docker

    try:
        facts: dict[str, Any] = client.api.inspect_image(name)
    except docker.errors.NotFound:
        return None
    return Image(
        id=facts["Id"],
        tags=tuple(tag for tag in facts.get("RepoTags") or () if not tag.startswith(SAVED)),
        layers=tuple((facts.get("RootFS") or {}).get("Layers") or ()),
        created=moment(facts.get("Created") or ""),
    )
