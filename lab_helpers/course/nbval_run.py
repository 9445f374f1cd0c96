"""The second run of a solution: by pytest with nbval, which compares every cell with its reference output."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from lab_helpers.core.errors import LabError
from lab_helpers.core.processes import run_session
from lab_helpers.core.settings import Place
from lab_helpers.course.lesson import KERNEL_NAME
from lab_helpers.course.reference import write_sanitizer
from lab_helpers.course.rules import Rules

SOLUTION = "solution.ipynb"


@dataclass(frozen=True)
class CellFailure:
    """A cell that failed or whose output is not the reference. `number` counts code cells from 0."""

    number: int
    said: str


def compare(place: Place, lab: str, rules: Rules) -> list[CellFailure]:
    """Run the lab's solution.ipynb in its work folder by nbval; returns the cells that did not do as stored.

    Call it in `environment(place)`. Raises LabError when pytest could not run at all.
    """
    work = place.work / lab
    shutil.copyfile(place.labs / lab / SOLUTION, work / SOLUTION)
    folder = place.state / "logs" / "nbval"
    folder.mkdir(parents=True, exist_ok=True)
    sanitizer = write_sanitizer(place, folder / "sanitize.cfg")
    config = folder / "pytest.ini"
    config.write_text("[pytest]\njunit_family = xunit2\n", encoding="utf-8")
    report = folder / f"{lab}.xml"
    report.unlink(missing_ok=True)
    argv = [
        *(sys.executable, "-P", "-m", "pytest", "-q", "--color=no", "-c", str(config), "--rootdir", str(work)),
        *(
            "--noconftest",
            "-p",
            "no:cacheprovider",
            "-p",
            "nbval.plugin",
            "--nbval",
            f"--nbval-kernel-name={KERNEL_NAME}",
        ),
        *(f"--nbval-sanitize-with={sanitizer}", f"--nbval-cell-timeout={rules.cell_s}", f"--junitxml={report}"),
        str(work / SOLUTION),
    ]
    said = _pytest(argv, work, folder / f"{lab}.log")
    if not report.is_file():
        raise LabError("The second run, by nbval, did not take place.", why=said[-2000:], do="run `lab prove` again")
    return _failures(report)


def _pytest(argv: list[str], cwd: Path, log: Path) -> str:
    """Run pytest to its end, in a session of its own that does not outlive us; returns what it said."""
    env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    run_session(argv, log=log, cwd=cwd, env=env, tick=lambda: None, grace_s=0)
    return log.read_text(encoding="utf-8", errors="replace")


def _failures(report: Path) -> list[CellFailure]:
    found = []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own pytest wrote it
        number = re.search(r"\d+$", case.get("name", ""))
        for kind in ("failure", "error"):
            for failure in case.findall(kind):
                text = (failure.text or failure.get("message") or "").strip()
                found.append(CellFailure(int(number[0]) if number else 0, text))
    return found
