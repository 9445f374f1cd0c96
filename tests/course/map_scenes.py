"""What might run on a machine, for the tests of the boundary map; and any tree of boxes at all."""

from __future__ import annotations

import random

from lab_helpers.course.boundaries_engine import SeenContainer, SeenEngine, SeenKernel, SeenNode
from lab_helpers.course.boundaries_guests import SeenGuest, SeenGuests
from lab_helpers.course.boundaries_now import BoundaryMap, Box, Kernel, SeenHost, compose
from lab_helpers.course.boundaries_pods import SeenPod

NOW = 1_800_000_000.0
HOST = SeenHost("boot-host", "Linux", "6.1.0-host", 6000, 16000, NOW - 90_000)
DESKTOP = SeenKernel("docker-desktop", "6.10-linuxkit", "boot-desktop", NOW - 900, 2000, 8000)
HOSTILE = "<script>alert('x')</script>&\"\x1b[2J\u202e"


def guest(name: str = "pinboard-vm", boot_id: str = "boot-guest", note: str = "", started: float = 200) -> SeenGuest:
    return SeenGuest(name, "", NOW - started, 388, 640, boot_id, "6.12-guest", note)


def container(name: str, note: str = "") -> SeenContainer:
    return SeenContainer(f"id-{name}", name, "pinboard:1", 7, NOW - 12, 23, 128, note)


def node(name: str, *pods: str, running: bool = True, note: str = "") -> SeenNode:
    own = tuple(SeenPod(pod, "default", name, NOW - 30, "", 41) for pod in pods)
    system = (SeenPod("kube-proxy-x", "kube-system", name, NOW - 400, "", 20),) if running else ()
    role = "control-plane" if "control" in name else "worker"
    return SeenNode(name, "pinboard", role, running, NOW - 500 if running else None, 500, None, note, (*system, *own))


def scene(guests: SeenGuests | None = None, engine: SeenEngine | None = None) -> BoundaryMap:
    return compose(HOST, guests or SeenGuests(), engine or SeenEngine(), looked_at=NOW)


def full() -> BoundaryMap:
    """A guest, one that boots, containers, a cluster of three nodes with pods, and other people's things."""
    nodes = (
        node("pinboard-control-plane"),
        node("pinboard-worker", "web-a", "web-b"),
        node("pinboard-worker2", "web-c"),
    )
    return scene(
        SeenGuests((guest(), guest("slow", "", "starting", 3)), off=("first-vm",)),
        SeenEngine((container("pinboard"), container("visitor", "paused")), nodes, DESKTOP, 3, clusters=("pinboard",)),
    )


def any_map(seed: int) -> BoundaryMap:
    """A map of random boxes, nested at random, with names of any length."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    letters = "abcdefghij-./ _漢字WMil"

    def name() -> str:
        return "".join(dice.choice(letters) for _ in range(dice.choice((1, 5, 12, 40, 80)))).strip() or "x"

    def box(depth: int) -> Box:
        count = dice.choice((0, 1, 2, 3, 9)) if depth < dice.randint(1, 4) else 0
        return Box(
            kind=dice.choice(("vm", "container", "node", "pod", "engine")),
            name=name(),
            detail=dice.choice(("", name())),
            kernel=dice.randint(0, 9),
            memory_mib=dice.choice((None, 0, 12, 123_456)),
            memory_of_mib=dice.choice((None, 64, 20_000)),
            started=dice.choice((None, NOW - dice.random() * 10 ** dice.randint(0, 7))),
            note=dice.choice(("", name())),
            children=tuple(box(depth + 1) for _ in range(count)),
        )

    machine = Box(
        kind="machine", name="this machine", kernel=1, children=tuple(box(1) for _ in range(dice.randint(0, 8)))
    )
    kernels = tuple(Kernel(number=n, boot_id=f"boot-{n}", system="Linux", release=name()) for n in range(1, 10))
    return BoundaryMap(looked_at=NOW, kernels=kernels, machine=machine, others=dice.randint(0, 2), notes=(name(),))
