"""The boundary map: what runs now, as nested boxes, each with the kernel that it runs on.

`look` asks the machine, the guests, the engine and the clusters beside each other, and waits for none of them for
long: whatever does not answer is drawn with a note, or not at all. `compose` makes the map of what was seen, and looks
at nothing.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict

from lab_helpers.core import host
from lab_helpers.core.asking import Asked
from lab_helpers.core.settings import Place
from lab_helpers.course.boundaries_engine import NO_ENGINE, SeenEngine, SeenNode, see_engine
from lab_helpers.course.boundaries_guests import SeenGuests, see_guests

PATIENCE_S = 2.5
"""How long somebody who sits before a screen waits for what does not answer, in seconds."""

Kind = Literal["machine", "engine", "vm", "container", "node", "pod"]
"""engine: the machine with a kernel of its own in which the container engine runs, such as Docker Desktop's VM."""


class Kernel(BaseModel):
    """A kernel that runs. Which one it is, its boot id decides; that is empty where nobody could ask for it."""

    model_config = ConfigDict(frozen=True)

    number: int
    """From 1, which is this machine's."""
    boot_id: str
    system: str
    """Linux, Darwin."""
    release: str


class Box(BaseModel):
    """One thing that runs, with what runs inside of it."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    name: str
    detail: str = ""
    """What it was made from or belongs to: an image, a cluster, a namespace."""
    kernel: int = 0
    """The number of its kernel; 0 while nobody can tell."""
    memory_mib: int | None = None
    """What it takes now from the memory of the box around it; None where nobody can tell."""
    memory_of_mib: int | None = None
    """What it may take or was given at most; None: no limit of its own."""
    started: float | None = None
    """Seconds since the epoch."""
    note: str = ""
    """What is special about its state; empty for what simply runs."""
    children: tuple[Box, ...] = ()

    def walk(self) -> Iterator[Box]:
        """It and all that is inside of it, outer boxes first."""
        yield self
        for child in self.children:
            yield from child.walk()


class BoundaryMap(BaseModel):
    """What `lab map --json` prints: what runs now on this machine because of the course."""

    model_config = ConfigDict(frozen=True)

    looked_at: float
    """Seconds since the epoch."""
    kernels: tuple[Kernel, ...]
    machine: Box
    others: int = 0
    """How many containers run in the engine that are not the course's."""
    notes: tuple[str, ...] = ()
    """What there is to say beside the boxes: what is off, what could not be asked."""

    clusters: tuple[str, ...] = ()
    """The clusters of the course that answer."""

    def kernel_of(self, box: Box) -> Kernel | None:
        """The kernel that a box runs on."""
        return next((kernel for kernel in self.kernels if kernel.number == box.kernel), None)

    @property
    def settling(self) -> bool:
        """Something in it is about to change by itself: a machine starts, a pod is not ready yet."""
        return any(box.note for box in self.machine.walk() if box.kind in ("vm", "pod"))


@dataclass(frozen=True)
class SeenHost:
    """What this machine says of itself."""

    boot_id: str
    system: str
    release: str
    memory_mib: int
    memory_of_mib: int
    started: float


def look(place: Place, *, patience_s: float = PATIENCE_S) -> BoundaryMap:
    """Look at what runs now. Takes as long as the slowest answer, and at most about `patience_s` seconds."""
    until = time.monotonic() + patience_s
    engine = Asked(lambda: see_engine(place, until))
    guests = Asked(lambda: see_guests(place, until))
    machine = _see_host()
    spare = until + 0.3  # they keep to the time themselves; this is for putting together what they have
    seen_guests = guests.answer(spare) or SeenGuests(troubles=("Nobody could tell which VMs run.",))
    seen_engine = engine.answer(spare) or SeenEngine(troubles=(NO_ENGINE,))
    return compose(machine, seen_guests, seen_engine, looked_at=time.time())


def _see_host() -> SeenHost:
    memory = psutil.virtual_memory()
    return SeenHost(
        boot_id=host.boot_id(),
        system=platform.system(),
        release=host.release(),
        memory_mib=(memory.total - memory.available) >> 20,
        memory_of_mib=memory.total >> 20,
        started=psutil.boot_time(),
    )


