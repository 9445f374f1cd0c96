"""The notebook's panel of the ten questions: answered one by one, locked together, compared after the second round."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from lab_helpers.course.verdict import Outcome
from lab_helpers.ui.failures import named
from lab_helpers.ui.panel_html import COLOURS, frame, prose, safe
from lab_helpers.ui.prediction_panel import ask_html, choices_widget, rows_html
from lab_helpers.ui.question_text import INVITATIONS, TITLES, after_rows, count_text, questions_text
from lab_helpers.ui.widgets import ipywidgets

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.progress import Round
    from lab_helpers.course.questions import Answered


class QuestionsPanel:
    """One round. What is not answered yet has choices; what was answered is locked."""

    def __init__(self, place: Place, round_: Round) -> None:
        widgets = ipywidgets()
        self._place, self._round = place, round_
        self._head = widgets.HTML()
        self._lock = widgets.Button(description="Lock my answers", icon="lock", disabled=True)
        self._lock.layout.width = "auto"
        self._lock.layout.align_self = "flex-start"
        self._said = widgets.HTML()
        self._picks: dict[str, Any] = {}
        self._lock.on_click(self._clicked)
        self.widget = widgets.VBox([])
        self._show()

    def _clicked(self, button: object) -> None:
        del button
        from lab_helpers.course.questions import answer

        try:
            for name, picks in list(self._picks.items()):
                if picks.value is not None:
                    answer(self._place, self._round, name, str(picks.value))
            self._said.value = ""
            self._show()
        except Exception as error:  # noqa: BLE001 - a click has no cell that could show it
            self._said.value = f'<p role="status">{safe(str(named(error)))}</p>'

    def _picked(self, change: object) -> None:
        del change
        self._lock.disabled = all(picks.value is None for picks in self._picks.values())

    def _show(self) -> None:
        from lab_helpers.course.questions import read_questions

        report = read_questions(self._place, self._round)
        self.text = questions_text(report, self._round)
        self._picks = {}
        parts: list[Any] = []
        for number, question in enumerate(report.questions, start=1):
            parts += self._question(question, number)
        head = f'<b>{escape(TITLES[self._round])}</b><span class="points">{count_text(report, self._round)}</span>'
        self._head.value = frame(head, f"<div>{escape(INVITATIONS[self._round])}</div>", COLOURS[Outcome.BLOCKED])
        self._picked(None)
        self.widget.children = (self._head, *parts, *([self._lock] if self._picks else []), self._said)

    def _question(self, question: Answered, number: int) -> list[Any]:
        widgets = ipywidgets()
        ask = f"{number}. {question.ask}"
        mine = getattr(question, self._round)
        if mine is None:
            picks = choices_widget(question.choices, question.ask)
            picks.observe(self._picked, "value")
            self._picks[question.id] = picks
            return [widgets.HTML(ask_html(ask)), picks]
        if self._round == "before":
            body = f"<div>◉ {prose(mine)} (your answer)</div>"
            return [widgets.HTML(frame(f"<b>{prose(ask)}</b>", body, COLOURS[Outcome.BLOCKED]))]
        colour = COLOURS[Outcome.PASSED if question.after == question.answer else Outcome.NOT_YET]
        return [widgets.HTML(frame(f"<b>{prose(ask)}</b>", rows_html(after_rows(question)), colour))]
