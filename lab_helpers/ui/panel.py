"""The notebook's panel of a verdict, with its evidence folded under each criterion.

Colours are JupyterLab's own variables, so that the light and the dark theme both fit; no meaning hangs on colour alone.
Every value that comes from outside is escaped.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lab_helpers.course.verdict import CriterionResult, Outcome, Verdict
from lab_helpers.ui.checks import Answer, ask_check, ask_hint
from lab_helpers.ui.failures import named
from lab_helpers.ui.text import (
    SYMBOLS,
    WORDS,
    harmless,
    mark,
    points_text,
    verdict_text,
    worth_text,
)

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.declare import Lab

COLOURS = {
    Outcome.PASSED: "--jp-success-color1",
    Outcome.NOT_YET: "--jp-warn-color1",
    Outcome.BLOCKED: "--jp-info-color1",
    Outcome.BROKEN: "--jp-error-color1",
}

STYLE = """<style>
.lab-panel { --tone: var(--jp-info-color1); color: var(--jp-content-font-color1);
  font: var(--jp-content-font-size1)/1.5 var(--jp-content-font-family); overflow-wrap: anywhere;
  border: 1px solid var(--jp-border-color2); border-left: 4px solid var(--tone); border-radius: 4px;
  max-width: 52rem; margin: 2px 0; container-type: inline-size; }
.lab-panel .head { display: flex; flex-wrap: wrap; gap: .2em .7em; align-items: baseline; padding: .5em .9em;
  background: color-mix(in srgb, var(--tone) 14%, transparent); }
.lab-panel .head b { letter-spacing: .03em; }
.lab-panel .head .points { margin-left: auto; }
.lab-panel .body { padding: .4em .9em .6em; }
.lab-panel details, .lab-panel .unreached { padding: .15em 0; }
.lab-panel summary { cursor: pointer; border-radius: 2px; }
.lab-panel summary:focus-visible { outline: 2px solid var(--jp-brand-color1); outline-offset: 2px; }
.lab-panel .worth, .lab-panel .unreached, .lab-panel dt { color: var(--jp-content-font-color2); }
.lab-panel .sign { display: inline-block; width: 1.3em; font-weight: bold; }
.lab-panel dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15em 1em;
  margin: .3em 0 .5em 1.3em; padding: 0; }
.lab-panel dl > dt { float: none; width: auto; padding: 0; font-weight: normal; overflow-wrap: normal; }
.lab-panel dl > dd { float: none; width: auto; margin: 0; padding: 0; white-space: pre-wrap; }
.lab-panel code { background: var(--jp-layout-color2); padding: .1em .4em; border-radius: 2px;
  font-family: var(--jp-code-font-family); font-size: var(--jp-code-font-size); }
.lab-panel .hint { border-top: 1px solid var(--jp-border-color2); margin-top: .5em; padding-top: .5em; }
.lab-panel .reason { white-space: pre-wrap; margin: .2em 0; }
@container (max-width: 30rem) { .lab-panel dl { grid-template-columns: minmax(0, 1fr); }
  .lab-panel dl > dd { margin-bottom: .4em; } }
