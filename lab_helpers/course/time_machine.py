"""The time machine: brings a lab's world and files to the state before or after any of its tasks.

There are two ways. To solve again: everything is taken back to the lab's beginning, and the solution's cells run up to
the task; what is right on the way is saved. From a saved state: what it holds is put in place, and the task's check has
the last word. Whatever goes wrong there, the first way follows. Both begin by clearing the ground, so that an
interrupted journey needs no repair. A journey says nothing about what the learner has done: nothing is recorded.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil
from pydantic import BaseModel, ConfigDict, computed_field

from lab_helpers.core.errors import ExitCode, LabError, WaitTimeoutError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.settings import UNRECORDED, Place
from lab_helpers.core.store import locked, write_atomic
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import incidents, saved_states
from lab_helpers.course.declare import Lab
from lab_helpers.course.engine import check_task, find_task, load_lab, prepare
from lab_helpers.course.lesson import Lesson, Section, read_lesson
from lab_helpers.course.rules import Rules
from lab_helpers.course.runner import environment
from lab_helpers.course.saved_states import Facts, SavedState
from lab_helpers.course.solve import run_solution
from lab_helpers.course.verdict import Outcome, Verdict
from lab_helpers.course.workspace import is_notebook, note_placed, open_lab, set_aside

if TYPE_CHECKING:
    from lab_helpers.course.world import World

CONFIRM_S = 20
"""How long what was brought back may take until its check passes, in seconds: its programs start anew."""
MARK = "LAB_JOURNEY"
"""In the environment of all that a journey's solution starts: who clears away after a kill knows them by it."""


