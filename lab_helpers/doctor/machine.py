"""Probes of the machine itself: system, Python, accelerator, memory, disk, ports, network."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from lab_helpers.core.settings import Place, offline
from lab_helpers.doctor.report import Fact, Finding, Level
from lab_helpers.tools import apt
from lab_helpers.tools.kvm import probe_accelerator

MEMORY_NEEDED_MIB = 3 * 1024
MEMORY_WANTED_MIB = 7 * 1024  # what is sold as 8 GB shows as 7.5 GiB
DISK_NEEDED_MIB = 3_000
DISK_NEEDED_AFTERWARDS_MIB = 1_000
DISK_WANTED_MIB = 10_000
NETWORK_LIMIT_S = 2.0
"""How long a package mirror may take to answer, in seconds. Everything else waits for this one."""

JUPYTER_PORT = 8888


def host(place: Place) -> Finding:
    """Operating system, architecture, WSL, container."""
    release = apt.os_release()
    name = release.get("PRETTY_NAME") or f"{platform.system()} {platform.mac_ver()[0] or platform.release()}"
    arch = {"amd64": "x86_64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine().lower())
    wsl = "microsoft" in platform.release().lower()
    container = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
    where = ", in WSL" if wsl else ", in a container" if container else ""
    facts: dict[str, Fact] = {
        "os": name,
        "arch": arch,
        "wsl": wsl,
        "container": container,
        "kernel": platform.release(),
    }
    level, advice = Level.OK, ""
    if arch not in ("x86_64", "arm64"):
        level = Level.FAIL
        advice = "the course's guests exist for x86-64 and arm64 only: use such a machine"
    elif wsl and str(place.root).startswith("/mnt/"):
        level = Level.WARN
        advice = (
            f"the checkout is on a Windows drive ({place.root}), which is slow and knows no Unix rights: "
            "clone it again under your Linux home folder"
        )
    return Finding(id="HOST", level=level, title="System", saw=f"{name}, {arch}{where}", advice=advice, facts=facts)


def python(place: Place) -> Finding:
    """The interpreter that runs us, and the environment it belongs to."""
    version = platform.python_version()
    facts: dict[str, Fact] = {"version": version, "path": sys.executable, "environment": sys.prefix}
    saw = f"Python {version} in {sys.prefix}"
    if not (3, 11) <= sys.version_info[:2] < (3, 15):
        return Finding(
            id="PYTHON",
            level=Level.FAIL,
            title="Python",
            saw=saw,
            advice="the course needs Python 3.11 to 3.14: run ./setup.sh in the checkout, it looks for one",
            facts=facts,
        )
    own = Path(sys.prefix) == place.root / ".venv" or Path(sys.prefix).name == "vm-to-kubernetes"
    return Finding(
        id="PYTHON",
        level=Level.OK if own else Level.NOTE,
        title="Python",
        saw=saw,
        advice="" if own else "this is not the course's own environment; ./setup.sh makes that",
        facts=facts,
    )


def accelerator(place: Place) -> Finding:
    """What runs a guest's instructions, by proof."""
    del place
    found = probe_accelerator()
    advice = ""
    if found.name == "tcg":
        device = Path("/dev/kvm")
        if device.exists() and not os.access(device, os.R_OK | os.W_OK):
            advice = "sudo usermod -aG kvm $USER, then log out and in again"
        elif sys.platform == "linux" and not device.exists():
            advice = (
                "switch on virtualization (VT-x, AMD-V) in the firmware; if this is a virtual machine itself, allow it "
                "nested virtualization. Everything works without it, only slower"
            )
        else:
            advice = "nothing needs to be done: everything works by translation, only slower"
    return Finding(
        id="ACCEL",
        level=Level.WARN if found.name == "tcg" else Level.OK,
        title="Virtual machines run by",
        saw=f"{found.name}: {found.why}",
        advice=advice,
        facts={"accelerator": found.name, "why": found.why},
    )


