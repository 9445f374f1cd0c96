"""Lab 05, service: states that look done and are not."""

from __future__ import annotations

import json
from collections.abc import Iterator

from lab_helpers.course.world import World

from .names import NAMESPACE, PORT, REPLICAS, SERVICE
from .scene import APP, PROBED, Scene, pod


def selects_nothing(world: World) -> Iterator[None]:
    with Scene(world).changed_service(lambda spec: spec.update(selector={"app": "pinbaord"})):
        yield


def wrong_target_port(world: World) -> Iterator[None]:
    def change(spec: dict[str, object]) -> None:
        spec["ports"] = [{"port": 80, "targetPort": 80}]

    with Scene(world).changed_service(change):
        yield


def headless(world: World) -> Iterator[None]:
    """Its name is known, and leads to the pods themselves: its port is nobody's there."""

    def change(spec: dict[str, object]) -> None:
        spec.update(clusterIP="None", ports=[{"port": 80, "targetPort": PORT}])

    with Scene(world).changed_service(change):
        yield


def external_name(world: World) -> Iterator[None]:
    def change(spec: dict[str, object]) -> None:
        spec.clear()
        spec.update(type="ExternalName", externalName="kubernetes.default.svc.cluster.local")

    with Scene(world).changed_service(change):
        yield


def forward_only(world: World) -> Iterator[None]:
    """A port of the host leads to a pod; in the cluster nobody knows a name."""
    scene = Scene(world)
    with scene.without("service", SERVICE), scene.cluster.port_forward("deployment/pinboard", PORT):
        yield


def other_namespace(world: World) -> Iterator[None]:
    scene = Scene(world)
    with scene.without("service", SERVICE) as kept:
        scene.kubectl("create", "namespace", "elsewhere")
        try:
            spec = {key: value for key, value in kept["spec"].items() if key in ("selector", "ports")}
            meta = {"name": SERVICE, "namespace": "elsewhere"}
            there = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
            scene.cluster.apply(json.dumps(there), namespace="elsewhere")
            yield
        finally:
            scene.kubectl("delete", "namespace", "elsewhere")


def another_pod(world: World) -> Iterator[None]:
    """A Pinboard answers by that name, and it is not the Deployment's."""
    scene = Scene(world)
    labels = {"app": "stranger"}
    with scene.beside(pod("stranger", PROBED, labels)):
        scene.kubectl("wait", "--for=condition=Ready", "pod/stranger", "-n", NAMESPACE, "--timeout=60s")
        with scene.changed_service(lambda spec: spec.update(selector=labels)):
            yield


def one_does_not_serve(world: World) -> Iterator[None]:
    """One pod more has the label, and counts as ready for want of a probe."""
    scene = Scene(world)
    with scene.beside(pod("idle", {**APP, "command": ["sleep", "3600"]})):
        scene.wait_for_pods(lambda pods: len(pods) > REPLICAS, "the idle pod")
        scene.kubectl("wait", "--for=condition=Ready", "pod/idle", "-n", NAMESPACE, "--timeout=60s")
        yield
