"""The passport's stamp of this lab: Pinboard in a pod, on a node, in a container of that node."""

from __future__ import annotations

import functools
import json
from typing import Any

from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.boundaries.container import boot_id_of_engine
from lab_helpers.boundaries.kube_api import Api, Object
from lab_helpers.course.passport import Served
from lab_helpers.course.world import World

from .cluster import find_cluster
from .names import PORT
from .workloads import ask, best_workload

POST = """
import sys, urllib.request
head = {"Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request(sys.argv[1], sys.argv[2].encode(), head), timeout=5)
"""
"""Run in the pod: Pinboard is Python, so that Python is there. It fails unless the pin was taken."""


def served(world: World) -> list[Served]:
    """The pods of the learner's Deployment that answer as themselves, and on the engine's kernel. Each has a board."""
    api = find_cluster(world).api
    workload = best_workload(api) if api else None
    if api is None or workload is None:
        return []
    boot_id = boot_id_of_engine()
    found = ((pod, json.loads(ask(api, pod))) for pod in workload.serving)
    return [_in_pod(world, api, pod, who) for pod, who in found if who.get("boot_id") == boot_id]


def _in_pod(world: World, api: Api, pod: Object, who: dict[str, Any]) -> Served:
    ids = [str(each.get("containerID", "")) for each in pod["status"].get("containerStatuses") or []]
    return Served(
        who=who,
        pins=functools.partial(_pins, api, pod),
        post=functools.partial(_post, world, api, pod),
        container=ids[0].rpartition("/")[2][:12] if ids else "",
        node=str(pod["spec"].get("nodeName", "")),
        pod=str(pod["metadata"]["name"]),
    )


def _pins(api: Api, pod: Object) -> Any:
    reply = api.ask_pod(pod, PORT, "/api/pins")
    try:
        return json.loads(reply.text) if reply.status == 200 else None
    except ValueError:
        return None


def _post(world: World, api: Api, pod: Object, pin: dict[str, str]) -> bool:
    meta = pod["metadata"]
    words = ["python3", "-c", POST, f"http://127.0.0.1:{PORT}/api/pins", json.dumps(pin)]
    done = Cluster(world.place, api.name).exec(meta["name"], words, namespace=meta["namespace"], check=False)
    return done.code == 0
