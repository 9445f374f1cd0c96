"""The plain text of questions: recall, comparisons, the ten before and after. The notebook's panels say the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab_helpers.ui.text import Line, harmless, plain

if TYPE_CHECKING:
    from lab_helpers.course.predictions import Prediction, Truth
    from lab_helpers.course.progress import Round
    from lab_helpers.course.questions import Answered, QuestionsReport

TRUE, CHOSEN, OPEN = "✔", "◉", "○"
AS_THOUGHT = "Just as you thought."
OTHERWISE = "It went another way than you thought. Good: a surprise is what one remembers."
NOT_LOCKED = (
    "You have not locked a prediction. Next time try one first: even a wrong guess helps to remember what came."
)
REMEMBERED = "Yes, that is it."
FORGOTTEN = "Not this time. Looking it up once more is how it stays."
TITLES: dict[Round, str] = {"before": "Ten questions before the course", "after": "Ten questions after the course"}
INVITATIONS: dict[Round, str] = {
    "before": "Guess as well as you can: nobody counts what is right. The answers come when you have done the course.",
    "after": "The same questions once more. As soon as an answer is locked, you see it beside your first one.",
}


def told(question: Prediction, locked: str | None, truth: Truth) -> tuple[str, list[tuple[str, str]], str]:
    """A comparison in three parts: its title, the rows (label and value), and a friendly word."""
    if question.recall:
        word = REMEMBERED if locked == truth.answer else FORGOTTEN
        rows = [("you said", locked or "nothing yet"), ("it is", truth.answer)]
        return "From an earlier lab", rows, word
    word = NOT_LOCKED if locked is None else AS_THOUGHT if locked == truth.answer else OTHERWISE
    rows = [("you predicted", locked or "nothing yet"), ("it is", truth.answer)]
    return "What you predicted, and what is true", rows, word


def comparison_lines(question: Prediction, locked: str | None, truth: Truth) -> list[Line]:
    """What the learner said beside what is true, and why."""
    title, rows, word = told(question, locked, truth)
    lines = [Line(title, style="head")]
    if question.ask:
        lines.append(Line(harmless(question.ask), indent=2))
    lines += [Line(harmless(value), label=f"{label}:", indent=2) for label, value in rows]
    return [*lines, Line(word, indent=2, style="hint"), Line(harmless(truth.because), label="why:", indent=2)]


def comparison_text(question: Prediction, locked: str | None, truth: Truth) -> str:
    """The same as plain text."""
    return plain(comparison_lines(question, locked, truth))


def recall_text(question: Prediction) -> str:
    """A recall question that is not answered yet."""
    head = "From an earlier lab (you can go on without):"
    return plain([Line(head), Line(harmless(question.ask), indent=2), *_offered(question.choices)])


def _offered(choices: Sequence[str]) -> list[Line]:
    return [Line(f"{OPEN} {harmless(choice)}", indent=4) for choice in choices]


def count_text(report: QuestionsReport, round_: Round) -> str:
    """`7 of 10 answered`."""
    return f"{report.answered(round_)} of {len(report.questions)} answered"


def questions_lines(report: QuestionsReport, round_: Round) -> list[Line]:
    """One round: each question with its answer, or with its choices. What is true shows after the second round only."""
    lines = [Line(f"{TITLES[round_]}: {count_text(report, round_)}", style="head"), Line(INVITATIONS[round_], indent=2)]
    for number, question in enumerate(report.questions, start=1):
        lines.append(Line(""))
        lines += question_lines(question, round_, number)
    return lines


def question_lines(question: Answered, round_: Round, number: int) -> list[Line]:
    """One question as it stands in that round."""
    lines = [Line(f"{number}. {harmless(question.ask)}")]
    mine = getattr(question, round_)
    if mine is None:
        return lines + _offered(question.choices)
    if round_ == "before":
        return [*lines, Line(f"{CHOSEN} {harmless(mine)} (your answer)", indent=4)]
    lines += [Line(harmless(value), label=f"{label}:", indent=4) for label, value in after_rows(question)]
    return lines


def after_rows(question: Answered) -> list[tuple[str, str]]:
    """A question that was answered after: both answers, what is true, why, and the belief that it is about."""
    assert question.answer is not None
    assert question.trap is not None
    rows = [
        ("before", question.before or "not answered"),
        ("after", question.after or "not answered"),
        ("it is", question.answer),
        ("why", question.because or ""),
        ("many believe", f"“{question.trap.choice}”. {question.trap.because}"),
    ]
    return [(label, value) for label, value in rows if value]


def questions_text(report: QuestionsReport, round_: Round) -> str:
    """The same as plain text."""
    return plain(questions_lines(report, round_))