</style>"""


def verdict_html(answer: Answer, title: str) -> str:
    """The verdict of the task with that title, as HTML. The first criterion that is not met is unfolded."""
    verdict = answer.verdict
    open_id = next((c.id for c in verdict.criteria if c.evidence and not c.ok), "")
    parts = [f'<p class="reason">{_prose(verdict.reason)}</p>'] if verdict.reason else []
    parts += [_criterion_html(criterion, unfold=criterion.id == open_id) for criterion in verdict.criteria]
    parts += [
        f'<div class="hint"><b>Hint {number} of {answer.total}:</b> {_prose(hint)}</div>'
        for number, hint in enumerate(answer.hints, start=1)
    ]
    return _frame(_head_html(verdict, title), "".join(parts), COLOURS[verdict.outcome])


def _head_html(verdict: Verdict, title: str) -> str:
    points = f'<span class="points">{points_text(verdict.points, verdict.total)}</span>' if verdict.criteria else ""
    outcome = f"{SYMBOLS[verdict.outcome]} {escape(WORDS[verdict.outcome])}"
    return f"<b>{outcome}</b><span>{_prose(title)}</span>{points}"


def _criterion_html(criterion: CriterionResult, *, unfold: bool) -> str:
    sign = f'<span class="sign">{mark(criterion)}</span>'
    worth = f'<span class="worth">({worth_text(criterion.points)})</span>'
    title = f"{sign}{_prose(criterion.text)} {worth}"
    evidence = criterion.evidence
    if evidence is None:
        return f'<div class="unreached">{title}: not looked at yet</div>'
    rows = [
        ("looked at", _prose(evidence.looked)),
        ("expected", _prose(evidence.expected)),
        ("saw", _safe(evidence.saw)),
    ]
    cells = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in rows if value)
    if evidence.command:
        cells += f"<dt>look yourself</dt><dd><code>{_safe(evidence.command)}</code></dd>"
    return f"<details{' open' if unfold else ''}><summary>{title}</summary><dl>{cells}</dl></details>"


def _frame(head: str, body: str, colour: str) -> str:
    return (
        f'{STYLE}<div class="lab-panel" role="status" style="--tone: var({colour})">'
        f'<div class="head">{head}</div><div class="body">{body}</div></div>'
    )


def _safe(value: str) -> str:
    return escape(harmless(value))


def _prose(value: str) -> str:
    """Like _safe, for our own sentences: what stands between backticks is code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", _safe(value))


def _widgets() -> Any:
    """ipywidgets, which has no types, and which only a notebook needs."""
    return import_module("ipywidgets")


class VerdictPanel:
    """A verdict that can be asked again, and for hints, one at a time."""

    def __init__(self, place: Place, lab: Lab, answer: Answer) -> None:
        widgets = _widgets()
        self._place, self._lab, self._task = place, lab, answer.verdict.task
        self._title = lab.tasks[self._task].title
        self._body = widgets.HTML()
        self._hint = widgets.Button(description="Hint", icon="lightbulb-o")
        self._again = widgets.Button(description="Check again", icon="refresh")
        self._stop = widgets.Button(description="Stop watching", icon="eye-slash")
        self._asking = threading.Lock()
        self._hint.on_click(lambda _: self.ask(ask_hint))
        self._again.on_click(lambda _: self.ask(ask_check))
        self._stop.on_click(lambda _: self._stop_watching() if self._stop_watching else None)
        row = [self._hint, self._again, self._stop]
        buttons = widgets.HBox(row, layout=widgets.Layout(flex_flow="row wrap"))
        self.watched(None)
        self.widget = widgets.VBox([self._body, buttons])
        self._show(answer)

    @property
    def task(self) -> str:
        return self._task

    def ask(self, question: Callable[[Place, Lab, str], Answer]) -> Verdict | None:
        """Ask and show the answer; None when that did not work, which is shown as well. Any thread may call it."""
        with self._asking:
            self._hint.disabled = self._again.disabled = True
            self._again.description = "Looking ..."
            try:
                answer = question(self._place, self._lab, self._task)
                self._show(answer)
            except Exception as error:  # noqa: BLE001 - a click has no cell that could show it
                reason = f'<p class="reason">{_prose(str(named(error)))}</p>'
                self._body.value = _frame("<b>This did not work</b>", reason, COLOURS[Outcome.BROKEN])
                return None
            finally:
                self._again.description = "Check again"
                self._hint.disabled = self._again.disabled = False
        return answer.verdict

    def watched(self, stop: Callable[[], None] | None) -> None:
        """Show the button that calls `stop`, while somebody watches the task; None: nobody does."""
        self._stop_watching = stop
        self._stop.layout.display = "" if stop else "none"

    def _show(self, answer: Answer) -> None:
        self.text = verdict_text(answer.verdict, answer.hints, more=f'hint("{self._task}")' if answer.more else "")
        self._body.value = verdict_html(answer, self._title)
        self._hint.description = "Another hint" if answer.hints else "Hint"
        self._hint.layout.display = "" if answer.more else "none"
