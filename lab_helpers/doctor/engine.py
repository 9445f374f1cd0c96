"""Probes of the container engine: does it answer, what can it start, and what does it stand on.

They look at the same engine, and once in an examination is enough: `look` remembers what it saw until `forget`.
"""

from __future__ import annotations

import getpass
import grp
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from lab_helpers.core.host import sysctl
from lab_helpers.core.processes import find_program
from lab_helpers.core.settings import Place
from lab_helpers.doctor import programs
from lab_helpers.doctor.report import Fact, Finding, Level
from lab_helpers.images.runtime_shim import NAME
from lab_helpers.tools import apt, dockerd
from lab_helpers.tools.engine import Engine, EngineFacts, candidates, find_engine, forbidden
from lab_helpers.tools.engine_probe import Probed, probe
from lab_helpers.tools.origin import identify

PACKAGES = {"apt": "docker.io", "dnf": "moby-engine", "pacman": "docker", "zypper": "docker"}
GOOD_STORAGE = ("overlay2", "overlayfs", "overlay", "fuse-overlayfs", "btrfs", "zfs", "stargz")

INOTIFY = "/proc/sys/fs/inotify"
WANTED = {"max_user_instances": 512, "max_user_watches": 524_288}
"""What kind recommends for clusters of many nodes: https://kind.sigs.k8s.io/docs/user/known-issues/"""
NEEDED = {"max_user_instances": 128, "max_user_watches": 8192}
"""The kernel's own defaults on a small machine. Measured: a node with the control plane takes 27 instances and 322
watches, one without it about half of that, so clusters as small as those of the labs have room enough.
"""


@dataclass(frozen=True)
class Seen:
    """The engine that answers, and what it says about itself; None when there is none."""

    engine: Engine | None
    facts: EngineFacts | None


_lock = threading.Lock()
_seen: list[Seen] = []


def look() -> Seen:
    """The engine of this examination."""
    with _lock:
        if not _seen:
            engine = find_engine()
            _seen.append(Seen(engine, engine.facts() if engine else None))
        return _seen[0]


def forget() -> None:
    """Look anew the next time: another examination begins, or a cure has changed something."""
    with _lock:
        _seen.clear()


def engine(place: Place, *, missing_level: Level = Level.WARN) -> Finding:
    """Does an engine answer, and is the command here with which the lessons use it? Labs 00 and 01 do without both."""
    seen, program = look(), identify("docker")
    facts: dict[str, Fact] = {}
    if program:
        facts = {"docker.path": str(program.path), "docker.version": program.version, "docker.origin": program.origin}
    if seen.engine and seen.facts:
        facts |= {"engine": seen.facts.version, "address": seen.engine.address, "by": seen.engine.by}
        saw = f"{seen.facts.product} {seen.facts.version} answers at {seen.engine.address} ({seen.engine.by})"
        if dockerd.started_by_us(place) and dockerd.chosen(place).serves(seen.engine.address):
            saw += ", started by the course"
        if program:
            saw += f"; client {program.version} ({program.origin})"
            return Finding(id="ENGINE", level=Level.OK, title="Container engine", saw=saw, facts=facts)
        packages = _packages()
        return Finding(
            id="ENGINE",
            level=missing_level,
            title="Container engine",
            saw=f"{saw}; but there is no program docker, which the lessons use from lab 02 on",
            advice=apt.install_command(packages) if packages else "install the docker command",
            fixable=bool(packages) and programs.can_install(),
            packages=packages,
            facts=facts,
        )
    return _no_engine(place, missing_level, program is not None, facts)


def _no_engine(place: Place, level: Level, has_client: bool, facts: dict[str, Fact]) -> Finding:
    daemon, daemon_here = dockerd.chosen(place), find_program("dockerd") is not None
    elsewhere = _meant_elsewhere(daemon)
    packages = () if daemon_here else _packages()
    curable = apt.privilege() != "none" if daemon_here else bool(packages) and programs.can_install()
    fixable = sys.platform == "linux" and not elsewhere and not forbidden() and curable
    if socket := forbidden():
        saw, advice = f"an engine has its socket at {socket}, but this user may not open it", "see ENGINE-GROUP"
    elif elsewhere:
        saw, advice = f"no engine answers where {elsewhere} leads", f"start that engine, or undo {elsewhere}"
    elif daemon_here:
        saw, advice = "dockerd is here, but it does not run", "lab doctor --fix"
    else:
        saw = "the program docker is here, but no engine answers" if has_client else "no container engine here"
        advice = f"{apt.install_command(packages)} (`lab setup` does it)" if fixable else how_to_get_one(has_client)
    return Finding(
        id="ENGINE",
        level=level,
        title="Container engine",
        saw=f"{saw}; labs 02 to 10 need one",
        advice=advice,
        fixable=fixable,
        packages=packages if fixable else (),
        facts=facts,
    )


