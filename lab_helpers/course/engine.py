"""Loads what the lessons declare and judges the learner's world by it. Knows no lesson by name."""

from __future__ import annotations

import difflib
import importlib.machinery
import importlib.util
import platform
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

from lab_helpers.core.errors import ExitCode, LabError, MachineError, UsageError
from lab_helpers.core.events import Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.core.store import write_atomic
from lab_helpers.course import progress
from lab_helpers.course.declare import Lab, Task
from lab_helpers.course.verdict import CriterionResult, Evidence, Outcome, Verdict

if TYPE_CHECKING:
    from lab_helpers.course.world import World

WorldFor = Callable[[Place, str], "World"]
"""Makes the world that the checks of one lab look at, from the place and the lab's name."""

_FOLDER = re.compile(r"(\d\d)-([a-z0-9-]+)")


class BrokenLessonError(LabError):
    """A lesson's tasks.py cannot be used. That is a bug of the course, never the learner's."""

    exit_code = ExitCode.BROKEN


class _BrokenCheckError(Exception):
    """A check did not do what a check has to do; the text says what."""


def world_for(place: Place, lab: str) -> World:
    """The real world of a lab."""
    from lab_helpers.course.world import World

    return World(place=place, lab=lab)


def lab_names(place: Place) -> list[str]:
    """The names of all labs, in order. Nothing is imported."""
    if not place.labs.is_dir():
        return []
    folders = (folder for folder in place.labs.iterdir() if _FOLDER.fullmatch(folder.name))
    return sorted(folder.name for folder in folders if (folder / "tasks.py").is_file())


def all_labs(place: Place) -> list[Lab]:
    """All labs, in order. Raises BrokenLessonError for the first one that cannot be loaded."""
    return [load_lab(place, name) for name in lab_names(place)]


def load_lab(place: Place, name: str | Lab) -> Lab:
    """The lab of that name ("01-virtual-machine") or number ("01" or "1").

    Raises UsageError, with the list and the nearest name, when there is none; BrokenLessonError when its tasks.py is
    broken.
    """
    if isinstance(name, Lab):
        return name
    names = lab_names(place)
    wanted = name.strip().lower()
    for known in names:
        number, title = known.split("-", 1)
        if wanted in (known, number, number.lstrip("0") or "0", title):
            return _import_lab(place.labs / known)
    raise UsageError(
        f"There is no lab {name!r}.{_nearest(wanted, names)}",
        why="the labs are " + ", ".join(names) if names else f"there are no labs in {place.labs}",
        do="run `lab list`",
    )


def find_task(lab: Lab, name: str) -> Task:
    """The task of that name. Raises UsageError with the list and the nearest name."""
    task = lab.tasks.get(name)
    if task is None:
        raise UsageError(
            f"The lab {lab.name} has no task {name!r}.{_nearest(name, lab.tasks)}",
            why="its tasks are " + ", ".join(lab.tasks),
            do=f"run `lab status {lab.name.split('-')[0]}`",
        )
    return task


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


class _FreshLoader(importlib.machinery.SourceFileLoader):
    """Compiles the source each time: who saves twice within a second must not get the older one's bytecode."""

    def get_code(self, fullname: str) -> CodeType | None:
        del fullname
        return self.source_to_code(self.get_data(self.path), self.path)


def _import_lab(folder: Path) -> Lab:
    """Import tasks.py as a package of its own, so that it can be split: `from .near import other_memory`."""
    path = folder / "tasks.py"
    name = "lab_tasks_" + folder.name.replace("-", "_")
    for loaded in [key for key in sys.modules if key == name or key.startswith(name + ".")]:
        del sys.modules[loaded]
    loader = _FreshLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader, submodule_search_locations=[str(folder)])
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - whatever a lesson's file does wrong, the reader gets a sentence
        del sys.modules[name]
        at = _line_in(error, path)
        raise _broken_lesson(path, f"{type(error).__name__}{at}: {error}") from None
    lab = getattr(module, "LAB", None)
    if not isinstance(lab, Lab):
        raise _broken_lesson(path, "it has no `LAB = Lab(...)`")
    if lab.name != folder.name:
        raise _broken_lesson(path, f"its LAB is named {lab.name!r}, and its folder {folder.name!r}")
    return lab


def _broken_lesson(path: Path, why: str) -> BrokenLessonError:
    return BrokenLessonError(
        f"The lesson {path.parent.name} is broken: this is a bug of the course, not yours.",
        why=f"{path}: {why}",
        do="bring the file back as it was (`git checkout`), or report it with these lines",
    )


