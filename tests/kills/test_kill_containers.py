"""SIGKILL in lab 02 and during the engine's own work: kernel, `lab`, docker build, and a dockerd of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab_helpers.core.settings import Place
from lab_helpers.images.base_image import find_base_image
from lab_helpers.tools.dockerd import Daemon
from lab_helpers.tools.engine import Engine
from tests.kills.conftest import seeds
from tests.kills.scene import Murder, Scene

pytestmark = [pytest.mark.live, pytest.mark.engine]

Own = tuple[Place, Daemon]
LAB = "02-containers"
WAYS = (
    *(("notebook", ("kernel",)), ("notebook", ("build", "kernel")), ("solve", ("lab",))),
    *(("solve", ("kernel",)), ("check", ("lab",)), ("notebook", ("build",))),
)
TYPICAL_S = {"same-kernel": 8, "image": 18, "limits": 30}
CHECK_S = 2.5
ENGINE_WAYS = ("build", "create", "check")


def test_kernel_killed_while_docker_builds_and_lab_while_it_checks(scene: Callable[..., Scene], stocked: Own) -> None:
    the = scene(LAB, stocked[0].home, stocked[1])
    the.play("notebook", Murder("gate", ("build", "kernel"), 0.1), "image")
    the.progress_is_whole()
    the.works_again("image")
    the.play("check", Murder("gate", ("lab",), 1), "image")
    the.progress_is_whole()
    the.clean_leaves_nothing()


@pytest.mark.full
@pytest.mark.parametrize("seed", seeds(*range(1, 7)))
def test_killed_at_any_moment_nothing_is_lost(scene: Callable[..., Scene], stocked: Own, seed: int) -> None:
    act, victims = WAYS[(seed - 1) % len(WAYS)]
    task = ("limits", "image")[seed % 2]
    name = f"{LAB} {seed}"
    the = scene(LAB, stocked[0].home, stocked[1])
    for turn in range(4 if act == "check" else 1):
        the.play(act, Murder.draw(f"{name} {turn}", victims, CHECK_S if act == "check" else TYPICAL_S[task]), task)
    the.progress_is_whole()
    the.works_again(task, straight=False)
    the.clean_leaves_nothing()


@pytest.mark.full
@pytest.mark.parametrize("seed", seeds(*range(1, 4)))
def test_the_engine_killed_at_any_moment(scene: Callable[..., Scene], stocked: Own, seed: int) -> None:
    way = ENGINE_WAYS[(seed - 1) % len(ENGINE_WAYS)]
    name = f"engine {seed}"
    the = scene(LAB, stocked[0].home, stocked[1])
    if way == "check":
        the.play("check", Murder.draw(name, ("dockerd",), CHECK_S), "image")
    elif way == "build":
        the.play("notebook", Murder.draw(name, ("build", "dockerd"), 1), "image")
    else:
        the.play("notebook", Murder.draw(name, ("dockerd",), TYPICAL_S["image"]), "image")
    the.progress_is_whole()
    the.engine_comes_back()
    the.works_again("image", straight=False)
    the.clean_leaves_nothing()


@pytest.mark.full
@pytest.mark.parametrize("seed", seeds(*range(1, 4)))
def test_killed_while_the_base_image_is_made(
    scene: Callable[..., Scene], daemon: Own, tmp_path: Path, seed: int
) -> None:
    """From nothing: no image in the engine, no tar in the cache."""
    place, own = daemon
    (place.home / "images").unlink()
    (place.home / "images").mkdir()
    the = scene(LAB, place.home, own)
    victims = (("lab",), ("mmdebstrap",), ("dockerd",))[(seed - 1) % 3]
    murder = Murder.draw(f"base image {seed}", victims, 30)
    code, said = the.command(murder, "prepare", LAB)
    assert the.killed, said
    if victims == ("dockerd",):
        the.engine_comes_back()
    code, said = the.run("prepare", LAB)
    assert code == 0, said
    assert find_base_image(Engine(own.address, "this test", plain=False))
    left = [path.name for path in (place.home / "images").iterdir() if ".part" in path.name or path.name[0] == "."]
    assert left == []
