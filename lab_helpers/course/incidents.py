"""Incidents: `lab break` puts a fault into what works, and remembers it until it is mended and checked, or taken back.

There is one at a time in a place. Its report lies in the place's state, so that a kill at any moment loses nothing: it
is written before anything is broken, and counts once the fault was seen to show.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from lab_helpers.core import journal
from lab_helpers.core.errors import ExitCode, LabError, UsageError, WaitTimeoutError
from lab_helpers.core.events import Progress, Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.core.store import locked, now, write_atomic
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import engine
from lab_helpers.course.declare import Lab
from lab_helpers.course.engine import WorldFor, all_labs, load_lab
from lab_helpers.course.oncall import REPORTED, TASK, Incident, OnCall, state_of
from lab_helpers.course.verdict import Evidence

if TYPE_CHECKING:
    from lab_helpers.course.world import World

SHOWS_S = 90
"""How long a fault may take until users notice it, in seconds."""


class FaultlessError(LabError):
    """A fault was put in, and what it was to break goes on working. That is a bug of ours."""

    exit_code = ExitCode.BROKEN


class Report(BaseModel):
    """The incident that is open in a place."""

    model_config = ConfigDict(frozen=True)

    lab: str
    incident: str
    seed: int
    at: float
    """Seconds since the epoch."""
    token: str
    """What ties it to its line in the journal."""
    shown: bool = False
    """The service was seen to fail in the way that the incident is about."""
    facts: dict[str, Any] = {}


@dataclass(frozen=True)
class Started:
    """What `lab break` has to say. Not fresh: there was one already, and it is not mended yet."""

    report: Report
    incident: Incident
    brief: str
    fresh: bool


def break_lab(
    place: Place,
    lab: Lab | str,
    seed: int | None = None,
    tell: Tell = silent,
    *,
    world_for: WorldFor = engine.world_for,
) -> Started:
    """Start an incident in the lab: the one of that seed, else a random one. While another one is not mended: that one.

    Raises UsageError for a lab without incidents, LabError when there is nothing yet that could be broken.
    """
    lab = load_lab(place, lab)
    on_call = _on_call(place, lab)
    with locked(place.state / "incident.lock"):
        if still := _still_open(place, tell, world_for):
            return still
        if seed is None:
            seed = _random_seed(place, on_call)
        incident = on_call.chosen(seed)
        report = start(world_for(place, lab.name), on_call, incident, seed=seed, tell=tell)
    return Started(report, incident, on_call.brief, fresh=True)


def undo(
    place: Place, lab: Lab | str, tell: Tell = silent, *, world_for: WorldFor = engine.world_for
) -> Incident | None:
    """Take back the incident that is open in this lab; returns it, or None when there was none."""
    lab = load_lab(place, lab)
    on_call = _on_call(place, lab)
    with locked(place.state / "incident.lock"):
        report = read_report(place)
        if report is None or report.lab != lab.name:
            return None
        tell(Progress(f"{lab.name}: taking the incident back"))
        on_call.end(world_for(place, lab.name), report.facts)
        forget(place)
        return on_call.incidents.get(report.incident)


def start(world: World, on_call: OnCall, incident: Incident, *, seed: int, tell: Tell = silent) -> Report:
    """Bring about the working state, break it, and see that it is broken; returns the report, which is stored.

    Whatever goes wrong on the way, the incident is taken away again. An open report is replaced.
    """
    place = world.place
    tell(Progress(f"{on_call.lab}: getting it ready"))
    facts = on_call.begin(world)
    report = Report(lab=on_call.lab, incident=incident.id, seed=seed, at=now(), token=secrets.token_hex(8), facts=facts)
    _write(place, report)
    try:
        if wrong := _first_unmet(on_call, world, facts):
            raise LabError(
                "It does not work yet, so there is nothing to break.",
                why=f"expected {wrong.expected}; saw {wrong.saw}",
                do=f"run `lab check {on_call.lab}`, and mend what it says first",
            )
        tell(Progress(f"{on_call.lab}: something happens"))
        incident.inject(world, Random(f"{on_call.lab} {seed}"), facts)  # noqa: S311 - a game, and it must be repeatable
        _wait_until_it_shows(on_call, incident, world, report)
        report = report.model_copy(update={"shown": True, "facts": facts})
        source = f"incident:{on_call.lab}"
        journal.write(place.journal, source, "break", by="lab", incident=incident.id, seed=seed, token=report.token)
        _write(place, report)
    except BaseException:
        with contextlib.suppress(LabError):  # then the report stays, and `lab break --undo` tries once more
            on_call.end(world, facts)
            forget(place)
        raise
    return report


def _wait_until_it_shows(on_call: OnCall, incident: Incident, world: World, report: Report) -> None:
    def shows() -> bool:
        wrong = _first_unmet(on_call, world, report.facts)
        if wrong is None:
            raise LabError("everything works")
        if (wrong.criterion, wrong.state) != (incident.fails, incident.state):
            raise LabError(f"the criterion {wrong.criterion} fails with the state {wrong.state!r}: {wrong.saw}")
        return True

    try:
        wait_for(shows, f"the fault {incident.id} to show", timeout_s=SHOWS_S, interval_s=0.2)
    except WaitTimeoutError as error:
        raise FaultlessError(
            "Nothing broke: this is a bug of the course, not yours. Everything is as it was before.",
            why=f"{on_call.lab}, seed {report.seed}, {incident.id}: {error.why}",
            do="try another seed, and report this one with these lines",
        ) from None


def _first_unmet(on_call: OnCall, world: World, facts: dict[str, Any]) -> Evidence | None:
    return next((evidence for evidence in on_call.look(world, facts) if not evidence.ok), None)


def judge(on_call: OnCall, world: World) -> Iterator[Evidence]:
    """The check of the task `incident`: there is one, and the outcome holds again. Then it tells what it was."""
    report, saw = _proven(world.place, on_call)
    incident = on_call.incidents.get(report.incident) if report else None
    yield Evidence(
        criterion=REPORTED,
        ok=incident is not None,
        looked="the incident that `lab break` has written down, and the journal of this place",
        expected="an incident of this lab, in which the service was seen to fail",
        saw=saw,
        command=f"lab break {on_call.lab.split('-')[0]}",
        state="" if incident else "not-broken",
    )
    if incident is None or report is None:
        return
    before: Evidence | None = None
    good = True
    for evidence in on_call.look(world, report.facts):
        if before:
            yield before
        good = good and evidence.ok
        same = not evidence.ok and (evidence.criterion, evidence.state) == (incident.fails, incident.state)
        before = evidence.model_copy(update={"state": state_of(incident)}) if same else evidence
    if before:
        told = f"{before.saw}\nWhat it was: {incident.explanation}"
        yield before.model_copy(update={"saw": told}) if good else before


def _proven(place: Place, on_call: OnCall) -> tuple[Report | None, str]:
    """The open report of this lab, and what is to be said of it. What the journal does not know was never broken."""
    report = read_report(place)
    if report is None:
        return None, "no incident"
    if report.lab != on_call.lab:
        return None, f"an incident in {report.lab}, and none here"
    if not report.shown:
        return None, "an incident that was interrupted while it began"
    events = journal.read(place.journal, f"incident:{on_call.lab}")
    if not any(event["kind"] == "break" and event.get("token") == report.token for event in events):
        return None, "an incident of which the journal knows nothing"
    return report, f"the incident of seed {report.seed}"


# -- the report --------------------------------------------------------------------------------------------------------


def read_report(place: Place) -> Report | None:
    """The incident that is open in this place, if any."""
    try:
        return Report.model_validate_json((place.state / "incident.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def forget(place: Place, lab: str = "") -> None:
    """Let go of the open incident (with `lab`: if it is one of that lab), whose world is gone or mended."""
    report = read_report(place)
    if not lab or (report and report.lab == lab):
        (place.state / "incident.json").unlink(missing_ok=True)


def _write(place: Place, report: Report) -> None:
    write_atomic(place.state / "incident.json", report.model_dump_json(indent=1) + "\n")


def _still_open(place: Place, tell: Tell, world_for: WorldFor) -> Started | None:
    """The incident that must be mended first. One that is mended, or that never began, is let go."""
    report = read_report(place)
    if report is None:
        return None
    lab = next((lab for lab in all_labs(place) if lab.name == report.lab), None)
    on_call = lab.on_call_duty if lab else None
    if on_call is None or report.incident not in on_call.incidents:
        forget(place)
        return None
    world = world_for(place, report.lab)
    if not report.shown:
        on_call.end(world, report.facts)
    else:
        tell(Progress(f"{report.lab}: looking whether the last incident is mended"))
        if all(evidence.ok for evidence in judge(on_call, world)):
            forget(place)
            return None
        if _proven(place, on_call)[0]:
            return Started(report, on_call.incidents[report.incident], on_call.brief, fresh=False)
    forget(place)
    return None


def _on_call(place: Place, lab: Lab) -> OnCall:
    if lab.on_call_duty is None:
        others = [each.name for each in all_labs(place) if each.on_call_duty]
        raise UsageError(
            f"There are no incidents in {lab.name}.",
            why=f"labs with incidents: {', '.join(others) or 'none yet'}",
            do=f"lab break {others[0].split('-')[0]}" if others else "",
        )
    assert TASK in lab.tasks
    return lab.on_call_duty


def _random_seed(place: Place, on_call: OnCall) -> int:
    """A seed that nobody chose, and of another fault than the last one."""
    events = journal.read(place.journal, f"incident:{on_call.lab}")
    last = events[-1].get("incident") if events else None
    while True:
        seed = secrets.randbelow(9000) + 1000
        if len(on_call.incidents) == 1 or on_call.chosen(seed).id != last:
            return seed
