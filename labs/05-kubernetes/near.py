"""Lab 05, cluster, deploy and scale: states that look done and are not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from lab_helpers.boundaries.kube_api import Object, is_ready
from lab_helpers.boundaries.node_containers import NodeContainer
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.world import World
from lab_helpers.tools.engine import need_engine
from lab_helpers.tools.kubectl import locked_kubeconfig

from .names import CLUSTER, DEPLOYMENT, IMAGE, PORT, REPLICAS
from .scene import PROBED, Scene, pod, workload

NEVER = {"imagePullPolicy": "Never"}
CANNED = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Canned(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(b'{"host": "pinboard", "pid": 1, "boot_id": null, "version": "1.0.0"}')
HTTPServer(("", 8000), Canned).serve_forever()
"""

# -- cluster


@contextlib.contextmanager
def _kubeconfig_kept(world: World) -> Iterator[Callable[..., str]]:
    """kubectl's settings as the learner has them, put back afterwards; yields `kubectl config` on them."""
    path = world.place.state / "kubeconfig"
    before = path.read_text()
    kubectl = Scene(world).cluster.kubectl()

    def config(*words: str) -> str:
        return kubectl.run(["config", "--kubeconfig", str(path), *words]).out

    try:
        yield config
    finally:
        with locked_kubeconfig(path):
            path.write_text(before)


def another_context(world: World) -> Iterator[None]:
    with _kubeconfig_kept(world) as config:
        config("set-cluster", "at-work", "--server=https://127.0.0.1:1")
        config("set-context", "at-work", "--cluster=at-work", f"--user=kind-{CLUSTER}")
        config("use-context", "at-work")
        yield


def no_context(world: World) -> Iterator[None]:
    with _kubeconfig_kept(world) as config:
        config("unset", "current-context")
        yield


def _worker(scene: Scene) -> NodeContainer:
    return scene.cluster.containers()[-1]


def cordoned(world: World) -> Iterator[None]:
    scene = Scene(world)
    node = _worker(scene).name
    scene.kubectl("cordon", node)
    try:
        yield
    finally:
        scene.kubectl("uncordon", node)


def _kubelet(node: NodeContainer, verb: str) -> None:
    with need_engine().client() as client:
        client.containers.get(node.id).exec_run(["systemctl", verb, "kubelet"])


def kubelet_stopped(world: World) -> Iterator[None]:
    """For almost a minute the cluster still says Ready."""
    scene = Scene(world)
    node = _worker(scene)
    _kubelet(node, "stop")
    try:
        yield
    finally:
        _kubelet(node, "start")
        scene.cluster.wait_until_ready()


def one_worker(world: World) -> Iterator[None]:
    """The third container runs, but the cluster has no such node."""
    scene = Scene(world)
    node = _worker(scene)
    kept = scene.get("node", node.name)
    _kubelet(node, "stop")
    scene.kubectl("delete", "node", node.name)
    try:
        yield
    finally:
        scene.apply(kept)  # with the pods' addresses that it had: what runs on it goes on with these
        _kubelet(node, "start")
        scene.cluster.wait_until_ready()


def off(world: World) -> Iterator[None]:
    scene = Scene(world)
    node = _worker(scene)
    with need_engine().client() as client:
        client.api.stop(node.id, timeout=5)
    try:
        yield
    finally:
        with need_engine().client() as client:
            client.api.start(node.id)
        scene.cluster.wait_until_ready()


# -- deploy


def bare_pod(world: World) -> Iterator[None]:
    scene = Scene(world)
    with scene.instead_of_deployment(pod("pinboard", PROBED)):
        scene.wait_for_ready(1)
        yield


def stateful_set(world: World) -> Iterator[None]:
    scene = Scene(world)
    with scene.instead_of_deployment(workload("StatefulSet", "pinboard", PROBED, serviceName="pinboard")):
        scene.wait_for_ready(1)
        yield


def _container(change: dict[str, object], *, without: tuple[str, ...] = ()) -> Callable[[Object], None]:
    """A change of the first container in a Deployment's template."""

    def apply(deployment: Object) -> None:
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        for key in without:
            container.pop(key, None)
        container.update(change)

    return apply


def _waits_for(scene: Scene, reasons: tuple[str, ...]) -> None:
    def wanted(pods: list[Object]) -> bool:
        statuses = [each for pod in pods for each in pod["status"].get("containerStatuses") or []]
        return any((each["state"].get("waiting") or {}).get("reason") in reasons for each in statuses)

    scene.wait_for_pods(wanted, f"a container that waits: {', '.join(reasons)}")


def no_such_image(world: World) -> Iterator[None]:
    scene = Scene(world)
    with scene.changed_deployment(_container({"image": "pinboard:never-built", **NEVER})):
        _waits_for(scene, ("ErrImageNeverPull",))
        yield


