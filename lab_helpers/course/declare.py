"""What a lesson's tasks.py declares. Plain data and functions; the engine knows no lesson by name.

    LAB = Lab("01-virtual-machine", title="A virtual machine", minutes=30, memory_mib=1500, disk_mib=2000, ...)

    @LAB.task("boot", "Boot a guest of your own", criteria={"running": (1, "a guest runs"), ...}, hints={...})
    def boot(world: World) -> Iterator[Evidence]:
        ...

    @boot.near_miss("other-memory", fails="memory")
    def other_memory(world: World) -> Iterator[None]:
        ...make the state that looks done and is not...
        yield
        ...and bring the solved state back...

A check yields one Evidence for each criterion, in the order of the criteria, and may stop early: what it did not reach
counts as not met. A MachineError out of it is the machine's trouble
(BLOCKED); any other exception is our bug (BROKEN).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab_helpers.core.errors import UsageError
from lab_helpers.course.predictions import Prediction
from lab_helpers.course.verdict import Evidence

if TYPE_CHECKING:
    from lab_helpers.course.passport import Served
    from lab_helpers.course.world import World

Check = Callable[["World"], Iterator[Evidence]]
Action = Callable[["World"], Iterator[None]]


@dataclass(frozen=True)
class NearMiss:
    """A state that looks done and is not. `fails` is the criterion on which the check must reject it.

    `apply` makes the state out of the solved one, yields, and brings the solved state back.
    """

    id: str
    fails: str
    apply: Action
    state: str = ""
    """The state that the failing evidence must carry; empty: any."""


@dataclass
class Task:
    """One task of a lab."""

    id: str
    title: str
    criteria: Mapping[str, tuple[int, str]]
    """Criterion -> (points, what must be true, as the learner reads it)."""
    hints: Mapping[str, tuple[str, ...]]
    """State seen -> hints, from a nudge to nearly the answer. The key "" serves every other state."""
    check: Check
    after: tuple[str, ...] = ()
    """Tasks of this lab that this one builds upon."""
    near_misses: list[NearMiss] = field(default_factory=list)
    served: Callable[[World], Sequence[Served]] | None = None
    """Who serves Pinboard now, for the passport's stamp: asked after the check has passed. It judges nothing."""

    def stamp(self, served: Callable[[World], Sequence[Served]]) -> Callable[[World], Sequence[Served]]:
        """Declare that this task is a stop of the passport. `served` may fail or find nobody: then there is no stamp.

        Where it finds several (pods), the one with the learner's pin on its board stamps, else the first.
        """
        self.served = served
        return served

    def near_miss(self, name: str, *, fails: str, state: str = "") -> Callable[[Action], Action]:
        """Declare a near miss (a generator function: make the state, yield, undo)."""
        if fails not in self.criteria:
            raise UsageError(f"Near miss {name}: the task {self.id} has no criterion {fails}.")

        def add(apply: Action) -> Action:
            self.near_misses.append(NearMiss(name, fails, apply, state))
            return apply

        return add


@dataclass
class Lab:
    """One lesson. `name` is its folder's name."""

    name: str
    title: str
    minutes: int
    """How long a learner takes."""
    memory_mib: int = 0
    disk_mib: int = 0
    guest: bool = False
    """Needs the guest disk image: `lab prepare` gets it."""
    needs_engine: bool = False
    """Needs a container engine and the base image that the labs' Dockerfiles build upon."""
    needs_cluster: bool = False
    """Needs kind, kubectl and the node image."""
    vms: tuple[str, ...] = ()
    """Names of the VMs that its steps make: `lab reset` removes them."""
    containers: bool = False
    """Its steps make containers and images: `lab reset` removes those of the course."""
    clusters: tuple[str, ...] = ()
    """Names of the clusters that its steps make: `lab reset` removes them."""
    questions: tuple[Prediction, ...] = ()
    """Its predictions and recall questions, in the order in which it asks them."""
    shared: tuple[str, ...] = ()
    """Folders below labs/ that several labs share: the learner gets a copy of each beside the notebook."""
    tasks: dict[str, Task] = field(default_factory=dict)

    def task(
        self,
        name: str,
        title: str,
        *,
        criteria: Mapping[str, tuple[int, str]],
        hints: Mapping[str, tuple[str, ...]],
        after: tuple[str, ...] = (),
    ) -> Callable[[Check], Task]:
        """Declare a task; its check is the decorated generator function."""

        def add(check: Check) -> Task:
            task = Task(name, title, criteria, hints, check, after)
            self.tasks[name] = task
            return task

        return add
