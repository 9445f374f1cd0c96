"""A cluster that plain kind makes of the node image: its pod network, names, storage and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab_helpers.core.errors import LabError
from lab_helpers.core.waiting import wait_for
from lab_helpers.images.base_image import BASE
from tests.images.kind_cluster import MadeCluster, made_cluster

pytestmark = [pytest.mark.live, pytest.mark.engine, pytest.mark.full]

NODES = 3
PODS = f"""
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      tolerations: [{{operator: Exists}}]
      containers:
      - name: web
        image: {BASE}
        imagePullPolicy: Never
        command: [python3, -m, http.server, "8000", --directory, /sys/class/net]
        ports: [{{containerPort: 8000, hostPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: 8000}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8000}}]}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: claim}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 10Mi}}}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {{name: writer}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: writer
        image: {BASE}
        imagePullPolicy: Never
        command: [sh, -ec, "echo kept > /data/row; cat /data/row"]
        volumeMounts: [{{name: data, mountPath: /data}}]
      volumes: [{{name: data, persistentVolumeClaim: {{claimName: claim}}}}]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeCluster]:
    """One cluster with two workers for all of these tests."""
    with made_cluster(tmp_path_factory.mktemp("cluster"), NODES - 1) as made:
        made.kind("load", "docker-image", BASE)
        made.kubectl("apply", "-f", "-", stdin=PODS)
        made.kubectl("rollout", "status", "daemonset/web", "--timeout=120s")
        made.kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s")
        yield made


@pytest.fixture(scope="module")
def pods(cluster: MadeCluster) -> list[dict[str, Any]]:
    found = cluster.get("pods", "-l", "app=web")
    assert len({pod["spec"]["nodeName"] for pod in found}) == NODES
    return found


ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).status)"


def test_pods_on_different_nodes_reach_each_other(cluster: MadeCluster, pods: list[dict[str, Any]]) -> None:
    for source in pods:
        for target in pods:
            address = f"http://{target['status']['podIP']}:8000/"
            assert cluster.exec(source["metadata"]["name"], "python3", "-c", ASK, address).strip() == "200"


def test_pods_on_every_node_reach_a_service_by_its_name(cluster: MadeCluster, pods: list[dict[str, Any]]) -> None:
    for pod in pods:
        for name in ("web", "web.default.svc.cluster.local"):
            assert cluster.exec(pod["metadata"]["name"], "python3", "-c", ASK, f"http://{name}/").strip() == "200"


def test_a_pod_sees_the_address_of_the_pod_that_speaks_to_it(cluster: MadeCluster, pods: list[dict[str, Any]]) -> None:
    source, target = pods[0], pods[1]
    name, address = target["metadata"]["name"], source["status"]["podIP"]
    cluster.exec(source["metadata"]["name"], "python3", "-c", ASK, f"http://{target['status']['podIP']}:8000/lo/")
    assert f"{address} - - " in next(line for line in cluster.kubectl("logs", name).splitlines() if "/lo/" in line)


def test_whoever_is_outside_sees_the_node_instead_of_the_pod(cluster: MadeCluster, pods: list[dict[str, Any]]) -> None:
    """Here it is a container that is no node, on the network of the nodes."""
    source = pods[0]
    listen = "import socket; s = socket.create_server(('', 7777)); c, a = s.accept(); print(a[0])"
    with cluster.engine.client() as client:
        outside = client.containers.run(
            BASE, ["python3", "-c", listen], detach=True, network="kind", labels={"vm-to-kubernetes": "test"}
        )
        try:
            outside.reload()
            address = outside.attrs["NetworkSettings"]["Networks"]["kind"]["IPAddress"]
            speak = f"import socket; socket.create_connection(('{address}', 7777), 5)"
            wait_for(lambda: cluster.exec(source["metadata"]["name"], "python3", "-c", speak) == "", "it", timeout_s=30)
            outside.wait(timeout=30)
            assert outside.logs().decode().strip() == source["status"]["hostIP"]
        finally:
            outside.remove(force=True)


def test_a_host_port_leads_to_the_pod(cluster: MadeCluster, pods: list[dict[str, Any]]) -> None:
    for target in pods:
        address = f"http://{target['status']['hostIP']}:8080/"
        assert cluster.exec(pods[0]["metadata"]["name"], "python3", "-c", ASK, address).strip() == "200"


def test_a_claim_is_bound_and_written_to(cluster: MadeCluster) -> None:
    cluster.kubectl("wait", "--for=condition=Complete", "job/writer", "--timeout=120s")
    assert cluster.kubectl("logs", "job/writer") == "kept\n"
    [claim] = cluster.get("pvc")
    assert claim["status"]["phase"] == "Bound"
    assert claim["spec"]["storageClassName"] == "standard"


def test_top_answers_for_every_node(cluster: MadeCluster) -> None:
    def answered() -> bool:
        lines = cluster.kubectl("top", "nodes", "--no-headers").splitlines()
        if len(lines) != NODES or "unknown" in " ".join(lines):
            raise LabError("\n".join(lines))
        return True

    assert wait_for(answered, "kubectl top", timeout_s=120, interval_s=1)
    assert "coredns" in cluster.kubectl("top", "pods", "-n", "kube-system")


def test_no_node_pulled_anything(cluster: MadeCluster) -> None:
    events = cluster.get("events", "-A", "--field-selector", "reason=Pulling")
    assert [event["message"] for event in events] == []
    waiting = [
        status
        for pod in cluster.get("pods", "-A")
        for status in pod["status"].get("containerStatuses", [])
        if "waiting" in status["state"]
    ]
    assert not waiting


def test_a_route_that_somebody_removes_comes_back(cluster: MadeCluster, pods: list[dict[str, Any]]) -> None:
    with cluster.engine.client() as client:
        node = client.containers.get(f"{cluster.name}-worker")

        def routes() -> set[str]:
            said: bytes = node.exec_run(["ip", "-4", "route", "show"]).output
            return {line.split()[0] for line in said.decode().splitlines() if " via " in line and "10.244" in line}

        before = routes()
        if not before:
            pytest.skip("another pod network than ours")
        assert len(before) == NODES - 1
        gone = sorted(before)[0]
        assert node.exec_run(["ip", "route", "del", gone]).exit_code == 0
        assert routes() != before
        wait_for(lambda: routes() == before, "the route to come back", timeout_s=60)


def test_a_node_that_is_stopped_and_started_is_ready_again(cluster: MadeCluster, pods: list[dict[str, Any]]) -> None:
    name = f"{cluster.name}-worker2"
    with cluster.engine.client() as client:
        client.containers.get(name).restart()

    def ready() -> bool:
        told = [pod for pod in cluster.get("pods", "-l", "app=web") if pod["spec"]["nodeName"] == name]
        if not told or not all(status["ready"] for status in told[0]["status"]["containerStatuses"]):
            raise LabError("the pod there is not ready")
        source = next(pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] != name)
        return cluster.exec(source, "python3", "-c", ASK, f"http://{told[0]['status']['podIP']}:8000/").strip() == "200"

    wait_for(ready, "a pod on it to answer", timeout_s=120, interval_s=1)
