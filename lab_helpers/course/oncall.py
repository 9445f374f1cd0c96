"""What a lesson declares about incidents: faults that `lab break` puts into what works, for the learner to mend.

    ON_CALL = LAB.on_call("On call", brief="how it is meant to run ...", criteria={...}, hints={...},
                          begin=begin, rescue=rescue, end=end)(outcome)

    @ON_CALL.incident("frozen", symptom="...", explanation="...", fails="serves", state="silent", hints=..., mend=thaw)
    def frozen(world: World, chance: Random, facts: Facts) -> None:
        ...break it; `chance` decides the details, so that the same seed breaks the same...

    @ON_CALL.wrong_mend("frozen", "another-one-beside", fails="serves")
    def beside(world: World, facts: Facts) -> Iterator[None]:
        ...what looks mended and is not...
        yield
        ...take away what `rescue` would not...

It becomes one ordinary task, `incident`. Its check asks for the outcome only: whatever mends it, is right. Each fault
becomes a near miss of that task (unmended it is rejected, with its reference mend the task passes again), and so does
each wrong mend; `lab prove` needs to know nothing more about incidents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from lab_helpers.core.errors import UsageError
from lab_helpers.course.declare import NearMiss, Task
from lab_helpers.course.verdict import Evidence

if TYPE_CHECKING:
    from lab_helpers.course.world import World

Facts = dict[str, Any]
"""What is remembered of an incident, as JSON: how it was before, what must still be there afterwards."""
Look = Callable[["World", Facts], Iterator[Evidence]]
Inject = Callable[["World", Random, Facts], None]
Mend = Callable[["World", Facts], None]
WrongMend = Callable[["World", Facts], Iterator[None]]

TASK = "incident"
REPORTED = "reported"
"""The first criterion of each incident task: there is an incident. The others are the lesson's own."""


@dataclass(frozen=True)
class Incident:
    """One fault."""

    id: str
    symptom: str
    """What users report; never the cause."""
    explanation: str
    """What it was, told when it is mended."""
    inject: Inject
    mend: Mend
    """The reference mend, as somebody would do it who knows the cause."""
    fails: str
    """The criterion on which the check rejects it while it is not mended, and the state that it then names."""
    state: str


@dataclass
class OnCall:
    """All incidents of one lab, and what they have in common."""

    lab: str
    task: Task
    brief: str
    """How the service is meant to run: what a learner may take for given."""
    look: Look
    """The outcome: one Evidence for each criterion but the first. It must hold before a fault, and again after it."""
    begin: Callable[[World], Facts]
    """Bring about, or find, the working state. Raises LabError with what the learner has to do first."""
    rescue: Mend
    """Make it work again as it was, whatever was done to it, with all that must still be there."""
    end: Mend
    """Take the incident away, for a learner who gives it up. Works in any state, run twice as well."""
    hints: Mapping[str, tuple[str, ...]]
    incidents: dict[str, Incident] = field(default_factory=dict)

    def incident(
        self, name: str, *, symptom: str, explanation: str, fails: str, state: str, hints: tuple[str, ...], mend: Mend
    ) -> Callable[[Inject], Incident]:
        """Declare a fault. `hints` come after those for its state, as long as it is not mended."""
        if fails not in self.task.criteria:
            raise UsageError(f"Incident {name}: the task has no criterion {fails}.")

        def add(inject: Inject) -> Incident:
            made = Incident(name, symptom, explanation, inject, mend, fails, state)
            self.incidents[name] = made
            seen = state_of(made)
            self.task.hints = {**self.task.hints, seen: (*self.hints.get(state, ()), *hints)}
            self.task.near_misses.append(NearMiss(f"{name}-unmended", fails, self._unmended(made), seen))
            return made

        return add

    def wrong_mend(self, incident: str, name: str, *, fails: str, state: str = "") -> Callable[[WrongMend], WrongMend]:
        """Declare what looks like a mend of that fault and is none: a generator, which yields while it holds."""

        def add(wrong: WrongMend) -> WrongMend:
            near_miss = self.task.near_miss(f"{incident}-{name}", fails=fails, state=state)
            near_miss(self._mended_wrongly(self.incidents[incident], wrong))
            return wrong

        return add

    def chosen(self, seed: int) -> Incident:
        """The fault that this seed stands for: always the same one, and no row that one could learn by heart."""
        digest = hashlib.sha256(f"{self.lab} {seed}".encode()).digest()
        return list(self.incidents.values())[int.from_bytes(digest[:4], "big") % len(self.incidents)]

    # -- as near misses, for `prove` ----------------------------------------------------------------------------------

    def _unmended(self, incident: Incident) -> Callable[[World], Iterator[None]]:
        def apply(world: World) -> Iterator[None]:
            from lab_helpers.course.incidents import start

            facts = start(world, self, incident, seed=1).facts
            yield
            incident.mend(world, facts)

        return apply

    def _mended_wrongly(self, incident: Incident, wrong: WrongMend) -> Callable[[World], Iterator[None]]:
        def apply(world: World) -> Iterator[None]:
            from lab_helpers.course.incidents import start

            facts = start(world, self, incident, seed=1).facts
            yield from wrong(world, facts)
            self.rescue(world, facts)

        return apply


def state_of(incident: Incident) -> str:
    """The state of the check while this very fault shows: hints of its own belong to it."""
    return f"{incident.state}:{incident.id}"


def first_hints(lab: str) -> dict[str, tuple[str, ...]]:
    """What helps who has no incident yet."""
    return {
        "not-broken": (
            "Nobody has reported anything yet.",
            f"`!lab break {lab.partition('-')[0]}` breaks something, and tells what users say. It takes some seconds.",
        )
    }
