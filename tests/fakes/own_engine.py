"""A real dockerd of a test's own, beside the machine's: with folders, a socket and a bridge of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from lab_helpers.core.processes import find_program, run
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.images.base_image import BASE
from lab_helpers.tools import dockerd
from lab_helpers.tools.dockerd import Daemon
from lab_helpers.tools.engine import Engine, find_engine
from tests.fakes.own_run import BRIDGE, own_folder, remove_folder


@contextlib.contextmanager
def own_daemon() -> Iterator[tuple[Place, Daemon]]:
    """The place that it belongs to, and how it is started; what runs of it in the end is ended."""
    if os.geteuid() != 0 or find_program("dockerd") is None:
        pytest.skip("a dockerd of one's own needs root, and the package docker.io")
    folder = own_folder("dockerd-")
    bridge = f"{BRIDGE}{secrets.token_hex(4)}"
    (folder / BRIDGE).write_text(bridge)  # for who removes what we leave if we are killed
    # A bridge of its own: with --bridge=none a dockerd takes the machine's docker0 away.
    run(["ip", "link", "add", bridge, "type", "bridge"])
    run(["ip", "address", "add", f"{_free_network()}.1/24", "dev", bridge])
    place = replace(real_place(), home=folder / "home", state=folder / "state", work=folder / "work")
    paths = {"config-file": "daemon.json", "data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    words = [word for name, path in paths.items() for word in (f"--{name}", str(folder / path))]
    daemon = Daemon(
        socket=folder / "sock",
        pidfile=folder / "pid",
        exec_root=folder / "exec",
        config=folder / "daemon.json",
        programs=folder / "programs",
        words=(*words, "--host", f"unix://{folder}/sock", f"--bridge={bridge}", "--iptables=false"),
    )
    daemon.config.write_text('{"debug": false}')
    try:
        yield place, daemon
    finally:
        if process := daemon.process():
            process.end(grace_s=30)
        remove_folder(folder)


@contextlib.contextmanager
def own_engine() -> Iterator[Engine]:
    """Such an engine, which runs and has nothing in it; DOCKER_HOST names it, for us and for what we start."""
    with own_daemon() as (place, daemon), pytest.MonkeyPatch.context() as patch:
        dockerd.start(place, daemon)
        patch.setenv("DOCKER_HOST", daemon.address)
        yield Engine(daemon.address, "this test", plain=True)


def machines_engine() -> Engine:
    """The machine's own, which has the course's base image; skips the test where there is none."""
    import docker

    found = find_engine()
    if found is None:
        pytest.skip("no container engine answers: `lab doctor --fix`")
    with found.client() as client:
        try:
            client.images.get(BASE)
        except docker.errors.ImageNotFound:
            pytest.skip(f"{BASE} is not made yet: `lab prepare 02`")
    return found


def copy_image(tag: str, source: Engine, target: Engine) -> None:
    """Bring an image from one engine to another."""
    with source.client(timeout_s=300) as client, target.client(timeout_s=300) as mine:
        mine.api.load_image(client.api.get_image(tag))


def _free_network() -> str:
    """The first three numbers of a network that this machine has no address in."""
    taken = {each.address.rpartition(".")[0] for all_of in psutil.net_if_addrs().values() for each in all_of}
    free = [network for network in (f"10.213.{number}" for number in range(1, 255)) if network not in taken]
    return secrets.choice(free)
