"""`lab prove`: runs each lab for real and shows that its verdicts can be trusted.

In a separate clean place, for each lab: every check fails first; the solution runs cell by cell, and each task passes
at its own cell and not before; each near miss is rejected for the reason that it names; after a reset, nbval runs the
solution once more and compares it with the reference outputs; at the end nothing is left over.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from lab_helpers.core.errors import LabError, MachineError, WaitTimeoutError
from lab_helpers.core.events import Progress, Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import build, nbval_run, progress, strays
from lab_helpers.course.declare import Lab, NearMiss, Task
from lab_helpers.course.engine import all_labs, check_task, hints_for, load_lab, prepare
from lab_helpers.course.lesson import Lesson, Section, read_lesson
from lab_helpers.course.limits import OvertimeError, time_limit
from lab_helpers.course.near import with_near_miss
from lab_helpers.course.proof import LabProof, Miss, Phase, ProofReport, TaskProof
from lab_helpers.course.rules import Rules
from lab_helpers.course.runner import CellError, Runner
from lab_helpers.course.separate import separate_place, turn
from lab_helpers.course.verdict import Outcome, Verdict
from lab_helpers.course.workspace import NOTEBOOK, clean_all, open_lab, reset

SETTLE_S = 3
"""How long processes have, after `clean`, to be gone, in seconds."""


class _AbandonError(Exception):
    """The solution cannot go on in a known state; why is among the misses already."""


class _CellFailedError(_AbandonError):
    """Because a cell failed: it would fail again."""


def prove(place: Place, labs: Sequence[str] = (), tell: Tell = silent, *, rules: Rules | None = None) -> ProofReport:
    """Prove these labs (none named: all). Main thread only. A second one of the same place waits for the first.

    Ctrl-C, at any time, removes the separate place and passes on.
    """
    rules = rules or Rules()
    chosen = [load_lab(place, name) for name in labs] or all_labs(place)
    with turn(place, rules, tell):
        return ProofReport(labs=[_prove_lab(place, lab, rules, tell) for lab in chosen])


def _prove_lab(place: Place, lab: Lab, rules: Rules, tell: Tell) -> LabProof:
    began = time.monotonic()
    proof = LabProof(
        lab=lab.name, tasks=[TaskProof(task=t.id, near_misses=len(t.near_misses)) for t in lab.tasks.values()]
    )
    for problem in build.problems(place, lab, rules):
        what = f"{problem.file}: {problem.what}" + (f"; run `{problem.do}`" if problem.do else "")
        proof.misses.append(Miss(lab=lab.name, phase="source", what=what))
    if all((place.labs / lab.name / name).is_file() for name in (NOTEBOOK, nbval_run.SOLUTION)):
        try:
            prepare(place, lab, tell)
            with separate_place(place, rules) as apart:
                _refuse_taken_names(apart, lab, rules)
                _Prover(apart, lab, rules, tell, proof).run()
        except MachineError as error:
            proof.blocked = f"{error.finding}: {error}"
        except LabError as error:
            proof.misses.append(Miss(lab=lab.name, phase="solution", what=error.what, evidence=str(error)))
    for row in proof.tasks:
        phases = {miss.phase for miss in proof.misses if miss.task == row.task}
        row.fail_first = row.fail_first and "fail-first" not in phases
        row.passes = row.passes and not phases & {"solution", "nbval"}
    proof.seconds = round(time.monotonic() - began, 3)
    return proof


def _refuse_taken_names(apart: Place, lab: Lab, rules: Rules) -> None:
    """The engine is one for all places: what is there under a name that the lab uses is in its way, and is not ours."""
    if taken := rules.world_for(apart, lab.name).taken(lab):
        raise LabError(
            f"The lab {lab.name} cannot run here: {', '.join(taken)} is there already.",
            why="it was there before, so it is not touched",
            do="`lab clean` removes it if this course made it; else rename it, and run this again",
        )


class _Prover:
    """One lab in its separate place. MachineError out of any step means that the machine is in the way."""

    def __init__(self, place: Place, lab: Lab, rules: Rules, tell: Tell, proof: LabProof) -> None:
        self.place, self.lab, self.rules, self.proof = place, lab, rules, proof
        self.lesson: Lesson = read_lesson(place.labs / lab.name / "lab.md")
        self._tell = tell
        self._done = 0
        self._cells_s = 0.0
        """How long the cells of the first run took together, in seconds."""
        near_misses = sum(len(task.near_misses) for task in lab.tasks.values())
        cells = sum(cell.is_code for cell in self.lesson.cells)
        self._steps = len(lab.tasks) + cells + near_misses + 2

    def run(self) -> None:
        spare = strays.children()
        open_lab(self.place, self.lab, world_for=self.rules.world_for)
        before = strays.files_in(self.place, self.lab.name)
        self._fail_first()
        once_more = True
        try:
            self._solution()
        except _AbandonError as error:
            once_more = not isinstance(error, _CellFailedError)
        if once_more:
            self._second_run()
        self._left_over(before, spare)

    # -- the five parts -----------------------------------------------------------------------------------------------

    def _fail_first(self) -> None:
        """In the clean state every check says NOT_YET, for a state that has hints."""
        for task in self.lab.tasks.values():
            self._step(f"clean state, {task.id}")
            verdict = self._look(task.id)
            self.proof.task(task.id).fail_first = True
            if verdict.outcome is not Outcome.NOT_YET:
                self._miss("fail-first", f"in a clean state the check says {verdict.outcome}", task.id, verdict)
            elif complaint := _without_hints(task, verdict):
                self._miss("fail-first", f"in a clean state {complaint}", task.id, verdict)

    def _solution(self) -> None:
        """The solution, cell by cell; the near misses of a task right after its check cell, while the kernel waits."""
        sections = self.lesson.sections()
        tail = range(sections[-1].check + 1 if sections else 0, len(self.lesson.cells))
        with Runner(self.place, self.lab.name, self.lesson, self.rules) as runner:
            for section in sections:
                if section.task not in self.lab.tasks:  # a miss already: the lint has said so
                    self._cells(runner, section.cells)
                    continue
                began = time.monotonic()
                try:
                    self._section(runner, section)
                finally:
                    self.proof.task(section.task).seconds = round(time.monotonic() - began, 3)
            self._cells(runner, tail)

    def _section(self, runner: Runner, section: Section) -> None:
        task, row = self.lab.tasks[section.task], self.proof.task(section.task)
        last = section.solutions[-1] if section.solutions else section.check
        for position in section.cells:
            if position == last and (verdict := self._look(task.id)).outcome is not Outcome.NOT_YET:
                what = f"before the last cell of its solution the check says {verdict.outcome}"
                self._miss("fail-first", what, task.id, verdict)
            stored = len(self._stored(task.id))
            self._cell(runner, position, task.id)
            if position == last:
                verdict = self._look(task.id)
                row.passes = verdict.passed
                if not verdict.passed:
                    self._miss("solution", f"after its solution the check says {verdict.outcome}", task.id, verdict)
            if position == section.check:
                self._has_passed(task.id, stored, "solution", "in the notebook")
        if row.passes:
            for near in task.near_misses:
                row.near_misses_rejected += self._near_miss(task, near)

    def _near_miss(self, task: Task, near: NearMiss) -> bool:
        """True when the near miss is rejected for the reason that it names, and undone."""
        self._step(f"near miss {task.id}/{near.id}")
        world = self.rules.world_for(self.place, self.lab.name)
        tried = with_near_miss(near, world, lambda: self._look(task.id), self.rules.near_miss_s)
        complaints = list(tried.complaints)
        if tried.verdict is not None:
            complaints += _not_rejected(task, near, tried.verdict)
        for complaint in complaints:
            self._miss("near-miss", f"{near.id}: {complaint}", task.id, tried.verdict)
        after = self._look(task.id)
        if not after.passed:
            self._miss("undo", f"{near.id}: after it is undone the check says {after.outcome}", task.id, after)
            raise _AbandonError
        return not complaints

    def _second_run(self) -> None:
        """Reset, then nbval runs the solution and compares it with the reference; every check cell says PASSED again.

        Only what they said counts: a later task may rightly undo what an earlier one was about.
        """
        self._step("reset")
        reset(self.place, self.lab, world_for=self.rules.world_for)
        for task in self.lab.tasks:
            verdict = self._look(task)
            if verdict.outcome is not Outcome.NOT_YET:
                self._miss("reset", f"after the reset the check says {verdict.outcome}", task, verdict)
        # As for somebody who has not been here before: what a hint says depends on what was tried.
        self.place.progress.unlink(missing_ok=True)
        self._step("second run, by nbval", typical_s=self._cells_s)
        code = [(position, cell) for position, cell in enumerate(self.lesson.cells) if cell.is_code]
        for failure in nbval_run.compare(self.place, self.lab.name, self.rules):
            position, cell = code[min(failure.number, len(code) - 1)]
            task = next((s.task for s in self.lesson.sections() if position in s.cells), "")
            what = f"the second run of the cell `{cell.first_line}` is not like the reference"
            self._miss("nbval", what, task if task in self.lab.tasks else "", failure.said)
        for task in self.lab.tasks:
            self._has_passed(task, 0, "nbval", "in the second run")

    def _left_over(self, before: strays.Files, spare: set[int]) -> None:
        """Clean up as the learner would; then nothing is there that was not there before."""
        self._tell(Progress(f"{self.lab.name}: clean", self._steps, self._steps, "steps"))
        found = list(clean_all(self.place, world_for=self.rules.world_for).left)
        try:
            wait_for(
                lambda: not strays.strays(self.place, spare=spare),
                "the lab's processes to be gone",
                timeout_s=SETTLE_S,
                interval_s=0.2,
            )
        except WaitTimeoutError:
            found += [stray.what for stray in strays.strays(self.place, spare=spare)]
        found += strays.changed(before, strays.files_in(self.place, self.lab.name))
        self.proof.left_over = found
        if found:
            self._miss("left-over", f"{len(found)} left over after `lab clean`", "", "\n".join(found))

    # -- small things -------------------------------------------------------------------------------------------------

    def _cells(self, runner: Runner, positions: range) -> None:
        for position in positions:
            self._cell(runner, position, "")

    def _cell(self, runner: Runner, position: int, task: str) -> None:
        cell = self.lesson.cells[position]
        if not cell.is_code:
            return
        self._step(f"solution, {cell.first_line}")
        began = time.monotonic()
        try:
            runner.run(position)
            self._cells_s += time.monotonic() - began
        except CellError as error:
            self._miss("solution", f"the cell `{cell.first_line}` failed", task, error.output)
            raise _CellFailedError from None

    def _look(self, task: str) -> Verdict:
        """Check a task without storing it. Raises MachineError when the machine is in the way."""
        what = f"the check of {self.lab.name} {task}"
        try:
            with time_limit(self.rules.check_s, what):
                verdict = check_task(self.place, self.lab, task, record=False, world_for=self.rules.world_for)
        except OvertimeError as error:
            verdict = Verdict(lab=self.lab.name, task=task, outcome=Outcome.BROKEN, reason=str(error))
        if verdict.outcome is Outcome.BLOCKED:
            raise MachineError(verdict.reason, finding=verdict.finding)
        return verdict

    def _stored(self, task: str) -> list[progress.VerdictEntry]:
        return progress.verdicts(self.place, self.lab.name, task)

    def _has_passed(self, task: str, before: int, phase: Phase, where: str) -> None:
        """A miss unless the last verdict that was stored after the first `before` ones is PASSED."""
        said = self._stored(task)[before:]
        if not said or said[-1].outcome is not Outcome.PASSED:
            saw = f"it said {said[-1].outcome}, state {said[-1].state!r}" if said else "no check was made"
            self._miss(phase, f"{where} its check cell does not say PASSED", task, saw)

    def _step(self, what: str, typical_s: float | None = None) -> None:
        self._tell(Progress(f"{self.lab.name}: {what}", self._done, self._steps, "steps", typical_s))
        self._done += 1

    def _miss(self, phase: Phase, what: str, task: str, seen: Verdict | str | None) -> None:
        evidence = told(seen) if isinstance(seen, Verdict) else seen or ""
        self.proof.misses.append(Miss(lab=self.lab.name, task=task, phase=phase, what=what, evidence=evidence))


def _not_rejected(task: Task, near: NearMiss, verdict: Verdict) -> list[str]:
    """Why this verdict does not reject the near miss as it should; empty when it does."""
    if verdict.outcome is not Outcome.NOT_YET:
        return [f"the check says {verdict.outcome} and not NOT_YET"]
    evidence = next(c.evidence for c in verdict.criteria if c.id == near.fails)
    if evidence is None:
        return [f"it is rejected before the criterion {near.fails} was looked at"]
    if evidence.ok:
        return [f"it is rejected, but the criterion {near.fails} counts as met"]
    if near.state and evidence.state != near.state:
        return [f"the criterion {near.fails} says the state {evidence.state!r} and not {near.state!r}"]
    complaint = _without_hints(task, verdict)
    return [complaint] if complaint else []


def _without_hints(task: Task, verdict: Verdict) -> str:
    """What keeps a learner who sees this verdict from a hint; empty when nothing does."""
    if not verdict.state:
        return "the check names no state for what it saw"
    return "" if hints_for(task, verdict) else f"there is no hint for the state {verdict.state!r}"


def told(verdict: Verdict) -> str:
    """A verdict in a few lines, for the report."""
    lines = [f"{verdict.outcome}, state {verdict.state!r}" + (f": {verdict.reason}" if verdict.reason else "")]
    for criterion in verdict.criteria:
        seen = criterion.evidence
        saw = f"saw {seen.saw!r}, expected {seen.expected!r}, state {seen.state!r}" if seen else "not looked at"
        lines.append(f"{criterion.id} {'met' if criterion.ok else 'not met'}: {saw}")
    return "\n".join(lines)
