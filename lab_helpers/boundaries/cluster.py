"""Clusters of kind, in the engine of this machine: made by this course or, with plain kind, by the learner.

A cluster is its node containers, which kind labels with its name. Nothing about it is remembered, so what plain kind
made is found as well. Ours is a cluster with a reserved name that was not there before this place began to use the
engine; no other one is ever touched.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from lab_helpers.boundaries.engine_objects import record_baseline
from lab_helpers.boundaries.kube_api import Api, ClusterSilentError, Node, is_ready
from lab_helpers.boundaries.node_containers import (
    TYPICAL_S,
    NodeContainer,
    clusters_since,
    make_nodes,
    marks,
    nodes_of,
    remove_nodes,
    turn,
)
from lab_helpers.core import journal
from lab_helpers.core.errors import LabError, MachineError, ToolError, UsageError
from lab_helpers.core.events import Progress, Tell, silent
from lab_helpers.core.processes import Completed, need_program
from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.images.node_image import NODE, node_image
from lab_helpers.images.programs import find_kind, find_kubectl, kind_program
from lab_helpers.tools import kind
from lab_helpers.tools.engine import find_engine, need_engine
from lab_helpers.tools.kind import Kind, Port
from lab_helpers.tools.kubectl import Kubectl, parse_kubeconfig

DNS_READY_PORT = 8181
"""Where CoreDNS says that it is ready: https://coredns.io/plugins/ready/"""
READY_S = 180
"""How long nodes may take to be ready, in seconds: ten times what they need on a slow laptop."""


