"""For the boundary map: what runs in the container engine, the course's containers and nodes, and the pods in these.

Whose a container is, boundaries.engine_objects and boundaries.node_containers decide. The cluster is asked through its
control plane's own container: that needs neither kubeconfig nor a client of ours.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lab_helpers.boundaries.cluster import is_reserved
from lab_helpers.boundaries.engine_objects import moment, sort_out
from lab_helpers.boundaries.kube_api import Object, is_ready
from lab_helpers.boundaries.node_containers import clusters_since
from lab_helpers.core import host
from lab_helpers.core.asking import Asked
from lab_helpers.core.settings import Place
from lab_helpers.tools.engine import Engine, find_engine, forbidden
from lab_helpers.tools.kind import CLUSTER_LABEL, CONTROL_PLANE, ROLE_LABEL

NO_ENGINE = "No container engine answers."
SILENT = "its cluster does not answer"
SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
"""What a cluster needs for itself."""
_STATES = {"paused": "paused", "restarting": "restarting", "removing": "being removed"}
_ALIVE = ("running", *_STATES)
_ASK_KERNEL = "cat /proc/sys/kernel/random/boot_id /proc/uptime; grep -E '^Mem(Total|Available)' /proc/meminfo"


@dataclass(frozen=True)
class SeenContainer:
    """A container of the course that runs (or is paused, or restarts)."""

    id: str
    name: str
    image: str
    pid: int
    started: float
    memory_mib: int | None
    memory_of_mib: int | None
    note: str


@dataclass(frozen=True)
class SeenPod:
    """A pod that has a node."""

    name: str
    namespace: str
    node: str
    started: float | None
    note: str
    memory_mib: int | None = None
    memory_of_mib: int | None = None

    @property
    def system(self) -> bool:
        """The cluster needs it for itself."""
        return self.namespace in SYSTEM_NAMESPACES


@dataclass(frozen=True)
class SeenNode:
    """A node of a cluster of the course; one that is off is a member of its cluster still."""

    name: str
    cluster: str
    role: str
    running: bool
    started: float | None = None
    memory_mib: int | None = None
    memory_of_mib: int | None = None
    note: str = ""
    pods: tuple[SeenPod, ...] = ()


@dataclass(frozen=True)
class SeenKernel:
    """A kernel other than this machine's, on which the engine and all that is in it runs."""

    name: str
    release: str
    boot_id: str = ""
    started: float | None = None
    memory_mib: int | None = None
    memory_of_mib: int | None = None


@dataclass(frozen=True)
class SeenEngine:
    """What runs in the engine. `kernel` is None where that is this machine's own."""

    containers: tuple[SeenContainer, ...] = ()
    nodes: tuple[SeenNode, ...] = ()
    kernel: SeenKernel | None = None
    others: int = 0
    off: tuple[str, ...] = ()
    """The containers of the course that are there and do not run."""
    troubles: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    """The clusters of the course that answer."""


def see_engine(place: Place, until: float) -> SeenEngine:
    """Look at the engine and the clusters in it; what does not answer by then (time.monotonic) is left out."""
    engine = find_engine()
    if engine is None:
        return SeenEngine(troubles=("This user may not use the container engine." if forbidden() else NO_ENGINE,))
    info = Asked(lambda: _info(engine))
    clusters = Asked(lambda: [name for name in clusters_since(place)[0] if is_reserved(name)])
    with engine.client() as client:
        rows: list[Object] = client.api.containers(all=True)
        ours_now = Asked(lambda: _whose(place, engine))
        our_clusters = clusters.answer(until) or []
        node_rows = [row for row in rows if _cluster(row) in our_clusters]
        asked_pods = {name: Asked(partial(see_pods, engine, name, node_rows)) for name in our_clusters}
        ours, foreign = ours_now.answer(until) or (frozenset(), frozenset())
        our_rows = [row for row in rows if row["Id"] in ours]
        alive = [row for row in (*our_rows, *node_rows) if row["State"] in _ALIVE]
        facts = {row["Id"]: Asked(partial(_see, engine, row)) for row in alive}
        seen = {key: one for key, asked in facts.items() if (one := asked.answer(until))}
        kernel = _kernel(engine, info.answer(until) or {}, list(seen.values()), until)
    foreign |= {row["Id"] for row in rows if _cluster(row) and _cluster(row) not in our_clusters}
    pods = {name: asked.answer(until) for name, asked in asked_pods.items()}
    waiting = [pod.name for found in pods.values() for pod in found or () if not pod.node]
    return SeenEngine(
        containers=tuple(seen[row["Id"]] for row in reversed(our_rows) if row["Id"] in seen),
        nodes=tuple(_nodes(node_rows, seen, pods)),
        kernel=kernel,
        others=sum(row["Id"] in foreign and row["State"] in _ALIVE for row in rows),
        off=tuple(_name(row) for row in our_rows if row["State"] not in _ALIVE),
        troubles=(f"No node has been found yet for {', '.join(sorted(waiting))}.",) if waiting else (),
        clusters=tuple(name for name, found in pods.items() if found is not None),
    )


