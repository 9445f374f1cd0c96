"""The passport: stamps after a check has passed, the pin that is carried, and the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from lab_helpers.core.errors import LabError, UsageError
from lab_helpers.core.settings import Place
from lab_helpers.course import progress
from lab_helpers.course.engine import WorldFor, check_task, load_lab
from lab_helpers.course.passport import carry, over_http, read_passport
from lab_helpers.course.verdict import Outcome
from lab_helpers.course.world import Answer
from tests.course.toy import toy_world
from tests.course.toy_labs import GOOD_LESSON, GOOD_TASKS, checkout

STAMPED = """
import json

from lab_helpers.course.passport import Served


def served(world):
    file = world.place.state / "who.json"
    if not file.exists():
        return []
    boards = []
    for number, who in enumerate(json.loads(file.read_text())):
        board = world.place.state / f"board-{number}.json"
        pins = lambda board=board: json.loads(board.read_text())
        def post(pin, board=board):
            board.write_text(json.dumps([*json.loads(board.read_text()), pin]))
            return True
        boards.append(Served(who=who, pins=pins, post=post, vm=who.get("vm", ""), home=HOME))
    return boards


greet.stamp(served)
"""
MINE = {"text": "My first pin", "author": "me", "created_at": "2026-01-31T09:30:00.000001Z"}
OTHER = {"text": "A later one", "author": None, "created_at": "2026-01-31T10:30:00.000001Z"}
CHECKER = {"text": "of the check", "author": "check", "created_at": "2020-01-31T10:30:00.000001Z"}
WHO = {"boot_id": "b1", "kernel": "6.12", "version": "1.0.0", "pid": 1, "host": "h"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Lab 01, in which the pin is made, and lab 02; in both the task greet has passed its work."""
    labs = {}
    for name, home in (("01-toy", True), ("02-next", False), ("03-none", None)):
        more = "" if home is None else f"HOME = {home}\n{STAMPED}"
        labs[name] = (GOOD_TASKS.replace("01-toy", name) + more, GOOD_LESSON)
    made = checkout(tmp_path, monkeypatch, labs)
    for name in labs:
        (made.work / name).mkdir(parents=True)
        (made.work / name / "greeting.txt").write_text("hello\n")
    return made


def serve(place: Place, *who: dict[str, Any], pins: tuple[dict[str, Any], ...] = ()) -> None:
    place.state.mkdir(exist_ok=True)
    (place.state / "who.json").write_text(json.dumps(who))
    for number in range(len(who)):
        (place.state / f"board-{number}.json").write_text(json.dumps(pins if number == len(who) - 1 else ()))


def check(place: Place, lab: str, **more: Any) -> Outcome:
    return check_task(place, lab, "greet", world_for=cast(WorldFor, toy_world), **more).outcome


def carried(place: Place, lab: str, text: str = "") -> bool:
    return carry(place, lab, text=text, world_for=cast(WorldFor, toy_world))


def test_a_passed_check_stamps_and_the_oldest_pin_at_home_is_the_learner_s(place: Place) -> None:
    serve(place, {**WHO, "vm": "box"}, pins=(CHECKER, OTHER, MINE))
    assert check(place, "01") is Outcome.PASSED
    page = read_passport(place)
    assert page.pin
    assert (page.pin.text, page.pin.author, page.pin.made) == ("My first pin", "me", MINE["created_at"])
    assert [stop.lab for stop in page.stops] == ["01-toy", "02-next"]
    stamp = page.stops[0].stamp
    assert stamp
    assert (stamp.boot_id, stamp.kernel, stamp.version, stamp.vm, stamp.carried) == ("b1", "6.12", "1.0.0", "box", True)
    assert page.stops[1].stamp is None
    assert page.kernels == {"b1": "A"}


def test_the_same_again_is_no_new_stamp_and_another_boot_is(place: Place) -> None:
    serve(place, WHO, pins=(MINE,))
    for _ in range(3):
        check(place, "01")
    assert len(progress.read(place).stamps) == 1
    serve(place, {**WHO, "boot_id": "b2"}, pins=(MINE,))
    check(place, "01")
    assert [stamp.boot_id for stamp in progress.read(place).stamps] == ["b1", "b2"]
    stamp = read_passport(place).stops[0].stamp
    assert stamp
    assert stamp.boot_id == "b2", "the last one counts"
    serve(place, {**WHO, "boot_id": "b3"})
    check(place, "01")
    stamp = read_passport(place).stops[0].stamp
    assert stamp
    assert (stamp.boot_id, stamp.carried) == ("b2", True), "one with the pin before one without"


