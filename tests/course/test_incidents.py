"""Incidents: started by seed, one at a time, judged by the outcome, taken back; and proven like every other task."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_helpers.core import journal
from lab_helpers.core.errors import ExitCode, LabError, UsageError
from lab_helpers.core.settings import Place
from lab_helpers.course import incidents
from lab_helpers.course.build import build
from lab_helpers.course.declare import Lab
from lab_helpers.course.engine import check_task, hints_for, load_lab, next_hint
from lab_helpers.course.incidents import FaultlessError, Started, read_report
from lab_helpers.course.near import with_near_miss
from lab_helpers.course.oncall import OnCall
from lab_helpers.course.prove import prove
from lab_helpers.course.time_machine import goto
from lab_helpers.course.verdict import Outcome, Verdict
from lab_helpers.course.workspace import clean_all, reset
from tests.course.toy import RULES
from tests.course.toy_incidents import LESSON, TASKS
from tests.course.toy_labs import GOOD_LESSON, GOOD_TASKS, checkout, write_lab

TOY = RULES.world_for
LAB = "04-duty"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = checkout(tmp_path, monkeypatch, {LAB: (TASKS, LESSON), "01-toy": (GOOD_TASKS, GOOD_LESSON)})
    (made.work / LAB).mkdir(parents=True)
    return made


def duty(place: Place) -> OnCall:
    found = load_lab(place, LAB).on_call_duty
    assert found
    return found


def seed_of(place: Place, incident: str) -> int:
    return next(seed for seed in range(100) if duty(place).chosen(seed).id == incident)


def break_lab(place: Place, seed: int | None = None, lab: str = LAB) -> Started:
    return incidents.break_lab(place, lab, seed, world_for=TOY)


def look(place: Place) -> Verdict:
    return check_task(place, LAB, "incident", world_for=TOY)


def service(place: Place) -> Path:
    return place.work / LAB / "service.txt"


def mend(place: Place) -> None:
    service(place).write_text("wall\nhello\n")


def test_nothing_is_reported_until_something_is_broken(place: Place) -> None:
    mend(place)
    verdict = look(place)
    assert (verdict.outcome, verdict.state) == (Outcome.NOT_YET, "not-broken")
    hints = [next_hint(place, LAB, "incident", world_for=TOY).text for _ in range(2)]
    assert "lab break 04" in hints[1]


def test_the_outcome_is_what_counts_and_then_it_is_told_what_it_was(place: Place) -> None:
    started = break_lab(place, seed_of(place, "gone"))
    assert (started.fresh, started.incident.id) == (True, "gone")
    broken = look(place)
    assert (broken.outcome, broken.state, broken.points) == (Outcome.NOT_YET, "absent:gone", 1)
    assert not any("removed the file" in c.evidence.saw for c in broken.criteria if c.evidence)
    hints = hints_for(duty(place).task, broken)
    assert hints == ("Look for the file.", "Write it anew."), "first what the state tells, then what the fault does"

    service(place).write_text("hello\n")
    assert look(place).state == "no-wall"
    mend(place)
    passed = look(place)
    assert passed.passed
    assert passed.criteria[-1].evidence
    assert "What it was: somebody removed the file." in passed.criteria[-1].evidence.saw
    assert look(place).passed, "and it can be asked again"


def test_the_same_seed_breaks_the_same_and_all_faults_have_their_turn(place: Place) -> None:
    seed = seed_of(place, "mute")
    break_lab(place, seed)
    first = service(place).read_text()
    mend(place)
    break_lab(place, seed)
    assert service(place).read_text() == first
    assert {duty(place).chosen(seed).id for seed in range(20)} == {"gone", "mute"}
    mend(place)
    for before in ("mute", "gone", "mute", "gone"):
        assert break_lab(place).incident.id != before, "a random one is another one than the last"
        mend(place)


def test_there_is_one_incident_at_a_time_in_a_place(place: Place) -> None:
    first = break_lab(place, seed_of(place, "gone"))
    again = break_lab(place, seed_of(place, "mute"))
    assert (again.fresh, again.report) == (False, first.report)
    assert not service(place).exists(), "nothing was touched"
    write_lab(place.root, "05-other", TASKS.replace("04-duty", "05-other"), LESSON)
    (place.work / "05-other").mkdir()
    other = break_lab(place, 1, "05-other")
    assert (other.fresh, other.report.lab) == (False, LAB)
    mend(place)
    assert break_lab(place, 1, "05-other").fresh, "mended: the next one may come"
    assert look(place).state == "not-broken", "an incident of another lab is none here"


def test_it_is_taken_back_by_undo_reset_goto_and_clean(place: Place) -> None:
    build(place, rules=RULES)
    assert incidents.undo(place, LAB, world_for=TOY) is None
    break_lab(place, seed_of(place, "mute"))
    taken = incidents.undo(place, LAB, world_for=TOY)
    assert taken
    assert taken.id == "mute"
    assert not service(place).exists()
    assert look(place).state == "not-broken"
    break_lab(place, 1)
    reset(place, "01", world_for=TOY)
    assert read_report(place), "another lab's reset leaves it alone"
    reset(place, LAB, world_for=TOY)
    assert read_report(place) is None
    break_lab(place, 1)
    goto(place, LAB, "incident", before=True, rules=RULES)
    assert read_report(place) is None
    break_lab(place, 1)
    clean_all(place, world_for=TOY)
    assert read_report(place) is None


def test_one_that_was_killed_while_it_began_is_taken_away_by_the_next(place: Place) -> None:
    report = break_lab(place, seed_of(place, "gone")).report.model_copy(update={"shown": False})
    (place.state / "incident.json").write_text(report.model_dump_json())
    assert look(place).state == "not-broken"
    assert break_lab(place, seed_of(place, "mute")).fresh
    assert (place.work / LAB / "ended").exists(), "first the half one was ended"
    assert look(place).state == "silent:mute"


def test_what_the_journal_does_not_know_was_never_broken(place: Place) -> None:
    break_lab(place, seed_of(place, "gone"))
    mend(place)
    assert look(place).passed
    forged = place.state / "incident.json"
    report = read_report(place)
    assert report
    forged.write_text(report.model_copy(update={"token": "made up"}).model_dump_json())
    assert look(place).state == "not-broken"
    forged.write_text("{}")
    assert look(place).state == "not-broken"
    assert break_lab(place, 1).fresh


@pytest.mark.parametrize(
    ("instead", "error"),
    [("pass", FaultlessError), ("raise KeyboardInterrupt", KeyboardInterrupt), ("raise OSError('no')", OSError)],
)
def test_whatever_goes_wrong_while_it_begins_nothing_stays_broken(
    place: Place, monkeypatch: pytest.MonkeyPatch, instead: str, error: type[BaseException]
) -> None:
    monkeypatch.setattr(incidents, "SHOWS_S", 0.1)
    write_lab(place.root, LAB, TASKS.replace("service(world).unlink()\n", f"{instead}\n"), LESSON)
    with pytest.raises(error):
        break_lab(place, seed_of(place, "gone"))
    assert read_report(place) is None
    assert (place.work / LAB / "ended").exists()
    assert journal.read(place.journal, f"incident:{LAB}") == []
    if error is FaultlessError:
        assert FaultlessError.exit_code is ExitCode.BROKEN


def test_what_does_not_work_is_not_broken(place: Place) -> None:
    (place.work / LAB / "too-early").touch()
    with pytest.raises(LabError, match="nothing yet that could break"):
        break_lab(place, 1)
    (place.work / LAB / "too-early").unlink()
    write_lab(place.root, LAB, TASKS.replace('write_text("hello\\nwall', 'write_text("oops\\nwall'), LESSON)
    with pytest.raises(LabError, match="does not work yet"):
        break_lab(place, 1)
    assert read_report(place) is None
    with pytest.raises(UsageError, match=r"no incidents in 01-toy") as caught:
        break_lab(place, 1, "01-toy")
    assert LAB in caught.value.why


def test_a_fault_names_a_criterion_of_its_task() -> None:
    lab = Lab("04-duty", title="", minutes=1)
    declared = lab.on_call(
        "", brief="", criteria={}, hints={}, after=(), begin=lambda _: {}, rescue=lambda *_: None, end=lambda *_: None
    )
    made = declared(lambda *_: iter(()))
    with pytest.raises(UsageError, match="no criterion nobody"):
        made.incident("x", symptom="", explanation="", fails="nobody", state="", hints=(), mend=made.rescue)


def test_incidents_are_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault is rejected for its own reason, its mend passes, wrong mends are rejected, nothing is left over."""
    place = checkout(tmp_path, monkeypatch, {LAB: (TASKS, LESSON)})
    write_lab(tmp_path, LAB, TASKS, LESSON.replace("SEED", str(seed_of(place, "gone"))))
    build(place, rules=RULES)
    report = prove(place, rules=RULES)
    assert [miss for miss in report.misses if miss.phase != "source"] == [], "its cells were not run for reference"
    rows = [(t.task, t.fail_first, t.passes, t.near_misses_rejected, t.near_misses) for t in report.labs[0].tasks]
    assert rows == [("incident", True, True, 3, 3)]
    assert [near.id for near in load_lab(place, LAB).tasks["incident"].near_misses] == [
        "gone-unmended",
        "mute-unmended",
        "mute-without-a-wall",
    ]