def latest(world: World) -> Iterator[None]:
    """Every node has pinboard:latest; and it is asked of a registry all the same, which has no such image."""
    scene = Scene(world)
    names = [f"docker.io/library/{name}" for name in (IMAGE, "pinboard:latest")]
    with need_engine().client() as client:
        nodes = [client.containers.get(node.id) for node in scene.cluster.containers()]
        for node in nodes:
            node.exec_run(["ctr", "-n", "k8s.io", "images", "tag", "--force", *names])
        try:
            # Without imagePullPolicy, as one would write it: the cluster fills it in.
            with scene.changed_deployment(_container({"image": "pinboard:latest"}, without=("imagePullPolicy",))):
                _waits_for(scene, ("ErrImagePull", "ImagePullBackOff"))
                yield
        finally:
            for node in nodes:
                node.exec_run(["ctr", "-n", "k8s.io", "images", "rm", names[1]])


def never_ready(world: World) -> Iterator[None]:
    scene = Scene(world)
    probe = {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 1}
    with scene.changed_deployment(_container({"readinessProbe": probe})):
        scene.wait_for_pods(
            lambda pods: any(
                "running" in each["state"] for pod in pods for each in pod["status"].get("containerStatuses") or []
            ),
            "a container that runs",
        )
        yield


def none_wanted(world: World) -> Iterator[None]:
    scene = Scene(world)
    scene.kubectl("scale", "deployment", DEPLOYMENT, "--replicas=0")
    try:
        scene.wait_for_pods(lambda pods: not pods, "the pods to be gone")
        yield
    finally:
        scene.kubectl("scale", "deployment", DEPLOYMENT, "--replicas=1")
        scene.settle()


def pods_loopback(world: World) -> Iterator[None]:
    scene = Scene(world)
    change = {"env": [{"name": "PINBOARD_HOST", "value": "127.0.0.1"}]}
    with scene.changed_deployment(_container(change, without=("readinessProbe",))):
        scene.wait_for_ready(1)
        yield


def canned_answer(world: World) -> Iterator[None]:
    scene = Scene(world)
    probe = {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1}
    with scene.changed_deployment(_container({"command": ["python3", "-c", CANNED], "readinessProbe": probe})):
        scene.wait_for_ready(1)
        yield


# -- scale


def two(world: World) -> Iterator[None]:
    scene = Scene(world)
    with _two_wanted(scene):
        yield


@contextlib.contextmanager
def _two_wanted(scene: Scene) -> Iterator[None]:
    scene.kubectl("scale", "deployment", DEPLOYMENT, f"--replicas={REPLICAS - 1}")
    try:
        scene.wait_for_pods(lambda pods: len(pods) == REPLICAS - 1, "one pod less")
        yield
    finally:
        scene.kubectl("scale", "deployment", DEPLOYMENT, f"--replicas={REPLICAS}")
        scene.settle()
        _spread(scene)


def two_and_one(world: World) -> Iterator[None]:
    """Three pods in all, of two Deployments."""
    scene = Scene(world)
    with _two_wanted(scene), scene.beside(workload("Deployment", "pinboard-too", PROBED)):
        scene.wait_for_ready(REPLICAS)
        yield


def one_is_pending(world: World) -> Iterator[None]:
    scene = Scene(world)
    with _cordoned(scene, [node.name for node in scene.cluster.containers()[1:]]):
        scene.delete("pod", str(scene.pods()[0]["metadata"]["name"]))
        scene.wait_for_pods(
            lambda pods: len(pods) == REPLICAS and any(_is_pending(each) for each in pods), "a pod that is Pending"
        )
        yield


def _is_pending(each: Object) -> bool:
    conditions = {one["type"]: one["status"] for one in each["status"].get("conditions") or []}
    return conditions.get("PodScheduled") == "False"


@contextlib.contextmanager
def _cordoned(scene: Scene, nodes: list[str]) -> Iterator[None]:
    scene.kubectl("cordon", *nodes)
    try:
        yield
    finally:
        scene.kubectl("uncordon", *nodes)
        scene.wait_for_ready(REPLICAS)
        _spread(scene)


def three_bare_pods(world: World) -> Iterator[None]:
    scene = Scene(world)
    pods = [pod(f"pinboard-{number}", PROBED) for number in range(REPLICAS)]
    with scene.instead_of_deployment(*pods):
        scene.wait_for_ready(REPLICAS)
        yield
    _spread(scene)


def one_node(world: World) -> Iterator[None]:
    scene = Scene(world)
    away = str(scene.pods()[0]["spec"]["nodeName"])
    with _cordoned(scene, [away]):
        scene.delete(
            "pod", *(str(each["metadata"]["name"]) for each in scene.pods() if each["spec"]["nodeName"] == away)
        )
        scene.wait_for_pods(
            lambda pods: sum(map(is_ready, pods)) == REPLICAS and away not in _nodes(pods), "all of them on one node"
        )
        yield


def _nodes(pods: list[Object]) -> set[str]:
    return {str(each["spec"].get("nodeName")) for each in pods}


def _spread(scene: Scene) -> None:
    """Pods do not move by themselves: as long as all sit on one node, make one anew."""

    def spread() -> bool:
        pods = scene.pods()
        if len(_nodes(pods)) > 1 and sum(map(is_ready, pods)) >= REPLICAS:
            return True
        if len(_nodes(pods)) == 1 and sum(map(is_ready, pods)) >= REPLICAS:
            scene.delete("pod", str(pods[0]["metadata"]["name"]))
        return False

    wait_for(spread, "pods on two nodes", timeout_s=60, interval_s=0.3)
