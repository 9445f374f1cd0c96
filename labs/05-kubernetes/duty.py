"""What the incidents of this lab are made with: the learner's own objects kept, changed and brought back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.boundaries.kube_api import Api, Object
from lab_helpers.core.errors import LabError
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.world import World

from .cluster import find_cluster
from .names import REPLICAS
from .services import best_service
from .workloads import best_workload

if TYPE_CHECKING:
    from lab_helpers.course.oncall import Facts

DNS = ("deployment", "coredns", "-n", "kube-system")
ADDED = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
"""What the cluster adds to an object that somebody writes."""
KEPT_AS = "kubectl.kubernetes.io/last-applied-configuration"


def begin(world: World) -> Facts:
    """What the learner has made, as it is now. Raises LabError when it is not all there."""
    found = find_cluster(world)
    if found.api is None:
        raise _too_early(found.saw)
    workload = best_workload(found.api)
    if workload is None or len(workload.serving) != REPLICAS:
        raise _too_early("no Deployment whose three pods answer")
    if not container_of(workload.deployment).get("readinessProbe"):
        raise _too_early("a Deployment without a readiness probe: complete that in deployment.yaml")
    service = best_service(found.api, workload)
    if service is None or not service.ours:
        raise _too_early("no Service that leads to them")
    coredns = found.api.get("/apis/apps/v1/namespaces/kube-system/deployments/coredns")
    return {
        "cluster": found.api.name,
        "namespace": workload.namespace,
        "deployment": _as_written(workload.deployment, "apps/v1", "Deployment"),
        "service": _as_written(service.service, "v1", "Service"),
        "dns": int(coredns["spec"]["replicas"]) if coredns else 0,
        "nodes": {
            node["metadata"]["name"]: {
                "cordoned": bool(node["spec"].get("unschedulable")),
                "taints": [taint for taint in node["spec"].get("taints") or [] if _lasting(taint)],
            }
            for node in found.api.items("/api/v1/nodes")
        },
    }


def _too_early(saw: str) -> LabError:
    return LabError(
        "There is nothing yet that could break: the incidents are about the three pods and their Service.",
        why=f"seen: {saw}",
        do="do the steps up to `lab check 05 service` first, or let `lab solve 05 service` do them",
    )


def _as_written(found: Object, version: str, kind: str) -> Object:
    """The object as one would write it. In a list, objects do not say of what kind they are."""
    item: Object = {"apiVersion": version, "kind": kind, **json.loads(json.dumps(found))}
    for key in ADDED:
        item["metadata"].pop(key, None)
    item["metadata"].get("annotations", {}).pop(KEPT_AS, None)
    item.pop("status", None)
    return item


def _lasting(taint: dict[str, Any]) -> bool:
    """Somebody put it there; the others come and go with the node's health, or with a cordon."""
    return not str(taint.get("key", "")).startswith("node.kubernetes.io/")


class Duty:
    """The cluster of an incident, and what is done in it."""

    def __init__(self, world: World, facts: Facts) -> None:
        self.facts = facts
        self.cluster = Cluster.load(world.place, facts["cluster"])
        self._kubectl = self.cluster.kubectl()

    @property
    def api(self) -> Api:
        return self.cluster.api()

    @property
    def deployment(self) -> str:
        return f"deployment/{self.facts['deployment']['metadata']['name']}"

    @property
    def service(self) -> str:
        return f"service/{self.facts['service']['metadata']['name']}"

    @property
    def workers(self) -> list[str]:
        return [node.name for node in self.api.nodes() if not node.control_plane]

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return self._kubectl.run(words, stdin=stdin, timeout_s=120).out

    def mine(self, *words: str) -> str:
        """kubectl in the learner's namespace."""
        return self.kubectl("-n", self.facts["namespace"], *words)

    def change(self, kind: str, change: Callable[[Object], object]) -> None:
        """Change the learner's "deployment" or "service", from how it was before the incident."""
        item: Object = json.loads(json.dumps(self.facts[kind]))
        change(item)
        self.kubectl("replace", "-f", "-", stdin=json.dumps(item))

    def pods(self) -> list[Object]:
        """The pods of the learner's Deployment by its labels, those about to end left out."""
        labels = self.facts["deployment"]["spec"]["selector"]["matchLabels"]
        found = self.api.items(f"/api/v1/namespaces/{self.facts['namespace']}/pods")
        return [
            pod
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
            and labels.items() <= (pod["metadata"].get("labels") or {}).items()
        ]

    def roll_out(self) -> None:
        """Wait until the Deployment is what it is meant to be."""
        self.mine("rollout", "status", self.deployment, "--timeout=90s")

    def wait_for_dns(self) -> None:
        self.kubectl("rollout", "status", *DNS, "--timeout=90s")

    def wait_for_pods_waiting(self, reasons: tuple[str, ...]) -> None:
        """Wait until a container of the Deployment waits for one of these reasons."""

        def waits() -> bool:
            statuses = [each for pod in self.pods() for each in pod["status"].get("containerStatuses") or []]
            return any((each["state"].get("waiting") or {}).get("reason") in reasons for each in statuses)

        wait_for(waits, f"a container that waits: {', '.join(reasons)}", timeout_s=90, interval_s=0.2)


def container_of(deployment: Object) -> Object:
    """The first container in a Deployment's template."""
    found: Object = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def rescue(world: World, facts: Facts) -> None:
    """Everything as it was when the incident began."""
    duty = Duty(world, facts)
    for name, node in facts["nodes"].items():
        duty.kubectl("cordon" if node["cordoned"] else "uncordon", name)
        for taint in node["taints"]:
            value = f"={taint['value']}" if taint.get("value") else ""
            duty.kubectl("taint", "node", name, f"{taint['key']}{value}:{taint['effect']}", "--overwrite")
    duty.kubectl("scale", *DNS, f"--replicas={facts['dns']}")
    for kind in ("deployment", "service"):
        if duty.mine("get", f"{kind}/{facts[kind]['metadata']['name']}", "--ignore-not-found", "-o", "name"):
            duty.change(kind, lambda item: item)
        else:
            duty.kubectl("create", "-f", "-", stdin=json.dumps(facts[kind]))
    duty.roll_out()
    duty.wait_for_dns()


def end(world: World, facts: Facts) -> None:
    """The incident is taken away; when the cluster is gone, off or silent, it went with it."""
    if find_cluster(world).api is not None:
        rescue(world, facts)
