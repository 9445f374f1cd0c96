"""`lab build`: generates a lesson's two notebooks from lab.md, runs the solution for reference, finds drift."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, computed_field

from lab_helpers.core.errors import ExitCode, LabError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.core.store import write_atomic
from lab_helpers.course import progress
from lab_helpers.course.declare import Lab
from lab_helpers.course.engine import all_labs, load_lab, prepare
from lab_helpers.course.lesson import (
    Lesson,
    Reference,
    learner_notebook,
    notebook_text,
    read_lesson,
    read_notebook,
    references_of,
    solution_notebook,
)
from lab_helpers.course.lint import lint
from lab_helpers.course.nbval_run import SOLUTION
from lab_helpers.course.reference import stored
from lab_helpers.course.rules import Rules
from lab_helpers.course.runner import Runner
from lab_helpers.course.separate import separate_place, turn
from lab_helpers.course.verdict import Outcome
from lab_helpers.course.workspace import NOTEBOOK, open_lab


class Problem(BaseModel):
    """Something in a lesson that must be mended: the file, what is wrong with it, and the command to run, if any."""

    model_config = ConfigDict(frozen=True)

    file: str
    what: str
    do: str = ""


class BuildReport(BaseModel):
    """What `lab build` wrote, and what it found. `lab build --json` prints it."""

    written: list[str] = []
    problems: list[Problem] = []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.NOT_YET if self.problems else ExitCode.PASSED


def build(
    place: Place,
    labs: Sequence[str] = (),
    *,
    run: bool = False,
    check: bool = False,
    tell: Tell = silent,
    rules: Rules | None = None,
) -> BuildReport:
    """Write lab.ipynb and solution.ipynb of these labs (none named: all).

    With `run` the solution is run for real in a separate clean place, and what it puts out becomes the reference; else
    the references that still fit are kept. With `check` nothing is written: the report names what is not as it should.
    """
    rules = rules or Rules()
    report = BuildReport()
    for lab in [load_lab(place, name) for name in labs] or all_labs(place):
        if check:
            report.problems += problems(place, lab, rules)
            continue
        lesson = read_lesson(_folder(place, lab) / "lab.md")
        _write(place, _folder(place, lab) / NOTEBOOK, learner_notebook(lesson), report)
        references = run_for_reference(place, lab, lesson, rules, tell) if run else _references(place, lab)
        solution = solution_notebook(lesson, references)
        _write(place, _folder(place, lab) / SOLUTION, solution, report)
        if unrun := _unrun(solution):
            tell(Note(f"{lab.name}: {len(unrun)} cells have no reference output yet: {_run_command(lab)}"))
    return report


def problems(place: Place, lab: Lab, rules: Rules) -> list[Problem]:
    """What is wrong with a lesson's files: complaints of the lint, drift from lab.md, cells without a reference."""
    folder = _folder(place, lab)
    lesson = read_lesson(folder / "lab.md")
    source = f"labs/{lab.name}/lab.md and tasks.py"
    found = [Problem(file=source, what=complaint) for complaint in lint(lab, lesson, near_misses=rules.near_misses)]
    build_command = f"lab build {lab.name.split('-')[0]}"
    for name, fresh in ((NOTEBOOK, learner_notebook(lesson)), (SOLUTION, solution_notebook(lesson))):
        file = f"labs/{lab.name}/{name}"
        if not (folder / name).is_file():
            found.append(Problem(file=file, what="it is not there", do=build_command))
            continue
        try:
            present = read_notebook(folder / name)
        except LabError as error:
            found.append(Problem(file=file, what=f"{error.what} {error.why}", do=build_command))
            continue
        if _sources(present) != _sources(fresh):
            found.append(Problem(file=file, what="it is not what lab.md gives", do=build_command))
        elif name == NOTEBOOK and any(cell.get("outputs") or cell.get("execution_count") for cell in present.cells):
            found.append(Problem(file=file, what="it holds outputs", do=build_command))
        elif name == SOLUTION and (unrun := _unrun(present)):
            what = f"{len(unrun)} cells have no reference output, the first is `{unrun[0]}`"
            found.append(Problem(file=file, what=what, do=_run_command(lab)))
    return found


def run_for_reference(place: Place, lab: Lab, lesson: Lesson, rules: Rules, tell: Tell = silent) -> list[Reference]:
    """Run the solution in a separate clean place; returns what each cell put out.

    Raises CellError for a cell that fails, and LabError when a check cell does not say PASSED.
    """
    prepare(place, lab, tell)
    with turn(place, rules, tell), separate_place(place, rules) as apart:
        open_lab(apart, lab)
        with Runner(apart, lab.name, lesson, rules) as runner:
            code = [position for position, cell in enumerate(lesson.cells) if cell.is_code]
            for done, position in enumerate(code):
                cell = lesson.cells[position]
                tell(Progress(f"{lab.name}: {cell.first_line}", done, len(code), "cells"))
                runner.run(position)
                for task in cell.checks:
                    said = progress.verdicts(apart, lab.name, task)
                    if not said or said[-1].outcome is not Outcome.PASSED:
                        raise LabError(
                            f'{lab.name}: check("{task}") did not pass when the solution was run for reference.',
                            why=f"it said {said[-1].outcome}, state {said[-1].state!r}" if said else "it said nothing",
                            do=f"run `lab prove {lab.name.split('-')[0]}` and read what it says",
                        )
        ran = [runner.notebook.cells[position] for position in code]
        return [Reference(cell.source, stored(cell.outputs, apart)) for cell in ran]


def _folder(place: Place, lab: Lab) -> Path:
    return place.labs / lab.name


def _run_command(lab: Lab) -> str:
    return f"lab build --run {lab.name.split('-')[0]}"


def _references(place: Place, lab: Lab) -> list[Reference]:
    path = _folder(place, lab) / SOLUTION
    return references_of(read_notebook(path)) if path.is_file() else []


def _sources(notebook: Any) -> list[tuple[str, str, str, tuple[str, ...]]]:
    """What must follow from lab.md: each cell's id, kind, source and tags."""
    return [(c.get("id", ""), c.cell_type, c.source, tuple(c.metadata.get("tags", ()))) for c in notebook.cells]


def _unrun(notebook: Any) -> list[str]:
    """The first lines of the code cells that were not run for reference."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code" and cell.execution_count is None)
    return [cell.source.split("\n")[0] for cell in cells]


def _write(place: Place, path: Path, notebook: Any, report: BuildReport) -> None:
    text = notebook_text(notebook)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_atomic(path, text)
        report.written.append(str(path.relative_to(place.root)))
