"""Lab 05: a cluster out of three containers, and Pinboard in it: deployed, scaled, reached by name."""

from __future__ import annotations

from collections.abc import Iterator

from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.boundaries.kube_api import Api, ClusterSilentError
from lab_helpers.course.declare import Lab
from lab_helpers.course.verdict import Evidence
from lab_helpers.course.world import World
from lab_helpers.tools.kubectl import read_kubeconfig

from . import hints, near, near_service
from .cluster import needs_cluster
from .names import CLUSTER, PORT, REPLICAS, WORKERS
from .questions import QUESTIONS
from .services import ask_by_name, best_service, elsewhere
from .stamp import served
from .workloads import Workload, best_workload, loose_pinboards, why_not_ready

LAB = Lab(
    "05-kubernetes",
    title="Kubernetes on kind",
    minutes=40,
    memory_mib=2000,
    disk_mib=4000,
    needs_engine=True,
    needs_cluster=True,
    containers=True,
    clusters=(CLUSTER,),
    questions=QUESTIONS,
    shared=("pinboard/pinboard",),
)


# -- cluster ---------------------------------------------------------------------------------------------------------


@LAB.task(
    "cluster",
    "Make a cluster of three nodes",
    criteria={
        "answers": (1, f"a kind cluster {CLUSTER} is there, and its API answers"),
        "nodes": (1, f"it has a control plane and {WORKERS} workers"),
        "ready": (2, "every node is ready and takes work"),
        "context": (1, "kubectl in your notebook speaks to it"),
    },
    hints=hints.CLUSTER,
)
@needs_cluster("answers", "nodes", "ready", "context")
def cluster(world: World, api: Api) -> Iterator[Evidence]:
    yield Evidence(
        criterion="answers",
        ok=True,
        looked="the node containers in the engine and the cluster's API",
        expected=f"a cluster {CLUSTER} that answers",
        saw=f"the cluster {api.name} answers",
        command="kind get clusters; kubectl cluster-info",
    )
    nodes = api.nodes()
    workers = [node for node in nodes if not node.control_plane]
    enough = len(workers) >= WORKERS and len(workers) < len(nodes)
    yield Evidence(
        criterion="nodes",
        ok=enough,
        looked="the nodes that the cluster knows",
        expected=f"at least 1 control plane and {WORKERS} workers",
        saw=f"{len(nodes) - len(workers)} control plane(s), {len(workers)} worker(s)",
        command="kubectl get nodes",
        state="" if enough else "too-few",
    )
    bad = [f"{node.name}: {node.why}" for node in nodes if not node.ready]
    closed = [f"{node.name} is cordoned" for node in nodes if node.cordoned]
    yield Evidence(
        criterion="ready",
        ok=not bad and not closed,
        looked="what each node reports, whether its kubelet answers now, and whether it takes new pods",
        expected="all of them ready and open",
        saw="; ".join([*bad, *closed]) or f"{len(nodes)} nodes, all ready and open",
        command="kubectl get nodes",
        state="not-ready" if bad else "cordoned" if closed else "",
    )
    saw, state = _context(world, api)
    yield Evidence(
        criterion="context",
        ok=not state,
        looked="the current context of the kubeconfig in your notebook, and which cluster answers there",
        expected=f"the cluster {api.name}",
        saw=saw,
        command="kubectl config get-contexts",
        state=state,
    )


def _context(world: World, api: Api) -> tuple[str, str]:
    """Where the learner's kubectl leads: what was seen, and its state. The namespace's uid tells clusters apart."""
    config = read_kubeconfig(world.place.state / "kubeconfig")
    current = config.get("current-context")
    if not current:
        return "no current context", "no-context"
    try:
        there = Api(str(current), config).get("/api/v1/namespaces/kube-system")
    except ClusterSilentError as error:
        return f"the context {current}, where nobody answers as it should: {error.why[:120]}", "other-context"
    here = api.get("/api/v1/namespaces/kube-system")
    same = bool(there and here) and there["metadata"]["uid"] == here["metadata"]["uid"]
    return f"the context {current}" + ("" if same else ", which is another cluster"), "" if same else "other-context"


