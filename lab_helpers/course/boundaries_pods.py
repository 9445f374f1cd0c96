"""For the boundary map: pods, out of what a cluster's API and its kubelets say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab_helpers.boundaries.engine_objects import moment
from lab_helpers.boundaries.kube_api import Object, is_ready

SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
"""What a cluster needs for itself."""


@dataclass(frozen=True)
class SeenPod:
    """A pod that has a node."""

    name: str
    namespace: str
    node: str
    started: float | None
    note: str
    memory_mib: int | None = None
    memory_of_mib: int | None = None

    @property
    def system(self) -> bool:
        """The cluster needs it for itself."""
        return self.namespace in SYSTEM_NAMESPACES


def pod_memory(summary: Object) -> dict[tuple[str, str], int]:
    """Namespace and name of each pod -> its memory in MiB, out of what a kubelet says at /stats/summary."""
    found = {}
    for pod in summary.get("pods") or ():
        used = (pod.get("memory") or {}).get("workingSetBytes")
        if used is not None:
            found[pod["podRef"]["namespace"], pod["podRef"]["name"]] = int(used) >> 20
    return found


def read_pod(item: Object, memory: Mapping[tuple[str, str], int]) -> SeenPod | None:
    """A pod of the API; None for one that has ended."""
    meta, status = item["metadata"], item.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    limits = [((each.get("resources") or {}).get("limits") or {}).get("memory") for each in item["spec"]["containers"]]
    return SeenPod(
        name=meta["name"],
        namespace=meta["namespace"],
        node=item["spec"].get("nodeName", ""),
        started=moment(status.get("startTime") or "") or None,
        note=_pod_note(item),
        memory_mib=memory.get((meta["namespace"], meta["name"])),
        memory_of_mib=sum(_mib(each) for each in limits if each) or None if all(limits) else None,
    )


def _pod_note(item: Object) -> str:
    if "deletionTimestamp" in item["metadata"]:
        return "ending"
    if is_ready(item):
        return ""
    states = [each.get("state") or {} for each in item.get("status", {}).get("containerStatuses") or ()]
    reasons = [state["waiting"].get("reason", "") for state in states if "waiting" in state]
    return f"not ready: {reasons[0]}" if reasons and reasons[0] else "not ready"


def _mib(quantity: str) -> int:
    """A quantity of memory as Kubernetes writes it, in MiB; 0 when it cannot be read."""
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}
    unit = next((unit for unit in units if quantity.endswith(unit)), "")
    try:
        return int(float(quantity.removesuffix(unit)) * units.get(unit, 1)) >> 20
    except ValueError:
        return 0
