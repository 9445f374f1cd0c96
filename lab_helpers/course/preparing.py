"""What the labs build upon, part by part: which of it is here already, and what the rest costs.

It is for `lab prepare --all`. The figures were measured and are rounded up: they are to tell minutes from hours, and a
download over a phone from one at home.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lab_helpers.core.errors import LabError
from lab_helpers.core.events import Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.course.declare import Lab


@dataclass(frozen=True)
class Cost:
    """What getting a part takes: downloads and disk in MB, time in seconds on two cores and a line of 50 Mbit/s."""

    download_mb: int
    disk_mb: int
    seconds: float
    meanwhile_mb: int = 0
    """Disk that is needed while it is built, and free again afterwards."""


@dataclass(frozen=True)
class Part:
    """One thing that labs build upon."""

    title: str
    labs: tuple[str, ...]
    here: bool
    built: bool
    """It will be built here; else it is fetched."""
    cost: Cost
    make: Callable[[Place, Tell], object]


def parts(place: Place, labs: Iterable[Lab]) -> list[Part]:
    """All that these labs build upon, in the order in which it is made. A registry is asked whether it answers."""
    from lab_helpers.images.base_image import base_image, find_base_image
    from lab_helpers.images.guest_image import find_guest_image, guest_image
    from lab_helpers.images.node_image import find_node_image, node_image
    from lab_helpers.images.programs import find_kind, find_kubectl, kind_program, kubectl_program
    from lab_helpers.images.registry import answering
    from lab_helpers.tools.engine import find_engine

    labs = list(labs)
    engine = find_engine()
    guest, container, cluster = (
        tuple(lab.name[:2] for lab in labs if wanted(lab)) for wanted in (_needs_guest, _needs_engine, _needs_cluster)
    )
    fetched = {name: bool(container) and answering(name) for name in ("docker.io", "registry.k8s.io")}
    node = cluster and not (engine and find_node_image(engine))
    found: list[Part] = []
    if guest:
        here = find_guest_image(place) is not None
        found.append(Part("guest disk", guest, here, True, Cost(150, 600, 90, 1200), guest_image))
    if container:
        here = engine is not None and find_base_image(engine) is not None
        cost = Cost(80, 140, 60) if fetched["docker.io"] else Cost(70, 280, 40, 300)
        found.append(Part("base container image", container, here, not fetched["docker.io"], cost, base_image))
    if cluster:
        # What kubectl and the node image are built of is fetched once.
        network = fetched["docker.io"] or fetched["registry.k8s.io"]
        small = Cost(11, 11, 15) if network else Cost(110, 11, 60, 1000)
        found.append(Part("kind", cluster, find_kind(place) is not None, not network, small, kind_program))
        cost = Cost(430, 1300, 180) if fetched["docker.io"] else Cost(330, 2000, 900, 8000)
        found.append(Part("node image for kind", cluster, not node, not fetched["docker.io"], cost, node_image))
        small = Cost(60, 60, 20) if network else Cost(0, 120, 60)
        found.append(Part("kubectl", cluster, find_kubectl(place) is not None, not network, small, kubectl_program))
    return found


def _needs_guest(lab: Lab) -> bool:
    return lab.guest


def _needs_engine(lab: Lab) -> bool:
    return lab.needs_engine or lab.needs_cluster


def _needs_cluster(lab: Lab) -> bool:
    return lab.needs_cluster


def make(place: Place, wanted: Iterable[Part], tell: Tell = silent) -> list[LabError]:
    """Get these parts, one after the other; one that fails does not keep the others. Returns what went wrong.

    Interrupted and called again it goes on: what is here is not got again.
    """
    failed = []
    for part in wanted:
        try:
            part.make(place, tell)
        except LabError as error:
            failed.append(error)
    return failed


def total(wanted: Iterable[Part]) -> Cost:
    """What they cost together. They are made one after the other, so the largest `meanwhile_mb` counts."""
    costs = [part.cost for part in wanted]
    return Cost(
        sum(cost.download_mb for cost in costs),
        sum(cost.disk_mb for cost in costs),
        sum(cost.seconds for cost in costs),
        max((cost.meanwhile_mb for cost in costs), default=0),
    )


def free_mb(place: Place) -> int:
    """How much room there is on the disk of the caches, in MB."""
    folder: Path = place.home
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // 1_000_000
