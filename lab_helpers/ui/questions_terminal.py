"""`lab questions`: what is answered, and on a terminal the questions that are still open, one at a time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lab_helpers.ui.terminal import _is_terminal

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.progress import Round
    from lab_helpers.course.questions import Answered, QuestionsReport
    from lab_helpers.ui.terminal import Screen

QUIT = "q"


def run_questions(place: Place, which: str, screen: Screen, *, ask: bool) -> QuestionsReport:
    """Show one round; with `ask`, and where somebody can answer, ask what is open. Returns how it stands then.

    Each answer is stored at once. An empty line leaves a question open, q ends the asking.
    """
    from lab_helpers.course.questions import find_round, read_questions
    from lab_helpers.ui.question_text import INVITATIONS, TITLES, count_text, questions_lines
    from lab_helpers.ui.text import Line

    round_ = find_round(which) if which else None
    report = read_questions(place, round_)
    round_ = report.round
    if not ask:
        return report
    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stdout)) or report.answered(round_) == len(report.questions):
        screen.show(questions_lines(report, round_))
        return report
    screen.show([Line(f"{TITLES[round_]}: {count_text(report, round_)}", style="head"), Line(INVITATIONS[round_])])
    for number, question in enumerate(report.questions, start=1):
        if getattr(question, round_) is None and not _ask(place, screen, question, round_, number):
            break
    report = read_questions(place, round_)
    screen.say(
        f"\nquestions {round_}: {count_text(report, round_)}. `lab questions` shows them, and asks what is open."
    )
    return report


def _ask(place: Place, screen: Screen, question: Answered, round_: Round, number: int) -> bool:
    """Ask one question; False when the learner wants no more of them."""
    from lab_helpers.course.questions import answer, read_questions
    from lab_helpers.ui.question_text import question_lines
    from lab_helpers.ui.text import Line, harmless

    choices = [Line(f"{key}  {harmless(choice)}", indent=4) for key, choice in enumerate(question.choices, start=1)]
    screen.show([Line(""), Line(f"{number}. {harmless(question.ask)}", style="head"), *choices])
    while True:
        sys.stderr.write(f"Your answer, 1 to {len(choices)} (Enter: later, {QUIT}: no more): ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        said = line.strip().lower()
        if not line or said == QUIT:
            return False
        if not said:
            return True
        if said.isascii() and said.isdigit() and 1 <= int(said) <= len(choices):
            break
    answer(place, round_, question.id, question.choices[int(said) - 1])
    if round_ == "after":
        now = next(each for each in read_questions(place, round_).questions if each.id == question.id)
        screen.show(question_lines(now, round_, number)[1:])
    return True
