"""After a pause: where the learner was, what of their lab still runs, and bringing back what does not.

What is off is brought back only when it ran, and neither the learner stopped it nor it ended as it was meant to. The
journal tells that of VMs; of containers and nodes of clusters the engine's events do, and the engine itself.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from lab_helpers.boundaries import container
from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.boundaries.container import Container
from lab_helpers.boundaries.engine_objects import read_baseline
from lab_helpers.boundaries.guest import running_guests
from lab_helpers.boundaries.node_containers import nodes_of
from lab_helpers.boundaries.vm import Vm, all_vms
from lab_helpers.core import host, journal
from lab_helpers.core.errors import LabError, MachineError
from lab_helpers.core.events import Progress, Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.core.store import Record
from lab_helpers.course.declare import Lab
from lab_helpers.course.progress import LAST_RUN
from lab_helpers.course.world import World
from lab_helpers.record import cluster_events, engine_events, recorder

GOING_S = 15
"""A container that is stopped so shortly before its engine goes away, in seconds, was stopped by the engine."""
LOST = 255
"""The exit code that the engine gives to a container whose end it did not see: a power cut, a kill -9."""
CERTAIN_ENDS = ("SIGTERM", "SIGKILL", "SIGINT", "SIGQUIT", "15", "9", "2", "3")
"""Signals that end a container, as the engine's events name them; by others a program may mean anything."""


class State(StrEnum):
    """How one thing of a lab is now."""

    RUNS = "runs"
    LOST = "off, and it was on"
    """To be brought back."""
    OFF = "off"
    """On purpose, or nobody knows; it stays as it is."""


@dataclass(frozen=True)
class Piece:
    """One thing of a lab. `why` is how it came to be off, and `command` how the learner turns it on by hand."""

    sort: Literal["VM", "container", "cluster"]
    name: str
    state: State
    why: str = ""
    command: str = ""
    nodes: tuple[str, ...] = ()
    """Of a cluster: the containers to be started, control planes first."""

    @property
    def words(self) -> str:
        """`the VM pinboard-vm`."""
        return f"the {self.sort} {self.name}"


def rebooted(place: Place) -> bool:
    """True when this machine has been restarted since something was last done in this place."""
    try:
        return str(json.loads((place.state / LAST_RUN).read_text())["boot"]) != host.boot_id()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def survey(place: Place, labs: Iterable[Lab]) -> list[Piece]:
    """What there is of these labs, on and off. Nothing is changed. Without an engine, what is in it is left out."""
    labs = list(labs)
    events = journal.read(place.journal)
    pieces = _vms(place, {name for lab in labs for name in lab.vms}, events)
    clusters = sorted({name for lab in labs for name in lab.clusters})
    containers = any(lab.containers for lab in labs)
    if (containers or clusters) and read_baseline(place):
        with contextlib.suppress(MachineError):
            events = events + engine_events.missed(events)
            pieces += [piece for name in clusters for piece in _cluster(name, events)]
            pieces += _containers(place, events) if containers else []
    return pieces


def part_of(piece: Piece, lab: Lab) -> bool:
    """True when the lab's steps make it. Which lab a container is of nobody knows: it is of all that make some."""
    return (
        (piece.sort == "VM" and piece.name in lab.vms)
        or (piece.sort == "cluster" and piece.name in lab.clusters)
        or (piece.sort == "container" and lab.containers)
    )


def bring_back(place: Place, lab: Lab, pieces: Iterable[Piece], tell: Tell = silent) -> list[str]:
    """Turn on those of the pieces that are LOST, one after the other; returns what could not be, one line each.

    What they record is recorded again as well. To call it twice, or to go on after Ctrl-C, does no harm.
    """
    world = World(place, lab.name)
    world.begin(lab)
    for name in (guest.name for guest in running_guests(place) if guest.managed):
        recorder.follow(place, name)
    failed = []
    for piece in pieces:
        if piece.state is not State.LOST:
            continue
        try:
            match piece.sort:
                case "VM":
                    world.start_vm(Vm.load(place, piece.name), tell)
                case "cluster":
                    Cluster(place, piece.name).start(piece.nodes, tell)
                    cluster_events.follow(place, piece.name)
                case "container":
                    tell(Progress(f"{piece.name} starts", typical_s=1))
                    container.start(place, piece.name)
        except LabError as error:
            failed.append(f"{piece.words}: {error.what} {error.why}".rstrip())
    return failed


