"""How a guest that starts is waited for: who is asked first, and how often. Without a guest: a fake agent answers."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab_helpers.boundaries import guest as module
from lab_helpers.boundaries.guest import Guest, QemuEndedError
from lab_helpers.core.errors import WaitTimeoutError
from lab_helpers.core.processes import ProcessId
from lab_helpers.core.waiting import wait_for
from lab_helpers.tools.guest_agent import GuestAgent
from lab_helpers.tools.ssh import Endpoint
from tests.fakes.fake_agent import FakeAgent


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="waits-") as name:  # a short path: sockets have a limit
        yield Path(name)


class Door:
    """Where the guest's SSH would be. It counts who comes, and sends everybody away."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        self.came = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                self.server.accept()[0].close()
                self.came += 1


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.server.close()


def starting(folder: Path, door: Door, process: ProcessId) -> Guest:
    """A guest whose agent is at `folder`/agent."""
    endpoint = Endpoint(
        alias="vm",
        port=door.port,
        key=folder / "key",
        known_hosts=folder / "known_hosts",
        control=folder / "ssh",
    )
    agent = GuestAgent(folder / "agent")
    return Guest("vm", process, ("qemu-system-x86_64",), folder, folder / "disk", None, agent, endpoint, managed=True)


def this_process() -> ProcessId:
    return ProcessId(os.getpid(), psutil.Process().create_time())


def test_nobody_logs_in_while_the_agent_is_silent(folder: Path, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    with socket.socket(socket.AF_UNIX) as mute:  # as QEMU's side of the agent's port: it listens before the agent does
        mute.bind(str(folder / "agent"))
        mute.listen(8)
        guest = starting(folder, door, this_process())
        with pytest.raises(WaitTimeoutError, match="vm to have started"):
            guest.wait_until_ready(timeout_s=1.5, waiting=lambda: looks.append(1))
        assert looks
        assert door.came == 0

    monkeypatch.setattr(module, "AGENT_S", 0)  # a guest whose agent never answers is still looked into
    with pytest.raises(WaitTimeoutError):
        guest.wait_until_ready(timeout_s=0.1)
    wait_for(lambda: door.came, "somebody at the door", timeout_s=10)


def test_once_the_agent_answers_the_guest_is_looked_at_until_it_has_started(
    folder: Path, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = folder / "asked"
    systemctl = folder / "systemctl"
    systemctl.write_text(
        f'#!/bin/sh\necho "$*" >> {asked}\n[ $(wc -l < {asked}) -lt 3 ] && echo inactive && exit 3\necho active\n'
    )
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    fakes: list[FakeAgent] = []
    (folder / "agent").touch()  # the socket is there, and nobody listens yet
    guest = starting(folder, door, this_process())

    def agent_starts() -> None:
        (folder / "agent").unlink(missing_ok=True)
        fakes.append(FakeAgent(folder / "agent"))

    timer = threading.Timer(0.5, agent_starts)
    timer.start()
    try:
        guest.wait_until_ready(timeout_s=60)
    finally:
        timer.join()
        fakes[0].close()
    assert asked.read_text() == "is-active multi-user.target\n" * 3
    assert door.came == 0


def test_a_qemu_that_ends_meanwhile_is_told_at_once(folder: Path, door: Door) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        guest = starting(folder, door, ProcessId(process.pid, psutil.Process(process.pid).create_time()))
        process.kill()
        process.wait()
        with pytest.raises(QemuEndedError):
            guest.wait_until_ready(timeout_s=600)
