"""A lesson's source, labs/NN-name/lab.md, and the two notebooks that are generated from it.

lab.md is MyST text: prose, and code in ```{code-cell} blocks. A cell tagged `solution` is what the learner is to find;
in their notebook an empty starter cell stands in its place (the cell's `starter`, else a comment that says so).
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab_helpers.core.errors import LabError

KERNEL_NAME = "vm-to-kubernetes"
KERNEL_TITLE = "From VM to Kubernetes"
STARTER = "# Your turn: type your commands here"
SOLUTION = "solution"

_CHECK = re.compile(r"""^\s*check\(\s*(["'])(?P<task>[^"']+)\1""", re.MULTILINE)
_ASKED = re.compile(r"""^\s*(?P<word>predict|recall|compare)\(\s*(["'])(?P<name>[^"']+)\2""", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """One cell of a lesson, as its source has it."""

    kind: str
    """"code" or "markdown"."""
    source: str
    tags: tuple[str, ...] = ()
    starter: str = STARTER
    """What stands in the place of a solution in the learner's notebook."""

    @property
    def is_code(self) -> bool:
        return self.kind == "code"

    @property
    def is_solution(self) -> bool:
        return self.is_code and SOLUTION in self.tags

    @property
    def checks(self) -> tuple[str, ...]:
        """The tasks that this cell checks."""
        return tuple(match["task"] for match in _CHECK.finditer(self.source)) if self.is_code else ()

    @property
    def asked(self) -> tuple[tuple[str, str], ...]:
        """The questions that this cell asks or compares, in order: the word (predict, recall, compare), the name."""
        return tuple((m["word"], m["name"]) for m in _ASKED.finditer(self.source)) if self.is_code else ()

    @property
    def first_line(self) -> str:
        """The cell in one short line, for a progress bar."""
        line = next((line.strip() for line in self.source.splitlines() if line.strip()), "")
        return line if len(line) <= 60 else line[:59] + "…"


@dataclass(frozen=True)
class Section:
    """The cells of one task: those after the check of the task before it, up to and with its own check."""

    task: str
    cells: range
    solutions: tuple[int, ...]
    """The places of its solution cells in the lesson."""
    check: int
    """The place of its check cell."""


@dataclass(frozen=True)
class Lesson:
    """All cells of one lesson, in order."""

    path: Path
    cells: tuple[Cell, ...]

    def sections(self) -> tuple[Section, ...]:
        """The tasks in the order in which their check cells come; a second check of the same task opens none."""
        found: list[Section] = []
        begin = 0
        for position, cell in enumerate(self.cells):
            for task in cell.checks:
                if any(section.task == task for section in found):
                    continue
                cells = range(begin, position + 1)
                solutions = tuple(i for i in cells if self.cells[i].is_solution)
                found.append(Section(task, cells, solutions, position))
                begin = position + 1
        return tuple(found)

    def solution(self, task: str) -> tuple[str, ...]:
        """The sources of the cells that solve the task; none for a task that the lesson does not check."""
        section = next((section for section in self.sections() if section.task == task), None)
        return tuple(self.cells[position].source for position in section.solutions) if section else ()


@dataclass
class Reference:
    """What a cell put out when the solution was run for real. `source` tells to which cell it belongs."""

    source: str
    outputs: list[Any] = field(default_factory=list)


def _module(name: str) -> Any:
    """A library without type annotations; imported late, for it is heavy."""
    return importlib.import_module(name)


def read_lesson(path: Path) -> Lesson:
    """Read lab.md. Raises LabError when it is not there or is not MyST text."""
    jupytext = _module("jupytext")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LabError(f"The lesson {path} cannot be read.", why=str(error)) from None
    try:
        notebook = jupytext.reads(text, fmt="md:myst")
    except Exception as error:  # noqa: BLE001 - a parser says in many ways that a text is not what it reads
        raise LabError(f"The lesson {path} is not MyST text that can be read.", why=str(error)) from None
    return Lesson(path, tuple(_cell(cell) for cell in notebook.cells))


def _cell(cell: Any) -> Cell:
    tags = cell.metadata.get("tags", ())
    starter = cell.metadata.get("starter", STARTER)
    return Cell(
        kind=cell.cell_type,
        source=cell.source.strip("\n"),
        tags=(tags,) if isinstance(tags, str) else tuple(str(tag) for tag in tags),
        starter=str(starter).strip("\n"),
    )


def learner_notebook(lesson: Lesson) -> Any:
    """What the learner gets: unsolved, without outputs."""
    cells = [(cell.kind, cell.starter if cell.is_solution else cell.source, ()) for cell in lesson.cells]
    return _notebook(cells)


def solution_notebook(lesson: Lesson, references: Iterable[Reference] = ()) -> Any:
    """The solved notebook, with the reference outputs of those cells that still have the source that was run."""
    known: dict[str, list[Reference]] = {}
    for reference in references:
        known.setdefault(reference.source, []).append(reference)
    notebook = _notebook([(cell.kind, cell.source, cell.tags) for cell in lesson.cells])
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        candidates = known.get(cell.source)
        if not candidates:
            continue
        reference = candidates.pop(0)
        cell.execution_count = count
        cell.outputs = [_numbered(output, count) for output in reference.outputs]
    return notebook


def references_of(notebook: Any) -> list[Reference]:
    """The reference outputs in a solution notebook: those of the cells that were run."""
    return [
        Reference(cell.source, list(cell.outputs))
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.execution_count is not None
    ]


def _numbered(output: Any, count: int) -> Any:
    if output.get("output_type") == "execute_result":
        output = {**output, "execution_count": count}
    return _module("nbformat").from_dict(output)


def _notebook(cells: Sequence[tuple[str, str, tuple[str, ...]]]) -> Any:
    v4 = _module("nbformat.v4")
    names = _ids((kind, source) for kind, source, _ in cells)
    made = []
    for name, (kind, source, tags) in zip(names, cells, strict=True):
        new = v4.new_code_cell if kind == "code" else v4.new_markdown_cell
        made.append(new(source, id=name, metadata={"tags": list(tags)} if tags else {}))
    metadata = {
        "kernelspec": {"display_name": KERNEL_TITLE, "language": "python", "name": KERNEL_NAME},
        "language_info": {"name": "python"},
    }
    return v4.new_notebook(cells=made, metadata=metadata)


def _ids(cells: Iterable[tuple[str, str]]) -> list[str]:
    """Cell ids that stay the same as long as the cell does, also when another one is put before it."""
    seen: Counter[tuple[str, str]] = Counter()
    names = []
    for cell in cells:
        seen[cell] += 1
        digest = hashlib.sha256(f"{cell[0]}\0{cell[1]}\0{seen[cell]}".encode())
        names.append(digest.hexdigest()[:12])
    return names


def notebook_text(notebook: Any) -> str:
    """The notebook as the text of its file: the same notebook gives the same text."""
    return str(_module("nbformat").writes(notebook, version=4)).rstrip("\n") + "\n"


def read_notebook(path: Path) -> Any:
    """Read an .ipynb. Raises LabError when it is not there or is none."""
    nbformat = _module("nbformat")
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise LabError(f"The notebook {path} cannot be read.", why=str(error).splitlines()[0]) from None
