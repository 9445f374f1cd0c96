"""apt, dpkg and sudo: what is installed, what could be, and installing it from the distribution's own release.

Nothing here adds a source or a key, and an installation prefers the release that the machine is: releases never mix.
Reference: apt-get(8), apt.conf(5), apt_preferences(5), dpkg-query(1).
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lab_helpers.core.errors import MachineError, ToolError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.processes import Completed, find_program, pasteable, run

LOCK_WAIT_S = 300
"""How long apt waits for another apt (unattended upgrades, a software centre), in seconds."""

Privilege = Literal["root", "sudo", "ask", "none"]

_INSTALL = ("--yes", "--no-install-recommends", "--no-remove")
_STEPS = ("Get:", "Unpacking ", "Setting up ")
"""What apt-get says once for each package. (Its Status-Fd would tell the same, but takes the output from dpkg.)"""
_PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")


def is_apt_system() -> bool:
    """True on Debian, Ubuntu and what descends from them."""
    return sys.platform == "linux" and all(find_program(name) for name in ("apt-get", "dpkg-query"))


def os_release() -> dict[str, str]:
    """What the distribution says about itself: ID, ID_LIKE, VERSION_CODENAME, PRETTY_NAME; empty where nothing does."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def installed(names: Sequence[str]) -> dict[str, str]:
    """The versions of those packages that are installed completely."""
    line = "${Package} ${Version} ${db:Status-Status}\n"
    done = run(["dpkg-query", "--show", f"--showformat={line}", *names], check=False)
    rows = [words for text in done.out.splitlines() if len(words := text.split()) == 3]
    return {name: version for name, version, status in rows if status == "installed"}


def candidates(names: Sequence[str]) -> dict[str, str]:
    """The versions that an installation of today would take; a package that the sources lack is left out."""
    out = run(["apt-cache", "policy", *names], env={"LC_ALL": "C"}, check=False).out
    found = re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (\S+)$", out, re.MULTILINE)
    return {name: version for name, version in found if version != "(none)"}


def owner(path: Path) -> tuple[str, str] | None:
    """The package that a file came with, and its version."""
    # Where /bin is a link to /usr/bin, dpkg still knows each file by the one name with which its package brought it.
    elsewhere = Path("/") / path.relative_to("/usr") if path.is_relative_to("/usr") else Path(f"/usr{path}")
    for candidate in dict.fromkeys([path, elsewhere, path.resolve()]):
        done = run(["dpkg-query", "--search", candidate], check=False)
        if done.ok and not done.out.startswith("diversion"):
            name = done.out.split(":", 1)[0].split(",")[0]
            return name, installed([name]).get(name, "")
    return None


def repositories() -> list[str]:
    """The addresses of the package repositories that this machine is told to use."""
    done = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], check=False)
    return sorted({line.strip() for line in done.out.splitlines() if line.strip()})


def privilege() -> Privilege:
    """How we may install: as root, by sudo without a password, by sudo that asks for one, or not at all."""
    if os.geteuid() == 0:
        return "root"
    if find_program("sudo") is None:
        return "none"
    if run(["sudo", "--non-interactive", "true"], check=False, timeout_s=10).ok:
        return "sudo"
    return "ask" if sys.stdin.isatty() and sys.stderr.isatty() else "none"


def authenticate(finding: str) -> None:
    """Let sudo ask for the password now, while nothing else writes to the terminal. Raises MachineError if refused."""
    if subprocess.run(["sudo", "--validate"], check=False).returncode != 0:
        raise MachineError(
            "sudo did not let us install packages.", finding=finding, do="try again, or ask an administrator"
        )


