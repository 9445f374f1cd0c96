"""What there is, how far the learner got and what runs: `lab list`, `lab status`, and both as JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.declare import Lab
    from lab_helpers.course.progress import LabProgress, Progress
    from lab_helpers.course.resume import Piece


class TaskRow(BaseModel):
    """One task. `passed`: it passed once; `best`: the most points of any check so far, out of `total`."""

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    passed: bool
    best: int
    total: int
    tries: int
    hints: int


class LabRow(BaseModel):
    """One lab: what it needs (memory and disk in MiB) and what the learner has of it.

    `minutes`: how long it takes, as planned; `spent_s`: how long the learner was at it so far, in seconds.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    minutes: int
    memory_mib: int
    disk_mib: int
    opened: bool
    passed: int
    points: int
    total: int
    spent_s: float = 0
    tasks: tuple[TaskRow, ...]
    asked: int = 0
    """Its predictions and recall questions: how many there are, and how many of them the learner `answered`."""
    answered: int = 0

    @property
    def done(self) -> bool:
        return self.passed == len(self.tasks)

    @property
    def next_task(self) -> TaskRow | None:
        """The first task that has not passed."""
        return next((task for task in self.tasks if not task.passed), None)


class At(BaseModel):
    """Where the learner was last: lab, and the task and outcome of the last check there (empty: none yet).

    `time` is in seconds since the epoch.
    """

    model_config = ConfigDict(frozen=True)

    lab: str
    task: str
    outcome: str
    time: float


class QuestionsRow(BaseModel):
    """The questions before and after the course: how many there are, and how many were answered in each round."""

    model_config = ConfigDict(frozen=True)

    total: int
    before: int
    after: int


class Board(BaseModel):
    """What `lab list --json` and `lab status --json` print. `jupyter_port` is null while no JupyterLab of ours runs.

    `running` says what of the labs runs now; `lost` what was on and is off, and `lab resume` brings back. `rebooted`:
    this machine was restarted since something was last done here.
    """

    model_config = ConfigDict(frozen=True)

    labs: tuple[LabRow, ...]
    jupyter_port: int | None = None
    at: At | None = None
    running: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    rebooted: bool = False
    questions: QuestionsRow | None = None

    @property
    def next_lab(self) -> LabRow | None:
        """The lab where the learner was, while it is not done; else the first one that is not."""
        ordered = sorted(self.labs, key=lambda lab: not (self.at and lab.name == self.at.lab))
        return next((lab for lab in ordered if not lab.done), None)


def read_board(place: Place, lab: str | None = None) -> Board:
    """The board of all labs, or of one: what is declared, the stored progress, and what runs. Changes nothing."""
    from lab_helpers.course import resume
    from lab_helpers.course.engine import all_labs, load_lab
    from lab_helpers.course.progress import read
    from lab_helpers.ui.jupyter import lost_jupyter, running_jupyter

    declared = all_labs(place) if lab is None else [load_lab(place, lab)]
    progress = read(place)
    rows = tuple(_lab_row(each, progress.lab(each.name)) for each in declared)
    # The engine is asked only of labs that were begun: the first ones do without it, and it takes a moment to ask.
    begun = [
        each if progress.lab(each.name).begun else replace(each, containers=False, clusters=()) for each in declared
    ]
    at, pieces = progress.at, _pieces(place, begun)
    mine = [each for each in declared if at and each.name == at.lab]
    lost = [each for each in pieces if each.state is resume.State.LOST and any(resume.part_of(each, m) for m in mine)]
    return Board(
        labs=rows,
        jupyter_port=running_jupyter(place),
        at=At(lab=at.lab, task=at.task, outcome=at.outcome or "", time=at.at) if at else None,
        running=tuple(each.words for each in pieces if each.state is resume.State.RUNS),
        lost=(*(each.words for each in lost), *(["JupyterLab"] if lost_jupyter(place) else [])),
        rebooted=resume.rebooted(place),
        questions=_questions_row(place, progress) if lab is None else None,
    )


def _pieces(place: Place, labs: list[Lab]) -> list[Piece]:
    """What there is of the labs; nothing where that cannot be seen, since progress shows all the same."""
    from lab_helpers.core.errors import LabError
    from lab_helpers.course import resume

    try:
        return resume.survey(place, labs)
    except (LabError, OSError):
        return []


def _questions_row(place: Place, progress: Progress) -> QuestionsRow | None:
    from lab_helpers.course.questions import load_questions

    known = {question.id for question in load_questions(place)}
    before, after = (len(known & progress.answers[round_].keys()) for round_ in ("before", "after"))
    return QuestionsRow(total=len(known), before=before, after=after) if known else None


def _lab_row(lab: Lab, progress: LabProgress) -> LabRow:
    from lab_helpers.course.progress import lab_totals

    totals = lab_totals(lab, progress)
    tasks = []
    for task in lab.tasks.values():
        mine = progress.task(task.id)
        total = sum(points for points, _ in task.criteria.values())
        row = TaskRow(
            id=task.id,
            title=task.title,
            passed=mine.passed,
            best=mine.best,
            total=total,
            tries=mine.tries,
            hints=mine.hints,
        )
        tasks.append(row)
    return LabRow(
        name=lab.name,
        title=lab.title,
        minutes=lab.minutes,
        memory_mib=lab.memory_mib,
        disk_mib=lab.disk_mib,
        opened=progress.opened_at is not None,
        passed=totals.passed,
        points=totals.points,
        total=totals.total,
        spent_s=round(progress.spent_s),
        tasks=tuple(tasks),
        asked=len(lab.questions),
        answered=sum(question.name in progress.predictions for question in lab.questions),
    )