def _info(engine: Engine) -> Object:
    with engine.client() as client:
        return dict(client.info())


def _whose(place: Place, engine: Engine) -> tuple[frozenset[str], frozenset[str]]:
    """The containers of this place, and those of other people."""
    with engine.client() as client:
        found = sort_out(place, client)
    ours = frozenset(thing.id for thing in found.ours if thing.sort == "container")
    return ours, frozenset(thing.id for thing in (*found.older, *found.others) if thing.sort == "container")


def _cluster(row: Object) -> str:
    return str((row.get("Labels") or {}).get(CLUSTER_LABEL, ""))


def _name(row: Object) -> str:
    names = [str(name[1:]) for name in row.get("Names") or () if name.count("/") == 1]
    return names[0] if names else str(row["Id"][:12])


def _see(engine: Engine, row: Object) -> SeenContainer | None:
    """One container; None when it is gone."""
    import docker

    with engine.client(timeout_s=10) as client:
        try:
            facts = client.api.inspect_container(row["Id"])
            stats = _stats(client, row["Id"])
        except docker.errors.NotFound:
            return None
    state = facts["State"]
    limit = int((facts.get("HostConfig") or {}).get("Memory") or 0)
    return SeenContainer(
        id=facts["Id"],
        name=facts["Name"].removeprefix("/"),
        image=facts["Config"]["Image"],
        pid=int(state.get("Pid") or 0),
        started=moment(state.get("StartedAt") or "") or float(row["Created"]),
        memory_mib=used_mib(stats),
        memory_of_mib=limit >> 20 or None,
        note=_STATES.get(state["Status"], ""),
    )


def _stats(client: Any, identity: str) -> Object:
    """What it uses at this moment; empty where the engine does not say so at once (before version 20.10)."""
    import docker

    try:
        return dict(client.api.stats(identity, stream=False, one_shot=True))
    except (docker.errors.APIError, docker.errors.InvalidVersion):
        return {}


def used_mib(stats: Object) -> int | None:
    """As `docker stats` counts: without the files that the kernel only keeps for later, under either version of
    control groups."""
    memory = stats.get("memory_stats") or {}
    usage, more = memory.get("usage"), memory.get("stats") or {}
    if not usage:
        return None
    cache = more.get("total_inactive_file", more.get("inactive_file", 0))
    return int(usage - cache if cache < usage else usage) >> 20


# -- the engine's kernel -----------------------------------------------------------------------------------------------


def _kernel(engine: Engine, info: Object, seen: Sequence[SeenContainer], until: float) -> SeenKernel | None:
    """The engine's kernel where it is not this machine's."""
    release = str(info.get("KernelVersion", ""))
    if any(is_here(one.id, one.pid) for one in seen):
        return None
    same = not release or (sys.platform == "linux" and release == host.release())
    if same and not seen:
        return None
    kernel = SeenKernel(
        name=str(info.get("Name") or info.get("OperatingSystem") or "the engine's machine"),
        release=release,
        memory_of_mib=int(info.get("MemTotal") or 0) >> 20 or None,
    )
    # Several, so that one without `cat`, or paused, does not matter.
    for asked in [Asked(partial(_exec, engine, one.id, ["sh", "-c", _ASK_KERNEL])) for one in seen[:3] if not one.note]:
        if said := asked.answer(until):
            kernel = _told(kernel, said)
            break
    return None if kernel.boot_id == host.boot_id() or (same and not kernel.boot_id) else kernel


def is_here(container: str, pid: int, proc: Path = Path("/proc")) -> bool:
    """A container's process is one of this machine's kernel: its number leads to the control group of that container.

    What this machine's kernel runs, it lists; a VM's processes it does not know, and an equal number is another's.
    """
    try:
        return pid > 0 and container in (proc / str(pid) / "cgroup").read_text()
    except OSError:
        return False


def _told(kernel: SeenKernel, said: str) -> SeenKernel:
    """With what a container on that kernel says: its boot id, how long it is up, its memory in kB."""
    with contextlib.suppress(ValueError, IndexError):
        boot_id, uptime, *memory = said.splitlines()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in memory}
        total, available = kilobytes["MemTotal"], kilobytes["MemAvailable"]
        return replace(
            kernel,
            boot_id=boot_id.strip(),
            started=time.time() - float(uptime.split()[0]),
            memory_mib=(total - available) >> 10,
            memory_of_mib=total >> 10,
        )
    return kernel


