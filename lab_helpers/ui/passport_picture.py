"""The passport as a picture: an open booklet with the pin on the left and a rubber stamp for each stop on the right.

Plain SVG without scripts, fonts or links, so that the file can be kept and sent. Stamps of one colour were given by one
kernel; its letter says the same to who does not see colours. A title and a description say all of it in words.
"""

from __future__ import annotations

import math
import unicodedata
import uuid
from html import escape
from typing import TYPE_CHECKING

from lab_helpers.ui.passport_text import (
    CARRIED,
    NO_PIN,
    NOT_CARRIED,
    TITLE,
    made,
    passport_text,
    short,
    when,
)
from lab_helpers.ui.text import harmless

if TYPE_CHECKING:
    from lab_helpers.course.passport import Passport, Stop

EDGE, TOP, PAGE_W, STAMP_W, STAMP_H, ROW_H = 14, 88, 420, 340, 194, 216
TURNS = (-2.0, 1.6, 1.2, -1.4)
"""How much each stamp is turned, in degrees: nobody stamps straight."""
INKS = 5
"""How many colours there are; more kernels than that share them, and their letters still tell them apart."""

LIGHT = (
    "--cover:#22384f; --paper:#faf5e6; --line:#e6dcc0; --text:#33302a; --quiet:#6a6355; --note:#fff3b0; --edge:#d8c46a;"
)
LIGHT += "--ink0:#2f5d9b; --ink1:#a33a2c; --ink2:#2f7350; --ink3:#7a4a91; --ink4:#8a5a17;"
DARK = (
    "--cover:#0f1a26; --paper:#2a2822; --line:#3c382e; --text:#ece4d0; --quiet:#b5ab95; --note:#443c16; --edge:#8a7a34;"
)
DARK += "--ink0:#8db8f0; --ink1:#f0968a; --ink2:#86d3a8; --ink3:#cfa3e6; --ink4:#e6b566;"

LOOKS = """
.lab-passport { font-family: ui-sans-serif, system-ui, "Segoe UI", "Helvetica Neue", sans-serif; width: 100%;
  max-width: 60rem; height: auto; display: block; }
.lab-passport .cover { fill: var(--cover); } .lab-passport .paper { fill: var(--paper); }
.lab-passport .guilloche { fill: none; stroke: var(--line); stroke-width: 1; }
.lab-passport .fold { stroke: var(--line); stroke-width: 2; }
.lab-passport text { fill: var(--text); font-size: 14px; }
.lab-passport .title { font-size: 21px; letter-spacing: .14em; font-weight: 600; }
.lab-passport .quiet { fill: var(--quiet); font-size: 12.5px; }
.lab-passport .note { fill: var(--note); stroke: var(--edge); }
.lab-passport .words { font-family: ui-serif, Georgia, "Times New Roman", serif; font-size: 21px; }
.lab-passport .empty rect { fill: none; stroke: var(--quiet); stroke-dasharray: 5 5; stroke-width: 1.5; }
.lab-passport .stamp circle, .lab-passport .stamp path { stroke-linejoin: round; fill: none; stroke: var(--ink); }
.lab-passport .stamp text { fill: var(--ink); font-size: 13px; }
.lab-passport .stamp .big { font-size: 15.5px; font-weight: 700; letter-spacing: .05em; }
.lab-passport .stamp .letter { font-size: 30px; font-weight: 700; text-anchor: middle; }
.lab-passport .stamp .mono { font-family: ui-monospace, Menlo, Consolas, monospace; }
"""


