"""Cures that are safe: packages of the distribution's own release, and a browser for the tests. Nothing is removed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from lab_helpers.core.errors import MachineError, ToolError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.processes import run
from lab_helpers.core.settings import Place
from lab_helpers.core.store import AppendLog, now
from lab_helpers.doctor.report import Report
from lab_helpers.tools import apt

CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.conf")


def plan(report: Report) -> list[str]:
    """What `fix` would do, a line each."""
    lines = []
    if packages := _packages(report):
        lines.append(f"install packages: {apt.install_command(packages)}")
    if _wants_browser(report):
        lines.append("download a Chromium for the tests: python -m playwright install --with-deps chromium")
    return lines


def fix(place: Place, report: Report, tell: Tell = silent) -> None:
    """Apply every safe cure that the report offers. What was installed is written down for `lab uninstall`.

    Raises MachineError when a cure fails; what was cured until then stays, and the next run goes on.
    """
    packages = _packages(report)
    if packages and apt.privilege() == "ask":
        tell(Note("sudo may ask for your password, to install packages."))
        apt.authenticate(_finding_of(report, packages[0]))
    for group, guard in _groups(packages):
        finding = _finding_of(report, group[0])
        here = apt.installed(group)
        if added := [name for name in group if name not in here]:
            # Written down first: whatever of it arrives, even if we are killed meanwhile, is ours.
            _log(place).append({"packages": added, "at": now()})
        try:
            with guard:
                apt.install(group, finding=finding, tell=tell)
        except ToolError as error:
            raise MachineError(error.what, finding=finding, why=error.why, do=error.do) from None
    if _wants_browser(report):
        tell(Progress("downloading Chromium for the tests", typical_s=60))
        try:
            run([sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"], timeout_s=1800)
        except ToolError as error:
            raise MachineError(error.what, finding="BROWSER", why=error.why, do=error.do) from None


def installed_by_us(place: Place) -> list[str]:
    """The packages that setup installed on this machine and that are still here."""
    if not apt.is_apt_system():
        return []
    names = {name for record in _log(place).read() for name in record.get("packages", [])}
    return sorted(apt.installed(sorted(names))) if names else []


def _log(place: Place) -> AppendLog:
    return AppendLog(place.state / "installed.jsonl")


def _packages(report: Report) -> list[str]:
    wanted = [name for finding in report.findings if finding.fixable for name in finding.packages]
    return list(dict.fromkeys(wanted))


def _finding_of(report: Report, package: str) -> str:
    return next(finding.id for finding in report.findings if package in finding.packages)


def _wants_browser(report: Report) -> bool:
    return any(finding.id == "BROWSER" and finding.fixable and not finding.packages for finding in report.findings)


def _groups(packages: list[str]) -> Iterator[tuple[list[str], contextlib.AbstractContextManager[None]]]:
    """The packages in the order of their installation, each group with what must hold meanwhile."""
    if "postgresql" in packages:
        yield [name for name in packages if name != "postgresql"], contextlib.nullcontext()
        yield ["postgresql"], _no_database_service()
    elif packages:
        yield packages, contextlib.nullcontext()


@contextlib.contextmanager
def _no_database_service() -> Iterator[None]:
    """Debian's postgresql makes a database and starts it as a service. The tests want the programs alone."""
    saved = CLUSTER_SETTINGS.with_name("createcluster.conf.before-lab")
    run(apt.as_root(["cp", "--preserve", CLUSTER_SETTINGS, saved]))
    try:
        run(apt.as_root(["pg_conftool", CLUSTER_SETTINGS, "set", "create_main_cluster", "off"]))
        yield
    finally:
        run(apt.as_root(["mv", saved, CLUSTER_SETTINGS]))
