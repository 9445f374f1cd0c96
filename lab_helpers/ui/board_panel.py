"""The board in a notebook: a table of the labs that follows the learner's progress, wherever a check is made.

Its colours are JupyterLab's, for the light and the dark theme; nothing is said by colour alone.
"""

from __future__ import annotations

import threading
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from lab_helpers.ui.board import Board, LabRow, read_board
from lab_helpers.ui.listing import next_step, running_lines, status_lines, time_text
from lab_helpers.ui.panel_html import prose
from lab_helpers.ui.text import MET, UNREACHED, harmless, plain, points_text
from lab_helpers.ui.widgets import ipywidgets

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place

GLANCE_S = 1
"""Between two glances at the stored progress, in seconds; one glance is one look at a file's time of change."""

STYLE = """<style>
.lab-board { color: var(--jp-content-font-color1); max-width: 52rem; overflow-x: auto;
  font: var(--jp-content-font-size1)/1.5 var(--jp-content-font-family); }
.lab-board table { border-collapse: collapse; width: 100%; font-size: inherit; }
.lab-board caption { text-align: left; font-weight: bold; padding: .3em 0; color: inherit; caption-side: top; }
.lab-board th, .lab-board td { text-align: left; padding: .3em .7em; vertical-align: top;
  border-bottom: 1px solid var(--jp-border-color2); background: none; color: inherit; }
.lab-board tbody th { font-weight: normal; }
.lab-board tr.here > * { font-weight: bold; background: color-mix(in srgb, var(--jp-brand-color1) 12%, transparent); }
.lab-board .bar { display: inline-block; width: 5em; height: .6em; margin-right: .5em; border-radius: 3px;
  border: 1px solid var(--jp-border-color1); overflow: hidden; }
.lab-board .bar > span { display: block; height: 100%; background: var(--jp-brand-color1); }
.lab-board p { margin: .4em 0; }
.lab-board code { background: var(--jp-layout-color2); padding: .1em .4em; border-radius: 2px; color: inherit;
  font-family: var(--jp-code-font-family); font-size: var(--jp-code-font-size); }
</style>"""

_following: list[threading.Event] = []
"""What stops the board that this kernel showed last: only the newest one follows."""


class BoardPanel:
    """The board as a widget, and as the text that says the same."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.widget = ipywidgets().HTML()
        self.text = ""
        self._seen = stamp(place.progress)
        self.refresh()

    def refresh(self) -> None:
        """Show what is so now."""
        board = read_board(self._place)
        self.text = plain(status_lines(board))
        self.widget.value = board_html(board)

    def follow(self, stop: threading.Event, glance_s: float = GLANCE_S) -> None:
        """Refresh whenever the stored progress changes, until `stop` is set."""
        while not stop.wait(glance_s):
            if (now := stamp(self._place.progress)) != self._seen:
                self._seen = now
                self.refresh()

    def follow_beside(self) -> threading.Thread:
        """Follow in a thread of its own; the board that was shown before this one stays as it is."""
        while _following:
            _following.pop().set()
        stop = threading.Event()
        _following.append(stop)
        thread = threading.Thread(target=self.follow, args=(stop,), name="board", daemon=True)
        thread.start()
        return thread


def stamp(file: Path) -> tuple[int, int]:
    """Size and time of change; what cannot be looked at has none."""
    try:
        facts = file.stat()
    except OSError:
        return -1, 0
    return facts.st_size, facts.st_mtime_ns


def board_html(board: Board) -> str:
    """The board as an HTML table, with what runs and the next step below it."""
    passed, tasks = sum(lab.passed for lab in board.labs), sum(len(lab.tasks) for lab in board.labs)
    points, total = sum(lab.points for lab in board.labs), sum(lab.total for lab in board.labs)
    coming = board.next_lab
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Lab", "Tasks", "Points", "Time"))
    rows = "".join(_row(lab, here=lab is coming) for lab in board.labs)
    below = "".join(f"<p>{prose(line.text)}</p>" for line in running_lines(board))
    return (
        f'{STYLE}<div class="lab-board" role="region" aria-label="Your progress" tabindex="0"><table>'
        f"<caption>{passed} of {tasks} tasks, {points_text(points, total)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{below}<p>{prose(next_step(coming))}</p></div>"
    )


def _row(lab: LabRow, *, here: bool) -> str:
    sign, word = (MET, "done") if lab.done else ("▸", "next") if here else (UNREACHED, "")
    share = 100 * lab.passed // len(lab.tasks) if lab.tasks else 100
    name = f'<span aria-hidden="true">{sign}</span> {escape(lab.name[:2])} {escape(harmless(lab.title))}'
    bar = f'<span class="bar" aria-hidden="true"><span style="width: {share}%"></span></span>'
    cells = [f"{bar}{lab.passed} of {len(lab.tasks)}", f"{lab.points} of {lab.total}", escape(time_text(lab))]
    word = f" ({word})" if word else ""
    columns = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr{" class=here" if here else ""}><th scope="row">{name}{word}</th>{columns}</tr>'
