"""The containers that are a cluster's nodes: listed, made by kind, removed, also those that a killed creation left.

While a cluster is made, a mark lies in the place's state; one that nobody works at any more names a half-made cluster.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from lab_helpers.boundaries.engine_objects import made_elsewhere, moment, read_baseline
from lab_helpers.core import journal
from lab_helpers.core.errors import ToolError
from lab_helpers.core.events import Progress, Tell
from lab_helpers.core.processes import ProcessId, pasteable
from lab_helpers.core.settings import Place
from lab_helpers.core.store import locked, write_atomic
from lab_helpers.core.waiting import wait_for
from lab_helpers.images.node_image import NODE
from lab_helpers.tools import kind
from lab_helpers.tools.engine import find_engine, need_engine
from lab_helpers.tools.kind import Kind
from lab_helpers.tools.kubectl import forget_cluster, locked_kubeconfig

TYPICAL_S = 25
REMOVE_S = 60
"""How long the engine may take to remove a cluster's nodes, in seconds."""


@dataclass(frozen=True)
class NodeContainer:
    """The container that is a node."""

    id: str
    name: str
    """Its name, which is the node's name in the cluster, too."""
    cluster: str
    role: str
    running: bool
    address: str
    """In kind's network; it may be another one after a restart."""


def nodes_of(cluster: str = "") -> list[NodeContainer]:
    """The nodes of one cluster, or of all, control planes first. Raises MachineError (ENGINE)."""
    label = f"{kind.CLUSTER_LABEL}={cluster}" if cluster else kind.CLUSTER_LABEL
    with need_engine().client(timeout_s=20) as client:
        rows = client.api.containers(all=True, filters={"label": label})
    found = [
        NodeContainer(
            id=row["Id"],
            name=row["Names"][0].lstrip("/") if row.get("Names") else row["Id"][:12],
            cluster=row["Labels"][kind.CLUSTER_LABEL],
            role=row["Labels"].get(kind.ROLE_LABEL, ""),
            running=row["State"] == "running",
            address=row["NetworkSettings"]["Networks"].get(kind.NETWORK, {}).get("IPAddress", ""),
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: (each.cluster, each.role != kind.CONTROL_PLANE, each.name))


def clusters_since(place: Place) -> tuple[list[str], list[str]]:
    """The names of all clusters: those that were made since this place began, and those that are older or of another
    place.

    Without an engine there are none.
    """
    import docker

    engine = find_engine()
    if engine is None:
        return [], []
    nodes = nodes_of()
    baseline = read_baseline(place)
    older = set()
    with engine.client(timeout_s=20) as client:
        for node in nodes:
            with contextlib.suppress(docker.errors.NotFound):  # removed at this moment
                facts = client.api.inspect_container(node.id)
                elsewhere = made_elsewhere(place, facts["Config"]["Labels"] or {})
                if not baseline or elsewhere or moment(facts["Created"]) < baseline.began:
                    older.add(node.cluster)
    return sorted({node.cluster for node in nodes} - older), sorted(older)


# -- making ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def turn(place: Place) -> Iterator[int]:
    """Be the only one of this place that makes or removes clusters; what a killed one left half made is removed first.

    Yields the lock, which kind inherits: as long as it works for somebody who was killed, nobody else begins.
    """
    with locked(place.state / "clusters.lock", timeout_s=900, on_wait=lambda: _end_orphans(place)) as lock:
        for mark in marks(place):
            remove_nodes(place, mark.stem, half_made=True)
            mark.unlink(missing_ok=True)
        yield lock


def marks(place: Place) -> list[Path]:
    """The marks of clusters that are being made, or were when somebody was killed."""
    return sorted((place.state / "clusters").glob("*.json"))


def make_nodes(place: Place, cluster: str, program: Kind, config: str, lock: int, tell: Tell) -> None:
    """`kind create cluster`, in our turn. Raises ToolError with what kind said."""
    log = place.state / "logs" / f"kind-{cluster}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    mark = place.state / "clusters" / f"{cluster}.json"
    kubeconfig = place.state / "kubeconfig"
    with locked_kubeconfig(kubeconfig):  # a lock that a kill left would make kind fail at its last step
        pass
    argv = program.create_command(cluster, NODE, kubeconfig)
    _write_mark(mark, None)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
            env={**os.environ, **program.environment},
        )
    try:
        _write_mark(mark, process.pid)
        assert process.stdin
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(config.encode())
        total = 7 if '"worker"' in config else 6
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            done, what = kind.steps(log.read_text(errors="replace"))
            tell(Progress(f"cluster {cluster}: {what}", done, total, "steps", TYPICAL_S))
    except BaseException:
        _end_group(process.pid)
        process.wait()
        remove_nodes(place, cluster, half_made=True)
        mark.unlink(missing_ok=True)
        raise
    if process.returncode != 0:
        remove_nodes(place, cluster, half_made=True)
        mark.unlink(missing_ok=True)
        raise ToolError(
            f"kind could not make the cluster {cluster}.",
            command=pasteable(argv),
            output=kind.complaint(log.read_text(errors="replace")),
            code=process.returncode,
            do=f"`lab doctor` looks for what is in the way; all that kind said is in {log}",
        )
    mark.unlink(missing_ok=True)


