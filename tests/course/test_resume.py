"""After a pause: what ran and is off comes back; what was turned off on purpose, or ended as it should, does not."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from lab_helpers.boundaries import container
from lab_helpers.boundaries.engine_objects import record_baseline
from lab_helpers.core import host, journal
from lab_helpers.core.settings import Place
from lab_helpers.core.store import Record
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import resume
from lab_helpers.course.declare import Lab
from lab_helpers.course.progress import LAST_RUN, read, record_opened, summarize
from lab_helpers.course.resume import State, ended, ran_in
from lab_helpers.images.base_image import BASE, find_base_image
from lab_helpers.record import engine_events
from lab_helpers.tools.engine import Engine, find_engine
from tests.course.toy import place_at

LAB = Lab("02-toy", title="A toy", minutes=5, containers=True)


# -- VMs: the journal


def vm(*kinds: str | Record) -> list[Record]:
    return [{"kind": kind} if isinstance(kind, str) else kind for kind in kinds]


START: Record = {"kind": "start", "boot": "this-boot"}


@pytest.mark.parametrize(
    ("events", "ran"),
    [
        (vm("create"), None),
        (vm("create", START), "this-boot"),
        (vm("create", START, "stop"), None),
        (vm("create", START, "stop", START), "this-boot"),
        (vm(START, {"kind": "shutdown", "reason": "guest-shutdown"}), None),
        (vm(START, {"kind": "shutdown", "reason": "host-qmp-quit"}), None),
        (vm(START, {"kind": "shutdown", "reason": "host-signal"}), "this-boot"),
        (vm(START, {"kind": "shutdown", "reason": "host-signal"}, "interrupt"), "this-boot"),
        (vm(START, "reset", "pause", "resume", "job"), "this-boot"),
        (vm(START, "stop", {"kind": "restore", "running": True}), ""),
        (vm(START, {"kind": "restore", "running": False}), None),
        (vm(START, "remove", "create"), None),
    ],
)
def test_a_vm_ran_unless_somebody_turned_it_off(events: list[Record], ran: str | None) -> None:
    assert ran_in(events) == ran


# -- containers: the engine's events

US = "one"


def at(second: float, kind: str, identity: str = US, **more: str) -> Record:
    return {"kind": kind, "id": identity, "at_ns": int(second * 1e9), **more}


def stopped(second: float) -> list[Record]:
    """What the engine tells when it stops a container, for whatever reason."""
    return [at(second, "kill", signal="15"), at(second, "die"), at(second, "stop")]


GONE = engine_events.GONE


@pytest.mark.parametrize(
    ("events", "exit_code", "state", "why"),
    [
        ([at(1, "start")], 255, State.LOST, "went down with it"),
        ([at(1, "start")], 0, State.LOST, "went down with it"),
        ([at(1, "start"), at(9, "die")], 0, State.OFF, "ended by itself"),
        ([at(1, "start"), at(9, "die")], 1, State.OFF, "ended by itself"),
        ([at(1, "start"), *stopped(9)], 143, State.OFF, "you stopped it"),
        ([at(1, "start"), at(9, "kill", signal="SIGKILL"), at(9, "die")], 137, State.OFF, "you stopped it"),
        ([at(1, "start"), at(5, "kill", signal="1"), at(9, "die")], 0, State.OFF, "ended by itself"),
        ([at(1, "start"), *stopped(9), at(20, GONE, "")], 143, State.LOST, "went down with it"),
        ([at(1, "start"), *stopped(9), at(3600, GONE, "")], 143, State.OFF, "you stopped it"),
        ([at(1, "start"), *stopped(9), {**at(9, GONE, ""), "implied": True}], 143, State.OFF, "you stopped it"),
        ([at(1, "start"), {**at(1, GONE, ""), "implied": True}, *stopped(90)], 143, State.LOST, "went down with it"),
        ([at(1, "start"), *stopped(9), at(12, "start"), *stopped(60)], 143, State.OFF, "you stopped it"),
        ([at(1, "start"), at(9, GONE, ""), *stopped(70)], 137, State.LOST, "went down with it"),
        ([at(1, "start"), at(9, "die"), at(12, GONE, "")], 0, State.OFF, "ended by itself"),
        ([at(1, "start", "another"), *stopped(9)], 143, State.OFF, "you stopped it"),
        ([], 255, State.LOST, "went down with it"),
        ([], 0, State.OFF, "nobody saw"),
    ],
)
def test_how_a_container_came_to_be_off(events: list[Record], exit_code: int, state: State, why: str) -> None:
    found = ended(US, exit_code, events)
    assert found[0] is state
    assert why in found[1]


# -- where one was


def test_where_the_learner_was(tmp_path: Path) -> None:
    verdict: Record = {"kind": "verdict", "lab": "a", "task": "t", "outcome": "NOT_YET", "points": 0, "total": 1}
    records = [
        {"kind": "opened", "time": 1, "lab": "a"},
        {**verdict, "time": 2, "seconds": 0.1},
        {"kind": "opened", "time": 3, "lab": "b"},
    ]
    first, second = summarize(records[:2]).at, summarize(records).at
    assert first and second
    assert (first.lab, first.task, first.outcome, first.at) == ("a", "t", "NOT_YET", 2)
    assert (second.lab, second.task, second.outcome) == ("b", "", None)
    assert read(place_at(tmp_path)).at is None


def test_a_restart_of_the_machine_is_known_by_its_boot_id(tmp_path: Path) -> None:
    here = place_at(tmp_path)
    assert not resume.rebooted(here), "nothing was done here yet"
    record_opened(here, "a")
    assert not resume.rebooted(here)
    file = here.state / LAST_RUN
    assert json.loads(file.read_text()) == {"boot": host.boot_id()}
    file.write_text('{"boot": "of-yesterday"}')
    assert resume.rebooted(here)
    record_opened(here, "a")
    assert not resume.rebooted(here)
    file.write_text("damaged")
    assert not resume.rebooted(here)


# -- containers for real


@pytest.fixture
def engine(here: Place) -> Engine:
    found = find_engine()
    if found is None or find_base_image(found) is None:
        pytest.skip("no engine with the base image: `lab prepare 02`")
    record_baseline(here)
    return found


@pytest.mark.live
@pytest.mark.engine
def test_only_the_container_that_went_down_with_its_engine_comes_back(here: Place, engine: Engine) -> None:
    names = {kind: f"lab-test-{kind}-{os.getpid()}" for kind in ("lost", "stopped", "ended", "runs")}
    with engine.client() as client:
        for kind, name in names.items():
            argv = ["true"] if kind == "ended" else ["sleep", "600"]
            client.containers.run(BASE, argv, name=name, detach=True, network_mode="none", init=True)
        client.api.stop(names["stopped"], timeout=0)
        client.api.wait(names["ended"])
        for record in engine_events.missed([]):
            if record["source"] in [f"container:{name}" for name in names.values()]:
                journal.write(here.journal, **record)
        # As if the engine went away now, and took this one with it; its other containers lived on.
        journal.write(here.journal, "engine", GONE, by=engine_events.BY, at_ns=int(3600e9) + last_at(here))
        os.kill(client.api.inspect_container(names["lost"])["State"]["Pid"], signal.SIGKILL)
        client.api.wait(names["lost"])

    def states() -> dict[str, State]:
        found = {piece.name: piece.state for piece in resume.survey(here, [LAB])}
        return {kind: found[name] for kind, name in names.items()}

    before = {"lost": State.LOST, "stopped": State.OFF, "ended": State.OFF, "runs": State.RUNS}
    assert states() == before
    assert resume.bring_back(here, LAB, resume.survey(here, [LAB])) == []
    wait_for(lambda: states() == {**before, "lost": State.RUNS}, "it to run", timeout_s=30)
    assert resume.bring_back(here, LAB, resume.survey(here, [LAB])) == []
    stopped_one = container.container(here, names["stopped"])
    assert stopped_one and stopped_one.status == "exited"


def last_at(here: Place) -> int:
    return max(int(event["at_ns"]) for event in journal.read(here.journal) if "at_ns" in event)
