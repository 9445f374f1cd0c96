"""For the boundary map: what runs in the container engine, the course's containers and nodes, and the pods in these.

Whose a container is, boundaries.engine_objects and boundaries.node_containers decide. The cluster is asked through its
control plane's own container: that needs neither kubeconfig nor a client of ours.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lab_helpers.boundaries.cluster import is_reserved
from lab_helpers.boundaries.control_groups import is_here, used_bytes
from lab_helpers.boundaries.engine_objects import moment, sort_out
from lab_helpers.boundaries.kube_api import Object
from lab_helpers.boundaries.node_containers import clusters_since
from lab_helpers.core import host
from lab_helpers.core.asking import Asked
from lab_helpers.core.errors import MachineError
from lab_helpers.core.settings import Place
from lab_helpers.course.boundaries_pods import SeenPod, pod_memory, read_pod
from lab_helpers.tools.engine import Engine, find_engine, forbidden
from lab_helpers.tools.kind import CLUSTER_LABEL, CONTROL_PLANE, ROLE_LABEL

if TYPE_CHECKING:
    import docker

NO_ENGINE = "No container engine answers."
SILENT = "its cluster does not answer"
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


@contextlib.contextmanager
def _asking(engine: Engine, timeout_s: float = 10) -> Iterator[docker.DockerClient]:
    """A client of the engine; whatever goes wrong with it is a MachineError (ENGINE)."""
    with _named(), engine.client(timeout_s=timeout_s) as client:
        yield client


@contextlib.contextmanager
def _named() -> Iterator[None]:
    import docker
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException) as error:
        what = "The container engine answers, but not as it should."
        raise MachineError(what, finding="ENGINE", why=str(error)) from None


def see_engine(place: Place, until: float) -> SeenEngine:
    """Look at the engine and the clusters in it; what does not answer by then (time.monotonic) is left out."""
    engine = find_engine()
    if engine is None:
        return SeenEngine(troubles=("This user may not use the container engine." if forbidden() else NO_ENGINE,))
    try:
        return _see_all(place, engine, until)
    except MachineError as error:
        return SeenEngine(troubles=(error.what,))


def _see_all(place: Place, engine: Engine, until: float) -> SeenEngine:
    info = Asked(partial(_info, engine))
    whose = Asked(partial(_whose, place, engine))
    clusters = Asked(partial(_our_clusters, place))
    with _asking(engine) as client:
        rows: list[Object] = client.api.containers(all=True)
    our_clusters = clusters.answer(until) or []
    node_rows = [row for row in rows if _cluster(row) in our_clusters]
    asked_pods = {name: Asked(partial(see_pods, engine, name, node_rows)) for name in our_clusters}
    told = whose.answer(until)
    ours, foreign = told or (frozenset(), frozenset())
    foreign |= {row["Id"] for row in rows if _cluster(row) and _cluster(row) not in our_clusters}
    our_rows = [row for row in rows if row["Id"] in ours]
    asked = {row["Id"]: Asked(partial(_see, engine, row)) for row in (*our_rows, *node_rows) if row["State"] in _ALIVE}
    seen: dict[str, SeenContainer] = {}
    for row in (*our_rows, *node_rows):
        if row["Id"] in asked and (one := asked[row["Id"]].answer(until) or _unseen(row, asked[row["Id"]].pending)):
            seen[row["Id"]] = one
    kernel = _kernel(engine, info.answer(until) or {}, list(seen.values()), until)
    pods = {name: each.answer(until) for name, each in asked_pods.items()}
    waiting = sorted(pod.name for found in pods.values() for pod in found or () if not pod.node)
    troubles = [f"No node has been found yet for {', '.join(waiting)}."] if waiting else []
    if told is None:
        troubles.append("The container engine did not say in time what runs in it.")
    return SeenEngine(
        containers=tuple(seen[row["Id"]] for row in reversed(our_rows) if row["Id"] in seen),
        nodes=tuple(_nodes(node_rows, seen, pods)),
        kernel=kernel,
        others=sum(row["Id"] in foreign and row["State"] in _ALIVE for row in rows),
        off=tuple(_name(row) for row in our_rows if row["State"] not in _ALIVE),
        troubles=tuple(troubles),
        clusters=tuple(name for name, found in pods.items() if found is not None),
    )


def _info(engine: Engine) -> Object:
    with _asking(engine) as client:
        return dict(client.info())


def _our_clusters(place: Place) -> list[str]:
    with _named():
        return [name for name in clusters_since(place)[0] if is_reserved(name)]


def _whose(place: Place, engine: Engine) -> tuple[frozenset[str], frozenset[str]]:
    """The containers of this place, and those of other people."""
    with _asking(engine) as client:
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

    with _asking(engine) as client:
        try:
            facts = client.api.inspect_container(row["Id"])
            used = used_bytes(facts["Id"], int(facts["State"].get("Pid") or 0))
            if used is None:  # another kernel's: the engine knows, and takes a second to say it
                used = used_of(_stats(client, row["Id"]))
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
        memory_mib=None if used is None else used >> 20,
        memory_of_mib=limit >> 20 or None,
        note=_STATES.get(state["Status"], ""),
    )


def _unseen(row: Object, pending: bool) -> SeenContainer | None:
    """What the list says of a container that was not looked at in time; None for one that is gone."""
    if not pending:
        return None
    note = "did not answer in time"
    return SeenContainer(row["Id"], _name(row), str(row.get("Image", "")), 0, float(row["Created"]), None, None, note)


def _stats(client: Any, identity: str) -> Object:
    """What it uses at this moment; empty where the engine does not say so at once (before version 20.10)."""
    import docker

    try:
        return dict(client.api.stats(identity, stream=False, one_shot=True))
    except (docker.errors.APIError, docker.errors.InvalidVersion):
        return {}


def used_of(stats: Object) -> int | None:
    """The memory that a container uses, in bytes, out of what the engine says, as `docker stats` counts it."""
    memory = stats.get("memory_stats") or {}
    usage, more = memory.get("usage"), memory.get("stats") or {}
    if not usage:
        return None
    cache = more.get("total_inactive_file", more.get("inactive_file", 0))
    return int(usage - cache if cache < usage else usage)


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

    with _asking(engine, timeout_s + 10) as client:
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


def _nodes(
    rows: Iterable[Object], seen: Mapping[str, SeenContainer], pods: Mapping[str, list[SeenPod] | None]
) -> Iterable[SeenNode]:
    def order(row: Object) -> tuple[str, bool, str]:
        return _cluster(row), row["Labels"].get(ROLE_LABEL) != CONTROL_PLANE, _name(row)

    for row in sorted(rows, key=order):
        node = SeenNode(_name(row), _cluster(row), row["Labels"].get(ROLE_LABEL, "node"), running=False, note="off")
        one = seen.get(row["Id"])
        if one is None:
            yield node
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
