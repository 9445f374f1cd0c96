"""The world of a lab kept in a folder, and brought back from there: VMs, what it has in the engine, clusters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab_helpers.boundaries import saved_cluster, saved_containers, saved_vms
from lab_helpers.core.events import Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.course import saved_states
from lab_helpers.images.guest_image import image_key
from lab_helpers.record import recorder
from lab_helpers.tools.qemu import host_arch

if TYPE_CHECKING:
    from lab_helpers.course.declare import Lab


def key(place: Place, lab: Lab) -> str:
    """What a kept world of this lab depends on besides the lesson. Raises MachineError where its tools are missing."""
    parts = []
    if lab.vms:
        parts += [image_key(host_arch()), saved_vms.machine_key(place)]
    if lab.containers:
        parts.append(saved_containers.engine_key())
    if lab.clusters:
        from lab_helpers.images.node_image import find_node_image
        from lab_helpers.tools.engine import need_engine

        node = find_node_image(need_engine())
        parts.append(node.id if node else "")
    return "\n".join(parts)


def save(place: Place, lab: Lab, folder: Path, name: str) -> None:
    """Keep the lab's world in `folder`; `name` is that of no other kept world of this place. Raises LabError."""
    folder.mkdir(parents=True)
    if lab.vms:
        saved_vms.save(place, lab.vms, folder / "vms")
    for cluster in lab.clusters:
        saved_cluster.save(place, cluster, folder / "clusters")
    if lab.containers:
        saved_containers.save(place, folder / "containers", name)


def missing(place: Place, lab: Lab, folder: Path) -> str:
    """Why the world in `folder` cannot be brought back; empty when it can. Nothing is changed."""
    for cluster in lab.clusters:
        if why := saved_cluster.missing(place, cluster, folder / "clusters"):
            return why
    return saved_containers.missing(folder / "containers") if lab.containers else ""


def bring(place: Place, lab: Lab, folder: Path, tell: Tell = silent) -> None:
    """Bring the world in `folder` back. VMs and containers must be gone, clusters still there. Raises LabError."""
    for cluster in lab.clusters:
        saved_cluster.bring(place, cluster, folder / "clusters", tell)
    if lab.containers:
        saved_containers.bring(folder / "containers", tell)
    if lab.vms:
        for name in saved_vms.bring(place, folder / "vms", tell):
            if (folder / "vms" / name / saved_vms.MEMORY).exists():
                recorder.follow(place, name)


def sweep(place: Place) -> None:
    """Let go of what no saved state needs any more."""
    saved_containers.sweep(place, [state.world / "containers" for state in saved_states.all_saved(place)])
