"""`lab test`: everything that proves this course, stage by stage, with one count at the end."""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab_helpers.core.errors import ExitCode
from lab_helpers.core.processes import pasteable
from lab_helpers.core.settings import Place
from lab_helpers.ui.text import Line

if TYPE_CHECKING:
    from lab_helpers.ui.terminal import Screen


@dataclass(frozen=True)
class Stage:
    """One command of the test run. With `counts` it writes a JUnit file; without, it is one test by its exit code."""

    name: str
    argv: tuple[str, ...]
    counts: bool = False

    def command(self, junit: Path) -> list[str]:
        if not self.counts:
            return list(self.argv)
        return [*self.argv, *(("--junit", str(junit)) if "prove" in self.argv else (f"--junit-xml={junit}",))]


@dataclass(frozen=True)
class Count:
    """How the tests of a stage ended."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass(frozen=True)
class Outcome:
    """A stage that has run."""

    stage: Stage
    count: Count
    seconds: float


def stages(*, full: bool) -> list[Stage]:
    """What is run, in this order: what is quick and tells most comes first."""
    tool = str(Path(sys.executable).parent) + "/"
    pytest = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    lab = (sys.executable, "-m", "lab_helpers.cli")
    chosen = [
        Stage("ruff check", (tool + "ruff", "check")),
        Stage("ruff format", (tool + "ruff", "format", "--check")),
        Stage("mypy", (sys.executable, "-m", "mypy")),
        Stage("imports", (tool + "lint-imports",)),
        Stage("notebooks are of today", (*lab, "build", "--check")),
        Stage("unit and contract", (*pytest, "tests", "-m", "not live and not browser and not full"), counts=True),
        Stage("pinboard", (*pytest, "labs/pinboard/tests"), counts=True),
        Stage("live", (*pytest, "tests", "-m", "live and not browser and not full"), counts=True),
        Stage("browser", (*pytest, "tests", "-m", "browser and not full"), counts=True),
    ]
    if full:
        chosen.append(Stage("full", (*pytest, "tests", "-m", "full"), counts=True))
    return [*chosen, Stage("prove", (*lab, "prove"), counts=True)]


def run_tests(place: Place, *, full: bool, screen: Screen, chosen: Iterable[Stage] | None = None) -> ExitCode:
    """Run every stage, also after one has failed. The last line says `N passed, N failed, N skipped`."""
    reports = place.state / "tests"
    reports.mkdir(parents=True, exist_ok=True)
    outcomes = [_run(stage, place, reports, screen) for stage in (stages(full=full) if chosen is None else chosen)]
    total = sum((outcome.count for outcome in outcomes), Count())
    screen.show([Line(""), *(_line(outcome) for outcome in outcomes)])
    screen.say(str(total))
    return ExitCode.NOT_YET if total.failed else ExitCode.PASSED


def _run(stage: Stage, place: Place, reports: Path, screen: Screen) -> Outcome:
    junit = reports / f"{stage.name.replace(' ', '-')}.xml"
    junit.unlink(missing_ok=True)
    command = stage.command(junit)
    screen.show([Line(f"\n── {stage.name}: {pasteable(command)}", style="head")])
    sys.stdout.flush()
    began = time.monotonic()
    code = subprocess.run(command, cwd=place.root, stdin=subprocess.DEVNULL, check=False).returncode
    count = _count(junit) if stage.counts else Count()
    if code == 0 and not stage.counts:
        count = Count(passed=1)
    elif code != 0 and count.failed == 0:
        count += Count(failed=1)  # it broke down without naming a test, or found none
    outcome = Outcome(stage, count, time.monotonic() - began)
    screen.show([_line(outcome)])
    return outcome


def _line(outcome: Outcome) -> Line:
    bad = outcome.count.failed
    text = f"{'✘' if bad else '✔'} {outcome.stage.name:<24} {outcome.seconds:6.1f} s   {outcome.count}"
    return Line(text, style="BROKEN" if bad else "met")


def _count(junit: Path) -> Count:
    """The tests that a JUnit file tells of. One that is missing or cut short tells of nothing."""
    try:
        root = ET.parse(junit).getroot()  # noqa: S314 - written by our own tests a moment ago
    except (OSError, ET.ParseError):
        return Count()
    total = Count()
    for case in root.iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            total += Count(failed=1)
        elif "skipped" in kinds:
            total += Count(skipped=1)
        else:
            total += Count(passed=1)
    return total
