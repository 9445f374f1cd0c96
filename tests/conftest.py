"""What the tests share: places of their own, and one running guest for all tests that only look at one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.boundaries.guest import Guest
from lab_helpers.boundaries.vm import Vm
from lab_helpers.core.settings import Place, place
from lab_helpers.course.world import World
from lab_helpers.images.guest_image import GuestImage, find_guest_image
from lab_helpers.tools.qemu import host_arch, program
from tests.fakes.own_run import a_run, note_place, own_folder


@pytest.fixture(scope="session", autouse=True)
def _run(request: pytest.FixtureRequest) -> Iterator[None]:
    """What an earlier run of the tests left when it was killed is removed; what this one has can be told from it."""
    with a_run(live=any(item.get_closest_marker("live") for item in request.session.items)):
        yield


def _place_in(folder: Path) -> Place:
    state = folder / "state"
    own = replace(place(), state=state, work=state / "work")
    note_place(own)
    return own


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    """A place that nobody else has; what runs in it is ended."""
    own = _place_in(tmp_path)
    yield own
    World(own, "").clean()


@pytest.fixture(scope="session")
def image() -> GuestImage:
    """The guest's disk. `lab prepare 01` makes it."""
    if not shutil.which(program(host_arch())):
        pytest.skip("QEMU is not installed: `lab doctor --fix`")
    found = find_guest_image(place())
    if found is None:
        pytest.skip("the guest's disk is not made yet: `lab prepare 01`")
    return found


@pytest.fixture(scope="session")
def shared_place() -> Iterator[Place]:
    """A place for guests that several tests look at."""
    folder = own_folder("shared-")
    own = _place_in(folder)
    yield own
    World(own, "").clean()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def vm(shared_place: Place, image: GuestImage) -> Vm:
    """A VM that runs for the whole of the tests. A test leaves it as it was."""
    return World(shared_place, "").make_vm("shared", memory_mib=512, cpus=2)


@pytest.fixture
def guest(vm: Vm) -> Guest:
    return vm.running()
