"""The boundary map as a picture: SVG that is drawn by hand, for a light and a dark page, without a background.

A box's colour says which kernel it runs on, and so does the sign in its corner; where another kernel begins, the frame
is thick. Every word that comes from outside is escaped.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from lab_helpers.ui.map_layout import LINE, PAD, Placed, Words, layout, sign_width, wrap
from lab_helpers.ui.map_text import (
    KERNEL_STYLES,
    KINDS,
    extras,
    facts,
    kernel_line,
    kernel_name,
    kernel_words,
    map_text,
    name_of,
    note_lines,
)

if TYPE_CHECKING:
    from lab_helpers.course.boundaries_now import BoundaryMap, Box

WIDTHS = (880, 560, 340)
"""For a wide page, a narrow one, and a very narrow one, in pixels."""

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart, each with the colour of letters
# that can be read upon it: https://jfly.uni-koeln.de/color/
COLOURS = (
    ("#0072b2", "#ffffff"),
    ("#e69f00", "#000000"),
    ("#009e73", "#000000"),
    ("#cc79a7", "#000000"),
    ("#56b4e9", "#000000"),
    ("#d55e00", "#000000"),
)
assert len(COLOURS) == KERNEL_STYLES
UNKNOWN = ("#808080", "#000000")

STYLE = """<style>
.lab-map svg { display: block; max-width: 100%; height: auto; }
.lab-map text { font-family: var(--jp-content-font-family, system-ui, sans-serif); font-size: 11.5px;
  fill: var(--jp-content-font-color1, currentColor); }
.lab-map text.name { font: 600 13px var(--jp-code-font-family, ui-monospace, Menlo, monospace); }
.lab-map text.kind, .lab-map text.extra { fill-opacity: .75; }
.lab-map-text { overflow-x: auto; }
.lab-map text.sign { font-size: 11px; font-weight: 600; }
.lab-map { container-type: inline-size; color: var(--jp-content-font-color1, currentColor); }
.lab-map .wide, .lab-map .narrow, .lab-map .thin { display: none; }
@container (min-width: 860px) { .lab-map .wide { display: block; } }
@container (min-width: 540px) and (max-width: 859.98px) { .lab-map .narrow { display: block; } }
@container (max-width: 539.98px) { .lab-map .thin { display: block; } }
</style>"""
"""The picture is drawn three times, and the page shows the one that fits: words stay as large as they should be."""


def colours(kernel: int) -> tuple[str, str]:
    """The colour of a kernel, and that of letters upon it."""
    return COLOURS[(kernel - 1) % len(COLOURS)] if kernel else UNKNOWN


def map_html(seen: BoundaryMap) -> str:
    """The map for a notebook: one picture, as wide as there is room."""
    sizes = zip(("wide", "narrow", "thin"), WIDTHS, strict=True)
    pictures = "".join(f'<div class="{name}">{map_svg(seen, width)}</div>' for name, width in sizes)
    return f'{STYLE}<div class="lab-map">{pictures}</div>'


def map_svg(seen: BoundaryMap, width: int) -> str:
    """The map as a picture of that width."""
    placed = layout(seen.machine, width - 4, seen.looked_at).moved(2, 2)
    full = placed.width + 4
    legend, height = _legend(seen, full, placed.height + 14)
    title = f"What runs now: {len(placed.walk())} boxes on {len(seen.kernels)} kernel{'s'[: len(seen.kernels) > 1]}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{full:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {full:.0f} {height:.0f}"><title>{title}</title><desc>{escape(map_text(seen))}</desc>'
        f"{_box(placed, None, seen.looked_at)}{legend}</svg>"
    )


def _box(placed: Placed, around: Box | None, now: float) -> str:
    box = placed.box
    colour, _ = colours(box.kernel)
    border, fill = (3, 0.16) if around is None or around.kernel != box.kernel else (1.2, 0.08)
    dashed = "" if box.kernel else ' stroke-dasharray="5 4"'
    rect = (
        f'<rect x="{placed.x:.1f}" y="{placed.y:.1f}" width="{placed.width:.1f}" height="{placed.height:.1f}" rx="6" '
        f'fill="{colour}" fill-opacity="{fill}" stroke="{colour}" stroke-width="{border}"{dashed}/>'
    )
    words = " · ".join([f"{KINDS[box.kind]} {name_of(box)}", kernel_words(box), *facts(box, now), *extras(box)])
    lines = "".join(_words(each, box) for each in placed.words)
    inner = "".join(_box(child, box, now) for child in placed.children)
    return f"<g><title>{escape(words)}</title>{rect}{lines}</g>{inner}"


def _words(words: Words, box: Box) -> str:
    if words.role == "kernel":
        return _sign(words.text, box.kernel, words.x - sign_width(words.text), words.y)
    return f'<text class="{words.role}" x="{words.x:.1f}" y="{words.y:.1f}">{escape(words.text)}</text>'


def _sign(text: str, kernel: int, x: float, y: float) -> str:
    """The kernel's name on its colour."""
    colour, ink = colours(kernel)
    width = sign_width(text)
    return (
        f'<rect x="{x:.1f}" y="{y - 12:.1f}" width="{width:.1f}" height="16" rx="8" fill="{colour}"/>'
        f'<text class="sign" x="{x + width / 2:.1f}" y="{y:.1f}" text-anchor="middle" style="fill: {ink}">'
        f"{escape(text)}</text>"
    )


def _legend(seen: BoundaryMap, width: float, y: float) -> tuple[str, float]:
    """Which kernel is which, and what there is to say beside; with where it ends."""
    parts = []
    for kernel in seen.kernels:
        name = kernel_name(kernel.number)
        start = sign_width(name) + 10
        parts.append(_sign(name, kernel.number, 2, y + LINE - 3))
        for line in wrap(kernel_line(kernel).partition(": ")[2], int((width - start - PAD) / 6.3)):
            y += LINE
            parts.append(f'<text x="{start:.1f}" y="{y - 3:.1f}">{escape(line)}</text>')
        y += 3
    words = [*note_lines(seen)]
    if len(seen.kernels) > 1:
        words.insert(0, "A thick frame: here another kernel begins.")
    for text in words:
        for line in wrap(text, int((width - 2 * PAD) / 6.3)):
            y += LINE
            parts.append(f'<text class="extra" x="4" y="{y:.1f}">{escape(line)}</text>')
    return "".join(parts), y + 8
