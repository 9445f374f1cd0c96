"""The boundary map's model: which box is in which, on which kernel, and what is said of what does not answer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from lab_helpers.core import host
from lab_helpers.core.settings import Place
from lab_helpers.course import boundaries_engine
from lab_helpers.course.boundaries_engine import NO_ENGINE, SeenEngine, see_engine, used_of
from lab_helpers.course.boundaries_guests import SeenGuests, assigned_mib
from lab_helpers.course.boundaries_now import BoundaryMap, Box, look
from lab_helpers.course.boundaries_pods import pod_memory, read_pod
from lab_helpers.tools.engine import Engine
from tests.course.map_scenes import DESKTOP, container, full, guest, node, scene
from tests.fakes.fake_engine import FakeEngine

NOWHERE = "unix:///nonexistent/docker.sock"


def by_name(seen: BoundaryMap) -> dict[str, Box]:
    return {box.name: box for box in seen.machine.walk()}


# -- composed


def test_boxes_are_nested_as_the_boundaries_are() -> None:
    boxes = by_name(full())
    assert [box.name for box in boxes["this machine"].children] == ["pinboard-vm", "slow", "docker-desktop"]
    inside = [box.name for box in boxes["docker-desktop"].children]
    assert inside == ["pinboard", "visitor", "pinboard-control-plane", "pinboard-worker", "pinboard-worker2"]
    assert [box.name for box in boxes["pinboard-worker"].children] == ["web-a", "web-b", "kube-proxy-x"]


def test_the_boot_id_decides_which_kernel_it_is() -> None:
    seen = full()
    boxes = by_name(seen)
    assert {box.kernel for name, box in boxes.items() if "vm" not in name} == {1, 2, 0}
    assert boxes["pinboard-vm"].kernel == 3
    assert boxes["slow"].kernel == 0
    assert [kernel.boot_id for kernel in seen.kernels] == ["boot-host", "boot-desktop", "boot-guest"]
    one_kernel = scene(SeenGuests((guest("a"), guest("b"))), SeenEngine((container("c"),)))
    assert [box.kernel for box in one_kernel.machine.walk()] == [1, 2, 2, 1]


def test_an_engine_on_this_machines_kernel_has_no_box_of_its_own() -> None:
    seen = scene(engine=SeenEngine((container("pinboard"),), (node("pinboard-worker", "web"),)))
    assert {box.kind for box in seen.machine.walk()} == {"machine", "container", "node", "pod"}
    assert {box.kernel for box in seen.machine.walk()} == {1}
    assert len(seen.kernels) == 1


def test_a_kernel_whose_boot_id_nobody_could_read_is_one_of_its_own() -> None:
    seen = scene(engine=SeenEngine((container("pinboard"),), kernel=boundaries_engine.SeenKernel("desktop", "6.10")))
    assert [box.kernel for box in seen.machine.walk()] == [1, 2, 2]
    assert seen.kernels[1].boot_id == ""


def test_nodes_that_are_off_or_whose_cluster_is_silent_are_there_with_a_note() -> None:
    silent, off = node("pinboard-worker", note="its cluster does not answer"), node("w2", running=False, note="off")
    boxes = by_name(scene(engine=SeenEngine(nodes=(silent, off))))
    assert (boxes["pinboard-worker"].note, boxes["pinboard-worker"].kernel) == ("its cluster does not answer", 1)
    assert (boxes["w2"].note, boxes["w2"].kernel, boxes["w2"].children) == ("off", 0, ())


def test_what_is_off_and_what_is_other_peoples_is_said_beside() -> None:
    seen = scene(SeenGuests(off=("first-vm",)), SeenEngine(others=3, off=("mine",), troubles=("Trouble.",)))
    assert seen.notes == ("Off: the VM first-vm, the container mine.", "Trouble.")
    assert seen.others == 3
    assert seen.machine.children == ()


def test_it_settles_while_a_machine_starts() -> None:
    assert full().settling
    assert not scene(SeenGuests((guest(),)), SeenEngine((container("c", "paused"),))).settling


# -- read


@pytest.mark.parametrize(
    ("words", "mib"),
    [
        ("-m 512", 512),
        ("-m 1G", 1024),
        ("-m 1.5G -smp 2", 1536),
        ("-m size=2G,slots=2,maxmem=4G", 2048),
        ("--m 640M", 640),
        ("-smp 2", 128),
        ("-m 256 -m 512", 512),
        ("-m what", 128),
    ],
)
def test_the_memory_in_a_qemu_command(words: str, mib: int) -> None:
    assert assigned_mib(["qemu-system-x86_64", *words.split()]) == mib


@pytest.mark.parametrize(
    ("memory", "used"),
    [
        ({"usage": 5000, "stats": {"total_inactive_file": 1000, "inactive_file": 1}}, 4000),
        ({"usage": 5000, "stats": {"inactive_file": 1000}}, 4000),
        ({"usage": 5000}, 5000),
        ({"usage": 5000, "stats": {"inactive_file": 9000}}, 5000),
        ({}, None),
    ],
)
def test_the_memory_that_an_engine_says(memory: Any, used: int | None) -> None:
    assert used_of({"memory_stats": memory}) == used


def a_pod(status: dict[str, Any], phase: str = "Running") -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"nodeName": "w", "containers": [{"resources": {"limits": {"memory": "64Mi"}}}, {"resources": {}}]},
        "status": {"phase": phase, "startTime": "1970-01-01T00:01:00Z", **status},
    }


READY = {"conditions": [{"type": "Ready", "status": "True"}]}
PULLING = {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ErrImagePull"}}}]}


def test_a_pod_out_of_the_api() -> None:
    pod = read_pod(a_pod(READY), {("default", "web"): 41})
    assert pod is not None
    assert (pod.name, pod.node, pod.started, pod.note, pod.memory_mib) == ("web", "w", 60, "", 41)
    assert pod.memory_of_mib is None, "one of its containers has no limit"
    one = a_pod(READY)
    one["spec"]["containers"].pop()
    assert (limited := read_pod(one, {}))
    assert (limited.memory_of_mib, limited.memory_mib) == (64, None)


@pytest.mark.parametrize(
    ("item", "note"),
    [
        (a_pod(READY), ""),
        (a_pod({}), "not ready"),
        (a_pod(PULLING), "not ready: ErrImagePull"),
        ({**a_pod(READY), "metadata": {"name": "w", "namespace": "d", "deletionTimestamp": "now"}}, "ending"),
    ],
)
def test_the_state_of_a_pod(item: dict[str, Any], note: str) -> None:
    assert (pod := read_pod(item, {}))
    assert pod.note == note


def test_a_pod_that_has_ended_does_not_run() -> None:
    assert read_pod(a_pod({}, "Succeeded"), {}) is read_pod(a_pod({}, "Failed"), {}) is None


def test_the_memory_of_pods_out_of_a_kubelets_summary() -> None:
    summary = {
        "pods": [
            {"podRef": {"namespace": "default", "name": "web"}, "memory": {"workingSetBytes": 41 << 20}},
            {"podRef": {"namespace": "default", "name": "new"}},
        ]
    }
    assert pod_memory(summary) == {("default", "web"): 41}
    assert pod_memory({}) == {}


# -- looked at


def test_with_nothing_there_it_is_this_machine_alone(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    seen = look(here, patience_s=60)
    assert seen.machine.children == ()
    assert seen.notes == (NO_ENGINE,)
    assert [kernel.boot_id for kernel in seen.kernels] == [host.boot_id()]
    assert seen.machine.memory_mib and seen.machine.memory_of_mib and seen.machine.started
    assert not here.state.exists(), "looking leaves nothing behind"


def test_an_engine_that_answers_oddly_is_trouble_and_no_bug(here: Place, tmp_path: Path, monkeypatch: Any) -> None:
    engine = FakeEngine(tmp_path / "sock")  # it knows neither networks nor volumes
    try:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        seen = see_engine(here, time.monotonic() + 60)
    finally:
        engine.close()
    assert seen.containers == ()
    assert "The container engine" in " ".join(seen.troubles)


def test_an_engine_in_a_machine_of_its_own_is_told_by_its_kernel(tmp_path: Path, monkeypatch: Any) -> None:
    def said(*args: Any, **more: Any) -> str:
        return "boot-desktop\n100.5 7\nMemTotal: 2048000 kB\nMemAvailable: 1024000 kB\n"

    monkeypatch.setattr(boundaries_engine, "_exec", said)
    info = {"KernelVersion": DESKTOP.release, "Name": "docker-desktop", "MemTotal": 4000 << 20}
    until, engine = time.monotonic() + 60, Engine(NOWHERE, "a test", plain=True)
    kernel = boundaries_engine._kernel(engine, info, [container("c")], until)
    assert kernel is not None
    assert (kernel.name, kernel.boot_id, kernel.memory_mib, kernel.memory_of_mib) == (
        "docker-desktop",
        "boot-desktop",
        1000,
        2000,
    )
    assert kernel.started is not None
    assert time.time() - 200 < kernel.started < time.time()

    nobody = boundaries_engine._kernel(engine, info, [], until)
    assert nobody is not None
    assert (nobody.boot_id, nobody.memory_of_mib) == ("", 4000)
    same = {**info, "KernelVersion": host.release()}
    assert boundaries_engine._kernel(engine, same, [], until) is None
    monkeypatch.setattr(host, "boot_id", lambda: "boot-desktop")
    assert boundaries_engine._kernel(engine, info, [container("c")], until) is None, "WSL: one kernel for all of them"
