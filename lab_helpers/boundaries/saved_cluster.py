"""What is in a cluster, kept as objects, and a running cluster brought back to that: seconds instead of a new one.

Kept is what people put into it: the objects outside of the namespaces that the cluster needs for itself, without those
that others made (a Deployment's pods), and whether nodes take new pods. Not kept is what runs in the pods, and what is
in volumes: a cluster with claims for storage is refused. Images that the nodes have, they keep.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lab_helpers.boundaries.cluster import Cluster, cluster_names, find_kind_of
from lab_helpers.boundaries.kube_api import Api, ClusterSilentError, Object, is_ready
from lab_helpers.core import journal
from lab_helpers.core.errors import LabError
from lab_helpers.core.events import Progress, Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.core.store import write_atomic
from lab_helpers.core.waiting import wait_for

SYSTEM = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
"""The namespaces that the cluster needs for itself."""
SHORT_LIVED = ("events", "endpoints", "endpointslices", "leases", "controllerrevisions", "bindings", "podmetrics")
"""What the cluster writes by itself."""
GIVEN = {("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt"), ("services", "kubernetes")}
"""What every namespace has; the Service is in the namespace default."""
OWN_FIELDS = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")
"""What the cluster writes into an object's metadata."""
READY_S = 60
GONE_S = 30
ROLLOUT_S = 90


@dataclass(frozen=True)
class Kind:
    """A sort of objects, and where its lists are."""

    prefix: str
    """/api/v1, or /apis/GROUP/VERSION."""
    plural: str
    kind: str

    def path(self, namespace: str, name: str = "") -> str:
        """Of one object, or of a namespace's list."""
        return f"{self.prefix}/namespaces/{quote(namespace)}/{self.plural}" + (f"/{quote(name)}" if name else "")


@dataclass(frozen=True)
class Item:
    """One object, and its sort."""

    kind: Kind
    body: Object

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind.plural, self.body["metadata"]["namespace"], self.body["metadata"]["name"]

    @property
    def path(self) -> str:
        return self.kind.path(self.key[1], self.key[2])


# -- keeping ----------------------------------------------------------------------------------------------------------


def save(place: Place, name: str, folder: Path) -> None:
    """Keep what is in a cluster in `folder`, unless there is no cluster of that name. Raises LabError."""
    if name not in cluster_names():
        return
    cluster = Cluster.load(place, name)
    cluster.wait_until_ready(timeout_s=READY_S)  # its DNS may still start, and who comes back needs it
    api = cluster.api()
    _refuse_claims(api)
    kinds = _kinds(api)
    record = {
        "name": name,
        "nodes": sorted(each.id for each in cluster.containers()),
        "cordoned": sorted(node.name for node in api.nodes() if node.cordoned),
        "namespaces": [_bare(each) for each in _namespaces(api)],
        "objects": [[vars(item.kind), _bare(item.body)] for item in _items(api, kinds)],
    }
    write_atomic(folder / f"{name}.json", json.dumps(record, indent=1))


def _refuse_claims(api: Api) -> None:
    if api.items("/api/v1/persistentvolumeclaims"):
        raise LabError(
            f"In the cluster {api.name} are claims for storage (PVCs), and what is stored cannot be brought back.",
            do="the solution makes it anew",
        )


def _kinds(api: Api) -> list[Kind]:
    """Every sort of object that lives in namespaces and that people can make; each one once."""
    groups = (api.get("/apis") or {}).get("groups") or []
    prefixes = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    found = []
    for prefix in prefixes:
        reply = api.request(prefix)
        # What another server adds to the API (metrics) and does not answer for yet, holds nothing that people made.
        for each in json.loads(reply.text).get("resources") or [] if reply.status == 200 else []:
            usable = {"create", "delete", "list", "update"} <= set(each.get("verbs") or ())
            if each.get("namespaced") and usable and "/" not in each["name"] and each["name"] not in SHORT_LIVED:
                found.append(Kind(prefix, each["name"], each["kind"]))
    return found


def _namespaces(api: Api) -> list[Object]:
    return [each for each in api.items("/api/v1/namespaces") if each["metadata"]["name"] not in SYSTEM]


