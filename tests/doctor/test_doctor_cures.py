"""Cures: what is planned, installed and written down, on an apt system of scripts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.core.errors import MachineError
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.doctor import Finding, Level, Report, cures, fix, installed_by_us, plan
from lab_helpers.ui.doctor import plan_lines
from lab_helpers.ui.text import plain
from tests.fakes.fake_apt import FakeApt


def need(name: str, *packages: str, fixable: bool = True) -> Finding:
    return Finding(id=name, level=Level.FAIL, title=name, saw="missing", fixable=fixable, packages=packages)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return replace(real_place(), state=tmp_path / "state")


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    fake = FakeApt(tmp_path, available=["a", "b", "c", "postgresql", "postgresql-common"])
    monkeypatch.setenv("PATH", str(fake.bin.folder))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return fake


def test_a_plan_names_each_package_once_and_only_what_can_be_cured(place: Place, debian: FakeApt) -> None:
    report = Report(findings=(need("QEMU", "a", "b"), need("SSH", "b"), need("DISK", fixable=False)))
    assert plan(place, report) == ["install packages: sudo apt-get install --no-install-recommends a b"]
    assert plan(place, Report(findings=(need("DISK", fixable=False),))) == []


def test_what_was_installed_is_written_down_and_what_was_there_is_not(place: Place, debian: FakeApt) -> None:
    (debian.state / "installed" / "a").touch()
    fix(place, Report(findings=(need("QEMU", "a", "b"), need("SSH", "c"))))
    assert debian.installed() == {"a", "b", "c"}
    assert installed_by_us(place) == ["b", "c"]
    (debian.state / "installed" / "c").unlink()  # somebody removed it since
    assert installed_by_us(place) == ["b"]


def test_a_cure_again_does_nothing(place: Place, debian: FakeApt) -> None:
    report = Report(findings=(need("QEMU", "a"),))
    fix(place, report)
    calls = sum(" install " in call for call in debian.bin.calls())
    fix(place, report)
    assert sum(" install " in call for call in debian.bin.calls()) == calls
    assert installed_by_us(place) == ["a"]


def test_a_cure_that_fails_is_the_machines_trouble(place: Place, debian: FakeApt) -> None:
    debian.bin.fake("apt-get", 'echo "E: dpkg was killed"; exit 100')
    with pytest.raises(MachineError, match="dpkg was killed") as caught:
        fix(place, Report(findings=(need("QEMU", "a"),)))
    assert caught.value.finding == "QEMU"


def test_the_tests_postgresql_is_no_service(
    place: Place, debian: FakeApt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings say so while it is installed, and are as they were afterwards, whether that works or not."""
    settings = tmp_path / "createcluster.conf"
    settings.write_text("as it was\n")
    monkeypatch.setattr(cures, "CLUSTER_SETTINGS", settings)
    debian.bin.fake("pg_conftool", 'echo "pg_conftool $*" >> "$LOG"; echo off > "$1"')
    fix(place, Report(findings=(need("POSTGRESQL", "postgresql-common", "postgresql"),)))
    steps = [
        call
        for call in debian.bin.calls()
        if call.startswith(("pg_conftool", "apt-get")) and "indextargets" not in call
    ]
    assert [step.split()[-1] for step in steps] == ["postgresql-common", "off", "postgresql"]
    assert settings.read_text() == "as it was\n"
    assert debian.installed() == {"postgresql", "postgresql-common"}


def test_postgresqls_settings_come_back_after_a_failure(
    place: Place, debian: FakeApt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "createcluster.conf"
    settings.write_text("as it was\n")
    monkeypatch.setattr(cures, "CLUSTER_SETTINGS", settings)
    debian.bin.fake("pg_conftool", 'echo off > "$1"')
    (debian.state / "available" / "postgresql").unlink()
    with pytest.raises(MachineError, match="do not have: postgresql"):
        fix(place, Report(findings=(need("POSTGRESQL", "postgresql-common", "postgresql"),)))
    assert settings.read_text() == "as it was\n"


def test_what_fix_will_do_and_what_it_leaves_alone_is_said_first(place: Place) -> None:
    cured = Finding(id="BROWSER", level=Level.NOTE, title="Browser", saw="none", fixable=True)
    left = Finding(id="DISK", level=Level.WARN, title="Disk", saw="full", advice="make room")
    said = plain(plan_lines(place, Report(findings=(cured, left))))
    assert "--fix will download a Chromium" in said
    assert "It leaves alone: DISK." in said
    assert "nothing that --fix can cure" in plain(plan_lines(place, Report(findings=(left,))))