def memory(place: Place) -> Finding:
    """Memory and processors, as far as this process may use them."""
    import psutil

    del place
    system = psutil.virtual_memory()
    total = min([system.total, *_memory_limits()]) // 2**20
    free = min(system.available // 2**20, total)
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    saw = f"{total} MiB, of which {free} MiB are free now; {cpus} processors"
    level, advice = judge_memory(total, free)
    facts: dict[str, Fact] = {"memory_mib": total, "memory_free_mib": free, "cpus": cpus}
    return Finding(id="MEMORY", level=level, title="Memory", saw=saw, advice=advice, facts=facts)


def judge_memory(total_mib: int, free_mib: int) -> tuple[Level, str]:
    """Is that enough, and what to do if not."""
    if total_mib < MEMORY_NEEDED_MIB:
        return Level.FAIL, f"the course needs {MEMORY_NEEDED_MIB} MiB: give this machine more, or use another one"
    if total_mib < MEMORY_WANTED_MIB:
        return Level.WARN, "close other programs while a lab runs; with less than 8 GB the later labs may not fit"
    if free_mib < MEMORY_NEEDED_MIB // 2:
        return Level.WARN, "other programs use most of it: close some while a lab runs"
    return Level.OK, ""


def _memory_limits() -> list[int]:
    """Limits of the control group, when this is a container; in bytes."""
    limits = []
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return limits


def disk(place: Place) -> Finding:
    """Room where the caches are and where the checkout is."""
    from lab_helpers.images.guest_image import find_guest_image

    free = {where: shutil.disk_usage(_existing(where)).free // 2**20 for where in (place.home, place.root)}
    tight = min(free, key=lambda where: free[where])
    least = free[tight]
    needed = DISK_NEEDED_AFTERWARDS_MIB if find_guest_image(place) else DISK_NEEDED_MIB
    facts: dict[str, Fact] = {"disk_free_mib": least, "home": str(place.home), "home_free_mib": free[place.home]}
    saw = f"{least} MiB are free on the disk of {tight}"
    level, advice = judge_disk(least, needed)
    return Finding(id="DISK", level=level, title="Disk", saw=saw, advice=advice, facts=facts)


def judge_disk(free_mib: int, needed_mib: int) -> tuple[Level, str]:
    """Is that enough, and what to do if not."""
    if free_mib < needed_mib:
        return Level.FAIL, f"{needed_mib} MiB are needed there: make room, or set LAB_HOME to a folder on another disk"
    if free_mib < DISK_WANTED_MIB:
        return Level.WARN, f"enough for the first labs; the later ones want {DISK_WANTED_MIB} MiB"
    return Level.OK, ""


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def ports(place: Place) -> Finding:
    """Can programs listen on 127.0.0.1?"""
    del place
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
    except OSError as error:
        return Finding(
            id="PORTS",
            level=Level.FAIL,
            title="Ports",
            saw=f"no program can listen on 127.0.0.1: {error}",
            advice="everything of this course listens there; bring the loopback interface up: sudo ip link set lo up",
        )
    busy = _answers(JUPYTER_PORT)
    saw = f"port {JUPYTER_PORT} is taken, JupyterLab uses the next free one" if busy else "127.0.0.1 is open to us"
    return Finding(id="PORTS", level=Level.OK, title="Ports", saw=saw, facts={"jupyter_port_taken": busy})


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def network(place: Place) -> Finding:
    """Do the package sources answer that this machine is told to use? Only those: we know no address of our own."""
    del place
    if offline():
        return Finding(id="NETWORK", level=Level.NOTE, title="Network", saw="not looked at: LAB_OFFLINE forbids it")
    sources = apt.repositories() if apt.is_apt_system() else []
    index = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_DEFAULT_INDEX")
    addresses = [address for address in [*sources, index or ""] if urlsplit(address).scheme in ("http", "https")]
    hosts = {f"{(parts := urlsplit(address)).scheme}://{parts.netloc}": address for address in addresses}
    if not hosts:
        saw = "this machine names no package sources that could be asked"
        return Finding(id="NETWORK", level=Level.OK, title="Network", saw=saw)
    troubles = _troubles(list(hosts.values()))
    if not troubles:
        saw = "the package sources of this machine answer"
        return Finding(id="NETWORK", level=Level.OK, title="Network", saw=saw, facts={"asked": len(hosts)})
    return Finding(
        id="NETWORK",
        level=Level.WARN,
        title="Network",
        saw="; ".join(f"{urlsplit(address).hostname}: {why}" for address, why in troubles.items()),
        advice=(
            "what is here already works on. To fetch more: check the connection; behind a proxy set http_proxy and "
            "https_proxy, with a certificate authority of your own SSL_CERT_FILE"
        ),
        facts={"asked": len(hosts), "silent": len(troubles)},
    )


def _troubles(addresses: list[str]) -> dict[str, str]:
    """Why each address does not answer. Names are looked up by the system, without a limit: hence daemon threads."""
    results: dict[str, str] = {}

    def ask(address: str) -> None:
        request = urllib.request.Request(address, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=NETWORK_LIMIT_S):
                results[address] = ""
        except urllib.error.HTTPError:
            results[address] = ""  # it answers; what it says about this path does not matter
        except (OSError, ValueError) as error:
            results[address] = str(getattr(error, "reason", error))

    threads = [threading.Thread(target=ask, args=(address,), daemon=True) for address in addresses]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + NETWORK_LIMIT_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"no answer within {NETWORK_LIMIT_S:.0f} s"
    return {address: why for address in addresses if (why := results.get(address, silent))}
