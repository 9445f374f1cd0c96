"""The passport: the learner's own pin, and at each stop of the journey a stamp by who served it there.

A task that looks at a served Pinboard declares how to find out who serves it (`@task.stamp`). It is asked after its
check has passed, when the verdict is stored already: a stamp tells, it never judges. What is stamped is Pinboard's own
word (/api/whoami), after the lesson has compared it with the boundary, and the names by which the boundary goes.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, computed_field

from lab_helpers.core.errors import LabError, UsageError
from lab_helpers.core.settings import Place
from lab_helpers.core.store import now, write_atomic
from lab_helpers.course import engine, progress
from lab_helpers.course.declare import Lab, Task
from lab_helpers.course.engine import WorldFor
from lab_helpers.course.progress import PinEntry, StampEntry

if TYPE_CHECKING:
    from lab_helpers.course.world import World

CHECKER = "check"
"""Who signs the pins that checks make and take away again: never a learner's."""


@dataclass(frozen=True)
class Served:
    """A Pinboard that a lesson has found, and on which boundary. What does not apply is empty."""

    who: Mapping[str, Any]
    """What it says at /api/whoami."""
    pins: Callable[[], Any]
    """What it says at /api/pins, decoded; None when it does not say it."""
    post: Callable[[dict[str, str]], bool]
    """Posts a pin to it: true when it took it."""
    vm: str = ""
    container: str = ""
    node: str = ""
    pod: str = ""
    home: bool = False
    """Here the learner makes their own pin: the oldest one on this board is it."""


class Pin(BaseModel):
    """The learner's own pin. `made` is in UTC, ISO 8601; empty when nobody knows."""

    model_config = ConfigDict(frozen=True)

    text: str
    author: str = ""
    made: str = ""


class Stamp(BaseModel):
    """Who served Pinboard at a stop. `time` is in seconds since the epoch; what does not apply is empty.

    `carried`: the learner's own pin was on the board.
    """

    model_config = ConfigDict(frozen=True)

    time: float
    boot_id: str
    kernel: str
    version: str
    vm: str
    container: str
    node: str
    pod: str
    carried: bool


class Stop(BaseModel):
    """One lab in which Pinboard is served; `stamp` is null until its check has passed."""

    model_config = ConfigDict(frozen=True)

    lab: str
    title: str
    stamp: Stamp | None = None

    @property
    def number(self) -> str:
        return self.lab.split("-")[0]


