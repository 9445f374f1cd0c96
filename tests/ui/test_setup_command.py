"""`lab setup` and `lab uninstall`, on an apt system of scripts and in a checkout of the test's own."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.core.errors import ExitCode, MachineError, UsageError
from lab_helpers.core.settings import Place
from lab_helpers.core.store import AppendLog
from lab_helpers.doctor import Level, Report, engine, fix, programs
from lab_helpers.tools import apt, dockerd
from lab_helpers.ui.setup import run_setup, run_uninstall
from lab_helpers.ui.terminal import Screen
from tests.fakes.fake_apt import FakeApt

NEEDED = [*programs.QEMU.packages["apt"], *programs.SSH.packages["apt"], "curl"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    root = tmp_path / "a checkout"
    root.mkdir()
    return Place(root=root, home=tmp_path / "caches", state=root / ".lab", work=root / "work")


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    """A Debian without QEMU and without an engine, which its sources have. No real dockerd is ever started by it."""
    fake = FakeApt(tmp_path, available=[*NEEDED, "docker.io", "iptables"])
    monkeypatch.setenv("PATH", str(fake.bin.folder))
    monkeypatch.setattr(apt, "os_release", lambda: {"ID": "debian"})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("LAB_OFFLINE", "0")
    monkeypatch.setattr("lab_helpers.doctor.engine.find_engine", lambda: None)
    monkeypatch.setattr("lab_helpers.doctor.engine.forbidden", lambda: None)
    monkeypatch.setattr("lab_helpers.doctor.engine.find_program", lambda _: None)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-contexts"))
    monkeypatch.setattr(dockerd, "start", _no_start)
    programs.family.cache_clear()
    return fake


def _no_start(*what: object) -> str:
    raise MachineError("The container engine does not start.", finding="ENGINE", why="this is a test")


def test_without_a_terminal_setup_says_what_it_would_do_and_does_nothing(
    place: Place, debian: FakeApt, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MachineError, match="QEMU") as caught:
        run_setup(place, yes=False, for_tests=False, screen=Screen())
    said = capsys.readouterr().out
    assert caught.value.exit_code == ExitCode.MACHINE
    assert "To do: install packages: sudo apt-get install" in said
    assert "./setup.sh --yes" in said
    assert debian.installed() == set()


@pytest.mark.parametrize("ci", [False, True])
def test_setup_installs_what_was_agreed_to_and_names_what_is_still_missing(
    place: Place, debian: FakeApt, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ci: bool
) -> None:
    for name in ("mmdebstrap", "mke2fs", "qemu-img", "xz", "zstd", "newuidmap"):
        debian.bin.fake(name, "echo 1.0")
    if ci:
        monkeypatch.setenv("CI", "true")
    with pytest.raises(MachineError) as caught:  # the scripts install, and yet no program comes of it
        run_setup(place, yes=not ci, for_tests=False, screen=Screen())
    assert debian.installed() >= set(programs.QEMU.packages["apt"])
    assert "QEMU" in caught.value.what
    said = capsys.readouterr()
    assert "✘ QEMU" in said.out
    assert "docker.io" in debian.installed()
    assert "ENGINE could not be cured" in said.err + said.out  # and setup went on: the first labs need no engine


def test_who_runs_the_tests_needs_an_engine(place: Place, debian: FakeApt) -> None:
    needed = engine.engine(place, missing_level=Level.FAIL)
    with pytest.raises(MachineError, match="does not start") as caught:
        fix(place, Report(findings=(needed,)))
    assert caught.value.finding == "ENGINE"


def test_what_the_first_labs_need_is_installed_even_where_no_engine_can_be_had(place: Place, debian: FakeApt) -> None:
    for name in ("mmdebstrap", "mke2fs", "qemu-img", "xz", "zstd", "newuidmap"):
        debian.bin.fake(name, "echo 1.0")
    (debian.state / "available" / "docker.io").unlink()
    with pytest.raises(MachineError) as caught:
        run_setup(place, yes=True, for_tests=False, screen=Screen())
    assert debian.installed() >= set(NEEDED)
    assert "ENGINE" not in caught.value.what


@pytest.fixture
def used(place: Place) -> Place:
    """A checkout that was set up and worked in, with caches."""
    for path in (place.root / ".venv" / "bin", place.state / "vms", place.work / "00-start", place.home / "images"):
        path.mkdir(parents=True)
        (path / "file").touch()
    (place.root / "README.md").touch()
    return place


def test_uninstall_keeps_the_work_and_the_caches(used: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_uninstall(used, yes=True, caches=False, screen=Screen()) is ExitCode.PASSED
    assert sorted(path.name for path in used.root.iterdir()) == ["README.md", "work"]
    assert (used.work / "00-start" / "file").exists()
    assert (used.home / "images" / "file").exists()
    said = capsys.readouterr().out
    assert f"Your work stays in {used.work}" in said
    assert "--caches" in said


def test_uninstall_removes_the_caches_when_told_to_and_nothing_else_there(used: Place) -> None:
    assert run_uninstall(used, yes=True, caches=True, screen=Screen()) is ExitCode.PASSED
    assert not used.home.exists()


def test_what_else_is_in_lab_home_stays(used: Place) -> None:
    (used.home / "of-somebody").touch()
    run_uninstall(used, yes=True, caches=True, screen=Screen())
    assert [path.name for path in used.home.iterdir()] == ["of-somebody"]


def test_uninstall_without_a_yes_removes_nothing(used: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_uninstall(used, yes=False, caches=True, screen=Screen()) is ExitCode.NOT_YET
    assert (used.state / "vms" / "file").exists()
    assert "--yes" in capsys.readouterr().out


def test_uninstall_ends_the_engine_that_setup_started_or_says_why_not(
    used: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Place] = []

    def retire(place: Place, tell: object) -> list[str]:
        asked.append(place)
        return ["the container engine goes on: there are containers in it (theirs)"]

    monkeypatch.setattr("lab_helpers.doctor.retire", retire)
    assert run_uninstall(used, yes=True, caches=True, screen=Screen()) is ExitCode.NOT_YET
    assert asked == [used]
    assert "containers in it (theirs)" in capsys.readouterr().out


def test_uninstall_twice(used: Place) -> None:
    for _ in range(2):
        assert run_uninstall(used, yes=True, caches=True, screen=Screen()) is ExitCode.PASSED


def test_uninstall_leaves_a_state_folder_of_the_users_own(used: Place, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    with pytest.raises(UsageError, match="LAB_STATE"):
        run_uninstall(replace(used, state=mine), yes=True, caches=True, screen=Screen())
    assert mine.exists()
    assert (used.root / ".venv").exists()


def test_uninstall_lists_the_packages_that_setup_installed(
    used: Place, debian: FakeApt, capsys: pytest.CaptureFixture[str]
) -> None:
    AppendLog(used.state / "installed.jsonl").append({"packages": ["qemu-utils", "gone-since"]})
    (debian.state / "installed" / "qemu-utils").touch()
    run_uninstall(used, yes=True, caches=False, screen=Screen())
    assert "sudo apt-get remove qemu-utils\n" in capsys.readouterr().out
    assert debian.installed() == {"qemu-utils"}