class Cluster:
    """One cluster. Make one with `Cluster.create`, find one with `Cluster.load`."""

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.name = name
        self._kubeconfig = ""
        self._api: Api | None = None

    @classmethod
    def create(
        cls, place: Place, name: str, *, workers: int = 0, ports: Sequence[Port] = (), tell: Tell = silent
    ) -> Cluster:
        """Make a cluster and enter it into the place's kubeconfig, as its current context. It need not be ready yet.

        Raises UsageError for a name that is taken or odd, MachineError (ENGINE, KIND), and ToolError with kind's own
        words. Interrupted at any point, what was made is removed, at once or by the next `create` or `remove_all`.
        """
        if not kind.NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be a cluster's name.",
                why="it becomes a host name: small letters, digits, dots and hyphens, 50 at most",
            )
        engine = need_engine()
        need_program("docker", "ENGINE")
        program = Kind(kind_program(place, tell), engine.environment)
        node_image(place, tell)
        record_baseline(place)
        with turn(place) as lock:
            if nodes_of(name):
                raise UsageError(
                    f"There is a cluster {name} already.", do=f"use it, or remove it: kind delete cluster --name {name}"
                )
            make_nodes(place, name, program, kind.config(workers, tuple(ports)), lock, tell)
        journal.write(place.journal, f"cluster:{name}", "create", workers=workers)
        return cls(place, name)

    @classmethod
    def load(cls, place: Place, name: str) -> Cluster:
        """Find a cluster by its name, whoever made it. Raises UsageError with the names that there are."""
        names = sorted({container.cluster for container in nodes_of()})
        if name not in names:
            raise UsageError(
                f"There is no cluster {name!r} here.",
                why=f"clusters here: {', '.join(names) or 'none yet'}",
                do=f"make one: kind create cluster --name {name} --image {NODE}",
            )
        return cls(place, name)

    # -- what it is, and how it is ------------------------------------------------------------------------------------

    def containers(self) -> list[NodeContainer]:
        """Its nodes as the engine sees them, the control plane first; those that are off included."""
        return nodes_of(self.name)

    def nodes(self) -> list[Node]:
        """Its nodes as Kubernetes sees them. Raises ClusterSilentError."""
        return self.api().nodes()

    def api(self) -> Api:
        """Its API. Raises ClusterSilentError while its nodes are off."""
        if self._api is None:
            self._api = Api(self.name, parse_kubeconfig(self.kubeconfig()))
        return self._api

    def kubeconfig(self) -> str:
        """An administrator's way in, asked of the cluster itself. Raises ClusterSilentError, MachineError (KIND)."""
        if not self._kubeconfig:
            off = [container.name for container in self.containers() if not container.running]
            if off:
                raise ClusterSilentError(
                    f"The cluster {self.name} is off.", why="off: " + ", ".join(off), do=f"docker start {' '.join(off)}"
                )
            try:
                self._kubeconfig = find_kind_of(self.place).kubeconfig(self.name)
            except ToolError as error:
                raise ClusterSilentError(f"The cluster {self.name} is not complete.", why=error.why) from None
        return self._kubeconfig

    def not_ready(self) -> list[str]:
        """What it still lacks, a line each; empty when every node and the cluster's DNS are ready."""
        containers = self.containers()
        if not containers:
            return ["it is not there"]
        if off := [f"{container.name} is off" for container in containers if not container.running]:
            return off
        try:
            nodes = {node.name: node for node in self.nodes()}
            lacks = [f"{each.name} has not joined" for each in containers if each.name not in nodes]
            lacks += [f"{node.name}: {node.why}" for node in nodes.values() if not node.ready]
            lacks += [
                f"{each.name} has not reported its new address"
                for each in containers
                if each.name in nodes and each.address not in ("", nodes[each.name].address)
            ]
            return lacks or ([] if self._dns_answers() else ["its DNS has not started"])
        except ClusterSilentError as error:
            return [error.why or error.what]

    def _dns_answers(self) -> bool:
        """One of its DNS pods says that it is ready: asked, because what is written about pods may be old."""
        pods = self.api().items("/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns")
        return any(self.api().ask_pod(pod, DNS_READY_PORT, "/ready").status == 200 for pod in pods if is_ready(pod))

    def ready(self) -> bool:
        """True when every node and the cluster's DNS are ready."""
        return not self.not_ready()

    def wait_until_ready(self, tell: Tell = silent, *, timeout_s: float = READY_S) -> None:
        """Raises WaitTimeoutError with what it still lacks."""
        self._wait(lambda: None, tell, timeout_s)

    def _wait(self, first: Callable[[], None], tell: Tell, timeout_s: float) -> None:
        """Wait until `first` raises no more and it is ready."""
        began = time.monotonic()

        def probe() -> bool:
            tell(Progress(f"{self.name} gets ready", time.monotonic() - began, typical_s=TYPICAL_S, unit="s"))
            first()
            if lacks := self.not_ready():
                raise LabError("; ".join(lacks))
            return True

        wait_for(probe, f"the cluster {self.name} to be ready", timeout_s=timeout_s, interval_s=0.3)

    # -- using it -----------------------------------------------------------------------------------------------------

    def kubectl(self) -> Kubectl:
        """kubectl for this cluster. Raises MachineError (KUBECTL), ClusterSilentError."""
        program = find_kubectl(self.place)
        if program is None:
            raise MachineError("The program `kubectl` is not on this machine.", finding="KUBECTL")
        return Kubectl(program.path, self.kubeconfig(), self.place.kube_cache)

    def load_image(self, tag: str) -> None:
        """Copy an image of the engine to every node. Raises ToolError when the engine has no such image."""
        find_kind_of(self.place).load_image(self.name, tag)

    def apply(self, manifest: str, *, namespace: str = "default") -> str:
        """`kubectl apply` a manifest (YAML or JSON); returns what it said. Raises ToolError."""
        return self.kubectl().run(["apply", "-n", namespace, "-f", "-"], stdin=manifest).out

    def exec(
        self, pod: str, argv: Sequence[str], *, namespace: str = "default", check: bool = True, timeout_s: float = 60
    ) -> Completed:
        """Run a command in a pod. Raises ToolError as `core.processes.run` does."""
        words = ["exec", "-n", namespace, pod, "--", *argv]
        return self.kubectl().run(words, check=check, timeout_s=timeout_s)

    @contextlib.contextmanager
    def port_forward(self, target: str, port: int, *, namespace: str = "default", local_port: int = 0) -> Iterator[int]:
        """Lead a port of 127.0.0.1 to `target` ("pod/NAME", "service/NAME") as long as the block runs; yields it."""
        with self.kubectl().forward(
            target, port, namespace=namespace, local_port=local_port, timeout_s=20
        ) as listening:
            yield listening

    # -- off, on, gone ------------------------------------------------------------------------------------------------

    def restart(self, tell: Tell = silent) -> None:
        """Turn its nodes off and on, as a reboot of the machine does, and wait until every container in it is new."""
        before: set[str] = set()
        with contextlib.suppress(ClusterSilentError):
            before = self._running()
        ids = [container.id for container in self.containers()]
        with need_engine().client() as client, ThreadPoolExecutor(max(1, len(ids))) as pool:
            tell(Progress(f"{self.name} stops"))
            list(pool.map(lambda each: client.api.stop(each, timeout=10), ids))
            list(pool.map(client.api.start, ids))
        self._api, self._kubeconfig = None, ""

        def restarted() -> None:
            if self._running() & before:
                raise LabError("what ran before has not been started anew")

        self._wait(restarted, tell, READY_S)
        journal.write(self.place.journal, f"cluster:{self.name}", "restart")

    def start(self, names: Sequence[str], tell: Tell = silent) -> None:
        """Turn on these nodes, the control plane first, and wait until the cluster is ready.

        With other nodes that stay off it cannot be ready: then until its API answers. Raises WaitTimeoutError.
        """
        nodes = [node for node in self.containers() if node.name in names]
        began = time.monotonic()

        def answers() -> bool:
            tell(Progress(f"{self.name} starts", time.monotonic() - began, typical_s=TYPICAL_S, unit="s"))
            self._api, self._kubeconfig = None, ""
            return bool(Api(self.name, parse_kubeconfig(find_kind_of(self.place).kubeconfig(self.name))).nodes())

        with need_engine().client() as client:
            tell(Progress(f"{self.name} starts", typical_s=TYPICAL_S, unit="s"))
            for node in (node for node in nodes if node.role == kind.CONTROL_PLANE):
                client.api.start(node.id)
            wait_for(answers, f"the API of {self.name} to answer", timeout_s=READY_S, interval_s=0.3)
            for node in (node for node in nodes if node.role != kind.CONTROL_PLANE):
                client.api.start(node.id)
        if all(node.running for node in self.containers()):
            self.wait_until_ready(tell)
        journal.write(self.place.journal, f"cluster:{self.name}", "start")

    def _running(self) -> set[str]:
        """The ids of all containers that run in pods, as the cluster knows them."""
        statuses = [
            status
            for pod in self.api().items("/api/v1/pods")
            for status in pod.get("status", {}).get("containerStatuses") or []
        ]
        return {status["containerID"] for status in statuses if "running" in (status.get("state") or {})}

    def remove(self) -> None:
        """Delete its nodes, what is in them, and its entry in the place's kubeconfig. Gone already is fine."""
        with turn(self.place):
            remove_nodes(self.place, self.name)