def passport_svg(page: Passport, *, inline: bool = False) -> str:
    """The picture. `inline`: inside of JupyterLab, whose theme it follows; else a file, which follows the viewer's."""
    rows = max((len(page.stops) + 2) // 2, 2)  # the pin's note has the first place
    height = TOP + rows * ROW_H + 44
    width = 2 * PAGE_W + 2 * EDGE
    places = [(column, row) for column in (0, 1) for row in range(rows) if (column, row) != (0, 0)]
    summary = _summary(page)
    parts = [
        f'<rect class="cover" width="{width}" height="{height}" rx="16"/>',
        f'<rect class="paper" x="{EDGE}" y="{EDGE}" width="{width - 2 * EDGE}" height="{height - 2 * EDGE}" rx="7"/>',
        _guilloche(width, height),
        f'<line class="fold" x1="{width / 2}" y1="{EDGE}" x2="{width / 2}" y2="{height - EDGE}"/>',
        _text(EDGE + 30, 60, TITLE.upper(), "title"),
        _note(page),
        *(_stop(page, stop, *where) for stop, where in zip(page.stops, places, strict=False)),
        _text(EDGE + 30, height - EDGE - 18, summary[0], "quiet"),
        _text(EDGE + PAGE_W + 30, height - EDGE - 18, summary[1], "quiet"),
    ]
    body = "".join(parts)
    # A notebook may show it twice, and there an id must not come twice; a file is the same each time.
    name = f"lab-passport-{uuid.uuid4().hex[:8]}" if inline else "lab-passport"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lab-passport" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{name}-title {name}-words">'
        f'<title id="{name}-title">{escape(TITLE)}</title>'
        f'<desc id="{name}-words">{escape(passport_text(page))}</desc>'
        f"<style>{_colours(inline=inline)}{LOOKS}</style>{body}</svg>\n"
    )


def _colours(*, inline: bool) -> str:
    dark = (
        f'[data-jp-theme-light="false"] .lab-passport {{ {DARK} }}'
        if inline
        else f"@media (prefers-color-scheme: dark) {{ .lab-passport {{ {DARK} }} }}"
    )
    return f".lab-passport {{ {LIGHT} }}\n{dark}"


def _guilloche(width: float, height: float) -> str:
    """The fine waves that real passports have."""
    waves = []
    for number in range(-1, int(height / 26) + 1):
        base = 26 * number + 40
        points = " ".join(
            f"{x},{base + 9 * math.sin(x / 46 + number * 0.9) + 5 * math.sin(x / 17):.1f}"
            for x in range(22, int(width) - 21, 6)
        )
        if 24 < base < height - 36:
            waves.append(f'<polyline class="guilloche" points="{points}"/>')
    return "".join(waves)


def _note(page: Passport) -> str:
    """The learner's pin, on a note with a pin in it."""
    x, top = EDGE + 28, TOP + 4
    lines = wrapped(page.pin.text if page.pin else NO_PIN, 32, 4)
    height = 70 + 27 * len(lines) + (14 if page.pin else 0)
    parts = [
        f'<g transform="rotate(-1.6 {x + 180} {top + height / 2})">'
        f'<rect class="note" x="{x}" y="{top}" width="364" height="{height}" rx="3"/>'
        f'<circle cx="{x + 182}" cy="{top + 10}" r="8" fill="#c0392b"/>'
        f'<circle cx="{x + 179}" cy="{top + 7}" r="2.6" fill="#ffffff" fill-opacity=".7"/>'
    ]
    parts += [_text(x + 22, top + 54 + 27 * row, line, "words") for row, line in enumerate(lines)]
    if page.pin:
        by = f"by {short(page.pin.author, 24)}" if page.pin.author else ""
        signed = ", ".join(part for part in (by, made(page.pin.made)) if part)
        parts.append(_text(x + 22, top + 54 + 27 * len(lines), signed, "quiet"))
    return "".join([*parts, "</g>"])


def _summary(page: Passport) -> tuple[str, str]:
    """How far it came, in two short lines."""
    stamped = [stop.stamp for stop in page.stops if stop.stamp]
    count = f"{len(stamped)} of {len(page.stops)} stops stamped"
    if not stamped:
        return count, ""
    carried = sum(stamp.carried for stamp in stamped)
    kernels = len(page.kernels)
    by = f"by {kernels} kernel{'' if kernels == 1 else 's'}" + (": a letter each" if kernels > 1 else "")
    return f"{count}, {by}", f"your pin was on {carried} of {len(stamped)} boards"


