"""The container engine, as the docker client reaches it: which address answers, and the SDK's client for it.

Source of the contexts' files: https://docs.docker.com/engine/manage-resources/contexts/
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab_helpers.core.errors import MachineError

if TYPE_CHECKING:
    import docker

PING_S = 3
"""How long an engine may take to answer, in seconds."""
LABEL = "vm-to-kubernetes"
"""The label of all that the course itself makes in an engine; its value says what for."""
PLACE_LABEL = f"{LABEL}.place"
"""The label of what the docker command of one place makes; its value is the place's mark."""
DEFAULT_ADDRESS = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Engine:
    """An engine that answered. `by` is how its address was found, for the doctor."""

    address: str
    by: str
    plain: bool
    """The docker command finds it by itself; otherwise it needs `environment`."""

    @property
    def environment(self) -> dict[str, str]:
        """What the docker and kind commands need in their environment to reach it."""
        return {} if self.plain else {"DOCKER_HOST": self.address}

    @contextlib.contextmanager
    def client(self, *, timeout_s: float = 60) -> Iterator[docker.DockerClient]:
        """The SDK's client; an engine that is gone by now is a MachineError."""
        import docker
        import requests

        try:
            client = docker.DockerClient(base_url=self.address, timeout=int(timeout_s))
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise _gone(str(error)) from None
        try:
            yield client
        except requests.ConnectionError as error:
            raise _gone(str(error)) from None
        finally:
            client.close()

    def facts(self) -> EngineFacts:
        """What the engine says about itself. Raises MachineError (ENGINE) when it is gone by now."""
        with self.client(timeout_s=PING_S) as client:
            info, version = client.info(), client.version()
        parts = [str(part.get("Name", "")) for part in version.get("Components") or ()]
        return EngineFacts(
            product="Podman" if any(name.startswith("Podman") for name in parts) else "Docker",
            version=str(version.get("Version", "")),
            system=str(info.get("OperatingSystem", "")),
            kernel=str(info.get("KernelVersion", "")),
            arch=str(info.get("Architecture", "")),
            storage=str(info.get("Driver", "")),
            cgroup=int(info.get("CgroupVersion") or 1),  # engines before 20.10 do not say, and know only version 1
            runtime=str(info.get("DefaultRuntime") or ""),
            runtimes={name: str(what.get("path", "")) for name, what in (info.get("Runtimes") or {}).items()},
        )


@dataclass(frozen=True)
class EngineFacts:
    """What an engine says about itself: https://docs.docker.com/reference/api/engine/ (`/info` and `/version`)."""

    product: str
    version: str
    system: str
    """The operating system under it: "Docker Desktop" there, else the distribution."""
    kernel: str
    """The release of the kernel that all its containers share."""
    arch: str
    storage: str
    """What stacks the layers of images."""
    cgroup: int
    """The version of control groups."""
    runtime: str
    """The name of the program that starts a container unless another one is asked for."""
    runtimes: Mapping[str, str]
    """The path of each such program, by its name."""


def find_engine() -> Engine | None:
    """The first engine that answers: what DOCKER_HOST names, the current context, then the usual sockets."""
    for engine in candidates():
        if answers(engine.address):
            return engine
    return None


def need_engine() -> Engine:
    """The engine that answers. Raises MachineError: ENGINE when none does, ENGINE-GROUP when this user may not ask."""
    engine = find_engine()
    if engine:
        return engine
    if socket := forbidden():
        what = "This user may not use the container engine."
        raise MachineError(what, finding="ENGINE-GROUP", why=f"its socket is {socket}")
    raise _gone("")


def candidates() -> Iterator[Engine]:
    """Where an engine may be, the docker command's own choice first."""
    if address := os.environ.get("DOCKER_HOST"):
        yield Engine(address, "DOCKER_HOST", plain=True)
        return
    context, address = _current_context()
    if address:
        yield Engine(address, f"the docker context {context}", plain=True)
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    home = Path.home()
    sockets = {
        "the system's Docker": Path("/var/run/docker.sock"),
        "rootless Docker": runtime / "docker.sock",
        "Docker Desktop": home / ".docker" / ("run" if sys.platform == "darwin" else "desktop") / "docker.sock",
        "Colima": home / ".colima" / "default" / "docker.sock",
        "rootless Podman": runtime / "podman" / "podman.sock",
        "Podman": Path("/run/podman/podman.sock"),
    }
    for name, socket in sockets.items():
        if f"unix://{socket}" != address and os.path.exists(socket):  # noqa: PTH110 - Path.exists may raise
            yield Engine(f"unix://{socket}", name, plain=False)


def answers(address: str) -> bool:
    """True when an engine answers there within PING_S seconds."""
    import docker
    import requests

    try:
        client = docker.DockerClient(base_url=address, timeout=PING_S)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except (docker.errors.DockerException, requests.RequestException, OSError, ValueError):
        return False


def forbidden() -> Path | None:
    """The first socket of a Docker engine that is there but that this user may not open."""
    for engine in candidates():
        path = Path(engine.address.removeprefix("unix://"))
        with contextlib.suppress(OSError):  # a folder that we may not even look into
            if path.is_socket() and not os.access(path, os.R_OK | os.W_OK) and "Podman" not in engine.by:
                return path
    return None


def _current_context() -> tuple[str, str]:
    """The docker command's current context and its address, out of its files.

    As with the docker command, a context that does not exist leads nowhere: its address is empty.
    """
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    name = os.environ.get("DOCKER_CONTEXT") or _read(folder / "config.json", "currentContext") or "default"
    if name == "default":
        return name, DEFAULT_ADDRESS
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    return name, _read(meta, "Endpoints", "docker", "Host")


def _read(file: Path, *keys: str) -> str:
    """A text out of a JSON file; empty when the file, or the text in it, is not there."""
    try:
        value = json.loads(file.read_text())
        for key in keys:
            value = value[key]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return value if isinstance(value, str) else ""


def _gone(why: str) -> MachineError:
    return MachineError(
        "No container engine answers.",
        finding="ENGINE",
        why=why,
        do="run `lab doctor --fix`, which starts it where it can, and else says what to do",
    )
