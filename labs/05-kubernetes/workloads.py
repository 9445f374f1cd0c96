"""What runs in the learner's cluster: Deployments with their pods, and what answers in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lab_helpers.boundaries.kube_api import Api, Object, is_ready

from .names import DEPLOYMENT, PORT, SYSTEM_NAMESPACES

NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")


@dataclass(frozen=True)
class Workload:
    """A Deployment and the pods that are its own, those about to end left out."""

    deployment: Object
    pods: tuple[Object, ...]
    serving: tuple[Object, ...]
    """The ready ones that answer as Pinboard, and with their own name."""
    answer: str
    """What a ready pod answered that is not Pinboard; empty: nobody answered at all."""

    @property
    def name(self) -> str:
        return str(self.deployment["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.deployment["metadata"]["namespace"])

    @property
    def wanted(self) -> int:
        return int(self.deployment["spec"].get("replicas", 1))

    @property
    def ready(self) -> list[Object]:
        return [pod for pod in self.pods if is_ready(pod)]


def best_workload(api: Api) -> Workload | None:
    """The learner's Deployment. Among several: the one that serves most, is ready most, has the lesson's name."""
    found = workloads(api)
    return max(found, key=lambda w: (len(w.serving), len(w.ready), w.name == DEPLOYMENT), default=None)


def workloads(api: Api) -> list[Workload]:
    """All Deployments but the cluster's own. Each ready pod is asked who it is, from inside of the cluster."""
    deployments = learners(api, "/apis/apps/v1/deployments")
    if not deployments:
        return []
    sets = learners(api, "/apis/apps/v1/replicasets")
    pods = [pod for pod in learners(api, "/api/v1/pods") if "deletionTimestamp" not in pod["metadata"]]
    found = []
    for deployment in deployments:
        own_sets = {uid(each) for each in sets if owner(each) == uid(deployment)}
        own = tuple(pod for pod in pods if owner(pod) in own_sets)
        answers = {uid(pod): ask(api, pod) for pod in own if is_ready(pod)}
        serving = tuple(pod for pod in own if _is_own_answer(pod, answers.get(uid(pod), "")))
        strange = next((text for text in answers.values() if text), "") if not serving else ""
        found.append(Workload(deployment, own, serving, strange))
    return found


def learners(api: Api, path: str) -> list[Object]:
    """The objects of a list that do not belong to the cluster itself."""
    return [item for item in api.items(path) if item["metadata"]["namespace"] not in SYSTEM_NAMESPACES]


def uid(item: Object) -> str:
    return str(item["metadata"]["uid"])


def owner(item: Object) -> str:
    """The uid of the object that controls it; empty: nobody does."""
    references = item["metadata"].get("ownerReferences") or []
    return next((str(each["uid"]) for each in references if each.get("controller")), "")


def ask(api: Api, pod: Object) -> str:
    """What the pod answers at /api/whoami on one of its ports; empty: nobody is there."""
    said = ""
    for port in _ports(pod):
        reply = api.ask_pod(pod, port, "/api/whoami")
        if reply.status == 200 and _is_own_answer(pod, reply.text):
            return reply.text
        if reply.status < 500 or not reply.text.startswith(("error trying to reach", '{"kind":"Status"', "no answer")):
            said = said or f"{reply.status} {' '.join(reply.text.split())[:120]}"
    return said


def _ports(pod: Object) -> list[int]:
    """Where it may listen: what it declares, else Pinboard's own port."""
    declared = [int(port["containerPort"]) for each in pod["spec"]["containers"] for port in each.get("ports") or []]
    return list(dict.fromkeys([*declared[:3], PORT]))


def host_name(pod: Object) -> str:
    """The host name that a process in the pod has."""
    spec = pod["spec"]
    return str(spec.get("nodeName") if spec.get("hostNetwork") else spec.get("hostname") or pod["metadata"]["name"])


def _is_own_answer(pod: Object, text: str) -> bool:
    """Pinboard's answer to "who are you?", with the name of this very pod."""
    try:
        said: Any = json.loads(text)
    except ValueError:
        return False
    return isinstance(said, dict) and isinstance(said.get("pid"), int) and said.get("host") == host_name(pod)


def loose_pinboards(api: Api) -> list[tuple[str, str]]:
    """Pods that answer as Pinboard and belong to no Deployment: each one's name, and the kind of its owner (or "")."""
    sets = {uid(each): each for each in learners(api, "/apis/apps/v1/replicasets")}
    found = []
    for pod in learners(api, "/api/v1/pods"):
        above = sets.get(owner(pod), {"metadata": {}})
        if not is_ready(pod) or owner(above) or not _is_own_answer(pod, ask(api, pod)):
            continue
        kinds = [each["kind"] for each in pod["metadata"].get("ownerReferences") or [] if each.get("controller")]
        found.append((str(pod["metadata"]["name"]), kinds[0] if kinds else ""))
    return found


def why_not_ready(workload: Workload) -> tuple[str, str]:
    """Why a Deployment's pods are not ready: what was seen, and its state."""
    if workload.wanted == 0:
        return "the Deployment wants no pods at all", "none-wanted"
    pods = [pod for pod in workload.pods if not is_ready(pod)]
    if not pods:
        return "the Deployment has made no pods yet", "starting"
    seen = sorted((_trouble(pod) for pod in pods), key=lambda each: each[1] == "starting")
    return seen[0]


def _trouble(pod: Object) -> tuple[str, str]:
    status = pod.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    if conditions.get("PodScheduled", {}).get("status") == "False":
        return f"a pod is Pending: {conditions['PodScheduled'].get('message', '')[:160]}", "unscheduled"
    images = {each["name"]: each for each in pod["spec"]["containers"]}
    for each in status.get("containerStatuses") or []:
        state = each.get("state") or {}
        waiting = state.get("waiting", {}).get("reason", "")
        if waiting in NO_IMAGE:
            spec = images[each["name"]]
            always = spec.get("imagePullPolicy") == "Always"
            return f"{waiting}: image {spec['image']}, pulled {spec.get('imagePullPolicy')}", (
                "always-pulled" if always else "no-image"
            )
        if waiting == "CrashLoopBackOff" or "terminated" in state or each.get("restartCount", 0) > 1:
            return "its container ends again and again", "crashes"
        if "running" in state:
            return "its container runs, but its readiness probe does not succeed", "not-ready"
    return "a pod is still being started", "starting"