def test_nothing_is_stamped_before_a_task_has_passed_or_without_a_record(place: Place) -> None:
    serve(place, WHO, pins=(MINE,))
    check(place, "01", record=False)
    (place.work / "01-toy" / "greeting.txt").write_text("bye\n")
    assert check(place, "01") is Outcome.NOT_YET
    assert progress.read(place).stamps == []
    assert progress.read(place).pin is None


@pytest.mark.parametrize("trouble", ["not json", '[{"boot_id": 1, "pins": null}]', '[{"no": "board"}]', "[5]"])
def test_a_stamp_that_fails_touches_no_verdict(place: Place, trouble: str) -> None:
    place.state.mkdir(exist_ok=True)
    (place.state / "who.json").write_text(trouble)
    assert check(place, "01") is Outcome.PASSED
    assert read_passport(place).stops[0].stamp is None
    assert "Traceback" in (place.state / "logs" / "stamp-01-toy-greet.txt").read_text()


def test_the_pin_is_carried_once_and_stamped(place: Place) -> None:
    serve(place, WHO, pins=(MINE,))
    check(place, "01")
    serve(place, {**WHO, "boot_id": "host"}, pins=(OTHER,))
    check(place, "02")
    stamp = read_passport(place).stops[1].stamp
    assert stamp
    assert not stamp.carried
    assert carried(place, "02") is True
    assert carried(place, "02") is False, "it is there already"
    stamp = read_passport(place).stops[1].stamp
    assert stamp
    assert stamp.carried
    assert [pin["text"] for pin in _board(place, 0)] == ["A later one", "My first pin"]


def test_of_several_boards_the_one_with_the_pin_stamps(place: Place) -> None:
    serve(place, WHO, pins=(MINE,))
    check(place, "01")
    serve(place, {**WHO, "vm": "pod-a"}, {**WHO, "vm": "pod-b"}, pins=(MINE,))
    check(place, "02")
    stamp = read_passport(place).stops[1].stamp
    assert stamp
    assert (stamp.vm, stamp.carried) == ("pod-b", True)


def test_who_begins_later_says_what_is_on_their_pin(place: Place) -> None:
    serve(place, WHO)
    with pytest.raises(LabError, match="no pin of yours"):
        carried(place, "02")
    assert carried(place, "02", text=" Hello ") is True
    page = read_passport(place)
    assert page.pin
    assert page.pin.text == "Hello"
    assert page.stops[1].stamp is None, "the task has not passed yet"
    check(place, "02")
    stamp = read_passport(place).stops[1].stamp
    assert stamp
    assert stamp.carried


def test_it_cannot_be_carried_where_nobody_serves(place: Place) -> None:
    with pytest.raises(UsageError, match="no stop"):
        carried(place, "03", text="x")
    with pytest.raises(LabError, match="answers now"):
        carried(place, "02", text="x")
    assert progress.read(place).pin is None


def test_records_of_an_older_version_and_of_no_lab_of_today(place: Place) -> None:
    progress.record_stamp(place, progress.StampEntry(time=1, lab="99-gone", task="x", boot_id="b"))
    page = read_passport(place)
    assert [stop.stamp for stop in page.stops] == [None, None]
    assert load_lab(place, "01").tasks["greet"].served


def test_a_pinboard_of_another_kernel_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class World:
        def get(self, url: str) -> Answer:
            return Answer(200, '{"pid": 1, "boot_id": "here"}' if url.endswith("whoami") else "[]")

    world = cast(Any, World())
    found = over_http(world, "http://x", boot_id="here", vm="box")
    assert found
    assert (found.vm, found.pins()) == ("box", [])
    assert over_http(world, "http://x", boot_id="there") is None
    monkeypatch.setattr(World, "get", lambda *_: Answer(0, "refused"))
    assert over_http(world, "http://x", boot_id="here") is None


def _board(place: Place, number: int) -> list[dict[str, Any]]:
    boards: list[dict[str, Any]] = json.loads((place.state / f"board-{number}.json").read_text())
    return boards
