"""The time machine's decisions, in a small world: real kernels, real files, and "machines" that are files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from lab_helpers.core.errors import ExitCode, LabError, UsageError
from lab_helpers.core.events import Event, Note, Progress, silent
from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.store import locked
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import progress, saved_states
from lab_helpers.course.build import build
from lab_helpers.course.engine import WorldFor, check_task
from lab_helpers.course.lesson import read_lesson
from lab_helpers.course.saved_states import Facts, SavedState
from lab_helpers.course.time_machine import MARK, Arrival, goto
from lab_helpers.course.workspace import is_pristine, reset
from tests.course.toy import RULES, ToyWorld, place_at
from tests.course.toy_labs import GOOD_LESSON, GOOD_TASKS, checkout

LAB = "01-toy"


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which both tasks were solved by a journey, and both states saved."""
    root = tmp_path_factory.mktemp("travelled")
    with pytest.MonkeyPatch.context() as patch:
        place = make(root, patch)
        first = go(place, "count")
    assert (first.way, first.right, first.verdict.passed, first.exit_code) == ("solved", True, True, ExitCode.PASSED)
    assert (passed(place), files(place)) == (["greet", "count"], COUNTED)
    assert [state.facts.passed for state in saved_states.all_saved(place)] == [("greet",), ("count", "greet")]
    assert not place.progress.exists(), "nothing is credited"
    return root


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, travelled: Path) -> Place:
    """A copy of it."""
    shutil.copytree(travelled, tmp_path, dirs_exist_ok=True)
    return make(tmp_path, monkeypatch)


def make(root: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str] = ("", "")) -> Place:
    made = checkout(root, monkeypatch, {LAB: (GOOD_TASKS, GOOD_LESSON.replace(*change))})
    (made.labs / LAB / "files" / "data").mkdir(parents=True, exist_ok=True)
    (made.labs / LAB / "files" / "data" / "given.txt").write_text("given")
    build(made, rules=RULES)
    return made


def go(place: Place, task: str, told: list[Event] | None = None, **options: Any) -> Arrival:
    return goto(place, "01", task, tell=silent if told is None else told.append, rules=RULES, **options)


def files(place: Place) -> dict[str, str]:
    work = place.work / LAB
    return {
        p.relative_to(work).as_posix(): p.read_text()
        for p in sorted(work.rglob("*"))
        if p.is_file() and p.suffix == ".txt"
    }


def passed(place: Place) -> list[str]:
    return [
        task
        for task in ("greet", "count")
        if check_task(place, LAB, task, record=False, world_for=RULES.world_for).passed
    ]


def the_state(place: Place) -> SavedState:
    return next(state for state in saved_states.all_saved(place) if state.facts.task == "greet")


def notes(told: list[Event]) -> str:
    return "\n".join(event.text for event in told if isinstance(event, Note))


GREETED = {"data/given.txt": "given", "greeting.txt": "hello\n"}
COUNTED = {**GREETED, "lines.txt": "1\n2\n3\n", "count.txt": "3\n"}


def test_before_and_after_each_task_from_saved_states(place: Place) -> None:
    before = dict(os.environ)
    machine = place.state / "machines" / "box"
    assert machine.exists()

    told: list[Event] = []
    back = go(place, "greet", told)
    assert (back.way, passed(place), files(place)) == ("saved", ["greet"], GREETED)
    assert not machine.exists()
    assert any(isinstance(event, Progress) for event in told)

    begins = go(place, "count", before=True)
    assert (begins.way, begins.verdict.passed, begins.right, begins.exit_code) == (
        "saved",
        False,
        True,
        ExitCode.PASSED,
    )
    assert (passed(place), files(place)) == (["greet"], GREETED)

    again = go(place, "count")
    assert (again.way, passed(place), files(place)) == ("saved", ["greet", "count"], COUNTED)
    assert machine.exists()

    start = go(place, "greet", before=True)
    assert (start.way, start.right, passed(place)) == ("fresh", True, [])
    assert files(place) == {"data/given.txt": "given"}
    assert not machine.exists()
    assert not (place.work / ".kept").exists(), "nothing was the learner's"
    assert is_pristine(place, LAB)
    assert dict(os.environ) == before


def test_nothing_is_credited_and_nothing_is_lost(place: Place) -> None:
    check_task(place, LAB, "greet", world_for=RULES.world_for)
    stored = place.progress.read_bytes()
    go(place, "greet", before=True)
    go(place, "count")
    assert place.progress.read_bytes() == stored
    assert progress.read(place).lab(LAB).task("greet").passed