class Passport(BaseModel):
    """The whole page: what `lab passport --json` prints. `pin` is null until it was made."""

    model_config = ConfigDict(frozen=True)

    pin: Pin | None = None
    stops: tuple[Stop, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def kernels(self) -> dict[str, str]:
        """Boot id -> a letter, in the order of the stops: stamps with the same letter were given by one kernel."""
        seen = dict.fromkeys(stop.stamp.boot_id for stop in self.stops if stop.stamp and stop.stamp.boot_id)
        return {boot_id: chr(ord("A") + number) for number, boot_id in enumerate(seen)}


def read_passport(place: Place) -> Passport:
    """The page as it is now: a stop shows its last stamp, and one with the learner's pin before one without."""
    known = progress.read(place)
    stops = []
    for lab in engine.all_labs(place):
        if not stopping(lab):
            continue
        stamps = [entry for entry in known.stamps if entry.lab == lab.name]
        best = max(enumerate(stamps), key=lambda each: (each[1].carried, each[0]), default=None)
        stamp = Stamp(**best[1].model_dump(include=set(Stamp.model_fields))) if best else None
        stops.append(Stop(lab=lab.name, title=lab.title, stamp=stamp))
    pin = Pin(**known.pin.model_dump(include=set(Pin.model_fields))) if known.pin else None
    return Passport(pin=pin, stops=tuple(stops))


def stopping(lab: Lab) -> list[Task]:
    """The tasks of a lab that stamp."""
    return [task for task in lab.tasks.values() if task.served]


def stamp(place: Place, lab: Lab, task: Task, world: Callable[[], World]) -> bool:
    """Stamp the passport after a check of `task` has passed; true when there is a new stamp.

    Whatever goes wrong is written to `.lab/logs` and nothing else: the verdict stands, and the next check stamps.
    """
    try:
        found = task.served(world()) if task.served else ()
        return _stamp(place, lab, task, _best(place, found)) if found else False
    except Exception as error:  # noqa: BLE001 - a stamp that cannot be made must not touch the verdict
        log = place.state / "logs" / f"stamp-{lab.name}-{task.id}.txt"
        with contextlib.suppress(OSError):
            write_atomic(log, "".join(traceback.format_exception(error)))
        return False


def _stamp(place: Place, lab: Lab, task: Task, served: Served) -> bool:
    pins = _pins(served)
    if served.home and pins:
        oldest = min(pins, key=lambda pin: str(pin.get("created_at", "")))
        progress.record_pin(
            place,
            lab.name,
            text=str(oldest["text"]),
            author=str(oldest.get("author") or ""),
            made=str(oldest.get("created_at") or ""),
        )
    own = progress.read(place).pin
    who = {name: str(served.who.get(name) or "") for name in ("boot_id", "kernel", "version")}
    new = StampEntry(
        time=now(),
        lab=lab.name,
        task=task.id,
        boot_id=who["boot_id"],
        kernel=who["kernel"],
        version=who["version"],
        vm=served.vm,
        container=served.container,
        node=served.node,
        pod=served.pod,
        carried=own is not None and _on_board(own, pins),
    )
    return progress.record_stamp(place, new)


def carry(
    place: Place, lab: Lab | str, *, text: str = "", author: str = "", world_for: WorldFor = engine.world_for
) -> bool:
    """Post the learner's own pin to the Pinboard of that lab when it is not there; true when it was posted.

    `text`: the pin of who has none yet, because they began with a later lab. Where the task has passed already, the
    passport is stamped anew. Raises LabError when there is no pin, or no Pinboard that takes it.
    """
    lab = engine.load_lab(place, lab)
    tasks = stopping(lab)
    stops = [each.name for each in engine.all_labs(place) if stopping(each)]
    if not tasks:
        raise UsageError(f"The lab {lab.name} is no stop of the passport.", why=f"the stops are {', '.join(stops)}")
    own = progress.read(place).pin
    if own is None and not text.strip():
        raise LabError(
            "There is no pin of yours to carry yet.",
            why=f"your own pin is the first one that you make in {stops[0]}",
            do=f'make it there, or say what is on it: `lab passport --carry {lab.name} --text "My pin"`',
        )
    world = world_for(place, lab.name)
    found = {task.id: task.served(world) for task in tasks if task.served}
    found = {name: boards for name, boards in found.items() if boards}
    if not found:
        raise LabError(
            f"No Pinboard of lab {lab.name} answers now.", do=f"run `lab check {lab.name} {tasks[0].id}`: it says why"
        )
    task = lab.tasks[next(iter(found))]
    served = _best(place, found[task.id])
    if own is None:
        own = PinEntry(time=now(), lab=lab.name, text=text.strip(), author=author.strip())
    missing = not _on_board(own, _pins(served))
    if missing and not served.post({"text": own.text, **({"author": own.author} if own.author else {})}):
        raise LabError("Pinboard did not take your pin.", do=f"run `lab check {lab.name} {task.id}`")
    progress.record_pin(place, lab.name, text=own.text, author=own.author)
    if progress.read(place).lab(lab.name).task(task.id).passed:
        stamp(place, lab, task, lambda: world)
    return missing


def _best(place: Place, found: Sequence[Served]) -> Served:
    """The one with the learner's own pin on its board, else the first."""
    own = progress.read(place).pin
    return next((each for each in found if own and _on_board(own, _pins(each))), found[0])


def over_http(
    world: World, address: str, *, vm: str = "", container: str = "", boot_id: str = "", home: bool = False
) -> Served | None:
    """The Pinboard at an address of this machine; None where none answers, or one that another kernel runs.

    `boot_id`: of the kernel that is to run it, as the lesson saw it there.
    """
    who = world.get(f"{address}/api/whoami").json()
    if not isinstance(who, dict) or not isinstance(who.get("pid"), int) or who.get("boot_id") != boot_id:
        return None
    return Served(
        who=who,
        pins=lambda: world.get(f"{address}/api/pins").json(),
        post=lambda pin: world.post(f"{address}/api/pins", dict(pin)).status == 201,
        vm=vm,
        container=container,
        home=home,
    )


def _pins(served: Served) -> list[dict[str, Any]]:
    """The pins of people on the board."""
    said = served.pins()
    pins = said if isinstance(said, list) else []
    return [pin for pin in pins if isinstance(pin, dict) and pin.get("text") and pin.get("author") != CHECKER]


def _on_board(own: PinEntry, pins: list[dict[str, Any]]) -> bool:
    return any(pin["text"] == own.text and (pin.get("author") or "") == own.author for pin in pins)
