"""The QEMU command that we write, and the reading of commands that anybody may have written."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.tools import qemu
from lab_helpers.tools.kvm import Accelerator, probe_accelerator
from lab_helpers.tools.qemu import Forward, Machine, read_command

MACHINE = Machine(
    name="a-vm",
    arch="amd64",
    accelerator=Accelerator("tcg", "a test"),
    memory_mib=512,
    cpus=2,
    kernel=Path("/images/vmlinuz"),
    initrd=Path("/images/initrd.img"),
    append="systemd.hostname=a-vm",
    disk=Path("/with,comma/and space/disk.qcow2"),
    console=Path("/vms/console.log"),
    qmp=Path("/run/a.qmp"),
    events=Path("/run/a.events"),
    agent=Path("/run/a.agent"),
    forwards=(Forward(2222, 22), Forward(8001, 8000)),
)


@pytest.fixture(autouse=True)
def _qemu_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written and read here does not depend on QEMU being installed."""
    monkeypatch.setattr(qemu, "need_program", lambda name, _finding: Path("/usr/bin") / name)


def test_what_we_write_we_can_read() -> None:
    reading = read_command(qemu.command(MACHINE))
    assert reading.name == "a-vm"
    assert reading.disks == ("/with,comma/and space/disk.qcow2",)
    assert (reading.qmp, reading.agent) == ("/run/a.qmp", "/run/a.agent")
    assert reading.forwards == MACHINE.forwards


def test_everything_listens_on_loopback_only() -> None:
    command = " ".join(qemu.command(MACHINE))
    assert set(re.findall(r"hostfwd=tcp:([^:]*):", command)) == {"127.0.0.1"}


@pytest.mark.parametrize(("accelerator", "expected"), [("kvm", "host"), ("hvf", "host"), ("tcg", "max")])
def test_the_processor_follows_the_accelerator(accelerator: str, expected: str) -> None:
    command = qemu.command(replace(MACHINE, accelerator=Accelerator(accelerator, "a test")))  # type: ignore[arg-type]
    assert command[command.index("-cpu") + 1] == expected


def test_arm64_is_another_program_machine_and_console() -> None:
    command = qemu.command(replace(MACHINE, arch="arm64"))
    assert command[0].endswith("qemu-system-aarch64")
    assert command[command.index("-machine") + 1].startswith("virt")
    assert "console=ttyAMA0" in command[command.index("-append") + 1]


@pytest.mark.parametrize(
    ("line", "name", "disks", "forwards"),
    [
        ("qemu-system-x86_64 -hda d.qcow2 -m 640", "", ("d.qcow2",), ()),
        (
            "qemu-system-x86_64 -name guest=pinboard-vm,debug-threads=on -drive if=virtio,file=d.qcow2 "
            "-nic user,model=virtio,hostfwd=tcp::2222-:22",
            "pinboard-vm",
            ("d.qcow2",),
            (Forward(2222, 22, "0.0.0.0"),),
        ),
        (
            "qemu-system-aarch64 -name vm -blockdev driver=qcow2,node-name=d,file.driver=file,file.filename=d.qcow2 "
            "-net nic -net user,hostfwd=tcp:127.0.0.1:2222-10.0.2.15:22,hostfwd=tcp:127.0.0.1:80-:8000",
            "vm",
            ("d.qcow2",),
            (Forward(2222, 22), Forward(80, 8000)),
        ),
        ("qemu-system-x86_64 -drive file=cd.iso,media=cdrom --name vm", "vm", (), ()),
        ("qemu-system-x86_64", "", (), ()),
    ],
)
def test_commands_of_other_people_are_read(
    line: str, name: str, disks: tuple[str, ...], forwards: tuple[Forward, ...]
) -> None:
    reading = read_command(line.split())
    assert (reading.name, reading.disks, reading.forwards) == (name, disks, forwards)


def test_a_monitor_by_chardev_is_found() -> None:
    line = (
        "qemu-system-x86_64 -chardev socket,id=m,path=/run/q.sock,server=on,wait=off -mon chardev=m,mode=control "
        "-chardev socket,path=/run/ga.sock,id=ga -device virtserialport,chardev=ga,name=org.qemu.guest_agent.0"
    )
    reading = read_command(line.split())
    assert (reading.qmp, reading.agent) == ("/run/q.sock", "/run/ga.sock")


def test_forwards_in_force_are_read_from_the_monitor() -> None:
    said = """Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[ESTABLISHED]   33       127.0.0.1 45678       10.0.2.15    22     0     0
  TCP[HOST_FORWARD]  12       127.0.0.1  8001       10.0.2.15  8000     0     0
  TCP[HOST_FORWARD]  11               *  2222       10.0.2.15    22     0     0
  UDP[236 sec]       30       10.0.2.15 68        10.0.2.2    67     0     0
"""
    assert qemu.read_forwards(said) == (Forward(8001, 8000), Forward(2222, 22, "0.0.0.0"))


def test_the_probe_names_an_accelerator_and_says_why() -> None:
    found = probe_accelerator()
    assert found.name in ("kvm", "hvf", "tcg")
    assert found.why


@pytest.mark.live
def test_a_disk_that_builds_upon_another_names_its_chain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    base, middle, top = (tmp_path / name for name in ("base.qcow2", "middle.qcow2", "top.qcow2"))
    try:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "1M"], check=True)
    except FileNotFoundError:
        pytest.skip("qemu-img is not installed")
    qemu.create_overlay(middle, base)
    qemu.create_overlay(top, middle)
    assert qemu.backing_chain(top) == [top, middle, base]
    qemu.snapshot(top, "-c", "one")
    assert [entry["name"] for entry in qemu.snapshots(top)] == ["one"]
