"""The time machine on the real labs: solved once, and then back and forth between saved states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.boundaries import cluster as clusters
from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.boundaries.container import container
from lab_helpers.core.events import Event, Note
from lab_helpers.core.settings import Place
from lab_helpers.course import progress, saved_states
from lab_helpers.course.engine import check_task
from lab_helpers.course.time_machine import Arrival, goto
from lab_helpers.course.world import World
from lab_helpers.images.base_image import find_base_image
from lab_helpers.images.guest_image import GuestImage
from lab_helpers.images.node_image import find_node_image
from lab_helpers.tools.engine import find_engine

pytestmark = [pytest.mark.live, pytest.mark.engine, pytest.mark.full]


def go(place: Place, lab: str, task: str, *, way: str, before: bool = False, said: str = "") -> Arrival:
    told: list[Event] = []
    arrival = goto(place, lab, task, before=before, tell=told.append)
    notes = "\n".join(event.text for event in told if isinstance(event, Note))
    assert (arrival.way, arrival.right) == (way, True), f"{notes}\n{arrival.verdict}"
    assert said in notes
    print(f"{lab} {'before' if before else 'after'} {task}: {way}, {arrival.seconds:.1f} s")  # noqa: T201
    return arrival


def passed(place: Place, lab: str, *tasks: str) -> list[str]:
    return [task for task in tasks if check_task(place, lab, task, record=False).passed]


@pytest.fixture
def clean(here: Place) -> Iterator[Place]:
    """A place in whose way nothing is, and that leaves nothing."""
    yield here
    world = World(here, "")
    world.clean()
    assert world.leftovers() == []


def test_lab_01_goes_back_and_forth(clean: Place, image: GuestImage) -> None:
    lab = "01-virtual-machine"
    tasks = ("boot", "own-kernel", "serve")
    go(clean, lab, "serve", way="solved")
    assert "serve" in passed(clean, lab, *tasks)
    world = World(clean, lab)
    guest = world.running("pinboard-vm")
    guest.shell("rm -r /opt/pinboard; systemctl disable --now pinboard")
    assert passed(clean, lab, "serve") == []
    go(clean, lab, "serve", way="saved")
    assert world.get("http://127.0.0.1:8001/api/pins").json()[0]["text"] == "My first pin, made in a VM"
    go(clean, lab, "own-kernel", way="saved")
    assert passed(clean, lab, *tasks) == ["boot", "own-kernel"]
    go(clean, lab, "own-kernel", way="saved", before=True)
    assert passed(clean, lab, *tasks) == ["boot"]
    go(clean, lab, "boot", way="fresh", before=True)
    assert world.vms() == []
    assert progress.read(clean).labs == {}


@pytest.fixture
def engine_place(clean: Place) -> Place:
    engine = find_engine()
    if engine is None or find_base_image(engine) is None:
        pytest.skip("no container engine with the base image: `lab prepare 02`")
    World(clean, "").begin()
    return clean


@pytest.mark.engine
def test_lab_02_goes_back_and_forth(engine_place: Place) -> None:
    lab, place = "02-containers", engine_place
    go(place, lab, "limits", way="solved")
    go(place, lab, "image", way="saved")
    assert passed(place, lab, "image", "limits") == ["image"]
    one = container(place, "pinboard")
    assert one
    assert one.image == "pinboard:1"
    go(place, lab, "limits", way="saved")
    assert passed(place, lab, "image", "limits") == ["image", "limits"]
    # The answers in its file name a process that is gone: such a state is not believed, and solved again.
    go(place, lab, "same-kernel", way="solved", said="not what it was")
    go(place, lab, "same-kernel", way="solved")
    assert passed(place, lab, "image", "limits") == []
    World(place, "").clean()
    assert saved_states.all_saved(place) == []


@pytest.mark.engine
def test_lab_05_brings_the_objects_back_and_keeps_the_cluster(engine_place: Place, tmp_path: Path) -> None:
    engine = find_engine()
    if engine is None or find_node_image(engine) is None or "pinboard" in clusters.cluster_names():
        pytest.skip("the node image is not made yet (`lab prepare 05`), or a cluster pinboard is there")
    lab, place = "05-kubernetes", engine_place
    tasks = ("cluster", "deploy", "scale", "service")
    go(place, lab, "service", way="solved")
    nodes = [node.id for node in Cluster.load(place, "pinboard").containers()]
    kubectl = Cluster.load(place, "pinboard").kubectl()
    for words in (
        "scale deployment pinboard --replicas=5",
        "create namespace mine",
        "create configmap mine --from-literal=a=b",
        "cordon pinboard-worker",
        "delete service pinboard",
        "delete pod client --grace-period=1",
    ):
        kubectl.run(words.split())
    (place.state / "kubeconfig").unlink()
    go(place, lab, "service", way="saved")
    assert passed(place, lab, *tasks) == list(tasks)
    names = kubectl.run(["get", "namespaces,configmaps", "-o", "name"]).out
    assert "configmap/mine" not in names
    go(place, lab, "scale", way="saved", before=True)
    assert passed(place, lab, *tasks) == ["cluster", "deploy"]
    go(place, lab, "deploy", way="saved", before=True)
    assert passed(place, lab, *tasks) == ["cluster"]
    go(place, lab, "service", way="saved")
    assert [node.id for node in Cluster.load(place, "pinboard").containers()] == nodes

    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "mine"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    Cluster.load(place, "pinboard").apply(json.dumps(claim))
    go(place, lab, "cluster", way="solved", said="claims for storage")
    go(place, lab, "cluster", way="saved")
    other = replace(place, state=tmp_path / "elsewhere")
    assert saved_states.all_saved(other) == []