class Arrival(BaseModel):
    """How a journey ended. `lab goto --json` prints it."""

    model_config = ConfigDict(frozen=True)

    lab: str
    task: str
    before: bool
    """The state as the task begins; else the one after it is solved."""
    way: Literal["saved", "solved", "fresh"]
    """From a saved state; by solving again; or to the lab's very beginning."""
    seconds: float
    """How long it took to get there; from a saved state, the look whether it is so is part of it."""
    kept: str = ""
    """Where what the learner wrote is kept; empty: nothing had to be."""
    verdict: Verdict
    """Of the task's check, there."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def right(self) -> bool:
        """The check says what it should say there."""
        return self.verdict.outcome is (Outcome.NOT_YET if self.before else Outcome.PASSED)

    @property
    def exit_code(self) -> ExitCode:
        """Of `lab goto`."""
        if self.right:
            return ExitCode.PASSED
        return ExitCode.NOT_YET if self.before and self.verdict.passed else ExitCode(self.verdict.outcome.exit_code)


class NotThereError(LabError):
    """A saved state was brought back, and its check does not say what it said then."""


def goto(
    place: Place,
    lab: Lab | str,
    task: str,
    *,
    before: bool = False,
    tell: Tell = silent,
    rules: Rules | None = None,
    use_saved: bool = True,
) -> Arrival:
    """Bring the lab to the state after `task` is solved, or as it begins. `use_saved` False: by solving again.

    What the learner wrote is kept aside, except notebooks, which stay as they are. Main thread only. Interrupted at any
    point, it can be called again. Raises UsageError; MachineError; CellError when the solution fails; LabError when
    another journey is under way.
    """
    rules = rules or Rules()
    lab = load_lab(place, lab)
    find_task(lab, task)
    lesson = read_lesson(place.labs / lab.name / "lab.md")
    with _under_way(place, tell) as token, environment(place, rules.kernel), _marked(token):
        prepare(place, lab, tell)
        return _Journey(place, lab, lesson, task, before, rules, tell).go(use_saved=use_saved)


class _Journey:
    def __init__(
        self, place: Place, lab: Lab, lesson: Lesson, task: str, before: bool, rules: Rules, tell: Tell
    ) -> None:
        self.place, self.lab, self.lesson, self.task, self.before = place, lab, lesson, task, before
        self.rules, self.tell = rules, tell
        self.world: World = rules.world_for(place, lab.name)
        self.kept: Path | None = None
        self._verdict: Verdict | None = None
        """What was seen when a saved state was confirmed."""
        sections = [section for section in lesson.sections() if section.task in lab.tasks]
        names = [section.task for section in sections]
        if task not in names:
            raise LabError(
                f"The lesson {lab.name} never comes to the task {task}.", do="report it: it is a bug of ours"
            )
        count = names.index(task) + (not before)
        self.sections = sections[:count]
        """Those that are behind us when we arrive."""
        self._world_key: str | None = None

    def go(self, *, use_saved: bool) -> Arrival:
        began = time.monotonic()
        incidents.forget(self.place, self.lab.name)
        way: Literal["saved", "solved", "fresh"] = "fresh"
        if not self.sections:
            self._clear()
        elif use_saved and self._from_saved():
            way = "saved"
        else:
            began, self._verdict = time.monotonic(), None
            self._solve()
            way = "solved"
        seconds = time.monotonic() - began
        verdict = self._verdict or self._look(self.task)
        return Arrival(
            lab=self.lab.name,
            task=self.task,
            before=self.before,
            way=way,
            seconds=round(seconds, 3),
            kept=str(self.kept or ""),
            verdict=verdict,
        )

    # -- from a saved state -------------------------------------------------------------------------------------------

    def _from_saved(self) -> bool:
        """True when we are there. Else the world is as it was, or is to be cleared."""
        last = self.sections[-1]
        state = saved_states.find(self.place, self.lab, last.task, self._key(last))
        if state is None or state.facts.useless:
            return False
        try:
            if why := self.world.cannot_bring(self.lab, state.world):
                self.tell(Note(f"The saved state cannot be used: {why}. The solution runs again."))
                return False
            self._bring(state)
            self._confirm(state)
        except NotThereError as error:
            state.give_up(error.why)
            self.tell(Note(f"{error.what} The solution runs again."))
            return False
        except Exception as error:  # noqa: BLE001 - whatever goes wrong here, there is the other way
            said = error.what if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
            why = error.why if isinstance(error, LabError) else ""
            self.tell(Note(f"The saved state could not be brought back: {said} {why}".strip()))
            self.tell(Note("The solution runs again."))
            return False
        state.used()
        return True

    def _bring(self, state: SavedState) -> None:
        self.tell(Progress(f"{self.lab.name}: back to a saved state", typical_s=3))
        self._fresh_files()
        work = self.place.work / self.lab.name
        for item in list(work.iterdir()):
            if item.is_dir() and not item.is_symlink() and item.name != ".ipynb_checkpoints":
                shutil.rmtree(item)
            elif not item.is_dir() and not is_notebook(item.name):
                item.unlink()
        shutil.copytree(state.files, work, symlinks=True, dirs_exist_ok=True)
        note_placed(self.place, self.lab.name)
        self.world.bring(self.lab, state.world, self.tell)

    def _confirm(self, state: SavedState) -> None:
        """What passed when the state was saved passes again; a task that is to come does not."""
        waiting = list(state.facts.passed)
        blocked = ""

        def passes() -> bool:
            nonlocal blocked
            while waiting:
                verdict = self._look(waiting[0])
                blocked = verdict.reason if verdict.outcome is Outcome.BLOCKED else ""
                self._verdict = verdict if waiting[0] == self.task else self._verdict
                if not verdict.passed:
                    raise LabError(f"the check of {waiting[0]} says {verdict.outcome}, {verdict.state or 'no state'}")
                waiting.pop(0)
            return True

        self.tell(Progress(f"{self.lab.name}: looking whether it is so", typical_s=2))
        try:
            wait_for(passes, "it to be as it was", timeout_s=CONFIRM_S, interval_s=0.2)
        except WaitTimeoutError as error:
            if blocked:  # the machine's trouble, and not the state's
                raise LabError(blocked) from None
            raise NotThereError("Brought back, the saved state is not what it was.", why=error.why) from None
        if not self.before:
            return
        self._verdict = verdict = self._look(self.task)
        if verdict.outcome is not Outcome.NOT_YET:
            raise NotThereError(
                "Brought back, the saved state is not what it was.", why=f"{self.task}: {verdict.outcome}"
            )

    # -- by solving again ---------------------------------------------------------------------------------------------

    def _solve(self) -> None:
        self._clear()
        self._began = time.monotonic()
        last = self.sections[-1].check
        wanted = {section.task for section in self.sections}

        def arrived(section: Section) -> None:
            if section.task in wanted:
                self._save(section)

        try:
            run_solution(self.place, self.lab, self.lesson, last, self.tell, self.rules, arrived=arrived)
        finally:
            note_placed(self.place, self.lab.name)

    def _clear(self) -> None:
        """To the lab's beginning."""
        self.tell(Progress(f"{self.lab.name}: back to the beginning"))
        self.world.reset(self.lab)
        self._fresh_files()

    def _fresh_files(self) -> None:
        self.kept = set_aside(self.place, self.lab.name, self.tell, notebooks=False) or self.kept
        open_lab(self.place, self.lab, self.tell, world_for=self.rules.world_for)
        note_placed(self.place, self.lab.name)

    def _save(self, section: Section) -> None:
        """Save the state after a section if its task passes there, and it is not saved yet."""
        state_key = self._key(section)
        old = saved_states.find(self.place, self.lab, section.task, state_key)
        if old and (old.facts.useless or not self.world.cannot_bring(self.lab, old.world)):
            return
        if not self._look(section.task).passed or not saved_states.has_room(self.place):
            return
        self.tell(Progress(f"{self.lab.name}: saving the state after {section.task}", typical_s=2))
        facts = Facts(
            lab=self.lab.name,
            task=section.task,
            passed=(section.task, *(name for name in self._below(section.task) if self._look(name).passed)),
            solved_s=round(time.monotonic() - self._began, 3),
        )
        work = self.place.work / self.lab.name
        try:
            with saved_states.writing(self.place, self.lab, state_key, facts) as state:
                self.world.save(self.lab, state.world, f"{self.lab.name[:2]}-{section.task}-{state_key}")
                shutil.copytree(work, state.files, symlinks=True, ignore=_not_the_worlds(work))
            saved_states.make_room(self.place)
        except Exception as error:  # noqa: BLE001 - without it the next journey takes longer, and that is all
            said = str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
            self.tell(Note(f"The state after {section.task} is not saved: {said}"))
        self.world.forget_saved()

    def _below(self, task: str) -> list[str]:
        """The tasks that a task builds upon, and those below them."""
        found: list[str] = []
        ahead = list(self.lab.tasks[task].after)
        while ahead:
            name = ahead.pop(0)
            if name not in found and name in self.lab.tasks:
                found.append(name)
                ahead += self.lab.tasks[name].after
        return found

    # -- both ways ----------------------------------------------------------------------------------------------------

    def _key(self, section: Section) -> str:
        if self._world_key is None:
            self._world_key = self.world.saved_key(self.lab)
        return saved_states.key(self.place, self.lab, self.lesson, section, self._world_key)

    def _look(self, task: str) -> Verdict:
        return check_task(self.place, self.lab, task, record=False, world_for=self.rules.world_for)


