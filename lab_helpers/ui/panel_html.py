"""A verdict as HTML: its criteria with the evidence folded under each, hints, the solution of a step, the way so far.

Every value that comes from outside is escaped. What the browser does with it is in panel.css and panel.js, which both
come with each panel: it needs no network, and a saved notebook shows it without a kernel.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from lab_helpers.course.verdict import CriterionResult, Outcome, Verdict
from lab_helpers.ui.text import (
    MET,
    SYMBOLS,
    UNMET,
    WORDS,
    harmless,
    mark,
    next_step_text,
    points_text,
    worth_text,
)

if TYPE_CHECKING:
    from lab_helpers.ui.checks import Answer

COLOURS = {
    Outcome.PASSED: "--jp-success-color1",
    Outcome.NOT_YET: "--jp-warn-color1",
    Outcome.BLOCKED: "--jp-info-color1",
    Outcome.BROKEN: "--jp-error-color1",
}
SIGN_WORDS = {MET: "met", UNMET: "not met"}


def verdict_html(answer: Answer, title: str, *, at_ms: int = 0) -> str:
    """The verdict of the task with that title. The first criterion that is not met is unfolded.

    at_ms: when it was given, in milliseconds since the epoch. A screen reader is told of each new one, once.
    """
    verdict = answer.verdict
    open_id = next((c.id for c in verdict.criteria if c.evidence and not c.ok), "")
    parts = [f'<p class="reason">{prose(verdict.reason)}</p>'] if verdict.reason else []
    if verdict.report:
        parts.append(f"<dl><dt>to report it</dt><dd>{_copied(verdict.report)}</dd></dl>")
    parts += [_criterion_html(criterion, unfold=criterion.id == open_id) for criterion in verdict.criteria]
    parts += [
        f'<div class="hint"><b>Hint {number} of {answer.total}:</b> {prose(hint)}</div>'
        for number, hint in enumerate(answer.hints, start=1)
    ]
    if answer.solution:
        cells = "".join(_copied(source, ready=True) for source in answer.solution)
        parts.append(f'<div class="solution"><b>The solution of this step:</b>{cells}</div>')
    elif text := next_step_text(answer, hint="the button below", check="check again"):
        parts.append(f'<div class="further">{prose(text)}</div>')
    if answer.way:
        parts.append(f'<div class="way">{safe(answer.way)}</div>')
    return verdict_frame(_head_html(verdict, title), "".join(parts), verdict.outcome, _said(answer, title), at_ms)


def trouble_html(outcome: Outcome, text: str, *, at_ms: int = 0) -> str:
    """What is shown when no verdict came: the machine refused (BLOCKED), or the course has a bug (BROKEN)."""
    what = WORDS[outcome] if outcome is Outcome.BROKEN else "This did not work"
    head = f"<b>{_symbol(SYMBOLS[outcome])} {escape(what)}</b>"
    return verdict_frame(head, f'<p class="reason">{prose(text)}</p>', outcome, f"{what}. {text}", at_ms)


def verdict_frame(head: str, body: str, outcome: Outcome, said: str, at_ms: int) -> str:
    """The box around a verdict, with what it can do in the browser. `said` is for a screen reader."""
    return (
        f'<style onload="{escape(_resource("panel.js"))}">{_resource("panel.css")}</style>'
        f'<div class="lab-panel" role="group" aria-label="Verdict" style="--tone: var({COLOURS[outcome]})" '
        f'data-at="{at_ms}" data-say="{safe(said)}">'
        f'<div class="head">{head}</div><div class="body">{body}</div></div>'
    )


def frame(head: str, body: str, colour: str) -> str:
    """A box without any behaviour."""
    return (
        f'<style>{_resource("panel.css")}</style><div class="lab-panel" role="status" style="--tone: var({colour})">'
        f'<div class="head">{head}</div><div class="body">{body}</div></div>'
    )


def safe(value: str) -> str:
    """The value as text of an HTML page, without control characters, and cut where it is very long."""
    return escape(harmless(value))


def prose(value: str) -> str:
    """Like safe, for our own sentences: what stands between backticks is code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", safe(value))


def cell_source(command: str) -> str:
    """A shell command as the text of a cell. IPython would read braces and dollars of a `!` line as its own."""
    return f"%%bash\n{command}" if re.search(r"[\n{$]", command) else f"!{command}"


def _copied(command: str, *, ready: bool = False) -> str:
    """A command and the button that copies it, as a cell takes it. `ready`: it is the source of a cell already."""
    source = escape(command if ready else harmless(cell_source(command)))
    first = escape(command.split("\n", 1)[0])
    button = (
        f'<button type="button" class="copy" data-key="copy {first}" aria-label="Copy: {first}" hidden>Copy</button>'
    )
    return f'<div class="copied"><code>{source}</code>{button}</div>'


def _symbol(sign: str) -> str:
    return f'<span aria-hidden="true">{sign}</span>'


def _head_html(verdict: Verdict, title: str) -> str:
    points = f'<span class="points">{points_text(verdict.points, verdict.total)}</span>' if verdict.criteria else ""
    outcome = f"{_symbol(SYMBOLS[verdict.outcome])} {escape(WORDS[verdict.outcome])}"
    return f"<b>{outcome}</b><span>{prose(title)}</span>{points}"


def _said(answer: Answer, title: str) -> str:
    """The verdict in one breath: outcome, task, points, and what came with it last."""
    verdict = answer.verdict
    parts = [f"{WORDS[verdict.outcome]}: {title}"]
    if verdict.criteria:
        parts.append(points_text(verdict.points, verdict.total))
    if answer.solution:
        parts.append("The solution of this step is shown")
    elif answer.hints:
        parts.append(f"Hint {len(answer.hints)} of {answer.total}: {answer.hints[-1].rstrip('.')}")
    return ". ".join([*parts, answer.way]) if answer.way else ". ".join(parts) + "."


def _criterion_html(criterion: CriterionResult, *, unfold: bool) -> str:
    sign = mark(criterion)
    word = f'<span class="unheard">{SIGN_WORDS[sign]}: </span>' if sign in SIGN_WORDS else ""
    worth = f'<span class="worth">({worth_text(criterion.points)})</span>'
    title = f'<span class="sign" aria-hidden="true">{sign}</span>{word}{prose(criterion.text)} {worth}'
    evidence = criterion.evidence
    if evidence is None:
        return f'<div class="unreached">{title}: not looked at yet</div>'
    rows = [
        ("looked at", prose(evidence.looked)),
        ("expected", prose(evidence.expected)),
        ("saw", safe(evidence.saw)),
    ]
    cells = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in rows if value)
    if evidence.command:
        cells += f"<dt>look yourself</dt><dd>{_copied(evidence.command)}</dd>"
    key = f'data-key="{escape(criterion.id)}" data-fold="{escape(criterion.id)} {SIGN_WORDS[sign]}"'
    return f"<details{' open' if unfold else ''}><summary {key}>{title}</summary><dl>{cells}</dl></details>"


@cache
def _resource(name: str) -> str:
    """A file beside this one, without its comments and indents: each panel of a saved notebook carries it."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))
