"""The notebook's panels around one question: to predict, to recall, and to compare with what is true.

A choice is locked in the progress, where the first one counts: a restarted kernel, a second tab and another notebook
all show the same one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from lab_helpers.course.verdict import Outcome
from lab_helpers.ui.failures import named
from lab_helpers.ui.panel_html import COLOURS, frame, prose, safe
from lab_helpers.ui.question_text import comparison_text, recall_text, told
from lab_helpers.ui.text import prediction_rows, prediction_text
from lab_helpers.ui.widgets import ipywidgets

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.predictions import Prediction, Truth
    from lab_helpers.course.world import World

CHOICES_STYLE = """<style>
.lab-ask { margin: .9em 0 .2em; font: var(--jp-content-font-size1)/1.5 var(--jp-content-font-family);
  color: var(--jp-content-font-color1); font-weight: 600; max-width: 52rem; overflow-wrap: anywhere; }
.lab-ask.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.lab-choices { width: auto; max-width: 52rem; }
.lab-choices .widget-radio-box { margin-bottom: 0 !important; width: auto; max-width: none; }
.lab-choices .widget-radio-box label { display: grid; grid-template-columns: 1.4em minmax(0, 1fr); align-items: start;
  height: auto; min-height: 24px; width: auto; line-height: 1.5; white-space: normal; overflow-wrap: anywhere;
  color: var(--jp-content-font-color1); font: var(--jp-content-font-size1)/1.5 var(--jp-content-font-family); }
.lab-choices .widget-radio-box label input { grid-column: 1; grid-row: 1; margin: 1px .5em 0 0; }
</style>"""
"""A long choice goes on in a second line; ipywidgets would cut it."""


def ask_html(ask: str, *, unseen: bool = False) -> str:
    """The question above its choices, as a heading for screen readers to jump to; `unseen`: for them alone."""
    looks = "lab-ask unseen" if unseen else "lab-ask"
    heading = f'<div class="{looks}" role="heading" aria-level="4">{prose(ask)}</div>' if ask else ""
    return CHOICES_STYLE + heading


def choices_widget(choices: tuple[str, ...], ask: str) -> Any:
    """The choices as radio buttons, none picked. Tab goes from one to the next, and Space picks."""
    widgets = ipywidgets()
    picks = widgets.RadioButtons(options=choices, value=None, layout=widgets.Layout(width="auto"), tooltip=ask)
    picks.add_class("lab-choices")
    return picks


def rows_html(rows: list[tuple[str, str]]) -> str:
    """Labels and values of a panel."""
    cells = "".join(f"<dt>{escape(label)}</dt><dd>{prose(value)}</dd>" for label, value in rows)
    return f'<dl style="margin-left: 0">{cells}</dl>'


def comparison_html(question: Prediction, locked: str | None, truth: Truth) -> str:
    """What the learner said beside what is true, and why."""
    title, rows, word = told(question, locked, truth)
    ask = f"<div>{prose(question.ask)}</div>" if question.ask else ""
    body = f"{ask}{rows_html(rows)}<div><b>{escape(word)}</b></div><div>{prose(truth.because)}</div>"
    surprise = locked is not None and locked != truth.answer
    return frame(f"<b>{escape(title)}</b>", body, COLOURS[Outcome.NOT_YET if surprise else Outcome.PASSED])


class _LockPanel(ABC):
    """Choices to pick from, and a button that locks the choice for good."""

    button = "Lock my prediction"

    def __init__(self, place: Place, lab: str, question: Prediction, world: Callable[[], World] | None = None) -> None:
        from lab_helpers.course.progress import prediction

        widgets = ipywidgets()
        self._place, self._lab, self._question, self._world = place, lab, question, world
        self._ask = widgets.HTML(ask_html(question.ask, unseen=not question.recall))  # the lesson's text has asked it
        self._picks = choices_widget(question.choices, question.ask)
        self._lock = widgets.Button(description=self.button, icon="lock", disabled=True)
        self._lock.layout.width = "auto"
        self._lock.layout.align_self = "flex-start"
        self._done = widgets.HTML()
        self._picks.observe(self._picked, "value")
        self._lock.on_click(self._clicked)
        self.widget = widgets.VBox([self._ask, self._picks, self._lock, self._done])
        self._show(prediction(place, lab, question.name))

    def _picked(self, change: object) -> None:
        del change
        self._lock.disabled = self._picks.value is None

    def _clicked(self, button: object) -> None:
        del button
        from lab_helpers.course.progress import lock_prediction

        try:
            self._show(lock_prediction(self._place, self._lab, self._question.name, str(self._picks.value)))
        except Exception as error:  # noqa: BLE001 - a click has no cell that could show it
            self._done.value = f'<p role="status">{safe(str(named(error)))}</p>'

    def _show(self, locked: str | None) -> None:
        self.text = self._text(locked)
        if locked is not None:
            self._done.value = self._html(locked)
            self.widget.children = (self._done,)

    @abstractmethod
    def _text(self, locked: str | None) -> str:
        """The text twin."""

    @abstractmethod
    def _html(self, locked: str) -> str:
        """What stands there once it is locked."""


class PredictionPanel(_LockPanel):
    """A prediction. Once it is locked it shows the choice, and nothing of what is true."""

    def _text(self, locked: str | None) -> str:
        return prediction_text(self._question.choices, locked)

    def _html(self, locked: str) -> str:
        rows = "".join(
            f"<div>{sign} {escape(text)}</div>" for sign, text in prediction_rows(self._question.choices, locked)
        )
        return frame("<b>Your prediction is locked</b>", rows, COLOURS[Outcome.BLOCKED])


class RecallPanel(_LockPanel):
    """A question on an earlier lab. Once it is answered it shows what is true, and why."""

    button = "This is my answer"

    def _truth(self) -> Truth:
        assert self._world is not None
        return self._question.truth(self._world)

    def _text(self, locked: str | None) -> str:
        return recall_text(self._question) if locked is None else comparison_text(self._question, locked, self._truth())

    def _html(self, locked: str) -> str:
        return comparison_html(self._question, locked, self._truth())


class ComparisonPanel:
    """The locked prediction beside what is true."""

    def __init__(self, place: Place, lab: str, question: Prediction, world: Callable[[], World]) -> None:
        from lab_helpers.course.progress import prediction

        locked, truth = prediction(place, lab, question.name), question.truth(world)
        self.text = comparison_text(question, locked, truth)
        self.widget = ipywidgets().HTML(comparison_html(question, locked, truth))
