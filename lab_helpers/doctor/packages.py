"""Packages of the distribution that setup installs: written down for `lab uninstall`, and never removed by us."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from lab_helpers.core.errors import MachineError, ToolError
from lab_helpers.core.events import Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.core.store import AppendLog, now
from lab_helpers.tools import apt


def install(
    place: Place,
    names: Sequence[str],
    *,
    finding: str,
    tell: Tell = silent,
    guard: contextlib.AbstractContextManager[None] | None = None,
) -> None:
    """Install what is missing of these packages; `guard` holds meanwhile.

    Raises MachineError with the doctor's `finding` when that fails.
    """
    here = apt.installed(names)
    if added := [name for name in names if name not in here]:
        # Written down first: whatever of it arrives, even if we are killed meanwhile, is ours.
        _log(place).append({"packages": added, "at": now()})
    try:
        with guard or contextlib.nullcontext():
            apt.install(names, finding=finding, tell=tell)
    except ToolError as error:
        raise MachineError(error.what, finding=finding, why=error.why, do=error.do) from None


def installed_by_us(place: Place) -> list[str]:
    """The packages that setup installed on this machine and that are still here."""
    if not apt.is_apt_system():
        return []
    names = {name for record in _log(place).read() for name in record.get("packages", [])}
    return sorted(apt.installed(sorted(names))) if names else []


def _log(place: Place) -> AppendLog:
    return AppendLog(place.state / "installed.jsonl")
