"""`lab prepare --all`: everything for all labs, the evening before a workshop, and what it costs up front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_helpers.core.errors import ExitCode
from lab_helpers.course import preparing
from lab_helpers.course.engine import all_labs
from lab_helpers.course.preparing import Part
from lab_helpers.ui.listing import table
from lab_helpers.ui.terminal import duration
from lab_helpers.ui.text import Line

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.ui.terminal import Screen


def run_prepare_all(place: Place, *, yes: bool, screen: Screen) -> ExitCode:
    """Show what is here and what the rest costs, ask unless `yes` or without a terminal to ask on, and get it.

    What goes wrong with one part is told in the end, and does not keep the others.
    """
    screen.say("Looking at what is here already ...")
    found = preparing.parts(place, all_labs(place))
    wanted = [part for part in found if not part.here]
    screen.show(cost_lines(found, preparing.free_mb(place)))
    if not wanted:
        screen.say("Everything for all labs is here.")
        return ExitCode.PASSED
    if not yes and screen.interactive and not screen.ask("Get all of that now?"):
        screen.say("Nothing was fetched. `lab prepare --all --yes` does it without asking.")
        return ExitCode.NOT_YET
    failed = preparing.make(place, wanted, screen.tell)
    for error in failed:
        screen.error(error)
    if failed:
        screen.say("Not everything is here yet. `lab prepare --all` goes on where it stopped.")
        return failed[0].exit_code
    screen.say("Everything for all labs is here.")
    return ExitCode.PASSED


def cost_lines(found: list[Part], free_mb: int) -> list[Line]:
    """A row for each part: here, or how it comes and what that costs; below it the sum, and the room that there is."""
    rows = []
    for part in found:
        cost = part.cost
        if part.here:
            cells: tuple[str, ...] = ("here already", "-", "-", "-")
        else:
            way = "built here" if part.built else "fetched"
            cells = (way, size(cost.download_mb), size(cost.disk_mb), f"about {duration(cost.seconds)}")
        rows.append(("met" if part.here else "", (part.title, ", ".join(part.labs), *cells)))
    lines = table(("what", "labs", "how", "download", "disk", "time"), rows)
    sum_of = preparing.total(part for part in found if not part.here)
    if sum_of.seconds:
        more = f", and {size(sum_of.meanwhile_mb)} more while it is built" if sum_of.meanwhile_mb else ""
        lines.append(Line(""))
        lines.append(
            Line(
                f"Together: {size(sum_of.download_mb)} to download, {size(sum_of.disk_mb)} on the disk{more}; "
                f"about {duration(sum_of.seconds)}. {size(free_mb)} are free there. Ctrl-C stops it; "
                "the same command goes on."
            )
        )
        if free_mb < sum_of.disk_mb + sum_of.meanwhile_mb:
            lines.append(
                Line("That is not enough: make room, or set LAB_HOME to a folder on another disk.", style="unmet")
            )
    return lines


def size(megabytes: int) -> str:
    """`140 MB`, `1.3 GB`."""
    return f"{megabytes} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"
