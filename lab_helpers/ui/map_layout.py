"""Where the boxes of the boundary map are drawn: nested, side by side while there is room, else below each other.

Pure geometry, in pixels. A box is as wide as it is told to be, and as high as its words and what is inside of it need.
Names are set in a typeface whose letters are all equally wide, so that their width is known without drawing them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from lab_helpers.ui.map_text import KINDS, extras, facts, kernel_words, name_of

if TYPE_CHECKING:
    from lab_helpers.course.boundaries_now import Box

PAD = 10.0
"""Between a box's edge and what is in it."""
GAP = 10.0
"""Between two boxes."""
LINE = 17.0
"""From one line of words to the next."""
MIN_LEAF, MAX_LEAF = 152.0, 290.0
"""How wide a box is in which there is none."""
MIN_INNER = 260.0
"""How wide a box with others in it should be at least to stand beside another one."""
NAME_EM, TEXT_EM = 7.9, 6.3
"""How wide a letter is: of names (13 px, all equal), and of other words (11.5 px, generously)."""
MAX_NAME_LINES = 4

Role = Literal["kind", "kernel", "name", "facts", "extra"]


@dataclass(frozen=True)
class Words:
    """A line of words in a box. `y` is the line on which the letters stand; a kernel's sign ends at `x`."""

    text: str
    role: Role
    x: float
    y: float


@dataclass(frozen=True)
class Placed:
    """A box with its place on the page, its words and the boxes in it, all from the page's upper left corner."""

    box: Box
    x: float
    y: float
    width: float
    height: float
    words: tuple[Words, ...]
    children: tuple[Placed, ...]

    def moved(self, x: float, y: float) -> Placed:
        """The same elsewhere: that much further to the right and down."""
        return replace(
            self,
            x=self.x + x,
            y=self.y + y,
            words=tuple(replace(words, x=words.x + x, y=words.y + y) for words in self.words),
            children=tuple(child.moved(x, y) for child in self.children),
        )

    def walk(self) -> list[Placed]:
        """It and all that is in it."""
        return [self, *(inner for child in self.children for inner in child.walk())]


def layout(machine: Box, width: float, now: float) -> Placed:
    """The boxes on a page of that width; it gets wider where they are nested too deeply for it."""
    return _Layout(now).place(machine, max(width, least_width(machine)))


def least_width(box: Box) -> float:
    """The width below which a box cannot be drawn."""
    return max(MIN_LEAF, *(2 * PAD + least_width(child) for child in box.children), 0)


class _Layout:
    def __init__(self, now: float) -> None:
        self.now = now

    def place(self, box: Box, width: float) -> Placed:
        """A box of that width in the corner of the page."""
        words, y = self._words(box, width)
        children, y = self._children(box.children, width - 2 * PAD, y)
        return Placed(box, 0, 0, width, y + PAD, tuple(words), tuple(children))

    # -- the boxes inside ---------------------------------------------------------------------------------------------

    def _children(self, boxes: Sequence[Box], room: float, y: float) -> tuple[list[Placed], float]:
        """They stand in rows: those without boxes in them together, and the others, in the order in which they come."""
        placed: list[Placed] = []
        for inner, group in groupby(boxes, key=lambda box: bool(box.children)):
            rows = self._best_rows(list(group), room, inner=inner)
            for row in rows:
                y += GAP
                placed += [cell.moved(PAD, y) for cell in row]
                y += row[0].height
        return placed, y

    def _best_rows(self, boxes: Sequence[Box], room: float, *, inner: bool) -> list[list[Placed]]:
        """In so many columns that it gets as low as can be."""
        least = max(MIN_INNER if inner else MIN_LEAF, *(least_width(box) for box in boxes))
        most = max(1, min(len(boxes), int((room + GAP) // (least + GAP))))
        # With boxes inside, each number of columns is tried once; without, more columns are always lower.
        tried = range(1, most + 1) if inner else (most,)
        return min((self._rows(boxes, room, columns, inner=inner) for columns in tried), key=_height)

    def _rows(self, boxes: Sequence[Box], room: float, columns: int, *, inner: bool) -> list[list[Placed]]:
        width = (room - GAP * (columns - 1)) / columns
        if not inner:
            width = min(width, MAX_LEAF)
        rows = []
        for start in range(0, len(boxes), columns):
            cells = [self.place(box, width) for box in boxes[start : start + columns]]
            height = max(cell.height for cell in cells)
            rows.append([replace(cell.moved(n * (width + GAP), 0), height=height) for n, cell in enumerate(cells)])
        return rows

    # -- the words of one box -----------------------------------------------------------------------------------------

    def _words(self, box: Box, width: float) -> tuple[list[Words], float]:
        """The words of a box, and where they end."""
        room = width - 2 * PAD
        kind, name, kernel = KINDS[box.kind], name_of(box), kernel_words(box)
        y = PAD + 12
        found = [Words(kind, "kind", PAD, y), Words(kernel, "kernel", width - PAD, y)]
        indent = text_width(kind) + 9 + 3 * sum(map(str.isupper, kind))
        one_line = indent + name_width(name) + 8 + sign_width(kernel) <= room
        if one_line:
            found.append(Words(name, "name", PAD + indent, y))
        else:
            for line in _cut(wrap(name, int(room / NAME_EM)), MAX_NAME_LINES):
                y += LINE
                found.append(Words(line, "name", PAD, y))
        columns = int(room / TEXT_EM)
        known = facts(box, self.now)
        joined = " · ".join(known)
        texts: list[tuple[str, Role]] = [
            (text, "facts") for text in ([joined] if columns_of(joined) <= columns else known)
        ]
        for text, role in [*texts, *((text, "extra") for text in extras(box))]:
            for line in wrap(text, columns):
                y += LINE
                found.append(Words(line, role, PAD, y))
        return found, y + 4


def _height(rows: list[list[Placed]]) -> float:
    return sum(row[0].height + GAP for row in rows)


def _cut(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1][:-1] + "…"]


def name_width(name: str) -> float:
    """In pixels."""
    return columns_of(name) * NAME_EM


def text_width(text: str) -> float:
    """In pixels, rather too much than too little."""
    return columns_of(text) * TEXT_EM


def sign_width(text: str) -> float:
    """How wide a kernel's sign is: its letters are bold, and it has round ends."""
    return columns_of(text) * 6.9 + 14


@lru_cache(maxsize=4096)
def columns_of(text: str) -> int:
    """How many letters wide a text is: those of East Asia count twice."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def wrap(text: str, columns: int) -> list[str]:
    """The text in lines of at most so many columns: broken at spaces, else after -, . or /, else anywhere."""
    lines: list[str] = []
    line = ""
    for piece in re.findall(r"[^\s\-./]*[\-./]|[^\s\-./]+|\s+", text):
        if columns_of(line + piece.rstrip()) <= columns:
            line += piece
            continue
        if line.strip():
            lines.append(line.strip())
        line = piece.lstrip()
        while columns_of(line) > columns:
            end = next(n for n in range(len(line), 0, -1) if n == 1 or columns_of(line[:n]) <= columns)
            lines.append(line[:end])
            line = line[end:]
    return [*lines, line.strip()] if line.strip() else lines
