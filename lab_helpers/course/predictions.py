"""What a lesson asks before it shows: predictions, and recall questions on earlier labs. Declared data.

    QUESTIONS = (
        recall("loopback", "...?", choices=("...", "..."), answer="...", because="..."),
        prediction("swappiness", "...?", choices=("...", "..."), answer="...", because="..."),
    )

They stand in a lesson's questions.py, and its tasks.py names them: `LAB = Lab(..., questions=QUESTIONS)`. In lab.md a
prediction is asked by `predict("swappiness")` before the run and compared by `compare("swappiness")` after it; a recall
question is asked by `recall("loopback")`, which compares at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_helpers.core.errors import ExitCode, LabError

if TYPE_CHECKING:
    from lab_helpers.course.world import World


@dataclass(frozen=True)
class Truth:
    """What is true, as one of the choices, and why: one or two sentences."""

    answer: str
    because: str


Answer = str | Callable[["World"], Truth]
"""The true choice; or, where it depends on the machine, a function that looks and tells."""


@dataclass(frozen=True)
class Prediction:
    """A question with choices. `answer` is None for one that a notebook asks by itself, undeclared."""

    name: str
    ask: str
    """The question in one sentence."""
    choices: tuple[str, ...]
    answer: Answer | None = None
    because: str = ""
    recall: bool = False
    """On an earlier lab: the learner sees at once whether they remembered."""

    def truth(self, world: Callable[[], World]) -> Truth:
        """What is true here and now. `world` is only called when the answer depends on the machine.

        Raises WrongAnswerError when that is none of the choices: a bug of the lesson. Whatever the lesson's own
        function raises passes.
        """
        if self.answer is None:
            raise WrongAnswerError(f"The question {self.name} has no answer.", why="the lesson does not declare one")
        truth = Truth(self.answer, self.because) if isinstance(self.answer, str) else self.answer(world())
        if truth.answer not in self.choices:
            raise WrongAnswerError(
                f"The answer to the question {self.name} is none of its choices.", why=f"it is {truth.answer!r}"
            )
        return truth


class WrongAnswerError(LabError):
    """A question whose answer cannot be shown. That is a bug of the course, never the learner's."""

    exit_code = ExitCode.BROKEN


def prediction(name: str, ask: str, *, choices: tuple[str, ...], answer: Answer, because: str = "") -> Prediction:
    """A prediction. `because` explains the answer; where that is a function, it brings the explanation itself."""
    return Prediction(name, ask, choices, answer, because)


def recall(name: str, ask: str, *, choices: tuple[str, ...], answer: Answer, because: str = "") -> Prediction:
    """A recall question on an earlier lab."""
    return Prediction(name, ask, choices, answer, because, recall=True)
