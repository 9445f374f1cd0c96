"""Does the engine really start containers, plain and privileged ones? Asked by starting one; no registry is needed.

The image holds a single program, made here byte for byte, which exits with 0 and does nothing else. Image and container
carry the course's label and are gone when the probe returns; what a killed probe left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import io
import struct
import tarfile
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab_helpers.tools.engine import LABEL, Engine

if TYPE_CHECKING:
    import docker

PURPOSE = "probe"
REPOSITORY = "lab.local/probe"
LIMIT_S = 20
"""How long an engine may take for each step, in seconds: a hundred times what a laptop needs."""
LEFT_AFTER_S = 120
"""A probe's image that is older than this was left by one that was killed, in seconds."""

_MACHINE = {"x86_64": 62, "amd64": 62, "aarch64": 183, "arm64": 183}
"""ELF's number of an architecture (e_machine), by what an engine calls it."""
_CODE = {
    62: bytes.fromhex("31ff b8e7000000 0f05"),  # xor edi, edi; mov eax, 231 (exit_group); syscall
    183: struct.pack("<3I", 0xD2800000, 0xD2800BC8, 0xD4000001),  # mov x0, 0; mov x8, 94 (exit_group); svc 0
}
_LOAD_AT = 0x400000


@dataclass(frozen=True)
class Probed:
    """How the try ended. `why` is the engine's own word when it did not work."""

    ok: bool
    seconds: float
    why: str = ""


def program(arch: str) -> bytes:
    """A whole static ELF program that exits with 0. Raises KeyError for an architecture other than amd64 and arm64.

    Layout: a header of 64 bytes, one program header of 56 bytes that loads all of the file, then the code. See elf(5).
    """
    machine = _MACHINE[arch]
    code = _CODE[machine]
    start, size = 64 + 56, 64 + 56 + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64 bits, little-endian, version 1
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, machine, 1, _LOAD_AT + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _LOAD_AT, _LOAD_AT, size, size, 0x1000)  # PT_LOAD, readable + executable
    return header + load + code


def probe(engine: Engine, arch: str, *, privileged: bool, runtime: str = "") -> Probed:
    """Start such a container and wait for its end. `runtime`: one of the engine's runtimes, in place of its default.

    Raises MachineError (ENGINE) when the engine is gone meanwhile.
    """
    import docker
    import requests

    began = time.monotonic()
    if arch not in _MACHINE:
        return Probed(False, 0.0, f"the course knows no program for the architecture {arch}")
    with engine.client(timeout_s=LIMIT_S) as client:
        try:
            with _image(client, arch) as image:
                more: dict[str, Any] = {"runtime": runtime} if runtime else {}
                labels = {LABEL: PURPOSE}
                container = client.containers.create(
                    image, privileged=privileged, network_mode="none", labels=labels, **more
                )
                try:
                    container.start()
                    code = container.wait(timeout=LIMIT_S)["StatusCode"]
                finally:
                    container.remove(force=True, v=True)
        except docker.errors.DockerException as error:
            return Probed(False, time.monotonic() - began, str(getattr(error, "explanation", "") or error))
        except requests.Timeout:
            return Probed(False, time.monotonic() - began, f"no answer within {LIMIT_S} s")
    return Probed(code == 0, time.monotonic() - began, "" if code == 0 else f"it ended with exit code {code}")


@contextlib.contextmanager
def _image(client: docker.DockerClient, arch: str) -> Any:
    """The image, under a name that no other probe of this moment uses."""
    import docker

    tag = uuid.uuid4().hex[:12]
    client.api.import_image_from_data(
        _tar(program(arch)),
        repository=REPOSITORY,
        tag=tag,
        changes=['ENTRYPOINT ["/probe"]', f"LABEL {LABEL}={PURPOSE}"],
    )
    try:
        yield f"{REPOSITORY}:{tag}"
    finally:
        with contextlib.suppress(docker.errors.APIError):
            client.images.remove(f"{REPOSITORY}:{tag}", force=True)
        _sweep(client)


def _tar(content: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        entry = tarfile.TarInfo("probe")
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
    return sink.getvalue()


def _sweep(client: docker.DockerClient) -> None:
    """Remove what probes left that were killed. Another probe of this moment is left alone."""
    import docker

    ours = {"label": f"{LABEL}={PURPOSE}"}
    before = time.time() - LEFT_AFTER_S
    with contextlib.suppress(docker.errors.APIError):
        for facts in client.api.containers(all=True, filters=ours):
            if facts["Created"] < before:
                client.api.remove_container(facts["Id"], force=True, v=True)
        for facts in client.api.images(filters=ours):
            if facts["Created"] < before:
                client.api.remove_image(facts["Id"], force=True)
