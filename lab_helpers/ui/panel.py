"""The notebook's panel of a verdict: it can be asked again, and for hints, one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from lab_helpers.core.errors import ExitCode
from lab_helpers.course.verdict import Outcome, Verdict
from lab_helpers.ui.checks import Answer, ask_check, ask_hint, solution_of
from lab_helpers.ui.failures import named
from lab_helpers.ui.panel_html import trouble_html, verdict_html
from lab_helpers.ui.text import answer_text
from lab_helpers.ui.widgets import ipywidgets

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.declare import Lab


class VerdictPanel:
    """A verdict that can be asked again, for hints, one at a time, and then for the solution of its step.

    `text` is the same as plain text; `at_ms` is when it was said, in milliseconds since the epoch. No button is ever
    disabled, for a disabled one loses the keyboard's focus; that nobody asks twice is seen to by panel.js.
    """

    def __init__(self, place: Place, lab: Lab, answer: Answer) -> None:
        widgets = ipywidgets()
        self._place, self._lab, self._task = place, lab, answer.verdict.task
        self._title = lab.tasks[self._task].title
        self._body = widgets.HTML()
        auto = {"width": "auto"}
        self._hint = widgets.Button(description="Hint", icon="lightbulb-o", layout=auto)
        self._again = widgets.Button(description="Check again", icon="refresh", layout=auto)
        self._stop = widgets.Button(description="Stop watching", icon="eye-slash", layout=auto)
        self._asking = threading.Lock()
        self.text, self.at_ms = "", 0
        self._answer, self._solution = answer, answer.solution
        self._hint.on_click(lambda _: self._hint_clicked())
        self._again.on_click(lambda _: self.ask(ask_check))
        self._stop.on_click(lambda _: self._stop_clicked())
        for button in (self._hint, self._again):
            button.add_class("lab-ask")
        row = [self._hint, self._again, self._stop]
        buttons = widgets.HBox(row, layout=widgets.Layout(flex_flow="row wrap"))
        self.watched(None)
        self.widget = widgets.VBox([self._body, buttons])
        self.widget.add_class("lab-verdict")
        self._show(answer, asked=True)

    @property
    def task(self) -> str:
        return self._task

    def ask(self, question: Callable[[Place, Lab, str], Answer], *, asked: bool = True) -> Verdict | None:
        """Ask and show the answer; None when that did not work, which is shown as well. Any thread may call it.

        asked: the learner did, and a screen reader says the answer even if it is the same as before.
        """
        with self._asking:
            self._again.description = "Looking ..."
            self._again.add_class("lab-looking")
            try:
                answer = question(self._place, self._lab, self._task)
                self._show(answer, asked=asked)
            except Exception as error:  # noqa: BLE001 - a click has no cell that could show it
                self._show_trouble(error)
                return None
            finally:
                self._again.remove_class("lab-looking")
                self._again.description = "Check again"
        return answer.verdict

    def watched(self, stop: Callable[[], None] | None) -> None:
        """Show the button that calls `stop`, while somebody watches the task; None: nobody does."""
        self._stop_watching = stop
        self._stop.layout.display = "" if stop else "none"

    def _stop_clicked(self) -> None:
        if self._stop_watching:
            self._again.focus()  # the button that was clicked goes away
            self._stop_watching()

    def _hint_clicked(self) -> None:
        self.ask(self._fold_solution if self._answer.may_see_solution else ask_hint)
        if self._hint.layout.display == "none":
            self._again.focus()

    def _fold_solution(self, place: Place, lab: Lab, task: str) -> Answer:
        """Show the solution, or hide it again. Nothing is looked at for that."""
        self._solution = () if self._solution else solution_of(place, lab, task)
        return replace(self._answer, solution=self._solution)

    def _show(self, answer: Answer, *, asked: bool) -> None:
        if answer.verdict.passed:
            self._solution = ()
        elif answer.solution != self._solution:  # once it was shown, it stays until it is hidden
            self._solution = answer.solution or self._solution
            answer = replace(answer, solution=self._solution)
        self._answer = answer
        text = answer_text(answer, hint=f'hint("{self._task}")', check=f'check("{self._task}")')
        self._say(text, lambda at_ms: verdict_html(answer, self._title, at_ms=at_ms), asked=asked)
        if answer.may_see_solution:
            self._hint.description = "Hide the solution" if self._solution else "Show the solution of this step"
        else:
            self._hint.description = "Another hint" if answer.hints else "Hint"
        self._hint.layout.display = "" if answer.more or answer.may_see_solution else "none"

    def _show_trouble(self, error: Exception) -> None:
        trouble = named(error)
        outcome = Outcome.BROKEN if trouble.exit_code is ExitCode.BROKEN else Outcome.BLOCKED
        self._say(str(trouble), lambda at_ms: trouble_html(outcome, str(trouble), at_ms=at_ms), asked=True)

    def _say(self, text: str, html: Callable[[int], str], *, asked: bool) -> None:
        if asked or text != self.text:
            self.at_ms = round(1000 * time.time())
        self.text = text
        self._body.value = html(self.at_ms)
