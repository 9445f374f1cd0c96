"""Places for the kill tests, and an engine of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.course.world import World
from lab_helpers.images.base_image import BASE
from lab_helpers.tools import dockerd
from lab_helpers.tools.dockerd import Daemon
from lab_helpers.tools.engine import Engine
from tests.fakes.own_engine import copy_image, machines_engine, own_daemon
from tests.fakes.own_run import note_place
from tests.kills.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """Makes a scene; what is left of it after a test that failed is removed."""
    made: list[Scene] = []

    def make(lab: str, home: Path | None = None, daemon: Daemon | None = None) -> Scene:
        state = tmp_path / "state"
        place = replace(real_place(), home=home or real_place().home, state=state, work=state / "work")
        note_place(place)
        made.append(Scene(place, lab, daemon))
        made[-1].begin()
        return made[-1]

    yield make
    for each in made:
        for process in each.processes():
            process.kill()
        World(each.place, "").clean()


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Place, Daemon]]:
    """A dockerd of the test's own that the course has started: it may be killed, and `lab doctor --fix` starts it.

    Its place shares with the machine what was made before: images and programs.
    """
    with own_daemon() as (place, daemon):
        share(real_place().home, place.home)
        dockerd.start(place, daemon)
        monkeypatch.setenv("DOCKER_HOST", daemon.address)
        yield place, daemon


@pytest.fixture
def stocked(daemon: tuple[Place, Daemon], monkeypatch: pytest.MonkeyPatch) -> tuple[Place, Daemon]:
    """The same, with the course's base image in it."""
    with monkeypatch.context() as patch:
        patch.delenv("DOCKER_HOST")
        machines = machines_engine()
    copy_image(BASE, machines, Engine(daemon[1].address, "this test", plain=False))
    return daemon


def share(source: Path, home: Path) -> None:
    """Let `home` have what is in the caches, but for what is known about the machine's own dockerd."""
    (home / "tools").mkdir(parents=True)
    for path in [*source.iterdir(), *(source / "tools").iterdir()]:
        if path.name != "tools" and not path.name.startswith("dockerd"):
            (home / path.relative_to(source)).symlink_to(path)


def seeds(*usual: int) -> list[int]:
    """These seeds; or those in LAB_KILL_SEEDS ("17 18 19"), to look for a moment that nobody has tried yet."""
    return [int(word) for word in os.environ.get("LAB_KILL_SEEDS", "").split()] or list(usual)
