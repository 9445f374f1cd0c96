"""Writes down what happens to a cluster's nodes and pods: added, ready and not, containers that ended, deleted.

It is a background job for each cluster and ends when the cluster is gone: `python -m
lab_helpers.record.cluster_events CLUSTER`. It waits on the API's watch, so that it costs nothing while nothing happens.
Watches: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.boundaries.kube_api import Api, ClusterSilentError, Object
from lab_helpers.boundaries.node_containers import nodes_of
from lab_helpers.core import journal
from lab_helpers.core.errors import MachineError
from lab_helpers.core.processes import ProcessId
from lab_helpers.core.settings import Place, place
from lab_helpers.record import jobs

PAUSE_S = 2
"""How long it waits before it asks again for a cluster that does not answer, in seconds."""

Event = tuple[str, dict[str, Any]]


def follow(place: Place, cluster: str) -> ProcessId:
    """See that a recorder follows the cluster, which is there."""
    return jobs.start(
        place, job_name(cluster), [sys.executable, "-P", "-m", "lab_helpers.record.cluster_events", cluster]
    )


def job_name(cluster: str) -> str:
    return f"recorder-cluster-{cluster}"


def record(place: Place, cluster: str) -> None:
    """Write the cluster's events into the journal until it, or the engine, is gone."""
    lists = {"/api/v1/nodes": Memory(node_events), "/api/v1/pods": Memory(pod_events)}
    threads = [
        threading.Thread(target=_follow_list, args=(place, cluster, path, memory)) for path, memory in lists.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _follow_list(place: Place, cluster: str, path: str, memory: Memory) -> None:
    def write(events: Iterator[Event]) -> None:
        for kind, facts in events:
            journal.write(place.journal, f"cluster:{cluster}", kind, by="kubernetes", **facts)

    try:
        while nodes_of(cluster):
            with contextlib.suppress(ClusterSilentError):
                _hear(Cluster(place, cluster).api(), path, memory, write)
            time.sleep(PAUSE_S)  # its API is away: it is being made, restarted or removed, or it is off
    except MachineError as error:
        sys.stderr.write(f"{error}\n")


def _hear(api: Api, path: str, memory: Memory, write: Callable[[Iterator[Event]], None]) -> None:
    """Write what happens to the objects of one list, for ever. Raises ClusterSilentError when the API goes away."""
    while listed := api.get(path):
        write(memory.replaced_by(listed.get("items") or []))
        for change in api.watch(path, listed["metadata"]["resourceVersion"]):
            if change["type"] == "ERROR":  # it has forgotten what happened since that list: a new one is needed
                break
            if change["type"] != "BOOKMARK":
                write(memory.changed(change["type"], change["object"]))


class Memory:
    """The objects of one list as they were last seen, and what a change of one means."""

    def __init__(self, events: Callable[[Object | None, Object | None], Iterator[Event]]) -> None:
        self._events = events
        self._known: dict[str, Object] = {}

    def replaced_by(self, items: list[Object]) -> Iterator[Event]:
        """The whole list anew, for example after the API was away: what has changed meanwhile."""
        new = {item["metadata"]["uid"]: item for item in items}
        for uid in [uid for uid in self._known if uid not in new]:
            yield from self._events(self._known.pop(uid), None)
        for item in new.values():
            yield from self.changed("MODIFIED", item)

    def changed(self, change: str, item: Object) -> Iterator[Event]:
        """One object was ADDED, MODIFIED or DELETED."""
        uid = item["metadata"]["uid"]
        old = self._known.pop(uid, None)
        if change != "DELETED":
            self._known[uid] = item
        yield from self._events(old, None if change == "DELETED" else item)


def node_events(old: Object | None, new: Object | None) -> Iterator[Event]:
    """What became of a node: node-added, node-ready, node-not-ready, node-cordoned, node-uncordoned, node-deleted."""
    seen = new or old
    assert seen
    facts = {"node": seen["metadata"]["name"]}
    if old is None:
        yield "node-added", facts
    if new is None:
        yield "node-deleted", facts
        return
    if (now := _condition(new)) != (old is not None and _condition(old)):
        yield "node-ready" if now else "node-not-ready", facts
    if (now := bool(new["spec"].get("unschedulable"))) != bool(old and old["spec"].get("unschedulable")):
        yield "node-cordoned" if now else "node-uncordoned", facts


def pod_events(old: Object | None, new: Object | None) -> Iterator[Event]:
    """What became of a pod: pod-added, pod-ready, pod-not-ready, container-ended (with its reason), pod-deleted."""
    seen = new or old
    assert seen
    meta = seen["metadata"]
    facts = {"pod": meta["name"], "namespace": meta["namespace"], "node": seen["spec"].get("nodeName", "")}
    if old is None:
        yield "pod-added", facts
    if new is None:
        yield "pod-deleted", facts
        return
    ended = {} if old is None else _ended(old)
    for container, how in _ended(new).items():
        if old is not None and ended.get(container) != how:
            yield "container-ended", {**facts, "container": container, **how}
    if (now := _condition(new)) != (old is not None and _condition(old)):
        yield "pod-ready" if now else "pod-not-ready", facts


def _condition(item: Object) -> bool:
    conditions = item.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _ended(pod: Object) -> dict[str, dict[str, Any]]:
    """How each container of a pod last ended, by its name."""
    found = {}
    for status in pod.get("status", {}).get("containerStatuses") or []:
        for state in (status.get("state") or {}, status.get("lastState") or {}):
            if how := state.get("terminated"):
                facts = {"reason": how.get("reason", ""), "code": how.get("exitCode"), "at": how.get("finishedAt")}
                found[str(status["name"])] = facts
                break
    return found


if __name__ == "__main__":
    record(place(), sys.argv[1])
