"""`lab test`: everything that proves this course, stage by stage, with one count at the end.

The stages stand in two rows that run side by side: one uses the machine's container engine, whose contents are one for
all, and the other does not. A stage is shown when it has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
    env: Mapping[str, str] = field(default_factory=dict)
    """What is added to the environment."""

    @property
    def file(self) -> str:
        return self.name.replace(" ", "-")

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


Row = tuple[Stage, ...]
NO_ENGINE = {"DOCKER_HOST": "unix:///there/is/none"}
"""Without it a test that cleans up would find what the other row has in the engine."""


def rows(place: Place, *, full: bool) -> tuple[Row, Row]:
    """What is run: the row without the engine and the row with it, each in its order."""
    from lab_helpers.course.engine import all_labs

    tool = str(Path(sys.executable).parent) + "/"
    pytest = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    lab = (sys.executable, "-m", "lab_helpers.cli")
    labs = all_labs(place)

    def tests(name: str, marks: str, env: Mapping[str, str] | None = None) -> Stage:
        return Stage(name, (*pytest, "tests", "-m", marks), counts=True, env=env or {})

    def prove(name: str, *, engine: bool) -> Stage:
        names = (each.name for each in labs if each.needs_engine is engine)
        # Two proofs of one place would wait for each other, so each has a place of its own.
        env = {**({} if engine else NO_ENGINE), "LAB_STATE": str(place.state / "tests" / name.replace(" ", "-"))}
        return Stage(name, (*lab, "prove", *names), counts=True, env=env)

    without = [
        tests("unit and contract", "not live and not browser and not full", NO_ENGINE),
        Stage("pinboard", (*pytest, "labs/pinboard/tests"), counts=True),
        tests("live", "live and not browser and not engine and not full", NO_ENGINE),
        tests("browser", "browser and not engine and not full", NO_ENGINE),
        prove("prove", engine=False),
    ]
    within = [
        Stage("ruff check", (tool + "ruff", "check")),
        Stage("ruff format", (tool + "ruff", "format", "--check")),
        Stage("mypy", (sys.executable, "-m", "mypy")),
        Stage("imports", (tool + "lint-imports",)),
        Stage("notebooks are of today", (*lab, "build", "--check")),
        tests("engine", "live and engine and not browser and not full"),
        tests("browser with the engine", "browser and engine and not full"),
        prove("prove with the engine", engine=True),
    ]
    if full:
        without.append(tests("full", "full and not engine", NO_ENGINE))
        within.append(tests("full with the engine", "full and engine"))
    return tuple(without), tuple(within)


def run_tests(place: Place, *, full: bool, screen: Screen, chosen: Sequence[Row] | None = None) -> ExitCode:
    """Run every stage, also after one has failed. The last line says `N passed, N failed, N skipped`."""
    (place.state / "tests").mkdir(parents=True, exist_ok=True)
    return _Run(place, screen).all(rows(place, full=full) if chosen is None else chosen)


class _Run:
    """One run of the rows. What is written to the screen is written by one of them at a time."""

    def __init__(self, place: Place, screen: Screen) -> None:
        self._place, self._screen = place, screen
        self._folder = place.state / "tests"
        self._writing = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._over = False

    def all(self, rows: Sequence[Row]) -> ExitCode:
        with ThreadPoolExecutor(len(rows)) as pool:
            try:
                outcomes = [outcome for done in pool.map(self._row, rows) for outcome in done]
            except BaseException:
                self._stop()
                raise
        total = sum((outcome.count for outcome in outcomes), Count())
        self._screen.show([Line(""), *(_line(outcome) for outcome in outcomes)])
        self._screen.say(str(total))
        return ExitCode.NOT_YET if total.failed else ExitCode.PASSED

    def _stop(self) -> None:
        """After Ctrl-C, which the stages have heard as well where there is a terminal."""
        self._over = True
        for process in list(self._running):
            process.terminate()

    def _row(self, stages: Row) -> list[Outcome]:
        return [self._stage(stage) for stage in stages if not self._over]

    def _stage(self, stage: Stage) -> Outcome:
        junit, log = self._folder / f"{stage.file}.xml", self._folder / f"{stage.file}.log"
        junit.unlink(missing_ok=True)
        command = stage.command(junit)
        began = time.monotonic()
        code = self._run(command, log, stage.env)
        count = _count(junit) if stage.counts else Count()
        if code == 0 and not stage.counts:
            count = Count(passed=1)
        elif code != 0 and count.failed == 0:
            count += Count(failed=1)  # it broke down without naming a test, or found none
        outcome = Outcome(stage, count, time.monotonic() - began)
        with self._writing:
            self._screen.show([Line(f"\n── {stage.name}: {pasteable(command)}", style="head")])
            self._screen.say(log.read_text(encoding="utf-8", errors="replace").rstrip())
            self._screen.show([_line(outcome)])
        return outcome

    def _run(self, command: list[str], log: Path, env: Mapping[str, str]) -> int:
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command,
                cwd=self._place.root,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
            )
            self._running.add(process)
            try:
                return process.wait()
            finally:
                self._running.discard(process)


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
