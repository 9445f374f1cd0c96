"""Image registries: does one answer, and pulling an image from it by its digest.

LAB_REGISTRY names a mirror that is asked first, such as 127.0.0.1:5000 or registry.example.org/mirror; it holds every
image under its usual path (library/debian, kindest/node). LAB_OFFLINE=1 forbids to ask anybody.
Source of the protocol: https://distribution.github.io/distribution/spec/api/
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, Any

from lab_helpers.core.errors import ToolError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.settings import offline
from lab_helpers.tools.engine import Engine

if TYPE_CHECKING:
    import docker

HUB = "docker.io"
"""The registry of names without one."""
HUB_HOST = "registry-1.docker.io"
ANSWER_S = 5
"""How long a registry may take to answer, in seconds."""
STALL_S = 60
"""After this many seconds without progress a pull is given up."""


@dataclass(frozen=True)
class Reference:
    """An image in a registry, meant to the byte: the tag is for people, the digest decides.

    The digest is the one of the multi-platform index, so that it is the same for every architecture.
    """

    repository: str
    """As people write it: debian, kindest/node, registry.k8s.io/pause."""
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read REPOSITORY:TAG@sha256:DIGEST. Raises ValueError when it is not of this form."""
        name, _, digest = text.partition("@")
        repository, colon, tag = name.rpartition(":")
        if (
            not colon
            or not repository
            or not tag
            or "/" in tag
            or not digest.startswith("sha256:")
            or len(digest) != 71
        ):
            raise ValueError(f"{text!r} is not of the form REPOSITORY:TAG@sha256:DIGEST")
        return cls(repository, tag, digest)

    @property
    def registry(self) -> str:
        """The registry where this image is at home."""
        first, slash, _ = self.repository.partition("/")
        return first if slash and (first == "localhost" or "." in first or ":" in first) else HUB

    @property
    def path(self) -> str:
        """The repository inside of its registry."""
        path = self.repository.removeprefix(f"{self.registry}/")
        return f"library/{path}" if self.registry == HUB and "/" not in path else path

    def at(self, registry: str) -> str:
        """What the engine is asked for to get it from this registry or mirror."""
        return f"{registry}/{self.path}@{self.digest}"


# The index of 2026-10; several independent projects pin the same one.
DEBIAN = Reference.parse("debian:trixie-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f")


def mirror() -> str:
    """The registry that LAB_REGISTRY names, as a prefix of image names; empty when there is none."""
    return os.environ.get("LAB_REGISTRY", "").removeprefix("https://").removeprefix("http://").strip("/ ")


def answering(registry: str) -> bool:
    """True when this registry answers us within ANSWER_S seconds. It is asked once in the life of this process."""
    return not offline() and _asked(registry.partition("/")[0])


def pull(engine: Engine, reference: Reference, tell: Tell = silent) -> str | None:
    """Have the image in the engine: from the mirror, else from its own registry. Returns its ID.

    None when nobody answers, when nobody has it, or offline; a Note says why. What was fetched stays in the engine, so
    that a second try goes on. Raises MachineError (ENGINE) when the engine is gone.
    """
    registries = [name for name in (mirror(), reference.registry) if name]
    with engine.client() as client:
        for registry in registries:
            if found := _find(client, reference.at(registry)):
                return found
        for registry in registries if not offline() else ():
            name = reference.at(registry)
            if not _reached(engine, registry, name):
                tell(Note(f"The registry {registry} does not answer."))
                continue
            try:
                _pull(client, name, f"{reference.repository}:{reference.tag}", tell)
                return _find(client, name)
            except ToolError as error:
                tell(Note(f"{reference.repository}:{reference.tag} cannot be had from {registry}; {error.why}"))
    return None


def engine_says(
    client: docker.DockerClient,
    path: str,
    *,
    command: str,
    silence_s: float,
    params: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    body: bytes | IO[bytes] | None = None,
) -> Generator[dict[str, Any], None, None]:
    """POST to the engine, and yield the JSON objects that it says while it works.

    Closing the iterator closes the connection, and the engine gives the work up; so does Ctrl-C. (The SDK's own calls
    keep the connection, and know no limit to silence.) `command` is what does the same in a terminal. Raises ToolError
    when the engine refuses or fails, or says nothing for `silence_s` seconds.
    """
    import requests

    api = client.api
    url = f"{api.base_url}/v{api.api_version}{path}"
    try:
        answer = api.post(url, params=params, headers=headers, data=body, stream=True, timeout=(api.timeout, silence_s))
    except requests.Timeout:
        raise _silent(command, silence_s) from None
    try:
        if not answer.ok:
            raise ToolError("The engine refused.", command=command, output=_message(answer.text), code=1)
        for line in answer.iter_lines(chunk_size=None):
            event = json.loads(line) if line.strip() else {}
            if error := event.get("error"):
                raise ToolError("The engine failed.", command=command, output=str(error), code=1)
            yield event
    except requests.ConnectionError as error:
        if "timed out" in str(error).lower():
            raise _silent(command, silence_s) from None
        raise
    finally:
        answer.close()


