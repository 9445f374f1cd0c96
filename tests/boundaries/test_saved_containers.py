"""Containers kept as they are and made again: on an engine of the tests' own."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from lab_helpers.boundaries import engine_objects, saved_containers
from lab_helpers.boundaries.container import Container, container, images
from lab_helpers.boundaries.engine_objects import SAVED, record_baseline
from lab_helpers.core.errors import LabError
from lab_helpers.core.settings import Place
from lab_helpers.images.base_image import BASE
from lab_helpers.tools import dockerd
from lab_helpers.tools.engine import Engine, find_engine
from tests.fakes.own_engine import own_daemon

C, A, D = saved_containers.CHANGED, saved_containers.ADDED, saved_containers.DELETED


@pytest.mark.parametrize(
    ("diff", "mounts", "paths"),
    [
        ([], [], {}),
        ([("/srv", C), ("/srv/pins.db", A)], [], {"/srv/pins.db": True}),
        ([("/etc", C), ("/etc/motd", C)], [], {"/etc/motd": False}),
        ([("/a", A), ("/a/b", A), ("/a/b/c", A)], [], {"/a": True}),
        ([("/data", C), ("/data/x", A), ("/data2", A)], ["/data"], {"/data2": True}),
        ([("/srv", C), ("/srv/gone", D)], [], None),
        ([(f"/{n}", A) for n in range(41)], [], None),
    ],
)
def test_what_has_to_be_copied_out_of_a_container(
    diff: list[tuple[str, int]], mounts: list[str], paths: dict[str, bool] | None
) -> None:
    assert saved_containers.differences([{"Path": path, "Kind": kind} for path, kind in diff], mounts) == paths


def test_what_was_only_the_old_ones_own_is_not_asked_for_again() -> None:
    old, other = "a" * 64, "b" * 64
    facts: dict[str, Any] = {
        "Id": old,
        "Config": {"Image": "pinboard:1", "Hostname": old[:12], "Labels": {"a": "b"}, "StopSignal": "SIGINT"},
        "HostConfig": {"NetworkMode": "net", "PidMode": f"container:{other}"},
        "NetworkSettings": {"Networks": {"net": {"Aliases": ["web", old[:12]], "IPAMConfig": None}}},
    }
    config = saved_containers.creation(facts, {other: "c" * 64})
    assert "Hostname" not in config
    assert config["HostConfig"]["PidMode"] == "container:" + "c" * 64
    assert config["NetworkingConfig"]["EndpointsConfig"]["net"]["Aliases"] == ["web"]
    assert (config["StopSignal"], config["Labels"]) == ("SIGINT", {"a": "b"})
    facts["Config"]["Hostname"] = "chosen"
    assert saved_containers.creation(facts, {})["Hostname"] == "chosen"


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
def client(own: Engine, monkeypatch: pytest.MonkeyPatch, here: Place) -> Iterator[docker.DockerClient]:
    """A client, in a place that begins now. The place's fixture removes what is the course's."""
    monkeypatch.setenv("DOCKER_HOST", own.address)
    with own.client() as client:
        record_baseline(here)
        time.sleep(1.1)  # the engine writes down in whole seconds when an image was made
        yield client
        engine_objects.remove_all(here)
        saved_containers.sweep(here, ())


def built(client: docker.DockerClient, tag: str, *lines: str) -> str:
    dockerfile = io.BytesIO("\n".join([f"FROM {BASE}", *lines]).encode())
    image, _ = client.images.build(fileobj=dockerfile, tag=tag, rm=True, network_mode="none")
    return str(image.id)


def said(one: Container, script: str) -> str:
    return one.exec(["sh", "-c", script]).out.strip()


def the(place: Place, name: str) -> Container:
    found = container(place, name)
    assert found, name
    return found


def kept_tags(client: docker.DockerClient) -> list[str]:
    return [tag for image in client.images.list() for tag in image.tags if tag.startswith(SAVED)]


@pytest.mark.live
@pytest.mark.engine
def test_containers_with_their_data_their_volumes_and_their_ports_come_back(
    here: Place, client: docker.DockerClient, tmp_path: Path
) -> None:
    image = built(client, "pinboard:1", "RUN echo given > /srv/given.txt; echo old > /srv/old.txt", "STOPSIGNAL SIGINT")
    client.networks.create("pinboard-net", labels={"a": "b"})
    client.volumes.create("pinboard-data", labels={"c": "d"})
    one = client.containers.run(
        "pinboard:1",
        ["sleep", "1000"],
        name="pinboard-one",
        detach=True,
        init=True,
        network="pinboard-net",
        ports={"8000/tcp": ("127.0.0.1", None)},
        labels={"mine": "yes"},
        mem_limit="64m",
        environment={"WORD": "hello"},
        volumes=["pinboard-data:/data", "/nameless"],
    )
    port = the(here, "pinboard-one").ports[0].host_port
    script = (
        "mkdir -p /srv/new/deep && echo layer > /srv/new/deep/file && chown 1000:1001 /srv/new/deep/file && "
        "chmod 640 /srv/new/deep/file && echo changed > /srv/given.txt && echo volume > /data/file && "
        "chown 7:8 /data/file && echo nameless > /nameless/file"
    )
    assert one.exec_run(["sh", "-c", script]).exit_code == 0
    two = client.containers.run("pinboard:1", ["sleep", "1000"], name="pinboard-two", detach=True, network_mode="none")
    assert two.exec_run(["sh", "-c", "rm /srv/old.txt; echo new > /srv/new.txt"]).exit_code == 0
    client.containers.create(BASE, ["sleep", "1000"], name="pinboard-off", network_mode="none")
    before = {name: the(here, name) for name in ("pinboard-one", "pinboard-two", "pinboard-off")}

    saved_containers.save(here, tmp_path / "kept", "a-state")
    assert [one.status for one in before.values()] == [the(here, name).status for name in before], "they go on"
    assert [one.tags for one in images(here)] == [("pinboard:1",)], "our tag is nobody's business"
    engine_objects.remove_all(here)
    assert engine_objects.leftovers(here) == engine_objects.others(here) == []
    assert images(here) == []
    assert len(kept_tags(client)) == 2

    assert saved_containers.missing(tmp_path / "kept") == ""
    assert saved_containers.bring(tmp_path / "kept") == ["pinboard-one", "pinboard-two", "pinboard-off"]
    back = the(here, "pinboard-one")
    for field in ("image", "image_id", "status", "limits", "labels", "mounts"):
        assert getattr(back, field) == getattr(before["pinboard-one"], field), field
    assert back.image_id == image
    assert [(each.address, each.host_port, each.container_port) for each in back.ports] == [("127.0.0.1", port, 8000)]
    assert back.hostname == back.id[:12]
    assert said(back, "stat -c '%u:%g %a' /srv/new/deep/file; cat /srv/new/deep/file") == "1000:1001 640\nlayer"
    assert said(back, "cat /srv/given.txt /srv/old.txt; echo $WORD") == "changed\nold\nhello"
    assert said(back, "stat -c '%u:%g' /data/file; cat /data/file /nameless/file") == "7:8\nvolume\nnameless"
    facts = client.api.inspect_container(back.id)
    assert facts["Config"]["StopSignal"] == "SIGINT"
    assert list(facts["NetworkSettings"]["Networks"]) == ["pinboard-net"]
    assert client.api.inspect_network("pinboard-net")["Labels"] == {"a": "b"}
    assert client.api.inspect_volume("pinboard-data")["Labels"] == {"c": "d"}
    assert said(the(here, "pinboard-two"), "ls /srv") == "given.txt\nnew.txt"
    assert the(here, "pinboard-off").status == "created"

    engine_objects.remove_all(here)
    assert saved_containers.bring(tmp_path / "kept"), "it can come back as often as one likes"
    with pytest.raises(LabError, match="does not take it"):
        saved_containers.bring(tmp_path / "kept")
    engine_objects.remove_all(here)
    assert saved_containers.sweep(here, [tmp_path / "kept"]) == 0
    assert saved_containers.sweep(here, []) == 2
    assert kept_tags(client) == []
    assert "not in the engine" in saved_containers.missing(tmp_path / "kept")
    assert engine_objects.leftovers(here) == []


@pytest.mark.live
@pytest.mark.engine
def test_what_is_too_much_is_refused_and_what_stood_still_goes_on(
    here: Place, client: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_containers, "LIMIT_BYTES", 100_000)
    one = client.containers.run(BASE, ["sleep", "1000"], name="pinboard-big", detach=True, network_mode="none")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        about = tarfile.TarInfo("big")
        about.size = 200_000
        tar.addfile(about, io.BytesIO(b"x" * 200_000))
    one.put_archive("/srv", data.getvalue())
    with pytest.raises(LabError, match="too much"):
        saved_containers.save(here, tmp_path / "kept", "a-state")
    assert the(here, "pinboard-big").running


def test_without_an_engine_it_is_said_and_nothing_fails(
    here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    (tmp_path / saved_containers.RECORD).write_text('{"images": [], "containers": []}')
    assert "no container engine" in saved_containers.missing(tmp_path)
    assert saved_containers.sweep(here, ()) == 0
