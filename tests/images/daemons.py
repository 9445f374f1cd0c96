"""A container engine and a registry that a test has for itself, each ended by its own process."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from lab_helpers.core.errors import LabError
from lab_helpers.core.processes import run
from lab_helpers.core.settings import offline, place
from lab_helpers.core.waiting import wait_for
from lab_helpers.tools.engine import Engine, answers


@contextlib.contextmanager
def running(argv: list[str], log: Path) -> Iterator[None]:
    """A process for the length of a block."""
    with log.open("wb") as sink:
        process = subprocess.Popen(argv, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def own_engine(folder: Path) -> Iterator[Engine]:
    """An engine with nothing in it; DOCKER_HOST names it, for us and for the processes that we start."""
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("an engine of its own needs root and dockerd")
    folder.mkdir()
    settings = folder / "daemon.json"
    settings.write_text("{}")
    # A bridge of its own: with --bridge=none a dockerd takes the machine's docker0 away.
    bridge = f"lab{secrets.token_hex(4)}"
    run(["ip", "link", "add", bridge, "type", "bridge"])
    run(["ip", "address", "add", "10.213.78.1/24", "dev", bridge])
    address = f"unix://{folder}/docker.sock"
    argv = [
        *("dockerd", "-H", address, "--config-file", str(settings), "--pidfile", str(folder / "docker.pid")),
        *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
        *(f"--bridge={bridge}", "--iptables=false"),
    ]
    before = os.environ.get("DOCKER_HOST")
    log = folder / "dockerd.log"
    try:
        with running(argv, log):
            wait_for(lambda: answers(address), "dockerd", timeout_s=60, log=log.read_text)
            os.environ["DOCKER_HOST"] = address
            yield Engine(address, "this test", plain=True)
    finally:
        os.environ.pop("DOCKER_HOST", None)
        if before:
            os.environ["DOCKER_HOST"] = before
        run(["ip", "link", "delete", bridge], check=False)
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if (mount := line.split()[4]).startswith(f"{folder}/"):  # network namespaces that dockerd leaves behind
                run(["umount", mount])
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Registry:
    """A registry that runs. `address` is HOST:PORT."""

    address: str
    log: Path

    def requests(self) -> str:
        """What it was asked for so far."""
        return self.log.read_text()


def _registry_program() -> Path:
    """The program docker-registry: installed, else out of Debian's package, which is unpacked and not installed.

    Installed, it would be started as a service that the whole network can reach.
    """
    if found := shutil.which("docker-registry"):
        return Path(found)
    kept = place().home / "tools" / "tests-docker-registry"
    if not kept.is_dir():
        if not shutil.which("apt-get") or offline():
            pytest.skip("no docker-registry here, and no Debian to get its package from")
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".docker-registry-") as folder:
            run(["apt-get", "download", "docker-registry"], cwd=Path(folder), timeout_s=120)
            [package] = Path(folder).glob("*.deb")
            run(["dpkg-deb", "--extract", package, Path(folder, "tree")])
            with contextlib.suppress(OSError):  # another run was faster
                Path(folder, "tree").rename(kept)
    return kept / "usr" / "bin" / "docker-registry"


@contextlib.contextmanager
def own_registry(folder: Path) -> Iterator[Registry]:
    """A real registry, empty."""
    program = _registry_program()
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        address = f"127.0.0.1:{chosen.getsockname()[1]}"
    settings = folder / "config.yml"
    settings.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    log = folder / "registry.log"

    def up() -> bool:
        try:
            return httpx.get(f"http://{address}/v2/", trust_env=False).status_code == 200
        except httpx.HTTPError as error:
            raise LabError(str(error)) from None

    with running([str(program), "serve", str(settings)], log):
        wait_for(up, "the registry", timeout_s=20, log=log.read_text)
        yield Registry(address, log)


def remove_images(engine: Engine) -> None:
    """All of them. One that another was built upon goes after that one."""
    import docker

    with engine.client() as client:

        def none_left() -> bool:
            for image in client.images.list(all=True):
                with contextlib.suppress(docker.errors.APIError):
                    client.images.remove(image.id, force=True)
            return not client.images.list(all=True)

        wait_for(none_left, "the engine to be without images", timeout_s=20)


def small_image(engine: Engine, name: str, text: str) -> str:
    """An image with one file, which no other has; its ID."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text.encode()))
    repository, _, tag = name.rpartition(":")
    with engine.client() as client:
        client.api.import_image_from_data(content.getvalue(), repository=repository, tag=tag)
        return str(client.images.get(name).id)


def push_and_forget(engine: Engine, name: str) -> tuple[str, str]:
    """Bring an image to its registry and remove it here. Returns its ID and its digest."""
    with engine.client() as client:
        said = client.api.push(name)
        assert '"error"' not in said, said
        image = client.images.get(name)
        [digest] = [entry.partition("@")[2] for entry in image.attrs["RepoDigests"]]
    remove_images(engine)
    return str(image.id), digest
