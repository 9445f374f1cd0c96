"""The learner's Service: which pods it leads to, and who answers when a pod asks for it by its name."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.boundaries.kube_api import Api, Object
from lab_helpers.core.errors import ToolError

from .names import SERVICE
from .workloads import Workload, host_name, learners, uid

ASK = """
import json, socket, sys, urllib.request
said = []
for _ in range(4):
    try:
        said.append(json.load(urllib.request.urlopen(sys.argv[1] + "/api/whoami", timeout=2))["host"])
    except Exception as error:
        cause = getattr(error, "reason", error)
        said.append("!dns" if isinstance(cause, socket.gaierror) else "!" + str(cause))
        if sum(one.startswith("!") for one in said) == 2:
            break
print(json.dumps(said))
"""
"""Run in a pod of the learner: Pinboard is Python, so that Python is there. Each request is a connection of its own."""
SETTLE_S = 3
"""How long the nodes may take to learn of a new Service, in seconds."""


@dataclass(frozen=True)
class Candidate:
    """A Service beside the Deployment, and what is behind it."""

    service: Object
    ours: int
    """Ready endpoints that are pods of the Deployment."""
    strangers: int
    """Ready endpoints that are not."""

    @property
    def name(self) -> str:
        return str(self.service["metadata"]["name"])

    @property
    def ports(self) -> list[int]:
        return [int(each["port"]) for each in self.service["spec"].get("ports") or []]

    def why_not_ours(self) -> tuple[str, str]:
        """Why it does not lead to the Deployment's pods: what was seen, and its state."""
        spec = self.service["spec"]
        if spec.get("type") == "ExternalName":
            return f"the Service {self.name} is only another name for {spec.get('externalName')}", "external"
        if self.strangers:
            return f"the Service {self.name} leads to pods that are not the Deployment's", "strangers"
        labels = ", ".join(f"{key}={value}" for key, value in (spec.get("selector") or {}).items())
        return f"the Service {self.name} selects {labels or 'nothing'}: no ready pod has that", "no-endpoints"


def best_service(api: Api, workload: Workload) -> Candidate | None:
    """The Service in the Deployment's namespace that leads to its pods; else the one of the lesson's name; else any."""
    namespace = workload.namespace
    pods = {uid(pod) for pod in workload.serving}
    slices = api.items(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
    found = []
    for service in api.items(f"/api/v1/namespaces/{namespace}/services"):
        name = service["metadata"]["name"]
        if (namespace, name) == ("default", "kubernetes"):
            continue
        endpoints = {
            (each.get("targetRef") or {}).get("uid", each["addresses"][0])
            for part in slices
            if part["metadata"].get("labels", {}).get("kubernetes.io/service-name") == name
            for each in part.get("endpoints") or []
            if (each.get("conditions") or {}).get("ready", True)
        }
        found.append(Candidate(service, len(endpoints & pods), len(endpoints - pods)))
    return max(found, key=lambda each: (each.ours > 0, each.name == SERVICE), default=None)


def elsewhere(api: Api, workload: Workload) -> list[str]:
    """Services in other namespaces that select what the Deployment's pods are labelled with."""
    labels = workload.deployment["spec"]["template"]["metadata"].get("labels") or {}
    found = []
    for service in learners(api, "/api/v1/services"):
        meta, selector = service["metadata"], service["spec"].get("selector") or {}
        if meta["namespace"] != workload.namespace and selector and selector.items() <= labels.items():
            found.append(f"{meta['name']} in {meta['namespace']}")
    return found


def ask_by_name(
    cluster: Cluster, workload: Workload, service: Candidate, settle_s: float = SETTLE_S
) -> tuple[str, str]:
    """Ask the Service by its name out of the Deployment's own pods: what was seen, and its state ("" when it works).

    It may take `settle_s` seconds until it works.
    """
    deadline = time.monotonic() + settle_s
    while True:
        seen = [_ask_port(cluster, workload, service, port) for port in service.ports[:3]]
        saw, state = min(seen, key=lambda each: each[1] != "", default=("the Service has no port", "no-answer"))
        if not state or time.monotonic() > deadline:
            return saw, state
        time.sleep(0.5)


def _ask_port(cluster: Cluster, workload: Workload, service: Candidate, port: int) -> tuple[str, str]:
    url = f"http://{service.name}:{port}"
    names = {host_name(pod) for pod in workload.serving}
    said: list[tuple[str, str]] = []
    for pod in workload.serving[:3]:
        said += [(host_name(pod), answer) for answer in _ask_from(cluster, pod, url)]
        if all(answer.startswith("!") for _, answer in said):
            break
    failed = [answer[1:] for _, answer in said if answer.startswith("!")]
    answered = [(asker, answer) for asker, answer in said if not answer.startswith("!")]
    if not answered:
        if failed and set(failed) == {"dns"}:
            return f"the name {service.name} is not known in a pod", "no-dns"
        headless = service.service["spec"].get("clusterIP") == "None"
        return f"{url}: {failed[0] if failed else 'nobody could ask'}", "headless" if headless else "no-answer"
    if failed:
        return f"{url}: {len(failed)} of {len(said)} requests failed: {failed[0]}", "sometimes"
    if any(answer not in names for _, answer in answered):
        return f"{url}: some answers came from a pod that is not the Deployment's", "strangers"
    if all(asker == answer for asker, answer in answered):
        return f"{url}: each pod heard nobody but itself", "alone"
    return f"{url}: {len(said)} requests, all answered by pods of the Deployment", ""


def _ask_from(cluster: Cluster, pod: Object, url: str) -> list[str]:
    meta = pod["metadata"]
    try:
        done = cluster.exec(
            meta["name"], ["python3", "-c", ASK, url], namespace=meta["namespace"], check=False, timeout_s=20
        )
        answers = json.loads(done.out)
    except (ToolError, ValueError):
        return ["!the pod could not ask"]
    return [str(answer) for answer in answers]