@pytest.mark.parametrize(
    ("was", "instead", "rejected", "passes"),
    [
        ("LAB", "LAB", True, True),
        ("mend=rescue)\ndef mute", "mend=lambda *_: None)\ndef mute", True, False),
        ('write_text(f"{chance', 'write_text(f"hello\\n{chance', False, True),
    ],
    ids=["good", "a mend that mends nothing", "a fault that breaks nothing"],
)
def test_each_fault_is_a_near_miss(
    place: Place, monkeypatch: pytest.MonkeyPatch, was: str, instead: str, rejected: bool, passes: bool
) -> None:
    """What `prove` does with it: unmended it must be rejected, and with its mend the task must pass again."""
    monkeypatch.setattr(incidents, "SHOWS_S", 0.1)
    assert was in TASKS
    write_lab(place.root, LAB, TASKS.replace(was, instead), LESSON)
    break_lab(place, seed_of(place, "gone"))
    mend(place)
    near = load_lab(place, LAB).tasks["incident"].near_misses[1]
    assert (near.id, near.fails, near.state) == ("mute-unmended", "serves", "silent:mute")
    tried = with_near_miss(near, TOY(place, LAB), lambda: look(place), 10)
    assert (tried.verdict is not None and tried.verdict.state == near.state) is rejected
    assert bool(tried.complaints) is not rejected
    if rejected:
        assert look(place).passed is passes
