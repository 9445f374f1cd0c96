"""SIGKILL in lab 01: the notebook's kernel, `lab`, QEMU."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab_helpers.images.guest_image import GuestImage
from tests.kills.conftest import seeds
from tests.kills.scene import Murder, Scene

pytestmark = pytest.mark.live

LAB = "01-virtual-machine"
WAYS = (
    *(("notebook", ("kernel",)), ("notebook", ("qemu",)), ("notebook", ("lab",))),
    *(("solve", ("lab",)), ("solve", ("kernel",)), ("solve", ("qemu",))),
    *(("check", ("lab",)), ("check", ("qemu",)), ("notebook", ("kernel", "qemu"))),
)
"""What goes on, and who is killed meanwhile; a seed chooses one in turn."""
TYPICAL_S = {"boot": 25, "own-kernel": 30, "serve": 70}
"""How long it takes to there, in seconds, on two cores without KVM."""
CHECK_S = 1.5


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab of VMs needs none, and what others do in the machine's engine meanwhile is none of its business."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")


def test_kernel_and_qemu_killed_at_once(scene: Callable[..., Scene], image: GuestImage) -> None:
    the = scene(LAB)
    the.play("notebook", Murder("gate", ("kernel", "qemu"), 6), "boot")
    the.progress_is_whole()
    the.works_again("boot")
    the.clean_leaves_nothing()


@pytest.mark.full
@pytest.mark.parametrize("seed", seeds(*range(1, 10)))
def test_killed_at_any_moment_nothing_is_lost(scene: Callable[..., Scene], image: GuestImage, seed: int) -> None:
    act, victims = WAYS[(seed - 1) % len(WAYS)]
    task = ("own-kernel", "boot", "serve")[seed % 3]
    name = f"{LAB} {seed}"
    the = scene(LAB)
    for turn in range(4 if victims == ("lab",) and act == "check" else 1):
        the.play(act, Murder.draw(f"{name} {turn}", victims, CHECK_S if act == "check" else TYPICAL_S[task]), task)
    the.progress_is_whole()
    the.works_again(task)
    the.clean_leaves_nothing()