def _write_mark(mark: Path, kind_pid: int | None) -> None:
    """Who makes it: we, and (once it runs) kind as the leader of a process group."""
    ours = psutil.Process()
    facts: dict[str, float] = {"pid": ours.pid, "started": ours.create_time()}
    if kind_pid is not None:
        with contextlib.suppress(psutil.Error):
            facts |= {"kind": kind_pid, "kind_started": psutil.Process(kind_pid).create_time()}
    write_atomic(mark, json.dumps(facts))


def _end_orphans(place: Place) -> None:
    """End every kind whose caller was killed: nobody waits for what it makes."""
    for mark in marks(place):
        with contextlib.suppress(OSError, ValueError, KeyError):
            facts = json.loads(mark.read_text())
            if ProcessId(int(facts["pid"]), facts["started"]).alive():
                continue
            if ProcessId(int(facts["kind"]), facts["kind_started"]).alive():
                _end_group(int(facts["kind"]))


def _end_group(pid: int) -> None:
    """kind and the docker commands that it runs: all at once, or these would go on without it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


# -- removing ----------------------------------------------------------------------------------------------------------


def remove_nodes(place: Place, cluster: str, *, half_made: bool = False) -> None:
    """Remove a cluster's nodes with all that is in them, its entry in the place's kubeconfig and, after the last
    cluster, the network. `half_made`: the engine may still be about to make one more.
    """
    for pause in (0.0, 0.3, 0.3) if half_made else (0.0,):
        time.sleep(pause)
        wait_for(lambda: _none_left(cluster), f"the engine to remove {cluster}", timeout_s=REMOVE_S, interval_s=0.1)
    forget_cluster(place.state / "kubeconfig", cluster)
    _remove_network(place)
    journal.write(place.journal, f"cluster:{cluster}", "remove")


def _none_left(cluster: str) -> bool:
    """True when no node is left; else those that are there are removed.

    The engine lists a container that it still makes, and says of it that there is none: hence again and again.
    """
    import docker

    nodes = nodes_of(cluster)
    if not nodes:
        return True
    with need_engine().client() as client, ThreadPoolExecutor(len(nodes)) as pool:

        def remove(node: NodeContainer) -> None:
            try:
                client.api.remove_container(node.id, v=True, force=True)
            except docker.errors.APIError as error:
                if error.status_code not in (404, 409):  # 409: somebody else removes it at this moment
                    raise

        list(pool.map(remove, nodes))
    return False


def _remove_network(place: Place) -> None:
    """Remove kind's network if it came since this place began and has no user: kind makes it, and never removes it."""
    import docker

    baseline = read_baseline(place)
    if baseline is None or nodes_of():
        return
    with need_engine().client() as client:
        for network in client.api.networks(names=[kind.NETWORK]):
            if network["Name"] == kind.NETWORK and moment(network["Created"]) >= baseline.began:
                with contextlib.suppress(docker.errors.APIError):  # in use by a container that is no node, or gone
                    client.api.remove_network(network["Id"])