def as_root(argv: Sequence[str | Path]) -> list[str]:
    """The same command, run as root; proxies and extra certificates survive sudo."""
    settings = [f"{name}={os.environ[name]}" for name in _PASSED_ON if os.environ.get(name)]
    words = ["env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "LC_ALL=C.UTF-8", *settings]
    return [*([] if os.geteuid() == 0 else ["sudo"]), *words, *(str(word) for word in argv)]


def install_command(names: Sequence[str]) -> str:
    """What a person types to install these packages."""
    return pasteable(
        [*([] if os.geteuid() == 0 else ["sudo"]), "apt-get", "install", "--no-install-recommends", *names]
    )


def install(names: Sequence[str], *, finding: str, tell: Tell = silent) -> None:
    """Install those of the packages that are missing.

    The package lists are fetched only if they lack a package, or if installing fails with the lists that are there.
    Raises MachineError with the doctor's `finding` when there is neither root nor sudo, or the sources lack a package;
    ToolError with what apt said when it fails.
    """
    here = installed(names)
    missing = [name for name in names if name not in here]
    if not missing:
        return
    if privilege() == "none":
        raise MachineError(
            f"Packages are missing, and there is neither root nor sudo to install them: {' '.join(missing)}",
            finding=finding,
            do=f"ask somebody who administers this machine to run: {install_command(missing)}",
        )
    _finish_interrupted(tell)
    fresh = bool(set(missing) - candidates(missing).keys())
    trouble = _update(tell) if fresh else None
    if absent := sorted(set(missing) - candidates(missing).keys()):
        raise trouble or MachineError(
            f"The package sources of this machine do not have: {' '.join(absent)}",
            finding=finding,
            why="an incomplete sources list (on Ubuntu: without `universe`), or a release that is too old",
            do="look into /etc/apt/sources.list and /etc/apt/sources.list.d, then run `sudo apt-get update`",
        )
    try:
        _apt_get(["install", *_INSTALL, *_own_release(), *missing], "installing packages", tell)
    except ToolError:
        if fresh:
            raise
        _update(tell)  # a mirror drops old versions: lists of last week point to nothing
        _apt_get(["install", *_INSTALL, *_own_release(), *missing], "installing packages", tell)


def _update(tell: Tell) -> ToolError | None:
    """Fetch the package lists. One source that does not answer is no reason to stop: the others may have it all."""
    try:
        _apt_get(["update", "--option", "APT::Update::Error-Mode=any"], "fetching package lists", tell)
    except ToolError as error:
        return error
    return None


def _finish_interrupted(tell: Tell) -> None:
    """A dpkg that was killed leaves packages half installed, and apt refuses to work until they are finished."""
    if Path("/var/lib/dpkg/updates").is_dir() and any(Path("/var/lib/dpkg/updates").iterdir()):
        tell(Note("An earlier installation was interrupted; dpkg finishes it first."))
        run(as_root(["dpkg", "--force-confold", "--configure", "--pending"]), timeout_s=None)


def _own_release() -> list[str]:
    """Prefer the machine's own release over others that its sources may name as well."""
    codename = os_release().get("VERSION_CODENAME", "")
    policy = run(["apt-cache", "policy"], env={"LC_ALL": "C"}, check=False).out
    if not codename or not re.search(rf"\bn={re.escape(codename)}\b", policy):
        return []
    return ["--option", f"APT::Default-Release=/^{re.escape(codename)}(|-security|-updates)$/"]


def _apt_get(words: Sequence[str], what: str, tell: Tell) -> Completed:
    """Run apt-get as root and tell its progress. Raises ToolError with what it said."""
    options = ("Dpkg::Use-Pty=0", "Acquire::Retries=3", f"DPkg::Lock::Timeout={LOCK_WAIT_S}")
    argv = as_root(["apt-get", *(part for option in options for part in ("--option", option)), *words])
    tell(Progress(what))
    said: list[str] = []
    done, total = 0, 0
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if plan := re.match(r"(\d+) upgraded, (\d+) newly installed", line):
                total = int(plan[1]) + int(plan[2])
            if total and line.startswith(_STEPS):
                done += 1
                tell(Progress(what, min(done / len(_STEPS), total), total, "packages"))
    completed = Completed(tuple(argv), process.returncode, "".join(said), "")
    if not completed.ok:
        raise ToolError(
            f"{what.capitalize()} failed.",
            command=pasteable(argv),
            output=completed.out,
            code=completed.code,
            do="is there a network, and are the package sources right? then run the same again",
        )
    return completed
