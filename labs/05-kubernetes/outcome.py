"""How one sees that an incident of this lab is over: what users get, what runs, what protects it; and what helps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.boundaries.kube_api import Api, ClusterSilentError
from lab_helpers.course.verdict import Evidence

from .cluster import NO_CLUSTER_HINTS, find_cluster
from .duty import container_of
from .names import DEPLOYMENT, PORT, REPLICAS
from .services import Candidate, ask_by_name
from .workloads import Workload, best_workload

if TYPE_CHECKING:
    from lab_helpers.course.oncall import Facts
    from lab_helpers.course.world import World

CRITERIA = {
    "serves": (2, "asked by its name from inside of a pod, Pinboard answers every time"),
    "whole": (2, f"{REPLICAS} pods serve, on two nodes at least, and none besides waits for something"),
    "walls": (2, "what protects it is still there: the probe, the taint of the control plane, nodes that take work"),
}
HINTS = {
    **NO_CLUSTER_HINTS,
    "no-deployment": (
        "There is no Deployment of Pinboard any more. Apply your file again: `!kubectl apply -f deployment.yaml`",
    ),
    "no-service": (
        "The Service that users call by its name is not there any more. Another name does not help them.",
        f"`!kubectl expose deployment {DEPLOYMENT} --port=80 --target-port={PORT}`",
    ),
    "no-answer": (
        "The name is known, and behind it nobody answers. The pods, do they serve? `!kubectl get pods`",
        "Then the way from the name to the pods: `!kubectl get service,endpointslices -o wide`. Who is behind the "
        "name, and on which port?",
    ),
    "no-dns": (
        "The pods cannot even find out where that name leads. Does any name work in the cluster?",
        f'`!kubectl exec deployment/{DEPLOYMENT} -- python3 -c "import socket; print(socket.gethostbyname('
        "'kubernetes.default'))\"`. Who answers such questions in a cluster?",
    ),
    "sometimes": (
        "Some requests are answered and some are not: somebody behind the name does not serve.",
        "`!kubectl get endpointslices -o wide` lists who is behind it, `!kubectl get pods -o wide` who they are.",
    ),
    "strangers": ("Somebody else than your Deployment's pods answers there.", "`!kubectl get pods --show-labels`"),
    "too-few": (
        f"Fewer than {REPLICAS} pods serve. `!kubectl get pods -o wide` shows what the others wait for.",
        "`!kubectl describe pod NAME` ends with what happened to it, in the words of the one who refused it.",
    ),
    "stuck": (
        "The old pods serve, and a new one does not get ready: a rollout that hangs. Nobody is hurt yet, and the "
        "next node that dies will change that. `!kubectl get pods` shows the new one.",
        "`!kubectl describe pod NAME` ends with what happened; `!kubectl logs NAME` with what it said itself.",
        f"`!kubectl rollout history deployment/{DEPLOYMENT}` and `kubectl rollout undo --help`: first back to what "
        "worked, then think.",
    ),
    "one-node": ("All pods sit on one node. When it goes, all of them go. What keeps them there?",),
    "no-probe": (
        "It serves, and without its readiness probe: from now on users are sent to pods that are not up yet.",
        f"Correct the probe in the place of removing it: Pinboard says `/readyz` on port {PORT}.",
    ),
    "no-taint": (
        "The control plane was opened for everybody's pods: one hungry pod there, and nobody decides anything.",
        "Put its taint back: `!kubectl taint node NAME node-role.kubernetes.io/control-plane:NoSchedule`, and find out "
        "why no other node took the pod.",
    ),
    "cordoned": (
        "Everything serves, and a node still takes no work. At the next trouble you will miss it.",
        "`!kubectl get nodes`, then `!kubectl uncordon NODE`",
    ),
}


def outcome(world: World, facts: Facts) -> Iterator[Evidence]:
    found, reached = find_cluster(world), 0
    saw, state = found.saw, found.state
    if found.api is not None:
        try:
            for evidence in _look(world, found.api, facts):
                yield evidence
                reached += 1
            return
        except ClusterSilentError as error:
            saw, state = f"the cluster stopped answering: {error.why}", "silent"
    yield Evidence(
        criterion=list(CRITERIA)[reached],
        ok=False,
        looked="the node containers in the engine and the cluster's API",
        expected="a cluster that answers",
        saw=saw,
        command="docker ps -a; kubectl get nodes",
        state=state,
    )


def _look(world: World, api: Api, facts: Facts) -> Iterator[Evidence]:
    workload = best_workload(api)
    name = facts["service"]["metadata"]["name"]
    saw, state = _served(Cluster.load(world.place, api.name), api, workload, name, facts["namespace"])
    yield Evidence(
        criterion="serves",
        ok=not state,
        looked=f"what a pod of Pinboard hears that asks for http://{name} several times",
        expected="answers of the Deployment's pods",
        saw=saw,
        command=f"kubectl exec deployment/{DEPLOYMENT} -- curl -sS -m 3 http://{name}/api/whoami",
        state=state,
    )
    if workload is None or state:
        return
    yield _whole(workload)
    yield _walls(api, workload, facts)


def _served(cluster: Cluster, api: Api, workload: Workload | None, name: str, namespace: str) -> tuple[str, str]:
    """What users of that name hear: what was seen, and its state."""
    if workload is None:
        return "no Deployment", "no-deployment"
    service = api.get(f"/api/v1/namespaces/{namespace}/services/{name}")
    if service is None:
        return f"no Service {name}", "no-service"
    if not workload.serving:
        return "no pod of it answers at all", "no-answer"
    saw, state = ask_by_name(cluster, workload, Candidate(service, 0, 0), settle_s=1)
    # A lone pod can only hear itself: that is no fault of the way to it, and too few is for the next criterion to say.
    return saw, {"headless": "no-answer", "alone": ""}.get(state, state)


def _whole(workload: Workload) -> Evidence:
    serving, others = len(workload.serving), len(workload.pods) - len(workload.serving)
    nodes = {pod["spec"].get("nodeName") for pod in workload.serving}
    state = "stuck" if others else "one-node" if len(nodes) < 2 else ""
    if serving < REPLICAS or workload.wanted != REPLICAS:
        state = "too-few"
    return Evidence(
        criterion="whole",
        ok=not state,
        looked="the Deployment's pods, and where they run",
        expected=f"{REPLICAS} that serve, on two nodes or more, and no others",
        saw=f"{serving} serve, on {len(nodes)} node(s); {others} more do not",
        command="kubectl get deployment,pods -o wide",
        state=state,
    )


def _walls(api: Api, workload: Workload, facts: Facts) -> Evidence:
    before = container_of(facts["deployment"]).get("readinessProbe") or {}
    probe = container_of(workload.deployment).get("readinessProbe") or {}
    path = (before.get("httpGet") or {}).get("path", "")
    lacks: dict[str, str] = {}
    if not (probe and path in json.dumps(probe)):
        lacks["no-probe"] = "the readiness probe asks for something else" if probe else "the readiness probe is gone"
    for node in api.items("/api/v1/nodes"):
        name = node["metadata"]["name"]
        was = facts["nodes"].get(name, {"cordoned": False, "taints": []})
        now = {(taint["key"], taint["effect"]) for taint in node["spec"].get("taints") or []}
        if {(taint["key"], taint["effect"]) for taint in was["taints"]} - now:
            lacks["no-taint"] = f"{name} has lost its taint"
        if node["spec"].get("unschedulable") and not was["cordoned"]:
            lacks["cordoned"] = f"{name} takes no new pods"
    return Evidence(
        criterion="walls",
        ok=not lacks,
        looked="the readiness probe, and which pods the nodes take",
        expected="as before the incident",
        saw="; ".join(lacks.values()) or "as before",
        command=f"kubectl get nodes; kubectl describe deployment {DEPLOYMENT}",
        state=min(lacks, key=("no-probe", "no-taint", "cordoned").index, default=""),
    )
