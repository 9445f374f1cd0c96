"""The contract of tools.qmp, against a fake QEMU and against the real one (a machine without anything in it)."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_helpers.core.waiting import wait_for
from lab_helpers.tools.qemu import host_arch, program
from lab_helpers.tools.qmp import Qmp, QmpError
from tests.fakes.fake_qmp import FakeQmp


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.live)])
def path(request: pytest.FixtureRequest) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="qmp-") as folder:  # a short path: sockets have a limit
        at, events = Path(folder) / "qmp", Path(folder) / "events"
        if request.param == "fake":
            fake = FakeQmp(at, events)
            yield at
            fake.close()
            return
        qemu = shutil.which(program(host_arch()))
        if not qemu:
            pytest.skip("QEMU is not installed")
        argv = [qemu, "-machine", "none", "-nodefaults", "-display", "none", "-S"]
        for each in (at, events):
            argv += ["-qmp", f"unix:{each},server=on,wait=off"]
        with subprocess.Popen(argv) as process:
            wait_for(events.exists, "QEMU's socket", timeout_s=20)
            yield at
            process.kill()


def test_a_command_is_answered(path: Path) -> None:
    assert Qmp(path).execute("query-status")["status"] == "prelaunch"


def test_state_lasts_from_one_call_to_the_next(path: Path) -> None:
    qmp = Qmp(path)
    qmp.execute("cont")
    assert qmp.execute("query-status")["status"] == "running"
    qmp.execute("stop")
    assert qmp.execute("query-status")["status"] == "paused"


def test_the_human_monitor_is_reached(path: Path) -> None:
    assert Qmp(path).human("info version").strip()


def test_an_unknown_command_says_so(path: Path) -> None:
    with pytest.raises(QmpError) as caught:
        Qmp(path).execute("make-coffee")
    assert "make-coffee" in str(caught.value)
    assert "has not been found" in caught.value.why


def test_a_job_that_fails_raises_with_its_own_error(path: Path) -> None:
    with pytest.raises(QmpError) as caught:
        Qmp(path).job("snapshot-save", "save-1", {"tag": "a", "vmstate": "nodisk", "devices": ["nodisk"]})
    assert "nodisk" in caught.value.why
    assert Qmp(path).execute("query-jobs") == []


def test_nobody_at_the_socket_is_an_error_and_not_a_hang(path: Path) -> None:
    with pytest.raises(QmpError):
        Qmp(path.with_name("nobody")).execute("query-status")


def test_it_works_while_a_loop_runs_as_in_a_notebook(path: Path) -> None:
    async def cell() -> str:
        return str(Qmp(path).execute("query-status")["status"])

    assert asyncio.run(cell()) == "prelaunch"


def test_two_threads_take_turns(path: Path) -> None:
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(Qmp(path).execute("query-status")["status"])) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["prelaunch"] * 6


def test_follow_hears_events_and_returns_when_qemu_ends(path: Path) -> None:
    heard: list[str] = []
    done = threading.Event()

    def follow() -> None:
        Qmp(path.with_name("events")).follow(lambda event: heard.append(event["event"]))
        done.set()

    threading.Thread(target=follow, daemon=True).start()

    def resumed() -> bool:  # the follower may not listen yet when the first one is sent
        Qmp(path).execute("stop")
        Qmp(path).execute("cont")
        return "RESUME" in heard

    wait_for(resumed, "the follower to hear of it", timeout_s=60)
    Qmp(path).execute("quit")
    assert done.wait(60)
    assert heard[-1] == "SHUTDOWN"


def test_one_client_too_many_is_an_error_and_not_a_hang(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(path))
        assert b"QMP" in other.recv(4096)
        with pytest.raises(QmpError, match="in time"):
            Qmp(path).execute("query-status", timeout_s=0.5)
    assert Qmp(path).execute("query-status")["status"] == "prelaunch"
