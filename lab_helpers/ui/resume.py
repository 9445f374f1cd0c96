"""`lab resume`: after a laptop's sleep, a restart or a crash, where the learner was, and back to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_helpers.core.errors import ExitCode
from lab_helpers.course import resume
from lab_helpers.course.engine import load_lab
from lab_helpers.course.progress import Standing, read, remember_boot
from lab_helpers.course.resume import Piece, State, ago
from lab_helpers.ui.text import WORDS, Line

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.declare import Lab
    from lab_helpers.ui.terminal import Screen

JUPYTER = "JupyterLab"


def run_resume(place: Place, name: str | None, *, yes: bool, screen: Screen) -> ExitCode:
    """Say where the learner was and what of that lab runs; bring back what does not, after a question unless `yes`.

    NOT_YET: something is still off, because nobody agreed or because it did not start.
    """
    from lab_helpers.ui.board import read_board
    from lab_helpers.ui.jupyter import lost_jupyter, open_course
    from lab_helpers.ui.listing import next_step

    at = read(place).at
    if name is None and at is None:
        screen.say(f"You have not been in any lab yet. {next_step(read_board(place).next_lab)}")
        return ExitCode.PASSED
    lab = load_lab(place, name or (at.lab if at else ""))
    pieces = resume.survey(place, [lab])
    jupyter = lost_jupyter(place)
    screen.show(_lines(place, lab, at, pieces, jupyter=jupyter))
    lost = [piece for piece in pieces if piece.state is State.LOST]
    next_one = Line(next_step(read_board(place, lab.name).next_lab), style="hint")
    if not lost and not jupyter:
        resume.bring_back(place, lab, (), screen.tell)
        remember_boot(place)
        screen.show([Line("Nothing has to be brought back.", style="met"), next_one])
        return ExitCode.PASSED
    if not yes and not screen.ask("Bring it back?"):
        screen.say("Nothing was started. `lab resume --yes` does it without asking.")
        return ExitCode.NOT_YET
    failed = resume.bring_back(place, lab, lost, screen.tell)
    if jupyter:
        screen.say(open_course(place, lab.name, tell=screen.tell).url)
    if failed:
        screen.show(Line(f"It did not come back: {line}", style="unmet") for line in failed)
        return ExitCode.NOT_YET
    remember_boot(place)
    screen.show([Line(f"Back: {', '.join(_names(lost, jupyter=jupyter))}.", style="met"), next_one])
    return ExitCode.PASSED


def tell_lost(place: Place, name: str, screen: Screen) -> None:
    """One line about what of a lab was on and is off; nothing when nothing is."""
    from lab_helpers.core.errors import LabError

    lab = load_lab(place, name)
    try:
        lost = [piece for piece in resume.survey(place, [lab]) if piece.state is State.LOST]
    except (LabError, OSError):  # the lab is open, whatever else could not be seen
        return
    if lost:
        names = ", ".join(piece.words for piece in lost)
        screen.say(f"Off, and it was on: {names}. `lab resume {lab.name}` brings it back.")


def _names(lost: list[Piece], *, jupyter: bool) -> list[str]:
    return [*(piece.words for piece in lost), *([JUPYTER] if jupyter else [])]


def _lines(place: Place, lab: Lab, at: Standing | None, pieces: list[Piece], *, jupyter: bool) -> list[Line]:
    lines = []
    if resume.rebooted(place):
        lines.append(Line("This machine was restarted since you last worked here.", style="unmet"))
    lines.append(Line(_where(lab, at), style="head"))
    for piece in pieces:
        why = f" ({piece.why})" if piece.why else ""
        if piece.state is State.RUNS:
            lines.append(Line(f"✔ {piece.words} runs{why}", style="met", indent=2))
        elif piece.state is State.LOST:
            lines.append(Line(f"✘ {piece.words} is off, and it was on: {piece.why}", style="unmet", indent=2))
        else:
            by_hand = f"; `{piece.command}` starts it" if piece.command else ""
            lines.append(Line(f"· {piece.words} is off{why}{by_hand}", style="quiet", indent=2))
    if jupyter:
        lines.append(Line(f"✘ {JUPYTER} is off, and it was on", style="unmet", indent=2))
    return lines


def _where(lab: Lab, at: Standing | None) -> str:
    if at is None or at.lab != lab.name:
        return f"{lab.name} ({lab.title})"
    task = f", task {at.task}: {WORDS[at.outcome]}" if at.task and at.outcome else ""
    return f"You were in {lab.name} ({lab.title}){task}, {ago(at.at)}."