def _meant_elsewhere(daemon: dockerd.Daemon) -> str:
    """What the user has set that leads to another engine than the one we could start; empty when nothing does."""
    meant = next((each for each in candidates() if each.plain), None)
    if meant is None:
        return "the current docker context"
    return "" if daemon.serves(meant.address) else meant.by


def _packages() -> tuple[str, ...]:
    """The distribution's engine, and what it leaves to other packages: Debian 13 has the docker command apart."""
    if programs.family() != "apt":
        return ()
    wanted = ["docker.io", "iptables"]
    optional = ["docker-cli", "docker-buildx"]
    if Path("/sys/module/apparmor/parameters/enabled").exists() and find_program("apparmor_parser") is None:
        wanted.append("apparmor")  # a kernel that has it lets dockerd start nothing without its profiles
    offered = apt.candidates(optional)
    return (*wanted, *(name for name in optional if name in offered))


def how_to_get_one(has_client: bool = False) -> str:
    """What to do for a container engine on this system."""
    if sys.platform == "darwin":
        return (
            "start Docker Desktop or Colima" if has_client else "install Docker Desktop, or: brew install colima docker"
        )
    install = programs.how_to_install({family: (name,) for family, name in PACKAGES.items()})
    if "microsoft" in os.uname().release.lower():
        return f"install Docker Desktop on Windows and switch on its WSL integration, or: {install}"
    return install


def plain(place: Place, *, broken_level: Level = Level.WARN) -> Finding:
    """Does it start a container?"""
    tried = try_container(privileged=False)
    if tried is None:
        return _not_looked("ENGINE-PLAIN", "Containers")
    if tried.ok:
        saw = f"a container starts and ends in {tried.seconds:.1f} s"
        return Finding(id="ENGINE-PLAIN", level=Level.OK, title="Containers", saw=saw)
    ours = dockerd.started_by_us(place) is not None
    return Finding(
        id="ENGINE-PLAIN",
        level=broken_level,
        title="Containers",
        saw=f"the engine does not start a container: {tried.why}",
        advice=f"its log says more: {dockerd.log(place) if ours else 'sudo journalctl -u docker -n 30'}",
    )


def privileged(place: Place, *, broken_level: Level = Level.WARN) -> Finding:
    """Does it start a privileged container? kind's nodes are such ones."""
    title = "Privileged containers"
    seen, tried = look(), try_container(privileged=True)
    if tried is None or seen.facts is None or seen.engine is None:
        return _not_looked("ENGINE-PRIVILEGED", title)
    facts: dict[str, Fact] = {"runtime": seen.facts.runtime}
    if tried.ok:
        by = f"the runtime {seen.facts.runtime or 'of the engine'}"
        if seen.facts.runtime == NAME:
            by = f"the course's program in front of runc ({seen.facts.runtimes[NAME]})"
        saw = f"one starts, by {by}"
        return Finding(id="ENGINE-PRIVILEGED", level=Level.OK, title=title, saw=saw, facts=facts)
    lacking = what_it_lacks(place)
    return Finding(
        id="ENGINE-PRIVILEGED",
        level=broken_level,
        title=title,
        saw=f"none starts, and kind's nodes are privileged containers: {tried.why}"
        + (f"; this host lacks {', '.join(lacking)}" if lacking else ""),
        advice="lab doctor --fix puts a small program in front of runc, which asks for no more than this host has"
        if lacking
        else "a rootless engine, a container around it or a security module may forbid it: use the system's own Docker",
        fixable=bool(lacking) and apt.privilege() != "none",
        facts=facts,
    )


def what_it_lacks(place: Place) -> list[str]:
    """The capabilities that dockerd has not itself; empty when it has all, or is out of our reach."""
    seen, daemon = look(), dockerd.chosen(place)
    if sys.platform != "linux" or seen.engine is None or not daemon.serves(seen.engine.address):
        return []
    process = daemon.process()
    return dockerd.lacking(process) if process else []


