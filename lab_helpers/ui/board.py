"""What there is and how far the learner got: `lab list`, `lab status`, and both as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.declare import Lab
    from lab_helpers.course.progress import LabProgress, Progress


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
    """One lab: what it needs (memory and disk in MiB) and what the learner has of it."""

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
    tasks: tuple[TaskRow, ...]
    asked: int = 0
    """Its predictions and recall questions: how many there are, and how many of them the learner `answered`."""
    answered: int = 0

    @property
    def done(self) -> bool:
        return self.passed == len(self.tasks)


class QuestionsRow(BaseModel):
    """The questions before and after the course: how many there are, and how many were answered in each round."""

    model_config = ConfigDict(frozen=True)

    total: int
    before: int
    after: int


class Board(BaseModel):
    """What `lab list --json` and `lab status --json` print. `jupyter_port` is null while no JupyterLab of ours runs."""

    model_config = ConfigDict(frozen=True)

    labs: tuple[LabRow, ...]
    jupyter_port: int | None = None
    questions: QuestionsRow | None = None

    @property
    def next_lab(self) -> LabRow | None:
        """The first lab that is not done."""
        return next((lab for lab in self.labs if not lab.done), None)


def read_board(place: Place, lab: str | None = None) -> Board:
    """The board of all labs, or of one. Looks at what is declared, at the stored progress and for our JupyterLab."""
    from lab_helpers.course.engine import all_labs, load_lab
    from lab_helpers.course.progress import read
    from lab_helpers.ui.jupyter import running_jupyter

    declared = all_labs(place) if lab is None else [load_lab(place, lab)]
    progress = read(place)
    rows = tuple(_lab_row(each, progress.lab(each.name)) for each in declared)
    return Board(
        labs=rows,
        jupyter_port=running_jupyter(place),
        questions=_questions_row(place, progress) if lab is None else None,
    )


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
        tasks=tuple(tasks),
        asked=len(lab.questions),
        answered=sum(question.name in progress.predictions for question in lab.questions),
    )