@pytest.mark.parametrize("way", ["saved", "solved"])
def test_what_the_learner_wrote_is_kept_aside_and_notebooks_stay(place: Place, way: str) -> None:
    work = place.work / LAB
    (work / "mine.txt").write_text("mine")
    (work / "data" / "given.txt").write_text("changed by me")
    (work / "lab.ipynb").write_text("what I typed")
    (work / "notes.ipynb").write_text("my notes")
    told: list[Event] = []
    arrival = go(place, "greet", told, use_saved=way == "saved")
    assert (arrival.way, arrival.verdict.passed, files(place)) == (way, True, GREETED)
    assert ((work / "lab.ipynb").read_text(), (work / "notes.ipynb").read_text()) == ("what I typed", "my notes")
    assert not (work / "lab.new.ipynb").exists()
    kept = Path(arrival.kept)
    assert kept.parent == place.work / ".kept"
    assert {p.name: p.read_text() for p in kept.rglob("*.txt")} == {
        "mine.txt": "mine",
        "given.txt": "changed by me",
        "greeting.txt": "hello\n",
        "lines.txt": "1\n2\n3\n",
        "count.txt": "3\n",
    }
    assert str(kept) in notes(told)
    assert go(place, "count").kept == "", "what the solution made is nobody's"
    assert not any("mine" in path.name for path in place.saved.rglob("*"))
    reset(place, LAB, world_for=RULES.world_for)
    assert sorted(path.name for path in work.iterdir()) == ["data", "lab.ipynb"]
    assert "notes.ipynb" in [path.name for path in (place.work / ".kept").rglob("*")]


def test_a_state_is_named_by_all_that_made_it(place: Place) -> None:
    def key(task: str = "greet", world: str = "an engine") -> str:
        lesson = read_lesson(place.labs / LAB / "lab.md")
        section = next(section for section in lesson.sections() if section.task == task)
        return saved_states.key(place, replace_lab(), lesson, section, world)

    keys = {key(), key("count"), key(world="another engine")}
    source = place.labs / LAB / "lab.md"
    source.write_text(source.read_text().replace("!echo hello", "!echo 'hello'"))
    keys.add(key())
    (place.labs / LAB / "files" / "new.txt").write_text("new")
    keys.add(key())
    (place.labs / LAB / "files" / "new.txt").chmod(0o755)
    keys.add(key())
    assert len(keys) == 6
    before = key()
    source.write_text(source.read_text().replace("Say hello.", "Say hello!").replace("wc -l <", "wc -l  <"))
    assert key() == before, "neither prose nor what comes later counts"


def test_a_state_that_was_made_of_other_things_gives_way(place: Place) -> None:
    (place.root / "engine").write_text("another one")
    assert go(place, "greet").way == "solved"
    assert sorted(state.facts.task for state in saved_states.all_saved(place)) == ["count", "greet"]
    assert go(place, "greet").way == "saved"


def test_a_state_that_cannot_be_brought_back_is_told_and_the_solution_runs(place: Place) -> None:
    (place.root / "other-engine").touch()
    told: list[Event] = []
    assert go(place, "greet", told).way == "solved"
    assert "the engine is another one" in notes(told)


def test_a_failure_on_the_way_back_is_told_and_the_solution_runs(place: Place) -> None:
    class Fails(ToyWorld):
        def bring(self, *_: object) -> None:
            raise ConnectionError("the engine hung up")

    told: list[Event] = []
    rules = replace(RULES, world_for=cast(WorldFor, Fails))
    assert goto(place, "01", "greet", tell=told.append, rules=rules).way == "solved"
    assert "the engine hung up" in notes(told)
    assert go(place, "greet").way == "saved", "the state itself may be good"


def test_a_state_whose_check_does_not_pass_any_more_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab_helpers.course.time_machine.CONFIRM_S", 0)
    state = the_state(place)
    (state.files / "greeting.txt").write_text("something else")
    told: list[Event] = []
    assert go(place, "greet", told).way == "solved"
    assert "not what it was" in notes(told)
    assert "greet" in the_state(place).facts.useless
    assert go(place, "greet", told).way == "solved", "it is not tried again"
    assert passed(place) == ["greet"]