def _items(api: Api, kinds: Iterable[Kind]) -> Iterator[Item]:
    """What people made outside of the cluster's own namespaces."""
    for kind in kinds:
        for body in api.items(f"{kind.prefix}/{kind.plural}"):
            meta = body["metadata"]
            token = body.get("type") == "kubernetes.io/service-account-token"
            given = (kind.plural, meta["name"]) in GIVEN
            if meta["namespace"] not in SYSTEM and not meta.get("ownerReferences") and not given and not token:
                yield Item(kind, body)


def _bare(body: Object) -> Object:
    """The object as one would have written it: without its state and what the cluster adds."""
    bare = copy.deepcopy(body)
    bare.pop("status", None)
    for field in OWN_FIELDS:
        bare["metadata"].pop(field, None)
    (bare["metadata"].get("annotations") or {}).pop("deployment.kubernetes.io/revision", None)
    if not bare["metadata"].get("annotations"):
        bare["metadata"].pop("annotations", None)
    spec: dict[str, Any] = bare.get("spec") or {}
    if spec.get("clusterIP") != "None":  # an address that was free then
        for field in ("clusterIP", "clusterIPs"):
            spec.pop(field, None)
    if "containers" in spec:  # a pod: where it runs, and how it gets at its token, is decided anew
        spec.pop("nodeName", None)
        _drop_token(spec)
    return bare


def _drop_token(spec: dict[str, Any]) -> None:
    tokens = {each["name"] for each in spec.get("volumes") or () if each["name"].startswith("kube-api-access-")}
    spec["volumes"] = [each for each in spec.get("volumes") or () if each["name"] not in tokens]
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        mounts = container.get("volumeMounts") or ()
        container["volumeMounts"] = [mount for mount in mounts if mount["name"] not in tokens]


# -- bringing back ----------------------------------------------------------------------------------------------------


def missing(place: Place, name: str, folder: Path) -> str:
    """Why the cluster cannot be brought to what is kept in `folder`; empty when it can, or when none was there."""
    path = folder / f"{name}.json"
    there = name in cluster_names()
    if not path.exists():
        return "a cluster is there, and then there was none" if there else ""
    if not there:
        return f"the cluster {name} is not there any more"
    cluster = Cluster.load(place, name)
    if sorted(each.id for each in cluster.containers()) != json.loads(path.read_text())["nodes"]:
        return f"the cluster {name} is another one by now"
    if lacks := cluster.not_ready():
        return f"the cluster {name} is not ready: {lacks[0]}"
    try:
        _refuse_claims(cluster.api())
    except LabError as error:
        return error.what
    return ""


