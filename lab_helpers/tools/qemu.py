"""QEMU: the command that starts a machine, the reading of such a command, and qemu-img.

Reference: https://www.qemu.org/docs/master/system/invocation.html
"""

from __future__ import annotations

import json
import platform
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_helpers.core.processes import need_program, run
from lab_helpers.tools.kvm import Accelerator

GUEST_AGENT_PORT = "org.qemu.guest_agent.0"
SECURITY_MODULES = "landlock,lockdown,yama,apparmor"
"""The kernel's usual ones but for bpf: while that is on, systemd compiles a filter that no service here asks for, and a
guest starts a second later."""


def host_arch() -> str:
    """This machine's architecture by Debian's name: amd64 or arm64."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "amd64"


@dataclass(frozen=True)
class Forward:
    """A TCP port of the host that leads to a port of the guest."""

    host_port: int
    guest_port: int
    host: str = "127.0.0.1"

    def rule(self) -> str:
        """As QEMU writes it."""
        return f"tcp:{self.host}:{self.host_port}-:{self.guest_port}"

    def __str__(self) -> str:
        return f"{self.host}:{self.host_port} -> guest {self.guest_port}"


@dataclass(frozen=True)
class Machine:
    """Everything that the command line of a guest says."""

    name: str
    arch: str
    accelerator: Accelerator
    memory_mib: int
    cpus: int
    kernel: Path
    initrd: Path
    append: str
    disk: Path
    console: Path
    qmp: Path
    events: Path
    agent: Path
    forwards: tuple[Forward, ...]
    saved_state: str = ""
    """The tag of a snapshot to go on from, instead of booting."""
    incoming: Path | None = None
    """A file with the state of a saved machine, its memory above all, to go on from."""


def program(arch: str) -> str:
    return "qemu-system-aarch64" if arch == "arm64" else "qemu-system-x86_64"


def command(machine: Machine) -> list[str]:
    """The QEMU command for a machine, as one could type it. Raises MachineError when QEMU is not installed."""
    fast = machine.accelerator.name != "tcg"
    arm = machine.arch == "arm64"
    console = "ttyAMA0" if arm else "ttyS0"
    network = ",".join(["user", "id=net0", *(f"hostfwd={forward.rule()}" for forward in machine.forwards)])
    return [
        str(need_program(program(machine.arch), "QEMU")),
        *("-name", machine.name),
        *("-machine", "virt,gic-version=max" if arm else "q35"),
        *("-accel", machine.accelerator.name if fast else "tcg,thread=multi,tb-size=256"),
        *("-cpu", "host" if fast else "max"),
        *("-m", str(machine.memory_mib)),
        *("-smp", str(machine.cpus)),
        *("-nodefaults", "-no-user-config"),
        *("-display", "none"),
        *("-kernel", str(machine.kernel)),
        *("-initrd", str(machine.initrd)),
        *("-append", f"root=/dev/vda console={console} quiet lsm={SECURITY_MODULES} {machine.append}".strip()),
        *("-drive", f"file={_escaped(machine.disk)},format=qcow2,if=virtio"),
        *("-netdev", network),
        *("-device", "virtio-net-pci,netdev=net0"),
        *("-device", "virtio-rng-pci"),
        *("-serial", f"file:{_escaped(machine.console)}"),
        *("-qmp", f"unix:{_escaped(machine.qmp)},server=on,wait=off"),
        *("-qmp", f"unix:{_escaped(machine.events)},server=on,wait=off"),
        *("-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=agent,path={_escaped(machine.agent)},server=on,wait=off"),
        *("-device", f"virtserialport,chardev=agent,name={GUEST_AGENT_PORT}"),
        *(("-loadvm", machine.saved_state) if machine.saved_state else ()),
        *(("-incoming", f"exec:cat {shlex.quote(str(machine.incoming))}") if machine.incoming else ()),
    ]


def _escaped(path: Path) -> str:
    """A path inside of one of QEMU's comma-separated options."""
    return str(path).replace(",", ",,")


@dataclass(frozen=True)
class Reading:
    """What a QEMU command line tells about its guest. Empty or None where it does not say."""

    name: str
    disks: tuple[str, ...]
    qmp: str | None
    agent: str | None
    forwards: tuple[Forward, ...]


