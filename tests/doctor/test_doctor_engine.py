"""The findings about the engine, and their cures: with a fake engine, with none, with a real dockerd of our own."""

from __future__ import annotations

import getpass
import grp
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.core.errors import MachineError
from lab_helpers.core.events import Event, Note
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.core.waiting import wait_for
from lab_helpers.doctor import Finding, Level, Report, engine, engine_cures, examine, fix, plan, programs, retire
from lab_helpers.images import runtime_shim
from lab_helpers.tools import apt, dockerd
from lab_helpers.tools.dockerd import Daemon
from lab_helpers.tools.engine import Engine as EngineAt
from lab_helpers.tools.engine import answers
from tests.fakes.fake_apt import FakeApt
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.own_engine import own_daemon
from tests.fakes.surroundings import Bin


@pytest.fixture(autouse=True)
def ask_again() -> Iterator[None]:
    """What is asked once an examination is asked anew: each test has surroundings of its own."""
    programs.family.cache_clear()
    engine.forget()
    yield
    programs.family.cache_clear()
    engine.forget()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return replace(real_place(), home=tmp_path / "home", state=tmp_path / "state", work=tmp_path / "work")


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:  # a short path: sockets have a limit
        yield Path(folder)


@pytest.fixture
def fake(short: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """An engine that can do everything."""
    made = FakeEngine(short / "sock")
    monkeypatch.setenv("DOCKER_HOST", made.address)
    yield made
    made.close()


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bin:
    """A machine with nothing but a shell on its PATH, and no engine."""
    own = Bin(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(own.folder))
    monkeypatch.setattr("lab_helpers.doctor.engine.find_engine", lambda: None)
    monkeypatch.setattr("lab_helpers.doctor.engine.forbidden", lambda: None)
    monkeypatch.setattr("lab_helpers.doctor.engine.find_program", lambda _: None)
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-contexts"))
    return own


@pytest.fixture
def debian(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    """A Debian without an engine, whose sources have one."""
    fake = FakeApt(tmp_path / "debian", available=["docker.io", "iptables"])
    request.getfixturevalue("bare")
    monkeypatch.setenv("PATH", str(fake.bin.folder))
    monkeypatch.setattr(apt, "os_release", lambda: {"ID": "debian"})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("LAB_OFFLINE", "0")
    return fake


def test_an_engine_that_can_do_everything(place: Place, fake: FakeEngine, bare: Bin, tmp_path: Path) -> None:
    bare.fake("docker", "echo Docker version 28.2.2")
    engine_at_fake = EngineAt(fake.address, "DOCKER_HOST", plain=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab_helpers.doctor.engine.find_engine", lambda: engine_at_fake)
        found = engine.engine(place)
        rest = [engine.group, engine.plain, engine.privileged, engine.storage, engine.cgroup, engine.inotify]
        levels = {probe(place).level for probe in rest}
    assert found.level is Level.OK
    assert f"Docker 99.1 answers at {fake.address} (DOCKER_HOST)" in found.saw
    assert "client 28.2.2" in found.saw
    assert levels == {Level.OK}
    assert list(tmp_path.glob("home/*")) == []


def test_an_engine_without_the_command_is_not_enough(place: Place, fake: FakeEngine, debian: FakeApt) -> None:
    (debian.state / "available" / "docker-cli").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab_helpers.doctor.engine.find_engine", lambda: EngineAt(fake.address, "x", plain=True))
        found = engine.engine(place)
        assert (found.level, found.fixable) == (Level.WARN, True)
        assert "docker-cli" in found.packages
        assert plan(place, Report(findings=(found,))) == [f"install packages: {apt.install_command(found.packages)}"]


@pytest.mark.parametrize("kind", ["plain", "privileged"])
def test_what_it_refuses_is_told_in_its_own_words(
    place: Place, short: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    refusing = FakeEngine(short / "sock", kind)
    monkeypatch.setenv("DOCKER_HOST", refusing.address)
    found = {"plain": engine.plain(place), "privileged": engine.privileged(place)}
    refusing.close()
    for name, finding in found.items():
        assert finding.level is (Level.WARN if name == kind else Level.OK)
    assert "unable to apply caps" in found[kind].saw
    assert found[kind].fixable is False  # it is no dockerd of this machine: out of our reach
    assert found[kind].advice


@pytest.mark.parametrize(("driver", "level"), [("overlay2", Level.OK), ("overlayfs", Level.OK), ("vfs", Level.WARN)])
def test_storage(place: Place, short: Path, monkeypatch: pytest.MonkeyPatch, driver: str, level: Level) -> None:
    made = FakeEngine(short / "sock", Driver=driver)
    monkeypatch.setenv("DOCKER_HOST", made.address)
    found = engine.storage(place)
    made.close()
    assert (found.level, found.facts["driver"]) == (level, driver)


@pytest.mark.parametrize(("version", "level"), [("1", Level.NOTE), ("2", Level.OK), ("", Level.NOTE)])
def test_control_groups(place: Place, short: Path, monkeypatch: pytest.MonkeyPatch, version: str, level: Level) -> None:
    made = FakeEngine(short / "sock", CgroupVersion=version)
    monkeypatch.setenv("DOCKER_HOST", made.address)
    found = engine.cgroup(place)
    made.close()
    assert found.level is level
    assert ("failCgroupV1" in found.advice) == (level is Level.NOTE)


@pytest.mark.parametrize(
    ("instances", "watches", "level", "fixable"),
    [
        (512, 524_288, Level.OK, False),
        (128, 65_536, Level.NOTE, False),
        (127, 524_288, Level.WARN, True),
        (1024, 8000, Level.WARN, True),
    ],
)
def test_watched_files(instances: int, watches: int, level: Level, fixable: bool) -> None:
    judged, advice, cure = engine.judge_inotify({"max_user_instances": instances, "max_user_watches": watches})
    assert (judged, cure) == (level, fixable)
    assert ("fs.inotify.max_user_instances=512" in advice) == (instances < 512)
    assert ("fs.inotify.max_user_watches=524288" in advice) == (watches < 524_288)


def test_limits_are_raised_and_never_lowered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []
    monkeypatch.setattr("lab_helpers.doctor.engine_cures.run", said.append)
    now = {"max_user_instances": 100, "max_user_watches": 9_999_999}
    found = Finding(id="INOTIFY", level=Level.WARN, title="t", saw="s", advice="a", fixable=True, facts=dict(now))
    engine_cures.raise_inotify(place, found)
    assert [argv[-1] for argv in said] == ["fs.inotify.max_user_instances=512"]


def test_no_engine_on_a_machine_that_could_have_one(place: Place, debian: FakeApt) -> None:
    found = engine.engine(place)
    assert (found.level, found.fixable) == (Level.WARN, True)
    assert found.packages == ("docker.io", "iptables")
    assert engine.engine(place, missing_level=Level.FAIL).level is Level.FAIL
    assert plan(place, Report(findings=(found,))) == [
        "install packages: sudo apt-get install --no-install-recommends docker.io iptables",
        "start the container engine, and put a small program in front of runc if this host needs it",
    ]
    for probe in (engine.plain, engine.privileged, engine.storage):
        assert (probe(place).level, "no engine" in probe(place).saw) == (Level.NOTE, True)


def test_offline_no_engine_is_installed(place: Place, debian: FakeApt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_OFFLINE", "1")
    found = engine.engine(place)
    assert (found.fixable, found.packages) == (False, ())
    assert "docker.io" in found.advice


def test_an_engine_that_only_sleeps_is_woken_without_a_network(
    place: Place, debian: FakeApt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_OFFLINE", "1")
    monkeypatch.setattr("lab_helpers.doctor.engine.find_program", lambda name: Path("/usr/sbin") / name)
    found = engine.engine(place)
    assert (found.fixable, found.packages, found.advice) == (True, (), "lab doctor --fix")


@pytest.mark.parametrize(("name", "value"), [("DOCKER_HOST", "tcp://192.0.2.1:2375"), ("DOCKER_CONTEXT", "desktop")])
def test_where_another_engine_is_meant_none_is_started(
    place: Place, debian: FakeApt, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    found = engine.engine(place)
    assert found.fixable is False
    assert "leads" in found.saw


def test_a_user_who_may_not_open_the_socket(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lab_helpers.doctor.engine.find_engine", lambda: None)
    monkeypatch.setattr("lab_helpers.doctor.engine.forbidden", lambda: tmp_path / "sock")
    members: list[str] = []
    monkeypatch.setattr(
        "lab_helpers.doctor.engine._group_of", lambda _: grp.struct_group(("docker", "x", 999, members))
    )
    found = engine.group(place)
    assert (found.level, found.fixable) == (Level.WARN, False)
    assert "sudo usermod -aG docker $USER" in found.advice
    assert engine.group(place, denied_level=Level.FAIL).level is Level.FAIL
    assert "ENGINE-GROUP" in engine.engine(place).advice
    assert engine.engine(place).fixable is False
    members.append(getpass.getuser())  # the administrator has done it, and this login is from before
    assert "usermod" not in engine.group(place).advice
    assert "log out" in engine.group(place).advice


# -- on a real dockerd of the test's own -------------------------------------------------------------------------------


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Place, Daemon]]:
    """One that the course has started once; it does not run now."""
    with own_daemon() as (place, daemon):
        monkeypatch.setenv("DOCKER_HOST", daemon.address)
        dockerd.start(place, daemon)
        dockerd.stop(place)
        yield place, daemon


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_a_stopped_engine_blocks_and_the_doctor_cures_it(own: tuple[Place, Daemon]) -> None:
    """As a learner sees it: the advice of the finding, followed, in a process of its own."""
    place, daemon = own
    found = engine.engine(place)
    assert (found.level, found.fixable) == (Level.WARN, True)
    assert found.advice == "lab doctor --fix"
    with pytest.raises(MachineError) as caught:
        EngineAt(daemon.address, "", plain=False).facts()
    assert caught.value.finding == "ENGINE"
    assert found.advice in caught.value.do
    settings = {"LAB_HOME": str(place.home), "LAB_STATE": str(place.state), "LAB_OFFLINE": "1"}
    lab = [sys.executable, "-m", "lab_helpers.cli", *found.advice.split()[1:]]
    subprocess.run(lab, env={**os.environ, **settings}, check=False, timeout=300)
    assert answers(daemon.address)
    assert dockerd.started_by_us(place) is not None


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_setups_cure_leaves_an_engine_that_starts_privileged_containers(own: tuple[Place, Daemon]) -> None:
    place, daemon = own
    told: list[Event] = []
    found = engine.engine(place, missing_level=Level.FAIL)
    assert len(plan(place, Report(findings=(found,)))) == 1
    fix(place, Report(findings=(found,)), told.append)
    process = daemon.process()
    assert process
    assert any(isinstance(event, Note) and "was started" in event.text for event in told)
    assert engine.privileged(place).level is Level.OK
    # The program stands in front of runc exactly where dockerd lacks something.
    assert runtime_shim.is_in_front(daemon) == bool(dockerd.lacking(process))
    assert "started by the course" in engine.engine(place).saw
    fix(place, Report(findings=(found,)), told.append)
    assert daemon.process() == process
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not process.alive(), "it is gone", timeout_s=10)
    engine.forget()
    fix(place, Report(findings=(engine.engine(place),)))
    assert engine.privileged(place).level is Level.OK


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_uninstall_ends_it_unless_somebody_uses_it(own: tuple[Place, Daemon]) -> None:
    place, daemon = own
    assert retire(place) == []  # it does not run
    dockerd.start(place, daemon)
    with EngineAt(daemon.address, "", plain=False).client() as client:
        client.api.import_image_from_data(b"\0" * 1024, repository="theirs", tag="1")
        container = client.containers.create("theirs:1", ["x"], name="somebodys")
        assert "somebodys" in retire(place)[0]
        assert answers(daemon.address)
        container.remove()
    runtime_shim.put_in_front(place, daemon)
    told: list[Event] = []
    assert retire(place, told.append) == []
    assert not answers(daemon.address)
    assert not daemon.programs.exists()
    assert dockerd.chosen(place) == dockerd.SYSTEM
    assert len(told) == 1


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_the_examination_asks_the_engine_once_and_leaves_nothing(own: tuple[Place, Daemon]) -> None:
    place, daemon = own
    dockerd.start(place, daemon)
    report = examine(place)
    assert report.finding("ENGINE").facts["address"] == daemon.address
    assert report.finding("ENGINE-PLAIN").level is Level.OK
    with EngineAt(daemon.address, "", plain=False).client() as client:
        assert client.api.containers(all=True) == []
        assert client.api.images() == []


def test_what_another_lab_home_put_in_front_of_runc_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = replace_programs(tmp_path / "programs")
    (daemon.programs / "runc-shim-of-others").touch()
    monkeypatch.setattr(dockerd, "chosen", lambda _: daemon)
    other = Place(root=tmp_path, home=tmp_path / "home", state=tmp_path / "state", work=tmp_path / "work")
    assert retire(other) == []
    assert list(daemon.programs.iterdir())


def replace_programs(folder: Path) -> dockerd.Daemon:
    """The machine's dockerd, as if its programs were in this folder."""
    folder.mkdir()
    return dockerd.SYSTEM.model_copy(update={"programs": folder})
