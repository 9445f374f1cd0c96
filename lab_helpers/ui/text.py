"""The plain text of what the course says. Terminal and notebook show the same lines; only colours and folds differ.

Text here is deterministic: no times, no colours. Values that come from the machine are made harmless first, so that a
file's contents can neither move the cursor nor pretend to be a line of ours.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_helpers.course.verdict import CriterionResult, Outcome, Verdict

if TYPE_CHECKING:
    from lab_helpers.core.errors import LabError
    from lab_helpers.ui.checks import Answer

SYMBOLS = {Outcome.PASSED: "✔", Outcome.NOT_YET: "✘", Outcome.BLOCKED: "■", Outcome.BROKEN: "‼"}
WORDS = {
    Outcome.PASSED: "PASSED",
    Outcome.NOT_YET: "NOT YET",
    Outcome.BLOCKED: "BLOCKED by this machine",
    Outcome.BROKEN: "BROKEN: our check failed, not you",
}
MET, UNMET, UNREACHED = "✔", "✘", "·"
LABEL_WIDTH = 15


@dataclass(frozen=True)
class Line:
    """One line of a text. `style` names its role (the terminal colours by it), `label` is the word in front."""

    text: str
    style: str = ""
    label: str = ""
    indent: int = 0

    @property
    def head(self) -> str:
        """What stands before the text: the indent, and the label padded to LABEL_WIDTH columns."""
        return " " * self.indent + (self.label.ljust(LABEL_WIDTH) if self.label else "")


def plain(lines: Iterable[Line], width: int | None = None) -> str:
    """The lines as text; the further lines of a value stand under its first. With `width`, no line is longer."""
    return "\n".join(_plain(line, width) for line in lines)


def _plain(line: Line, width: int | None) -> str:
    hang = " " * len(line.head)
    parts = line.text.split("\n")
    if width:
        room = max(width - len(line.head), 20)
        parts = [piece for part in parts for piece in textwrap.wrap(part, room, break_long_words=False) or [""]]
    return (line.head + f"\n{hang}".join(parts)).rstrip()


def harmless(value: str, *, limit: int = 1200) -> str:
    """`value` without control characters, and cut to `limit` characters: evidence may quote any file or program."""
    shown = "".join(c if c == "\n" or c.isprintable() else f"\\x{ord(c):02x}" for c in value.strip().expandtabs(4))
    return shown if len(shown) <= limit else shown[:limit] + f" … ({len(shown) - limit} more characters)"


def points_text(points: int, total: int) -> str:
    """`2 of 3 points`."""
    return f"{points} of {worth_text(total)}"


def worth_text(points: int) -> str:
    """`2 points`."""
    return f"{points} point{'' if points == 1 else 's'}"


def mark(criterion: CriterionResult) -> str:
    """The symbol of one criterion: met, not met, not reached."""
    if criterion.evidence is None:
        return UNREACHED
    return MET if criterion.ok else UNMET


def verdict_lines(verdict: Verdict, hints: Sequence[str] = (), *, more: str = "") -> list[Line]:
    """A verdict, line by line: the outcome, each criterion with its evidence, the hints so far, how to get `more`."""
    score = f", {points_text(verdict.points, verdict.total)}" if verdict.criteria else ""
    head = f"{SYMBOLS[verdict.outcome]} {WORDS[verdict.outcome]} · {verdict.lab} {verdict.task}{score}"
    lines = [Line(head, style=verdict.outcome.value)]
    if verdict.reason:
        lines.append(Line(harmless(verdict.reason), indent=2))
    if verdict.report:
        lines.append(Line(harmless(verdict.report), style="command", label="to report it:", indent=2))
    for criterion in verdict.criteria:
        lines += _criterion_lines(criterion)
    for hint in hints:
        lines.append(Line(f"Hint: {harmless(hint)}", style="hint", indent=2))
    if more:
        lines.append(Line(f"Another hint: {more}", style="quiet", indent=2))
    return lines


def _criterion_lines(criterion: CriterionResult) -> list[Line]:
    evidence = criterion.evidence
    style = {MET: "met", UNMET: "unmet", UNREACHED: "unreached"}[mark(criterion)]
    text = f"{mark(criterion)} {harmless(criterion.text)} ({worth_text(criterion.points)})"
    lines = [Line(text + (": not looked at yet" if evidence is None else ""), style=style, indent=2)]
    if evidence is None:
        return lines
    if evidence.ok:
        lines.append(Line(harmless(evidence.saw), style="quiet", label="saw:", indent=4))
    else:
        lines += [
            Line(harmless(value), style=role, label=label, indent=4)
            for label, value, role in (
                ("looked at:", evidence.looked, "value"),
                ("expected:", evidence.expected, "value"),
                ("saw:", evidence.saw, "saw"),
                ("look yourself:", evidence.command, "command"),
            )
            if value
        ]
    return lines


def verdict_text(verdict: Verdict, hints: Sequence[str] = (), *, more: str = "") -> str:
    """A verdict as plain text: what the terminal prints, and the notebook's text/plain twin of its panel."""
    return plain(verdict_lines(verdict, hints, more=more))


def answer_lines(answer: Answer, *, hint: str, check: str) -> list[Line]:
    """A verdict, the hints so far, how to get further help, the solution if it is to be shown, and the way so far.

    hint, check: what the learner types for a hint, or for another look.
    """
    lines = verdict_lines(answer.verdict, answer.hints, more=hint if answer.more else "")
    if answer.solution:
        lines.append(Line("The solution of this step:", style="hint", indent=2))
        for number, source in enumerate(answer.solution):
            lines += [Line("")] * (number > 0) + [Line(source, style="command", indent=4)]
    elif text := next_step_text(answer, hint=f"`{hint}`", check=f"`{check}`"):
        lines.append(Line(text, style="quiet", indent=2))
    if answer.way:
        lines.append(Line(answer.way, style="quiet", indent=2))
    return lines


def answer_text(answer: Answer, *, hint: str, check: str) -> str:
    """answer_lines as plain text."""
    return plain(answer_lines(answer, hint=hint, check=check))


def next_step_text(answer: Answer, *, hint: str, check: str) -> str:
    """What helps after the last hint, in words; empty while there is another, and unless the verdict is NOT_YET."""
    if answer.more or answer.verdict.outcome is not Outcome.NOT_YET:
        return ""
    begin = "That was the last hint. " if answer.hints else ""
    if answer.may_see_solution:
        return f"{begin}Still stuck? Then {hint} shows the solution of this step."
    if not answer.hints:
        return ""
    return f"{begin}Try it, and {check}: who has tried twice can see the solution of this step."


def prediction_text(choices: Sequence[str], locked: str | None) -> str:
    """The choices of a prediction, the locked one marked. A choice that is no longer offered is shown as well."""
    head = (
        "Your prediction (not locked yet; you can go on without):" if locked is None else "Your prediction is locked:"
    )
    return plain([Line(head), *(Line(f"{sign} {text}", indent=2) for sign, text in prediction_rows(choices, locked))])


def prediction_rows(choices: Sequence[str], locked: str | None) -> list[tuple[str, str]]:
    """Each choice with its sign."""
    offered = list(choices) if locked is None or locked in choices else [*choices, locked]
    return [
        ("◉", f"{harmless(choice)} (your prediction)") if choice == locked else ("○", harmless(choice))
        for choice in offered
    ]


def error_text(error: LabError) -> str:
    """What happened, why, and what to do."""
    return harmless(str(error), limit=4000)