def _not_the_worlds(work: Path) -> Callable[[str, list[str]], set[str]]:
    def ignore(folder: str, names: list[str]) -> set[str]:
        caches = {name for name in names if name in ("__pycache__", ".ipynb_checkpoints")}
        return caches | ({name for name in names if is_notebook(name)} if Path(folder) == work else set())

    return ignore


# -- one at a time, and clean after a kill ----------------------------------------------------------------------------


@contextlib.contextmanager
def _under_way(place: Place, tell: Tell) -> Iterator[str]:
    """Be the only journey of this place; what a killed one still does is ended first. Yields the mark of this one."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(place.state / "journey.lock", timeout_s=0))
        except WaitTimeoutError:
            raise LabError(
                "Another journey is under way in this place.", do="wait for it, or stop it, and try again"
            ) from None
        record = place.state / "journey.json"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if _end_marked(str(json.loads(record.read_text())["mark"])):
                tell(Note("A journey that was broken off had left something running; it is ended."))
        token = secrets.token_hex(8)
        write_atomic(record, json.dumps({"mark": token}))
        try:
            yield token
        except BaseException:
            _end_marked(token)
            raise
        finally:
            record.unlink(missing_ok=True)


@contextlib.contextmanager
def _marked(token: str) -> Iterator[None]:
    """Let all that is started bear the mark, and nothing of it count as the learner's. `environment` undoes it."""
    os.environ[MARK] = token
    os.environ[UNRECORDED] = "1"
    yield


def _end_marked(token: str) -> int:
    """End at once every process with that mark. Returns how many there were."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == token:
                process.send_signal(signal.SIGKILL)
                found.append(process)
    psutil.wait_procs(found, timeout=1)
    return len(found)
