"""Cures that are safe: packages of the distribution's own release, and what cures one finding. Nothing is removed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab_helpers.core.errors import MachineError, ToolError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.processes import run
from lab_helpers.core.settings import Place
from lab_helpers.doctor import engine_cures, packages
from lab_helpers.doctor.report import Finding, Level, Report
from lab_helpers.tools import apt

CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.conf")


@dataclass(frozen=True)
class Cure:
    """What cures a finding, besides its packages, which are installed before.

    plan: what that will be, in a line; empty when there is nothing to do. apply: do it, or raise MachineError.
    """

    plan: Callable[[Place, Finding], str]
    apply: Callable[[Place, Finding, Tell], None]
    as_root: bool = True


def plan(place: Place, report: Report) -> list[str]:
    """What `fix` would do, a line each."""
    lines = []
    if wanted := _packages(report):
        lines.append(f"install packages: {apt.install_command(wanted)}")
    return lines + [line for finding, cure in _cures(report) if (line := cure.plan(place, finding))]


def fix(place: Place, report: Report, tell: Tell = silent) -> None:
    """Apply every safe cure that the report offers. What was installed is written down for `lab uninstall`.

    Raises MachineError when the cure of a failure fails; what was cured until then stays, and the next run goes on. Of
    another finding that is only told: the labs that do without it shall not wait for it.
    """
    wanted, cures = _packages(report), _cures(report)
    needs_root = [_finding_of(report, wanted[0]).id] if wanted else [found.id for found, cure in cures if cure.as_root]
    if needs_root and apt.privilege() == "ask":
        tell(Note("sudo may ask for your password."))
        apt.authenticate(needs_root[0])
    for group, guard in _groups(report):
        finding = _finding_of(report, group[0])
        with _excused(finding, tell):
            packages.install(place, group, finding=finding.id, tell=tell, guard=guard)
    for finding, cure in cures:
        with _excused(finding, tell):
            cure.apply(place, finding, tell)


@contextlib.contextmanager
def _excused(finding: Finding, tell: Tell) -> Iterator[None]:
    """A cure that fails is the machine's trouble; it stops us only if its finding stands in the way of everything."""
    try:
        yield
    except ToolError as error:
        trouble = MachineError(error.what, finding=finding.id, why=error.why, do=error.do)
    except MachineError as error:
        trouble = error
    else:
        return
    if finding.level is Level.FAIL:
        raise trouble
    tell(Note(f"{finding.id} could not be cured. {trouble}"))


def _packages(report: Report) -> list[str]:
    """The packages that are wanted, those first whose lack is a failure."""
    fixable = [finding for finding in report.findings if finding.fixable]
    ordered = sorted(fixable, key=lambda finding: -finding.level.weight)
    return list(dict.fromkeys(name for finding in ordered for name in finding.packages))


def _finding_of(report: Report, package: str) -> Finding:
    """The gravest of the findings that want it."""
    wanting = [finding for finding in report.findings if finding.fixable and package in finding.packages]
    return max(wanting, key=lambda finding: finding.level.weight)


def _cures(report: Report) -> list[tuple[Finding, Cure]]:
    return [(finding, CURES[finding.id]) for finding in report.findings if finding.fixable and finding.id in CURES]


def _groups(report: Report) -> Iterator[tuple[list[str], contextlib.AbstractContextManager[None]]]:
    """The packages in the order of their installation, each group with what must hold meanwhile."""
    required: list[str] = []
    others: list[str] = []
    database: list[str] = []
    for name in _packages(report):
        failure = _finding_of(report, name).level is Level.FAIL
        (database if name == "postgresql" else required if failure else others).append(name)
    for names in (required, others):
        if names:
            yield names, contextlib.nullcontext()
    if database:
        yield database, _no_database_service()


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


def _plan_browser(place: Place, finding: Finding) -> str:
    del place
    if finding.packages:
        return ""
    return "download a Chromium for the tests: python -m playwright install --with-deps chromium"


def _get_browser(place: Place, finding: Finding, tell: Tell) -> None:
    del place
    if not finding.packages:
        tell(Progress("downloading Chromium for the tests", typical_s=60))
        run([sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"], timeout_s=1800)


CURES = {
    "ENGINE": Cure(engine_cures.plan_engine, engine_cures.start_engine),
    "ENGINE-PRIVILEGED": Cure(engine_cures.plan_privileged, engine_cures.allow_privileged),
    "INOTIFY": Cure(engine_cures.plan_inotify, engine_cures.raise_inotify),
    "BROWSER": Cure(_plan_browser, _get_browser, as_root=False),
}
"""By the ID of the finding. They are applied in the order of the report."""