def _silent(command: str, seconds: float) -> ToolError:
    return ToolError(
        "The engine made no progress.", command=command, output=f"nothing moved for {seconds:.0f} s", code=1
    )


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text


@cache
def _asked(host: str) -> bool:
    return _any_yes(lambda: _answers(host))


@cache
def _reached(engine: Engine, registry: str, name: str) -> bool:
    """Does the registry answer us, or the engine? The engine may sit behind another proxy than we, or none."""
    return _any_yes(lambda: answering(registry), lambda: _engine_finds(engine, name))


def _any_yes(*probes: Callable[[], bool]) -> bool:
    """Ask all at once; ANSWER_S seconds for all of it, since looking up a name heeds no timeout."""
    answers: queue.Queue[bool] = queue.Queue()
    for probe in probes:
        threading.Thread(target=lambda probe=probe: answers.put(probe()), daemon=True).start()
    deadline = time.monotonic() + ANSWER_S
    for _ in probes:
        try:
            if answers.get(timeout=max(0, deadline - time.monotonic())):
                return True
        except queue.Empty:
            return False
    return False


def _answers(host: str) -> bool:
    import httpx

    local = _is_local(host)
    url = f"{'http' if local else 'https'}://{HUB_HOST if host == HUB else host}/v2/"
    try:
        answer = httpx.get(url, timeout=ANSWER_S, follow_redirects=True, trust_env=not local)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError):
        # The last three: a certificate file, a proxy's address or a kind of proxy that httpx cannot take.
        return False
    return answer.status_code in (200, 401)


def _is_local(host: str) -> bool:
    """The engine, too, talks plain HTTP to such a registry, and past any proxy."""
    name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"


def _engine_finds(engine: Engine, name: str) -> bool:
    import docker
    import requests

    from lab_helpers.core.errors import MachineError

    try:
        with engine.client(timeout_s=ANSWER_S) as client:
            return bool(client.api.inspect_distribution(name))
    except (docker.errors.DockerException, requests.RequestException, MachineError):
        return False


def _find(client: docker.DockerClient, name: str) -> str | None:
    import docker

    try:
        return str(client.images.get(name).id)
    except docker.errors.NotFound:
        return None


class _Layers:
    """How far a pull is, out of what the engine says of each layer."""

    def __init__(self) -> None:
        self._state: dict[str, tuple[str, float]] = {}
        self._bytes: dict[str, tuple[float, float]] = {}

    def take(self, event: Mapping[str, Any]) -> bool:
        """Take in an event. True when it tells of progress; a layer that is tried once more is none."""
        layer, status = str(event.get("id", "")), str(event.get("status", ""))
        detail = event.get("progressDetail") or {}
        done, total = float(detail.get("current") or 0), float(detail.get("total") or 0)
        if status == "Downloading" and total:
            self._bytes[layer] = (done, total)
        elif status in ("Download complete", "Pull complete") and layer in self._bytes:
            self._bytes[layer] = (self._bytes[layer][1],) * 2
        before, self._state[layer] = self._state.get(layer), (status, done)
        return self._state[layer] != before and not status.startswith("Retrying")

    def progress(self, what: str) -> Progress:
        """The bytes of all layers that are known by now, in MB."""
        done, total = (sum(column) / 1e6 for column in zip(*self._bytes.values(), strict=True))
        return Progress(what, round(done, 1), round(total, 1), "MB")

    def __bool__(self) -> bool:
        return bool(self._bytes)


def _pull(client: docker.DockerClient, name: str, called: str, tell: Tell) -> None:
    import docker

    repository, _, digest = name.partition("@")
    login = docker.auth.get_config_header(client.api, docker.auth.resolve_repository_name(repository)[0])
    events = engine_says(
        client,
        "/images/create",
        command=f"docker pull {name}",
        silence_s=STALL_S,
        params={"fromImage": repository, "tag": digest},
        headers={"X-Registry-Auth": login} if login else {},
    )
    layers, moved = _Layers(), time.monotonic()
    tell(Progress(f"pulling {called}"))
    with contextlib.closing(events):
        for event in events:
            if layers.take(event):
                moved = time.monotonic()
            elif time.monotonic() - moved > STALL_S:
                raise _silent(f"docker pull {name}", STALL_S)
            if layers:
                tell(layers.progress(f"pulling {called}"))
