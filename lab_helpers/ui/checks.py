"""One check or hint as the learner asks for it, in terminal or notebook: the verdict and the hints so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

from lab_helpers.course.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.declare import Lab

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

    @property
    def more(self) -> bool:
        """True while another hint is to be had."""
        return len(self.hints) < self.total


def ask_check(place: Place, lab: Lab, task: str) -> Answer:
    """Check the task now; the answer carries the first hint for what was seen."""
    from lab_helpers.course import engine

    verdict = engine.check_task(place, lab, task)
    hints = engine.hints_for(engine.find_task(lab, task), verdict)
    return Answer(verdict, hints[:1], len(hints))


def ask_hint(place: Place, lab: Lab, task: str) -> Answer:
    """Check the task now; the answer carries one hint more than the learner had for what was seen."""
    from lab_helpers.course import engine

    hint = engine.next_hint(place, lab, task)
    if hint.number == 1 < hint.total:  # the first came with the check itself
        hint = engine.next_hint(place, lab, task)
    hints = engine.hints_for(engine.find_task(lab, task), hint.verdict)
    return Answer(hint.verdict, hints[: hint.number], len(hints))
