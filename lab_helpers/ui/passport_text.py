"""The passport in plain text: the terminal prints it, and the notebook's picture has it as its twin."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lab_helpers.ui.text import Line, harmless, plain

if TYPE_CHECKING:
    from lab_helpers.course.passport import Passport, Stamp, Stop

TITLE = "Passport of a pin"
NO_PIN = "No pin of your own yet: the first stop is where you make it."
CARRIED = "your pin was on the board"
NOT_CARRIED = "your pin was not on the board yet"
SAME_KERNEL = "Stamps with the same kernel letter were given by one and the same kernel."


def when(seconds: float) -> str:
    """`2026-01-31 12:34`, in the time zone of this machine."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def made(text: str) -> str:
    """When Pinboard says that the pin was made, in the time zone of this machine; as it is, when that is no time."""
    try:
        return when(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) if text else ""
    except ValueError:
        return harmless(text, limit=30)


def short(name: str, length: int = 34) -> str:
    """A name without its middle, where it is long: both ends of a pod's name tell something."""
    name = harmless(name)
    return name if len(name) <= length else f"{name[: length // 2]}…{name[-(length // 2 - 1) :]}"


def facts(page: Passport, stamp: Stamp) -> list[tuple[str, str]]:
    """What a stamp says, label and value, from the outside in."""
    letter = page.kernels.get(stamp.boot_id, "")
    boot = f" (boot id {stamp.boot_id[:8]})" if stamp.boot_id else ""
    rows = [
        ("kernel", f"{letter} · {harmless(stamp.kernel)}{boot}".removeprefix(" · ")),
        ("VM", stamp.vm),
        ("node", stamp.node),
        ("pod", stamp.pod),
        ("container", stamp.container),
        ("Pinboard", stamp.version),
    ]
    return [(label, harmless(value)) for label, value in rows if value]


def pin_words(page: Passport) -> str:
    """The pin, and who made it when."""
    if page.pin is None:
        return NO_PIN
    by = f", by {harmless(page.pin.author)}" if page.pin.author else ""
    at = f", made {made(page.pin.made)}" if page.pin.made else ""
    return f"“{harmless(page.pin.text)}”{by}{at}"


def passport_lines(page: Passport) -> list[Line]:
    """The whole page."""
    lines = [Line(TITLE, style="head"), Line(pin_words(page), indent=2)]
    for stop in page.stops:
        lines += [Line(""), *_stop_lines(page, stop)]
    if len(page.kernels) < sum(stop.stamp is not None for stop in page.stops):
        lines += [Line(""), Line(SAME_KERNEL, style="quiet")]
    return lines


def _stop_lines(page: Passport, stop: Stop) -> list[Line]:
    if stop.stamp is None:
        return [Line(f"○ {stop.number} {stop.title}: no stamp yet", style="unreached")]
    head = Line(f"✔ {stop.number} {stop.title}, {when(stop.stamp.time)}", style="met")
    rows = [Line(value, label=f"{label}:", indent=4) for label, value in facts(page, stop.stamp)]
    return [head, *rows, Line(CARRIED if stop.stamp.carried else NOT_CARRIED, indent=4)]


def passport_text(page: Passport) -> str:
    """The same as plain text."""
    return plain(passport_lines(page))
