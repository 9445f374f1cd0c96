"""The probes, on this machine and in surroundings that a test makes: a PATH of its own, folders, local servers."""

from __future__ import annotations

import http.server
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.doctor import Finding, Level, engine, examination, examine, machine, programs
from lab_helpers.doctor.examination import state_writable
from lab_helpers.tools import apt, chromium
from lab_helpers.tools.kvm import probe_accelerator
from tests.fakes.fake_apt import FakeApt
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.surroundings import Bin


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place without caches, in which nothing was made yet."""
    return replace(real_place(), home=tmp_path / "home", state=tmp_path / "state", work=tmp_path / "work")


@pytest.fixture(autouse=True)
def ask_again() -> Iterator[None]:
    """What is asked once a process is asked anew: each test has surroundings of its own."""
    programs.family.cache_clear()
    engine.forget()
    yield
    programs.family.cache_clear()
    engine.forget()


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bin:
    """A machine with nothing but a shell on its PATH."""
    own = Bin(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(own.folder))
    return own


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    """A Debian with nothing installed, whose sources have all that we ask for."""
    packages = {*programs.QEMU.packages["apt"], *programs.IMAGE_BUILDER.packages["apt"], "uidmap", "openssh-client"}
    fake = FakeApt(tmp_path, available=packages)
    monkeypatch.setenv("PATH", str(fake.bin.folder))
    monkeypatch.setattr(apt, "os_release", lambda: {"ID": "debian", "PRETTY_NAME": "Debian"})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return fake


def test_an_examination_is_complete(place: Place) -> None:
    report = examine(place)
    assert report.seconds > 0
    assert report.facts.memory_mib <= psutil.virtual_memory().total // 2**20
    assert report.facts.memory_mib > 500
    assert 1 <= report.facts.cpus <= (os.cpu_count() or 1)
    assert report.facts.disk_free_mib > 0
    assert report.facts.accelerator == probe_accelerator().name
    assert report.finding("PYTHON").facts["version"] == ".".join(map(str, sys.version_info[:3]))


def test_an_examination_changes_nothing(place: Place, tmp_path: Path) -> None:
    examine(place)
    assert list(tmp_path.iterdir()) == []


def test_a_probe_that_fails_is_a_finding(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(place: Place) -> Finding:
        raise OSError("no such luck")

    monkeypatch.setitem(examination.CHECKS, "SSH", broken)
    report = examine(place)
    assert report.finding("SSH").level is Level.WARN
    assert "no such luck" in report.finding("SSH").saw
    assert report.finding("QEMU").saw


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [(3071, 3000, Level.FAIL), (3072, 3000, Level.WARN), (7168, 6000, Level.OK), (16000, 800, Level.WARN)],
)
def test_memory(total: int, free: int, level: Level) -> None:
    judged, advice = machine.judge_memory(total, free)
    assert judged is level
    assert bool(advice) == (level is not Level.OK)


@pytest.mark.parametrize(("free", "level"), [(2999, Level.FAIL), (3000, Level.WARN), (10_000, Level.OK)])
def test_disk(free: int, level: Level) -> None:
    assert machine.judge_disk(free, machine.DISK_NEEDED_MIB)[0] is level


def test_disk_names_the_tighter_of_both_disks(place: Place) -> None:
    small = next((Path(p.mountpoint) for p in psutil.disk_partitions(all=True) if p.fstype in ("proc", "sysfs")), None)
    assert small is not None, "every Linux has a /proc"
    found = machine.disk(replace(place, home=small / "caches"))
    assert found.level is Level.FAIL
    assert str(small) in found.saw
    assert found.facts["disk_free_mib"] == 0


def test_qemu_is_missing_on_a_machine_that_cannot_install_it(place: Place, bare: Bin) -> None:
    found = programs.qemu_programs(place)
    assert (found.level, found.fixable) == (Level.FAIL, False)
    assert "qemu-img" in found.saw
    assert found.advice


def test_qemu_is_missing_on_debian_and_setup_can_cure_that(place: Place, debian: FakeApt) -> None:
    found = programs.qemu_programs(place)
    assert (found.level, found.fixable) == (Level.FAIL, True)
    assert found.packages == programs.QEMU.packages["apt"]
    assert "sudo apt-get install --no-install-recommends qemu-system-" in found.advice


def test_without_sudo_the_advice_stays_and_the_cure_goes(place: Place, debian: FakeApt) -> None:
    (debian.bin.folder / "sudo").unlink()
    found = programs.qemu_programs(place)
    assert found.fixable is False
    assert "sudo apt-get install" in found.advice


def test_offline_nothing_is_installed(place: Place, debian: FakeApt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_OFFLINE", "1")
    assert programs.qemu_programs(place).fixable is False


def test_half_of_qemu_is_not_enough(place: Place, debian: FakeApt) -> None:
    debian.bin.fake("qemu-img", "echo qemu-img version 7.2.22")
    found = programs.qemu_programs(place)
    assert found.level is Level.FAIL
    assert "qemu-img" not in found.saw
    assert found.facts["qemu-img.version"] == "7.2.22"


def test_versions_and_origins_are_told(place: Place, bare: Bin) -> None:
    bare.fake("ssh", "echo 'OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.16' >&2")
    bare.fake("scp", "exit 1")
    bare.fake("ssh-keygen", "exit 1")
    found = programs.ssh_programs(place)
    assert found.level is Level.OK
    assert found.facts["ssh.version"] == "9.2p1"
    assert found.facts["ssh.path"] == str(bare.folder / "ssh")
    assert "not from a package" in str(found.facts["ssh.origin"])


def test_a_user_builds_with_ids_of_their_own(place: Place, debian: FakeApt) -> None:
    found = programs.image_builder(place)
    assert found.level is Level.FAIL
    assert "uidmap" in found.packages
    for name in (*programs.IMAGE_BUILDER.programs, "newuidmap"):
        debian.bin.fake(name, "echo 1.0")
    if not Path(programs.IMAGE_BUILDER.files[0]).exists():
        return
    assert programs.image_builder(place).level is Level.OK
    debian.bin.fake(
        "mmdebstrap", 'case $1 in --version) echo 1.0 ;; *) echo "E: unshare: not permitted" >&2; exit 1 ;; esac'
    )
    refused = programs.image_builder(place)
    assert refused.level is Level.FAIL
    assert "sudo" in refused.advice


def test_elsewhere_a_container_builds_the_disk(
    place: Place, bare: Bin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    assert programs.image_builder(place).level is Level.FAIL
    with tempfile.TemporaryDirectory(prefix="engine-") as short:
        fake = FakeEngine(Path(short) / "sock")
        monkeypatch.setenv("DOCKER_HOST", fake.address)
        engine.forget()
        assert programs.image_builder(place).level is Level.FAIL  # the docker command is what would build
        bare.fake("docker", "echo Docker version 28.2.2")
        found = programs.image_builder(place)
        fake.close()
    assert (found.level, found.saw) == (Level.OK, "in a container, by Docker 99.1")


def test_what_only_tests_need_is_a_note_to_learners(place: Place, debian: FakeApt, tmp_path: Path) -> None:
    os.environ["PLAYWRIGHT_BROWSERS_PATH"], before = str(tmp_path), os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    try:
        found = programs.browser(place)
        assert (found.level, found.fixable) == (Level.NOTE, False)
        needed = programs.browser(place, missing_level=Level.FAIL)
        assert (needed.level, needed.fixable, needed.packages[0]) == (Level.FAIL, True, "chromium")
    finally:
        os.environ.pop("PLAYWRIGHT_BROWSERS_PATH")
        if before:
            os.environ["PLAYWRIGHT_BROWSERS_PATH"] = before


def test_ubuntus_snap_is_no_browser_for_tests(bare: Bin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "playwright"))
    monkeypatch.setattr(apt, "os_release", lambda: {"ID": "ubuntu"})
    bare.fake("chromium-browser", "exec /snap/bin/chromium")
    assert chromium.find_chromium() is None
    for build in ("chromium-999", "chromium-1208", "chromium-1300"):
        program = tmp_path / "playwright" / build / "chrome-linux64" / "chrome"
        program.parent.mkdir(parents=True)
        program.touch()
        if build != "chromium-1300":  # its download was interrupted
            (tmp_path / "playwright" / build / "INSTALLATION_COMPLETE").touch()
    found = chromium.find_chromium()
    assert found is not None
    assert found.parts[-3] == "chromium-1208"
    bare.fake("chromium", "true")
    assert chromium.find_chromium() == bare.folder / "chromium"


def test_a_folder_that_cannot_be_written(place: Place, tmp_path: Path) -> None:
    assert state_writable(place).level is Level.OK
    found = state_writable(replace(place, home=Path("/proc/1/caches")))
    assert found.level is Level.FAIL
    assert "/proc/1" in found.saw
    assert found.advice


def test_a_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", machine.JUPYTER_PORT))
            taken.listen()
        except OSError:
            pass  # then somebody else has it, which is what we want
        found = machine.ports(real_place())
    assert found.level is Level.OK
    assert "next free one" in found.saw


class _NotFound(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        pass


@pytest.fixture
def direct(bare: Bin, monkeypatch: pytest.MonkeyPatch) -> None:
    """No apt, no proxy: only the index that a test names is asked."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "UV_DEFAULT_INDEX", "LAB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def test_a_source_that_answers(place: Place, direct: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NotFound) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        found = machine.network(place)
        server.shutdown()
    assert (found.level, found.facts["asked"]) == (Level.OK, 1)


def test_a_source_that_refuses(place: Place, direct: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    found = machine.network(place)
    assert found.level is Level.WARN
    assert "127.0.0.1" in found.saw
    assert "https_proxy" in found.advice


def test_a_source_that_never_answers(place: Place, direct: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        began = time.monotonic()
        found = machine.network(place)
        assert time.monotonic() - began < machine.NETWORK_LIMIT_S + 1
    assert found.level is Level.WARN


def test_offline_nobody_is_asked(place: Place, direct: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_OFFLINE", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert machine.network(place).level is Level.NOTE
