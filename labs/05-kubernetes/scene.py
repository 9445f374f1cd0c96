"""What this lab's near misses are made with: the solved state kept and brought back, pods and what makes pods."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.boundaries.kube_api import Object, is_ready
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.world import World

from .names import CLUSTER, DEPLOYMENT, IMAGE, NAMESPACE, PORT, SERVICE

LABELS = {"app": "pinboard"}
"""What the lesson's Deployment puts on its pods."""
APP = {"name": "api", "image": IMAGE}
PROBED = {**APP, "readinessProbe": {"httpGet": {"path": "/readyz", "port": PORT}, "periodSeconds": 1}}


class Scene:
    """The solved cluster, and what is changed in it."""

    def __init__(self, world: World) -> None:
        self.cluster = Cluster.load(world.place, CLUSTER)
        self._kubectl = self.cluster.kubectl()

    def kubectl(self, *words: str) -> str:
        return self._kubectl.run(words, timeout_s=120).out

    def apply(self, *objects: Object) -> None:
        self.cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def get(self, kind: str, name: str) -> Object:
        """An object as one would write it: without what the cluster has added."""
        found = json.loads(self.kubectl("get", kind, name, "-n", NAMESPACE, "-o", "json"))
        for key in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
            found["metadata"].pop(key, None)
        found["metadata"].get("annotations", {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
        found.pop("status", None)
        return dict(found)

    def delete(self, kind: str, *names: str) -> None:
        """Gone at once, for whoever looks; pods may take a moment longer."""
        self.kubectl("delete", kind, *names, "-n", NAMESPACE, "--ignore-not-found", "--wait=false", "--grace-period=1")

    def pods(self) -> list[Object]:
        """The pods in the lesson's namespace that are not about to end."""
        found = self.cluster.api().items(f"/api/v1/namespaces/{NAMESPACE}/pods")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def wait_for_pods(self, wanted: Callable[[list[Object]], bool], what: str) -> None:
        wait_for(lambda: wanted(self.pods()), what, timeout_s=90, interval_s=0.2)

    def wait_for_ready(self, count: int) -> None:
        self.wait_for_pods(lambda pods: sum(map(is_ready, pods)) == count, f"{count} ready pods")

    @contextlib.contextmanager
    def without(self, kind: str, name: str) -> Iterator[Object]:
        """Without an object of the solution; it comes back as it was."""
        kept = self.get(kind, name)
        self.delete(kind, name)
        try:
            yield kept
        finally:
            self.apply(kept)
            self.settle()

    def settle(self) -> None:
        """Wait until the Deployment is what it is meant to be, and nothing of the time before is left."""
        self.kubectl("rollout", "status", f"deployment/{DEPLOYMENT}", "-n", NAMESPACE, "--timeout=90s")

    @contextlib.contextmanager
    def changed_deployment(self, change: Callable[[Object], object]) -> Iterator[None]:
        """The Deployment made anew with a change."""
        with self.without("deployment", DEPLOYMENT) as kept:
            new = json.loads(json.dumps(kept))
            change(new)
            self.apply(new)
            try:
                yield
            finally:
                self.delete("deployment", DEPLOYMENT)
                self.gone(new)

    @contextlib.contextmanager
    def instead_of_deployment(self, *objects: Object) -> Iterator[None]:
        """Other objects in the Deployment's place."""
        with self.without("deployment", DEPLOYMENT), self.beside(*objects):
            yield

    @contextlib.contextmanager
    def beside(self, *objects: Object) -> Iterator[None]:
        """Other objects, for a while."""
        self.apply(*objects)
        try:
            yield
        finally:
            for each in objects:
                self.delete(each["kind"], each["metadata"]["name"])
                self.gone(each)

    def gone(self, made: Object) -> None:
        """Wait until an object's name is free again."""
        kind, name = made["kind"], made["metadata"]["name"]
        self.kubectl("wait", "--for=delete", f"{kind}/{name}", "-n", NAMESPACE, "--timeout=60s")

    @contextlib.contextmanager
    def changed_service(self, change: Callable[[dict[str, Any]], object]) -> Iterator[None]:
        """The Service made anew with a change of its spec."""
        with self.without("service", SERVICE) as kept:
            new = json.loads(json.dumps(kept))
            for key in ("clusterIP", "clusterIPs"):
                new["spec"].pop(key, None)
            change(new["spec"])
            self.apply(new)
            try:
                yield
            finally:
                self.delete("service", SERVICE)


def pod(name: str, container: Object, labels: dict[str, str] | None = None) -> Object:
    """A pod of nobody."""
    meta = {"name": name, "namespace": NAMESPACE, "labels": labels or LABELS}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}


def workload(kind: str, name: str, container: Object, **spec: Any) -> Object:
    """A Deployment, or what else makes pods out of a template."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template, **spec},
    }
