"""What every lesson keeps to, checked on its text and its declarations alone. Nothing is run."""

from __future__ import annotations

from collections.abc import Iterator

from lab_helpers.course.declare import Lab, Task
from lab_helpers.course.lesson import Lesson
from lab_helpers.course.lint_questions import lint_questions

MAX_LINES = 10


def lint(lab: Lab, lesson: Lesson, *, near_misses: int = 3) -> list[str]:
    """All complaints about one lesson, one sentence each. `near_misses`: how many a task has at least."""
    complaints = [*_cells(lesson), *_checks(lab, lesson), *lint_questions(lab, lesson)]
    for task in lab.tasks.values():
        complaints += _task(task, near_misses)
    return complaints


def _cells(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.cells:
        lines = len(cell.source.splitlines())
        if cell.is_code and lines > MAX_LINES:
            yield f"the cell `{cell.first_line}` has {lines} lines; {MAX_LINES} are allowed"
        if cell.is_code and not cell.source.strip():
            yield "a code cell is empty"


def _checks(lab: Lab, lesson: Lesson) -> Iterator[str]:
    checked = [task for cell in lesson.cells for task in cell.checks]
    for name in dict.fromkeys(checked):
        if name not in lab.tasks:
            yield f'check("{name}"): the lab has no such task'
    for name in lab.tasks:
        if checked.count(name) != 1:
            yield f'the task {name} has {checked.count(name)} cells with check("{name}"); it needs one'
    sections = lesson.sections()
    for section in sections:
        if section.task in lab.tasks and not section.solutions:
            yield f'there is no cell tagged `solution` before check("{section.task}") and after the check before it'
    order = [section.task for section in sections if section.task in lab.tasks]
    declared = [name for name in lab.tasks if name in order]
    if order != declared:
        yield f"the checks come in the order {', '.join(order)}; the tasks are declared as {', '.join(declared)}"


def _task(task: Task, near_misses: int) -> Iterator[str]:
    if not task.criteria:
        yield f"the task {task.id} has no criteria"
    if not task.hints:
        yield f"the task {task.id} has no hints"
    for state, hints in task.hints.items():
        if not hints or isinstance(hints, str) or not all(hint.strip() for hint in hints):
            yield f"the task {task.id} has no hints for the state {state!r}, or an empty one"
    if len(task.near_misses) < near_misses:
        yield f"the task {task.id} has {len(task.near_misses)} near misses; it needs {near_misses}"
    names = [near.id for near in task.near_misses]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"the task {task.id} has two near misses named {name}"
