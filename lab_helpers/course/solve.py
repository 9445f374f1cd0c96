"""Solves a lab for the learner: runs the solution's cells for real, in their world, without touching their notebook."""

from __future__ import annotations

from collections.abc import Callable

from lab_helpers.core.events import Progress, Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.course.declare import Lab
from lab_helpers.course.engine import check_task, find_task, load_lab
from lab_helpers.course.lesson import Lesson, Section, read_lesson
from lab_helpers.course.rules import Rules
from lab_helpers.course.runner import Runner, environment
from lab_helpers.course.verdict import Verdict
from lab_helpers.course.workspace import open_lab


def solve(
    place: Place, lab: Lab | str, task: str | None = None, tell: Tell = silent, *, rules: Rules | None = None
) -> list[Verdict]:
    """Run the solution up to the check of `task` (None: to its end); returns the verdict of each task on the way.

    Raises CellError, with what it put out, for the first cell that fails. Can be run again.
    """
    rules = rules or Rules()
    lab = load_lab(place, lab)
    lesson = read_lesson(place.labs / lab.name / "lab.md")
    last = len(lesson.cells) - 1
    if task is not None:
        find_task(lab, task)
        last = next((section.check for section in lesson.sections() if section.task == task), last)
    open_lab(place, lab, tell)
    verdicts: list[Verdict] = []

    def judge(section: Section) -> None:
        """Where its check stands: a later step may rightly undo what this one was about."""
        verdicts.append(check_task(place, lab, section.task, world_for=rules.world_for))

    with environment(place, rules.kernel):
        run_solution(place, lab, lesson, last, tell, rules, arrived=judge)
    return verdicts


def run_solution(
    place: Place,
    lab: Lab,
    lesson: Lesson,
    last: int,
    tell: Tell,
    rules: Rules,
    *,
    arrived: Callable[[Section], None],
) -> None:
    """Run the cells of the solution up to the place `last` in a kernel like the learner's, in `environment`.

    The cells that only check are passed over, and `arrived` is called in their place; what it raises, stops all.
    Raises CellError, with what it put out, for the first cell that fails.
    """
    stops = {section.check: section for section in lesson.sections()}
    code = [position for position in range(last + 1) if lesson.cells[position].is_code]
    with Runner(place, lab.name, lesson, rules) as runner:
        for done, position in enumerate(code):
            cell = lesson.cells[position]
            tell(Progress(f"{lab.name}: {cell.first_line}", done, len(code), "cells"))
            if len(cell.checks) != len(cell.source.splitlines()):
                runner.run(position)
            if position in stops:
                arrived(stops[position])
        tell(Progress(f"{lab.name}: solved", len(code), len(code), "cells"))
