"""Probes of the programs that the course drives: is it here, which version, where from, and how to get it."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from lab_helpers.core.processes import find_program, run
from lab_helpers.core.settings import Place, offline
from lab_helpers.doctor.report import Fact, Finding, Level
from lab_helpers.tools import apt, qemu
from lab_helpers.tools.chromium import find_chromium
from lab_helpers.tools.origin import Program, identify

FAMILIES = {"debian": "apt", "ubuntu": "apt", "fedora": "dnf", "rhel": "dnf", "arch": "pacman", "suse": "zypper"}
INSTALL = {
    "brew": "brew install",
    "dnf": "sudo dnf install",
    "pacman": "sudo pacman -S",
    "zypper": "sudo zypper install",
}
ARM = qemu.host_arch() == "arm64"


@dataclass(frozen=True)
class Need:
    """A finding about programs. Every one of `programs` must be there: its name, and the words that ask its version.

    packages: how each family of systems calls what holds them. why: what the course does with them.
    """

    id: str
    title: str
    why: str
    programs: Mapping[str, tuple[str, ...]]
    packages: Mapping[str, tuple[str, ...]]
    files: tuple[str, ...] = ()
    """Files that must be there as well."""


QEMU = Need(
    id="QEMU",
    title="QEMU",
    why="runs the virtual machines",
    programs={qemu.program(qemu.host_arch()): ("--version",), "qemu-img": ("--version",)},
    packages={
        "apt": ("qemu-system-arm" if ARM else "qemu-system-x86", "qemu-utils"),
        "dnf": ("qemu-system-aarch64" if ARM else "qemu-system-x86", "qemu-img"),
        "pacman": ("qemu-system-aarch64" if ARM else "qemu-system-x86", "qemu-img"),
        "zypper": ("qemu-arm" if ARM else "qemu-x86", "qemu-tools"),
        "brew": ("qemu",),
    },
)
SSH = Need(
    id="SSH",
    title="OpenSSH",
    why="logs in to the virtual machines",
    programs={"ssh": ("-V",), "scp": (), "ssh-keygen": ()},
    packages={
        "apt": ("openssh-client",),
        "dnf": ("openssh-clients",),
        "pacman": ("openssh",),
        "zypper": ("openssh-clients",),
        "brew": ("openssh",),
    },
)
CURL = Need(
    id="CURL",
    title="curl",
    why="asks the services of the labs, in the lessons' own commands",
    programs={"curl": ("--version",)},
    packages=dict.fromkeys(("apt", "dnf", "pacman", "zypper", "brew"), ("curl",)),
)
IMAGE_BUILDER = Need(
    id="IMAGE-BUILDER",
    title="Builder of the guest disk",
    why="makes the guest's disk out of Debian packages",
    programs={
        "mmdebstrap": ("--version",),
        "mke2fs": ("-V",),
        "qemu-img": ("--version",),
        "xz": ("--version",),
        "zstd": ("--version",),
    },
    packages={"apt": ("mmdebstrap", "debian-archive-keyring", "e2fsprogs", "qemu-utils", "xz-utils", "zstd")},
    files=("/usr/share/keyrings/debian-archive-keyring.gpg",),
)
POSTGRESQL = Need(
    id="POSTGRESQL",
    title="PostgreSQL server, for the tests",
    why="is what Pinboard's own tests run against",
    programs={"initdb": ("--version",)},
    packages={
        "apt": ("postgresql-common", "postgresql"),
        "dnf": ("postgresql-server",),
        "pacman": ("postgresql",),
        "zypper": ("postgresql-server",),
        "brew": ("postgresql@17",),
    },
)


@cache
def family() -> str:
    """Which package manager this system has: apt, dnf, pacman, zypper, brew; empty when we know none."""
    if sys.platform == "darwin":
        return "brew"
    release = apt.os_release()
    for name in [release.get("ID", ""), *release.get("ID_LIKE", "").split()]:
        found = FAMILIES.get(name) or ("zypper" if "suse" in name else "")
        if found:
            return found
    return ""


def can_install() -> bool:
    """May `lab setup` install packages here?"""
    return family() == "apt" and apt.is_apt_system() and not offline() and apt.privilege() != "none"


def how_to_install(packages: Mapping[str, tuple[str, ...]]) -> str:
    """What to type to get these packages on this system."""
    here = packages.get(family())
    if not here:
        return "install it with the package manager of this system"
    if family() == "apt":
        return apt.install_command(here)
    return f"{INSTALL[family()]} {' '.join(here)}"


def look(need: Need, *, missing_level: Level = Level.FAIL) -> Finding:
    """The finding about these programs; `missing_level` says how much it matters when one is missing."""
    found = {name: identify(name, words) if words else _just(name) for name, words in need.programs.items()}
    missing = [name for name, program in found.items() if program is None]
    missing += [path for path in need.files if not Path(path).exists()]
    here = [program for program in found.values() if program]
    if not missing:
        return Finding(id=need.id, level=Level.OK, title=need.title, saw=_describe(here), facts=_facts(here))
    packages = need.packages.get("apt", ()) if family() == "apt" else ()
    fixable = bool(packages) and missing_level is Level.FAIL and can_install()
    return Finding(
        id=need.id,
        level=missing_level,
        title=need.title,
        saw=f"missing: {', '.join(missing)}; it {need.why}",
        advice=how_to_install(need.packages) + (" (`lab setup` does it)" if fixable else ""),
        fixable=fixable,
        packages=packages,
        facts=_facts(here),
    )


def _just(name: str) -> Program | None:
    path = find_program(name)
    return Program(name, path, "", "") if path else None


def _describe(programs: list[Program]) -> str:
    told = [f"{program.name} {program.version} ({program.origin})" for program in programs if program.origin]
    return ", ".join(told)


def _facts(programs: list[Program]) -> dict[str, Fact]:
    return {
        f"{program.name}.{key}": value
        for program in programs
        for key, value in (("path", str(program.path)), ("version", program.version), ("origin", program.origin))
        if value
    }


def qemu_programs(place: Place) -> Finding:
    """QEMU for this machine's architecture."""
    del place
    return look(QEMU)


