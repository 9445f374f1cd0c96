"""Lists and tables in plain text: the labs, the learner's way, what was proven, built and removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab_helpers.course.verdict import Outcome
from lab_helpers.ui.text import MET, SYMBOLS, UNMET, UNREACHED, Line, harmless, points_text

if TYPE_CHECKING:
    from lab_helpers.course.build import BuildReport
    from lab_helpers.course.proof import ProofReport
    from lab_helpers.course.workspace import Cleaned
    from lab_helpers.ui.board import Board, LabRow, QuestionsRow


def table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> list[Line]:
    """Columns under their heads; each row is its style and its cells."""
    cells = [list(heads), *(list(row) for _, row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    styles = ["head", *(style for style, _ in rows)]
    return [
        Line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), style=style)
        for style, row in zip(styles, cells, strict=True)
    ]


def list_lines(board: Board) -> list[Line]:
    """All labs: what they are, how long they take, what they need."""
    rows = []
    for lab in board.labs:
        needs = [
            f"{mib / 1024:.1f} GiB {of}" for mib, of in ((lab.memory_mib, "memory"), (lab.disk_mib, "disk")) if mib
        ]
        rows.append(("", (lab.name, lab.title, f"{lab.minutes} min", str(len(lab.tasks)), ", ".join(needs) or "-")))
    return table(("lab", "title", "time", "tasks", "needs"), rows)


def status_lines(board: Board) -> list[Line]:
    """How far the learner got, and the next step. Tasks show for a lab that was opened, is next, or is alone."""
    passed, tasks = sum(lab.passed for lab in board.labs), sum(len(lab.tasks) for lab in board.labs)
    points, total = sum(lab.points for lab in board.labs), sum(lab.total for lab in board.labs)
    lines = [Line(f"From VM to Kubernetes: {passed} of {tasks} tasks, {points_text(points, total)}", style="head")]
    coming = board.next_lab
    for lab in board.labs:
        style, symbol = ("met", MET) if lab.done else ("", "▸" if lab is coming else UNREACHED)
        score = f"{lab.passed} of {len(lab.tasks)} tasks, {points_text(lab.points, lab.total)}"
        lines.append(Line(f"{symbol} {lab.name}  {lab.title}: {score}; {time_text(lab)}", style=style))
        if len(board.labs) == 1 or ((lab.opened or lab is coming) and not lab.done):
            lines += task_lines(lab)
    lines.append(Line(""))
    if board.questions is not None:
        lines.append(Line(_questions_text(board.questions), style="quiet"))
    lines += running_lines(board)
    lines.append(Line(next_step(coming), style="hint"))
    return lines


def time_text(lab: LabRow) -> str:
    """`35 min planned, 22 min so far`."""
    minutes = round(lab.spent_s / 60)
    so_far = f", {minutes or 'under 1'} min so far" if lab.spent_s else ""
    return f"{lab.minutes} min planned{so_far}"


def running_lines(board: Board) -> list[Line]:
    """What runs now, and what should and does not."""
    lines = []
    if board.running:
        lines.append(Line(f"Runs now: {', '.join(board.running)}", style="quiet"))
    if board.jupyter_port is not None:
        lines.append(Line(f"JupyterLab runs on port {board.jupyter_port}; `lab open` shows it again.", style="quiet"))
    return lines + lost_lines(board)


def lost_lines(board: Board) -> list[Line]:
    """After a restart or a crash: what is off that was on, in at most two lines. Empty when nothing is."""
    if not board.lost:
        return []
    first = [Line("This machine was restarted since you last worked here.", style="unmet")] if board.rebooted else []
    what = ", ".join(board.lost)
    return [*first, Line(f"Off, and it was on: {what}. `lab resume` brings it back.", style="unmet")]


def task_lines(lab: LabRow) -> list[Line]:
    """The tasks of one lab, with what the learner has of them."""
    lines = []
    for task in lab.tasks:
        tried = f", {task.tries} tries" if task.tries > 1 and not task.passed else ""
        text = (
            f"{MET if task.passed else UNREACHED} {task.id}: {task.title} ({points_text(task.best, task.total)}{tried})"
        )
        lines.append(Line(text, style="met" if task.passed else "", indent=4))
    if lab.asked:
        lines.append(Line(f"predictions and recall questions: {lab.answered} of {lab.asked}", style="quiet", indent=4))
    return lines


def _questions_text(row: QuestionsRow) -> str:
    """How many of the ten questions were answered; the second round is told of once the first is over."""
    text = f"questions before: {row.before} of {row.total} answered"
    if row.after or row.before == row.total:
        text += f", after: {row.after} of {row.total}"
    return text + "    (lab questions)"


def next_step(lab: LabRow | None) -> str:
    """What to type next."""
    if lab is None:
        return "All done. `lab prove` shows that the checks can be trusted."
    if not lab.opened:
        return f"Next: lab open {lab.name}"
    task = lab.next_task
    assert task
    return f"Next: lab check {lab.name} {task.id}    (a hint: lab hint {lab.name} {task.id})"


def proof_lines(report: ProofReport) -> list[Line]:
    """The table of `lab prove`, and under it each miss with its evidence."""
    rows = []
    for lab in report.labs:
        for task in lab.tasks:
            near = f"{task.near_misses_rejected} of {task.near_misses}"
            good = task.fail_first and task.passes and task.near_misses_rejected == task.near_misses
            cells = (lab.lab, task.task, _yes(task.fail_first), _yes(task.passes), near, str(len(lab.left_over)))
            rows.append(("met" if good else "NOT_YET", (*cells, f"{task.seconds:.0f} s")))
    lines = table(("lab", "task", "fail first", "pass", "near misses", "left over", "time"), rows)
    for lab in report.labs:
        if lab.blocked:
            lines.append(Line(f"{SYMBOLS[Outcome.BLOCKED]} {lab.lab}: {harmless(lab.blocked)}", style="BLOCKED"))
    for miss in report.misses:
        lines.append(Line(f"{UNMET} {miss.lab} {miss.task} ({miss.phase}): {harmless(miss.what)}", style="BROKEN"))
        if miss.evidence:
            lines.append(Line(harmless(miss.evidence), style="quiet", indent=4))
    if not report.misses and not any(lab.blocked for lab in report.labs):
        lines.append(Line(f"{MET} proven: {len(rows)} tasks in {len(report.labs)} labs", style="PASSED"))
    return lines


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


def build_lines(report: BuildReport) -> list[Line]:
    """The notebooks that were written, and what is wrong with the lessons' sources."""
    lines = [Line(f"written: {path}", style="met") for path in report.written]
    for problem in report.problems:
        lines.append(Line(f"{UNMET} {problem.file}: {harmless(problem.what)}", style="NOT_YET"))
        if problem.do:
            lines.append(Line(problem.do, style="command", indent=4))
    return lines or [Line("Everything is up to date.", style="met")]


def clean_lines(cleaned: Cleaned) -> list[Line]:
    """What was removed, what could not be, and what appeared meanwhile that the course did not make."""
    lines = [Line(f"removed {what}") for what in cleaned.removed] or [Line("Nothing of the course was left to remove.")]
    for head, found in (
        ("Still there:", cleaned.left),
        ("Left alone, since the course did not make it:", cleaned.others),
    ):
        if found:
            lines.append(Line(head, style="head"))
            lines += [Line(what, indent=2) for what in found]
    return lines