# -- VMs ---------------------------------------------------------------------------------------------------------------


def _vms(place: Place, names: Collection[str], events: Sequence[Record]) -> list[Piece]:
    running = {guest.name for guest in running_guests(place)}
    found = [Piece("VM", name, State.RUNS) for name in sorted(running) if name in names]
    for vm in all_vms(place):
        if vm.name in names and vm.name not in running:
            boot = ran_in([event for event in events if event.get("source") == f"vm:{vm.name}"])
            state = State.OFF if boot is None else State.LOST
            why = "it was shut down, or never started"
            if boot is not None:
                restarted = boot not in ("", host.boot_id())
                why = "the machine was restarted" if restarted else "its QEMU ended without shutting it down"
            found.append(Piece("VM", vm.name, state, why, f"lab vm start {vm.name}"))
    return found


def ran_in(events: Iterable[Record]) -> str | None:
    """Out of a VM's events: the boot id of the host under which it ran last; None when it was turned off on purpose."""
    boot = None
    for event in events:
        match event.get("kind"):
            case "start":
                boot = str(event.get("boot", ""))
            case "restore":
                boot = (boot or "") if event.get("running") else None
            case "shutdown":
                # A host that shuts down ends QEMU by a signal; the guest's own shutdown, or QMP's, is somebody's wish.
                boot = boot if str(event.get("reason", "")).startswith("host-signal") else None
            case "stop" | "remove" | "create":
                boot = None
    return boot


# -- containers and nodes ----------------------------------------------------------------------------------------------


def _containers(place: Place, events: Sequence[Record]) -> list[Piece]:
    pieces = []
    for one in reversed(container.containers(place)):  # the oldest first: the others may need it
        state, why = _judged(one, events)
        pieces.append(Piece("container", one.name, state, why, f"docker start {one.name}"))
    return pieces


def _judged(one: Container, events: Sequence[Record]) -> tuple[State, str]:
    if one.status in ("running", "restarting", "paused"):
        return State.RUNS, "" if one.running else one.status
    if one.status == "created":
        return State.OFF, "it was never started"
    return ended(one.id, one.exit_code, events)


def ended(identity: str, exit_code: int, events: Iterable[Record]) -> tuple[State, str]:
    """How a container that is off came to be so, out of the engine's events (oldest first) and its exit code."""
    on, known, lost = False, False, False
    by_hand = 0.0
    for event in events:
        kind = event.get("kind")
        if kind == engine_events.GONE:
            # What it stops while it shuts down, it has stopped by then; on its return it ends what outlived it.
            stopped_it = by_hand and not event.get("implied") and _at(event) - by_hand <= GOING_S
            lost = lost or on or bool(stopped_it)
        if event.get("id") != identity:
            continue
        match kind:
            case "start":
                on, known, lost, by_hand = True, True, False, 0.0
            case "kill" if str(event.get("signal", "")) in CERTAIN_ENDS:
                by_hand = _at(event)
            case "stop":
                on, known, by_hand = False, True, _at(event)
            case "die":
                on, known = False, True
    if lost or on or (exit_code == LOST and not known):
        return State.LOST, "the machine or the engine went down with it"
    return State.OFF, "you stopped it" if by_hand else "it ended by itself" if known else "nobody saw how it ended"


def _at(event: Record) -> float:
    """Seconds since the epoch."""
    at: Any = event.get("at_ns")
    return at / 1e9 if at else float(event.get("time", 0))


def _cluster(name: str, events: Sequence[Record]) -> list[Piece]:
    nodes = nodes_of(name)
    if not nodes:
        return []
    off = [node for node in nodes if not node.running]
    if not off:
        return [Piece("cluster", name, State.RUNS)]
    judged = [(node, *ended(node.id, container.exit_code(node.id), events)) for node in off]
    lost = tuple(node.name for node, state, _ in judged if state is State.LOST)
    whys = list(dict.fromkeys(why for _, state, why in judged if (state is State.LOST) == bool(lost)))
    command = f"docker start {' '.join(lost or tuple(node.name for node in off))}"
    return [Piece("cluster", name, State.LOST if lost else State.OFF, "; ".join(whys), command, lost)]


def ago(at: float) -> str:
    """`5 minutes ago`, `3 hours ago`, `2 days ago`."""
    seconds = max(time.time() - at, 0)
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "just now"
