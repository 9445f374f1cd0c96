"""The boundary map of what really runs: a guest, one that boots, and containers, each on the kernel that its boot id
says.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from lab_helpers.boundaries.engine_objects import record_baseline
from lab_helpers.boundaries.guest import Guest
from lab_helpers.boundaries.vm import Vm
from lab_helpers.core import host
from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.boundaries_now import BoundaryMap, Box, look
from lab_helpers.images.base_image import BASE
from lab_helpers.images.guest_image import GuestImage
from lab_helpers.tools import qemu
from lab_helpers.tools.engine import find_engine
from lab_helpers.ui.map_text import kernel_words, map_text

pytestmark = pytest.mark.live

PATIENCE_S = 60
Start = Callable[..., tuple[str, Any]]


@pytest.fixture
def start(shared_place: Place) -> Iterator[Start]:
    """Starts a container that waits, in the machine's engine; returns its name and the SDK's object."""
    engine = find_engine()
    if engine is None:
        pytest.skip("no container engine answers: `lab doctor --fix`")
    started: list[Any] = []
    with engine.client() as client:
        try:
            client.images.get(BASE)
        except docker.errors.ImageNotFound:
            pytest.skip(f"{BASE} is not made yet: `lab prepare 02`")
        (shared_place.state / "engine-baseline.json").unlink(missing_ok=True)
        record_baseline(shared_place)

        def run(**options: Any) -> tuple[str, Any]:
            name = f"pinboard-map-{secrets.token_hex(4)}"
            given = {"network_mode": "none", "init": True, **options}
            started.append(client.containers.run(BASE, ["sleep", "1000"], name=name, detach=True, **given))
            return name, started[-1]

        yield run
        for one in started:
            one.remove(force=True)
    # What appears in this engine from now on is not this place's.
    (shared_place.state / "engine-baseline.json").unlink()


def boxes_of(seen: BoundaryMap) -> dict[str, Box]:
    return {box.name: box for box in seen.machine.walk()}


def boot_id(seen: BoundaryMap, box: Box) -> str:
    kernel = seen.kernel_of(box)
    assert kernel is not None
    return kernel.boot_id


@pytest.mark.engine
def test_each_box_is_on_the_kernel_that_its_boot_id_says(vm: Vm, guest: Guest, start: Start) -> None:
    name, one = start(mem_limit="64m")
    paused, other = start()
    other.pause()
    ended, last = start()
    last.kill()
    last.wait()
    seen = look(vm.place, patience_s=PATIENCE_S)
    other.unpause()

    boxes = boxes_of(seen)
    inside = one.exec_run(["cat", "/proc/sys/kernel/random/boot_id"]).output.decode().strip()
    in_guest = guest.shell("cat /proc/sys/kernel/random/boot_id").strip()
    assert boot_id(seen, boxes[name]) == boot_id(seen, boxes[paused]) == inside
    assert boot_id(seen, boxes[vm.name]) == in_guest
    assert boot_id(seen, seen.machine) == host.boot_id()
    assert len({seen.machine.kernel, boxes[vm.name].kernel, boxes[name].kernel}) == len(
        {host.boot_id(), in_guest, inside}
    )

    box = boxes[name]
    assert (box.kind, box.detail, box.note, box.memory_of_mib) == ("container", BASE, "", 64)
    assert box.memory_mib is not None
    assert box.memory_mib < 64
    assert boxes[paused].note == "paused"
    assert ended not in boxes
    assert any(ended in note for note in seen.notes)
    machine = boxes[vm.name]
    assert machine.memory_of_mib == vm.record.memory_mib
    assert machine.memory_mib
    assert machine.started == pytest.approx(guest.process.started, abs=1)
    assert f"container {name} · {kernel_words(box)} · " in map_text(seen)


def test_a_guest_of_plain_qemu_that_does_not_answer_yet_is_shown_as_starting(
    here: Place, image: GuestImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    here.work.mkdir(parents=True)
    qemu.create_overlay(here.work / "disk.qcow2", image.disk)
    words = "-name by-hand -m 384 -nodefaults -display none -drive file=disk.qcow2,format=qcow2,if=virtio -S"
    with subprocess.Popen([qemu.program(image.arch), *words.split()], cwd=here.work) as process:  # -S: it waits
        try:
            box = wait_for(lambda: boxes_of(look(here)).get("by-hand"), "the guest", timeout_s=PATIENCE_S)
        finally:
            process.kill()
    assert (box.kind, box.kernel, box.memory_of_mib, box.detail) == ("vm", 0, 384, "started with plain QEMU")
    assert box.note.startswith("starting")
    assert box.started == pytest.approx(time.time(), abs=600)
    assert "by-hand" not in boxes_of(look(here))


def test_a_vm_that_is_off_is_said_beside(here: Place, image: GuestImage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    Vm.create(here, "by-name", image, memory_mib=384, cpus=1)
    assert look(here).notes[0] == "Off: the VM by-name."


def test_lab_map_says_it_in_the_terminal_and_as_json(vm: Vm) -> None:
    argv = [sys.executable, "-m", "lab_helpers.cli", "map"]
    env = {**os.environ, "LAB_STATE": str(vm.place.state), "LAB_HOME": str(vm.place.home)}

    def says(*more: str) -> str:
        return subprocess.run([*argv, *more], env=env, capture_output=True, text=True, check=True).stdout

    seen = BoundaryMap.model_validate_json(says("--json"))
    assert boxes_of(seen)[vm.name].kind == "vm"
    assert f"VM {vm.name} · " in says()
