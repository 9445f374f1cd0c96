"""A dockerd of our own: started, found, ended, started again after a kill; its settings. All on a second, real one."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lab_helpers.core.errors import MachineError, WaitTimeoutError
from lab_helpers.core.processes import ProcessId
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.core.waiting import wait_for
from lab_helpers.tools import dockerd
from lab_helpers.tools.dockerd import Daemon
from lab_helpers.tools.engine import Engine, answers
from tests.fakes.own_engine import own_daemon
from tests.fakes.surroundings import Bin


@pytest.fixture
def own() -> Iterator[tuple[Place, Daemon]]:
    with own_daemon() as pair:
        yield pair


def kill(daemon: Daemon) -> None:
    process = daemon.process()
    assert process
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not process.alive(), "it is gone", timeout_s=10)


@pytest.mark.live
@pytest.mark.engine
def test_it_is_started_once_found_again_and_ended(own: tuple[Place, Daemon], monkeypatch: pytest.MonkeyPatch) -> None:
    place, daemon = own
    monkeypatch.setenv("LAB_STATE", str(place.state))
    assert dockerd.started_by_us(place) is None
    assert "background process" in dockerd.start(place, daemon)
    assert answers(daemon.address)
    assert dockerd.start(place, daemon) == ""
    process = dockerd.started_by_us(place)
    assert process == daemon.process()
    assert process is not None
    assert dockerd.chosen(place) == daemon
    running = psutil.Process(process.pid)
    assert not [name for name in running.environ() if name.startswith("LAB_")]  # else it would be a lab's stray
    assert running.cwd() == "/"
    assert process.pid not in {child.pid for child in psutil.Process().children(recursive=True)}
    dockerd.stop(place)
    assert not answers(daemon.address)
    assert dockerd.started_by_us(place) is None
    dockerd.stop(place)
    assert dockerd.chosen(place) == daemon  # it can be started again as it was
    dockerd.forget(place)
    assert dockerd.chosen(place) == dockerd.SYSTEM


@pytest.mark.live
@pytest.mark.engine
def test_what_a_killed_one_left_is_no_obstacle(own: tuple[Place, Daemon]) -> None:
    place, daemon = own
    dockerd.start(place, daemon)
    for left in ("its own", "another's"):
        kill(daemon)
        if left == "another's":  # the numbers belong to somebody else by now, as after a restart of the machine
            daemon.pidfile.write_text(str(os.getpid()))
            (daemon.exec_root / "containerd" / "containerd.pid").write_text(str(os.getpid()))
        assert dockerd.started_by_us(place) is None
        dockerd.start(place, daemon)
        assert answers(daemon.address)


@pytest.mark.live
@pytest.mark.engine
def test_one_that_cannot_start_says_why_and_soon(own: tuple[Place, Daemon]) -> None:
    place, daemon = own
    daemon.config.write_text('{"no-such-setting": 1}')
    with pytest.raises(MachineError) as caught:
        dockerd.start(place, daemon)
    assert caught.value.finding == "ENGINE"
    assert "no-such-setting" in caught.value.why
    assert str(dockerd.log(place)) in caught.value.do


@pytest.mark.live
@pytest.mark.engine
def test_it_takes_on_a_runtime_and_gives_it_back(own: tuple[Place, Daemon], tmp_path: Path) -> None:
    place, daemon = own
    dockerd.start(place, daemon)
    engine = Engine(daemon.address, "", plain=False)
    before = daemon.process()
    dockerd.set_runtime(daemon, "mine", tmp_path / "runc")
    assert engine.facts().runtime == "mine"
    assert engine.facts().runtimes["mine"] == str(tmp_path / "runc")
    assert json.loads(daemon.config.read_text())["debug"] is False
    dockerd.unset_runtime(daemon, "mine")
    assert engine.facts().runtime == "runc"
    assert json.loads(daemon.config.read_text()) == {"debug": False}
    assert daemon.process() == before  # nothing was restarted, so containers would have gone on
    assert [path.name for path in daemon.config.parent.glob("daemon.json*")] == ["daemon.json"]


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """A dockerd that takes on whatever its settings say, and commands that need no root."""
    monkeypatch.setattr(dockerd, "_reload", lambda *_: None)
    monkeypatch.setattr("lab_helpers.tools.apt.as_root", lambda argv: [str(word) for word in argv])
    return Daemon(config=tmp_path / "etc" / "daemon.json", pidfile=tmp_path / "pid")


def test_settings_that_are_there_stay(quiet: Daemon) -> None:
    quiet.config.parent.mkdir()
    before = {"runtimes": {"nvidia": {"path": "x"}}, "log-level": "warn"}
    quiet.config.write_text(json.dumps(before))
    dockerd.set_runtime(quiet, "mine", Path("/p/runc"))
    after = json.loads(quiet.config.read_text())
    mine = {"mine": {"path": "/p/runc"}}
    assert after == {**before, "runtimes": {**before["runtimes"], **mine}, "default-runtime": "mine"}  # type: ignore[dict-item]
    assert json.loads(quiet.config.with_name("daemon.json.before-vm-to-kubernetes").read_text()) == before
    dockerd.set_runtime(quiet, "mine", Path("/p/runc"))
    assert json.loads(quiet.config.read_text()) == after
    dockerd.unset_runtime(quiet, "mine")
    assert json.loads(quiet.config.read_text()) == before


def test_settings_that_were_not_there_are_gone_again(quiet: Daemon) -> None:
    dockerd.set_runtime(quiet, "mine", Path("/p/runc"))
    assert quiet.config.stat().st_mode & 0o777 == 0o644
    dockerd.unset_runtime(quiet, "mine")
    assert list(quiet.config.parent.iterdir()) == []
    dockerd.unset_runtime(quiet, "mine")


@pytest.mark.parametrize("text", ["{", "[]", '{"runtimes": 7}', '{"default-runtime": "nvidia"}'])
def test_settings_that_we_cannot_change_are_left(quiet: Daemon, text: str) -> None:
    quiet.config.parent.mkdir()
    quiet.config.write_text(text)
    with pytest.raises(MachineError) as caught:
        dockerd.set_runtime(quiet, "mine", Path("/p/runc"))
    assert caught.value.finding == "ENGINE-PRIVILEGED"
    assert quiet.config.read_text() == text


@pytest.mark.parametrize("text", [None, '{"debug": true}'])
def test_settings_that_are_not_taken_on_are_put_back(
    quiet: Daemon, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(daemon: Daemon, runtime: str) -> None:
        raise WaitTimeoutError("it does not", why="conflict")

    monkeypatch.setattr(dockerd, "_reload", refuses)
    quiet.config.parent.mkdir()
    if text:
        quiet.config.write_text(text)
    with pytest.raises(MachineError, match="conflict"):
        dockerd.set_runtime(quiet, "mine", Path("/p/runc"))
    assert [path.read_text() for path in quiet.config.parent.iterdir()] == ([text] if text else [])


def test_where_systemd_runs_the_machine_it_starts_dockerd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Bin(tmp_path / "bin")
    own.fake("systemctl", 'echo "systemctl $*" >> "$LOG"')
    own.fake("sudo", 'echo "sudo $*" >> "$LOG"; exec "$@"')
    monkeypatch.setenv("PATH", str(own.folder))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(dockerd, "managed", lambda: True)
    monkeypatch.setattr(Daemon, "up", lambda _: any("start docker" in call for call in own.calls()))
    place = replace(real_place(), home=tmp_path / "home")
    assert dockerd.start(place, dockerd.SYSTEM) == "by systemd"
    assert own.calls()[-1] == "systemctl start docker"
    assert any(call.startswith("sudo ") for call in own.calls())
    assert dockerd.started_by_us(place) is None  # it is systemd's


def test_a_systemd_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Bin(tmp_path / "bin")
    own.fake("systemctl", 'echo "Failed to start docker.service: Unit docker.service is masked." >&2; exit 1')
    own.fake("sudo", 'exec "$@"')
    monkeypatch.setenv("PATH", str(own.folder))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(dockerd, "managed", lambda: True)
    monkeypatch.setattr(Daemon, "up", lambda _: False)
    with pytest.raises(MachineError, match="masked") as caught:
        dockerd.start(replace(real_place(), home=tmp_path / "home"), dockerd.SYSTEM)
    assert caught.value.finding == "ENGINE"


def test_a_number_that_another_process_has_is_not_it(tmp_path: Path) -> None:
    daemon = Daemon(pidfile=tmp_path / "pid")
    assert daemon.process() is None
    for text in (str(os.getpid()), "", "x", "-1", "99999999"):
        daemon.pidfile.write_text(text)
        assert daemon.process() is None


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_what_a_process_lacks_is_what_the_kernel_says() -> None:
    me = psutil.Process()
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    held = int(line.split()[1], 16).bit_count()
    known = int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1
    assert len(dockerd.lacking(ProcessId(me.pid, me.create_time()))) == known - held


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("unix:///var/run/docker.sock", True),
        ("unix:///run/docker.sock", Path("/var/run").resolve() == Path("/run")),
        ("unix:///home/me/.docker/run/docker.sock", False),
        ("tcp://127.0.0.1:2375", False),
    ],
)
def test_whose_address_that_is(address: str, same: bool) -> None:
    assert dockerd.SYSTEM.serves(address) is same
