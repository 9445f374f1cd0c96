"""Where a program came from and which version it is: the distribution's package, Homebrew, the course, or else."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab_helpers.core.errors import ToolError
from lab_helpers.core.processes import find_program, run
from lab_helpers.tools import apt


@dataclass(frozen=True)
class Program:
    """A program that is on this machine. `origin` is a phrase such as `package qemu-utils`."""

    name: str
    path: Path
    version: str
    origin: str


def identify(name: str, version_words: Sequence[str] = ("--version",)) -> Program | None:
    """The program by this name; None when it is not there. A version that cannot be told is empty."""
    path = find_program(name)
    if path is None:
        return None
    try:
        done = run([path, *version_words], check=False, timeout_s=10)
    except ToolError:
        return Program(path.name, path, "", "does not start")
    return Program(path.name, path, _first_version(done.out) or _first_version(done.err), origin(path))


def origin(path: Path) -> str:
    """Who brought this file here."""
    target = path.resolve()
    if "Cellar" in target.parts or str(target).startswith("/opt/homebrew/"):
        return "Homebrew"
    if apt.is_apt_system():
        owned = apt.owner(path)
        return f"package {owned[0]}" if owned else "not from a package"
    if sys.platform == "linux":
        for argv in (["rpm", "-qf", "--queryformat", "%{NAME}"], ["pacman", "-Qqo"]):
            if find_program(argv[0]):
                done = run([*argv, target], check=False)
                return f"package {done.out.strip()}" if done.ok else "not from a package"
    return "not from a package that we know"


def _first_version(text: str) -> str:
    """The first thing in the text that looks like a version: `7.2.22`, `9.2p1`."""
    found = re.search(r"\d+\.\d+[\w.+~-]*", text)
    return found[0].rstrip(".,") if found else ""