cluster.near_miss("another-context", fails="context", state="other-context")(near.another_context)
cluster.near_miss("no-context", fails="context", state="no-context")(near.no_context)
cluster.near_miss("cordoned", fails="ready", state="cordoned")(near.cordoned)
cluster.near_miss("kubelet-stopped", fails="ready", state="not-ready")(near.kubelet_stopped)
cluster.near_miss("one-worker", fails="nodes", state="too-few")(near.one_worker)
cluster.near_miss("off", fails="answers", state="off")(near.off)


# -- deploy ----------------------------------------------------------------------------------------------------------


@LAB.task(
    "deploy",
    "Run Pinboard as a Deployment",
    criteria={
        "deployment": (1, "there is a Deployment"),
        "ready": (1, "at least one of its pods is ready"),
        "serves": (2, "a ready pod of it is Pinboard, and answers inside of the cluster"),
    },
    hints=hints.DEPLOY,
    after=("cluster",),
)
@needs_cluster("deployment", "ready", "serves")
def deploy(world: World, api: Api) -> Iterator[Evidence]:
    del world
    workload = best_workload(api)
    yield _deployment("deployment", api, workload)
    if workload is None:
        return
    saw, state = why_not_ready(workload) if not workload.ready else (f"{len(workload.ready)} ready", "")
    yield Evidence(
        criterion="ready",
        ok=not state,
        looked=f"the pods that belong to the Deployment {workload.name}",
        expected="at least one that is ready",
        saw=saw,
        command=f"kubectl get pods -n {workload.namespace}",
        state=state,
    )
    if state:
        return
    yield Evidence(
        criterion="serves",
        ok=bool(workload.serving),
        looked="what its ready pods answer at /api/whoami, asked at their own addresses inside of the cluster",
        expected="Pinboard's answer, with the pod's own name as host",
        saw=f"{len(workload.serving)} pod(s) answer as themselves"
        if workload.serving
        else workload.answer or "no answer",
        command=f"kubectl port-forward -n {workload.namespace} deployment/{workload.name} 8005:{PORT}",
        state="" if workload.serving else "not-pinboard" if workload.answer else "silent",
    )


def _deployment(criterion: str, api: Api, workload: Workload | None) -> Evidence:
    if workload:
        saw, state = f"the Deployment {workload.name} in the namespace {workload.namespace}", ""
    elif loose := loose_pinboards(api):
        kind = loose[0][1]
        saw = f"no Deployment; Pinboard in {len(loose)} pod(s) of {f'a {kind}' if kind else 'nobody'}"
        state = "other-owner" if kind else "bare-pod"
    else:
        saw, state = "no Deployment", "no-deployment"
    return Evidence(
        criterion=criterion,
        ok=workload is not None,
        looked="the Deployments in all namespaces but the cluster's own",
        expected="one that runs Pinboard",
        saw=saw,
        command="kubectl get deployments -A",
        state=state,
    )


deploy.stamp(served)
deploy.near_miss("bare-pod", fails="deployment", state="bare-pod")(near.bare_pod)
deploy.near_miss("stateful-set", fails="deployment", state="other-owner")(near.stateful_set)
deploy.near_miss("no-such-image", fails="ready", state="no-image")(near.no_such_image)
deploy.near_miss("latest", fails="ready", state="always-pulled")(near.latest)
deploy.near_miss("never-ready", fails="ready", state="not-ready")(near.never_ready)
deploy.near_miss("none-wanted", fails="ready", state="none-wanted")(near.none_wanted)
deploy.near_miss("pods-loopback", fails="serves", state="silent")(near.pods_loopback)
deploy.near_miss("canned-answer", fails="serves", state="not-pinboard")(near.canned_answer)


# -- scale -----------------------------------------------------------------------------------------------------------


