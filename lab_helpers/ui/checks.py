"""One check or hint as the learner asks for it, in terminal or notebook: the verdict and the hints so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

from lab_helpers.course.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.declare import Lab
    from lab_helpers.course.progress import LabProgress

SEVERITY = (Outcome.PASSED, Outcome.NOT_YET, Outcome.BLOCKED, Outcome.BROKEN)


class LabVerdicts(BaseModel):
    """What `lab check LAB --json` prints: the verdict of each task, and the gravest outcome among them."""

    model_config = ConfigDict(frozen=True)

    lab: str
    outcome: Outcome
    verdicts: tuple[Verdict, ...]

    @classmethod
    def of(cls, lab: str, verdicts: Sequence[Verdict]) -> Self:
        """The verdicts of one lab together. A lab without tasks is PASSED."""
        outcome = max((v.outcome for v in verdicts), key=SEVERITY.index, default=Outcome.PASSED)
        return cls(lab=lab, outcome=outcome, verdicts=tuple(verdicts))


@dataclass(frozen=True)
class Answer:
    """A verdict with the hints that the learner has seen for this state, out of `total` that there are."""

    verdict: Verdict
    hints: tuple[str, ...] = ()
    total: int = 0
    tried: bool = False
    """The learner has tried: at least TRIES checks of their own said NOT_YET."""
    solution: tuple[str, ...] = ()
    """The cells that solve the step, where they are to be shown."""
    way: str = ""
    """How far the learner is in this lab, in one line."""

    @property
    def more(self) -> bool:
        """True while another hint is to be had."""
        return len(self.hints) < self.total

    @property
    def may_see_solution(self) -> bool:
        """True when there is no further hint, and the learner has tried."""
        return self.verdict.outcome is Outcome.NOT_YET and not self.more and self.tried


TRIES = 2


def ask_check(place: Place, lab: Lab, task: str) -> Answer:
    """Check the task now; the answer carries the first hint for what was seen, and those that were shown before."""
    from lab_helpers.course import engine, progress

    verdict = engine.check_task(place, lab, task)
    return _answer(place, lab, verdict, max(1, progress.hints_shown(place, lab.name, task, verdict.state)))


def ask_hint(place: Place, lab: Lab, task: str) -> Answer:
    """Check the task now; the answer carries one hint more than the learner had for what was seen.

    Who has had them all, and has tried, gets the solution of the step.
    """
    from lab_helpers.course import engine

    hint = engine.next_hint(place, lab, task)
    answer = _answer(place, lab, hint.verdict, hint.number)
    if answer.may_see_solution and not hint.fresh:
        return replace(answer, solution=solution_of(place, lab, task))
    return answer


def solution_of(place: Place, lab: Lab, task: str) -> tuple[str, ...]:
    """The cells of the lesson that solve the task."""
    from lab_helpers.course.lesson import read_lesson

    return read_lesson(place.labs / lab.name / "lab.md").solution(task)


def _answer(place: Place, lab: Lab, verdict: Verdict, shown: int) -> Answer:
    from lab_helpers.course import engine, progress

    hints = engine.hints_for(engine.find_task(lab, verdict.task), verdict)
    return Answer(
        verdict,
        hints[:shown],
        len(hints),
        tried=progress.own_tries(place, lab.name, verdict.task) >= TRIES,
        way=way_text(lab, progress.read(place).lab(lab.name)),
    )


def way_text(lab: Lab, done: LabProgress) -> str:
    """`Lab 02: 1 of 3 tasks, 9 of 20 points; next: image`."""
    from lab_helpers.course.progress import lab_totals

    totals = lab_totals(lab, done)
    left = [name for name in lab.tasks if not done.task(name).passed]
    further = f"next: {left[0]}" if left else "the lab is done"
    number = lab.name.split("-", 1)[0]
    return (
        f"Lab {number}: {totals.passed} of {totals.tasks} task{'' if totals.tasks == 1 else 's'}, "
        f"{totals.points} of {totals.total} points; {further}"
    )