def bring(place: Place, name: str, folder: Path, tell: Tell = silent) -> None:
    """Bring the objects in the running cluster to what is kept in `folder`, and wait until what should run, runs.

    Raises LabError: for an object that the cluster does not take, for pods that do not get ready.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        return
    record = json.loads(path.read_text())
    cluster = Cluster.load(place, name)
    api = cluster.api()
    tell(Progress(f"the objects in the cluster {name} come back", typical_s=5))
    find_kind_of(place).export_kubeconfig(name, place.state / "kubeconfig")
    for node in api.nodes():
        if node.cordoned != (node.name in record["cordoned"]):
            change = {"spec": {"unschedulable": True if not node.cordoned else None}}
            _must(api, "PATCH", f"/api/v1/nodes/{quote(node.name)}", change)
    wanted = {item.key: item for item in (Item(Kind(**kind), body) for kind, body in record["objects"])}
    _namespaces_as(api, record["namespaces"])
    now = {item.key: item for item in _items(api, _kinds(api))}
    broken = [key for key, item in now.items() if item.kind.plural == "pods" and not _runs("pods", item.body)]
    _remove(api, [item for key, item in now.items() if key not in wanted or key in broken])
    now = {key: item for key, item in now.items() if key not in broken}
    for item in wanted.values():
        if item.key not in now or _bare(now[item.key].body) == item.body:
            continue
        if _send(api, "PUT", item.path, item.body) >= 300:  # what may not be changed is made anew
            _remove(api, [now[item.key]])
            _must(api, "POST", item.kind.path(item.key[1]), item.body)
    for item in wanted.values():
        if item.key not in now:
            _must(api, "POST", item.kind.path(item.key[1]), item.body)
    wait_for(lambda: _settled(api, wanted), f"what should run in {name}", timeout_s=ROLLOUT_S, interval_s=0.2)
    journal.write(place.journal, f"cluster:{name}", "brought-back")


def _namespaces_as(api: Api, wanted: list[Object]) -> None:
    names = {each["metadata"]["name"] for each in wanted}
    now = {each["metadata"]["name"] for each in _namespaces(api)}
    for name in now - names:
        _send(api, "DELETE", f"/api/v1/namespaces/{quote(name)}")
    for each in wanted:
        if each["metadata"]["name"] not in now:
            _must(api, "POST", "/api/v1/namespaces", each)


def _send(api: Api, method: str, path: str, body: Object | None = None) -> int:
    return api.send(method, path, body).status


def _must(api: Api, method: str, path: str, body: Object) -> None:
    reply = api.send(method, path, body)
    if reply.status >= 300:
        raise LabError(f"The cluster {api.name} did not take {path}.", why=f"status {reply.status}: {reply.text[:300]}")


def _remove(api: Api, items: Iterable[Item]) -> None:
    """Delete these, and at once the pods that they made; returns when they are gone."""
    items = list(items)
    if not items:
        return
    pods = _pods(api)
    doomed = {str(item.body["metadata"]["uid"]) for item in items}
    for owners in ("/apis/apps/v1/replicasets", "/apis/batch/v1/jobs"):
        doomed |= {str(each["metadata"]["uid"]) for each in api.items(owners) if _owned_by(each, doomed)}
    for item in items:
        grace = {"gracePeriodSeconds": 0} if item.kind.plural == "pods" else {}
        _send(api, "DELETE", item.path, {"propagationPolicy": "Background", **grace})
    for pod in pods:
        if _owned_by(pod, doomed):
            _end_pod(api, pod)

    def gone() -> bool:
        return all(_uid(api.get(item.path)) != item.body["metadata"]["uid"] for item in items)

    wait_for(gone, "the cluster to remove what is too much", timeout_s=GONE_S, interval_s=0.1)


def _pods(api: Api) -> list[Object]:
    return [pod for pod in api.items("/api/v1/pods") if pod["metadata"]["namespace"] not in SYSTEM]


def _end_pod(api: Api, pod: Object) -> None:
    """At once: a program that is about to be replaced need not be waited for."""
    path = Kind("/api/v1", "pods", "Pod").path(pod["metadata"]["namespace"], pod["metadata"]["name"])
    _send(api, "DELETE", path, {"gracePeriodSeconds": 0})


def _uid(body: Object | None) -> str:
    return str(body["metadata"]["uid"]) if body else ""


def _owned_by(body: Object, owners: set[str]) -> bool:
    return any(str(each["uid"]) in owners for each in body["metadata"].get("ownerReferences") or ())


def _settled(api: Api, wanted: dict[tuple[str, str, str], Item]) -> bool:
    """Everything that is to run, runs, and nothing of before. Raises LabError with what it still lacks."""
    for item in wanted.values():
        body = api.get(item.path)
        if body is None:
            raise ClusterSilentError(f"{item.path} is not there")
        if not _runs(item.kind.plural, body):
            raise LabError(f"{item.key[0]} {item.key[2]} is not ready")
    ending = [pod for pod in _pods(api) if "deletionTimestamp" in pod["metadata"]]
    for pod in ending:
        _end_pod(api, pod)
    if ending:
        raise LabError(f"the pod {ending[0]['metadata']['name']} still ends")
    return True


def _runs(plural: str, body: Object) -> bool:
    status, spec = body.get("status") or {}, body.get("spec") or {}
    if plural in ("deployments", "statefulsets"):
        replicas = spec.get("replicas", 1)
        seen = status.get("observedGeneration", 0) >= body["metadata"].get("generation", 0)
        counts = (status.get("replicas", 0), status.get("readyReplicas", 0), status.get("updatedReplicas", 0))
        return seen and counts == (replicas,) * 3
    if plural == "daemonsets":
        return bool(status.get("numberReady", 0) == status.get("desiredNumberScheduled", -1))
    return is_ready(body) or status.get("phase") == "Succeeded" if plural == "pods" else True
