"""`lab setup` and `lab uninstall`: from a Python environment to a course that can start, and back to nothing."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lab_helpers.core.errors import ExitCode, MachineError, UsageError
from lab_helpers.core.settings import Place, in_ci

if TYPE_CHECKING:
    from lab_helpers.doctor import Report
    from lab_helpers.ui.terminal import Screen

FIRST_LABS = ("00", "01")
"""What setup itself prepares; `lab prepare` does the others."""
CACHES = ("images", "tools", "bin")
"""What the course keeps below LAB_HOME."""


def run_setup(place: Place, *, yes: bool, for_tests: bool, screen: Screen) -> ExitCode:
    """Examine, cure what can be cured (asking first, unless `yes` or in CI), prepare the first labs, open JupyterLab.

    `for_tests` asks for what the tests need as well, and opens nothing. Run again it finds all of it done, and takes
    seconds. Raises MachineError when something that is required is still missing in the end.
    """
    from lab_helpers.course.engine import all_labs, prepare
    from lab_helpers.ui.doctor import report_lines
    from lab_helpers.ui.jupyter import install_kernel, open_course

    report = _cured(place, yes=yes or in_ci(), for_tests=for_tests, screen=screen)
    screen.show(report_lines(report))
    if failed := report.failed():
        raise MachineError(
            f"This machine cannot run the course yet: {', '.join(finding.id for finding in failed)}.",
            finding=failed[0].id,
            do="follow the advice beside each ✘ above, then run the same again",
        )
    for lab in all_labs(place):
        if for_tests or lab.name[:2] in FIRST_LABS:
            prepare(place, lab, screen.tell)
    install_kernel(place)
    if not for_tests:
        opened = open_course(place, tell=screen.tell)
        screen.say(f"\nThe course is open: {opened.url}")
        screen.say("JupyterLab goes on in the background; `lab open` shows it again, `lab open --stop` ends it.")
    return ExitCode.PASSED


def _cured(place: Place, *, yes: bool, for_tests: bool, screen: Screen) -> Report:
    """The report on this machine, after the cures that were agreed to."""
    from lab_helpers.core.events import Progress
    from lab_helpers.doctor import examine, fix, plan
    from lab_helpers.ui.doctor import finding_lines

    screen.tell(Progress("looking at this machine", typical_s=2))
    report = examine(place, for_tests=for_tests)
    steps = plan(place, report)
    if not steps:
        return report
    screen.show(finding_lines(finding for finding in report.findings if finding.fixable))
    screen.say("\n".join(f"To do: {step}" for step in steps))
    if not yes and not screen.ask("Shall setup do that now?"):
        screen.say("Nothing was installed. `./setup.sh --yes` does it without asking.")
        return report
    fix(place, report, screen.tell)
    return examine(place, for_tests=for_tests)


def run_uninstall(place: Place, *, yes: bool, caches: bool, screen: Screen) -> ExitCode:
    """Undo the setup of this checkout: its VMs, its JupyterLab, its state and its environment, the engine it started.

    The caches, which other checkouts share, go with `caches` or when that is confirmed. The learner's work goes only
    when that is confirmed. Packages of the system stay; the command that removes them is shown.
    """
    from lab_helpers.course.workspace import clean_all
    from lab_helpers.doctor import installed_by_us, retire
    from lab_helpers.ui.jupyter import stop_jupyter

    if place.state != place.root / ".lab":
        raise UsageError(
            "LAB_STATE names a folder of your own, which `lab uninstall` does not touch.",
            do=f"run `lab clean`, remove {place.state} yourself, unset LAB_STATE and run `lab uninstall` again",
        )
    screen.say(f"This removes the virtual machines, the progress and the Python environment of {place.root}.")
    if not yes and not screen.ask("Go on?"):
        screen.say("Nothing was removed. Without a terminal to ask on, `lab uninstall --yes` does it.")
        return ExitCode.NOT_YET
    packages = installed_by_us(place)
    left = list(clean_all(place, screen.tell).left)
    stop_jupyter(place)
    left += retire(place, screen.tell)
    for folder in _chosen(place, caches=caches, screen=screen):
        left += _remove(folder)
    if place.home.is_dir() and not any(place.home.iterdir()):
        place.home.rmdir()
    left += _remove(place.sockets) + _remove(place.state)
    for line in _staying(place, packages):
        screen.say(line)
    left += _remove_environment(place)  # last of all: the program that runs now lives in there
    for line in left:
        screen.say(f"Left, and why: {line}")
    screen.say(f"Removed. What is left is the checkout itself: {place.root}")
    return ExitCode.NOT_YET if left else ExitCode.PASSED


def _chosen(place: Place, *, caches: bool, screen: Screen) -> list[Path]:
    """The folders that go only when somebody says so."""
    chosen = []
    kept = [place.home / name for name in CACHES if (place.home / name).exists()]
    if kept and (caches or screen.ask(f"Remove the caches in {place.home} too? Other checkouts use them as well.")):
        chosen += kept
    if place.work.exists() and screen.ask(f"Remove your own work in {place.work} too?"):
        chosen.append(place.work)
    return chosen


def _staying(place: Place, packages: list[str]) -> list[str]:
    lines = []
    if place.work.exists():
        lines.append(f"Your work stays in {place.work}.")
    if any((place.home / name).exists() for name in CACHES):
        lines.append(f"The caches stay in {place.home}; `lab uninstall --caches` would have removed them.")
    if packages:
        lines.append(f"Setup installed packages, which stay. To remove them: sudo apt-get remove {' '.join(packages)}")
    if Path(sys.prefix) != place.root / ".venv":
        lines.append("The environment of conda stays. To remove it: conda env remove --name vm-to-kubernetes")
    return lines


def _remove_environment(place: Place) -> list[str]:
    from lab_helpers.ui.jupyter import KERNEL

    with_conda = Path(sys.prefix) != place.root / ".venv"
    left = _remove(Path(sys.prefix) / "share" / "jupyter" / "kernels" / KERNEL) if with_conda else []
    return left + _remove(place.root / "vm_to_kubernetes.egg-info") + _remove(place.root / ".venv")


def _remove(folder: Path) -> list[str]:
    """Remove a folder; what cannot be removed is returned, with the reason."""
    left: list[str] = []
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        left.append(f"{error.filename or folder}: {error.strerror or error}")
    return left