@LAB.task(
    "scale",
    "Three of them, on two nodes",
    criteria={
        "three": (2, f"{REPLICAS} pods of one Deployment are ready and answer as Pinboard"),
        "spread": (1, "they run on at least two nodes"),
    },
    hints=hints.SCALE,
    after=("deploy",),
)
@needs_cluster("three", "spread")
def scale(world: World, api: Api) -> Iterator[Evidence]:
    del world
    workload = best_workload(api)
    if workload is None:
        yield _deployment("three", api, None)
        return
    saw = f"{workload.name} wants {workload.wanted}; {len(workload.ready)} ready, {len(workload.serving)} answering"
    state = ""
    if workload.wanted != REPLICAS:
        state = "too-few"
    elif len(workload.ready) < REPLICAS:
        why, state = why_not_ready(workload)
        saw += f": {why}"
    elif len(workload.serving) < REPLICAS:
        state = "silent"
    yield Evidence(
        criterion="three",
        ok=not state,
        looked=f"the pods that belong to the Deployment {workload.name}, and what each one answers",
        expected=f"{REPLICAS} wanted, ready and answering with their own names",
        saw=saw,
        command=f"kubectl get deployment,pods -n {workload.namespace}",
        state=state,
    )
    nodes = sorted({str(pod["spec"]["nodeName"]) for pod in workload.serving})
    yield Evidence(
        criterion="spread",
        ok=len(nodes) >= 2,
        looked="the nodes on which those pods run",
        expected="at least two",
        saw=", ".join(nodes) or "none",
        command=f"kubectl get pods -n {workload.namespace} -o wide",
        state="" if len(nodes) >= 2 else "one-node",
    )


scale.near_miss("two", fails="three", state="too-few")(near.two)
scale.near_miss("two-and-one", fails="three", state="too-few")(near.two_and_one)
scale.near_miss("one-is-pending", fails="three", state="unscheduled")(near.one_is_pending)
scale.near_miss("three-bare-pods", fails="three", state="bare-pod")(near.three_bare_pods)
scale.near_miss("one-node", fails="spread", state="one-node")(near.one_node)


# -- service ---------------------------------------------------------------------------------------------------------


@LAB.task(
    "service",
    "Reach it by its name",
    criteria={
        "leads": (1, "a Service leads to ready pods of your Deployment"),
        "name": (2, "asked by that name from inside of a pod, your Deployment's pods answer, every time"),
    },
    hints=hints.SERVICE,
    after=("scale",),
)
@needs_cluster("leads", "name")
def service(world: World, api: Api) -> Iterator[Evidence]:
    workload = best_workload(api)
    if workload is None or not workload.serving:
        yield _leads(False, "no Deployment that serves", "no-deployment")
        return
    found = best_service(api, workload)
    if found is None:
        there = elsewhere(api, workload)
        saw = f"no Service in the namespace {workload.namespace}" + (f"; but {', '.join(there)}" if there else "")
        yield _leads(False, saw, "other-namespace" if there else "no-service")
        return
    if not found.ours:
        yield _leads(False, *found.why_not_ours())
        return
    yield _leads(True, f"the Service {found.name} leads to {found.ours} of them", "")
    saw, state = ask_by_name(Cluster.load(world.place, api.name), workload, found)
    yield Evidence(
        criterion="name",
        ok=not state,
        looked=f"what a pod hears that asks for http://{found.name} several times, each time on a new connection",
        expected="answers from pods of the Deployment, and not only from itself",
        saw=saw,
        command=f"kubectl exec deployment/{workload.name} -n {workload.namespace} -- "
        f"curl -s http://{found.name}:{found.ports[0] if found.ports else PORT}/api/whoami",
        state=state,
    )


def _leads(ok: bool, saw: str, state: str) -> Evidence:
    return Evidence(
        criterion="leads",
        ok=ok,
        looked="the Services in the Deployment's namespace, and which pods are behind them",
        expected="a Service with ready pods of the Deployment behind it",
        saw=saw,
        command="kubectl get service,endpointslices -o wide",
        state=state,
    )


service.near_miss("selects-nothing", fails="leads", state="no-endpoints")(near_service.selects_nothing)
service.near_miss("forward-only", fails="leads", state="no-service")(near_service.forward_only)
service.near_miss("other-namespace", fails="leads", state="other-namespace")(near_service.other_namespace)
service.near_miss("external-name", fails="leads", state="external")(near_service.external_name)
service.near_miss("another-pod", fails="leads", state="strangers")(near_service.another_pod)
service.near_miss("wrong-target-port", fails="name", state="no-answer")(near_service.wrong_target_port)
service.near_miss("headless", fails="name", state="headless")(near_service.headless)
service.near_miss("one-does-not-serve", fails="name", state="sometimes")(near_service.one_does_not_serve)