def ssh_programs(place: Place) -> Finding:
    """The OpenSSH client."""
    del place
    return look(SSH)


def curl(place: Place) -> Finding:
    """The client with which the lessons talk to services."""
    del place
    return look(CURL)


def image_builder(place: Place) -> Finding:
    """Linux builds the guest's disk itself where mmdebstrap is or can be had, else a container does."""
    from lab_helpers.doctor import engine  # which asks this module what could be installed
    from lab_helpers.images.guest_image import find_guest_image

    needed = Level.NOTE if find_guest_image(place) else Level.FAIL
    if sys.platform == "linux" and (family() == "apt" or find_program("mmdebstrap")):
        finding = _native_builder(needed)
        if finding.level is Level.OK or finding.fixable:
            return finding
    else:
        finding = Finding(
            id="IMAGE-BUILDER",
            level=needed,
            title=IMAGE_BUILDER.title,
            saw="neither mmdebstrap nor a container engine that answers; one of them makes the guest's disk",
            advice=engine.how_to_get_one(),
        )
    if find_program("docker") and (facts := engine.look().facts):
        saw = f"in a container, by {facts.product} {facts.version}"
        return Finding(id="IMAGE-BUILDER", level=Level.OK, title=IMAGE_BUILDER.title, saw=saw)
    return finding


def _native_builder(needed: Level) -> Finding:
    if os.geteuid() == 0:
        return look(IMAGE_BUILDER, missing_level=needed)
    finding = look(_without_root(IMAGE_BUILDER), missing_level=needed)
    return _with_user_ids(finding, needed) if finding.level is Level.OK else finding


def _without_root(need: Need) -> Need:
    programs = {**need.programs, "newuidmap": ()}
    return replace(need, programs=programs, packages={"apt": (*need.packages["apt"], "uidmap")})


def _with_user_ids(finding: Finding, needed: Level) -> Finding:
    """Without root a build runs in a user namespace, with a range of user ids that belong to this user. Try it."""
    tried = run(["mmdebstrap", "--unshare-helper", "true"], check=False, timeout_s=10)
    if tried.ok:
        return finding
    user = getpass.getuser()
    owns = [any(line.startswith(f"{user}:") for line in _lines(table)) for table in ("/etc/subuid", "/etc/subgid")]
    if all(owns):
        saw = (
            f"this system does not let {user} make a user namespace: {' | '.join(tried.err.strip().splitlines()[-2:])}"
        )
        advice = "sudo sysctl -w kernel.unprivileged_userns_clone=1 (Debian), or run `lab prepare 01` once as root"
    else:
        saw = f"/etc/subuid and /etc/subgid have no range of ids for {user}"
        advice = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
    return finding.model_copy(update={"level": needed, "saw": f"{finding.saw}; but {saw}", "advice": advice})


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def browser(place: Place, *, missing_level: Level = Level.NOTE) -> Finding:
    """A Chromium for the browser tests; who only learns uses their own browser."""
    del place
    title = "Chromium, for the tests"
    if path := find_chromium():
        program = identify(str(path))
        assert program is not None
        return Finding(id="BROWSER", level=Level.OK, title=title, saw=_describe([program]), facts=_facts([program]))
    packages = ("chromium", "fonts-dejavu-core") if apt.os_release().get("ID") == "debian" else ()
    advice = apt.install_command(packages) if packages else "python -m playwright install --with-deps chromium"
    return Finding(
        id="BROWSER",
        level=missing_level,
        title=title,
        saw="no Chromium here that a program can drive; only the browser tests need it",
        advice=advice,
        fixable=missing_level is Level.FAIL and not offline() and (can_install() or not packages),
        packages=packages,
    )


def postgresql(place: Place, *, missing_level: Level = Level.NOTE) -> Finding:
    """A PostgreSQL server for Pinboard's own tests; Debian keeps its programs out of PATH."""
    del place
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if versions:
        saw = f"version {versions[-1].parts[-3]} in {versions[-1].parent}"
        return Finding(id="POSTGRESQL", level=Level.OK, title=POSTGRESQL.title, saw=saw)
    return look(POSTGRESQL, missing_level=missing_level)
