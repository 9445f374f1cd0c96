"""The terminal: colours and a moving progress line where there is a terminal, the same text without them elsewhere.

What a command answers goes to stdout; progress, notes and errors go to stderr, so that `--json` stays readable.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from lab_helpers.core.events import Event, Note, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from lab_helpers.core.errors import LabError
    from lab_helpers.ui.text import Line

STYLES = {
    "PASSED": "bold green",
    "NOT_YET": "bold yellow",
    "BLOCKED": "bold magenta",
    "BROKEN": "bold red",
    "head": "bold",
    "met": "green",
    "unmet": "bold yellow",
    "unreached": "bright_black",
    "quiet": "bright_black",
    "command": "cyan",
    "hint": "cyan",
    # What runs on one kernel has one colour in the boundary map, and says its number as well.
    "kernel-1": "bright_blue",
    "kernel-2": "yellow",
    "kernel-3": "green",
    "kernel-4": "magenta",
    "kernel-5": "cyan",
    "kernel-6": "red",
}


CELL_WIDTH = 80
"""How many columns a notebook's cell shows before the browser breaks a line in the middle of a word."""


class Screen:
    """Where a command talks to its user. Use it as a context manager: leaving it removes the progress line."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._current: Progress | None = None
        self._since = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_bar()

    @property
    def interactive(self) -> bool:
        """True with a terminal on both sides that can do more than a typewriter."""
        return _is_terminal(sys.stdin) and _is_terminal(sys.stdout)

    def clear(self) -> None:
        """An empty screen; what was above can still be scrolled to."""
        from rich.console import Console

        self._end_bar()
        Console().clear()

    def show(self, lines: Iterable[Line], *, fold: bool = False) -> None:
        """The answer of a command, to stdout. With `fold`, long lines are folded where a cell would break them."""
        from lab_helpers.ui.text import plain

        self._end_bar()
        lines = list(lines)
        if _is_terminal(sys.stdout):
            _show_coloured(lines)
        else:
            width = CELL_WIDTH if fold and _in_notebook() else None
            print(plain(lines, width), flush=True)  # noqa: T201 - this is where the package talks

    def say(self, text: str) -> None:
        """One plain answer, to stdout."""
        self._end_bar()
        print(text, flush=True)  # noqa: T201

    def error(self, error: LabError) -> None:
        """What happened, why, what to do: to stderr."""
        from lab_helpers.ui.text import error_text

        self._end_bar()
        _to_stderr(error_text(error))

    def ask(self, question: str) -> bool:
        """A yes or no; no without a terminal to ask on."""
        self._end_bar()
        if not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
            return False
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def tell(self, event: Event) -> None:
        """The listener for long work: what it does, how far it is, how long it still takes, how to stop it."""
        if isinstance(event, Note):
            if self._bar is not None:
                self._bar.console.print(event.text, markup=False, highlight=False)
            else:
                _to_stderr(event.text)
            return
        new = self._current is None or event.what != self._current.what
        if new:
            self._since = time.monotonic()
        self._current = event
        if _is_terminal(sys.stderr):
            self._move_bar(event, new=new)
        elif new:
            typical = f" (about {event.typical_s:.0f} s)" if event.typical_s else ""
            _to_stderr(f"{event.what}{typical} ...")

    def tell_lines(self, lines: Iterable[Line]) -> None:
        """Lines that are not the answer, to stderr."""
        from lab_helpers.ui.text import plain

        self.tell(Note(plain(lines)))

    def busy(self, what: str, typical_s: float) -> None:
        """A step that says nothing itself and takes seconds: a moving line on a terminal, elsewhere nothing."""
        if _is_terminal(sys.stderr):
            self.tell(Progress(what, typical_s=typical_s))

    def left(self) -> str:
        """How long the current step still takes, as text; empty while nobody can tell."""
        event = self._current
        if event is None:
            return ""
        spent = time.monotonic() - self._since
        if event.total and 0 < event.done <= event.total and spent > 1:
            return f"about {duration(spent * (event.total - event.done) / event.done)} left"
        if event.typical_s:
            if spent > 1.3 * event.typical_s:
                return f"{duration(spent)}, longer than usual"
            return f"about {duration(max(event.typical_s - spent, 1))} left"
        return f"{duration(spent)} so far" if spent > 1 else ""

    def _move_bar(self, event: Progress, *, new: bool) -> None:
        if self._bar is None:
            self._bar = _new_bar(self)
            self._task = self._bar.add_task("", total=None, amount="")
            self._bar.start()
        assert self._task is not None
        amount = _amount(event)
        if new:
            self._bar.reset(self._task, total=event.total, description=event.what, amount=amount)
        self._bar.update(self._task, completed=event.done, total=event.total, description=event.what, amount=amount)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._current = None


def duration(seconds: float) -> str:
    """`40 s`, `3 min`."""
    return f"{max(seconds, 0):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _in_notebook() -> bool:
    """A notebook's shell lines have a terminal of sorts, but what they print ends up in a cell: no moving parts."""
    return bool(os.environ.get("JPY_PARENT_PID"))


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb" and not _in_notebook()


def _amount(event: Progress) -> str:
    """`6.5 of 60 MB`; empty while the total is not known."""
    if not event.total:
        return ""
    done, total = (
        f"{number:.0f}" if number == int(number) else f"{number:.1f}" for number in (event.done, event.total)
    )
    return f"{done} of {total} {event.unit}".strip()


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _new_bar(screen: Screen) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as RichProgress
    from rich.progress import Task as RichTask
    from rich.text import Text

    class Left(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            del task
            return Text(f"{screen.left()} · Ctrl-C stops".removeprefix(" · "), style="bright_black")

    return RichProgress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[amount]}", markup=False),
        Left(),
        console=Console(stderr=True),
        transient=True,
    )


def show_table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> None:
    """A table to the terminal on stdout; each row is its style's name and its cells. Narrow windows fold the cells."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for head in heads:
        shown.add_column(head, overflow="fold")
    for style, cells in rows:
        shown.add_row(*(Text(cell) for cell in cells), style=STYLES.get(style, ""))
    Console(highlight=False, emoji=False, markup=False).print(shown)


def _show_coloured(lines: list[Line]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, emoji=False, markup=False)
    for line in lines:
        text = Text(line.text, style=STYLES.get(line.style, ""), overflow="fold")
        if not line.head:
            console.print(text)
            continue
        row = Table.grid()  # so that a long value goes on under its own beginning, and not under its label
        row.add_column(no_wrap=True)
        row.add_column()
        row.add_row(Text(line.head, style="bright_black"), text)
        console.print(row)
