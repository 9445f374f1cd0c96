"""The ten questions over the whole course, asked before the first lab and after the last one: labs/questions.toml.

An answer is stored when it is given, and the first of a round counts. How many were answered is shown, never how many
were right: the questions are there to be learned from.
"""

from __future__ import annotations

import tomllib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from lab_helpers.core.errors import LabError, UsageError
from lab_helpers.core.settings import Place
from lab_helpers.course import progress
from lab_helpers.course.engine import BrokenLessonError, all_labs
from lab_helpers.course.progress import Round

ROUNDS: tuple[Round, ...] = ("before", "after")
FILE = "questions.toml"


class Trap(BaseModel):
    """The choice that holds a common wrong belief, and what is wrong with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    choice: str
    because: str


class Question(BaseModel):
    """One of the ten."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    ask: str
    choices: Annotated[tuple[str, ...], Field(min_length=3, max_length=5)]
    answer: str
    because: str
    trap: Trap

    @model_validator(mode="after")
    def _choices_hold_together(self) -> Question:
        if len(set(self.choices)) != len(self.choices):
            raise ValueError(f"{self.id}: two choices are the same")
        if self.answer not in self.choices or self.trap.choice not in self.choices:
            raise ValueError(f"{self.id}: the answer and the trap must be among the choices")
        if self.answer == self.trap.choice:
            raise ValueError(f"{self.id}: the trap is the answer")
        return self


class Answered(BaseModel):
    """One question with what the learner answered. What is true is told (else null) once it was answered after."""

    model_config = ConfigDict(frozen=True)

    id: str
    ask: str
    choices: tuple[str, ...]
    before: str | None = None
    after: str | None = None
    answer: str | None = None
    because: str | None = None
    trap: Trap | None = None


class QuestionsReport(BaseModel):
    """What `lab questions --json` prints. `round` is the one that is due."""

    model_config = ConfigDict(frozen=True)

    round: Round
    questions: tuple[Answered, ...]

    def answered(self, round_: Round) -> int:
        """How many have an answer in that round."""
        return sum(getattr(question, round_) is not None for question in self.questions)


_QUESTIONS: TypeAdapter[tuple[Question, ...]] = TypeAdapter(tuple[Question, ...])


def load_questions(place: Place) -> tuple[Question, ...]:
    """The questions of this course; none where it has no such file. Raises BrokenLessonError when that is broken."""
    path = place.labs / FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        questions = _QUESTIONS.validate_python(document.get("question", []))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, ValidationError) as error:
        raise BrokenLessonError(
            "The course's questions are broken: this is a bug of the course, not yours.",
            why=f"{path}: {error}",
            do="bring the file back as it was (`git checkout`), or report it with these lines",
        ) from None
    ids = [question.id for question in questions]
    if len(set(ids)) != len(ids):
        raise BrokenLessonError("Two of the course's questions have the same id.", why=f"{path}: {', '.join(ids)}")
    return questions


def due_round(place: Place) -> Round:
    """The round that the learner stands before: `after` once every lab is done."""
    done = progress.read(place)
    totals = [progress.lab_totals(lab, done.lab(lab.name)) for lab in all_labs(place)]
    return "after" if totals and all(each.passed == each.tasks for each in totals) else "before"


def find_round(name: str) -> Round:
    """The round of that name. Raises UsageError."""
    for each in ROUNDS:
        if name == each:
            return each
    raise UsageError(f"There is no round {name!r} of the questions.", why="the rounds are before and after")


def read_questions(place: Place, round_: Round | None = None) -> QuestionsReport:
    """All questions with the learner's answers. Raises LabError where the course has none."""
    declared = load_questions(place)
    if not declared:
        raise LabError("This course has no questions to ask.", why=f"there is no {place.labs / FILE}")
    answers = progress.read(place).answers
    rows = [_row(each, *(answers[name].get(each.id) for name in ROUNDS)) for each in declared]
    return QuestionsReport(round=round_ or due_round(place), questions=tuple(rows))


def _row(question: Question, before: str | None, after: str | None) -> Answered:
    told = after is not None
    return Answered(
        id=question.id,
        ask=question.ask,
        choices=question.choices,
        before=before,
        after=after,
        answer=question.answer if told else None,
        because=question.because if told else None,
        trap=question.trap if told else None,
    )


def answer(place: Place, round_: Round, question: str, choice: str) -> str:
    """Lock an answer; the first of a round counts and is returned. Raises UsageError for one that is not offered."""
    known = {each.id: each for each in load_questions(place)}
    if question not in known or choice not in known[question].choices:
        raise UsageError(f"That is no answer to the question {question}.")
    return progress.lock_answer(place, round_, question, choice)
