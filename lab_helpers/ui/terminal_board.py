"""`lab` alone on a terminal: the board, and single keys for what one does next. Elsewhere it is `lab status`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lab_helpers.core.errors import ExitCode, LabError
from lab_helpers.ui.board import Board, LabRow, read_board
from lab_helpers.ui.board_panel import GLANCE_S, stamp
from lab_helpers.ui.keys import END, key, single_keys
from lab_helpers.ui.listing import list_lines, next_step, running_lines, status_lines, task_lines
from lab_helpers.ui.terminal import show_table
from lab_helpers.ui.text import MET, UNREACHED, Line, points_text

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.ui.checks import Answer
    from lab_helpers.ui.terminal import Screen

QUIT = ("q", END, "\x1b")
BAR = 10
"""How many characters the bar of a lab's tasks has."""


class TerminalBoard:
    """The board on one terminal. What the last key brought stands below it."""

    def __init__(self, place: Place, screen: Screen) -> None:
        self._place, self._screen = place, screen
        self._answer: list[Line] = []
        self._look()

    def run(self) -> ExitCode:
        """Until somebody quits."""
        self._draw()
        with single_keys():
            while (pressed := key(GLANCE_S)) not in QUIT:
                if action := self._actions().get(pressed):
                    self._do(action[1])
                elif stamp(self._place.progress) != self._seen:  # in the notebook, or in another terminal
                    self._look()
                    self._draw()
        return ExitCode.PASSED

    def _look(self) -> None:
        self._seen = stamp(self._place.progress)
        self._board = read_board(self._place)

    # -- what is seen -------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        board, screen = self._board, self._screen
        screen.clear()
        screen.show([Line(_headline(board), style="head")])
        coming = board.next_lab
        show_table(("", "lab", "tasks", "points", "time"), [_row(lab, here=lab is coming) for lab in board.labs])
        lines = [Line(coming.title, style="head"), *task_lines(coming), Line("")] if coming else []
        lines += [*running_lines(board), Line(next_step(coming), style="hint"), Line("")]
        if self._answer:
            lines += [*self._answer, Line("")]
        lines.append(Line(self._keys(), style="head"))
        screen.show(lines)

    def _keys(self) -> str:
        names = [f"{pressed}: {name}" for pressed, (name, _) in self._actions().items()]
        return " · ".join([*names, "q: quit"])

    def _actions(self) -> dict[str, tuple[str, Callable[[LabRow], None]]]:
        """Key -> what it is called, and what it does with the lab that is next."""
        actions: dict[str, tuple[str, Callable[[LabRow], None]]] = {}
        lab = self._board.next_lab
        if self._board.lost:
            actions["r"] = ("resume", self._resume)
        if lab:
            actions["n"] = ("next: open it", self._open)
            if lab.opened:
                actions |= {"c": ("check", self._check), "h": ("hint", self._hint), "w": ("watch", self._watch)}
        return {**actions, "l": ("list", self._list)}

    # -- what the keys do ---------------------------------------------------------------------------------------------

    def _do(self, action: Callable[[LabRow], None]) -> None:
        """One key's work; what goes wrong is told below the board, and Ctrl-C ends the work and not the board."""
        self._answer = []
        try:
            action(self._board.next_lab or self._board.labs[0])
        except LabError as error:
            self._answer = [Line(str(error), style="unmet")]
        except KeyboardInterrupt:
            self._answer = [Line("Stopped. The same key goes on.", style="unmet")]
        self._look()
        self._draw()

    def _open(self, lab: LabRow) -> None:
        from lab_helpers.ui.jupyter import open_course

        opened = open_course(self._place, lab.name, tell=self._screen.tell)
        self._answer = [Line(f"{lab.title} is open in JupyterLab: {opened.url}")]

    def _check(self, lab: LabRow) -> None:
        from lab_helpers.ui.checks import ask_check

        self._ask(ask_check, lab)

    def _hint(self, lab: LabRow) -> None:
        from lab_helpers.ui.checks import ask_hint

        self._ask(ask_hint, lab)

    def _ask(self, question: Callable[..., Answer], lab: LabRow) -> None:
        from lab_helpers.course.engine import load_lab
        from lab_helpers.ui.text import verdict_lines

        if lab.next_task:
            answer = question(self._place, load_lab(self._place, lab.name), lab.next_task.id)
            more = "press h" if answer.more else ""
            self._answer = verdict_lines(answer.verdict, answer.hints, more=more)

    def _watch(self, lab: LabRow) -> None:
        from lab_helpers.course.engine import load_lab
        from lab_helpers.ui.watch import run_watch

        run_watch(self._place, load_lab(self._place, lab.name), self._screen)

    def _list(self, lab: LabRow) -> None:
        del lab
        self._answer = list_lines(self._board)

    def _resume(self, lab: LabRow) -> None:
        del lab
        from lab_helpers.ui.resume import run_resume

        run_resume(self._place, None, yes=True, screen=self._screen)


def run_board(place: Place, screen: Screen) -> ExitCode:
    """Show the board and heed keys until somebody quits."""
    if not read_board(place).labs:
        screen.show(status_lines(read_board(place)))
        return ExitCode.PASSED
    return TerminalBoard(place, screen).run()


def _headline(board: Board) -> str:
    passed, tasks = sum(lab.passed for lab in board.labs), sum(len(lab.tasks) for lab in board.labs)
    points, total = sum(lab.points for lab in board.labs), sum(lab.total for lab in board.labs)
    return f"From VM to Kubernetes: {passed} of {tasks} tasks, {points_text(points, total)}"


def _row(lab: LabRow, *, here: bool) -> tuple[str, tuple[str, ...]]:
    from lab_helpers.ui.listing import time_text

    sign = MET if lab.done else "▸" if here else UNREACHED
    full = round(BAR * lab.passed / len(lab.tasks)) if lab.tasks else BAR
    tasks = f"{'█' * full}{'░' * (BAR - full)} {lab.passed} of {len(lab.tasks)}"
    style = "met" if lab.done else "head" if here else ""
    return style, (sign, f"{lab.name[:2]} {lab.title}", tasks, f"{lab.points} of {lab.total}", time_text(lab))
