"""The node image: its key, both ways to it, and makers that are stopped or killed. The engine here is a test's own."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from lab_helpers.core.errors import MachineError
from lab_helpers.core.events import Event, Note, Progress
from lab_helpers.core.settings import Place, place
from lab_helpers.core.waiting import wait_for
from lab_helpers.images import go_builds
from lab_helpers.images import node_image as module
from lab_helpers.images import registry as registry_module
from lab_helpers.images.node_image import NODE, debian_key, find_node_image, image_key, node_image
from lab_helpers.tools.engine import Engine
from lab_helpers.tools.qemu import host_arch
from tests.images.daemons import Registry, own_engine, own_registry, push_and_forget, small_image


@pytest.fixture
def empty(tmp_path: Path) -> Place:
    return replace(place(), home=tmp_path / "home", state=tmp_path / "state", work=tmp_path / "work")


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of the recipe that a test may change."""
    copy = tmp_path / "recipe"
    shutil.copytree(module.RECIPE, copy)
    monkeypatch.setattr(module, "RECIPE", copy)
    return copy


# -- without an engine -------------------------------------------------------------------------------------------------


def test_the_key_follows_everything_that_the_image_is_made_of(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {image_key("amd64"), image_key("arm64")}
    debian = debian_key("amd64")
    (recipe / "inside.sh").write_text("# another\n")
    keys.add(image_key("amd64"))
    (recipe / "programs" / "kubernetes" / "pause" / "main.go").write_text("package main\n")
    keys.add(image_key("amd64"))
    monkeypatch.setattr(module, "GROUPS", {})
    keys.add(image_key("amd64"))
    monkeypatch.setattr(module, "KINDEST", replace(module.KINDEST, digest="sha256:0"))
    keys.add(image_key("amd64"))
    assert debian_key("amd64") == debian  # what is slow to get is not got again for any of these
    monkeypatch.setattr(module, "PACKAGES", ("nano",))
    assert debian_key("amd64") != debian
    keys.add(image_key("amd64"))
    assert len(keys) == 7
    assert image_key("amd64") in keys  # and it is the same for the same


def test_the_manifests_name_the_images_that_the_scripts_make() -> None:
    text = "".join(path.read_text() for path in (module.RECIPE / "manifests").iterdir())
    scripts = "".join(path.read_text() for path in module.RECIPE.glob("*.sh"))
    named = {word for word in text.replace('"', " ").replace(",", " ").split() if word.startswith("lab.local/")}
    assert named
    assert all(name in scripts for name in named)


# -- from a registry ---------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    registry_module._asked.cache_clear()
    registry_module._reached.cache_clear()
    for name in ("LAB_REGISTRY", "LAB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with own_engine(tmp_path_factory.mktemp("engine") / "e") as engine:
        yield engine


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    yield shared_engine
    with shared_engine.client() as client:
        for container in client.containers.list(all=True):
            container.remove(force=True)
        for image in client.images.list():
            client.images.remove(image.id, force=True)


STAND_IN = {
    "etc/default/kubelet": "KUBELET_EXTRA_ARGS=--runtime-cgroups=/system.slice/containerd.service",
    "etc/containerd/config.toml": "  restrict_oom_score_adj = false\n",
    "kind/manifests/default-storage.yaml": "kind: StorageClass\n",
    "usr/local/bin/containerd": "#!/bin/sh\n",
    "usr/local/bin/ctr": '#!/bin/sh\n[ "$1" = version ] || cat > /imported.tar\n',
}
"""The files of a node that we change or call, in something that only looks like kindest/node."""


@dataclass(frozen=True)
class Mirror:
    """A registry with the two images, which are known by their digests."""

    registry: Registry
    node: str
    metrics: str


@pytest.fixture(scope="module")
def stocked(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A mirror with images that look like kindest/node and metrics-server."""
    tars = sorted(place().images.glob(f"*-{host_arch()}-*.tar"))  # any Debian will do
    if not tars:
        pytest.skip("the base image's tar is not made yet: `lab prepare 02` without a registry")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, text in STAND_IN.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    with own_registry(tmp_path_factory.mktemp("registry") / "r") as registry:
        node, metrics = (f"{registry.address}/{each}" for each in ("kindest/node", "metrics-server/metrics-server"))
        with shared_engine.client(timeout_s=300) as client:
            client.api.import_image_from_file(str(tars[0]), repository="debian", tag="1")
            box = client.containers.create("debian:1", "true")
            box.put_archive("/", content.getvalue())
            box.commit(repository=node, tag="v1.37.0", conf={"Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"]})
            box.remove()
            assert '"error"' not in client.api.push(f"{node}:v1.37.0")
            [digest] = [each.partition("@")[2] for each in client.images.get(f"{node}:v1.37.0").attrs["RepoDigests"]]
            for each in (f"{node}:v1.37.0", "debian:1"):
                client.images.remove(each, force=True)
        small_image(shared_engine, f"{metrics}:v0.9.0", "metrics-server")
        yield Mirror(registry, digest, push_and_forget(shared_engine, f"{metrics}:v0.9.0")[1])


@pytest.fixture
def mirror(stocked: Mirror, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """The mirror is asked, and what it has is what we want."""
    monkeypatch.setenv("LAB_REGISTRY", stocked.registry.address)
    monkeypatch.setattr(module, "KINDEST", replace(module.KINDEST, digest=stocked.node))
    wanted = {arch: replace(each, digest=stocked.metrics) for arch, each in module.METRICS.items()}
    monkeypatch.setattr(module, "METRICS", wanted)
    return stocked


def inside(engine: Engine, *argv: str) -> str:
    """What a command says in a container of the node image."""
    with engine.client() as client:
        said: bytes = client.containers.run(NODE, argv[1:], entrypoint=argv[0], remove=True)
    return said.decode()


def ours(engine: Engine) -> tuple[list[str], list[str]]:
    """The containers in the engine, and the names of its images; those that have none count as such."""
    with engine.client() as client:
        names = [name for image in client.images.list() for name in image.tags or ["nameless"]]
        return [box.name for box in client.containers.list(all=True)], sorted(names)


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_where_a_registry_answers_it_is_made_from_kindest_node(empty: Place, engine: Engine, mirror: Mirror) -> None:
    told: list[Event] = []
    made = node_image(empty, told.append)
    assert f"GET /v2/kindest/node/manifests/{module.KINDEST.digest}" in mirror.registry.requests()
    assert made == find_node_image(engine)
    assert (made.tag, made.way) == (NODE, "from the registry's kindest/node:v1.37.0")
    assert "--config-dir=/etc/kubernetes/kubelet.conf.d" in inside(engine, "cat", "/etc/default/kubelet")
    assert "failCgroupV1: false" in inside(engine, "cat", "/etc/kubernetes/kubelet.conf.d/10-cgroup.conf")
    manifests = inside(engine, "cat", "/kind/manifests/default-storage.yaml")
    assert manifests.startswith("kind: StorageClass\n---\n")
    assert "image: lab.local/metrics-server:v0.9.0" in manifests
    said = inside(engine, "tar", "-xOf", "/imported.tar", "manifest.json")
    assert [entry["RepoTags"] for entry in json.loads(said)] == [["lab.local/metrics-server:v0.9.0"]]
    containers, names = ours(engine)
    assert not containers
    assert [name for name in names if name.startswith("lab.local/")] == [NODE]
    assert not any(empty.images.glob(".node-*"))  # the folder that it worked in
    again: list[Event] = []
    assert node_image(empty, again.append) == made
    assert not again


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_an_image_of_another_recipe_is_replaced_and_leaves_nothing(
    empty: Place, engine: Engine, mirror: Mirror, recipe: Path
) -> None:
    first = node_image(empty)
    (recipe / "kubelet.conf").write_text("# another\n")
    assert find_node_image(engine) is None
    second = node_image(empty)
    assert second.id != first.id
    node_image(empty)
    (recipe / "kubelet.conf").write_text("# one more\n")
    node_image(empty)
    _, names = ours(engine)
    assert names.count("nameless") <= 2  # the last but one, and what was pulled by its digest


MAKE = """
import sys
from dataclasses import replace
from pathlib import Path
from lab_helpers.core.settings import place
from lab_helpers.images import node_image as module
module.RECIPE = Path(sys.argv[2])
module.KINDEST = replace(module.KINDEST, digest=sys.argv[3])
module.METRICS = {arch: replace(each, digest=sys.argv[4]) for arch, each in module.METRICS.items()}
print(module.node_image(replace(place(), home=Path(sys.argv[1]))).key)
"""


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_after_kill_9_the_next_one_clears_up_and_makes_it(
    empty: Place, engine: Engine, mirror: Mirror, recipe: Path
) -> None:
    adapt, good = recipe / "adapt.sh", (recipe / "adapt.sh").read_text()
    adapt.write_text("touch /waiting; while :; do sleep 1; done\n")
    maker = subprocess.Popen([sys.executable, "-c", MAKE, str(empty.home), str(recipe), mirror.node, mirror.metrics])

    def waiting() -> bool:
        with engine.client() as client:
            boxes = client.containers.list(filters={"label": "vm-to-kubernetes=node-image"})
            return bool(boxes) and boxes[0].exec_run(["test", "-e", "/waiting"]).exit_code == 0

    wait_for(waiting, "the maker to be in the middle", timeout_s=60)
    for process in (*psutil.Process(maker.pid).children(recursive=True), psutil.Process(maker.pid)):
        process.send_signal(signal.SIGKILL)
    maker.wait()
    assert ours(engine)[0]  # the container that it worked in
    adapt.write_text(good)
    made = node_image(empty)
    assert made == find_node_image(engine)
    containers, names = ours(engine)
    assert not containers
    assert [name for name in names if name.startswith("lab.local/")] == [NODE]


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_ctrl_c_leaves_nothing(empty: Place, engine: Engine, mirror: Mirror, recipe: Path) -> None:
    (recipe / "adapt.sh").write_text("sleep 1000\n")
    argv = [sys.executable, "-c", MAKE, str(empty.home), str(recipe), mirror.node, mirror.metrics]
    maker = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    wait_for(lambda: bool(ours(engine)[0]), "the maker to be in the middle", timeout_s=60)
    maker.send_signal(signal.SIGINT)
    assert maker.wait(60) != 0
    containers, names = ours(engine)
    assert not containers
    assert not [name for name in names if name.startswith("lab.local/")]
    assert not any(empty.images.glob(".node-*"))


# -- built -------------------------------------------------------------------------------------------------------------


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_offline_without_it_says_so(empty: Place, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_OFFLINE", "1")
    with pytest.raises(MachineError) as caught:
        node_image(empty)
    assert caught.value.finding == "NODE-IMAGE"
    assert "lab prepare 05" in caught.value.do


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_a_machine_that_can_neither_get_nor_build_it_says_so(
    empty: Place, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "_answers", lambda _host: False)
    monkeypatch.setattr(registry_module, "_engine_finds", lambda _engine, _name: False)
    monkeypatch.setattr(module, "find_program", lambda _name: None)
    told: list[Event] = []
    with pytest.raises(MachineError) as caught:
        node_image(empty, told.append)
    assert caught.value.finding == "NODE-IMAGE"
    assert "LAB_REGISTRY" in caught.value.do
    assert any(isinstance(event, Note) and "does not answer" in event.text for event in told)


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
@pytest.mark.full
def test_it_is_built_out_of_the_cache_without_the_network(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was built once is in the cache, so that another engine gets its image in a minute."""
    here = [go_builds.folder_of(place(), name, "linux", host_arch()).is_dir() for name in go_builds.NODE_GROUPS]
    if not all(here):
        pytest.skip("the programs are not built here: a registry gave the node image")
    monkeypatch.setenv("LAB_OFFLINE", "1")
    told: list[Event] = []
    made = node_image(place(), told.append)
    assert "built from Debian packages and Go modules" in made.way
    steps = [event.what for event in told if isinstance(event, Progress)]
    assert any("step 3 of 3: the images into the node" in step for step in steps)
    containers, names = ours(engine)
    assert not containers
    assert names == [NODE]