def group(place: Place, *, denied_level: Level = Level.WARN) -> Finding:
    """May this user use the engine?"""
    del place
    title = "Right to use the engine"
    socket = forbidden()
    if look().engine or socket is None:
        saw = "this user may use it" if look().engine else "no socket that this user may not open"
        return Finding(id="ENGINE-GROUP", level=Level.OK, title=title, saw=saw)
    owner = _group_of(socket)
    user = getpass.getuser()
    if owner and user in owner.gr_mem:
        advice = f"you are in the group {owner.gr_name} since your last login: log out and in again"
    elif owner and owner.gr_gid != 0:
        advice = f"sudo usermod -aG {owner.gr_name} $USER, then log out and in again (it makes you as mighty as root)"
    else:
        advice = "ask somebody who administers this machine for the right to open it"
    saw = f"{user} may not open {socket}"
    return Finding(id="ENGINE-GROUP", level=denied_level, title=title, saw=saw, advice=advice)


def _group_of(socket: Path) -> grp.struct_group | None:
    try:
        return grp.getgrgid(socket.stat().st_gid)
    except (OSError, KeyError):
        return None


def storage(place: Place) -> Finding:
    """What stacks the layers of images on the disk."""
    del place
    facts = look().facts
    if facts is None:
        return _not_looked("ENGINE-STORAGE", "Storage of images")
    good = facts.storage in GOOD_STORAGE
    advice = (
        "every layer is copied whole with it, which takes much room and time: keep the engine's data on a disk with "
        "ext4 or xfs (its setting data-root), where it takes overlay2 by itself"
    )
    return Finding(
        id="ENGINE-STORAGE",
        level=Level.OK if good else Level.WARN,
        title="Storage of images",
        saw=facts.storage,
        advice="" if good else advice,
        facts={"driver": facts.storage},
    )


def inotify(place: Place) -> Finding:
    """How many files the programs in containers may watch: the nodes of a cluster share one allowance."""
    del place
    facts = look().facts
    if sys.platform != "linux" or (facts and facts.kernel != os.uname().release):
        saw = "the engine has a machine of its own, which sets them"
        return Finding(id="INOTIFY", level=Level.OK, title="Watched files", saw=saw)
    now = {name: int(sysctl(f"{INOTIFY}/{name}") or 0) for name in WANTED}
    saw = ", ".join(f"{name} {value}" for name, value in now.items())
    level, advice, fixable = judge_inotify(now)
    return Finding(
        id="INOTIFY",
        level=level,
        title="Watched files",
        saw=saw,
        advice=advice,
        fixable=fixable and apt.privilege() != "none",
        facts=dict(now),
    )


def judge_inotify(now: dict[str, int]) -> tuple[Level, str, bool]:
    """Is that enough, what to do if not, and whether the cure should be offered."""
    low = {name: value for name, value in WANTED.items() if now[name] < value}
    raise_them = f"sudo sysctl {' '.join(f'fs.inotify.{name}={value}' for name, value in low.items())}"
    if not low:
        return Level.OK, "", False
    if all(now[name] >= NEEDED[name] for name in NEEDED):
        return Level.NOTE, f"enough for the labs; for clusters of many nodes: {raise_them}", False
    return Level.WARN, raise_them, True


def cgroup(place: Place) -> Finding:
    """Which version of control groups limits the containers."""
    del place
    facts = look().facts
    version = facts.cgroup if facts else 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1
    if facts is None and sys.platform != "linux":
        return _not_looked("CGROUP", "Control groups")
    advice = (
        "nothing needs to be done: the course's own node image allows it. Other images of Kubernetes 1.35 or later do "
        "not start on this machine unless their kubelet is told failCgroupV1: false"
    )
    return Finding(
        id="CGROUP",
        level=Level.OK if version == 2 else Level.NOTE,
        title="Control groups",
        saw=f"version {version}",
        advice="" if version == 2 else advice,
        facts={"version": version},
    )


def try_container(*, privileged: bool) -> Probed | None:
    """Start a container; None when there is no engine."""
    seen = look()
    if seen.engine is None or seen.facts is None:
        return None
    return probe(seen.engine, seen.facts.arch, privileged=privileged)


def _not_looked(name: str, title: str) -> Finding:
    return Finding(id=name, level=Level.NOTE, title=title, saw="not looked at: no engine answers")
