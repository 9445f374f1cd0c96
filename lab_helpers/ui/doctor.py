"""The doctor's report as text: the ID, by which errors and verdicts name a finding, what was seen, the advice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lab_helpers.doctor import Finding, Level
from lab_helpers.ui.text import Line, harmless

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.doctor import Report

SYMBOLS = {Level.OK: "✔", Level.NOTE: "·", Level.WARN: "!", Level.FAIL: "✘"}
STYLES = {Level.OK: "met", Level.NOTE: "quiet", Level.WARN: "unmet", Level.FAIL: "BROKEN"}
LABEL_WIDTH = 20


def report_lines(report: Report) -> list[Line]:
    """All findings, and what they come to."""
    lines = list(finding_lines(report.findings))
    failed = len(report.failed())
    if failed:
        lines.append(Line(f"{failed} of these must be put right before the labs can run.", style="BROKEN"))
    elif report.worst is Level.WARN:
        lines.append(Line("Everything that the labs need is here; the lines with ! tell what could be better."))
    else:
        lines.append(Line("Everything that the labs need is here."))
    return lines


def plan_lines(place: Place, report: Report) -> list[Line]:
    """What `--fix` is about to do. It adds and starts, and removes nothing; all else is left to the person."""
    from lab_helpers.doctor import plan

    steps = [Line(f"--fix will {step}") for step in plan(place, report)]
    rest = [finding for finding in report.findings if finding.advice and not finding.fixable]
    if not steps:
        steps = [Line("There is nothing that --fix can cure safely.")]
    if rest:
        names = ", ".join(finding.id for finding in rest)
        steps.append(Line(f"It leaves alone: {names}. The line with → below each says what you can do."))
    return steps


def finding_lines(findings: Iterable[Finding]) -> Iterable[Line]:
    """Each finding, with its advice on a line below."""
    for finding in findings:
        label = f"{SYMBOLS[finding.level]} {finding.id}".ljust(LABEL_WIDTH)
        yield Line(harmless(finding.saw), style=STYLES[finding.level], label=label)
        if finding.advice:
            yield Line(f"→ {harmless(finding.advice)}", style="hint", indent=LABEL_WIDTH)
