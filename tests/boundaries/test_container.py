"""What is in the container engine and whose it is: on an engine of the tests' own, with other people's things in it."""

from __future__ import annotations

import io
import runpy
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from lab_helpers.boundaries import engine_objects
from lab_helpers.boundaries.container import (
    Container,
    Image,
    Port,
    base,
    boot_id_of_engine,
    container,
    containers,
    image_of,
    images,
)
from lab_helpers.boundaries.engine_objects import moment, read_baseline, record_baseline
from lab_helpers.boundaries.node_containers import clusters_since
from lab_helpers.core import host
from lab_helpers.core.errors import MachineError
from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.images.base_image import BASE
from lab_helpers.tools import dockerd
from lab_helpers.tools.engine import LABEL, PLACE_LABEL, Engine, find_engine
from lab_helpers.tools.kind import CLUSTER_LABEL
from tests.fakes.own_engine import own_daemon

NOWHERE = "unix:///nonexistent/docker.sock"


# -- without an engine


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:10Z", 10),
        ("1970-01-01T00:00:10.123456789Z", 10.123456),
        ("1970-01-01T01:00:10.5+01:00", 10.5),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
    ],
)
def test_a_time_as_the_engine_writes_it(text: str, seconds: float) -> None:
    assert moment(text) == pytest.approx(seconds)


def test_an_image_builds_upon_another_by_its_layers_alone() -> None:
    below = Image("1", (), ("a", "b"), 0)
    assert Image("2", (), ("a", "b", "c"), 0).builds_upon(below)
    assert not Image("3", (), ("a", "b"), 0).builds_upon(below)
    assert not Image("4", (), ("b", "a", "c"), 0).builds_upon(below)


@pytest.mark.parametrize(
    ("address", "private", "local"),
    [("127.0.0.1", True, True), ("0.0.0.0", False, True), ("", False, True), ("192.0.2.7", False, False)],
)
def test_who_can_reach_a_published_port(address: str, private: bool, local: bool) -> None:
    port = Port(8000, address, 8002)
    assert (port.private, port.local) == (private, local)


