"""The boundary map in words: as a tree for the terminal and for whoever cannot see the picture, and the facts of a box
as both of them say them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lab_helpers.ui.text import Line, harmless, plain

if TYPE_CHECKING:
    from lab_helpers.course.boundaries_now import BoundaryMap, Box, Kernel

KINDS = {
    "machine": "host",
    "engine": "engine VM",
    "vm": "VM",
    "container": "container",
    "node": "node",
    "pod": "pod",
}
KERNEL_STYLES = 6
"""How many styles the terminal has for kernels: kernel-1 to kernel-6, and then again from the first."""
NAME_LIMIT = 253
"""What Kubernetes allows a name; longer ones are cut."""


def name_of(box: Box) -> str:
    """Its name, made harmless and in one line."""
    return " ".join(harmless(box.name, limit=NAME_LIMIT).split())


def kernel_name(number: int) -> str:
    """`kernel 2`."""
    return f"kernel {number}"


def kernel_words(box: Box) -> str:
    """The kernel that a box runs on; what has none is off, or it is a machine whose kernel has not answered."""
    if box.kernel:
        return kernel_name(box.kernel)
    return "kernel unknown" if box.kind == "vm" else "no kernel"


def kernel_style(number: int) -> str:
    """The terminal's style for what runs on that kernel."""
    return f"kernel-{(number - 1) % KERNEL_STYLES + 1}" if number else "quiet"


def memory_words(box: Box) -> str:
    """`23 of 128 MiB`; empty when nobody can tell.

    A VM may take more of its host than its guest was given, for QEMU needs some itself.
    """
    if box.memory_mib is None:
        return f"{_size(box.memory_of_mib)} at most" if box.memory_of_mib else ""
    if box.memory_of_mib is None:
        return _size(box.memory_mib)
    if box.kind == "vm":
        return f"takes {_size(box.memory_mib)}, given {_size(box.memory_of_mib)}"
    if box.memory_of_mib >= 10_000:
        return f"{box.memory_mib / 1024:.1f} of {_size(box.memory_of_mib)}"
    return f"{max(box.memory_mib, 1)} of {box.memory_of_mib} MiB"


def _size(mib: int) -> str:
    return f"{mib / 1024:.1f} GiB" if mib >= 10_000 else f"{max(mib, 1)} MiB"


def age_words(started: float | None, now: float) -> str:
    """`started 12 s ago`, `started 3 min ago`; empty when nobody can tell. The coarser the longer ago it is."""
    if started is None:
        return ""
    seconds = max(now - started, 0)
    for limit, unit, of in ((60, "s", 1), (60 * 60, "min", 60), (48 * 3600, "h", 3600)):
        if seconds < limit:
            return f"started {int(seconds / of)} {unit} ago"
    return f"started {int(seconds / 86400)} days ago"


def facts(box: Box, now: float) -> list[str]:
    """Memory and age, where they are known."""
    return [words for words in (memory_words(box), age_words(box.started, now)) if words]


def extras(box: Box) -> list[str]:
    """What it was made from or belongs to, and what is special about its state."""
    return [" ".join(harmless(words).split()) for words in (box.detail, box.note) if words]


def kernel_line(kernel: Kernel) -> str:
    """`kernel 1: Linux 6.1.0-37-amd64, boot id 14ab1492-...`."""
    boot_id = f"boot id {harmless(kernel.boot_id)}" if kernel.boot_id else "its boot id could not be read"
    return f"{kernel_name(kernel.number)}: {harmless(f'{kernel.system} {kernel.release}')}, {boot_id}"


def note_lines(seen: BoundaryMap) -> list[str]:
    """What stands under the boxes, a line each."""
    lines = [" ".join(harmless(note).split()) for note in seen.notes]
    if seen.others:
        lines.append(f"and {seen.others} container{'s that are' if seen.others > 1 else ' that is'} not the course's")
    return lines


def map_lines(seen: BoundaryMap) -> list[Line]:
    """The map as a tree, the kernels that are in it, and what is to be said beside."""
    lines = list(_tree(seen.machine, seen.looked_at, "", ""))
    lines.append(Line(""))
    lines += [Line(kernel_line(kernel), style=kernel_style(kernel.number)) for kernel in seen.kernels]
    return lines + [Line(text, style="quiet") for text in note_lines(seen)]


def map_text(seen: BoundaryMap) -> str:
    """The same as plain text."""
    return plain(map_lines(seen))


def _tree(box: Box, now: float, first: str, further: str) -> Iterator[Line]:
    title = name_of(box) if box.kind == "machine" else f"{KINDS[box.kind]} {name_of(box)}"
    words = [title, kernel_words(box), *facts(box, now), *extras(box)]
    yield Line(first + " · ".join(words), style=kernel_style(box.kernel))
    for number, child in enumerate(box.children, start=1):
        last = number == len(box.children)
        yield from _tree(child, now, further + ("└─ " if last else "├─ "), further + ("   " if last else "│  "))