def find_kind_of(place: Place) -> Kind:
    """The program kind of this place. Raises MachineError (KIND, ENGINE)."""
    program = find_kind(place)
    if program is None:
        raise MachineError("The program `kind` is not on this machine.", finding="KIND")
    return Kind(program.path, need_engine().environment)


# -- all clusters -----------------------------------------------------------------------------------------------------


def is_reserved(name: str) -> bool:
    """Names that the course keeps for itself."""
    return name == "pinboard" or name.startswith("pinboard-")


def cluster_names() -> set[str]:
    """The names of all clusters, whoever made them; without an engine there are none."""
    return {container.cluster for container in nodes_of()} if find_engine() else set()


def all_clusters(place: Place) -> list[Cluster]:
    """The clusters of this place, by name: those with a reserved name that were not there before it began."""
    return [Cluster(place, name) for name in clusters_since(place)[0] if is_reserved(name)]


def taken(place: Place) -> list[str]:
    """Clusters that were there before this place under a name that the course reserves, one line each."""
    return [f"the kind cluster {name}" for name in clusters_since(place)[1] if is_reserved(name)]


def others(place: Place) -> list[str]:
    """Clusters that appeared since this place began and are not the course's, one line each. They are never touched."""
    return [f"the kind cluster {name}" for name in clusters_since(place)[0] if not is_reserved(name)]


def remove_all(place: Place, names: Sequence[str] | None = None) -> list[str]:
    """Remove the clusters of this place, or those of these names among them. Returns what was removed.

    Without an engine nothing can be there; with one, also what a killed creation left half made goes.
    """
    if find_engine() is None:
        return []
    half_made = [mark.stem for mark in marks(place)]
    with turn(place):
        whole = [each.name for each in all_clusters(place) if names is None or each.name in names]
        for name in whole:
            remove_nodes(place, name)
    return [f"the cluster {name}" for name in whole] + [f"the half-made cluster {name}" for name in half_made]


def leftovers(place: Place) -> list[str]:
    """What is here because of this place's clusters, one line each."""
    found = [f"the cluster {each.name} ({len(each.containers())} nodes)" for each in all_clusters(place)]
    return found + [f"the half-made cluster {mark.stem}" for mark in marks(place)]