def _line_in(error: Exception, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f" in line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" in line {lines[-1]}" if lines else ""


def check_task(
    place: Place, lab: Lab | str, task: str, *, record: bool = True, world_for: WorldFor = world_for
) -> Verdict:
    """Look at the world for one task, now. With `record` the verdict is stored as progress.

    Raises UsageError for an unknown lab or task, MachineError when the progress cannot be stored, and nothing for what
    the check itself does: a MachineError out of it gives BLOCKED, any other exception BROKEN. KeyboardInterrupt passes.
    """
    lab = load_lab(place, lab)
    declared = find_task(lab, task)
    began = time.monotonic()
    seen: dict[str, Evidence] = {}
    outcome, finding, reason, report = Outcome.NOT_YET, "", "", ""
    try:
        for evidence in _look(declared, world_for(place, lab.name)):
            _take(declared, evidence, seen)
    except MachineError as error:
        outcome, finding, reason = Outcome.BLOCKED, error.finding, str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a bug in a check must never look like the learner's
        outcome = Outcome.BROKEN
        reason, report = _broken_reason(place, lab, declared, error)
    criteria = tuple(
        CriterionResult(id=name, text=text, points=points, evidence=seen.get(name))
        for name, (points, text) in declared.criteria.items()
    )
    unmet = next((c for c in criteria if not c.ok), None)
    if outcome is Outcome.NOT_YET and unmet is None:
        outcome = Outcome.PASSED
    verdict = Verdict(
        lab=lab.name,
        task=task,
        outcome=outcome,
        criteria=criteria,
        state=unmet.evidence.state if unmet and unmet.evidence else "",
        finding=finding,
        reason=reason,
        report=report,
        seconds=round(time.monotonic() - began, 3),
    )
    if record:
        progress.record_verdict(place, verdict)
        if verdict.passed and declared.served:
            from lab_helpers.course import passport

            passport.stamp(place, lab, declared, lambda: world_for(place, lab.name))
    return verdict


def _look(task: Task, world: World) -> Iterable[Evidence]:
    looked = task.check(world)
    if not hasattr(looked, "__next__"):
        raise _BrokenCheckError("the check yields no evidence: it is not a generator")
    return looked


def _take(task: Task, evidence: Evidence, seen: dict[str, Evidence]) -> None:
    if not isinstance(evidence, Evidence):
        raise _BrokenCheckError(f"the check yielded {type(evidence).__name__} and not Evidence")
    if evidence.criterion not in task.criteria:
        raise _BrokenCheckError(
            f"the check yielded the criterion {evidence.criterion!r}; declared are {', '.join(task.criteria)}"
        )
    if evidence.criterion in seen:
        raise _BrokenCheckError(f"the check yielded the criterion {evidence.criterion!r} twice")
    seen[evidence.criterion] = evidence


def _broken_reason(place: Place, lab: Lab, task: Task, error: BaseException) -> tuple[str, str]:
    """What the learner reads about a bug of ours, and the command that prints the file with its traceback."""
    said = str(error).splitlines()[0] if str(error).strip() else "it gave no reason"
    what = f"{type(error).__name__}: {said}" if not isinstance(error, _BrokenCheckError) else said
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    log = place.state / "logs" / f"broken-{stamp}-{lab.name}-{task.id}.txt"
    about = f"{lab.name} {task.id}, Python {platform.python_version()}, {platform.platform()}\n\n"
    try:
        write_atomic(log, about + "".join(traceback.format_exception(error)))
    except OSError:
        return f"{what}. Nothing is wrong with your work. Please report it with this line.", ""
    return (
        f"{what}. Nothing is wrong with your work. Please report it with the file {log}.",
        f"cat {shlex.quote(str(log))}",
    )


def hints_for(task: Task, verdict: Verdict) -> tuple[str, ...]:
    """The hints for what the check saw, from a nudge to nearly the answer. None unless the verdict is NOT_YET."""
    if verdict.outcome is not Outcome.NOT_YET:
        return ()
    return tuple(task.hints.get(verdict.state) or task.hints.get("") or ())


@dataclass(frozen=True)
class Hint:
    """One hint: `number` of `total` for the state that `verdict` saw. Without a hint both are 0 and `text` is empty."""

    verdict: Verdict
    text: str = ""
    number: int = 0
    total: int = 0
    fresh: bool = False
    """False when the learner had this one before: there is no further one."""


def next_hint(place: Place, lab: Lab | str, task: str, *, world_for: WorldFor = world_for) -> Hint:
    """Look, and give the next hint for what is seen now; the last one is repeated. What was shown is remembered.

    The first one came with the last check already, if that one saw the same.
    """
    lab = load_lab(place, lab)
    before = progress.verdicts(place, lab.name, task)[-1:]
    verdict = check_task(place, lab, task, world_for=world_for)
    hints = hints_for(find_task(lab, task), verdict)
    if not hints:
        return Hint(verdict)
    came_with_it = [entry.state for entry in before if entry.outcome is Outcome.NOT_YET] == [verdict.state]
    shown = max(progress.hints_shown(place, lab.name, task, verdict.state), int(came_with_it))
    number = min(shown + 1, len(hints))
    progress.record_hint(place, lab.name, task, verdict.state, number)
    return Hint(verdict, hints[number - 1], number, len(hints), fresh=number > shown)


def prepare(place: Place, lab: Lab | str, tell: Tell = silent) -> None:
    """Bring what the lab builds upon, so that its steps need not wait for it.

    Raises MachineError where this machine can neither fetch nor build it.
    """
    lab = load_lab(place, lab)
    if lab.guest:
        from lab_helpers.images.guest_image import guest_image

        guest_image(place, tell)
    if lab.needs_engine:
        from lab_helpers.images.base_image import base_image

        base_image(place, tell)
    if lab.needs_cluster:
        from lab_helpers.images.node_image import node_image
        from lab_helpers.images.programs import kind_program, kubectl_program

        kind_program(place, tell)
        node_image(place, tell)
        kubectl_program(place, tell)