def test_without_an_engine_nothing_is_ours_and_a_look_at_containers_is_the_machines_trouble(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    record_baseline(here)
    began = read_baseline(here)
    assert began is not None
    assert began.engines == {}
    record_baseline(here)
    assert read_baseline(here) == began
    assert engine_objects.leftovers(here) == engine_objects.others(here) == engine_objects.taken(here) == []
    assert engine_objects.remove_all(here) == []
    with pytest.raises(MachineError) as caught:
        containers(here)
    assert caught.value.finding == "ENGINE"


Tree = dict[str, str]
V2: Tree = {
    "cgroup.controllers": "cpu memory pids",
    "memory.max": "134217728",
    "memory.swap.max": "0",
    "cpu.max": "50000 100000",
    "pids.max": "64",
}
V1: Tree = {
    "memory/memory.limit_in_bytes": "134217728",
    "memory/memory.memsw.limit_in_bytes": "134217728",
    "cpu/cpu.cfs_quota_us": "50000",
    "cpu/cpu.cfs_period_us": "100000",
    "pids/pids.max": "64",
}
HELD = {"memory": 134217728, "swap": 0, "cpus": 0.5, "processes": 64}
UNLIMITED = {"memory": None, "swap": None, "cpus": None, "processes": None}


@pytest.mark.parametrize(
    ("tree", "limits"),
    [
        (V2, HELD),
        (V1, HELD),
        (
            {**V2, "memory.max": "max", "memory.swap.max": "max", "cpu.max": "max 100000", "pids.max": "max"},
            UNLIMITED,
        ),
        (
            {
                **V1,
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.memsw.limit_in_bytes": "9223372036854771712",
                "cpu/cpu.cfs_quota_us": "-1",
                "pids/pids.max": "max",
            },
            UNLIMITED,
        ),
        ({**V1, "memory/memory.memsw.limit_in_bytes": "268435456"}, {**HELD, "swap": 134217728}),
        ({**V1, "memory/memory.memsw.limit_in_bytes": "9223372036854771712"}, {**HELD, "swap": None}),
        ({**V1, "memory/memory.memsw.limit_in_bytes": "268435456", "memory/memory.swappiness": "0"}, HELD),
        (
            {name: text for name, text in V1.items() if "memsw" not in name},
            {name: value for name, value in HELD.items() if name != "swap"},
        ),
        (
            {name: text for name, text in V2.items() if "swap" not in name},
            {name: value for name, value in HELD.items() if name != "swap"},
        ),
    ],
)
def test_limits_are_read_from_both_versions_of_control_groups(tmp_path: Path, tree: Tree, limits: Any) -> None:
    for name, text in tree.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    inside = runpy.run_path(str(CHECKOUT / "labs/02-containers/inside.py"))["limits"]
    inside.__globals__["CGROUPS"] = tmp_path
    assert inside() == limits


# -- on an engine


@pytest.fixture(scope="module")
def own() -> Iterator[Engine]:
    """An engine of our own that has the course's base image."""
    machines = find_engine()
    if machines is None:
        pytest.skip("no container engine answers: `lab doctor --fix`")
    with machines.client() as client:
        try:
            client.images.get(BASE)
        except docker.errors.ImageNotFound:
            pytest.skip(f"{BASE} is not made yet: `lab prepare 02`")
        with own_daemon() as (place, daemon):
            dockerd.start(place, daemon)
            engine = Engine(daemon.address, "this test", plain=True)
            with engine.client() as mine:
                mine.api.load_image(client.api.get_image(BASE))
            yield engine


@pytest.fixture
def engine(own: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The same, as a test finds it: with nothing else in it, and nothing left behind."""
    monkeypatch.setenv("DOCKER_HOST", own.address)
    yield own
    with own.client() as client:
        for one in client.containers.list(all=True):
            one.remove(force=True, v=True)
        client.networks.prune()
        for volume in client.volumes.list():
            volume.remove()
        for image in client.images.list():
            if BASE not in image.tags:
                client.images.remove(image.id, force=True)
        client.images.prune()


@pytest.fixture
def client(engine: Engine) -> Iterator[docker.DockerClient]:
    with engine.client() as client:
        yield client


Start = Callable[..., Any]


@pytest.fixture
def start(client: docker.DockerClient) -> Start:
    """Starts a container that waits."""

    def run(name: str, image: str = BASE, **options: Any) -> Any:
        options = {"network_mode": "none", **options}
        return client.containers.run(image, ["sleep", "1000"], name=name, detach=True, init=True, **options)

    return run


def elsewhere(client: docker.DockerClient, tag: str = "") -> str:
    """An image that can run and is not built upon the course's: the base's files without its labels. Returns its ID."""
    box = client.api.create_container(BASE)["Id"]
    repository, _, version = tag.partition(":")
    said = client.api.import_image_from_data(
        b"".join(client.api.export(box)), repository=repository or None, tag=version or None
    )
    client.api.remove_container(box)
    return str(said).split('"status":"')[-1].split('"')[0]


def built(client: docker.DockerClient, tag: str, *lines: str) -> str:
    """An image built upon the course's base, by the classic builder. Returns its ID."""
    dockerfile = io.BytesIO("\n".join([f"FROM {BASE}", *lines]).encode())
    image, _ = client.images.build(fileobj=dockerfile, tag=tag, rm=True, network_mode="none")
    return str(image.id)


def everything(client: docker.DockerClient) -> set[str]:
    """All there is in the engine, by kind and name or ID."""
    found = {f"container {one.name} {one.status}" for one in client.containers.list(all=True)}
    found |= {f"network {one.name}" for one in client.networks.list()}
    found |= {f"volume {one.name}" for one in client.volumes.list()}
    for image in client.images.list(all=True):
        found |= {f"image {image.id}", *(f"tag {tag}" for tag in image.tags)}
    return found


@pytest.mark.live
@pytest.mark.engine
def test_what_other_people_have_is_never_touched(here: Place, client: docker.DockerClient, start: Start) -> None:
    # Before the place began, with names like ours, and upon our image.
    elsewhere(client, "theirs:1")
    client.images.get("theirs:1").tag("pinboard", "old")
    start("pinboard-old", "theirs:1")
    start("an-old-visitor")
    client.networks.create("pinboard-old")
    client.volumes.create("pinboard-old")
    built(client, "pinboard:older", "RUN touch /older")
    record_baseline(here)
    # After that, and not ours: without a name of ours, and upon other images; kind's; those of the course's builders.
    start("theirs", "theirs:1", volumes=["/nameless"])
    elsewhere(client, "theirs:2")
    elsewhere(client)
    client.networks.create("theirs")
    client.volumes.create("theirs")
    client.volumes.create("pinboards")
    start("pinboard-control-plane", "theirs:1", labels={CLUSTER_LABEL: "pinboard"}, volumes=["pinboard-of-kind:/var"])
    built(client, "lab.local/cache:1", "RUN touch /cache")
    start("kinds-other-node", "lab.local/cache:1", labels={CLUSTER_LABEL: "other"})
    built(client, "lab.local/cache:1", "RUN touch /newer-cache")
    start("builder", labels={LABEL: "a builder"})
    not_ours = everything(client)

    assert engine_objects.leftovers(here) == []
    assert set(engine_objects.taken(here)) == {
        *("the container pinboard-old", "the network pinboard-old", "the volume pinboard-old"),
        *("the image pinboard:old", "the image pinboard:older"),
    }
    told = engine_objects.others(here)
    assert {what for what in told if "untagged" not in what and "nameless" not in what} == {
        *("the container theirs", "the network theirs", "the volume theirs", "the volume pinboards"),
        "the image theirs:2",
    }
    assert len(told) == 7

    # Ours: upon our image whatever the name, with our name whatever the image; as Compose names things, too.
    mine = built(client, "acme/mine:1", "ENV A=1", "RUN touch /mine")
    start("my-own-name", mine, volumes=["/nameless"])
    start("visitor")
    start("pinboard", "theirs:2")
    client.api.rename("visitor", "visitor-renamed")
    client.images.get("theirs:2").tag("pinboard", "mine")
    client.images.get("theirs:1").tag("pinboard", "mine-too")
    client.networks.create("pinboard-net")
    client.networks.create("project_default", labels={"com.docker.compose.project": "pinboard"})
    client.volumes.create("pinboard-data")
    built(client, "pinboard:1", "RUN touch /first")
    built(client, "pinboard:1", "ENV B=1", "RUN touch /second")
    ours = engine_objects.leftovers(here)
    assert {"the container my-own-name", "the container visitor-renamed", "the container pinboard"} <= set(ours)
    assert sorted(engine_objects.others(here)) == sorted(told)
    assert {one.name for one in containers(here)} == {"my-own-name", "visitor-renamed", "pinboard"}
    assert {one.tags for one in images(here)} == {("acme/mine:1",), ("pinboard:1",)}

    removed = engine_objects.remove_all(here)
    assert everything(client) == not_ours
    assert engine_objects.leftovers(here) == []
    assert engine_objects.remove_all(here) == []
    assert {"the container pinboard", "the image acme/mine:1", "the image pinboard:mine"} <= set(removed)
    assert {"the volume pinboard-data", "the network pinboard-net", "the network project_default"} <= set(removed)


@pytest.mark.live
@pytest.mark.engine
def test_a_place_that_began_before_there_was_an_engine_owns_what_came_later(
    here: Place, client: docker.DockerClient, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("pinboard-old")
    with monkeypatch.context() as away:
        away.setenv("DOCKER_HOST", NOWHERE)
        record_baseline(here)
    began = read_baseline(here)
    assert began
    # The engine says in whole seconds when a container was made; a second that is shared counts as before.
    wait_for(lambda: time.time() > began.began + 1, "the next second", timeout_s=5)
    start("pinboard-new")
    assert [one.name for one in containers(here)] == ["pinboard-new"]
    baseline = read_baseline(here)
    record_baseline(here)
    assert read_baseline(here) == baseline


@pytest.mark.live
@pytest.mark.engine
def test_a_place_that_looks_for_the_first_time_owns_nothing(here: Place, start: Start) -> None:
    start("pinboard-old")
    assert containers(here) == []
    assert engine_objects.taken(here) == ["the container pinboard-old"]
    other = replace(here, state=here.state.with_name("other"))
    start("pinboard-new")
    assert containers(other) == []
    assert [one.name for one in containers(here)] == ["pinboard-new"]


@pytest.mark.live
@pytest.mark.engine
def test_what_another_place_makes_at_the_same_time_is_its_own(
    here: Place, client: docker.DockerClient, start: Start
) -> None:
    """As the docker commands of both places label it."""
    other = replace(here, state=here.state.with_name("other"))
    for place in (here, other):
        record_baseline(place)
    for place, name in ((here, "mine"), (other, "yours")):
        label = {PLACE_LABEL: place.mark}
        client.networks.create(f"pinboard-{name}", labels=label)
        client.volumes.create(f"pinboard-{name}", labels=label)
        built(client, f"pinboard:{name}", f"RUN touch /{name}", f"LABEL {PLACE_LABEL}={place.mark}")
        start(f"pinboard-{name}", f"pinboard:{name}", labels=label)
        start(f"pinboard-{name}-off", f"pinboard:{name}", labels=label).kill()
        start(f"a-node-{name}", labels={**label, CLUSTER_LABEL: f"pinboard-{name}"})
    start("pinboard-of-nobody")
    theirs = [what for what in engine_objects.leftovers(other) if "nobody" not in what]
    assert len(theirs) == len(engine_objects.leftovers(here)) - 1 >= 5
    assert clusters_since(here) == (["pinboard-mine"], ["pinboard-yours"])
    assert clusters_since(other) == (["pinboard-yours"], ["pinboard-mine"])
    assert "the container pinboard-yours" in engine_objects.taken(here)
    assert not [what for what in engine_objects.remove_all(here) if "yours" in what]
    assert engine_objects.leftovers(here) == []
    assert sorted(engine_objects.leftovers(other)) == sorted(theirs)
    assert client.containers.get("pinboard-yours").status == "running"


@pytest.mark.live
@pytest.mark.engine
def test_what_somebody_else_uses_stays_and_is_told(here: Place, client: docker.DockerClient, start: Start) -> None:
    elsewhere(client, "theirs:1")
    record_baseline(here)
    client.volumes.create("pinboard-data")
    net = client.networks.create("pinboard-net")
    start("theirs", "theirs:1", network="pinboard-net", network_mode=None, volumes=["pinboard-data:/data"])
    assert engine_objects.remove_all(here) == []
    assert engine_objects.leftovers(here) == ["the network pinboard-net", "the volume pinboard-data"]
    assert client.containers.get("theirs").status == "running"
    net.disconnect("theirs", force=True)


@pytest.mark.live
@pytest.mark.engine
def test_two_that_clean_at_the_same_time_do_not_trip_over_each_other(
    here: Place, client: docker.DockerClient, start: Start
) -> None:
    record_baseline(here)
    built(client, "pinboard:1", "RUN touch /x")
    for number in range(4):
        start(f"pinboard-{number}", "pinboard:1")
    failures: list[BaseException] = []

    def clean() -> None:
        try:
            engine_objects.remove_all(here)
        except BaseException as error:  # noqa: BLE001 - it is told below
            failures.append(error)

    both = [threading.Thread(target=clean) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert failures == []
    assert engine_objects.leftovers(here) == []


def the(place: Place, name: str) -> Container:
    found = container(place, name)
    assert found
    return found


@pytest.mark.live
@pytest.mark.engine
def test_what_a_container_tells_of_itself(here: Place, client: docker.DockerClient, start: Start) -> None:
    record_baseline(here)
    built(client, "pinboard:1", "RUN touch /x")
    start(
        "pinboard-one",
        "pinboard:1",
        network_mode="bridge",
        ports={"8000/tcp": ("127.0.0.1", None), "9000/tcp": None, "53/udp": None},
        mem_limit="64m",
        nano_cpus=500_000_000,
        pids_limit=32,
        hostname="someone",
        volumes=["/data"],
    )
    one = the(here, "pinboard-one")
    assert the(here, one.id[:12]) == one
    assert container(here, one.id[:6]) is None
    assert (one.running, one.image, one.hostname, one.pid_mode) == (True, "pinboard:1", "someone", "")
    assert {(port.container_port, port.private) for port in one.ports} == {(8000, True), (9000, False)}
    assert (one.limits.memory_bytes, one.limits.cpus, one.limits.processes) == (64 * 2**20, 0.5, 32)
    assert one.mounts == ("/data",)
    assert one.pid in one.processes()
    assert len(one.processes()) == 2  # docker's own init and `sleep`
    said = one.exec(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (said.code, said.out, said.err) == (3, "out\n", "err\n")
    assert one.exec(["sleep", "30"], timeout_s=1).code in (124, 137)
    assert one.exec(["cat", "/proc/sys/kernel/random/boot_id"]).out.strip() == boot_id_of_engine() == host.boot_id()
    assert one.exec(["touch", "/new"]).ok
    assert "/new" in one.changes()
    image = image_of(one)
    assert image is not None
    assert image.builds_upon(base())
    assert base().tags == (BASE,)


@pytest.mark.live
@pytest.mark.engine
def test_a_container_that_vanishes_or_does_not_run_is_no_error(
    here: Place, client: docker.DockerClient, start: Start
) -> None:
    record_baseline(here)
    started = start("pinboard-one")
    one = the(here, "pinboard-one")
    started.pause()
    assert one.exec(["true"]).code is None
    assert (the(here, "pinboard-one").running, the(here, "pinboard-one").status) == (False, "paused")
    started.unpause()
    started.kill()
    assert one.exec(["true"]).code is None
    assert the(here, "pinboard-one").processes() == ()
    started.remove()
    assert container(here, "pinboard-one") is None
    assert one.exec(["true"]).code is None
    assert (one.logs(), one.changes(), image_of(one)) == ("", (), base())


@pytest.mark.live
@pytest.mark.engine
def test_without_the_base_image_the_advice_is_to_prepare(engine: Engine, client: docker.DockerClient) -> None:
    client.images.get(BASE).tag("kept-by-this-test")
    client.images.remove(BASE)
    try:
        with pytest.raises(MachineError) as caught:
            base()
        assert caught.value.finding == "BASE-IMAGE"
    finally:
        repository, _, tag = BASE.partition(":")
        client.images.get("kept-by-this-test").tag(repository, tag)
