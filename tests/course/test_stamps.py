"""Who stamps the passport, for real: Pinboard in a guest, in a container, in a pod."""

from __future__ import annotations

import importlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_helpers.boundaries.vm import Vm
from lab_helpers.core import host
from lab_helpers.core.ports import free_port
from lab_helpers.core.processes import run
from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.engine import check_task, load_lab
from lab_helpers.course.passport import Served, carry, read_passport
from lab_helpers.course.solve import solve
from lab_helpers.course.world import World
from lab_helpers.images.base_image import BASE, find_base_image
from lab_helpers.images.node_image import find_node_image
from lab_helpers.tools.engine import find_engine
from lab_helpers.tools.qemu import Forward

pytestmark = pytest.mark.live

PINBOARD = CHECKOUT / "labs" / "pinboard" / "pinboard"
UNIT = "passport-test"
IN_GUEST = """
systemd-run -q --unit={unit} --setenv=PINBOARD_HOST=0.0.0.0 --setenv=PINBOARD_PORT=8017 \
    --setenv=DATABASE_URL=sqlite:////tmp/passport.db --working-directory=/tmp/passport python3 -m pinboard
"""


@pytest.fixture
def forwarded(vm: Vm) -> Iterator[Vm]:
    """The shared guest, in which a Pinboard serves that a port of the host leads to."""
    guest = vm.running()
    guest.shell("mkdir -p /tmp/passport")
    vm.copy(PINBOARD, "/tmp/passport/")
    guest.shell(IN_GUEST.format(unit=UNIT))
    forward = Forward(host_port=free_port(), guest_port=8017)
    vm.forward(forward)
    try:
        yield vm
    finally:
        vm.drop_forward(forward)
        guest.shell(f"systemctl stop {UNIT}; rm -rf /tmp/passport /tmp/passport.db", check=False)


def test_the_guest_s_pinboard_stamps_with_the_guest_s_kernel(shared_place: Place, forwarded: Vm) -> None:
    load_lab(shared_place, "01")
    served = importlib.import_module("lab_tasks_01_virtual_machine.stamp").served
    world = World(shared_place, "01-virtual-machine")
    [found] = wait_for(
        lambda: served(world, forwarded.name) or None, "the guest's Pinboard", timeout_s=60, interval_s=0.2
    )
    boot_id = forwarded.running().shell("cat /proc/sys/kernel/random/boot_id").strip()
    assert (found.who["boot_id"], found.vm, found.home) == (boot_id, "shared", True)
    assert found.who["kernel"] == forwarded.running().shell("uname -r").strip()
    assert takes_a_pin(found)
    assert served(world, "no-such-vm") == []


@pytest.mark.engine
def test_a_container_s_pinboard_stamps_with_the_engine_s_kernel(here: Place) -> None:
    engine = find_engine()
    if engine is None or find_base_image(engine) is None:
        pytest.skip("no engine, or no base image: `lab prepare 02`")
    world = World(here, "02-containers")
    world.begin()
    name = f"passport-test-{uuid.uuid4().hex[:8]}"
    words = ["run", "-d", "--name", name, "-p", "127.0.0.1::8000", "-v", f"{PINBOARD}:/srv/pinboard:ro", "-w", "/srv"]
    words += [
        "-e",
        "PINBOARD_HOST=0.0.0.0",
        "-e",
        "DATABASE_URL=sqlite:////tmp/p.db",
        BASE,
        "python3",
        "-m",
        "pinboard",
    ]
    identity = run(["docker", *words], env=engine.environment).out.strip()
    try:
        load_lab(here, "02")
        served = importlib.import_module("lab_tasks_02_containers.stamp").served
        [found] = wait_for(lambda: served(world) or None, "the container's Pinboard", timeout_s=60, interval_s=0.2)
        assert (found.container, found.vm, found.pod) == (identity[:12], "", "")
        assert found.who["host"] == identity[:12]
        assert takes_a_pin(found)
    finally:
        run(["docker", "rm", "-f", name], env=engine.environment)
    assert served(world) == []


def takes_a_pin(found: Served) -> bool:
    pin = {"text": f"at {time.time()}", "author": "me"}
    assert found.post(pin)
    return any(pin.items() <= each.items() for each in found.pins())


@pytest.mark.full
@pytest.mark.engine
def test_the_whole_journey_through_a_cluster(here: Place, tmp_path: Path) -> None:
    """Lab 05 as far as its Deployment: the check stamps, the pin is carried into a pod, and that pod stamps then."""
    engine = find_engine()
    if engine is None or find_base_image(engine) is None or find_node_image(engine) is None:
        pytest.skip("no engine or no images: `lab prepare 05`")
    solve(here, "05", "deploy")
    stop = next(each for each in read_passport(here).stops if each.lab == "05-kubernetes")
    assert stop.stamp
    assert stop.stamp.boot_id
    assert not stop.stamp.carried
    assert carry(here, "05", text="Who keeps me?", author="me") is True
    assert carry(here, "05") is False
    stop = next(each for each in read_passport(here).stops if each.lab == "05-kubernetes")
    assert stop.stamp
    assert stop.stamp.carried
    assert stop.stamp.pod.startswith("pinboard-")
    assert stop.stamp.node.startswith("pinboard-worker")
    assert len(stop.stamp.container) == 12
    if find_engine() and stop.stamp.kernel == host.release():
        assert stop.stamp.boot_id == host.boot_id()
    assert check_task(here, "05", "deploy").passed