def _stop(page: Passport, stop: Stop, column: int, row: int) -> str:
    """A stamp, or the empty place for it."""
    x = EDGE + column * PAGE_W + (PAGE_W - STAMP_W) / 2
    y = TOP + row * ROW_H
    turn = TURNS[(2 * row + column) % len(TURNS)]
    if stop.stamp is None:
        return (
            f'<g class="empty"><rect x="{x}" y="{y}" width="{STAMP_W}" height="{STAMP_H}" rx="12"/>'
            + _text(x + 24, y + STAMP_H / 2 - 4, short(f"{stop.number} · {stop.title}", 36), "")
            + _text(x + 24, y + STAMP_H / 2 + 17, "no stamp yet", "quiet")
            + "</g>"
        )
    stamp = stop.stamp
    letters = list(page.kernels.values())
    letter = page.kernels.get(stamp.boot_id, "?")
    ink = letters.index(letter) % INKS if letter in letters else INKS - 1
    outline = "ticket" if stamp.pod else "cut" if stamp.container else "round"
    parts = [
        f'<g class="stamp" style="--ink: var(--ink{ink})" ',
        f'transform="rotate({turn} {x + STAMP_W / 2} {y + STAMP_H / 2})">',
        f'<path d="{_outline(outline, x, y, STAMP_W, STAMP_H, 16)}" stroke-width="3.5"/>',
        f'<path d="{_outline(outline, x + 7, y + 7, STAMP_W - 14, STAMP_H - 14, 13)}" stroke-width="1.2"/>',
        _text(x + 24, y + 35, f"{stop.number} · {when(stamp.time)}", ""),
        _text(x + 24, y + 58, short(stop.title, 22).upper(), "big"),
        f'<circle cx="{x + STAMP_W - 46}" cy="{y + 46}" r="24" stroke-width="2"/>',
        _text(x + STAMP_W - 46, y + 56.5, letter, "letter"),
    ]
    names = [("node", stamp.node), ("pod", stamp.pod), ("VM", stamp.vm), ("container", stamp.container)]
    rows = [("kernel", stamp.kernel), ("boot id", stamp.boot_id[:8]), *names]
    for number, (label, value) in enumerate((label, value) for label, value in rows if value):
        parts.append(_text(x + 24, y + 82 + 17.5 * number, label, ""))
        parts.append(_text(x + 94, y + 82 + 17.5 * number, short(value, 28), "mono"))
    base = y + STAMP_H - 17
    parts.append(_tick(x + 25, base - 4) if stamp.carried else "")
    parts.append(_text(x + (44 if stamp.carried else 24), base, CARRIED if stamp.carried else NOT_CARRIED, ""))
    return "".join([*parts, "</g>"])


def _outline(kind: str, x: float, y: float, width: float, height: float, corner: float) -> str:
    """A box with round corners (a VM), cut ones (a container) or a ticket's (a pod)."""
    right, bottom = x + width, y + height
    corners = [(right, y, 0, corner), (right, bottom, -corner, 0), (x, bottom, 0, -corner), (x, y, corner, 0)]
    ahead = [(-corner, 0), (0, -corner), (corner, 0), (0, corner)]
    path = f"M{x + corner} {y}"
    for (at_x, at_y, to_x, to_y), (from_x, from_y) in zip(corners, ahead, strict=True):
        path += f" L{at_x + from_x} {at_y + from_y}"
        end = f"{at_x + to_x} {at_y + to_y}"
        path += f" L{end}" if kind == "cut" else f" A{corner} {corner} 0 0 {int(kind == 'round')} {end}"
    return path + " Z"


def _tick(x: float, y: float) -> str:
    return f'<path d="M{x} {y} l4 5 l8 -11" stroke-width="2.4"/>'


def _text(x: float, y: float, words: str, looks: str) -> str:
    kind = f' class="{looks}"' if looks else ""
    return f'<text x="{x:g}" y="{y:g}"{kind}>{escape(words)}</text>'


def wrapped(text: str, width: int, lines: int) -> list[str]:
    """`text` in lines of at most `width` columns (a Chinese character takes two); what is too much ends in "…"."""
    found = [""]
    for word in harmless(text).split():
        for piece in _pieces(word, width):
            joined = f"{found[-1]} {piece}".strip()
            if found[-1] and columns(joined) > width:
                found.append(piece)
            else:
                found[-1] = joined
    if len(found) > lines:
        found = [*found[: lines - 1], found[lines - 1].rstrip(".,;:") + " …"]
    return found


def _pieces(word: str, width: int) -> list[str]:
    """A word that fits no line, in pieces that do."""
    pieces = [""]
    for character in word:
        if columns(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces


def columns(text: str) -> int:
    """How wide a text is, in columns of a Latin letter."""
    return sum(
        2 if unicodedata.east_asian_width(each) in "WF" else 0 if unicodedata.combining(each) else 1 for each in text
    )