def test_a_solution_that_fails_is_told_and_the_next_one_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make(tmp_path, monkeypatch, ("!wc -l < lines.txt > count.txt", "raise ValueError('no')"))
    with pytest.raises(LabError, match="A cell of 01-toy's solution failed"):
        go(place, "count")
    assert not (place.state / "journey.json").exists()
    assert go(place, "greet").way == "saved", "what was right on the way is saved"


def test_unknown_names_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make(tmp_path, monkeypatch)
    with pytest.raises(UsageError, match="Did you mean greet"):
        go(place, "grete")
    assert not place.state.exists()


def test_a_second_journey_is_refused_while_one_is_under_way(place: Place) -> None:
    with locked(place.state / "journey.lock"), pytest.raises(LabError, match="under way"):
        go(place, "greet")


SLOW = ("!wc -l < lines.txt > count.txt", "!sleep 600 & touch count.txt; sleep 600")
JOURNEY = f"""
import sys
from tests.course.toy import RULES, place_at
from pathlib import Path
from lab_helpers.course.time_machine import goto
try:
    goto(place_at(Path(sys.argv[1])), "{LAB}", "count", rules=RULES)
except KeyboardInterrupt:
    sys.exit(130)
"""


def marked(token: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == token and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_half_way_nothing_goes_on_and_the_next_one_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    place = make(tmp_path, monkeypatch, SLOW)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        [sys.executable, "-c", JOURNEY, str(tmp_path)], env=environment, cwd=CHECKOUT, start_new_session=True
    ) as journey:
        wait_for((place.work / LAB / "count.txt").exists, "the cell that takes long", timeout_s=120)
        token = json.loads((place.state / "journey.json").read_text())["mark"]
        assert len(marked(token)) >= 3
        journey.send_signal(number)
        code = journey.wait(60)
    if number is signal.SIGINT:
        assert code == ExitCode.INTERRUPTED
        wait_for(lambda: not marked(token), "all that it started to be ended", timeout_s=30)
        assert not (place.state / "journey.json").exists()
    make(tmp_path, monkeypatch)
    assert go(place, "count").right
    assert marked(token) == []
    assert files(place) == COUNTED


# -- the states themselves


@pytest.fixture
def empty(tmp_path: Path) -> Place:
    return place_at(tmp_path)


def a_state(place: Place, task: str, kib: int, key: str = "k") -> Path:
    lab = replace_lab()
    facts = Facts(lab=LAB, task=task, passed=(task,), solved_s=1)
    with saved_states.writing(place, lab, key, facts) as state:
        state.world.mkdir()
        (state.world / "memory").write_bytes(os.urandom(kib * 1024))
    found = saved_states.find(place, lab, task, key)
    assert found
    return found.folder


def replace_lab() -> Any:
    from lab_helpers.course.declare import Lab

    return Lab(LAB, title="A toy", minutes=1)


def test_the_least_recently_used_give_way_and_what_a_kill_left_goes(empty: Place) -> None:
    folders = [a_state(empty, task, 100) for task in ("one", "two", "three")]
    for age, folder in enumerate(folders):
        os.utime(folder / saved_states.RECORD, (1000 + age, 1000 + age))
    saved_states.all_saved(empty)[0].used()  # "one" is the latest now
    half = empty.saved / (saved_states.PART + "half")
    (half / "files").mkdir(parents=True)
    without_record = empty.saved / "01-four-k"
    without_record.mkdir()
    assert saved_states.make_room(empty, 250 * 1024) == [folders[1].name]
    assert {path.name for path in empty.saved.iterdir()} == {folders[0].name, folders[2].name}
    saved_states.make_room(empty, 0)
    assert [state.folder for state in saved_states.all_saved(empty)] == [folders[0]], "the newest one stays"
    assert saved_states.remove_all(empty) == 1
    assert not empty.saved.exists()


def test_a_state_is_there_whole_or_not_at_all(empty: Place) -> None:
    old = a_state(empty, "one", 1, "old")
    with (
        pytest.raises(OSError, match="full"),
        saved_states.writing(empty, replace_lab(), "new", Facts(lab=LAB, task="one", passed=(), solved_s=1)),
    ):
        raise OSError("the disk is full")
    assert [path.name for path in empty.saved.iterdir()] == [old.name]
    new = a_state(empty, "one", 1, "new")
    assert [path.name for path in empty.saved.iterdir()] == [new.name]
    (new / saved_states.RECORD).write_text("{")
    assert saved_states.all_saved(empty) == []
