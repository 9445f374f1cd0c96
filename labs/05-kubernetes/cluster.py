"""The learner's cluster: how the checks of this lab find it, and what helps when it is not there or does not answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab_helpers.boundaries.cluster import Cluster, is_reserved
from lab_helpers.boundaries.kube_api import Api, ClusterSilentError
from lab_helpers.boundaries.node_containers import nodes_of
from lab_helpers.course.verdict import Evidence
from lab_helpers.course.world import World
from lab_helpers.record import cluster_events

from .names import CLUSTER

NO_CLUSTER_HINTS = {
    "no-cluster": (
        "There is no cluster yet. `kind create cluster --help` shows what kind needs to know.",
        f"`!kind create cluster --name {CLUSTER} --config kind.yaml`",
    ),
    "other-name": (
        f"There is a cluster, but it has another name. The course looks for `{CLUSTER}`, so that it never takes a "
        "cluster of your own for its own.",
        f"Make one of that name: `!kind create cluster --name {CLUSTER} --config kind.yaml`",
    ),
    "off": (
        "The cluster is there, but some of its nodes are off. A node is a container; `docker ps -a` shows them.",
        f"Start them: `!docker start $(docker ps -aq --filter label=io.x-k8s.kind.cluster={CLUSTER})`",
    ),
    "silent": (
        "The nodes run, but the cluster's API does not answer. Right after a start it needs some seconds.",
        "Was its creation interrupted? Then make it anew: "
        f"`!kind delete cluster --name {CLUSTER}`, and create it once more.",
    ),
}


@dataclass(frozen=True)
class Found:
    """The learner's cluster with its API, or why there is none to look into."""

    api: Api | None
    saw: str
    state: str


def find_cluster(world: World) -> Found:
    """The cluster `pinboard`, answering; what happens to it is recorded from now on. BLOCKED without an engine."""
    names = sorted({node.cluster for node in nodes_of()})
    name = next((each for each in (CLUSTER, *filter(is_reserved, names)) if each in names), "")
    if not name:
        return Found(None, f"clusters here: {', '.join(names) or 'none'}", "other-name" if names else "no-cluster")
    cluster = Cluster(world.place, name)
    if off := [node.name for node in cluster.containers() if not node.running]:
        return Found(None, f"the cluster {name}, with nodes that are off: {', '.join(off)}", "off")
    try:
        api = cluster.api()
        api.get("/api/v1/namespaces/kube-system")
    except ClusterSilentError as error:
        return Found(None, f"the cluster {name} does not answer: {error.why}", "silent")
    cluster_events.follow(world.place, name)
    return Found(api, f"the cluster {name} answers", "")


def needs_cluster(
    *criteria: str,
) -> Callable[[Callable[[World, Api], Iterator[Evidence]]], Callable[[World], Iterator[Evidence]]]:
    """For a check that looks into the cluster. `criteria` are its own, in order.

    A cluster that is not there, off or silent fails the first criterion that has not been looked at: that is the
    learner's cluster, and no bug of the check.
    """

    def wrap(check: Callable[[World, Api], Iterator[Evidence]]) -> Callable[[World], Iterator[Evidence]]:
        @functools.wraps(check)
        def look(world: World) -> Iterator[Evidence]:
            found, reached = find_cluster(world), 0
            try:
                if found.api is not None:
                    for evidence in check(world, found.api):
                        reached += 1
                        yield evidence
                    return
            except ClusterSilentError as error:
                found = Found(None, f"the cluster stopped answering: {error.why}", "silent")
            yield Evidence(
                criterion=criteria[reached],
                ok=False,
                looked="the node containers in the engine and the cluster's API",
                expected=f"a cluster {CLUSTER} that answers",
                saw=found.saw,
                command="kind get clusters; docker ps -a; kubectl get nodes",
                state=found.state,
            )

        return look

    return wrap