class _Kernels:
    """Numbers the kernels in the order in which they are met."""

    def __init__(self) -> None:
        self.found: list[Kernel] = []

    def number(self, boot_id: str, system: str, release: str) -> int:
        """Without a boot id it counts as a kernel of its own, which is all that is known of it."""
        for kernel in self.found:
            if boot_id and kernel.boot_id == boot_id:
                return kernel.number
        new = Kernel(number=len(self.found) + 1, boot_id=boot_id, system=system, release=release)
        self.found.append(new)
        return new.number


def compose(machine: SeenHost, guests: SeenGuests, engine: SeenEngine, *, looked_at: float) -> BoundaryMap:
    """The map of what was seen."""
    kernels = _Kernels()
    own = kernels.number(machine.boot_id, machine.system, machine.release)
    in_engine: list[Box] = []
    around: list[Box] = []
    if engine.kernel is None:  # the engine runs on this machine's kernel
        in_engine = _engine_boxes(engine, own)
    else:
        number = kernels.number(engine.kernel.boot_id, "Linux", engine.kernel.release)
        in_engine = _engine_boxes(engine, number)
        if number != own:
            around = [
                Box(
                    kind="engine",
                    name=engine.kernel.name,
                    detail="a machine of the container engine's own",
                    kernel=number,
                    memory_mib=engine.kernel.memory_mib,
                    memory_of_mib=engine.kernel.memory_of_mib,
                    started=engine.kernel.started,
                    children=tuple(in_engine),
                )
            ]
    vms = [
        Box(
            kind="vm",
            name=guest.name,
            detail=guest.detail,
            kernel=kernels.number(guest.boot_id, "Linux", guest.release) if guest.boot_id else 0,
            memory_mib=guest.memory_mib,
            memory_of_mib=guest.memory_of_mib,
            started=guest.started,
            note=guest.note,
        )
        for guest in guests.running
    ]
    box = Box(
        kind="machine",
        name="this machine",
        kernel=own,
        memory_mib=machine.memory_mib,
        memory_of_mib=machine.memory_of_mib,
        started=machine.started,
        children=tuple(vms + (around or in_engine)),
    )
    off = [*(f"the VM {name}" for name in guests.off), *(f"the container {name}" for name in engine.off)]
    notes = [f"Off: {', '.join(off)}."] if off else []
    return BoundaryMap(
        looked_at=looked_at,
        kernels=tuple(kernels.found),
        machine=box,
        others=engine.others,
        notes=(*notes, *guests.troubles, *engine.troubles),
        clusters=engine.clusters,
    )


def _engine_boxes(engine: SeenEngine, kernel: int) -> list[Box]:
    boxes = [
        Box(
            kind="container",
            name=each.name,
            detail=each.image,
            kernel=kernel,
            memory_mib=each.memory_mib,
            memory_of_mib=each.memory_of_mib,
            started=each.started,
            note=each.note,
        )
        for each in engine.containers
    ]
    return boxes + [_node_box(node, kernel) for node in engine.nodes]


def _node_box(node: SeenNode, kernel: int) -> Box:
    return Box(
        kind="node",
        name=node.name,
        detail=f"{node.role.replace('-', ' ')} of the cluster {node.cluster}",
        kernel=kernel if node.running else 0,
        memory_mib=node.memory_mib,
        memory_of_mib=node.memory_of_mib,
        started=node.started,
        note=node.note,
        children=_pod_boxes(node, kernel),
    )


def _pod_boxes(node: SeenNode, kernel: int) -> tuple[Box, ...]:
    """The learner's pods before those that the cluster needs for itself."""
    pods = sorted(node.pods, key=lambda pod: (pod.system, pod.namespace, pod.name))
    return tuple(
        Box(
            kind="pod",
            name=pod.name,
            detail=f"in {pod.namespace}",
            kernel=kernel,
            memory_mib=pod.memory_mib,
            memory_of_mib=pod.memory_of_mib,
            started=pod.started,
            note=pod.note,
        )
        for pod in pods
    )
