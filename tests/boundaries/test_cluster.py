"""Clusters of kind, for real: one cluster for all of these tests, and other people's things around it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab_helpers.boundaries import cluster as clusters
from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.boundaries.engine_objects import record_baseline
from lab_helpers.boundaries.kube_api import ClusterSilentError, Object
from lab_helpers.boundaries.node_containers import marks, nodes_of
from lab_helpers.core import journal
from lab_helpers.core.errors import MachineError, ToolError, UsageError
from lab_helpers.core.events import Event, Progress
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.core.waiting import wait_for
from lab_helpers.images.base_image import BASE, find_base_image
from lab_helpers.images.node_image import find_node_image
from lab_helpers.tools import kind
from lab_helpers.tools.engine import Engine, find_engine, need_engine
from lab_helpers.tools.kubectl import read_kubeconfig

pytestmark = [pytest.mark.live, pytest.mark.engine, pytest.mark.full]

NAME = "pinboard-test"
CREATE = f"""
import sys
from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.core.settings import place
Cluster.create(place(), "{NAME}", workers=1)
"""


@dataclass
class Made:
    """The cluster, and what was seen while it was made."""

    place: Place
    home: Path
    cluster: Cluster
    killed_with: list[str]
    """The nodes that were there when the first creation was killed."""
    told: list[Event]
    network_before: bool


@pytest.fixture(scope="module")
def engine() -> Engine:
    found = find_engine()
    if found is None:
        pytest.skip("no engine answers: `lab doctor --fix`")
    if find_node_image(found) is None or find_base_image(found) is None:
        pytest.skip("the images are not made yet: `lab prepare 05`")
    return found


@pytest.fixture(scope="module")
def made(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A cluster that `create` makes after a creation of the same one was killed with SIGKILL half way."""
    folder = tmp_path_factory.mktemp("cluster")
    place = replace(real_place(), state=folder / "state", work=folder / "work")
    home = folder / "home"
    (home / ".kube").mkdir(parents=True)
    (home / ".kube" / "config").write_text("# other people's\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.delenv("KUBECONFIG", raising=False)
        network_before = has_network()
        record_baseline(place)
        killed_with = kill_a_creation(place)
        told: list[Event] = []
        cluster = Cluster.create(place, NAME, workers=1, tell=told.append)
        cluster.wait_until_ready()
        yield Made(place, home, cluster, killed_with, told, network_before)
        clusters.remove_all(place)


def kill_a_creation(place: Place) -> list[str]:
    """Begin to make the cluster in a process that is killed as soon as its nodes run."""
    environment = {**os.environ, "LAB_STATE": str(place.state), "LAB_HOME": str(place.home)}
    with subprocess.Popen([sys.executable, "-c", CREATE], env=environment) as creating:
        wait_for(lambda: len(nodes_of(NAME)) == 2, "nodes", timeout_s=120)
        os.kill(creating.pid, signal.SIGKILL)
    return [node.name for node in nodes_of(NAME)]


def has_network() -> bool:
    with need_engine().client() as client:
        return any(network["Name"] == kind.NETWORK for network in client.api.networks())


@pytest.fixture
def stand_in(engine: Engine) -> Iterator[str]:
    """Somebody's cluster, as far as the engine knows: a container with kind's labels."""
    labels = {kind.CLUSTER_LABEL: "somebody-elses", kind.ROLE_LABEL: kind.CONTROL_PLANE}
    with engine.client() as client:
        node = client.containers.create(BASE, ["sleep", "600"], labels=labels, network_mode="none")
        yield str(node.id)
        node.remove(force=True)


def a_pod(name: str) -> str:
    return f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: {name}}}
        spec:
          terminationGracePeriodSeconds: 0
          containers: [{{name: web, image: "{BASE}", command: [python3, -m, http.server, "8000"]}}]
    """


# -- made


def test_a_killed_creation_is_cleared_away_by_the_next_one(made: Made) -> None:
    assert len(made.killed_with) == 2
    assert [node.name for node in made.cluster.containers()] == [f"{NAME}-control-plane", f"{NAME}-worker"]
    assert marks(made.place) == []
    assert made.cluster.ready()


def test_progress_is_told_out_of_what_kind_says(made: Made) -> None:
    steps = [event for event in made.told if isinstance(event, Progress) and event.unit == "steps"]
    assert any("control-plane" in event.what for event in steps)
    assert all(event.total and event.done <= event.total for event in steps)


def test_it_is_the_current_context_of_the_place_and_the_users_file_is_untouched(made: Made) -> None:
    assert read_kubeconfig(made.place.state / "kubeconfig")["current-context"] == f"kind-{NAME}"
    assert (made.home / ".kube" / "config").read_text() == "# other people's\n"
    assert [path.name for path in (made.home / ".kube").iterdir()] == ["config"]


def test_nodes_are_seen_by_the_engine_and_by_kubernetes(made: Made) -> None:
    nodes = made.cluster.nodes()
    assert [(node.name, node.control_plane, node.ready, node.cordoned) for node in nodes] == [
        (f"{NAME}-control-plane", True, True, False),
        (f"{NAME}-worker", False, True, False),
    ]
    assert [node.address for node in nodes] == [node.address for node in made.cluster.containers()]


def test_a_taken_name_is_refused(made: Made) -> None:
    with pytest.raises(UsageError, match="already"):
        Cluster.create(made.place, NAME)


@pytest.mark.parametrize("name", ["", "Pinboard", "a_b", "../up", "x" * 60])
def test_an_odd_name_is_refused(here: Place, name: str) -> None:
    with pytest.raises(UsageError):
        Cluster.create(here, name)


def test_what_kind_refuses_is_told_and_nothing_is_left(made: Made) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ToolError) as caught:
        Cluster.create(made.place, f"{NAME}-two", ports=[kind.Port(taken.getsockname()[1], 30080)])
    assert "ERROR" in caught.value.why
    assert nodes_of(f"{NAME}-two") == []
    assert clusters.leftovers(made.place) == [f"the cluster {NAME} (2 nodes)"]


# -- whose it is


def test_ours_is_a_reserved_name_since_the_place_began(made: Made, stand_in: str) -> None:
    assert [cluster.name for cluster in clusters.all_clusters(made.place)] == [NAME]
    assert clusters.others(made.place) == ["the kind cluster somebody-elses"]
    assert clusters.taken(made.place) == []


def test_for_a_place_that_began_later_it_is_somebody_elses(made: Made, here: Place) -> None:
    record_baseline(here)
    assert clusters.all_clusters(here) == []
    assert clusters.taken(here) == [f"the kind cluster {NAME}"]
    assert clusters.remove_all(here) == []
    assert clusters.leftovers(here) == []
    assert Cluster.load(here, NAME).ready()


def test_other_peoples_clusters_are_never_removed(made: Made, stand_in: str) -> None:
    assert clusters.remove_all(made.place, ("somebody-elses", "no-such")) == []
    assert [node.id for node in nodes_of("somebody-elses")] == [stand_in]
    assert made.cluster.ready()


def test_one_that_is_not_there_is_named_with_those_that_are(made: Made) -> None:
    with pytest.raises(UsageError) as caught:
        Cluster.load(made.place, "no-such")
    assert NAME in caught.value.why


# -- used


@pytest.fixture(scope="module")
def pod(made: Made) -> Object:
    """A pod that serves, of an image that was loaded."""
    made.cluster.load_image(BASE)
    assert made.cluster.apply(a_pod("web")) == "pod/web created\n"
    made.cluster.kubectl().run(["wait", "--for=condition=Ready", "pod/web", "--timeout=90s"])
    found = made.cluster.api().get("/api/v1/namespaces/default/pods/web")
    assert found
    return found


def test_commands_run_in_a_pod(made: Made, pod: Object) -> None:
    assert made.cluster.exec("web", ["hostname"]).out == "web\n"
    with pytest.raises(ToolError):
        made.cluster.exec("web", ["false"])
    assert made.cluster.exec("web", ["sh", "-c", "exit 3"], check=False).code == 3


def test_a_pod_is_asked_from_inside_of_the_cluster(made: Made, pod: Object) -> None:
    api = made.cluster.api()
    assert api.ask_pod(pod, 8000, "/").status == 200
    assert api.ask_pod(pod, 8000, "/no-such").status == 404
    assert api.ask_pod(pod, 8001, "/").status == 503


def test_a_forward_lasts_as_long_as_its_block_and_listens_on_loopback(made: Made, pod: Object) -> None:
    import psutil

    with made.cluster.port_forward("pod/web", 8000) as port:
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).status == 200
        at = [connection.laddr for connection in psutil.net_connections("tcp") if connection.status == "LISTEN"]
        listening = [address.ip for address in at if address and address.port == port]
        assert listening == ["127.0.0.1"]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)


def test_what_kubectl_and_kind_refuse_is_told(made: Made) -> None:
    with pytest.raises(ToolError):
        made.cluster.apply("kind: Nonsense")
    with pytest.raises(ToolError), made.cluster.port_forward("pod/no-such", 80):
        pass
    with pytest.raises(ToolError):
        made.cluster.load_image("pinboard-no-such-image:1")


def test_its_api_speaks_to_the_typed_client_as_well(made: Made) -> None:
    from kubernetes.client import VersionApi

    assert VersionApi(made.cluster.api().client).get_code().major == "1"


# -- what is missing


def test_without_an_engine_nothing_is_there_and_nothing_can_be_made(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")
    assert clusters.all_clusters(here) == []
    assert clusters.leftovers(here) == []
    assert clusters.remove_all(here) == []
    with pytest.raises(MachineError) as caught:
        Cluster.create(here, "pinboard-test-none")
    assert caught.value.finding == "ENGINE"


def test_without_its_programs_the_doctors_ids_are_named(
    made: Made, here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = replace(here, home=here.state / "no-home")
    monkeypatch.setenv("PATH", "/nonexistent")
    for use, finding in ((lambda: Cluster(empty, NAME).api(), "KIND"), (made.cluster.kubectl, "")):
        if finding:
            with pytest.raises(MachineError) as caught:
                use()
            assert caught.value.finding == finding
    without = Cluster(empty, NAME)
    without._kubeconfig = made.cluster.kubeconfig()
    with pytest.raises(MachineError) as caught:
        without.kubectl()
    assert caught.value.finding == "KUBECTL"


# -- off, on, gone: these change it, and come last


def test_a_node_whose_kubelet_ended_is_seen_at_once(made: Made) -> None:
    worker = made.cluster.containers()[1]
    with need_engine().client() as client:
        client.containers.get(worker.id).exec_run(["systemctl", "stop", "kubelet"])
        assert made.cluster.not_ready() == [f"{worker.name}: its kubelet does not answer"]
        client.containers.get(worker.id).exec_run(["systemctl", "start", "kubelet"])
    made.cluster.wait_until_ready(timeout_s=60)


def test_off_it_is_silent_and_restarted_everything_in_it_is_new_and_works(made: Made, pod: Object) -> None:
    control_plane = made.cluster.containers()[0]
    with need_engine().client() as client:
        client.api.stop(control_plane.id, timeout=5)
    off = Cluster.load(made.place, NAME)
    assert off.not_ready() == [f"{control_plane.name} is off"]
    with pytest.raises(ClusterSilentError, match="off"):
        off.api()
    off.restart()
    assert off.ready()
    assert off.exec("web", ["python3", "-c", "import socket; socket.gethostbyname('kubernetes.default')"]).ok


def test_removed_nothing_of_it_is_left(made: Made) -> None:
    made.cluster.remove()
    assert nodes_of(NAME) == []
    assert clusters.leftovers(made.place) == []
    left = read_kubeconfig(made.place.state / "kubeconfig")
    assert [left[part] for part in ("clusters", "contexts", "users")] == [[], [], []]
    assert has_network() == made.network_before
    made.cluster.remove()
    kinds = [event["kind"] for event in journal.read(made.place.journal, f"cluster:{NAME}")]
    assert kinds[-1] == "remove"
    assert {"create", "restart"} <= set(kinds)