def is_qemu(argv: Sequence[str]) -> bool:
    return bool(argv) and Path(argv[0]).name.startswith("qemu-system-")


def read_command(argv: Sequence[str]) -> Reading:
    """Read the command line of a QEMU that somebody else may have started."""
    name, disks, forwards = "", [], []
    qmp: str | None = None
    monitors: list[str] = []
    chardevs: dict[str, str] = {}
    agent_chardev = ""
    for option, value in zip(argv, [*argv[1:], ""], strict=True):
        parts = _parts(value)
        fields = dict(part.split("=", 1) for part in parts if "=" in part)
        match option.replace("--", "-", 1):
            case "-name":
                name = fields.get("guest", parts[0] if parts else "")
            case "-drive" | "-blockdev":
                file = fields.get("file") or fields.get("file.filename") or fields.get("filename")
                if file and fields.get("media") != "cdrom":
                    disks.append(file)
            case "-hda" | "-hdb" | "-hdc" | "-hdd":
                disks.append(value)
            case "-qmp" if qmp is None and parts and parts[0].startswith("unix:"):
                qmp = parts[0].removeprefix("unix:")
            case "-chardev" if parts and parts[0] == "socket" and "path" in fields:
                chardevs[fields.get("id", "")] = fields["path"]
            case "-mon" if fields.get("mode") == "control":
                monitors.append(fields.get("chardev") or parts[0])
            case "-device" if fields.get("name") == GUEST_AGENT_PORT:
                agent_chardev = fields.get("chardev", "")
            case "-netdev" | "-nic" | "-net":
                forwards += [f for part in parts if (f := _forward(part.removeprefix("hostfwd=")))]
    if qmp is None:
        qmp = next((chardevs[monitor] for monitor in monitors if monitor in chardevs), None)
    return Reading(name, tuple(disks), qmp, chardevs.get(agent_chardev), tuple(forwards))


def _parts(value: str) -> list[str]:
    """Split one of QEMU's comma-separated values; a doubled comma stands for itself."""
    return [part.replace("\0", ",") for part in value.replace(",,", "\0").split(",")]


def _forward(text: str) -> Forward | None:
    match = re.fullmatch(r"tcp:([\d.]*):(\d+)-[\d.]*:(\d+)", text)
    return Forward(int(match[2]), int(match[3]), match[1] or "0.0.0.0") if match else None  # noqa: S104 - QEMU's default


def read_forwards(usernet: str) -> tuple[Forward, ...]:
    """The forwards in force, out of what the human monitor answers to `info usernet`."""
    found = re.findall(r"TCP\[HOST_FORWARD\]\s+\S+\s+([\d.*]+)\s+(\d+)\s+[\d.]+\s+(\d+)", usernet)
    return tuple(Forward(int(p), int(g), "0.0.0.0" if host == "*" else host) for host, p, g in found)  # noqa: S104


def create_overlay(disk: Path, base: Path) -> None:
    """Make a disk that begins as `base` and keeps only what differs from it."""
    run([need_program("qemu-img", "QEMU"), "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, disk])


def backing_chain(disk: Path) -> list[Path]:
    """The disk and the files that it builds upon, nearest first; works while a VM uses it."""
    argv: list[str | Path] = [
        need_program("qemu-img", "QEMU"),
        "info",
        "--force-share",
        "--backing-chain",
        "--output=json",
        disk,
    ]
    layers = json.loads(run(argv).out)
    return [(disk.parent / layer["filename"]).resolve() for layer in layers]


def snapshots(disk: Path) -> list[dict[str, Any]]:
    """The snapshots inside of a disk: name, date-sec, vm-state-size (bytes; 0 for a snapshot of the disk alone)."""
    argv: list[str | Path] = [need_program("qemu-img", "QEMU"), "info", "--force-share", "--output=json", disk]
    return list(json.loads(run(argv).out).get("snapshots", []))


def snapshot(disk: Path, action: str, tag: str) -> None:
    """Create (-c), apply (-a) or delete (-d) a snapshot in a disk that no VM uses."""
    run([need_program("qemu-img", "QEMU"), "snapshot", action, tag, disk], timeout_s=300)


def version() -> str:
    """What this machine's QEMU calls itself; a saved machine goes on with the same one only."""
    return run([need_program(program(host_arch()), "QEMU"), "--version"]).out.partition("\n")[0]
