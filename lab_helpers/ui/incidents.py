"""What `lab break` says: the report of the users, how it is meant to run, and what to do when it is mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_helpers.course.oncall import TASK
from lab_helpers.ui.text import Line

if TYPE_CHECKING:
    from lab_helpers.course.declare import Lab
    from lab_helpers.course.incidents import Started
    from lab_helpers.course.oncall import Incident


def started_lines(started: Started) -> list[Line]:
    """The report. It is the same for the same seed, and never tells the cause."""
    report = started.report
    number = report.lab.split("-")[0]
    lines = [Line(f"You are on call · {report.lab}, incident of seed {report.seed}", style="head")]
    if not started.fresh:
        lines = [Line(f"There is an incident already, and it is not mended · {report.lab}, seed {report.seed}")]
    lines.append(Line(started.incident.symptom, style="unmet", label="users say:", indent=2))
    lines.append(Line(started.brief, label="meant to be:", indent=2))
    lines.append(Line(f"lab check {number} {TASK}", style="command", label="mended?", indent=2))
    lines.append(Line(f"lab hint {number} {TASK}", style="command", label="a hint:", indent=2))
    lines.append(Line(f"lab break {number} --undo", style="command", label="give it up:", indent=2))
    return lines


def undone_lines(lab: Lab, incident: Incident | None) -> list[Line]:
    """What was taken back, and what it was: who gives up may know."""
    if incident is None:
        return [Line(f"There is no open incident in {lab.name}.")]
    return [
        Line(f"Taken back · {lab.name}", style="head"),
        Line(incident.explanation, label="what it was:", indent=2),
    ]