def _exec(engine: Engine, container: str, argv: Sequence[str], *, timeout_s: int = 5) -> str:
    """What a program in a container prints; empty when it fails, or the container does not run."""
    import docker

    with engine.client(timeout_s=timeout_s + 10) as client:
        try:
            started = client.api.exec_create(container, ["timeout", "-k", "1", str(timeout_s), *argv])
            out, _ = client.api.exec_start(started["Id"], demux=True)
            code = client.api.exec_inspect(started["Id"])["ExitCode"]
        except docker.errors.APIError:
            return ""
    return (out or b"").decode(errors="replace") if code == 0 else ""


# -- clusters ----------------------------------------------------------------------------------------------------------


def see_pods(engine: Engine, cluster: str, rows: Iterable[Object]) -> list[SeenPod] | None:
    """The pods of a cluster, with those that no node was found for yet; None when it does not answer.

    The memory of each is asked of the kubelets, beside each other; a silent one's pods are without.
    """
    nodes = [row for row in rows if _cluster(row) == cluster and row["State"] == "running"]
    planes = [row["Id"] for row in nodes if row["Labels"].get(ROLE_LABEL) == CONTROL_PLANE]
    if not planes:
        return None

    def ask(path: str) -> Object | None:
        kubectl = ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--request-timeout=4s", "get", "--raw", path]
        try:
            found = json.loads(_exec(engine, planes[0], kubectl))
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    summaries = [Asked(partial(ask, f"/api/v1/nodes/{_name(row)}/proxy/stats/summary")) for row in nodes]
    listed = ask("/api/v1/pods")
    if listed is None:
        return None
    patience = time.monotonic() + 1
    memory: dict[tuple[str, str], int] = {}
    for summary in summaries:
        memory |= pod_memory(summary.answer(patience) or {})
    return [pod for item in listed.get("items") or () if (pod := read_pod(item, memory))]


def pod_memory(summary: Object) -> dict[tuple[str, str], int]:
    """Namespace and name of each pod -> its memory in MiB, out of what a kubelet says at /stats/summary."""
    found = {}
    for pod in summary.get("pods") or ():
        used = (pod.get("memory") or {}).get("workingSetBytes")
        if used is not None:
            found[pod["podRef"]["namespace"], pod["podRef"]["name"]] = int(used) >> 20
    return found


def read_pod(item: Object, memory: Mapping[tuple[str, str], int]) -> SeenPod | None:
    """A pod of the API; None for one that has ended."""
    meta, status = item["metadata"], item.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    limits = [((each.get("resources") or {}).get("limits") or {}).get("memory") for each in item["spec"]["containers"]]
    return SeenPod(
        name=meta["name"],
        namespace=meta["namespace"],
        node=item["spec"].get("nodeName", ""),
        started=moment(status.get("startTime") or "") or None,
        note=_pod_note(item),
        memory_mib=memory.get((meta["namespace"], meta["name"])),
        memory_of_mib=sum(_mib(each) for each in limits if each) or None if all(limits) else None,
    )


def _pod_note(item: Object) -> str:
    if "deletionTimestamp" in item["metadata"]:
        return "ending"
    if is_ready(item):
        return ""
    states = [each.get("state") or {} for each in item.get("status", {}).get("containerStatuses") or ()]
    reasons = [state["waiting"].get("reason", "") for state in states if "waiting" in state]
    return f"not ready: {reasons[0]}" if reasons and reasons[0] else "not ready"


def _mib(quantity: str) -> int:
    """A quantity of memory as Kubernetes writes it, in MiB; 0 when it cannot be read."""
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}
    unit = next((unit for unit in units if quantity.endswith(unit)), "")
    try:
        return int(float(quantity.removesuffix(unit)) * units.get(unit, 1)) >> 20
    except ValueError:
        return 0


def _nodes(
    rows: Iterable[Object], seen: Mapping[str, SeenContainer], pods: Mapping[str, list[SeenPod] | None]
) -> Iterable[SeenNode]:
    def order(row: Object) -> tuple[str, bool, str]:
        return _cluster(row), row["Labels"].get(ROLE_LABEL) != CONTROL_PLANE, _name(row)

    for row in sorted(rows, key=order):
        node = SeenNode(_name(row), _cluster(row), row["Labels"].get(ROLE_LABEL, "node"), running=False, note="off")
        one = seen.get(row["Id"])
        if one is None:
            yield node if row["State"] not in _ALIVE else replace(node, running=True, note="does not answer")
            continue
        found = pods[node.cluster]
        yield replace(
            node,
            running=True,
            started=one.started,
            memory_mib=one.memory_mib,
            memory_of_mib=one.memory_of_mib,
            note=one.note or (SILENT if found is None else ""),
            pods=tuple(pod for pod in found or () if pod.node == node.name),
        )
