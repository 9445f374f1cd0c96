"""The recorder of engine events, on real engines: the machine's, and one of the test's own that goes away."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.core import journal
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.core.store import Record
from lab_helpers.core.waiting import wait_for
from lab_helpers.record import engine_events, jobs
from lab_helpers.tools import dockerd
from lab_helpers.tools.engine import Engine, find_engine
from lab_helpers.tools.engine_probe import _image
from tests.fakes.own_engine import own_daemon

pytestmark = [pytest.mark.live, pytest.mark.engine]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    own = replace(real_place(), state=tmp_path / "state", work=tmp_path / "work")
    own.state.mkdir()
    yield own
    jobs.stop(own, engine_events.JOB)


@pytest.fixture
def engine() -> Engine:
    found = find_engine()
    if found is None:
        pytest.skip("no engine answers: `lab doctor --fix`")
    return found


def run_one(engine: Engine, name: str) -> None:
    """A container that starts, ends with 0 and is removed."""
    with engine.client() as client, _image(client, engine.facts().arch) as image:
        container = client.containers.create(image, name=name, network_mode="none", labels={"vm-to-kubernetes": "test"})
        try:
            container.start()
            container.wait(timeout=30)
        finally:
            container.remove(force=True)


def story(place: Place, name: str) -> list[Record]:
    return journal.read(place.journal, f"container:{name}")


def wait_until_gone(place: Place, name: str) -> list[str]:
    wait_for(
        lambda: any(event["kind"] == "destroy" for event in story(place, name)), "the story to be told", timeout_s=30
    )
    return [event["kind"] for event in story(place, name)]


@pytest.fixture
def name() -> str:
    return f"pinboard-test-{uuid.uuid4().hex[:8]}"


def test_a_containers_life_is_written_down(place: Place, engine: Engine, name: str) -> None:
    """Also what happens before the job's process is up: it asks for all since it was called for."""
    job = engine_events.follow(place)
    run_one(engine, name)
    assert wait_until_gone(place, name) == ["create", "start", "die", "destroy"]
    died = next(event for event in story(place, name) if event["kind"] == "die")
    assert (died["exit_code"], died["by"]) == (0, "engine")
    assert len(died["id"]) == 64
    assert engine_events.follow(place) == job


def test_it_ends_when_it_is_told_and_goes_on_where_it_was(place: Place, engine: Engine, name: str) -> None:
    job = engine_events.follow(place)
    run_one(engine, name)
    wait_until_gone(place, name)
    jobs.stop(place, engine_events.JOB)
    assert not job.alive()
    run_one(engine, f"{name}-2")
    engine_events.follow(place)
    assert wait_until_gone(place, f"{name}-2") == ["create", "start", "die", "destroy"]
    assert len(story(place, name)) == 4  # and nothing is told twice


def test_it_waits_for_an_engine_that_went_away(place: Place, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_daemon() as (home, daemon):
        monkeypatch.setenv("DOCKER_HOST", daemon.address)
        dockerd.start(home, daemon)
        job = engine_events.follow(place)
        own = Engine(daemon.address, "", plain=False)
        run_one(own, name)
        wait_until_gone(place, name)
        dockerd.stop(home)
        assert job.alive()
        dockerd.start(home, daemon)
        run_one(own, f"{name}-2")
        assert "destroy" in wait_until_gone(place, f"{name}-2")
        jobs.stop(place, engine_events.JOB)


def test_it_ends_when_its_place_is_gone(place: Place, name: str, engine: Engine) -> None:
    place.state.rmdir()
    engine_events.record(place, 0.0)
    assert not place.state.exists()
