"""`lab passport`: the learner's pin and its stamps, as text, as a picture, and the pin carried on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab_helpers.core.errors import UsageError

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.passport import Passport
    from lab_helpers.ui.terminal import Screen


def run_passport(
    place: Place, screen: Screen, *, picture: Path | None, carry: str | None, text: str, show: bool
) -> Passport:
    """Carry the pin if asked to, write the picture if asked to, and show the page; returns it."""
    from lab_helpers.core.events import Note, Progress
    from lab_helpers.core.store import write_atomic
    from lab_helpers.course import passport
    from lab_helpers.ui.passport_picture import passport_svg
    from lab_helpers.ui.passport_text import passport_lines

    if text and carry is None:
        raise UsageError("--text is the pin that --carry LAB carries.", do='lab passport --carry LAB --text "My pin"')
    if carry is not None:
        screen.tell(Progress("looking for the lab's Pinboard"))
        posted = passport.carry(place, carry, text=text)
        screen.tell(Note("Your pin is on the board." if posted else "Your pin was on the board already."))
    page = passport.read_passport(place)
    if picture is not None:
        write_atomic(picture, passport_svg(page))
        screen.tell(Note(f"written: {picture}"))
    if show:
        screen.show(passport_lines(page))
    return page
