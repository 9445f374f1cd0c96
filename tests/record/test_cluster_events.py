"""The recorder of cluster events: what it makes of the API's changes, and its life beside a real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab_helpers.boundaries import cluster as clusters
from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.core import journal
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.core.waiting import wait_for
from lab_helpers.images.node_image import find_node_image
from lab_helpers.record import cluster_events, jobs
from lab_helpers.record.cluster_events import Memory, node_events, pod_events
from lab_helpers.tools.engine import find_engine

NAME = "pinboard-test-events"


def node(ready: str = "True", *, cordoned: bool = False) -> dict[str, Any]:
    return {
        "metadata": {"uid": "n", "name": "worker"},
        "spec": {"unschedulable": cordoned},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(uid: str = "p", ready: str = "False", ended: dict[str, Any] | None = None) -> dict[str, Any]:
    status = {"name": "api", "state": {"running": {}}, "lastState": {"terminated": ended} if ended else {}}
    return {
        "metadata": {"uid": uid, "name": "web", "namespace": "default"},
        "spec": {"nodeName": "worker"},
        "status": {"conditions": [{"type": "Ready", "status": ready}], "containerStatuses": [status]},
    }


def kinds(events: Iterator[cluster_events.Event]) -> list[str]:
    return [kind for kind, _ in events]


def test_the_life_of_a_node() -> None:
    memory = Memory(node_events)
    assert kinds(memory.changed("ADDED", node("Unknown"))) == ["node-added"]
    assert kinds(memory.changed("MODIFIED", node())) == ["node-ready"]
    assert kinds(memory.changed("MODIFIED", node())) == []
    assert kinds(memory.changed("MODIFIED", node(cordoned=True))) == ["node-cordoned"]
    assert kinds(memory.changed("MODIFIED", node("False", cordoned=True))) == ["node-not-ready"]
    assert kinds(memory.changed("DELETED", node())) == ["node-deleted"]


def test_the_life_of_a_pod_with_a_container_that_ended() -> None:
    memory = Memory(pod_events)
    assert kinds(memory.changed("ADDED", pod())) == ["pod-added"]
    assert kinds(memory.changed("MODIFIED", pod(ready="True"))) == ["pod-ready"]
    killed = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-01-01T00:00:00Z"}
    told = list(memory.changed("MODIFIED", pod(ended=killed)))
    assert [kind for kind, _ in told] == ["container-ended", "pod-not-ready"]
    assert told[0][1]["reason"] == "OOMKilled"
    assert told[0][1]["code"] == 137
    assert kinds(memory.changed("MODIFIED", pod(ended=killed))) == []
    assert kinds(memory.changed("DELETED", pod())) == ["pod-deleted"]


def test_what_happened_while_the_api_was_away_is_told_once() -> None:
    memory = Memory(pod_events)
    assert kinds(memory.replaced_by([pod("a", "True")])) == ["pod-added", "pod-ready"]
    assert kinds(memory.replaced_by([pod("a", "True")])) == []
    assert kinds(memory.replaced_by([pod("b")])) == ["pod-deleted", "pod-added"]


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[tuple[Place, Cluster]]:
    engine = find_engine()
    if engine is None or find_node_image(engine) is None:
        pytest.skip("no engine, or no node image: `lab prepare 05`")
    place = replace(real_place(), state=tmp_path / "state", work=tmp_path / "work")
    try:
        cluster = Cluster.create(place, NAME)
        cluster_events.follow(place, NAME)
        yield place, cluster
    finally:
        clusters.remove_all(place)
        jobs.stop(place, cluster_events.job_name(NAME))


def seen(place: Place, kind: str, **facts: str) -> bool:
    events = journal.read(place.journal, f"cluster:{NAME}")
    return any(event["kind"] == kind and facts.items() <= event.items() for event in events)


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_it_tells_what_happens_rests_and_ends_with_the_cluster(followed: tuple[Place, Cluster]) -> None:
    place, cluster = followed
    wait_for(lambda: seen(place, "node-ready"), "the node's events", timeout_s=60)
    cluster.wait_until_ready()
    dns = cluster.api().items("/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns")[0]
    name = dns["metadata"]["name"]
    cluster.kubectl().run(["delete", "pod", "-n", "kube-system", name, "--grace-period=1"])
    wait_for(lambda: seen(place, "pod-deleted", pod=name), "the pod's end", timeout_s=60)
    job = jobs.find(place, cluster_events.job_name(NAME))
    assert job
    process = psutil.Process(job.pid)
    assert process.cpu_percent(interval=2) < 20
    cluster.remove()
    wait_for(lambda: not job.alive(), "the recorder to end", timeout_s=30)
