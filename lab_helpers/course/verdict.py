"""What a check says: evidence by criterion, and the verdict that follows from it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, computed_field

from lab_helpers.core.errors import ExitCode


class Outcome(StrEnum):
    """PASSED and NOT_YET speak of the learner's work, BLOCKED of the machine, BROKEN of a bug of ours."""

    PASSED = "PASSED"
    NOT_YET = "NOT_YET"
    BLOCKED = "BLOCKED"
    BROKEN = "BROKEN"

    @property
    def exit_code(self) -> ExitCode:
        return {
            Outcome.PASSED: ExitCode.PASSED,
            Outcome.NOT_YET: ExitCode.NOT_YET,
            Outcome.BLOCKED: ExitCode.MACHINE,
            Outcome.BROKEN: ExitCode.BROKEN,
        }[self]


class Evidence(BaseModel):
    """What a check looked at for one criterion, what it expected and what it saw.

    command: with which the learner can look too. state: a short name of what was seen, by which the hints are chosen;
    empty when the criterion is met.
    """

    model_config = ConfigDict(frozen=True)

    criterion: str
    ok: bool
    looked: str
    expected: str
    saw: str
    command: str = ""
    state: str = ""


class CriterionResult(BaseModel):
    """One criterion of a task with its points. evidence is None when the check did not get that far."""

    model_config = ConfigDict(frozen=True)

    id: str
    text: str
    points: int
    evidence: Evidence | None = None

    @property
    def ok(self) -> bool:
        return self.evidence is not None and self.evidence.ok


class Verdict(BaseModel):
    """The outcome of one check, now. This is what `lab check --json` prints."""

    model_config = ConfigDict(frozen=True)

    lab: str
    task: str
    outcome: Outcome
    criteria: tuple[CriterionResult, ...] = ()
    state: str = ""
    """The state of the first criterion that is not met: the key of the hints."""
    finding: str = ""
    """With BLOCKED: the doctor's ID."""
    reason: str = ""
    """With BLOCKED and BROKEN: what happened, and what to do next."""
    report: str = ""
    """With BROKEN: the command that prints what a report of the bug needs."""
    seconds: float = 0.0
    """How long the check took."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def points(self) -> int:
        return sum(c.points for c in self.criteria if c.ok)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return sum(c.points for c in self.criteria)

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED
