"""`lab resume` after an engine that went away for real, each way that it can, and with a real cluster."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lab_helpers.boundaries import cluster as clusters
from lab_helpers.boundaries.cluster import Cluster
from lab_helpers.boundaries.engine_objects import record_baseline
from lab_helpers.core import journal
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import resume
from lab_helpers.course.declare import Lab
from lab_helpers.course.resume import State
from lab_helpers.images.base_image import BASE, image_key
from lab_helpers.images.node_image import find_node_image
from lab_helpers.record import engine_events, jobs
from lab_helpers.tools import dockerd
from lab_helpers.tools.dockerd import Daemon
from lab_helpers.tools.engine import Engine, find_engine
from lab_helpers.tools.qemu import host_arch
from tests.fakes.own_engine import own_daemon

LAB = Lab("02-toy", title="A toy", minutes=5, containers=True)
NAMES = ("pinboard-lost", "pinboard-ended")


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Place, Daemon]]:
    """An engine of the test's own, with the base image in it, and a place that begins with it."""
    tar = real_place().images / f"{image_key(host_arch())}.tar"
    if not tar.exists():
        pytest.skip("the base image's tar is not in the cache: `lab prepare 02`")
    with own_daemon() as (place, daemon):
        dockerd.start(place, daemon)
        monkeypatch.setenv("DOCKER_HOST", daemon.address)
        with Engine(daemon.address, "", plain=False).client(timeout_s=300) as client:
            client.api.import_image_from_file(str(tar), repository=BASE.split(":")[0], tag=BASE.split(":")[1])
        record_baseline(place)
        engine_events.follow(place)
        try:
            yield place, daemon
        finally:
            jobs.stop(place, engine_events.JOB)
            with contextlib.suppress(Exception), Engine(daemon.address, "", plain=False).client() as client:
                for one in client.containers.list(all=True):
                    one.remove(force=True)


def go_away(daemon: Daemon, how: str) -> None:
    """The engine ends: stopped in order, killed alone, or killed with all that it runs, as by a power cut."""
    process = daemon.process()
    assert process
    below = psutil.Process(process.pid).children(recursive=True)
    if how == "in order":
        process.end(grace_s=60)
    else:
        os.kill(process.pid, signal.SIGKILL)
    if how == "power cut":
        folder = str(daemon.exec_root)
        shims = [each for each in psutil.process_iter() if any(folder in word for word in safe_cmdline(each))]
        for each in [*below, *shims, *(child for shim in shims for child in children(shim))]:
            with contextlib.suppress(psutil.Error):
                each.kill()
    wait_for(lambda: not process.alive(), "the engine to be gone", timeout_s=60)


def safe_cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


@pytest.mark.live
@pytest.mark.full
@pytest.mark.parametrize("how", ["in order", "killed", "power cut"])
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.engine
def test_what_ran_when_the_engine_went_away_comes_back(own: tuple[Place, Daemon], how: str, recorded: bool) -> None:
    place, daemon = own
    with Engine(daemon.address, "", plain=False).client() as client:
        for name in NAMES:
            argv = ["true"] if name.endswith("ended") else ["sleep", "600"]
            client.containers.run(BASE, argv, name=name, detach=True, network_mode="none", init=True)
        client.api.wait("pinboard-ended")

    def known() -> bool:
        seen = {(event["source"], event["kind"]) for event in journal.read(place.journal)}
        return {("container:pinboard-lost", "start"), ("container:pinboard-ended", "die")} <= seen

    wait_for(known, "the events to be written down", timeout_s=60)
    if not recorded:
        jobs.stop(place, engine_events.JOB)  # as at a machine's shutdown, which ends it first
    go_away(daemon, how)
    if recorded:
        wait_for(lambda: gone_is_written(place), "the end to be written down", timeout_s=60)
    dockerd.start(place, daemon)

    def states() -> dict[str, State]:
        return {piece.name: piece.state for piece in resume.survey(place, [LAB])}

    assert states() == {"pinboard-lost": State.LOST, "pinboard-ended": State.OFF}
    assert resume.bring_back(place, LAB, resume.survey(place, [LAB])) == []
    assert states() == {"pinboard-lost": State.RUNS, "pinboard-ended": State.OFF}


def gone_is_written(place: Place) -> bool:
    return any(event["kind"] == engine_events.GONE for event in journal.read(place.journal))


# -- a cluster

CLUSTER = "pinboard-resume"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    engine = find_engine()
    if engine is None or find_node_image(engine) is None:
        pytest.skip("no engine with the node image: `lab prepare 05`")
    own = replace(real_place(), state=tmp_path / "state", work=tmp_path / "work")
    record_baseline(own)
    yield own
    clusters.remove_all(own)
    for name in jobs.running(own):
        jobs.stop(own, name)


@pytest.mark.live
@pytest.mark.full
@pytest.mark.engine
def test_a_cluster_that_went_down_with_its_engine_comes_back(place: Place) -> None:
    lab = Lab("05-toy", title="A toy", minutes=5, clusters=(CLUSTER,))
    cluster = Cluster.create(place, CLUSTER, workers=1)
    cluster.wait_until_ready()
    for record in engine_events.missed([]):
        if CLUSTER in record["source"]:
            journal.write(place.journal, **record)
    at = max(event["at_ns"] for event in journal.read(place.journal) if "at_ns" in event)
    journal.write(place.journal, "engine", engine_events.GONE, by=engine_events.BY, at_ns=at + 1)
    names = [node.name for node in cluster.containers()]
    with find_engine().client() as client:  # type: ignore[union-attr]
        for name in names:
            client.api.stop(name, timeout=10)
    [piece] = resume.survey(place, [lab])
    assert (piece.state, piece.nodes) == (State.LOST, tuple(names))
    assert names[0].endswith("control-plane")
    assert resume.bring_back(place, lab, [piece]) == []
    assert Cluster(place, CLUSTER).ready()
    assert [each.state for each in resume.survey(place, [lab])] == [State.RUNS]
