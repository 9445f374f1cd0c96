"""The contract of tools.apt, against a fake apt system and the real one; what installing does, against the fake."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab_helpers.core.errors import MachineError, ToolError
from lab_helpers.core.events import Event, Progress
from lab_helpers.tools import apt
from tests.fakes.fake_apt import FakeApt


@dataclass(frozen=True)
class System:
    """What a system is known to hold."""

    installed: str
    absent: str
    available: str
    file: Path
    owner: str


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.live)])
def system(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    if request.param == "real":
        if not apt.is_apt_system():
            pytest.skip("this is not a Debian or Ubuntu")
        return System("dpkg", "no-such-package-of-a-course", "dpkg", Path("/usr/bin/dpkg"), "dpkg")
    fake = FakeApt(tmp_path, available=["tool-package"])
    (fake.state / "installed" / "tool-package").touch()
    monkeypatch.setenv("PATH", str(fake.bin.folder))
    return System("tool-package", "nope", "tool-package", fake.state / "usr/bin/tool", "tool-package")


def test_it_is_an_apt_system(system: System) -> None:
    assert apt.is_apt_system()


def test_installed_packages_have_a_version(system: System) -> None:
    assert list(apt.installed([system.installed, system.absent])) == [system.installed]
    assert apt.installed([system.installed])[system.installed][0].isdigit()


def test_candidates(system: System) -> None:
    assert list(apt.candidates([system.absent, system.available])) == [system.available]


def test_the_owner_of_a_file(system: System) -> None:
    owned = apt.owner(system.file)
    assert owned is not None
    assert owned[0] == system.owner
    assert apt.owner(Path("/no/such/file")) is None


def test_repositories_are_addresses_each_once(system: System) -> None:
    found = apt.repositories()
    assert found
    assert len(set(found)) == len(found)
    assert all(address.split(":")[0] in ("http", "https", "file", "copy", "cdrom", "mirror") for address in found)


@pytest.mark.live
def test_a_file_is_known_by_both_names_of_merged_folders() -> None:
    if not apt.is_apt_system() or not Path("/bin").is_symlink():
        pytest.skip("no Debian or Ubuntu with merged /usr")
    assert apt.owner(Path("/bin/sh")) == apt.owner(Path("/usr/bin/sh"))
    assert apt.owner(Path("/usr/bin/dpkg")) == apt.owner(Path("/bin/dpkg"))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    fake = FakeApt(tmp_path, available=["old-news"], coming=["fresh"])
    monkeypatch.setenv("PATH", str(fake.bin.folder))
    return fake


def test_only_what_is_missing_is_installed_and_lists_that_serve_are_not_fetched(fake: FakeApt) -> None:
    (fake.state / "available" / "here").touch()
    (fake.state / "installed" / "here").touch()
    apt.install(["here", "old-news"], finding="QEMU")
    assert fake.installed() == {"here", "old-news"}
    assert fake.updates() == 0
    called = next(call for call in fake.bin.calls() if " install " in call)
    assert "here" not in called.split()
    for option in ("--no-install-recommends", "--no-remove", "DPkg::Lock::Timeout=300"):
        assert option in called


def test_all_there_already_calls_nothing(fake: FakeApt) -> None:
    (fake.state / "installed" / "old-news").touch()
    apt.install(["old-news"], finding="QEMU")
    assert not any(" install " in call for call in fake.bin.calls())


def test_lists_are_fetched_when_they_lack_a_package(fake: FakeApt) -> None:
    apt.install(["fresh"], finding="QEMU")
    assert fake.installed() == {"fresh"}
    assert fake.updates() == 1


def test_lists_are_fetched_when_the_mirror_dropped_what_they_name(fake: FakeApt) -> None:
    (fake.state / "mirror-dropped").touch()
    apt.install(["old-news"], finding="QEMU")
    assert fake.installed() == {"old-news"}
    assert fake.updates() == 1


def test_a_package_that_no_source_has(fake: FakeApt) -> None:
    with pytest.raises(MachineError, match="do not have: nope") as caught:
        apt.install(["old-news", "nope"], finding="QEMU")
    assert caught.value.finding == "QEMU"
    assert fake.installed() == set()


def test_no_network_is_told_as_apt_tells_it(fake: FakeApt) -> None:
    (fake.state / "update-code").write_text("100")
    fake.bin.fake("apt-get", 'echo "E: Could not resolve mirror.invalid" >&2; exit 100')
    with pytest.raises(ToolError, match=r"Could not resolve mirror\.invalid"):
        apt.install(["fresh"], finding="QEMU")


def test_one_broken_source_does_not_stop_the_others(fake: FakeApt) -> None:
    (fake.state / "update-code").write_text("100")
    apt.install(["fresh"], finding="QEMU")
    assert fake.installed() == {"fresh"}


def test_progress_counts_packages(fake: FakeApt) -> None:
    told: list[Event] = []
    apt.install(["old-news"], finding="QEMU", tell=told.append)
    steps = [event for event in told if isinstance(event, Progress) and event.total]
    assert [(step.unit, step.total) for step in steps] == [("packages", 1)] * 3
    assert steps[-1].done == 1


def test_releases_never_mix(fake: FakeApt, monkeypatch: pytest.MonkeyPatch) -> None:
    release = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    apt.install(["old-news"], finding="QEMU")
    called = next(call for call in fake.bin.calls() if " install " in call)
    assert "APT::Default-Release=/^bookworm(|-security|-updates)$/" in called


def test_proxies_and_certificates_survive_sudo(fake: FakeApt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/my/ca.pem")
    assert apt.privilege() == "sudo"
    apt.install(["old-news"], finding="QEMU")
    called = next(call for call in fake.bin.calls() if call.startswith("sudo env") and " install " in call)
    for setting in (
        "https_proxy=http://proxy.invalid:3128",
        "SSL_CERT_FILE=/my/ca.pem",
        "DEBIAN_FRONTEND=noninteractive",
    ):
        assert setting in called.split()


def test_without_root_and_sudo_it_says_what_to_ask_for(fake: FakeApt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (fake.bin.folder / "sudo").unlink()
    with pytest.raises(MachineError, match="sudo apt-get install --no-install-recommends old-news"):
        apt.install(["old-news"], finding="QEMU")
    assert fake.installed() == set()


def test_a_password_that_sudo_refuses(fake: FakeApt) -> None:
    apt.authenticate("QEMU")
    fake.bin.fake("sudo", "exit 1")
    with pytest.raises(MachineError) as caught:
        apt.authenticate("QEMU")
    assert caught.value.finding == "QEMU"


@pytest.mark.live
def test_the_real_apt_accepts_every_option_we_pass() -> None:
    if not apt.is_apt_system():
        pytest.skip("this is not a Debian or Ubuntu")
    options = [*apt._INSTALL, *apt._own_release()]
    done = subprocess.run(
        ["apt-get", "--simulate", "install", *options, "dpkg"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert done.returncode == 0, done.stderr
